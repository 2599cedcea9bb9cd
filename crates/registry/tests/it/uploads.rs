//! Writing blobs.

use bytes::Bytes;
use dockit_registry::{Digest, Error, ErrorKind, Registry as _};
use dockit_testkit::{Reply, Request, ScriptedServer};

use crate::support::{BASIC_HEADER, basic, builder, client, client_with, quick_retries, reference};

const BYTES: &[u8] = b"some bytes";

async fn put(server: &ScriptedServer) -> Result<Digest, Error> {
    client().put_blob(reference(server).repository(), Bytes::from_static(BYTES)).await
}

/// Answers an upload to `location` as a registry does.
fn accepting(location: String) -> impl Fn(&Request) -> Reply + Send + Sync {
    move |request| match request.method.as_str() {
        "HEAD" => Reply::new(404),
        "POST" => Reply::new(202).header("Location", location.clone()),
        "PUT" => {
            Reply::new(201).header("Docker-Content-Digest", Digest::of(request.body()).to_string())
        }
        _ => Reply::new(400),
    }
}

#[tokio::test]
async fn a_blob_is_sent_in_one_piece_to_where_the_registry_says() {
    for location in ["/v2/team/app/blobs/uploads/7?_state=x", "7?_state=x"] {
        let server = ScriptedServer::start(accepting(location.to_owned()));
        let digest = put(&server).await.unwrap();
        assert_eq!(digest, Digest::of(BYTES));
        let encoded = digest.to_string().replace(':', "%3A");
        assert_eq!(
            server.log(),
            [
                format!("HEAD /v2/team/app/blobs/{digest}"),
                "POST /v2/team/app/blobs/uploads/".to_owned(),
                format!("PUT /v2/team/app/blobs/uploads/7?_state=x&digest={encoded}"),
            ]
        );
        let upload = &server.requests()[2];
        assert_eq!(upload.body(), BYTES);
        assert_eq!(upload.header("content-type"), Some("application/octet-stream"));
    }
}

#[tokio::test]
async fn what_is_there_is_not_sent() {
    let server = ScriptedServer::script([Reply::new(200)]);
    assert_eq!(put(&server).await.unwrap(), Digest::of(BYTES));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn another_server_gets_the_bytes_but_no_credentials() {
    let storage = ScriptedServer::start(accepting(String::new()));
    let target = format!("http://{}/upload?sig=secret", storage.host());
    let server = ScriptedServer::start(move |request| {
        if request.header("authorization") == Some(BASIC_HEADER) {
            accepting(target.clone())(request)
        } else {
            Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\"")
        }
    });
    let client = client_with(basic());
    client.put_blob(reference(&server).repository(), Bytes::from_static(BYTES)).await.unwrap();
    let upload = &storage.requests()[0];
    assert_eq!((upload.method.as_str(), upload.body()), ("PUT", BYTES));
    assert_eq!(upload.header("authorization"), None);
}

#[tokio::test]
async fn a_server_elsewhere_that_asks_for_credentials_gets_none_and_its_secrets_are_not_told() {
    let storage =
        ScriptedServer::script([Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\"")]);
    let target = format!("http://{}/upload?sig=secret", storage.host());
    let server = ScriptedServer::start(accepting(target));
    let client = client_with(basic());
    let result = client.put_blob(reference(&server).repository(), Bytes::from_static(BYTES)).await;
    let error = result.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized);
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    assert!(storage.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn an_upload_to_an_odd_place_is_refused() {
    for location in ["http://169.254.169.254/x", "file:///etc/passwd", "http://[bad"] {
        let server = ScriptedServer::start(accepting(location.to_owned()));
        let error = put(&server).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Invalid, "{location}: {error}");
        assert!(server.requests().iter().all(|request| request.method != "PUT"));
    }
}

#[tokio::test]
async fn a_registry_that_stores_something_else_is_an_error() {
    let begun = Reply::new(202).header("Location", "u");
    for (header, kind) in [
        (Digest::of(b"else").to_string(), ErrorKind::DigestMismatch),
        ("nonsense".to_owned(), ErrorKind::DigestMismatch),
    ] {
        let stored = Reply::new(201).header("Docker-Content-Digest", header);
        let server = ScriptedServer::script([Reply::new(404), begun.clone(), stored]);
        assert_eq!(*put(&server).await.unwrap_err().kind(), kind);
    }
    let silent = [Reply::new(404), begun.clone(), Reply::new(201), Reply::new(404)];
    assert_eq!(*put(&ScriptedServer::script(silent)).await.unwrap_err().kind(), ErrorKind::Invalid);
    let silent = [Reply::new(404), begun, Reply::new(201), Reply::new(200)];
    put(&ScriptedServer::script(silent)).await.unwrap();
    let nowhere = [Reply::new(404), Reply::new(202)];
    assert_eq!(
        *put(&ScriptedServer::script(nowhere)).await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
}

#[tokio::test]
async fn an_upload_that_was_lost_is_begun_again() {
    let begun = Reply::new(202).header("Location", "u");
    let stored = Reply::new(201).header("Docker-Content-Digest", Digest::of(BYTES).to_string());
    for lost in [Reply::new(404), Reply::new(503), Reply::hang_up()] {
        let replies =
            [Reply::new(404), begun.clone(), lost, Reply::new(404), begun.clone(), stored.clone()];
        let server = ScriptedServer::script(replies);
        let client = builder().retry(quick_retries(2)).build().unwrap();
        let repository = reference(&server).repository().clone();
        client.put_blob(&repository, Bytes::from_static(BYTES)).await.unwrap();
        assert_eq!(server.requests().len(), 6);
    }
}

#[tokio::test]
async fn a_refusal_is_an_error() {
    let server = ScriptedServer::script([Reply::new(404), Reply::new(403)]);
    assert_eq!(*put(&server).await.unwrap_err().kind(), ErrorKind::Denied);
}
