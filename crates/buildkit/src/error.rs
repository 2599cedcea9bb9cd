//! What can go wrong.

use std::fmt;
use std::io;

/// Why a build, or a question, failed.
///
/// Messages never hold secrets: nothing that a session hands out is put into one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// Kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// BuildKit cannot be reached, or went away.
    Unavailable,
    /// It is there, and does not let this client in. What it does not let a build do is [`Self::Build`].
    Refused,
    /// The build failed; the message is the daemon's.
    Build,
    /// The build context could not be read, or is not what it was said to be.
    Context,
    /// This BuildKit cannot do it.
    Unsupported,
    /// It does not speak as it should.
    Protocol,
    /// Whoever watched the build ended it.
    Stopped,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened, in the words of whoever noticed it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// No connection.
    pub(crate) fn dialing(error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::Refused,
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }

    /// A connection that breaks while a request is under way.
    pub(crate) fn lost(error: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unavailable, format!("lost the connection ({error})"))
    }

    /// What a call was answered with, where the connection still stands.
    pub(crate) fn answered(status: &tonic::Status, otherwise: ErrorKind) -> Self {
        let kind = match status.code() {
            tonic::Code::PermissionDenied | tonic::Code::Unauthenticated => ErrorKind::Refused,
            tonic::Code::Unimplemented => ErrorKind::Unsupported,
            _ => otherwise,
        };
        Self::new(kind, status.message())
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unavailable => "BuildKit is unavailable",
            Self::Refused => "BuildKit refuses",
            Self::Build => "the build failed",
            Self::Context => "the build context cannot be sent",
            Self::Unsupported => "this BuildKit cannot do it",
            Self::Protocol => "BuildKit answers in an unexpected way",
            Self::Stopped => "the build was stopped",
        })
    }
}
