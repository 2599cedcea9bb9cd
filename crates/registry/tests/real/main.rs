//! The client against a real registry process (Debian's `docker-registry`), and layouts against skopeo.

#[path = "../contract/mod.rs"]
mod contract;
mod copies;
mod faults;
#[cfg(feature = "google")]
mod google_identity;
mod layout;
mod layout_registry;
mod live;
#[cfg(feature = "aws")]
mod moto;
mod skopeo;
#[cfg(feature = "azure")]
mod traced;
mod vendors;

use std::sync::Arc;

use async_trait::async_trait;
use contract::source;
use dockit_registry::{
    Access, Client, Credential, CredentialError, CredentialSource, Digest, ErrorKind, Issued,
    RawManifest, Reference, Registry as _, RegistryHost, Secret, resolve_image,
};
use dockit_testkit::{Auth, PASSWORD, RegistryProcess, TestImage, TokenIssuer, USERNAME};

struct Fixed(Credential);

#[async_trait]
impl CredentialSource for Fixed {
    async fn credential(&self, _: &RegistryHost) -> Result<Issued, CredentialError> {
        Ok(self.0.clone().into())
    }
}

fn client(credential: Credential) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy(true).credentials(Arc::new(Fixed(credential))).build().unwrap()
}

fn basic(password: &str) -> Credential {
    Credential::Basic { username: USERNAME.into(), password: Secret::new(password) }
}

fn reference(registry: &RegistryProcess, name: &str) -> Reference {
    format!("{}/{name}", registry.host()).parse().unwrap()
}

/// Looks up, reads, retags and resolves what `testkit` pushed.
async fn full_round(registry: &RegistryProcess, client: &Client, authorization: Option<&str>) {
    let absent = reference(registry, "team/app:absent");
    assert_eq!(client.head_manifest(&absent, Access::PullPush).await.unwrap(), None);
    assert_eq!(*client.manifest(&absent).await.unwrap_err().kind(), ErrorKind::NotFound);

    let image = TestImage::new("real");
    image.push(registry.host(), "team/app", "1", authorization);
    let present = reference(registry, "team/app:1");
    let head = client.head_manifest(&present, Access::PullPush).await.unwrap().unwrap();
    assert_eq!(head.digest.as_str(), image.digest());
    assert_eq!(head.size, Some(image.manifest.len() as u64));
    let manifest = client.manifest(&present).await.unwrap();
    assert_eq!((manifest.bytes(), manifest.media_type()), (&*image.manifest, image.media_type));

    let repository = present.repository();
    let tag = "moved".parse().unwrap();
    for _ in 0..2 {
        let digest = client.put_manifest(repository, &tag, &manifest).await.unwrap();
        assert_eq!(digest, head.digest);
    }
    let moved = client.head_manifest(&repository.with_tag(tag), Access::Pull).await.unwrap();
    assert_eq!(moved.unwrap().digest, head.digest);

    let config: Digest = image.config_digest().parse().unwrap();
    assert_eq!(client.blob(repository, &config, 10_000).await.unwrap(), image.config);
    let error = client.blob(repository, &Digest::of(b"no such blob"), 10).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotFound);

    let other = TestImage::for_platform("other", "linux", "arm64");
    other.push(registry.host(), "team/app", &other.digest(), authorization);
    let index = TestImage::index(&[(&image, "linux", "amd64"), (&other, "linux", "arm64")]);
    let top = TestImage::push_index(&index, registry.host(), "team/app", "both", authorization);
    let both = reference(registry, "team/app:both");
    let resolved = resolve_image(client, &both, &"linux/arm64".parse().unwrap()).await.unwrap();
    assert_eq!(resolved.top.as_str(), top);
    assert_eq!(resolved.platform_digest.as_str(), other.digest());
    assert_eq!(resolved.config.env, ["PATH=/bin", "SEED=other"]);
}

#[tokio::test]
async fn an_open_registry() {
    let registry = RegistryProcess::start(Auth::None);
    full_round(&registry, &client(Credential::Anonymous), None).await;
}

#[tokio::test]
async fn a_registry_with_passwords() {
    let registry = RegistryProcess::start(Auth::Htpasswd);
    let authorization = RegistryProcess::basic_authorization();
    full_round(&registry, &client(basic(PASSWORD)), Some(&authorization)).await;
    let present = reference(&registry, "team/app:1");
    for credential in [basic("wrong"), Credential::Anonymous] {
        let error = client(credential).head_manifest(&present, Access::Pull).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Unauthorized, "{error}");
    }
}

#[tokio::test]
async fn a_registry_with_tokens() {
    let issuer = TokenIssuer::start();
    let registry = RegistryProcess::start(Auth::Token(&issuer));
    let authorization = issuer.authorization("repository:team/app:pull,push");
    full_round(&registry, &client(basic(PASSWORD)), Some(&authorization)).await;

    let identity =
        Credential::IdentityToken { username: None, token: Secret::new(issuer.identity_token()) };
    let present = reference(&registry, "team/app:1");
    let head = client(identity).head_manifest(&present, Access::PullPush).await.unwrap();
    assert!(head.is_some());
}

#[tokio::test]
async fn a_token_that_grants_reading_alone_reads_and_does_not_write() {
    let issuer = TokenIssuer::start();
    let registry = RegistryProcess::start(Auth::Token(&issuer));
    let authorization = issuer.authorization("repository:team/app:pull,push");
    let image = TestImage::new("read");
    image.push(registry.host(), "team/app", "1", Some(&authorization));
    let present = reference(&registry, "team/app:1");
    let reader = client(Credential::Anonymous);
    let head = reader.head_manifest(&present, Access::PullPush).await.unwrap();
    assert_eq!(head.unwrap().digest.as_str(), image.digest());
    let manifest = RawManifest::new(image.media_type, image.manifest);
    let tag = "2".parse().unwrap();
    let error = reader.put_manifest(present.repository(), &tag, &manifest).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized, "{error}");

    let error = client(basic("wrong")).head_manifest(&present, Access::Pull).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized, "{error}");
}

#[tokio::test]
async fn a_registry_stops_when_it_is_dropped() {
    let registry = RegistryProcess::start(Auth::None);
    let present = reference(&registry, "team/app:1");
    drop(registry);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .no_proxy(true)
        .retry(dockit_registry::RetryPolicy::none())
        .build()
        .unwrap();
    let error = client.head_manifest(&present, Access::Pull).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Transient);
}
