//! Credentials, and where they come from.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::error::{Details, Error, ErrorKind};
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

impl Credential {
    /// What a user name and a password mean to Docker's tools: the name `<token>` makes the password an
    /// identity token.
    pub fn of_login(username: impl Into<String>, password: &Secret) -> Self {
        super::docker_config::login(username.into(), password.expose().to_owned())
    }
}

/// A credential, and how long it is good. Made of a [`Credential`], to which the rest is added:
/// `Issued { expires, ..credential.into() }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The credential.
    pub credential: Credential,
    /// When it stops being good, where the one who issued it said so.
    pub expires: Option<SystemTime>,
    /// Nobody chose it for this registry: it is whatever this machine or job has. Where it is refused,
    /// what anybody may pull is pulled without it.
    pub inferred: bool,
}

/// A credential is not used in its last minutes: an image takes a while to be pushed.
const MARGIN: Duration = Duration::from_secs(5 * 60);

impl Issued {
    /// Whether it is good for a while yet. One that was issued for less than the margin is used to its
    /// end.
    pub(crate) fn is_fresh(&self, since: SystemTime) -> bool {
        is_fresh(self.expires, since)
    }
}

/// The same for whatever was issued then.
pub(super) fn is_fresh(expires: Option<SystemTime>, since: SystemTime) -> bool {
    let Some(expires) = expires else { return true };
    let lifetime = expires.duration_since(since).unwrap_or_default();
    SystemTime::now() + MARGIN.min(lifetime / 2) < expires
}

impl From<Credential> for Issued {
    fn from(credential: Credential) -> Self {
        Self { credential, expires: None, inferred: false }
    }
}

/// A place where credentials are kept.
#[async_trait]
pub trait CredentialSource: Send + Sync {
    /// The credential for a registry; [`Credential::Anonymous`] if there is none.
    ///
    /// Called once for each registry, and again when it is about to expire or the registry has rejected
    /// it: only what is the same as before is taken for rejected for good.
    ///
    /// # Errors
    ///
    /// The place could not be read: nothing is known about whether there is one.
    async fn credential(&self, host: &RegistryHost) -> Result<Issued, CredentialError>;
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
    /// That for this reason there is none of something for a registry.
    pub(in crate::client) fn without(self, what: &str, host: &RegistryHost) -> Error {
        let message = format!("no {what} for {host}: {self}");
        let (host, source) = (Some(host.clone()), Some(Box::new(self) as _));
        Error::with_details(
            ErrorKind::Credential,
            message,
            Details { host, source, ..Details::default() },
        )
    }

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
    async fn credential(&self, _: &RegistryHost) -> Result<Issued, CredentialError> {
        Ok(Credential::Anonymous.into())
    }
}

/// Several places, of which the first that has a credential for a registry decides.
#[derive(Default)]
pub struct CredentialChain(Vec<Box<dyn CredentialSource>>);

impl CredentialChain {
    /// Without any place.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks this place if those before it have nothing.
    #[must_use]
    pub fn then(mut self, source: impl CredentialSource + 'static) -> Self {
        self.0.push(Box::new(source));
        self
    }
}

#[async_trait]
impl CredentialSource for CredentialChain {
    async fn credential(&self, host: &RegistryHost) -> Result<Issued, CredentialError> {
        for source in &self.0 {
            let issued = source.credential(host).await?;
            if issued.credential != Credential::Anonymous {
                return Ok(issued);
            }
        }
        Ok(Credential::Anonymous.into())
    }
}

#[async_trait]
impl<S: CredentialSource + ?Sized> CredentialSource for Box<S> {
    async fn credential(&self, host: &RegistryHost) -> Result<Issued, CredentialError> {
        (**self).credential(host).await
    }
}

#[async_trait]
impl<S: CredentialSource + ?Sized> CredentialSource for std::sync::Arc<S> {
    async fn credential(&self, host: &RegistryHost) -> Result<Issued, CredentialError> {
        (**self).credential(host).await
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
