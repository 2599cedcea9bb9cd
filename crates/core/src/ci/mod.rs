//! Which kind of run this is, as CI services tell it in the environment.

mod service;

pub use self::service::CiService;

use self::service::{SERVICES, Variables};

/// What the environment says about the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CiRun {
    /// Whether a CI service runs this.
    pub ci: bool,
    /// Whether it runs for a pull or merge request.
    pub pull_request: bool,
    /// Which service it is, if it is one that is known here.
    pub service: Option<CiService>,
    /// The branch that the run is for; none for a git tag, and for a pull or merge request, whose branch
    /// may be somebody else's of the same name.
    pub branch: Option<String>,
    /// The git tag that the run is for.
    pub git_tag: Option<String>,
    /// The commit that the run is for, in full.
    pub commit: Option<String>,
    /// The default branch of the repository, where the service says it.
    pub default_branch: Option<String>,
    /// What the service calls the run.
    pub run_id: Option<String>,
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
        let run = Self { ci, pull_request, ..Self::default() };
        let known = SERVICES.iter().find(|service| match service.known_by {
            (name, None) => on(name),
            (name, Some(value)) => is(name, &[value]),
        });
        match known {
            Some(service) if ci => run.told_by(service, &variable),
            _ => run,
        }
    }

    fn told_by(self, names: &Variables, variable: &impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &str| variable(name).filter(|value| !value.is_empty());
        let reference = names.reference.and_then(value);
        let below = |prefix: &str| reference.as_ref()?.strip_prefix(prefix).map(str::to_owned);
        let git_tag = names.git_tag.and_then(value).or_else(|| below("refs/tags/"));
        let branch = names.branch.iter().find_map(|name| match (*name, value(name)?) {
            // The remote's name stands before it, and without a branch it says so.
            ("GIT_BRANCH", branch) => {
                Some(branch.strip_prefix("origin/").unwrap_or(&branch).to_owned())
                    .filter(|branch| branch != "detached")
            }
            (_, branch) => Some(branch),
        });
        let branch = branch
            .or_else(|| below("refs/heads/"))
            .filter(|_| git_tag.is_none() && !self.pull_request);
        // "Scheduled workflows will only run on the default branch" (GitHub), and Jenkins says which
        // branch is the primary one only of the branch that it builds.
        let is_default = match names.service {
            CiService::GitHub => value("GITHUB_EVENT_NAME").as_deref() == Some("schedule"),
            CiService::Jenkins => value("BRANCH_IS_PRIMARY").as_deref() == Some("true"),
            _ => false,
        };
        let default_branch = match names.default_branch.and_then(value) {
            None if is_default => branch.clone(),
            said => said,
        };
        // Buildkite may say HEAD.
        let is_commit = |text: &String| {
            matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        Self {
            service: Some(names.service),
            branch,
            git_tag,
            commit: value(names.commit).filter(is_commit),
            default_branch,
            run_id: value(names.run),
            ..self
        }
    }

    /// Adds what the file says that GitHub names in `GITHUB_EVENT_PATH`: the default branch. Anything
    /// that is no such JSON says nothing.
    #[must_use]
    pub fn with_github_event(mut self, event: &[u8]) -> Self {
        if self.service == Some(CiService::GitHub) {
            let event: Option<serde_json::Value> = serde_json::from_slice(event).ok();
            let said = event
                .as_ref()
                .and_then(|event| event.pointer("/repository/default_branch")?.as_str())
                .filter(|branch| !branch.is_empty());
            self.default_branch = said.map(str::to_owned).or(self.default_branch);
        }
        self
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
            assert_eq!((run.ci, run.pull_request), (*ci, *pull_request), "{variables:?}");
        }
    }

    fn detect(variables: &[(&str, &str)]) -> CiRun {
        CiRun::detect(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn each_service_tells_branch_commit_and_run_in_its_own_words() {
        type Case<'a> = (CiService, &'a [(&'a str, &'a str)], Option<&'a str>);
        let cases: &[Case<'_>] = &[
            (
                CiService::GitHub,
                &[
                    ("CI", "true"),
                    ("GITHUB_ACTIONS", "true"),
                    ("GITHUB_REF", "refs/heads/a/b"),
                    ("GITHUB_SHA", COMMIT),
                    ("GITHUB_RUN_ID", "7"),
                ],
                None,
            ),
            (
                CiService::GitLab,
                &[
                    ("CI", "true"),
                    ("GITLAB_CI", "true"),
                    ("CI_COMMIT_BRANCH", "a/b"),
                    ("CI_COMMIT_SHA", COMMIT),
                    ("CI_DEFAULT_BRANCH", "trunk"),
                    ("CI_PIPELINE_ID", "7"),
                ],
                Some("trunk"),
            ),
            (
                CiService::Azure,
                &[
                    ("TF_BUILD", "True"),
                    ("BUILD_SOURCEBRANCH", "refs/heads/a/b"),
                    ("BUILD_SOURCEVERSION", COMMIT),
                    ("BUILD_BUILDID", "7"),
                ],
                None,
            ),
            (
                CiService::CircleCi,
                &[
                    ("CI", "true"),
                    ("CIRCLECI", "true"),
                    ("CIRCLE_BRANCH", "a/b"),
                    ("CIRCLE_SHA1", COMMIT),
                    ("CIRCLE_WORKFLOW_ID", "7"),
                ],
                None,
            ),
            (
                CiService::Travis,
                &[
                    ("CI", "true"),
                    ("TRAVIS", "true"),
                    ("TRAVIS_BRANCH", "a/b"),
                    ("TRAVIS_COMMIT", COMMIT),
                    ("TRAVIS_BUILD_ID", "7"),
                    ("TRAVIS_PULL_REQUEST", "false"),
                ],
                None,
            ),
            (
                CiService::Buildkite,
                &[
                    ("CI", "true"),
                    ("BUILDKITE", "true"),
                    ("BUILDKITE_BRANCH", "a/b"),
                    ("BUILDKITE_COMMIT", COMMIT),
                    ("BUILDKITE_PIPELINE_DEFAULT_BRANCH", "trunk"),
                    ("BUILDKITE_BUILD_ID", "7"),
                ],
                Some("trunk"),
            ),
            (
                CiService::Drone,
                &[
                    ("CI", "true"),
                    ("DRONE", "true"),
                    ("DRONE_BRANCH", "a/b"),
                    ("DRONE_COMMIT_SHA", COMMIT),
                    ("DRONE_REPO_BRANCH", "trunk"),
                    ("DRONE_BUILD_NUMBER", "7"),
                ],
                Some("trunk"),
            ),
            (
                CiService::Woodpecker,
                &[
                    ("CI", "woodpecker"),
                    ("CI_COMMIT_BRANCH", "a/b"),
                    ("CI_COMMIT_SHA", COMMIT),
                    ("CI_REPO_DEFAULT_BRANCH", "trunk"),
                    ("CI_PIPELINE_NUMBER", "7"),
                ],
                Some("trunk"),
            ),
            (
                CiService::Bitbucket,
                &[
                    ("CI", "true"),
                    ("BITBUCKET_BUILD_NUMBER", "7"),
                    ("BITBUCKET_BRANCH", "a/b"),
                    ("BITBUCKET_COMMIT", COMMIT),
                ],
                None,
            ),
            (
                CiService::AppVeyor,
                &[
                    ("CI", "True"),
                    ("APPVEYOR", "True"),
                    ("APPVEYOR_REPO_BRANCH", "a/b"),
                    ("APPVEYOR_REPO_COMMIT", COMMIT),
                    ("APPVEYOR_BUILD_ID", "7"),
                ],
                None,
            ),
            (
                CiService::Cirrus,
                &[
                    ("CI", "true"),
                    ("CIRRUS_CI", "true"),
                    ("CIRRUS_BRANCH", "a/b"),
                    ("CIRRUS_CHANGE_IN_REPO", COMMIT),
                    ("CIRRUS_DEFAULT_BRANCH", "trunk"),
                    ("CIRRUS_BUILD_ID", "7"),
                ],
                Some("trunk"),
            ),
            (
                CiService::Jenkins,
                &[
                    ("JENKINS_URL", "https://j"),
                    ("GIT_BRANCH", "origin/a/b"),
                    ("GIT_COMMIT", COMMIT),
                    ("BUILD_ID", "7"),
                ],
                None,
            ),
            (
                CiService::Jenkins,
                &[
                    ("JENKINS_URL", "https://j"),
                    ("BRANCH_NAME", "a/b"),
                    ("BRANCH_IS_PRIMARY", "true"),
                    ("GIT_COMMIT", COMMIT),
                    ("BUILD_ID", "7"),
                ],
                Some("a/b"),
            ),
        ];
        for (service, variables, default_branch) in cases {
            let expected = CiRun {
                ci: true,
                pull_request: false,
                service: Some(*service),
                branch: Some("a/b".to_owned()),
                git_tag: None,
                commit: Some(COMMIT.to_owned()),
                default_branch: default_branch.map(str::to_owned),
                run_id: Some("7".to_owned()),
            };
            assert_eq!(detect(variables), expected, "{service}");
        }
        assert_eq!(cases.len(), SERVICES.len() + 1);
    }

    #[test]
    fn a_git_tag_has_no_branch_whatever_the_service_calls_one() {
        for variables in [
            &[("CI", "1"), ("GITHUB_ACTIONS", "1"), ("GITHUB_REF", "refs/tags/v1")][..],
            &[("CI", "1"), ("GITLAB_CI", "1"), ("CI_COMMIT_TAG", "v1")],
            &[("TF_BUILD", "1"), ("BUILD_SOURCEBRANCH", "refs/tags/v1")],
            &[("CI", "1"), ("TRAVIS", "1"), ("TRAVIS_BRANCH", "v1"), ("TRAVIS_TAG", "v1")],
            &[("CI", "1"), ("BUILDKITE", "1"), ("BUILDKITE_BRANCH", "v1"), ("BUILDKITE_TAG", "v1")],
            &[("JENKINS_URL", "j"), ("BRANCH_NAME", "v1"), ("TAG_NAME", "v1")],
        ] {
            let run = detect(variables);
            assert_eq!((run.branch, run.git_tag.as_deref()), (None, Some("v1")), "{variables:?}");
        }
    }

    #[test]
    fn the_branch_of_a_pull_request_may_be_anybodys() {
        for variables in [
            &[("CI", "1"), ("GITHUB_ACTIONS", "1"), ("GITHUB_REF", "refs/pull/3/merge")][..],
            &[
                ("CI", "1"),
                ("GITHUB_ACTIONS", "1"),
                ("GITHUB_EVENT_NAME", "pull_request_target"),
                ("GITHUB_REF", "refs/heads/main"),
            ],
            &[("CI", "1"), ("CIRRUS_CI", "1"), ("CIRRUS_PR", "3"), ("CIRRUS_BRANCH", "pull/3")],
            &[
                ("CI", "1"),
                ("CIRCLECI", "1"),
                ("CIRCLE_PULL_REQUEST", "u"),
                ("CIRCLE_BRANCH", "main"),
            ],
        ] {
            let run = detect(variables);
            assert!(run.pull_request && run.branch.is_none(), "{variables:?}");
        }
    }

    #[test]
    fn what_is_no_commit_is_none_and_a_variable_alone_makes_no_service() {
        let run = detect(&[("CI", "1"), ("BUILDKITE", "1"), ("BUILDKITE_COMMIT", "HEAD")]);
        assert_eq!(run.commit, None);
        // Somebody who sets a variable by hand is not in CI.
        let run = detect(&[("GITLAB_CI", "true"), ("CI_COMMIT_BRANCH", "main")]);
        assert_eq!(run, CiRun::default());
    }

    #[test]
    fn github_tells_the_default_branch_in_the_event() {
        let github =
            || detect(&[("CI", "1"), ("GITHUB_ACTIONS", "1"), ("GITHUB_REF", "refs/heads/x")]);
        let event = br#"{"repository": {"default_branch": "trunk"}, "ref": "refs/heads/x"}"#;
        assert_eq!(github().with_github_event(event).default_branch.as_deref(), Some("trunk"));
        for nothing in [&b""[..], b"{", b"{}", br#"{"repository": {"default_branch": ""}}"#] {
            assert_eq!(github().with_github_event(nothing).default_branch, None);
        }
        let gitlab = detect(&[("CI", "1"), ("GITLAB_CI", "1")]).with_github_event(event);
        assert_eq!(gitlab.default_branch, None);
        let scheduled = detect(&[
            ("CI", "1"),
            ("GITHUB_ACTIONS", "1"),
            ("GITHUB_EVENT_NAME", "schedule"),
            ("GITHUB_REF", "refs/heads/x"),
        ]);
        assert_eq!(scheduled.default_branch.as_deref(), Some("x"));
    }
}
