//! References, digests and manifests of container images, and a client for the registries that hold
//! them, which never takes a failure for absence.
//!
//! The central type is [`Reference`], `host/repository[:tag][@digest]`. [`Repository`], [`Tag`],
//! [`Digest`], [`Platform`] and [`RawManifest`] are plain data and need no feature, nor does
//! [`layout`], which keeps images in a directory that other tools read as well.
//!
//! With the feature `client` (on by default) there is the trait [`Registry`], which is all that
//! dockit asks of a registry to key, build and push, and [`Client`], which implements it over HTTP and
//! can do more: lists, deletion, blobs as streams. It finds out how a registry wants to be asked, gets
//! tokens, repeats what may pass, checks every digest, and tells *present*, *absent* and *error* apart.
//! [`DockerConfig`] finds credentials where Docker's own tools keep them, [`CiCredentials`] what CI systems
//! hand to their jobs. [`resolve_image`] turns a
//! reference into one platform's digest and config, [`Retag`] puts other tags on a manifest, and
//! [`copy`] moves images, with their children and referrers, between registries and layouts.
//!
//! [`layout::Layout`] keeps images in a directory that other tools read, too; it needs no feature.
//! [`copy`](copy::copy()) moves images between registries and layouts.
//!
//! ```no_run
//! # #[cfg(feature = "client")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use dockit_registry::{Access, Client, Reference, Registry};
//!
//! // The program has installed a rustls provider.
//! let client = Client::builder().build()?;
//! let reference: Reference = "ghcr.io/team/app:1.0".parse()?;
//! match client.head_manifest(&reference, Access::Pull).await? {
//!     Some(head) => println!("present: {}", head.digest),
//!     None => println!("absent"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Limitations
//!
//! - Registries on loopback are spoken to over plain HTTP, but for port 443; one that speaks TLS on
//!   another port has to be reached under another name. Hosts configured as insecure are never tried
//!   over TLS.
//! - Certificates are checked against the system's store only.
//! - Credentials are per host: entries of `config.json` for a namespace are not used.
//! - An index entry without a platform is never chosen, and no `os.version` is looked at.
//! - The registries of vendors are asked as their documentation says; of some vendors only imitations were
//!   ever asked by tests (`docs/registries.md` has the table).
//! - An upload that broke off begins from the start, but for the pieces of one that is sent in pieces.
//! - Where a registry lists no referrers, an entry of the list that clients keep instead can be lost to a
//!   rival that reads the list long before it writes it.

mod capabilities;
mod digest;
mod error;
mod image_config;
pub mod layout;
mod location;
pub mod manifest;
mod platform;
mod provider;
mod reference;
mod text;
mod verifier;

#[cfg(feature = "client")]
mod blob;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
pub mod copy;

#[cfg(feature = "client")]
pub use blob::{BlobSource, BlobStream, Delivery};
pub use capabilities::{Capabilities, ManifestDeletion, TagDeletion};
#[cfg(feature = "aws")]
pub use client::AwsEnvironment;
#[cfg(feature = "azure")]
pub use client::AzureIdentity;
#[cfg(feature = "client")]
pub use client::{
    Access, AccessToken, AwsIdentity, AwsKeys, CiCredentials, Client, ClientBuilder,
    ConfigLocation, Created, Credential, CredentialChain, CredentialError, CredentialSource,
    Deleted, Deletion, DeletionResult, DockerConfig, Erased, ImageChoice, Issued, Keeper, Limits,
    ListEntry, ListedTime, ManifestHead, NoCredentials, Ping, PlatformImage, Registry,
    ResolvedImage, Retag, RetaggedTag, RetryPolicy, Secret, TagChange, TagLists, TimeSource,
    TokenIdentity, choose_image, resolve_image,
};
#[cfg(feature = "google")]
pub use client::{GoogleIdentity, GoogleMetadata, GoogleSettings};
pub use digest::{Digest, DigestError};
pub use error::{Error, ErrorKind};
pub use image_config::{HistoryEntry, ImageConfig};
pub use location::{Location, LocationError};
pub use manifest::RawManifest;
pub use platform::{Platform, PlatformError};
pub use provider::{ProviderKind, Registries, RegistrySettings, UnknownProvider};
pub use reference::{Reference, ReferenceError, RegistryHost, Repository, RepositoryName, Tag};
