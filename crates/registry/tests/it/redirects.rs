//! Where redirects may lead, and what goes along.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use dockit_registry::{Access, Digest, ErrorKind, RawManifest, Registry as _};
use dockit_testkit::{Reply, ScriptedServer, TestImage};

use crate::support::{
    BASIC_HEADER, MANIFEST, basic, builder, client, client_with, host_of, present, quick_retries,
    reference,
};

/// A registry that wants Basic credentials and answers them with a redirect.
fn redirecting(location: String) -> ScriptedServer {
    ScriptedServer::start(move |request| match request.header("authorization") {
        Some(BASIC_HEADER) if request.path().starts_with("/v2/") => {
            Reply::new(307).header("Location", location.clone())
        }
        Some(BASIC_HEADER) => Reply::new(200).body("blob"),
        _ => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    })
}

#[tokio::test]
async fn a_blob_comes_from_another_host_without_our_credentials() {
    let storage = ScriptedServer::script([Reply::new(200).body("blob")]);
    let server = redirecting(format!("http://{}/signed?sig=1", storage.host()));
    let reference = reference(&server);
    let blob =
        client_with(basic()).blob(reference.repository(), &Digest::of(b"blob"), 100).await.unwrap();
    assert_eq!(blob, "blob");
    assert_eq!(storage.log(), ["GET /signed?sig=1"]);
    assert_eq!(storage.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn credentials_stay_with_the_registry_they_are_for() {
    let server = redirecting("/elsewhere".to_owned());
    let reference = reference(&server);
    let blob =
        client_with(basic()).blob(reference.repository(), &Digest::of(b"blob"), 100).await.unwrap();
    assert_eq!(blob, "blob");
}

#[tokio::test]
async fn another_host_gets_no_credentials_even_if_it_asks_for_them() {
    let storage =
        ScriptedServer::script([Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\"")]);
    let server = redirecting(format!("http://{}/blob", storage.host()));
    let reference = reference(&server);
    let error = client_with(basic())
        .blob(reference.repository(), &Digest::of(b"blob"), 100)
        .await
        .unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized);
    assert_eq!(storage.requests().len(), 1);
    assert_eq!(storage.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_way_back_to_the_registry_gets_no_credentials_either() {
    let detour = ScriptedServer::start(|request| {
        let back = request.target.split_once("to=").unwrap().1;
        Reply::new(307).header("Location", format!("http://{back}/end"))
    });
    let through = detour.host();
    let server = ScriptedServer::start(move |request| match request.header("authorization") {
        Some(_) if request.path().starts_with("/v2/") => {
            let location = format!("http://{through}/?to={}", host_of(request));
            Reply::new(307).header("Location", location)
        }
        None if request.path() == "/end" => Reply::new(200).body("blob"),
        _ => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    });
    let reference = reference(&server);
    let digest = Digest::of(b"blob");
    client_with(basic()).blob(reference.repository(), &digest, 100).await.unwrap();
}

#[tokio::test]
async fn absence_behind_a_redirect_counts_only_at_a_manifest_endpoint() {
    for (path, absent) in [(MANIFEST, true), ("/login", false), ("/v2/", false)] {
        let other = ScriptedServer::script([Reply::new(404)]);
        let location = format!("http://{}{path}", other.host());
        let server = ScriptedServer::script([Reply::new(302).header("Location", location)]);
        let head = client().head_manifest(&reference(&server), Access::Pull).await;
        match head {
            Ok(found) => assert!(absent && found.is_none(), "{path}"),
            Err(error) => assert!(!absent && *error.kind() == ErrorKind::Invalid, "{error}"),
        }
    }
}

#[tokio::test]
async fn a_manifest_may_be_behind_a_redirect() {
    let image = TestImage::new("behind");
    let other = ScriptedServer::script([present(&image)]);
    let location = format!("http://{}{MANIFEST}", other.host());
    let server = ScriptedServer::script([Reply::new(302).header("Location", location)]);
    let head = client().head_manifest(&reference(&server), Access::Pull).await.unwrap();
    assert_eq!(head.unwrap().digest.as_str(), image.digest());
}

#[tokio::test]
async fn endless_and_dangerous_redirects_are_errors() {
    for (location, expected) in [
        (MANIFEST, "more than 5 redirects"),
        ("http://169.254.169.254/latest/meta-data", "link-local"),
        ("ftp://storage.example/blob", "no web address"),
        ("http://[", "no URL"),
    ] {
        let server = ScriptedServer::script([Reply::new(302).header("Location", location)]);
        let error = client().manifest(&reference(&server)).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_write_is_never_redirected() {
    let other = ScriptedServer::script([Reply::new(201)]);
    let location = format!("http://{}{MANIFEST}", other.host());
    let server =
        ScriptedServer::script([Reply::new(404), Reply::new(307).header("Location", location)]);
    let (reference, image) = (reference(&server), TestImage::new("write"));
    let manifest = RawManifest::new(image.media_type, image.manifest);
    let tag = reference.tag_or_latest();
    let result = client().put_manifest(reference.repository(), &tag, &manifest).await;
    assert_eq!(*result.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_host_that_does_not_speak_tls_is_an_error_that_is_not_repeated() {
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let location = format!("https://{}{MANIFEST}", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let server = ScriptedServer::script([Reply::new(302).header("Location", location)]);
    let client = builder().retry(quick_retries(6)).build().unwrap();
    let error = client.head_manifest(&reference(&server), Access::Pull).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Tls, "{error}");
    assert_eq!(server.requests().len(), 1);
}
