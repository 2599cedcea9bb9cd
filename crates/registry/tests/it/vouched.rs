//! Whom identities of clouds are told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use dockit_registry::{
    Access, AccessToken, Client, CredentialError, ErrorKind, ProviderKind, Registries,
    Registry as _, RegistrySettings, Secret, TokenIdentity,
};
use dockit_testkit::{Reply, ScriptedServer};

use crate::support::{builder, reference};

/// Counts how often somebody wants its token.
#[derive(Default)]
struct Identity(AtomicUsize);

#[async_trait]
impl TokenIdentity for Identity {
    async fn access_token(&self, _: &str) -> Result<Option<AccessToken>, CredentialError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Some(AccessToken { token: Secret::new("cloud-token"), expires: None }))
    }
}

fn client(server: &ScriptedServer, settings: RegistrySettings, identity: &Arc<Identity>) -> Client {
    let host = server.host().parse().unwrap();
    builder()
        .google(identity.clone())
        .azure(identity.clone())
        .registries(Registries::from_iter([(host, settings)]))
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_configuration_alone_does_not_make_a_registry_one_of_a_cloud() {
    for (provider, vouched) in [
        (ProviderKind::Google, false),
        (ProviderKind::Acr, false),
        (ProviderKind::Google, true),
        (ProviderKind::Acr, true),
    ] {
        let server = ScriptedServer::start(|_| {
            Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\"")
        });
        let settings = RegistrySettings { provider: Some(provider), vouched, ..Default::default() };
        let identity = Arc::new(Identity::default());
        let client = client(&server, settings, &identity);
        let looked_up = client.head_manifest(&reference(&server), Access::PullPush).await;
        assert!(matches!(
            looked_up.unwrap_err().kind(),
            ErrorKind::Unauthorized | ErrorKind::Invalid
        ));
        assert_eq!(identity.0.load(Ordering::SeqCst) > 0, vouched, "{provider} {vouched}");
        let told = server
            .requests()
            .iter()
            .any(|request| request.header("authorization").is_some() || !request.body().is_empty());
        assert_eq!(told, vouched, "{provider} {vouched}");
    }
}

/// Signs requests to ECR's API.
#[cfg(feature = "aws")]
struct Keys;

#[cfg(feature = "aws")]
#[async_trait]
impl dockit_registry::AwsIdentity for Keys {
    async fn keys(&self) -> Result<Option<dockit_registry::AwsKeys>, CredentialError> {
        Ok(Some(dockit_registry::AwsKeys {
            access_key_id: "AKIAPLANTED".to_owned(),
            secret_access_key: Secret::new("planted"),
            session_token: Some(Secret::new("planted-session")),
            expires: None,
        }))
    }

    async fn region(&self) -> Option<String> {
        Some("eu-west-1".to_owned())
    }
}

/// Neither a signature nor the name of a key reaches what only a configuration calls ECR.
#[cfg(feature = "aws")]
#[tokio::test]
async fn requests_to_ecrs_api_are_signed_for_aws_alone() {
    use futures_util::TryStreamExt as _;
    for (provider, vouched) in [
        (ProviderKind::Ecr, false),
        (ProviderKind::EcrPublic, false),
        (ProviderKind::Ecr, true),
        (ProviderKind::EcrPublic, true),
    ] {
        let server = ScriptedServer::start(|_| Reply::new(404));
        let host: dockit_registry::RegistryHost = server.host().parse().unwrap();
        let settings = RegistrySettings {
            provider: Some(provider),
            api_url: Some(format!("http://{host}/")),
            vouched,
            create_repositories: true,
            ..Default::default()
        };
        let client = builder()
            .aws(Arc::new(Keys))
            .registries(Registries::from_iter([(host, settings)]))
            .build()
            .unwrap();
        let repository = reference(&server).repository().clone();
        let tag = "1".parse().unwrap();
        client.create_repository(&repository).await.unwrap_err();
        let listed: Result<Vec<_>, _> = client.entries(&repository).try_collect().await;
        listed.unwrap_err();
        let _ = client.delete_tag(&repository, &tag).await;
        let signed = server.requests().iter().any(|request| {
            let told = ["authorization", "x-amz-security-token", "x-amz-date"];
            told.iter().any(|name| request.header(name).is_some())
        });
        assert_eq!(signed, vouched, "{provider} {vouched}: {:?}", server.log());
    }
}
