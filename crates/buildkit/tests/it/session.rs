//! What a session offers, and what not.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bollard_buildkit_proto::health::HealthCheckRequest;
use bollard_buildkit_proto::health::health_client::HealthClient;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::GetSecretRequest;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_client::SecretsClient;
use bollard_buildkit_proto::moby::filesync::v1::auth_client::AuthClient;
use bollard_buildkit_proto::moby::filesync::v1::{CredentialsRequest, GetTokenAuthorityRequest};
use bollard_buildkit_proto::moby::sshforward::v1::CheckAgentRequest;
use bollard_buildkit_proto::moby::sshforward::v1::ssh_client::SshClient;
use dockit_buildkit::{Build, Login, RegistryAuth, SecretBytes};
use http::Uri;
use tonic::Code;

use crate::fake::{Fake, Session, build, done};

fn origin() -> Uri {
    Uri::from_static("http://localhost")
}

fn secret(id: &str) -> GetSecretRequest {
    GetSecretRequest { id: id.to_owned(), ..GetSecretRequest::default() }
}

async fn run(fake: &Fake, build: &Build) {
    fake.client().build(build, &mut |_| ControlFlow::Continue(())).await.unwrap();
}

#[tokio::test]
async fn a_build_without_secrets_offers_files_and_its_health() {
    let fake = Fake::new(|session: Session, _| async move {
        let methods = ["/moby.filesync.v1.FileSync/DiffCopy", "/grpc.health.v1.Health/Check"];
        assert_eq!(session.methods, methods);
        let mut health = HealthClient::with_origin(session.clone(), origin());
        let answer = health.check(HealthCheckRequest::default()).await?.into_inner();
        assert_eq!(answer.status, 1);
        let mut secrets = SecretsClient::with_origin(session.clone(), origin());
        let nothing = secrets.get_secret(secret("token")).await.unwrap_err();
        assert_eq!(nothing.code(), Code::Unimplemented);
        let mut auth = AuthClient::with_origin(session, origin());
        let nothing = auth.credentials(CredentialsRequest::default()).await.unwrap_err();
        assert_eq!(nothing.code(), Code::Unimplemented);
        done()
    });
    run(&fake, &build()).await;
}

struct OneHost;

#[async_trait]
impl RegistryAuth for OneHost {
    async fn login(&self, host: &str) -> Result<Option<Login>, String> {
        match host {
            "r.example:5000" => {
                let secret = SecretBytes::new("of the registry");
                Ok(Some(Login { user: "me".to_owned(), secret }))
            }
            "broken.example" => Err("the helper is not there".to_owned()),
            _ => Ok(None),
        }
    }
}

#[tokio::test]
async fn credentials_are_given_to_their_host_and_tokens_are_left_to_buildkit() {
    let fake = Fake::new(|session: Session, _| async {
        assert!(session.methods.contains(&"/moby.filesync.v1.Auth/Credentials".to_owned()));
        let mut auth = AuthClient::with_origin(session, origin());
        let mut ask = async |host: &str| {
            let answer = auth.credentials(CredentialsRequest { host: host.to_owned() }).await?;
            let answer = answer.into_inner();
            Ok::<_, tonic::Status>((answer.username, answer.secret))
        };
        let known = ("me".to_owned(), "of the registry".to_owned());
        assert_eq!(ask("r.example:5000").await?, known);
        assert_eq!(ask("r.example").await?, (String::new(), String::new()));
        assert_eq!(ask("broken.example").await.unwrap_err().message(), "the helper is not there");
        let authority = auth.get_token_authority(GetTokenAuthorityRequest::default()).await;
        assert_eq!(authority.unwrap_err().code(), Code::Unimplemented);
        done()
    });
    run(&fake, &Build { registry_auth: Some(Arc::new(OneHost)), ..build() }).await;
}

#[tokio::test]
async fn secrets_and_agents_are_given_by_their_identifiers() {
    let fake = Fake::new(|session: Session, _| async {
        assert!(session.methods.iter().any(|method| method.ends_with(".Secrets/GetSecret")));
        assert!(session.methods.iter().any(|method| method.ends_with(".SSH/ForwardAgent")));
        let mut secrets = SecretsClient::with_origin(session.clone(), origin());
        assert_eq!(secrets.get_secret(secret("a")).await?.into_inner().data, b"1\0\xff");
        assert_eq!(secrets.get_secret(secret("c")).await.unwrap_err().code(), Code::NotFound);
        let mut ssh = SshClient::with_origin(session, origin());
        let agent = |id: &str| CheckAgentRequest { id: id.to_owned() };
        assert!(ssh.check_agent(agent("")).await.is_ok());
        assert!(ssh.check_agent(agent("default")).await.is_ok());
        assert_eq!(ssh.check_agent(agent("b")).await.unwrap_err().code(), Code::NotFound);
        done()
    });
    let secret = |bytes: &[u8]| SecretBytes::new(bytes);
    let build = Build {
        secrets: BTreeMap::from([
            ("a".to_owned(), secret(b"1\0\xff")),
            ("b".to_owned(), secret(b"2")),
        ]),
        ssh_agents: BTreeMap::from([("default".to_owned(), "/run/agent.sock".into())]),
        ..build()
    };
    run(&fake, &build).await;
}

#[tokio::test]
async fn builds_share_files_only_where_everything_in_them_is_equal() {
    let keys = Arc::new(Mutex::new(Vec::new()));
    let build = |dockerfile: &str, context: &str, name: &str| Build {
        dockerfile_name: name.to_owned(),
        ..Build::new(dockerfile, Arc::new(dockit_buildkit::NoFiles), context)
    };
    for build in [
        build("FROM a", "1", "Dockerfile"),
        build("FROM a", "1", "Dockerfile"),
        build("FROM b", "1", "Dockerfile"),
        build("FROM a", "2", "Dockerfile"),
        build("FROM a", "1", "Other"),
    ] {
        let told = Arc::clone(&keys);
        let fake = Fake::new(move |session: Session, _| {
            told.lock().unwrap().push(session.shared_key);
            async { done() }
        });
        run(&fake, &build).await;
    }
    let keys = keys.lock().unwrap();
    assert_eq!(keys[0], keys[1]);
    let different: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(different.len(), 4, "{keys:?}");
}
