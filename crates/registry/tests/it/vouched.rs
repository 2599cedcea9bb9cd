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
