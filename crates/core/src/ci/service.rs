//! What each CI service calls what it tells about a run.

use std::fmt;

/// A CI service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CiService {
    /// GitHub Actions, and what speaks its language (Gitea, Forgejo).
    GitHub,
    /// GitLab CI/CD.
    GitLab,
    /// Azure Pipelines.
    Azure,
    /// CircleCI.
    CircleCi,
    /// Travis CI.
    Travis,
    /// Buildkite.
    Buildkite,
    /// Drone.
    Drone,
    /// Woodpecker CI.
    Woodpecker,
    /// Bitbucket Pipelines.
    Bitbucket,
    /// AppVeyor.
    AppVeyor,
    /// Cirrus CI.
    Cirrus,
    /// Jenkins, with its git plugin.
    Jenkins,
}

impl fmt::Display for CiService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::GitHub => "GitHub Actions",
            Self::GitLab => "GitLab",
            Self::Azure => "Azure Pipelines",
            Self::CircleCi => "CircleCI",
            Self::Travis => "Travis CI",
            Self::Buildkite => "Buildkite",
            Self::Drone => "Drone",
            Self::Woodpecker => "Woodpecker",
            Self::Bitbucket => "Bitbucket Pipelines",
            Self::AppVeyor => "AppVeyor",
            Self::Cirrus => "Cirrus CI",
            Self::Jenkins => "Jenkins",
        })
    }
}

/// The variables of one service. The first of several that is set counts.
pub(super) struct Variables {
    pub(super) service: CiService,
    /// The variable by which the service is known, and its value where another one means another.
    pub(super) known_by: (&'static str, Option<&'static str>),
    /// A whole git ref: `refs/heads/…` or `refs/tags/…`.
    pub(super) reference: Option<&'static str>,
    pub(super) branch: &'static [&'static str],
    pub(super) git_tag: Option<&'static str>,
    pub(super) commit: &'static str,
    pub(super) default_branch: Option<&'static str>,
    /// The same for all jobs of a run where the service has such a number; for Jenkins, of a job.
    pub(super) run: &'static str,
}

/// Each service as its documentation says, in the order in which they are looked for.
pub(super) const SERVICES: [Variables; 12] = [
    // docs.github.com/actions/reference/workflows-and-actions/variables; the default branch stands in
    // the event file (docs.github.com/webhooks/webhook-events-and-payloads, `repository`).
    Variables {
        service: CiService::GitHub,
        known_by: ("GITHUB_ACTIONS", None),
        reference: Some("GITHUB_REF"),
        branch: &[],
        git_tag: None,
        commit: "GITHUB_SHA",
        default_branch: None,
        run: "GITHUB_RUN_ID",
    },
    // docs.gitlab.com/ci/variables/predefined_variables
    Variables {
        service: CiService::GitLab,
        known_by: ("GITLAB_CI", None),
        reference: None,
        branch: &["CI_COMMIT_BRANCH"],
        git_tag: Some("CI_COMMIT_TAG"),
        commit: "CI_COMMIT_SHA",
        default_branch: Some("CI_DEFAULT_BRANCH"),
        run: "CI_PIPELINE_ID",
    },
    // learn.microsoft.com/azure/devops/pipelines/build/variables; no default branch.
    Variables {
        service: CiService::Azure,
        known_by: ("TF_BUILD", None),
        reference: Some("BUILD_SOURCEBRANCH"),
        branch: &[],
        git_tag: None,
        commit: "BUILD_SOURCEVERSION",
        default_branch: None,
        run: "BUILD_BUILDID",
    },
    // circleci.com/docs/variables; no default branch. A workflow is what its jobs have in common.
    Variables {
        service: CiService::CircleCi,
        known_by: ("CIRCLECI", None),
        reference: None,
        branch: &["CIRCLE_BRANCH"],
        git_tag: Some("CIRCLE_TAG"),
        commit: "CIRCLE_SHA1",
        default_branch: None,
        run: "CIRCLE_WORKFLOW_ID",
    },
    // docs.cirrus-ci.org/guide/writing-tasks/#environment-variables
    Variables {
        service: CiService::Cirrus,
        known_by: ("CIRRUS_CI", None),
        reference: None,
        branch: &["CIRRUS_BRANCH"],
        git_tag: Some("CIRRUS_TAG"),
        commit: "CIRRUS_CHANGE_IN_REPO",
        default_branch: Some("CIRRUS_DEFAULT_BRANCH"),
        run: "CIRRUS_BUILD_ID",
    },
    // buildkite.com/docs/pipelines/configure/environment-variables; the branch of a tag is the tag.
    Variables {
        service: CiService::Buildkite,
        known_by: ("BUILDKITE", None),
        reference: None,
        branch: &["BUILDKITE_BRANCH"],
        git_tag: Some("BUILDKITE_TAG"),
        commit: "BUILDKITE_COMMIT",
        default_branch: Some("BUILDKITE_PIPELINE_DEFAULT_BRANCH"),
        run: "BUILDKITE_BUILD_ID",
    },
    // woodpecker-ci.org/docs/usage/environment
    Variables {
        service: CiService::Woodpecker,
        known_by: ("CI", Some("woodpecker")),
        reference: None,
        branch: &["CI_COMMIT_BRANCH"],
        git_tag: Some("CI_COMMIT_TAG"),
        commit: "CI_COMMIT_SHA",
        default_branch: Some("CI_REPO_DEFAULT_BRANCH"),
        run: "CI_PIPELINE_NUMBER",
    },
    // docs.drone.io/pipeline/environment/reference
    Variables {
        service: CiService::Drone,
        known_by: ("DRONE", None),
        reference: None,
        branch: &["DRONE_BRANCH"],
        git_tag: Some("DRONE_TAG"),
        commit: "DRONE_COMMIT_SHA",
        default_branch: Some("DRONE_REPO_BRANCH"),
        run: "DRONE_BUILD_NUMBER",
    },
    // support.atlassian.com/bitbucket-cloud/docs/variables-and-secrets; no default branch.
    Variables {
        service: CiService::Bitbucket,
        known_by: ("BITBUCKET_BUILD_NUMBER", None),
        reference: None,
        branch: &["BITBUCKET_BRANCH"],
        git_tag: Some("BITBUCKET_TAG"),
        commit: "BITBUCKET_COMMIT",
        default_branch: None,
        run: "BITBUCKET_BUILD_NUMBER",
    },
    // www.appveyor.com/docs/environment-variables; no default branch.
    Variables {
        service: CiService::AppVeyor,
        known_by: ("APPVEYOR", None),
        reference: None,
        branch: &["APPVEYOR_REPO_BRANCH"],
        git_tag: Some("APPVEYOR_REPO_TAG_NAME"),
        commit: "APPVEYOR_REPO_COMMIT",
        default_branch: None,
        run: "APPVEYOR_BUILD_ID",
    },
    // docs.travis-ci.com/user/environment-variables; the branch of a tag is the tag. No default branch.
    Variables {
        service: CiService::Travis,
        known_by: ("TRAVIS", None),
        reference: None,
        branch: &["TRAVIS_BRANCH"],
        git_tag: Some("TRAVIS_TAG"),
        commit: "TRAVIS_COMMIT",
        default_branch: None,
        run: "TRAVIS_BUILD_ID",
    },
    // www.jenkins.io/doc/book/pipeline/multibranch, the list at JENKINS_URL/env-vars.html, and
    // plugins.jenkins.io/git: BRANCH_NAME in multibranch projects, the others with the git plugin.
    Variables {
        service: CiService::Jenkins,
        known_by: ("JENKINS_URL", None),
        reference: None,
        branch: &["BRANCH_NAME", "GIT_LOCAL_BRANCH", "GIT_BRANCH"],
        git_tag: Some("TAG_NAME"),
        commit: "GIT_COMMIT",
        default_branch: None,
        run: "BUILD_ID",
    },
];
