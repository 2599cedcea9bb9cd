//! Blobs as streams, in both directions.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dockit_registry::manifest::Descriptor;
use dockit_registry::{
    BlobSource, BlobStream, Client, Delivery, Digest, Error, ErrorKind, Limits, Repository,
};
use dockit_testkit::{Reply, Request, ScriptedServer};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::support::{builder, client, quick_retries, reference};

const BYTES: &[u8] = b"0123456789";

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new("application/octet-stream", Digest::of(bytes), bytes.len() as u64)
}

fn repository(server: &ScriptedServer) -> Repository {
    reference(server).repository().clone()
}

fn patient() -> Client {
    builder().retry(quick_retries(4)).build().unwrap()
}

async fn read(client: &Client, server: &ScriptedServer) -> Result<Vec<u8>, Error> {
    let stream = client.blob_stream(&repository(server), &descriptor(BYTES)).await?;
    Ok(stream.try_collect::<Vec<Bytes>>().await?.concat())
}

#[tokio::test]
async fn a_stream_is_the_blob_or_an_error() {
    for (body, whole) in [(BYTES, true), (b"0123456780", false)] {
        let server = ScriptedServer::script([Reply::new(200).body(body)]);
        let read = read(&client(), &server).await;
        if whole {
            assert_eq!(read.unwrap(), BYTES);
        } else {
            assert_eq!(*read.unwrap_err().kind(), ErrorKind::DigestMismatch);
        }
    }
    let server = ScriptedServer::script([Reply::new(404)]);
    assert_eq!(*read(&client(), &server).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_length_that_is_not_the_blobs_is_an_error_before_a_byte_is_read() {
    let server = ScriptedServer::script([Reply::new(200).body("0123456789x")]);
    let error = client().blob_stream(&repository(&server), &descriptor(BYTES)).await.err().unwrap();
    assert_eq!(*error.kind(), ErrorKind::DigestMismatch);
    assert!(error.to_string().contains("should have 10 bytes, but has 11"), "{error}");
}

#[tokio::test]
async fn more_bytes_than_the_blob_has_are_an_error_where_they_begin() {
    let body = "b\r\n0123456789x\r\n5\r\nnever\r\n0\r\n\r\n";
    let reply = Reply::new(200).header("Transfer-Encoding", "chunked").body(body);
    let server = ScriptedServer::script([reply]);
    assert_eq!(*read(&client(), &server).await.unwrap_err().kind(), ErrorKind::DigestMismatch);
}

/// Sends the blob from where it is asked for, but cuts the first replies.
fn cutting(ranges: bool, cuts: &'static [usize]) -> ScriptedServer {
    let asked = AtomicUsize::new(0);
    ScriptedServer::start(move |request| {
        let number = asked.fetch_add(1, Ordering::SeqCst);
        let from: Option<usize> = request
            .header("range")
            .map(|range| range["bytes=".len()..].trim_end_matches('-').parse().unwrap());
        let reply = match from.filter(|_| ranges) {
            Some(from) => Reply::new(206)
                .header("Content-Range", format!("bytes {from}-9/10"))
                .body(&BYTES[from..]),
            None => Reply::new(200).body(BYTES),
        };
        match cuts.get(number) {
            Some(cut) => reply.cut_after(*cut),
            None => reply,
        }
    })
}

#[tokio::test]
async fn a_download_that_was_cut_goes_on_where_it_ended() {
    let server = cutting(true, &[4, 3]);
    assert_eq!(read(&patient(), &server).await.unwrap(), BYTES);
    let ranges: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.header("range").map(str::to_owned))
        .collect();
    assert_eq!(ranges, [None, Some("bytes=4-".to_owned()), Some("bytes=7-".to_owned())]);
}

#[tokio::test]
async fn a_server_without_ranges_is_read_from_the_start_and_the_known_part_is_passed_over() {
    let server = cutting(false, &[4, 7]);
    assert_eq!(read(&patient(), &server).await.unwrap(), BYTES);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn progress_begins_the_count_of_tries_anew_and_none_ends_it() {
    let server = cutting(true, &[1, 1, 1, 1, 1, 1, 1, 1]);
    assert_eq!(read(&patient(), &server).await.unwrap(), BYTES);
    let server =
        ScriptedServer::script([Reply::new(200).body(BYTES).cut_after(4), Reply::hang_up()]);
    assert_eq!(*read(&patient(), &server).await.unwrap_err().kind(), ErrorKind::Transient);
    assert_eq!(server.requests().len(), 1 + 3);
}

#[tokio::test]
async fn a_range_that_was_not_asked_for_is_refused() {
    let other = Reply::new(206).header("Content-Range", "bytes 0-9/10").body(BYTES);
    let server = ScriptedServer::script([Reply::new(200).body(BYTES).cut_after(4), other]);
    assert_eq!(*read(&patient(), &server).await.unwrap_err().kind(), ErrorKind::Invalid);
}

/// A registry that keeps what is uploaded to it.
#[derive(Default)]
struct Uploads {
    stored: Mutex<Vec<u8>>,
    posts: AtomicUsize,
}

/// How a registry behaves that is uploaded to; `None` is the usual answer.
type Odd = Box<dyn Fn(&Request, &Uploads) -> Option<Reply> + Send + Sync>;

fn registry(odd: Odd) -> (ScriptedServer, Arc<Uploads>) {
    let uploads = Arc::new(Uploads::default());
    let kept = Arc::clone(&uploads);
    let server = ScriptedServer::start(move |request| {
        if request.method == "POST" {
            kept.posts.fetch_add(1, Ordering::SeqCst);
        }
        if let Some(reply) = odd(request, &kept) {
            return reply;
        }
        let mut stored = kept.stored.lock().unwrap();
        match request.method.as_str() {
            "POST" => {
                stored.clear();
                Reply::new(202).header("Location", "/v2/team/app/blobs/uploads/7")
            }
            "PATCH" => {
                stored.extend_from_slice(request.body());
                Reply::new(202)
                    .header("Location", format!("/v2/team/app/blobs/uploads/7?at={}", stored.len()))
                    .header("Range", format!("0-{}", stored.len() - 1))
            }
            "GET" => Reply::new(204)
                .header("Location", format!("/v2/team/app/blobs/uploads/7?at={}", stored.len()))
                .header("Range", format!("0-{}", stored.len().max(1) - 1)),
            "PUT" => {
                stored.extend_from_slice(request.body());
                Reply::new(201).header("Docker-Content-Digest", Digest::of(&stored).to_string())
            }
            "DELETE" => Reply::new(204),
            _ => Reply::new(404),
        }
    });
    (server, uploads)
}

fn methods(server: &ScriptedServer) -> Vec<String> {
    server.requests().into_iter().map(|request| request.method).collect()
}

/// Gives its pieces each time it is opened, and counts that.
struct Pieces {
    pieces: Vec<Result<&'static [u8], Error>>,
    opened: AtomicUsize,
}

impl Pieces {
    fn new(pieces: impl IntoIterator<Item = Result<&'static [u8], Error>>) -> Self {
        Self { pieces: pieces.into_iter().collect(), opened: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl BlobSource for Pieces {
    async fn open(&self) -> Result<BlobStream, Error> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let pieces = self.pieces.clone();
        Ok(stream::iter(pieces).map_ok(Bytes::from_static).boxed())
    }
}

async fn push(
    client: &Client,
    server: &ScriptedServer,
    source: &Pieces,
) -> Result<Delivery, Error> {
    client.push_blob(&repository(server), &descriptor(BYTES), source, None).await
}

fn good() -> Pieces {
    Pieces::new([Ok(&BYTES[..3]), Ok(&BYTES[3..])])
}

#[tokio::test]
async fn a_stream_is_sent_in_one_request_with_its_length() {
    let (server, uploads) = registry(Box::new(|_, _| None));
    assert_eq!(push(&client(), &server, &good()).await.unwrap(), Delivery::Written);
    assert_eq!(methods(&server), ["HEAD", "POST", "PUT"]);
    assert_eq!(*uploads.stored.lock().unwrap(), BYTES);
    let put = &server.requests()[2];
    assert_eq!((put.header("content-length"), put.header("transfer-encoding")), (Some("10"), None));
    // An empty blob is one, too.
    let empty = Pieces::new([]);
    let blob = descriptor(b"");
    let written = client().push_blob(&repository(&server), &blob, &empty, None).await.unwrap();
    assert_eq!(written, Delivery::Written);
}

#[tokio::test]
async fn a_blob_that_is_there_is_not_opened() {
    let server = ScriptedServer::script([Reply::new(200)]);
    let source = good();
    assert_eq!(push(&client(), &server, &source).await.unwrap(), Delivery::Present);
    assert_eq!(source.opened.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_source_of_other_bytes_never_becomes_a_blob() {
    let cut = Error::new(ErrorKind::Transient, "the source was cut");
    for (pieces, kind) in [
        (vec![Ok(&b"01234"[..])], ErrorKind::DigestMismatch),
        (vec![Ok(&b"0123456789x"[..])], ErrorKind::DigestMismatch),
        (vec![Ok(&b"012345678x"[..])], ErrorKind::DigestMismatch),
        (vec![Ok(&b"01234"[..]), Ok(&b"5678x"[..])], ErrorKind::DigestMismatch),
        (vec![Ok(&b"01234"[..]), Err(cut)], ErrorKind::Transient),
    ] {
        let (server, uploads) = registry(Box::new(|_, _| None));
        let source = Pieces::new(pieces);
        let error = push(&patient(), &server, &source).await.unwrap_err();
        assert_eq!(*error.kind(), kind, "{error}");
        // The source has tried itself: it is not asked again.
        assert_eq!(source.opened.load(Ordering::SeqCst), 1);
        assert_eq!(uploads.stored.lock().unwrap().len(), 0);
        assert_eq!(methods(&server).last().map(String::as_str), Some("DELETE"));
    }
}

#[tokio::test]
async fn an_upload_that_failed_begins_again_from_the_start() {
    let failures = AtomicUsize::new(0);
    let (server, uploads) = registry(Box::new(move |request, _| {
        let fails = request.method == "PUT" && failures.fetch_add(1, Ordering::SeqCst) < 2;
        fails.then(|| Reply::new(503))
    }));
    let source = good();
    assert_eq!(push(&patient(), &server, &source).await.unwrap(), Delivery::Written);
    assert_eq!(source.opened.load(Ordering::SeqCst), 3);
    assert_eq!(uploads.posts.load(Ordering::SeqCst), 3);
    assert_eq!(*uploads.stored.lock().unwrap(), BYTES);
}

#[tokio::test]
async fn after_two_cuts_or_a_refusal_for_its_size_a_blob_goes_in_pieces() {
    for status in [0, 413] {
        let (server, uploads) = registry(Box::new(move |request, _| {
            let whole = request.method == "PUT" && !request.body().is_empty();
            whole.then(|| if status == 0 { Reply::hang_up() } else { Reply::new(status) })
        }));
        assert_eq!(push(&patient(), &server, &good()).await.unwrap(), Delivery::Written);
        assert_eq!(*uploads.stored.lock().unwrap(), BYTES);
        let patch =
            server.requests().into_iter().find(|request| request.method == "PATCH").unwrap();
        assert_eq!(patch.header("content-range"), Some("0-9"));
        let last = server.log().pop().unwrap();
        assert!(last.starts_with("PUT /v2/team/app/blobs/uploads/7?at=10&digest="), "{last}");
    }
}

#[tokio::test]
async fn a_piece_that_was_cut_goes_on_where_the_registry_says() {
    let patches = AtomicUsize::new(0);
    let (server, uploads) = registry(Box::new(move |request, uploads| match &*request.method {
        "PUT" if !request.body().is_empty() => Some(Reply::new(413)),
        "PATCH" if patches.fetch_add(1, Ordering::SeqCst) == 0 => {
            uploads.stored.lock().unwrap().extend_from_slice(&request.body()[..4]);
            Some(Reply::hang_up())
        }
        _ => None,
    }));
    assert_eq!(push(&patient(), &server, &good()).await.unwrap(), Delivery::Written);
    assert_eq!(*uploads.stored.lock().unwrap(), BYTES);
    let ranges: Vec<_> = server
        .requests()
        .iter()
        .filter(|request| request.method == "PATCH")
        .map(|request| request.header("content-range").unwrap().to_owned())
        .collect();
    assert_eq!(ranges, ["0-9", "4-9"]);
}

#[tokio::test]
async fn a_registry_that_appends_a_piece_elsewhere_is_found_out() {
    let (server, _) = registry(Box::new(move |request, _| match &*request.method {
        "PUT" if !request.body().is_empty() => Some(Reply::new(413)),
        "PATCH" => Some(Reply::new(202).header("Range", "0-22")),
        _ => None,
    }));
    let error = push(&client(), &server, &good()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("the registry has 23"), "{error}");
}

async fn mount(server: &ScriptedServer, from: &str) -> Result<Delivery, Error> {
    let from: Repository = format!("{from}/other/app").parse().unwrap();
    let source = good();
    patient().push_blob(&repository(server), &descriptor(BYTES), &source, Some(&from)).await
}

#[tokio::test]
async fn a_blob_is_mounted_where_the_registry_can() {
    let digest = Digest::of(BYTES);
    let stored = digest.to_string();
    let (server, _) = registry(Box::new(move |request, _| {
        (request.method == "POST")
            .then(|| Reply::new(201).header("Docker-Content-Digest", stored.clone()))
    }));
    assert_eq!(mount(&server, &server.host()).await.unwrap(), Delivery::Mounted);
    let encoded = digest.to_string().replace(':', "%3A");
    assert_eq!(
        server.log()[1],
        format!("POST /v2/team/app/blobs/uploads/?mount={encoded}&from=other%2Fapp")
    );
    // Another registry's blobs cannot be.
    let (server, _) = registry(Box::new(|_, _| None));
    assert_eq!(mount(&server, "elsewhere.example").await.unwrap(), Delivery::Written);
    assert_eq!(server.log()[1], "POST /v2/team/app/blobs/uploads/");
}

#[tokio::test]
async fn who_cannot_mount_uploads() {
    for (status, posts) in [(202, 1), (401, 2), (403, 2), (404, 2), (400, 2)] {
        let (server, uploads) = registry(Box::new(move |request, _| {
            let mounts = request.target.contains("mount=");
            (mounts && status != 202).then(|| Reply::new(status))
        }));
        assert_eq!(mount(&server, &server.host()).await.unwrap(), Delivery::Written, "{status}");
        assert_eq!(uploads.posts.load(Ordering::SeqCst), posts, "{status}");
        assert_eq!(*uploads.stored.lock().unwrap(), BYTES);
    }
}

#[tokio::test]
async fn a_mount_of_something_else_is_an_error() {
    let (server, _) = registry(Box::new(|request, _| {
        (request.method == "POST")
            .then(|| Reply::new(201).header("Docker-Content-Digest", Digest::of(b"").to_string()))
    }));
    let error = mount(&server, &server.host()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::DigestMismatch);
}

#[tokio::test]
async fn an_upload_that_nobody_takes_ends() {
    let (server, _) = registry(Box::new(|request, _| {
        (request.method == "PUT").then(|| Reply::new(201).delay(Duration::from_secs(2)))
    }));
    let client = builder().idle_timeout(Duration::from_millis(200)).build().unwrap();
    let error = push(&client, &server, &good()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Transient);
    assert!(error.to_string().contains("nothing moved"), "{error}");
}

#[tokio::test]
async fn no_more_uploads_run_at_a_time_than_the_limit_and_questions_pass_them() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (running, peak) = (Arc::clone(&now), Arc::clone(&most));
    let (server, _) = registry(Box::new(move |request, _| {
        (request.method == "PUT").then(|| {
            peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(30));
            running.fetch_sub(1, Ordering::SeqCst);
            Reply::new(201).header("Docker-Content-Digest", Digest::of(request.body()).to_string())
        })
    }));
    let mut limits = Limits::default();
    limits.uploads = 2;
    let client = builder().limits(limits).build().unwrap();
    let (client, repository) = (&client, &repository(&server));
    stream::iter(0..8_u8)
        .for_each_concurrent(None, |number| async move {
            let bytes = Bytes::from(vec![number]);
            let blob = descriptor(&bytes);
            client.push_blob(repository, &blob, &bytes, None).await.unwrap();
        })
        .await;
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_reply_that_lacks_only_its_end_was_the_blob() {
    // The last chunk, of no bytes, never comes.
    let reply = Reply::new(200)
        .header("Transfer-Encoding", "chunked")
        .body("a\r\n0123456789\r\n0\r\n\r\n")
        .cut_after("a\r\n0123456789\r\n".len());
    let server = ScriptedServer::script([reply]);
    assert_eq!(read(&patient(), &server).await.unwrap(), BYTES);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn nothing_that_arrived_is_not_taken_for_a_byte() {
    let patches = AtomicUsize::new(0);
    let (server, uploads) = registry(Box::new(move |request, _| match &*request.method {
        "PUT" if !request.body().is_empty() => Some(Reply::new(413)),
        // Lost before a byte of it arrived: the status then says 0-0.
        "PATCH" if patches.fetch_add(1, Ordering::SeqCst) == 0 => Some(Reply::hang_up()),
        _ => None,
    }));
    assert_eq!(push(&patient(), &server, &good()).await.unwrap(), Delivery::Written);
    assert_eq!(*uploads.stored.lock().unwrap(), BYTES);
}

#[tokio::test]
async fn what_was_appended_at_the_wrong_place_begins_again() {
    // A registry that says it has more than it has, and then appends.
    let patches = AtomicUsize::new(0);
    let lied = AtomicUsize::new(0);
    let (server, uploads) = registry(Box::new(move |request, _| match &*request.method {
        "PUT" if !request.body().is_empty() => Some(Reply::new(413)),
        "PATCH" if patches.fetch_add(1, Ordering::SeqCst) == 0 => Some(Reply::hang_up()),
        "GET" if lied.fetch_add(1, Ordering::SeqCst) == 0 => {
            Some(Reply::new(204).header("Range", "0-4"))
        }
        _ => None,
    }));
    assert_eq!(push(&patient(), &server, &good()).await.unwrap(), Delivery::Written);
    assert_eq!(*uploads.stored.lock().unwrap(), BYTES);
}

#[tokio::test]
async fn a_login_page_is_not_a_blob_that_is_there() {
    for head in [
        Reply::new(200).header("Content-Type", "text/html; charset=utf-8"),
        Reply::new(200).header("Content-Length", "11"),
        Reply::new(200).header("Docker-Content-Digest", Digest::of(b"other").as_str()),
    ] {
        let (server, uploads) =
            registry(Box::new(move |request, _| (request.method == "HEAD").then(|| head.clone())));
        assert_eq!(push(&client(), &server, &good()).await.unwrap(), Delivery::Written);
        assert_eq!(*uploads.stored.lock().unwrap(), BYTES);
    }
}

#[tokio::test]
async fn a_place_is_relative_to_the_server_that_names_it() {
    let (storage, stored) = registry(Box::new(|request, _| {
        (request.method == "PUT" && !request.body().is_empty()).then(|| Reply::new(413))
    }));
    let begin = format!("http://{}/upload/1", storage.host());
    let (server, _) = registry(Box::new(move |request, _| {
        (request.method == "POST").then(|| Reply::new(202).header("Location", begin.clone()))
    }));
    // Refused for its size there, it goes in pieces, whose places are relative.
    assert_eq!(push(&client(), &server, &good()).await.unwrap(), Delivery::Written);
    assert_eq!(*stored.stored.lock().unwrap(), BYTES);
    assert!(methods(&server).iter().all(|method| matches!(&**method, "HEAD" | "POST")));
}

/// A blob of the same registry, as copies read it.
struct FromRegistry(Client, Repository);

#[async_trait]
impl BlobSource for FromRegistry {
    async fn open(&self) -> Result<BlobStream, Error> {
        self.0.blob_stream(&self.1, &descriptor(BYTES)).await
    }
}

#[tokio::test]
async fn transfers_in_both_ways_do_not_wait_for_one_another() {
    let whole = AtomicUsize::new(0);
    let (server, _) = registry(Box::new(move |request, _| {
        let odd = request.method == "PUT" && !request.body().is_empty();
        match &*request.method {
            "GET" if request.path().contains("/blobs/sha256:") => Some(Reply::new(200).body(BYTES)),
            // Every other one goes in pieces.
            "PUT" if odd && whole.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) => {
                Some(Reply::new(413))
            }
            "PUT" => {
                let digest = Digest::of(BYTES).to_string();
                Some(Reply::new(201).header("Docker-Content-Digest", digest))
            }
            "PATCH" => Some(Reply::new(202)),
            _ => None,
        }
    }));
    let mut limits = Limits::default();
    (limits.uploads, limits.downloads) = (1, 1);
    let client = builder().limits(limits).build().unwrap();
    let source = FromRegistry(client.clone(), repository(&server));
    let (client, repository, source) = (&client, &repository(&server), &source);
    let all = stream::iter(0..8).for_each_concurrent(None, |_| async move {
        client.push_blob(repository, &descriptor(BYTES), source, None).await.unwrap();
    });
    tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
}
