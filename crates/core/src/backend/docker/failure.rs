//! What went wrong between us and an engine.

use bollard::errors::Error as EngineError;

/// Whether the engine itself is gone.
pub(super) fn is_connection_error(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::HyperResponseError { .. }
            | EngineError::HyperLegacyError { .. }
            | EngineError::IOError { .. }
            | EngineError::SocketNotFoundError(_)
            | EngineError::RequestTimeoutError
    )
}

/// Whether the socket is there, but not for this user.
pub(super) fn is_forbidden(error: &EngineError) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && error.kind() == std::io::ErrorKind::PermissionDenied
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An engine error with its causes, which bollard leaves out of its own message.
pub(super) fn describe(error: &EngineError) -> String {
    let mut text = match error {
        EngineError::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        EngineError::DockerStreamError { error } => error.trim().to_owned(),
        EngineError::HyperLegacyError { .. } => "no connection".to_owned(),
        other => other.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let message = error.to_string();
        // What hyper calls its own layers says nothing.
        if !text.contains(&message) && !message.starts_with("client error (") {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}
