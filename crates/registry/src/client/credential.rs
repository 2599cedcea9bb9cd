//! Credentials, and where they come from.

use std::fmt;

use async_trait::async_trait;

use crate::reference::RegistryHost;

/// Text that is never displayed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// What proves to a registry who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// Nothing.
    Anonymous,
    /// A user name and a password.
    Basic {
        /// The user's name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A token that the registry's token server exchanges for another (Docker's `identitytoken`).
    IdentityToken {
        /// The user's name, where one is stored with the token.
        username: Option<String>,
        /// The token.
        token: Secret,
    },
    /// A token that the registry itself takes (Docker's `registrytoken`).
    Bearer(Secret),
}

/// A place where credentials are kept.
#[async_trait]
pub trait CredentialSource: Send + Sync {
    /// The credential for a registry; [`Credential::Anonymous`] if there is none.
    ///
    /// Called once for each registry, and again after the registry has rejected what it was given.
    ///
    /// # Errors
    ///
    /// The place could not be read: nothing is known about whether there is one.
    async fn credential(&self, host: &RegistryHost) -> Result<Credential, CredentialError>;
}

/// Why credentials could not be read. Never holds what was read.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CredentialError {
    message: String,
    #[source]
    source: Option<std::io::Error>,
}

impl CredentialError {
    /// An error; `message` is a lowercase fragment without secrets.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    pub(crate) fn io(message: impl fmt::Display, source: std::io::Error) -> Self {
        Self { message: format!("{message}: {source}"), source: Some(source) }
    }
}

/// No credentials for any registry.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCredentials;

#[async_trait]
impl CredentialSource for NoCredentials {
    async fn credential(&self, _: &RegistryHost) -> Result<Credential, CredentialError> {
        Ok(Credential::Anonymous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let secret = || Secret::new("hunter2");
        for credential in [
            Credential::Basic { username: "u".into(), password: secret() },
            Credential::IdentityToken { username: None, token: secret() },
            Credential::Bearer(secret()),
        ] {
            let text = format!("{credential:?} {credential:#?}");
            assert!(text.contains("[redacted]") && !text.contains("hunter2"), "{text}");
        }
    }
}
