//! Other tags for a manifest that is there.

use std::collections::BTreeMap;

use dockit_registry::{ErrorKind, Reference, Retag, Tag, TagChange};
use dockit_testkit::{Reply, ScriptedServer, TestImage};

use crate::support::{MANIFEST, client, present, reference};

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// A registry that holds an image under the tag `1`, and these under others. It refuses to put
/// what `refuse` says.
fn registry(
    image: &TestImage,
    others: &[(&str, &TestImage)],
    refuse: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static,
) -> ScriptedServer {
    let mut held: BTreeMap<String, Reply> = BTreeMap::new();
    for (tag, image) in others.iter().copied().chain([("1", image)]) {
        held.insert(format!("/v2/team/app/manifests/{tag}"), present(image));
    }
    let digest = image.digest();
    ScriptedServer::start(move |request| match request.method.as_str() {
        "PUT" => refuse(request.path().rsplit('/').next().unwrap())
            .unwrap_or_else(|| Reply::new(201).header("Docker-Content-Digest", digest.clone())),
        _ => held.get(request.path()).cloned().unwrap_or_else(|| Reply::new(404)),
    })
}

fn written(server: &ScriptedServer) -> Vec<String> {
    let mut written: Vec<String> = server.log().into_iter().filter(|line| !is_read(line)).collect();
    written.sort();
    written
}

fn is_read(line: &str) -> bool {
    line.starts_with("GET ") || line.starts_with("HEAD ")
}

#[tokio::test]
async fn a_plan_says_what_would_change_and_writes_nothing() {
    let (image, other) = (TestImage::new("new"), TestImage::new("old"));
    let server = registry(&image, &[("same", &image), ("moved", &other)], |_| None);
    let source = reference(&server);
    let plan = Retag::plan(&client(), &source, &tags(&["same", "moved", "made"])).await.unwrap();
    assert_eq!(plan.digest().as_str(), image.digest());
    let changes: Vec<(&str, Option<String>, TagChange)> = plan
        .changes()
        .map(|(tag, previous, change)| (tag.as_str(), previous.map(ToString::to_string), change))
        .collect();
    assert_eq!(
        changes,
        [
            ("same", Some(image.digest()), TagChange::Unchanged),
            ("moved", Some(other.digest()), TagChange::Moved),
            ("made", None, TagChange::Created),
        ]
    );
    assert_eq!(written(&server), [""; 0]);
}

#[tokio::test]
async fn the_very_bytes_are_put_and_an_unchanged_tag_is_not_written() {
    let mut image = TestImage::new("bytes");
    // As no serializer would write it.
    image.manifest.extend_from_slice(b"\n  \n");
    let other = TestImage::new("old");
    let server = registry(&image, &[("same", &image), ("moved", &other)], |_| None);
    let client = client();
    let (source, tags) = (reference(&server), tags(&["same", "moved", "made"]));
    let plan = Retag::plan(&client, &source, &tags).await.unwrap();
    let done = plan.apply(&client).await;
    let changes: Vec<(&str, TagChange)> =
        done.iter().map(|done| (done.tag.as_str(), *done.result.as_ref().unwrap())).collect();
    assert_eq!(
        changes,
        [("same", TagChange::Unchanged), ("moved", TagChange::Moved), ("made", TagChange::Created),]
    );
    assert_eq!(done[1].previous.as_ref().unwrap().as_str(), other.digest());
    let put = |tag: &str| format!("PUT /v2/team/app/manifests/{tag}");
    assert_eq!(written(&server), [put("made"), put("moved")]);
    for request in server.requests().iter().filter(|request| request.method == "PUT") {
        assert_eq!(request.body(), image.manifest);
        assert_eq!(request.header("content-type"), Some(image.media_type));
    }
    assert_eq!(server.log().iter().filter(|line| line.starts_with("GET ")).count(), 1);
}

#[tokio::test]
async fn a_tag_that_fails_keeps_no_other_from_being_put() {
    let image = TestImage::new("some");
    let server = registry(&image, &[], |tag| match tag {
        "b" => Some(Reply::new(403)),
        "d" => Some(
            Reply::new(400)
                .body(r#"{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}"#),
        ),
        _ => None,
    });
    let (client, names) = (client(), ["a", "b", "c", "d", "e", "f"]);
    let plan = Retag::plan(&client, &reference(&server), &tags(&names)).await.unwrap();
    let done = plan.apply(&client).await;
    let results: Vec<(&str, Result<TagChange, ErrorKind>)> = done
        .iter()
        .map(|done| {
            let result = done.result.as_ref().map_err(|error| error.kind().clone());
            (done.tag.as_str(), result.copied())
        })
        .collect();
    let created = Ok(TagChange::Created);
    assert_eq!(
        results,
        [
            ("a", created.clone()),
            ("b", Err(ErrorKind::Denied)),
            ("c", created.clone()),
            ("d", Err(ErrorKind::Immutable)),
            ("e", created.clone()),
            ("f", created),
        ]
    );
}

#[tokio::test]
async fn a_source_that_is_absent_is_an_error_and_nothing_is_written() {
    let server = registry(&TestImage::new("absent"), &[], |_| None);
    let source: Reference = format!("{}/team/app:none", server.host()).parse().unwrap();
    let error = Retag::plan(&client(), &source, &tags(&["a"])).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotFound);
    assert_eq!(written(&server), [""; 0]);
}

#[tokio::test]
async fn a_tag_that_cannot_be_looked_at_is_an_error_before_anything_is_written() {
    let image = TestImage::new("hidden");
    let shown = present(&image);
    let server = ScriptedServer::start(move |request| match request.path() {
        MANIFEST => shown.clone(),
        path if path.ends_with("/secret") => Reply::new(403),
        _ => Reply::new(404),
    });
    let result = Retag::plan(&client(), &reference(&server), &tags(&["a", "secret"])).await;
    assert_eq!(*result.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(written(&server), [""; 0]);
}
