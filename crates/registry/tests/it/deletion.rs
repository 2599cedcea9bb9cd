//! Deleting tags and manifests: two verbs, and what registries say to them.

use dockit_registry::{Deleted, Digest, Error, ErrorKind};
use dockit_testkit::{Reply, ScriptedServer};

use crate::support::{
    MANIFEST, basic, challenge, client, client_with, good_token, host_of, reference, token_requests,
};

/// Whose registry it is, its name does not tell.
const GREETING: &str = "GET /v2/";

fn refused(status: u16, code: &str, message: &str) -> Reply {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    Reply::new(status).header("Content-Type", "application/json").body(body)
}

async fn delete_tag(server: &ScriptedServer) -> Result<Deleted, Error> {
    let reference = reference(server);
    client().delete_tag(reference.repository(), &reference.tag_or_latest()).await
}

async fn delete_manifest(server: &ScriptedServer) -> Result<Deleted, Error> {
    client().delete_manifest(reference(server).repository(), &digest()).await
}

fn digest() -> Digest {
    Digest::of(b"manifest")
}

#[tokio::test]
async fn a_tag_is_deleted_by_its_name_and_by_nothing_else() {
    let server = ScriptedServer::script([Reply::new(202)]);
    assert_eq!(delete_tag(&server).await.unwrap(), Deleted::Done);
    assert_eq!(server.log(), [GREETING, &format!("DELETE {MANIFEST}")]);
}

#[tokio::test]
async fn a_manifest_is_deleted_by_its_digest_and_by_nothing_else() {
    for status in [200, 202, 204] {
        let server = ScriptedServer::script([Reply::new(status)]);
        assert_eq!(delete_manifest(&server).await.unwrap(), Deleted::Done);
        let delete = format!("DELETE /v2/team/app/manifests/{}", digest());
        assert_eq!(server.log(), [GREETING, &delete]);
    }
}

#[tokio::test]
async fn what_the_registry_does_not_know_is_absent() {
    for code in ["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND"] {
        let server = ScriptedServer::script([refused(404, code, "no")]);
        assert_eq!(delete_tag(&server).await.unwrap(), Deleted::Absent, "{code}");
        assert_eq!(delete_manifest(&server).await.unwrap(), Deleted::Absent, "{code}");
    }
}

#[tokio::test]
async fn any_other_404_proves_no_absence() {
    let html = Reply::new(404).header("Content-Type", "text/html").body("<html>Not here</html>");
    for reply in [html, refused(404, "BLOB_UNKNOWN", "no"), refused(404, "ROUTE", "no")] {
        let server = ScriptedServer::script([reply]);
        for result in [delete_tag(&server).await, delete_manifest(&server).await] {
            let error = result.unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::Invalid, "{error}");
        }
    }
}

#[tokio::test]
async fn a_deletion_is_never_redirected() {
    for status in [301, 302, 307, 308] {
        let other = ScriptedServer::script([Reply::new(404)]);
        let location = format!("http://{}{MANIFEST}", other.host());
        let server =
            ScriptedServer::script([Reply::new(status).header("Location", location.as_str())]);
        assert_eq!(*delete_tag(&server).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert!(other.requests().is_empty());
    }
}

#[tokio::test]
async fn a_registry_that_knows_no_deletion_of_tags_says_so_in_many_ways() {
    for reply in [
        refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content"),
        refused(405, "UNSUPPORTED", "The operation is unsupported."),
        refused(400, "UNSUPPORTED", "no"),
        Reply::new(405),
    ] {
        let server = ScriptedServer::script([reply]);
        let error = delete_tag(&server).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.request().unwrap().starts_with("DELETE "), "{error}");
        let log = server.log();
        assert_eq!(log, [GREETING, &format!("DELETE {MANIFEST}")], "no other verb is tried");
    }
}

#[tokio::test]
async fn a_digest_that_a_registry_does_not_read_is_no_missing_ability() {
    let server = ScriptedServer::script([refused(400, "DIGEST_INVALID", "no")]);
    assert_eq!(*delete_manifest(&server).await.unwrap_err().kind(), ErrorKind::Invalid);
    let server = ScriptedServer::script([refused(405, "UNSUPPORTED", "no")]);
    assert_eq!(*delete_manifest(&server).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn what_has_to_go_first_is_told_apart() {
    for (status, code, kind) in [
        (400, "GOOGLE_MANIFEST_DANGLING_TAG", ErrorKind::StillTagged),
        (409, "MANIFEST_REFERENCED", ErrorKind::StillReferenced),
        (405, "REGISTRY_DISALLOWED_OPERATION", ErrorKind::Immutable),
        (403, "DENIED", ErrorKind::Denied),
    ] {
        let server = ScriptedServer::script([refused(status, code, "still there")]);
        let error = delete_manifest(&server).await.unwrap_err();
        assert_eq!((error.kind(), error.codes()), (&kind, &[code.to_owned()][..]), "{error}");
    }
}

#[tokio::test]
async fn a_token_is_asked_for_that_can_delete() {
    for by_tag in [true, false] {
        let server = ScriptedServer::start(|request| match request.header("authorization") {
            _ if request.path() == "/token" => good_token(),
            Some("Bearer good") => Reply::new(202),
            _ => challenge(&host_of(request), "repository:team/app:delete", ""),
        });
        let (reference, client) = (reference(&server), client_with(basic()));
        let deleted = if by_tag {
            client.delete_tag(reference.repository(), &reference.tag_or_latest()).await
        } else {
            client.delete_manifest(reference.repository(), &digest()).await
        };
        assert_eq!(deleted.unwrap(), Deleted::Done);
        let tokens = token_requests(&server);
        assert_eq!(tokens.len(), 1);
        assert_eq!(tokens[0].query("scope"), ["repository%3Ateam%2Fapp%3Adelete%2Cpull"]);
    }
}
