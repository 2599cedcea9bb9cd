//! Putting manifests.

use dockit_registry::{Digest, Error, ErrorKind, RawManifest, Registry as _};
use dockit_testkit::{Reply, ScriptedServer, TestImage};

use crate::support::{MANIFEST, builder, client, present, quick_retries, reference};

async fn put(server: &ScriptedServer, image: &TestImage) -> Result<Digest, Error> {
    let reference = reference(server);
    let manifest = RawManifest::new(image.media_type, image.manifest.clone());
    client().put_manifest(reference.repository(), &reference.tag_or_latest(), &manifest).await
}

#[tokio::test]
async fn the_bytes_are_sent_as_they_are_with_their_media_type() {
    let image = TestImage::new("bytes");
    let stored = Reply::new(201).header("Docker-Content-Digest", image.digest());
    let server = ScriptedServer::script([Reply::new(404), stored]);
    assert_eq!(put(&server, &image).await.unwrap().as_str(), image.digest());
    assert_eq!(server.log(), [format!("HEAD {MANIFEST}"), format!("PUT {MANIFEST}")]);
    let request = &server.requests()[1];
    assert_eq!(request.body(), image.manifest);
    assert_eq!(request.header("content-type"), Some(image.media_type));
}

#[tokio::test]
async fn a_tag_that_is_there_already_is_not_written() {
    let image = TestImage::new("same");
    let server = ScriptedServer::script([present(&image)]);
    assert_eq!(put(&server, &image).await.unwrap().as_str(), image.digest());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_tag_that_is_elsewhere_is_moved() {
    let (image, other) = (TestImage::new("new"), TestImage::new("old"));
    let stored = Reply::new(201).header("Docker-Content-Digest", image.digest());
    let server = ScriptedServer::script([present(&other), stored]);
    assert_eq!(put(&server, &image).await.unwrap().as_str(), image.digest());
}

#[tokio::test]
async fn a_registry_that_stores_something_else_is_an_error() {
    let image = TestImage::new("else");
    for (header, kind) in [
        (TestImage::new("other").digest(), ErrorKind::DigestMismatch),
        ("nonsense".to_owned(), ErrorKind::Invalid),
    ] {
        let stored = Reply::new(201).header("Docker-Content-Digest", header);
        let server = ScriptedServer::script([Reply::new(404), stored]);
        assert_eq!(*put(&server, &image).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn a_registry_that_does_not_say_what_it_stored_is_asked() {
    let image = TestImage::new("silent");
    let server = ScriptedServer::script([Reply::new(404), Reply::new(201), present(&image)]);
    assert_eq!(put(&server, &image).await.unwrap().as_str(), image.digest());
    assert_eq!(server.log()[2], format!("GET /v2/team/app/manifests/{}", image.digest()));
    let server = ScriptedServer::script([Reply::new(404), Reply::new(201), Reply::new(404)]);
    assert_eq!(*put(&server, &image).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_refused_write_is_an_error_with_its_code() {
    let body = r#"{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}"#;
    let server = ScriptedServer::script([Reply::new(404), Reply::new(400).body(body)]);
    let error = put(&server, &TestImage::new("immutable")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.codes()),
        (&ErrorKind::Immutable, ["TAG_INVALID".into()].as_slice())
    );
}

#[tokio::test]
async fn a_write_that_broke_off_is_repeated() {
    let image = TestImage::new("again");
    let stored = Reply::new(201).header("Docker-Content-Digest", image.digest());
    let server = ScriptedServer::script([Reply::new(404), Reply::hang_up(), stored]);
    let client = builder().retry(quick_retries(3)).build().unwrap();
    let reference = reference(&server);
    let manifest = RawManifest::new(image.media_type, image.manifest.clone());
    let tag = reference.tag_or_latest();
    let digest = client.put_manifest(reference.repository(), &tag, &manifest).await.unwrap();
    assert_eq!(digest.as_str(), image.digest());
}

#[tokio::test]
async fn a_manifest_that_no_registry_has_to_take_is_not_sent() {
    let server = ScriptedServer::script([Reply::new(201)]);
    let reference = reference(&server);
    let manifest = RawManifest::new("m", vec![b' '; 4 * 1024 * 1024 + 1]);
    let tag = reference.tag_or_latest();
    let error = client().put_manifest(reference.repository(), &tag, &manifest).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid);
    assert!(server.requests().is_empty());
}

async fn put_at_digest(server: &ScriptedServer, image: &TestImage) -> Result<Digest, Error> {
    let manifest = RawManifest::new(image.media_type, image.manifest.clone());
    client().put_manifest_at_digest(reference(server).repository(), &manifest).await
}

#[tokio::test]
async fn a_manifest_that_is_there_is_not_sent_again() {
    let image = TestImage::new("there");
    let server = ScriptedServer::script([present(&image)]);
    assert_eq!(put_at_digest(&server, &image).await.unwrap().as_str(), image.digest());
    assert_eq!(server.log(), [format!("HEAD /v2/team/app/manifests/{}", image.digest())]);
}

#[tokio::test]
async fn a_manifest_put_by_its_digest_moves_no_tag_and_is_read_back_if_need_be() {
    let image = TestImage::new("digest");
    let path = format!("/v2/team/app/manifests/{}", image.digest());
    let announced = Reply::new(201).header("Docker-Content-Digest", image.digest());
    for (stored, asked) in [(announced, false), (Reply::new(201), true)] {
        let server = ScriptedServer::script([Reply::new(404), stored, present(&image)]);
        assert_eq!(put_at_digest(&server, &image).await.unwrap().as_str(), image.digest());
        let mut log = vec![format!("HEAD {path}"), format!("PUT {path}")];
        log.extend(asked.then(|| format!("GET {path}")));
        assert_eq!(server.log(), log);
        assert_eq!(server.requests()[1].body(), image.manifest);
    }
    let server = ScriptedServer::script([Reply::new(404), Reply::new(201), Reply::new(404)]);
    assert_eq!(*put_at_digest(&server, &image).await.unwrap_err().kind(), ErrorKind::NotFound);
}
