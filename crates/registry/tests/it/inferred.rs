//! Credentials that nobody chose for a registry, and that are good for nothing: what anybody may pull is
//! pulled all the same.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use dockit_registry::{
    Access, AccessToken, CiCredentials, Client, ClientBuilder, CredentialError, Digest, Error,
    ErrorKind, ProviderKind, RawManifest, Reference, Registries, Registry as _, RegistrySettings,
    Secret, TokenIdentity,
};
use dockit_testkit::{Reply, Request, ScriptedServer, TestImage};

use crate::support::{basic, builder, challenge, client_with, good_token, host_of, present};

/// A cloud's identity, which may be broken. Counts how often it is asked.
#[derive(Default)]
struct Identity {
    works: bool,
    asked: AtomicUsize,
}

#[async_trait]
impl TokenIdentity for Identity {
    async fn access_token(&self, _: &str) -> Result<Option<AccessToken>, CredentialError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if !self.works {
            return Err(CredentialError::new("the login has expired"));
        }
        Ok(Some(AccessToken { token: Secret::new("cloud-token"), expires: None }))
    }
}

/// A registry that knows nobody, answers so with this status, and lets anybody pull what is public. What is
/// not, it or its token server refuses in several ways.
fn registry(status: u16) -> ScriptedServer {
    let image = TestImage::new("inferred");
    ScriptedServer::start(move |request| {
        let anonymous = request.header("authorization").is_none();
        let about = |name: &str| request.target.contains(name);
        match (request.path(), request.header("authorization")) {
            ("/oauth2/exchange", _) => Reply::new(status),
            ("/token", Some(_)) => {
                Reply::new(status).body(r#"{"errors":[{"code":"DENIED","message":"denied"}]}"#)
            }
            ("/token", None) if about("secret-1") || about("push") || about("delete") => {
                Reply::new(403)
            }
            ("/token", None) => good_token(),
            (_, Some("Bearer good")) if about("secret-2") => Reply::new(403),
            (_, Some("Bearer good")) if about("public") && request.method != "PUT" => {
                present(&image)
            }
            (path, _) => {
                let name = path.split('/').nth(2).unwrap_or_default();
                assert!(anonymous || about("secret-3"), "{request:?}");
                challenge(&host_of(request), &format!("repository:{name}:pull"), "")
            }
        }
    })
}

/// A client for which the server is a registry of this vendor.
fn of_vendor(server: &ScriptedServer, provider: ProviderKind) -> ClientBuilder {
    let provider = Some(provider);
    let settings = RegistrySettings { provider, vouched: true, ..RegistrySettings::default() };
    let host = server.host().parse().unwrap();
    builder().registries(Registries::from_iter([(host, settings)]))
}

/// A client in a job of CI whose variables name the server.
fn in_job(server: &ScriptedServer) -> Client {
    let host = server.host();
    let variables = CiCredentials::new(&|name: &str| match name {
        "CI_REGISTRY" => Some(OsString::from(&host)),
        "CI_JOB_TOKEN" => Some(OsString::from("hunter2")),
        _ => None,
    });
    builder().credentials(Arc::new(variables)).build().unwrap()
}

fn image(server: &ScriptedServer, name: &str) -> Reference {
    format!("{}/{name}:1", server.host()).parse().unwrap()
}

async fn pull(client: &Client, server: &ScriptedServer, name: &str) -> Result<bool, Error> {
    let found = client.head_manifest(&image(server, name), Access::Pull).await;
    Ok(found?.is_some())
}

/// Pulls what is public, and fails with an error that says so wherever somebody has to be known.
async fn assert_only_public(client: &Client, server: &ScriptedServer, says: &str) {
    assert!(pull(client, server, "public").await.unwrap());
    for name in ["secret-1", "secret-2", "secret-3", "secret-2", "secret-3"] {
        let error = pull(client, server, name).await.unwrap_err();
        assert!(error.to_string().contains(says), "{name}: {error}");
    }
    let public = image(server, "public");
    let test_image = TestImage::new("inferred");
    let manifest = RawManifest::new(test_image.media_type, test_image.manifest);
    let pushed = client.put_manifest(public.repository(), &public.tag_or_latest(), &manifest).await;
    let deleted = client.delete_manifest(public.repository(), &Digest::of(b"x")).await;
    let looked_up = client.head_manifest(&public, Access::PullPush).await;
    for error in [pushed.unwrap_err(), deleted.unwrap_err(), looked_up.unwrap_err()] {
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(pull(client, server, "public").await.unwrap());
    assert!(pull(client, server, "another-public").await.unwrap());
}

/// The requests that hold a credential.
fn told(server: &ScriptedServer) -> Vec<Request> {
    let tells = |request: &Request| {
        request.path() == "/oauth2/exchange"
            || (request.path() == "/token" && request.header("authorization").is_some())
    };
    server.requests().into_iter().filter(tells).collect()
}

#[tokio::test]
async fn a_login_that_has_expired_spoils_no_public_image() {
    let server = registry(401);
    let identity = Arc::new(Identity::default());
    let client = of_vendor(&server, ProviderKind::Google).google(identity.clone()).build().unwrap();
    assert_only_public(&client, &server, "the login has expired").await;
    assert!(told(&server).is_empty());
    assert_eq!(identity.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_token_that_a_registry_of_google_refuses_spoils_no_public_image() {
    let server = registry(401);
    let identity = Arc::new(Identity { works: true, ..Identity::default() });
    let client = of_vendor(&server, ProviderKind::Google).google(identity).build().unwrap();
    assert_only_public(&client, &server, "that of this machine or job").await;
    assert_eq!(told(&server).len(), 1);
}

#[tokio::test]
async fn an_exchange_that_is_refused_spoils_no_public_image() {
    for status in [400, 401, 403] {
        let server = registry(status);
        let identity = Arc::new(Identity { works: true, ..Identity::default() });
        let client = of_vendor(&server, ProviderKind::Acr).azure(identity).build().unwrap();
        assert_only_public(&client, &server, "the role AcrPull").await;
        assert_eq!(told(&server).len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_jobs_token_that_is_refused_spoils_no_public_image() {
    let server = registry(401);
    assert_only_public(&in_job(&server), &server, "that of this machine or job").await;
    assert_eq!(told(&server).len(), 1);
    // GHCR denies it, which may be about one repository, and about one action.
    let server = registry(403);
    assert_only_public(&in_job(&server), &server, "that of this machine or job").await;
    let told: Vec<String> = told(&server).iter().map(|one| one.query("scope").join(" ")).collect();
    assert_eq!(told.len(), told.iter().collect::<BTreeSet<_>>().len(), "{told:?}");
}

#[tokio::test]
async fn a_credential_that_somebody_chose_is_not_left_out() {
    for (status, kind) in [(401, ErrorKind::Unauthorized), (403, ErrorKind::Denied)] {
        let server = registry(status);
        let client = client_with(basic());
        let error = pull(&client, &server, "public").await.unwrap_err();
        assert_eq!(*error.kind(), kind, "{error}");
        assert!(!error.to_string().contains("this machine or job"), "{error}");
    }
}
