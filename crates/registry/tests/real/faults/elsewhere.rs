//! A registry that sends its client to other servers, which must not see a credential.

use bytes::Bytes;
use dockit_registry::{Access, Digest, Error, ErrorKind, Registry as _, Repository, Tag};
use dockit_testkit::{Fault, Reply, ScriptedServer};
use futures_util::TryStreamExt as _;

use super::{Front, MANIFEST, assert_no_credentials};

const BLOB: &[u8] = b"a blob";

/// What the cloud's metadata service would be asked.
const METADATA: &str = "http://169.254.169.254/latest/api/token";

#[tokio::test]
async fn blobs_are_fetched_from_where_the_registry_sends_its_client_without_credentials() {
    let front = Front::with_password();
    let client = front.acquainted_client().await;
    let config: Digest = front.image.config_digest().parse().unwrap();
    let blobs = format!("/v2/team/app/blobs/{config}");
    for (body, expected) in [
        (front.image.config.clone(), None),
        (b"another blob".to_vec(), Some(ErrorKind::DigestMismatch)),
    ] {
        let storage = ScriptedServer::start(move |_| Reply::new(200).body(body.clone()));
        let location = format!("http://{}/bucket/x?sig=1", storage.host());
        front.proxy.reset();
        front.fault("GET", &blobs, Fault::reply(Reply::new(307).header("Location", location)));
        let blob = client.blob(&front.repository(), &config, 10_000).await;
        assert_eq!(blob.err().map(|error| error.kind().clone()), expected);
        assert_eq!(storage.log(), ["GET /bucket/x?sig=1"]);
        assert_no_credentials(&storage);
        let [asked] = &*front.proxy.exchanges() else { panic!("{:?}", front.proxy.log()) };
        assert!(asked.header("authorization").is_some());
    }
}

#[tokio::test]
async fn an_upload_that_is_sent_elsewhere_takes_no_credentials_along_and_proves_nothing() {
    let front = Front::with_password();
    let client = front.acquainted_client().await;
    let other = ScriptedServer::start(|_| Reply::new(201));
    front.fault("POST", "*/blobs/uploads/", Fault::elsewhere("Location", &other.host()));
    let put = client.put_blob(&front.repository(), Bytes::from_static(BLOB)).await;
    let error = put.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(other.requests().len(), 1);
    assert_no_credentials(&other);
    assert_eq!(front.outline(), ["HEAD 404", "POST 202", "HEAD 404"]);
    assert_eq!(front.held(&format!("/v2/team/app/blobs/{}", Digest::of(BLOB))), 404);
}

#[tokio::test]
async fn a_list_does_not_go_on_at_another_server() {
    let front = Front::with_password();
    let client = front.acquainted_client().await;
    let other = ScriptedServer::start(|_| Reply::new(200).body(r#"{"tags":["x"]}"#));
    let link = format!("<http://{}/v2/x?last=a&n=1>; rel=\"next\"", other.host());
    front.fault("GET", "*/tags/list", Fault::header("Link", &link));
    front.fault("GET", "/v2/_catalog", Fault::header("Link", &link));
    let (host, repository) = (front.repository().host().clone(), front.repository());
    let tags: Result<Vec<Tag>, Error> = client.tags(&repository).try_collect().await;
    let catalog: Result<Vec<Repository>, Error> = client.repositories(&host).try_collect().await;
    for error in [tags.unwrap_err(), catalog.unwrap_err()] {
        assert_eq!(*error.kind(), ErrorKind::Invalid, "{error}");
    }
    // Before the repositories, it was asked whose registry it is.
    assert_eq!(front.outline(), ["GET 200", "GET 401", "GET 200"]);
    assert_eq!(other.log(), [""; 0]);
}

#[tokio::test]
async fn nothing_is_written_to_where_a_redirect_leads() {
    let front = Front::with_password();
    let client = front.acquainted_client().await;
    let other = ScriptedServer::start(|_| Reply::new(201));
    for status in [301, 302, 303, 307, 308] {
        front.proxy.reset();
        let location = format!("http://{}/x", other.host());
        let away = Fault::reply(Reply::new(status).header("Location", location));
        front.fault("PUT", "/v2/team/app/manifests/new", away.clone());
        front.fault("POST", "*/blobs/uploads/", away);
        let tag = "new".parse().unwrap();
        let put = client.put_manifest(&front.repository(), &tag, &front.manifest()).await;
        let error = put.unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        let put = client.put_blob(&front.repository(), Bytes::from_static(BLOB)).await;
        let error = put.unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        let put = format!("PUT {status}");
        let post = format!("POST {status}");
        assert_eq!(front.outline(), ["HEAD 404", &*put, "HEAD 404", &*post]);
        assert_eq!(other.log(), [""; 0]);
    }
}

#[tokio::test]
async fn nobody_is_sent_to_link_local_addresses() {
    let front = Front::with_password();
    let client = front.acquainted_client().await;
    let sent_away = |status| Fault::reply(Reply::new(status).header("Location", METADATA));
    front.fault("GET", MANIFEST, sent_away(307));
    let error = client.manifest(&front.reference()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(front.outline(), ["GET 307"]);

    front.proxy.reset();
    front.fault("POST", "*/blobs/uploads/", sent_away(202));
    let put = client.put_blob(&front.repository(), Bytes::from_static(BLOB)).await;
    assert_eq!(*put.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(front.outline(), ["HEAD 404", "POST 202"]);
}

#[tokio::test]
async fn no_password_is_taken_to_a_token_server_that_is_link_local_or_another_machine() {
    for realm in [METADATA, "http://tokens.example/token", "file:///etc/passwd"] {
        let front = Front::with_password();
        let challenge = format!("Bearer realm=\"{realm}\",service=\"x\"");
        let reply = Reply::new(401).header("WWW-Authenticate", challenge);
        front.fault("*", "*", Fault::reply(reply));
        let client = front.client();
        let error = client.head_manifest(&front.reference(), Access::Pull).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Invalid, "{realm}: {error}");
        assert_eq!(front.outline(), ["HEAD 401"], "{realm}");
        assert!(front.proxy.exchanges()[0].header("authorization").is_none());
    }
}

#[tokio::test]
async fn a_manifest_that_another_server_lacks_is_not_absent() {
    let front = Front::with_password();
    let client = front.acquainted_client().await;
    let other = ScriptedServer::start(|_| Reply::new(404));
    let location = format!("http://{}/login", other.host());
    front.fault("*", MANIFEST, Fault::reply(Reply::new(302).header("Location", location)));
    let error = client.head_manifest(&front.reference(), Access::Pull).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid, "{error}");
    assert_no_credentials(&other);
    assert_eq!((front.outline(), other.requests().len()), (vec!["HEAD 302".to_owned()], 1));
}
