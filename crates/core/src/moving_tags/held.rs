//! Moving tags that stay where they are, and why.

use std::fmt;

use dockit_registry::{Digest, Tag};

use crate::tag_template::{Placeholder, TagTemplate};

/// A moving tag that a run does not move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldTag {
    /// As it is configured.
    pub template: TagTemplate,
    /// The tag, where all its values are there.
    pub tag: Option<Tag>,
    /// Why it is not moved.
    pub reason: HeldReason,
}

impl HeldTag {
    /// What it is called: the tag, or the template where it is none.
    pub fn name(&self) -> String {
        self.tag.as_ref().map_or_else(|| self.template.to_string(), ToString::to_string)
    }
}

/// Why a moving tag is not moved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeldReason {
    /// A placeholder has no value.
    NoValue(Placeholder, Untold),
    /// Values make it longer than a tag may be.
    TooLong,
    /// Values give it the form of a tag that means something else.
    Reserved,
    /// It moves on the default branch alone, and nobody says which branch this is.
    NoBranch(Untold),
    /// It moves on the default branch alone, and this is another one.
    OtherBranch {
        /// The branch of the run.
        branch: String,
        /// The default branch; none if nobody says it.
        default: Option<String>,
    },
    /// Files that git tracks differ from the commit.
    Changed(Vec<String>),
    /// It is on an image of a newer revision.
    Newer {
        /// The revision.
        revision: String,
    },
    /// Another run, which is not older, keeps moving it.
    Contested {
        /// What it was on at last.
        digest: Digest,
    },
    /// The tests of the project failed.
    ProjectTests(String),
    /// The run was interrupted before.
    Interrupted,
    /// The run stopped after a failure.
    Stopped,
}

/// Why something about the sources is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Untold {
    /// The sources are in no git repository, and CI does not say it.
    NoRepository,
    /// git does not say it.
    Git(String),
    /// The repository has no commit yet.
    NoCommit,
    /// No branch is checked out.
    Detached,
    /// The run is for a git tag.
    GitTag(String),
    /// The run is for a pull or merge request, whose branch may be anybody's.
    PullRequest,
    /// Files differ from the commit.
    Changed(Vec<String>),
    /// CI says which branch it runs for, but another commit is checked out.
    OtherCommit {
        /// The commit that CI says.
        said: String,
        /// The one that is checked out.
        here: String,
    },
    /// This is no CI run, or its service does not number runs.
    NoRun,
}

impl HeldReason {
    /// The word for this reason in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoValue(..) => "no-value",
            Self::TooLong => "too-long",
            Self::Reserved => "reserved",
            Self::NoBranch(_) => "no-branch",
            Self::OtherBranch { .. } => "other-branch",
            Self::Changed(_) => "changed",
            Self::Newer { .. } => "newer",
            Self::Contested { .. } => "contested",
            Self::ProjectTests(_) => "project-tests",
            Self::Interrupted => "interrupted",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for HeldReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoValue(placeholder, untold) => {
                write!(formatter, "{placeholder} has no value: {untold}")
            }
            Self::TooLong => formatter.write_str("it would be longer than 128 characters"),
            Self::Reserved => formatter.write_str(
                "it would have the form of a content tag, or of one that leads to referrers",
            ),
            Self::NoBranch(untold) => {
                write!(formatter, "it moves on the default branch only: {untold}")
            }
            Self::OtherBranch { branch, default: Some(default) } => {
                write!(formatter, "it moves on {default} only, and this is {branch}")
            }
            Self::OtherBranch { branch, default: None } => write!(
                formatter,
                "it moves on the default branch only, nothing says which one that is, and this is \
                 {branch}"
            ),
            Self::Changed(files) => write!(formatter, "{}", Untold::Changed(files.clone())),
            Self::Newer { revision } => {
                write!(formatter, "the tag is on a newer revision {revision}")
            }
            Self::Contested { digest } => {
                write!(formatter, "another run keeps moving it; it is on {digest}")
            }
            Self::ProjectTests(message) => write!(formatter, "{message}"),
            Self::Interrupted => formatter.write_str("the run was interrupted before"),
            Self::Stopped => formatter.write_str("the run stopped after a failure"),
        }
    }
}

impl fmt::Display for Untold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        match self {
            Self::NoRepository => formatter.write_str("the project is in no git repository"),
            Self::Git(error) => write!(formatter, "{error}"),
            Self::NoCommit => formatter.write_str("the git repository has no commit"),
            Self::Detached => formatter.write_str("no branch is checked out"),
            Self::GitTag(tag) => write!(formatter, "the run is for the git tag {tag}"),
            Self::PullRequest => formatter.write_str("the run is for a pull or merge request"),
            Self::Changed(files) => {
                let shown: Vec<&str> = files.iter().take(SHOWN).map(String::as_str).collect();
                write!(formatter, "the work tree is not as committed: {}", shown.join(", "))?;
                match files.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => write!(formatter, " and {more} more"),
                }
            }
            Self::OtherCommit { said, here } => {
                write!(formatter, "CI runs for the commit {said}, but {here} is checked out")
            }
            Self::NoRun => formatter.write_str("this is no CI run with a number"),
        }
    }
}
