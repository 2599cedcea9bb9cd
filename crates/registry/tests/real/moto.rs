//! ECR's API as moto has it, which verifies signatures by AWS's own code for them.

use std::sync::Arc;
use std::time::SystemTime;

use dockit_registry::{
    Client, Created, Credential, Deleted, Deletion, Digest, ErrorKind, ListEntry, ProviderKind,
    Registries, Registry as _, RegistryHost, RegistrySettings, Repository, Secret,
};
use dockit_testkit::{MotoProcess, TestImage};
use futures_util::TryStreamExt as _;
use serde_json::json;

use crate::vendors::ecr::Keys;

fn client(moto: &MotoProcess, secret_key: &str) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let host: RegistryHost = moto.host().parse().unwrap();
    let settings = RegistrySettings {
        provider: Some(ProviderKind::Ecr),
        api_url: Some(format!("http://{}", moto.host())),
        vouched: true,
        ..RegistrySettings::default()
    };
    let identity = Keys {
        access_key: moto.access_key().to_owned(),
        secret_key: secret_key.to_owned(),
        region: Some(MotoProcess::REGION.to_owned()),
    };
    Client::builder()
        .no_proxy(true)
        .registries(Registries::from_iter([(host, settings)]))
        .aws(Arc::new(identity))
        .build()
        .unwrap()
}

#[tokio::test]
async fn moto_takes_our_signatures_and_no_others() {
    let moto = MotoProcess::start(&[]);
    let host: RegistryHost = moto.host().parse().unwrap();
    let repository: Repository = format!("{host}/team/app").parse().unwrap();

    let wrong = client(&moto, "wrong");
    let error = wrong.create_repository(&repository).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Denied), "{error}");
    let error = wrong.credential(&host).await.unwrap_err();
    assert!(!error.to_string().contains(moto.secret_key()));

    let client = client(&moto, moto.secret_key());
    // It has always expired there, and is used all the same.
    let password = Secret::new("123456789012-auth-token");
    let expected = Credential::Basic { username: "AWS".to_owned(), password };
    for _ in 0..2 {
        assert_eq!(client.credential(&host).await.unwrap(), expected);
    }

    assert_eq!(client.create_repository(&repository).await.unwrap(), Created::Now);
    assert_eq!(client.create_repository(&repository).await.unwrap(), Created::Before);
    let listed: Vec<Repository> = client.repositories(&host).try_collect().await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&repository));
    let missing: Repository = format!("{host}/team/missing").parse().unwrap();
    let error = client.entries(&missing).try_collect::<Vec<ListEntry>>().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(client.entries(&repository).try_collect::<Vec<_>>().await.unwrap(), []);
}

/// moto has no registry, so the image comes there by its API.
#[tokio::test]
async fn moto_lists_and_deletes_images() {
    let image = TestImage::new("moto");
    let moto = MotoProcess::start(&[
        ("CreateRepository", json!({"repositoryName": "team/app"})),
        (
            "PutImage",
            json!({
                "repositoryName": "team/app",
                "imageTag": "1",
                "imageManifest": String::from_utf8(image.manifest.clone()).unwrap(),
                "imageManifestMediaType": image.media_type,
            }),
        ),
    ]);
    let client = client(&moto, moto.secret_key());
    let repository: Repository = format!("{}/team/app", moto.host()).parse().unwrap();
    let entries: Vec<ListEntry> = client.entries(&repository).try_collect().await.unwrap();
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(entry.tag, Some("1".parse().unwrap()));
    // moto spells manifests anew before it counts their digests.
    assert_eq!(entry.media_type.as_deref(), Some(image.media_type));
    assert!(entry.pushed().is_some_and(|pushed| pushed <= SystemTime::now()));
    let items = vec![
        Deletion::Tag("absent".parse().unwrap()),
        Deletion::Manifest(Digest::of(b"absent")),
        Deletion::Manifest(entry.digest.clone()),
    ];
    let results = client.delete_all(&repository, items).await.unwrap();
    let results: Vec<Deleted> = results.into_iter().map(|one| one.result.unwrap()).collect();
    assert_eq!(results, [Deleted::Absent, Deleted::Absent, Deleted::Done]);
    assert_eq!(client.entries(&repository).try_collect::<Vec<_>>().await.unwrap(), []);
}
