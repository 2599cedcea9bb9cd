//! `RUN --mount=type=secret`: `moby.buildkit.secrets.v1.Secrets`
//! (<https://github.com/moby/buildkit/blob/master/session/secrets/secrets.proto>).

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::Secrets;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use tonic::{Request, Response, Status};

use crate::secret::SecretBytes;

#[derive(Clone)]
pub(super) struct Named(pub(super) Arc<BTreeMap<String, SecretBytes>>);

impl Named {
    pub(super) const METHODS: &[&str] = &["GetSecret"];
}

#[async_trait]
impl Secrets for Named {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        match self.0.get(&id) {
            Some(secret) => Ok(Response::new(GetSecretResponse { data: secret.reveal().to_vec() })),
            None => Err(Status::not_found(format!("secret {id}: not found"))),
        }
    }
}
