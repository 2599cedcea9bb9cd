//! Blobs.

use bytes::Bytes;
use dockit_registry::{Digest, Error, ErrorKind, Registry as _};
use dockit_testkit::{Reply, ScriptedServer};

use crate::support::{builder, client, quick_retries, reference};

async fn blob(server: &ScriptedServer, limit: u64) -> Result<Bytes, Error> {
    let digest = Digest::of(b"content");
    client().blob(reference(server).repository(), &digest, limit).await
}

#[tokio::test]
async fn a_blob_is_checked_against_its_digest() {
    let server = ScriptedServer::script([Reply::new(200).body("content")]);
    assert_eq!(blob(&server, 7).await.unwrap(), "content");
    assert_eq!(server.log(), [format!("GET /v2/team/app/blobs/{}", Digest::of(b"content"))]);
    let server = ScriptedServer::script([Reply::new(200).body("contents")]);
    assert_eq!(*blob(&server, 8).await.unwrap_err().kind(), ErrorKind::DigestMismatch);
}

#[tokio::test]
async fn a_blob_is_not_read_beyond_the_limit() {
    let announced = Reply::new(200).body("content");
    let streamed =
        Reply::new(200).header("Transfer-Encoding", "chunked").body("7\r\ncontent\r\n0\r\n\r\n");
    for reply in [announced, streamed] {
        let server = ScriptedServer::script([reply]);
        assert_eq!(blob(&server, 7).await.unwrap(), "content");
        let error = blob(&server, 6).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("more than 6 bytes"), "{error}");
    }
}

#[tokio::test]
async fn a_missing_blob_is_not_found() {
    let server = ScriptedServer::script([Reply::new(404)]);
    assert_eq!(*blob(&server, 7).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_blob_that_was_cut_is_asked_for_again() {
    let whole = Reply::new(200).body("content");
    let server = ScriptedServer::script([whole.clone().cut_after(3), whole]);
    let client = builder().retry(quick_retries(2)).build().unwrap();
    let digest = Digest::of(b"content");
    let blob = client.blob(reference(&server).repository(), &digest, 7).await.unwrap();
    assert_eq!((blob.as_ref(), server.requests().len()), (b"content".as_slice(), 2));
}
