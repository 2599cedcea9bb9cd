//! Which kind of run this is, as CI services tell it in the environment.

/// What the environment says about the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CiRun {
    /// Whether a CI service runs this.
    pub ci: bool,
    /// Whether it runs for a pull or merge request.
    pub pull_request: bool,
}

impl CiRun {
    /// Reads the variables that CI services set, through `variable`.
    ///
    /// `CI` is set by GitHub, GitLab, CircleCI, Travis, Bitbucket, Buildkite, Drone, Woodpecker, Cirrus,
    /// AppVeyor and others; Azure Pipelines sets `TF_BUILD`, Jenkins `JENKINS_URL`. Each of them tells a
    /// pull or merge request in a variable of its own; where one is not known here, the run counts as
    /// one for a branch.
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> Self {
        let on = |name: &str| {
            variable(name).is_some_and(|value| !matches!(value.as_str(), "" | "false" | "0"))
        };
        let is = |name: &str, wanted: &[&str]| {
            variable(name).is_some_and(|value| wanted.contains(&value.as_str()))
        };
        let ci = ["CI", "TF_BUILD", "JENKINS_URL"].into_iter().any(on);
        let numbers = [
            "CI_MERGE_REQUEST_IID",
            "CI_EXTERNAL_PULL_REQUEST_IID",
            "CIRCLE_PULL_REQUEST",
            "TRAVIS_PULL_REQUEST",
            "BITBUCKET_PR_ID",
            "BUILDKITE_PULL_REQUEST",
            "DRONE_PULL_REQUEST",
            "CI_COMMIT_PULL_REQUEST",
            "CIRRUS_PR",
            "APPVEYOR_PULL_REQUEST_NUMBER",
            "CHANGE_ID",
            "SYSTEM_PULLREQUEST_PULLREQUESTID",
        ];
        let pull_request = numbers.into_iter().any(on)
            || is("BUILD_REASON", &["PullRequest"])
            || is("CI_PIPELINE_EVENT", &["pull_request", "merge_request_event"])
            || is("CI_PIPELINE_SOURCE", &["merge_request_event", "external_pull_request_event"])
            || is("GITHUB_EVENT_NAME", &["pull_request", "pull_request_target", "merge_group"])
            || variable("GITHUB_REF").is_some_and(|value| value.starts_with("refs/pull/"));
        Self { ci, pull_request }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_their_pull_requests_are_told_apart() {
        type Case<'a> = (&'a [(&'a str, &'a str)], bool, bool);
        let cases: &[Case<'_>] = &[
            (&[], false, false),
            (&[("CI", "true")], true, false),
            (&[("CI", "false")], false, false),
            (&[("CI", "")], false, false),
            (&[("CI", "true"), ("GITHUB_EVENT_NAME", "push")], true, false),
            (&[("CI", "true"), ("GITHUB_EVENT_NAME", "pull_request")], true, true),
            (&[("CI", "true"), ("CI_MERGE_REQUEST_IID", "7")], true, true),
            (&[("TF_BUILD", "True"), ("BUILD_REASON", "PullRequest")], true, true),
            (&[("TF_BUILD", "True"), ("BUILD_REASON", "IndividualCI")], true, false),
            (&[("JENKINS_URL", "https://j"), ("CHANGE_ID", "3")], true, true),
            (&[("CI", "true"), ("TRAVIS_PULL_REQUEST", "7")], true, true),
            (&[("CI", "true"), ("TRAVIS_PULL_REQUEST", "false")], true, false),
            (&[("CI", "true"), ("BUILDKITE_PULL_REQUEST", "false")], true, false),
            (&[("CI", "true"), ("BITBUCKET_PR_ID", "9")], true, true),
            (&[("CI", "true"), ("GITHUB_REF", "refs/pull/3/merge")], true, true),
            (&[("CI", "true"), ("GITHUB_REF", "refs/heads/main")], true, false),
        ];
        for (variables, ci, pull_request) in cases {
            let run = CiRun::detect(|name| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            });
            assert_eq!(run, CiRun { ci: *ci, pull_request: *pull_request }, "{variables:?}");
        }
    }
}
