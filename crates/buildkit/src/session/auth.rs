//! Credentials of registries: `moby.filesync.v1.Auth`
//! (<https://github.com/moby/buildkit/blob/master/session/auth/auth.proto>).
//!
//! BuildKit is given what a registry takes, and gets tokens for it by itself. The other way, to fetch tokens
//! here, is not offered: without it BuildKit falls back to this one, in all its versions.

use std::sync::Arc;

use async_trait::async_trait;
use bollard_buildkit_proto::moby::filesync::v1::auth_server::Auth;
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse,
    GetTokenAuthorityRequest, GetTokenAuthorityResponse, VerifyTokenAuthorityRequest,
    VerifyTokenAuthorityResponse,
};
use tonic::{Request, Response, Status};

use crate::secret::SecretBytes;

/// Who a build is to registries.
#[async_trait]
pub trait RegistryAuth: Send + Sync {
    /// What the registry at `host` takes: `HOST` or `HOST:PORT` as it is connected to, so that Docker Hub
    /// is `registry-1.docker.io`. `None`: nobody is known there, and it is asked anonymously.
    ///
    /// # Errors
    ///
    /// A text for the build's failure. It may be shown to anybody: without secrets.
    async fn login(&self, host: &str) -> Result<Option<Login>, String>;
}

/// Whom a registry lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user. Empty: the secret is an identity token, which is exchanged for others.
    pub user: String,
    /// The password or token.
    pub secret: SecretBytes,
}

#[derive(Clone)]
pub(super) struct Credentials(pub(super) Arc<dyn RegistryAuth>);

impl Credentials {
    pub(super) const METHODS: &[&str] = &["Credentials"];
}

#[async_trait]
impl Auth for Credentials {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let login = self.0.login(&request.into_inner().host).await.map_err(Status::internal)?;
        let Some(Login { user, secret }) = login else {
            return Ok(Response::new(CredentialsResponse::default()));
        };
        let secret = String::from_utf8(secret.reveal().to_vec())
            .map_err(|_| Status::internal("the credential is not UTF-8"))?;
        Ok(Response::new(CredentialsResponse { username: user, secret }))
    }

    async fn fetch_token(
        &self,
        _: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        Err(only_credentials())
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(only_credentials())
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(only_credentials())
    }
}

fn only_credentials() -> Status {
    Status::unimplemented("tokens are not fetched here")
}
