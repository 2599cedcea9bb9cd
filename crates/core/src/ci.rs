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
    /// `CI` is set by GitHub, GitLab, CircleCI, Travis and others; Azure Pipelines sets `TF_BUILD`,
    /// Jenkins `JENKINS_URL`. A pull request shows in `GITHUB_EVENT_NAME`,
    /// `CI_MERGE_REQUEST_IID` and `CI_EXTERNAL_PULL_REQUEST_IID` (GitLab), `CIRCLE_PULL_REQUEST`,
    /// `BUILD_REASON` (Azure) and `CHANGE_ID` (Jenkins).
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        let is = |name: &str, wanted: &[&str]| {
            variable(name).is_some_and(|value| wanted.contains(&value.as_str()))
        };
        let ci = (set("CI") && !is("CI", &["false", "0"])) || set("TF_BUILD") || set("JENKINS_URL");
        let pull_request = is("GITHUB_EVENT_NAME", &["pull_request", "pull_request_target"])
            || set("CI_MERGE_REQUEST_IID")
            || set("CI_EXTERNAL_PULL_REQUEST_IID")
            || set("CIRCLE_PULL_REQUEST")
            || is("BUILD_REASON", &["PullRequest"])
            || set("CHANGE_ID");
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
        ];
        for (variables, ci, pull_request) in cases {
            let run = CiRun::detect(|name| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            });
            assert_eq!(run, CiRun { ci: *ci, pull_request: *pull_request }, "{variables:?}");
        }
    }
}
