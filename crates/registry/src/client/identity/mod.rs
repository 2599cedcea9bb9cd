//! Who this machine or job is to a cloud.
//!
//! The traits are what providers need. Their implementations, by the vendors' own crates, are each behind
//! a feature.

#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "azure")]
mod azure;
#[cfg(feature = "google")]
mod google;
#[cfg(any(feature = "aws", feature = "azure", feature = "google"))]
mod presence;

use std::time::SystemTime;

use async_trait::async_trait;

#[cfg(feature = "aws")]
pub use aws::AwsEnvironment;
#[cfg(feature = "azure")]
pub use azure::AzureIdentity;
#[cfg(feature = "google")]
pub use google::{GoogleIdentity, GoogleMetadata, GoogleSettings};

use super::credential::{CredentialError, Secret};

/// A token that a cloud's APIs take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// The token.
    pub token: Secret,
    /// When it stops being good.
    pub expires: Option<SystemTime>,
}

/// An identity that proves itself by access tokens, as those of Google and Azure do.
#[async_trait]
pub trait TokenIdentity: Send + Sync {
    /// A token for this scope; `None` if this machine or job has no identity.
    ///
    /// # Errors
    ///
    /// There is one, but it gets no token.
    async fn access_token(&self, scope: &str) -> Result<Option<AccessToken>, CredentialError>;
}

/// Keys that sign requests to AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsKeys {
    /// The access key's name, which is no secret.
    pub access_key_id: String,
    /// The access key.
    pub secret_access_key: Secret,
    /// What has to go with keys that are temporary.
    pub session_token: Option<Secret>,
    /// When they stop being good.
    pub expires: Option<SystemTime>,
}

/// An identity that proves itself by signing requests, as those of AWS do.
#[async_trait]
pub trait AwsIdentity: Send + Sync {
    /// The keys; `None` if this machine or job has no identity.
    ///
    /// # Errors
    ///
    /// There is one, but it gets no keys.
    async fn keys(&self) -> Result<Option<AwsKeys>, CredentialError>;

    /// The region that is configured for this machine or job, where a registry's name says none.
    async fn region(&self) -> Option<String>;
}
