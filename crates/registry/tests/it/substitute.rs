//! Removing a tag by way of a manifest made for it, where only manifests can be deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use dockit_registry::{Deleted, Digest, Error, ErrorKind};
use dockit_testkit::{Reply, Request, ScriptedServer, TestImage};
use serde_json::Value;

use crate::support::{MANIFEST, client, reference};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

/// What decides before the registry does, by the number of requests of this method before.
type Rule = dyn Fn(&Request, usize) -> Option<Reply> + Send + Sync;

/// A registry that deletes manifests, with all tags on them, and no tags.
struct DigestOnly {
    rule: Box<Rule>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Media types and bytes by digest.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    tags: BTreeMap<String, String>,
    asked: BTreeMap<String, usize>,
    /// Everything that was put under a tag.
    put: Vec<Vec<u8>>,
}

impl DigestOnly {
    /// Holds an image under the tags `1` and `sibling`.
    fn start(
        image: &TestImage,
        rule: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static,
    ) -> (Arc<Self>, ScriptedServer) {
        let mut state = State::default();
        let kept = (image.media_type.to_owned(), image.manifest.clone());
        state.manifests.insert(image.digest(), kept);
        for tag in ["1", "sibling"] {
            state.tags.insert(tag.to_owned(), image.digest());
        }
        let registry = Arc::new(Self { rule: Box::new(rule), state: Mutex::new(state) });
        let answering = Arc::clone(&registry);
        let server = ScriptedServer::start(move |request| answering.answer(request));
        (registry, server)
    }

    fn answer(&self, request: &Request) -> Reply {
        let mut state = self.state.lock().unwrap();
        let asked = state.asked.entry(request.method.clone()).or_default();
        let before = *asked;
        *asked += 1;
        if let Some(reply) = (self.rule)(request, before) {
            return reply;
        }
        if request.path().contains("/blobs/") {
            // The empty config is there already.
            return Reply::new(200).header("Content-Length", "2");
        }
        let name = request.path().rsplit('/').next().unwrap().to_owned();
        match request.method.as_str() {
            "PUT" => {
                let digest = Digest::of(request.body()).to_string();
                let kind = request.header("content-type").unwrap().to_owned();
                state.manifests.insert(digest.clone(), (kind, request.body().to_vec()));
                state.tags.insert(name, digest.clone());
                state.put.push(request.body().to_vec());
                Reply::new(201).header("Docker-Content-Digest", digest)
            }
            "DELETE" if !name.contains(':') => Reply::new(400)
                .body(r#"{"errors":[{"code":"DIGEST_INVALID","message":"no digest"}]}"#),
            "DELETE" => {
                state.tags.retain(|_, digest| *digest != name);
                Reply::new(if state.manifests.remove(&name).is_some() { 202 } else { 404 })
            }
            _ => {
                let digest = state.tags.get(&name).cloned().unwrap_or(name);
                match state.manifests.get(&digest) {
                    None => Reply::new(404),
                    Some((kind, bytes)) => Reply::new(200)
                        .header("Content-Type", kind.as_str())
                        .header("Docker-Content-Digest", digest)
                        .header("Content-Length", bytes.len().to_string())
                        .body(bytes.clone()),
                }
            }
        }
    }

    fn tag(&self, name: &str) -> Option<String> {
        self.state.lock().unwrap().tags.get(name).cloned()
    }
}

async fn delete(server: &ScriptedServer, expected: &str) -> Result<Deleted, Error> {
    let reference = reference(server);
    let (tag, expected) = (reference.tag_or_latest(), expected.parse().unwrap());
    client().delete_tag_by_substitute(reference.repository(), &tag, &expected).await
}

fn refusal() -> Option<Reply> {
    Some(Reply::new(405).body(r#"{"errors":[{"code":"UNSUPPORTED","message":"disabled"}]}"#))
}

#[tokio::test]
async fn the_tag_goes_and_its_manifest_and_the_other_tags_stay() {
    let image = TestImage::new("substitute");
    let (registry, server) = DigestOnly::start(&image, |_, _| None);
    assert_eq!(delete(&server, &image.digest()).await.unwrap(), Deleted::Done);
    assert_eq!(registry.tag("1"), None);
    assert_eq!(registry.tag("sibling"), Some(image.digest()));
    let state = registry.state.lock().unwrap();
    assert_eq!(state.manifests.keys().collect::<Vec<_>>(), [&image.digest()]);
    let substitute = Digest::of(&state.put[0]);
    assert_eq!(
        server.log(),
        [
            format!("HEAD {MANIFEST}"),
            "GET /v2/".to_owned(),
            format!("GET /v2/team/app/manifests/{}", image.digest()),
            format!("HEAD /v2/team/app/blobs/{}", Digest::of(b"{}")),
            format!("HEAD {MANIFEST}"),
            format!("PUT {MANIFEST}"),
            format!("HEAD {MANIFEST}"),
            format!("DELETE /v2/team/app/manifests/{substitute}"),
            format!("HEAD {MANIFEST}"),
        ]
    );
}

#[tokio::test]
async fn a_substitute_is_a_manifest_that_every_registry_takes() {
    let image = TestImage::new("form");
    let (registry, server) = DigestOnly::start(&image, |_, _| None);
    delete(&server, &image.digest()).await.unwrap();
    let put = server.requests().into_iter().find(|request| request.method == "PUT").unwrap();
    assert_eq!(put.header("content-type"), Some(OCI));
    let manifest: Value = serde_json::from_slice(&registry.state.lock().unwrap().put[0]).unwrap();
    assert_eq!((&manifest["schemaVersion"], &manifest["mediaType"]), (&2.into(), &OCI.into()));
    assert_eq!(manifest["config"]["digest"], Digest::of(b"{}").as_str());
    assert_eq!(manifest["layers"], Value::from(vec![manifest["config"].clone()]));
}

#[tokio::test]
async fn no_two_substitutes_are_the_same() {
    let image = TestImage::new("unique");
    let mut seen = BTreeSet::new();
    for _ in 0..8 {
        let (registry, server) = DigestOnly::start(&image, |_, _| None);
        delete(&server, &image.digest()).await.unwrap();
        let substitute = registry.state.lock().unwrap().put[0].clone();
        assert!(seen.insert(substitute), "one substitute deleted could be another's");
    }
}

#[tokio::test]
async fn a_tag_that_is_elsewhere_or_nowhere_is_left_alone() {
    let (image, other) = (TestImage::new("here"), TestImage::new("elsewhere"));
    let (registry, server) = DigestOnly::start(&image, |_, _| None);
    let error = delete(&server, &other.digest()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::DigestMismatch);
    assert!(error.to_string().contains(&image.digest()), "{error}");
    assert_eq!(server.log(), [format!("HEAD {MANIFEST}")]);
    assert_eq!(registry.tag("1"), Some(image.digest()));
    let server = ScriptedServer::script([Reply::new(404)]);
    assert_eq!(delete(&server, &image.digest()).await.unwrap(), Deleted::Absent);
    assert_eq!(server.log(), [format!("HEAD {MANIFEST}")]);
}

#[tokio::test]
async fn a_registry_that_deletes_nothing_gets_the_tag_back() {
    let image = TestImage::new("refused");
    let (registry, server) =
        DigestOnly::start(&image, |request, _| match request.method.as_str() {
            "DELETE" => refusal(),
            _ => None,
        });
    let error = delete(&server, &image.digest()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported);
    let text = error.to_string();
    assert!(text.ends_with(&format!("the tag 1 is on {} again", image.digest())), "{text}");
    assert_eq!(registry.tag("1"), Some(image.digest()));
    assert_eq!(registry.state.lock().unwrap().put[1], image.manifest, "the very bytes");
}

#[tokio::test]
async fn a_tag_that_cannot_be_put_back_is_said_to_be_where_it_is() {
    let image = TestImage::new("stuck");
    let (registry, server) =
        DigestOnly::start(&image, |request, before| match request.method.as_str() {
            "DELETE" => refusal(),
            "PUT" if before == 1 => Some(Reply::new(403)),
            _ => None,
        });
    let error = delete(&server, &image.digest()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported, "why it failed at first");
    let text = error.to_string();
    let substitute = registry.tag("1").unwrap();
    assert_ne!(substitute, image.digest());
    for part in [&image.digest(), &substitute, "could not be put back", "denied (403"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn a_substitute_that_is_refused_leaves_the_tag_where_it_was() {
    let image = TestImage::new("immutable");
    let (registry, server) = DigestOnly::start(&image, |request, _| {
        let body = r#"{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}"#;
        (request.method == "PUT").then(|| Reply::new(400).body(body))
    });
    let error = delete(&server, &image.digest()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Immutable);
    assert_eq!(registry.tag("1"), Some(image.digest()));
    assert!(!server.log().iter().any(|line| line.starts_with("DELETE")));
}

#[tokio::test]
async fn a_substitute_that_arrived_though_its_reply_did_not_is_taken_off_again() {
    let image = TestImage::new("cut");
    let (registry, _) = DigestOnly::start(&image, |_, _| None);
    // The registry stores the substitute, and its reply is lost.
    let behind = Arc::clone(&registry);
    let lost = AtomicBool::new(false);
    let front = ScriptedServer::start(move |request| {
        let reply = behind.answer(request);
        let first = request.method == "PUT" && !lost.swap(true, Ordering::SeqCst);
        if first { Reply::hang_up() } else { reply }
    });
    let error = delete(&front, &image.digest()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Transient);
    assert_eq!(registry.tag("1"), Some(image.digest()));
    let text = error.to_string();
    assert!(text.ends_with(&format!("the tag 1 is on {} again", image.digest())), "{text}");
}

#[tokio::test]
async fn a_deletion_that_leaves_the_tag_is_an_error() {
    let image = TestImage::new("lying");
    let (registry, server) = DigestOnly::start(&image, |request, _| {
        (request.method == "DELETE").then(|| Reply::new(202))
    });
    let error = delete(&server, &image.digest()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("but not the tags on them"), "{error}");
    assert_eq!(registry.tag("1"), Some(image.digest()));
}
