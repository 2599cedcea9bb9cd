//! What a build offers to BuildKit while it runs
//! (<https://github.com/moby/buildkit/blob/master/session/session.go>).
//!
//! A session is a connection on which BuildKit makes the calls, and this end answers. Each kind of thing that
//! is offered is a service in a file of its own; what is not offered is not announced either.

mod auth;
mod files;
mod health;
mod secrets;
mod ssh;
mod stream;

use std::convert::Infallible;
use std::sync::Arc;

use bollard_buildkit_proto::health::health_server::HealthServer;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::SecretsServer;
use bollard_buildkit_proto::moby::filesync::v1::auth_server::AuthServer;
use bollard_buildkit_proto::moby::sshforward::v1::ssh_server::SshServer;
use bollard_buildkit_proto::moby::upload::v1::upload_server::UploadServer;
use http::{HeaderName, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::server::NamedService;
use tower_service::Service;

pub use self::auth::{Login, RegistryAuth};
pub(crate) use self::files::ContextFailure;
use self::files::{Files, Upload};
pub(crate) use self::stream::over_stream;
use crate::build::{Build, Transfer};
use crate::connection::{Io, MOST_METADATA};
use crate::random::random_id;

/// One session: for one build.
pub(crate) struct Session {
    id: String,
    shared_key: String,
    services: Services,
}

impl Session {
    pub(crate) fn new(build: &Build) -> Self {
        let files = Files::new(
            Arc::clone(&build.context),
            &build.dockerfile_name,
            build.dockerfile.clone(),
        );
        let services = Services {
            upload: (build.transfer == Transfer::Archive)
                .then(|| UploadServer::new(files.upload())),
            files,
            auth: build.registry_auth.clone().map(|auth| AuthServer::new(auth::Credentials(auth))),
            secrets: (!build.secrets.is_empty())
                .then(|| SecretsServer::new(secrets::Named(Arc::new(build.secrets.clone())))),
            ssh: (!build.ssh_agents.is_empty())
                .then(|| SshServer::new(ssh::Agents(Arc::new(build.ssh_agents.clone())))),
            health: HealthServer::new(health::Alive),
        };
        Self { id: random_id(), shared_key: shared_key(build), services }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Why files could not be sent, once that is so.
    pub(crate) fn failure(&self) -> ContextFailure {
        self.services.files.failure()
    }

    /// What BuildKit has to know of it beforehand.
    pub(crate) fn headers(&self) -> Vec<(HeaderName, String)> {
        let header = |name, value: &str| (HeaderName::from_static(name), value.to_owned());
        let mut headers = vec![
            header("x-docker-expose-session-uuid", &self.id),
            header("x-docker-expose-session-name", "dockit"),
            header("x-docker-expose-session-sharedkey", &self.shared_key),
        ];
        for (service, methods) in self.services.offered() {
            for method in methods {
                let path = format!("/{service}/{method}");
                headers.push(header("x-docker-expose-session-grpc-method", &path));
            }
        }
        headers
    }

    /// Answers calls that come over `io`, as one of the `tasks`.
    pub(crate) fn serve(&self, io: impl Io + 'static, tasks: &mut JoinSet<()>) {
        let services = self.services.clone();
        let service = service_fn(move |request| services.clone().call(request));
        let connection = http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(MOST_METADATA)
            .serve_connection(TokioIo::new(io), service);
        tasks.spawn(async move {
            // Where it breaks, so does the build.
            drop(connection.await);
        });
    }
}

/// BuildKit keeps the files of a session for later ones with the same key, and then looks at their sizes and
/// times, not into them. So the key has to follow from everything that is in them.
fn shared_key(build: &Build) -> String {
    let mut hash = Sha256::new();
    for part in [build.context_id.as_bytes(), build.dockerfile_name.as_bytes(), &build.dockerfile] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Clone)]
struct Services {
    files: Files,
    upload: Option<UploadServer<Upload>>,
    auth: Option<AuthServer<auth::Credentials>>,
    secrets: Option<SecretsServer<secrets::Named>>,
    ssh: Option<SshServer<ssh::Agents>>,
    health: HealthServer<health::Alive>,
}

impl Services {
    /// Services with those of their methods that are there.
    fn offered(&self) -> Vec<(&'static str, &'static [&'static str])> {
        let mut offered =
            vec![(Files::SERVICE, Files::METHODS), named(&self.health, health::Alive::METHODS)];
        offered.extend(self.upload.as_ref().map(|it| named(it, Upload::METHODS)));
        offered.extend(self.auth.as_ref().map(|it| named(it, auth::Credentials::METHODS)));
        offered.extend(self.secrets.as_ref().map(|it| named(it, secrets::Named::METHODS)));
        offered.extend(self.ssh.as_ref().map(|it| named(it, ssh::Agents::METHODS)));
        offered
    }

    async fn call(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<tonic::body::Body>, Infallible> {
        let path = request.uri().path().to_owned();
        let (service, method) =
            path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or_default();
        match self {
            Self { files, .. } if service == Files::SERVICE => files.call(method, request).await,
            Self { mut health, .. } if is(&health, service) => health.call(request).await,
            Self { upload: Some(mut upload), .. } if is(&upload, service) => {
                upload.call(request).await
            }
            Self { auth: Some(mut auth), .. } if is(&auth, service) => auth.call(request).await,
            Self { secrets: Some(mut secrets), .. } if is(&secrets, service) => {
                secrets.call(request).await
            }
            Self { ssh: Some(mut ssh), .. } if is(&ssh, service) => ssh.call(request).await,
            _ => Ok(Status::unimplemented("it is not offered").into_http()),
        }
    }
}

fn named<S: NamedService>(
    _: &S,
    methods: &'static [&'static str],
) -> (&'static str, &'static [&'static str]) {
    (S::NAME, methods)
}

fn is<S: NamedService>(_: &S, service: &str) -> bool {
    S::NAME == service
}
