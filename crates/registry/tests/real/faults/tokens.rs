//! Tokens that a registry does not take any more.

use bytes::Bytes;
use dockit_registry::{Access, Digest, ErrorKind, Registry as _};
use dockit_testkit::{Auth, Fault, PASSWORD, RegistryProcess, Reply, TokenIssuer};

use super::{Front, MANIFEST};

const SCOPE: &str = "repository:team/app:pull,push";

fn front(issuer: &TokenIssuer) -> Front {
    let registry = RegistryProcess::start(Auth::Token(issuer));
    let authorization = issuer.authorization(SCOPE);
    Front::new(registry, crate::basic(PASSWORD), Some(&authorization))
}

/// What a registry answers to a token that has expired.
fn expired(issuer: &TokenIssuer) -> Fault {
    Fault::reply(
        Reply::new(401).header("WWW-Authenticate", issuer.challenge(SCOPE, "invalid_token")),
    )
}

#[tokio::test]
async fn a_token_that_expires_in_the_middle_is_replaced() {
    let issuer = TokenIssuer::start();
    for (method, pattern) in [
        ("HEAD", MANIFEST),
        ("POST", "/v2/team/app/blobs/uploads/"),
        ("PUT", "/v2/team/app/blobs/uploads/*"),
        ("PUT", "/v2/team/app/manifests/new"),
    ] {
        let front = front(&issuer);
        let client = front.acquainted_client().await;
        let fetched = issuer.requests().len();
        front.fault_once(method, pattern, expired(&issuer));
        let head = client.head_manifest(&front.reference(), Access::PullPush).await.unwrap();
        assert_eq!(head.unwrap().digest.as_str(), front.image.digest());
        let blob = client.put_blob(&front.repository(), Bytes::from_static(b"blob")).await;
        assert_eq!(blob.unwrap(), Digest::of(b"blob"));
        let tag = "new".parse().unwrap();
        let put = client.put_manifest(&front.repository(), &tag, &front.manifest()).await;
        assert_eq!(put.unwrap().as_str(), front.image.digest());
        // Once for the refused one, once at most for each set of rights.
        assert_eq!(issuer.requests().len(), fetched + 1, "{method} {pattern}");
        let repeated = front.exchanges(method);
        let refused = repeated.iter().filter(|one| one.status == Some(401)).count();
        assert_eq!(refused, 1, "{:?}", front.proxy.log());
    }
}

#[tokio::test]
async fn a_registry_that_takes_no_token_is_not_asked_for_ever() {
    let issuer = TokenIssuer::start();
    let front = front(&issuer);
    let client = front.acquainted_client().await;
    front.fault("HEAD", MANIFEST, expired(&issuer));
    let error = client.head_manifest(&front.reference(), Access::PullPush).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized, "{error}");
    assert_eq!(front.outline(), ["HEAD 401", "HEAD 401"]);
}
