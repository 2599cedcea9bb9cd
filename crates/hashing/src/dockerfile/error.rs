//! What can be wrong with a Dockerfile.

use std::fmt;

/// A problem in a Dockerfile, and where it is.
///
/// Displayed as `line N: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerfileError {
    line: u32,
    kind: DockerfileErrorKind,
}

impl DockerfileError {
    pub(super) fn new(line: u32, kind: DockerfileErrorKind) -> Self {
        Self { line, kind }
    }

    pub(super) fn invalid(line: u32, message: impl Into<String>) -> Self {
        Self::new(line, DockerfileErrorKind::Invalid(message.into()))
    }

    /// The 1-based line of the instruction that is wrong; the first line where the whole file is.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// What is wrong.
    pub fn kind(&self) -> &DockerfileErrorKind {
        &self.kind
    }

    /// What is wrong, without the line: a lowercase fragment.
    pub fn message(&self) -> String {
        self.kind.to_string()
    }
}

impl fmt::Display for DockerfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.kind)
    }
}

impl std::error::Error for DockerfileError {}

/// The kinds of problems in a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DockerfileErrorKind {
    /// The file has no instruction.
    #[error("the Dockerfile has no instructions")]
    Empty,
    /// The file has no `FROM`, or an instruction other than `ARG` stands before the first.
    #[error("no build stage in current context: FROM must come first")]
    NoStage,
    /// A line begins with a word that is no instruction.
    #[error("unknown instruction {keyword}{}", did_you_mean(.nearest.as_deref()))]
    UnknownInstruction {
        /// The word, as written.
        keyword: String,
        /// The instruction that it may have been meant to be.
        nearest: Option<String>,
    },
    /// A flag that the instruction does not have.
    #[error("unknown flag --{flag} of {instruction}{}", did_you_mean(.nearest.as_deref()))]
    UnknownFlag {
        /// The instruction, in capitals.
        instruction: &'static str,
        /// The flag without dashes and value.
        flag: String,
        /// The flag that it may have been meant to be, with its dashes.
        nearest: Option<String>,
    },
    /// An instruction whose flags or arguments are malformed.
    #[error("{0}")]
    Invalid(String),
    /// A heredoc whose terminator does not come.
    #[error("unterminated heredoc: no line {0:?} follows")]
    UnterminatedHeredoc(String),
    /// `${…}` or quotes that cannot be expanded, or a variable that `${name:?}` demands.
    #[error("{message} in {text:?}")]
    Expansion {
        /// What is wrong.
        message: String,
        /// The text that was to be expanded.
        text: String,
    },
    /// The selected stage does not exist.
    #[error("stage {name:?} not found: the Dockerfile has {}", stage_list(.stages))]
    UnknownStage {
        /// What was asked for.
        name: String,
        /// The names there are, in order.
        stages: Vec<String>,
    },
    /// A `COPY --from` or a mount refers to its own stage or to one that comes later.
    #[error("{0}")]
    StageOrder(String),
    /// `# syntax=` names a frontend whose language is not known.
    #[error(
        "unknown frontend {0:?}: only docker/dockerfile and docker/dockerfile-upstream are understood"
    )]
    UnknownFrontend(String),
    /// Something that BuildKit accepts and that cannot be keyed.
    #[error("{0}")]
    Unsupported(String),
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!(" (did you mean {nearest}?)"))
}

fn stage_list(stages: &[String]) -> String {
    if stages.is_empty() { "no named stage".to_owned() } else { stages.join(", ") }
}

/// The candidate that differs least from a misspelt word, if it is near at all.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
