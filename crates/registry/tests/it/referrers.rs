//! Putting and listing referrers: with the API, and with the list that clients keep.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dockit_registry::{Digest, Error, ErrorKind, RawManifest, Registry as _, manifest::Descriptor};
use dockit_testkit::{Reply, Request, ScriptedServer};
use serde_json::{Value, json};

use crate::support::{client, reference};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const KIND: &str = "application/vnd.example.v1+json";

fn subject() -> Digest {
    Digest::of(b"subject")
}

/// An artifact whose subject is `subject()`.
fn artifact(name: &str) -> RawManifest {
    let blob = |bytes: &[u8]| json!({"mediaType": "m", "digest": Digest::of(bytes).as_str(), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI,
        "artifactType": KIND,
        "config": blob(b"{}"),
        "layers": [blob(name.as_bytes())],
        "subject": {"mediaType": OCI, "digest": subject().as_str(), "size": 7},
        "annotations": {"name": name},
    });
    RawManifest::new(OCI, manifest.to_string())
}

fn entry(name: &str, kind: &str) -> Value {
    let digest = Digest::of(name.as_bytes());
    json!({"mediaType": OCI, "digest": digest.as_str(), "size": 1, "artifactType": kind})
}

fn index(entries: &[Value]) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string().into_bytes()
}

fn fallback_path() -> String {
    format!("/v2/team/app/manifests/sha256-{}", subject().hex())
}

/// Media types and bytes by path.
type Manifests = BTreeMap<String, (String, Vec<u8>)>;

/// A registry that knows nothing of referrers and keeps the manifests that it is given.
#[derive(Clone, Default)]
struct OldRegistry {
    manifests: Arc<Mutex<Manifests>>,
}

impl OldRegistry {
    fn start(&self) -> ScriptedServer {
        let registry = self.clone();
        ScriptedServer::start(move |request| registry.answer(request))
    }

    fn answer(&self, request: &Request) -> Reply {
        let path = request.path().to_owned();
        if path.contains("/referrers/") {
            return Reply::new(404).body("404 page not found");
        }
        match request.method.as_str() {
            "PUT" => {
                let kind = request.header("content-type").unwrap().to_owned();
                self.manifests.lock().unwrap().insert(path, (kind, request.body().to_vec()));
                let digest = Digest::of(request.body()).to_string();
                Reply::new(201).header("Docker-Content-Digest", digest)
            }
            _ => match self.manifests.lock().unwrap().get(&path) {
                None => Reply::new(404),
                Some((kind, bytes)) => Reply::new(200)
                    .header("Content-Type", kind.clone())
                    .header("Docker-Content-Digest", Digest::of(bytes).to_string())
                    .body(bytes.clone()),
            },
        }
    }

    fn put(&self, path: &str, bytes: Vec<u8>) {
        self.manifests.lock().unwrap().insert(path.to_owned(), (INDEX.to_owned(), bytes));
    }

    fn listed(&self) -> Vec<String> {
        let manifests = self.manifests.lock().unwrap();
        let index: Value = serde_json::from_slice(&manifests[&fallback_path()].1).unwrap();
        let entries = index["manifests"].as_array().unwrap();
        entries.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
    }
}

async fn put(server: &ScriptedServer, manifest: &RawManifest) -> Result<Digest, Error> {
    client().put_referrer(reference(server).repository(), manifest).await
}

async fn list(server: &ScriptedServer) -> Result<Vec<Descriptor>, Error> {
    client().referrers(reference(server).repository(), &subject(), Some(KIND)).await
}

fn digests(listed: &[Descriptor]) -> Vec<Digest> {
    listed.iter().map(|entry| entry.digest.clone()).collect()
}

#[tokio::test]
async fn a_registry_that_lists_referrers_itself_gets_no_index() {
    let manifest = artifact("a");
    let stored = Reply::new(201)
        .header("Docker-Content-Digest", manifest.digest().as_str())
        .header("OCI-Subject", subject().as_str());
    let server = ScriptedServer::script([stored]);
    assert_eq!(put(&server, &manifest).await.unwrap(), *manifest.digest());
    assert_eq!(server.log(), [format!("PUT /v2/team/app/manifests/{}", manifest.digest())]);
    assert_eq!(server.requests()[0].body(), manifest.bytes());
}

#[tokio::test]
async fn a_list_has_pages_and_other_types_are_left_out() {
    let page =
        |entries: &[Value]| Reply::new(200).header("Content-Type", INDEX).body(index(entries));
    let server = ScriptedServer::script([
        page(&[entry("a", KIND), entry("x", "other")]).header("Link", "<?page=2>; rel=\"next\""),
        page(&[entry("b", KIND)]),
    ]);
    let listed = list(&server).await.unwrap();
    assert_eq!(digests(&listed), [Digest::of(b"a"), Digest::of(b"b")]);
    let path = format!("/v2/team/app/referrers/{}", subject());
    let kind = KIND.replace('/', "%2F").replace('+', "%2B");
    assert_eq!(
        server.log(),
        [format!("GET {path}?artifactType={kind}"), format!("GET {path}?page=2")]
    );
}

#[tokio::test]
async fn a_list_does_not_lead_to_another_server() {
    let server = ScriptedServer::script([Reply::new(200)
        .header("Content-Type", INDEX)
        .header("Link", "<http://elsewhere.example/>; rel=\"next\"")
        .body(index(&[]))]);
    assert_eq!(*list(&server).await.unwrap_err().kind(), ErrorKind::Invalid);
    let endless = Reply::new(200)
        .header("Content-Type", INDEX)
        .header("Link", "<?again>; rel=\"next\"")
        .body(index(&[]));
    let server = ScriptedServer::script([endless]);
    assert_eq!(*list(&server).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn an_error_is_no_empty_list() {
    for (status, kind) in [
        (401, ErrorKind::Unauthorized),
        (403, ErrorKind::Denied),
        (503, ErrorKind::Transient),
        (429, ErrorKind::RateLimited { retry_after: None }),
    ] {
        let server = ScriptedServer::script([Reply::new(status)]);
        assert_eq!(*list(&server).await.unwrap_err().kind(), kind);
    }
    let garbage = Reply::new(200).header("Content-Type", INDEX).body("{}");
    let server = ScriptedServer::script([garbage]);
    assert_eq!(*list(&server).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn without_the_api_the_index_under_the_tag_is_the_list() {
    let registry = OldRegistry::default();
    let server = registry.start();
    assert_eq!(list(&server).await.unwrap(), []);
    let (first, second) = (artifact("a"), artifact("b"));
    put(&server, &first).await.unwrap();
    put(&server, &second).await.unwrap();
    put(&server, &first).await.unwrap();
    let listed = list(&server).await.unwrap();
    assert_eq!(digests(&listed), [first.digest().clone(), second.digest().clone()]);
    assert_eq!(listed[0].artifact_type.as_deref(), Some(KIND));
    assert_eq!(listed[0].annotations["name"], "a");
    assert_eq!(listed[0].size, first.bytes().len() as u64);
}

#[tokio::test]
async fn registries_without_the_api_say_so_in_many_ways() {
    let reply = |status: u16, body: &str| Reply::new(status).body(body);
    for unknown in [
        reply(404, ""),
        reply(405, ""),
        reply(400, r#"{"errors":[{"code":"UNSUPPORTED","message":"x"}]}"#),
        reply(200, "<html></html>").header("Content-Type", "text/html"),
    ] {
        let tagged = Reply::new(200).header("Content-Type", INDEX).body(index(&[entry("a", KIND)]));
        let server = ScriptedServer::script([unknown, tagged]);
        assert_eq!(digests(&list(&server).await.unwrap()), [Digest::of(b"a")]);
        assert_eq!(server.requests()[1].path(), fallback_path());
    }
}

#[tokio::test]
async fn what_others_wrote_into_the_list_stays() {
    let registry = OldRegistry::default();
    let mut other = entry("other", "signature");
    other["urls"] = json!(["https://example.org"]);
    registry.put(&fallback_path(), index(std::slice::from_ref(&other)));
    let server = registry.start();
    put(&server, &artifact("a")).await.unwrap();
    let manifests = registry.manifests.lock().unwrap();
    let index: Value = serde_json::from_slice(&manifests[&fallback_path()].1).unwrap();
    assert_eq!(index["manifests"][0], other);
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_image_under_the_tag_of_the_list_is_not_overwritten() {
    let registry = OldRegistry::default();
    let image = artifact("image");
    let kept = (OCI.to_owned(), image.bytes().to_vec());
    registry.manifests.lock().unwrap().insert(fallback_path(), kept.clone());
    let server = registry.start();
    assert_eq!(*put(&server, &artifact("a")).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(registry.manifests.lock().unwrap()[&fallback_path()], kept);
}

#[tokio::test]
async fn an_entry_that_a_rival_drops_is_added_again() {
    let registry = OldRegistry::default();
    let rival = Arc::new(Mutex::new(Some(index(&[entry("rival", KIND)]))));
    let server = {
        let registry = registry.clone();
        ScriptedServer::start(move |request| {
            let reply = registry.answer(request);
            // Right after the first write of the list comes one that has not seen it.
            if request.method == "PUT"
                && request.path() == fallback_path()
                && let Some(theirs) = rival.lock().unwrap().take()
            {
                registry.put(&fallback_path(), theirs);
            }
            reply
        })
    };
    let manifest = artifact("a");
    put(&server, &manifest).await.unwrap();
    assert_eq!(
        registry.listed(),
        [Digest::of(b"rival").to_string(), manifest.digest().to_string()]
    );
}

#[tokio::test]
async fn a_list_that_never_keeps_the_entry_is_an_error() {
    let registry = OldRegistry::default();
    let server = ScriptedServer::start(move |request| {
        if request.path() == fallback_path() && request.method != "PUT" {
            return Reply::new(404);
        }
        registry.answer(request)
    });
    let error = put(&server, &artifact("a")).await.unwrap_err();
    assert!(error.to_string().contains("drop"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_at_once_lose_no_entry() {
    let registry = OldRegistry::default();
    let slow = registry.clone();
    let server = ScriptedServer::start(move |request| {
        // Reads and writes take their time, so that they cross.
        std::thread::sleep(Duration::from_millis(5));
        slow.answer(request)
    });
    let repository = reference(&server).repository().clone();
    let tasks: Vec<_> = (0..6)
        .map(|number| {
            let repository = repository.clone();
            // A client of its own, as other processes have.
            let client = client();
            tokio::spawn(async move {
                client.put_referrer(&repository, &artifact(&format!("a{number}"))).await.unwrap()
            })
        })
        .collect();
    let mut expected = Vec::new();
    for task in tasks {
        expected.push(task.await.unwrap().to_string());
    }
    let mut listed = registry.listed();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn what_refers_to_nothing_is_not_put() {
    let server = ScriptedServer::script([Reply::new(201)]);
    let bare = json!({"schemaVersion": 2, "mediaType": OCI, "layers": [], "config": {
        "mediaType": "m", "digest": subject().as_str(), "size": 7,
    }});
    for manifest in [
        RawManifest::new(OCI, bare.to_string()),
        RawManifest::new(INDEX, String::from_utf8(index(&[])).unwrap()),
    ] {
        assert_eq!(*put(&server, &manifest).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert!(server.requests().is_empty());
}

/// An index whose subject is `subject()`.
fn index_with_subject() -> RawManifest {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "artifactType": KIND,
        "manifests": [],
        "subject": {"mediaType": OCI, "digest": subject().as_str(), "size": 7},
    });
    RawManifest::new(INDEX, manifest.to_string())
}

async fn list_all(server: &ScriptedServer) -> Vec<Digest> {
    let listed = client().referrers(reference(server).repository(), &subject(), None).await;
    digests(&listed.unwrap())
}

#[tokio::test]
async fn all_types_are_listed_where_none_is_named() {
    let entries = [entry("a", KIND), entry("b", "other")];
    let all = [Digest::of(b"a"), Digest::of(b"b")];
    let page = Reply::new(200).header("Content-Type", INDEX).body(index(&entries));
    let server = ScriptedServer::script([page.clone()]);
    assert_eq!(list_all(&server).await, all);
    assert_eq!(server.log(), [format!("GET /v2/team/app/referrers/{}", subject())]);
    let server = ScriptedServer::script([Reply::new(404), page]);
    assert_eq!(list_all(&server).await, all);
    assert_eq!(server.requests()[1].path(), fallback_path());
}

#[tokio::test]
async fn an_index_with_a_subject_is_listed() {
    let registry = OldRegistry::default();
    let server = registry.start();
    let manifest = index_with_subject();
    assert_eq!(put(&server, &manifest).await.unwrap(), *manifest.digest());
    let listed = list(&server).await.unwrap();
    assert_eq!(digests(&listed), [manifest.digest().clone()]);
    assert_eq!(listed[0].media_type, INDEX);
    let stored = Reply::new(201)
        .header("OCI-Subject", subject().as_str())
        .header("Docker-Content-Digest", manifest.digest().as_str());
    let server = ScriptedServer::script([stored]);
    put(&server, &manifest).await.unwrap();
    assert_eq!(server.requests()[0].header("content-type"), Some(INDEX));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_manifest_put_by_its_digest_is_among_the_referrers_if_it_has_a_subject() {
    let registry = OldRegistry::default();
    let server = registry.start();
    let (manifest, reference) = (artifact("a"), reference(&server));
    client().put_manifest_at_digest(reference.repository(), &manifest).await.unwrap();
    assert_eq!(registry.listed(), [manifest.digest().to_string()]);
}

#[tokio::test]
async fn a_list_that_breaks_off_is_an_error() {
    let first = Reply::new(200)
        .header("Content-Type", INDEX)
        .header("Link", "</v2/team/app/referrers/x?page=2>; rel=\"next\"")
        .body(index(&[entry("a", KIND)]));
    for second in [Reply::new(404), Reply::new(405), Reply::new(200).body("<html>")] {
        let server = ScriptedServer::script([first.clone(), second]);
        let error = list(&server).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Invalid);
        assert_eq!(server.requests().len(), 2);
    }
}
