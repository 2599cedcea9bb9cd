//! From a reference to one platform's image.

use std::collections::BTreeMap;

use dockit_registry::{Digest, Error, ErrorKind, Platform, ResolvedImage, resolve_image};
use dockit_testkit::{Reply, ScriptedServer, TestImage};

use crate::support::{client, present, reference};

/// A registry that holds these images, and `top` under every tag.
fn registry(top: Reply, images: &[&TestImage]) -> ScriptedServer {
    let mut replies = BTreeMap::new();
    for image in images {
        replies.insert(format!("/v2/team/app/manifests/{}", image.digest()), present(image));
        let config = Reply::new(200).body(image.config.clone());
        replies.insert(format!("/v2/team/app/blobs/{}", image.config_digest()), config);
    }
    replies.insert("/v2/team/app/manifests/1".to_owned(), top);
    ScriptedServer::start(move |request| {
        replies.get(request.path()).cloned().unwrap_or_else(|| Reply::new(404))
    })
}

fn index_reply(index: &[u8]) -> Reply {
    Reply::new(200).header("Content-Type", "application/vnd.oci.image.index.v1+json").body(index)
}

async fn resolve(server: &ScriptedServer, platform: &str) -> Result<ResolvedImage, Error> {
    let platform: Platform = platform.parse().unwrap();
    resolve_image(&client(), &reference(server), &platform).await
}

#[tokio::test]
async fn an_index_leads_to_the_platforms_manifest_and_config() {
    let amd = TestImage::for_platform("amd", "linux", "amd64");
    let arm = TestImage::for_platform("arm", "linux", "arm64");
    let index = TestImage::index(&[
        (&TestImage::new("attestation"), "unknown", "unknown"),
        (&amd, "linux", "amd64"),
        (&arm, "linux", "arm64"),
    ]);
    let server = registry(index_reply(&index), &[&amd, &arm]);
    let image = resolve(&server, "linux/arm64").await.unwrap();
    assert_eq!(image.top, Digest::of(&index));
    assert_eq!(image.platform_digest.as_str(), arm.digest());
    assert_eq!(image.config.env, ["PATH=/bin", "SEED=arm"]);
    assert_eq!(image.config.onbuild, ["RUN true"]);
    let error = resolve(&server, "linux/s390x").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::WrongPlatform);
    let text = error.to_string();
    assert!(text.ends_with("is for linux/amd64, linux/arm64, not for linux/s390x"), "{text}");
}

#[tokio::test]
async fn a_single_manifest_is_its_own_platforms() {
    let image = TestImage::new("single");
    let server = registry(present(&image), &[&image]);
    let resolved = resolve(&server, "linux/amd64").await.unwrap();
    assert_eq!(resolved.top.as_str(), image.digest());
    assert_eq!(resolved.platform_digest, resolved.top);
    let error = resolve(&server, "linux/arm64").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::WrongPlatform);
    assert!(error.to_string().ends_with("is for linux/amd64, not for linux/arm64"), "{error}");
}

#[tokio::test]
async fn what_an_index_points_to_has_to_be_there_and_an_image() {
    let image = TestImage::new("inner");
    let inner = TestImage::index(&[(&image, "linux", "amd64")]);
    let wrapped = TestImage { manifest: inner.clone(), ..image.clone() };
    let outer = TestImage::index(&[(&wrapped, "linux", "amd64")]);
    let server = registry(index_reply(&outer), &[]);
    assert_eq!(*resolve(&server, "linux/amd64").await.unwrap_err().kind(), ErrorKind::NotFound);
    let digest = Digest::of(&inner);
    let server = ScriptedServer::start(move |request| {
        index_reply(if request.path().ends_with(digest.as_str()) { &inner } else { &outer })
    });
    assert_eq!(*resolve(&server, "linux/amd64").await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_config_of_other_bytes_is_refused() {
    let image = TestImage::new("config");
    let manifest = present(&image);
    let server = ScriptedServer::start(move |request| {
        if request.path().contains("/blobs/") {
            Reply::new(200).body("{}")
        } else {
            manifest.clone()
        }
    });
    let error = resolve(&server, "linux/amd64").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::DigestMismatch);
}
