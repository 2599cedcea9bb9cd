//! Why it cannot be said where the engine is.

use std::path::PathBuf;

use super::InvalidAddress;

/// Why it cannot be said where the engine is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The text is no address, or one that this version cannot use.
    #[error("{place}: {reason}")]
    Invalid {
        /// What holds the text: a variable, or a context.
        place: String,
        /// What is wrong with it.
        reason: InvalidAddress,
    },
    /// The context that is named is not there.
    #[error("there is no Docker context {name:?}, which {named_by} names; {}", listed(.known))]
    NoContext {
        /// Its name.
        name: String,
        /// What names it.
        named_by: String,
        /// The contexts that are there.
        known: Vec<String>,
    },
    /// A file that says more about the engine cannot be read, or not be understood.
    #[error("{}: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "there is only \"default\"".to_owned(),
        names => format!("there are \"default\" and {}", names.join(", ")),
    }
}
