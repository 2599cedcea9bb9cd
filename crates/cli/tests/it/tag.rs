//! `dockit tag` with registries that say what a test wants.

use dockit_testkit::{Reply, ScriptedServer, TestImage};
use insta::assert_snapshot;

use crate::run::Project;
use crate::scratch;

/// A registry whose repository `app` has `source` and `there` on one image and `old` on another, and
/// whose tag `fixed` cannot be moved.
fn registry(image: &TestImage, other: &TestImage) -> ScriptedServer {
    let (image, other) = (image.clone(), other.clone());
    ScriptedServer::start(move |request| {
        let manifest = |image: &TestImage| {
            Reply::new(200)
                .header("Content-Type", image.media_type)
                .header("Docker-Content-Digest", image.digest())
                .body(image.manifest.clone())
        };
        let tag = request.path().rsplit('/').next().unwrap_or_default();
        match (&*request.method, tag) {
            ("PUT", "fixed") => Reply::new(400)
                .header("Content-Type", "application/json")
                .body(r#"{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}"#),
            ("PUT", _) => Reply::new(201).header("Docker-Content-Digest", image.digest()),
            (_, "source" | "there") => manifest(&image),
            (_, "old" | "fixed") => manifest(&other),
            (_, "") => Reply::new(200),
            _ => Reply::new(404)
                .header("Content-Type", "application/json")
                .body(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#),
        }
    })
}

fn puts(server: &ScriptedServer) -> Vec<String> {
    server.log().into_iter().filter(|line| line.starts_with("PUT")).collect()
}

#[test]
fn every_tag_says_what_became_of_it() {
    let (image, other) = (TestImage::new("image"), TestImage::new("other"));
    let server = registry(&image, &other);
    let place = Project::new(&[("file", "")]);
    let source = format!("{}/app:source", server.host());
    let shown = |text: &str| {
        text.replace(&server.host(), "HOST")
            .replace(&image.digest(), "IMAGE")
            .replace(&other.digest(), "OTHER")
    };

    let dry = place.run(&["tag", &source, "new", "old", "there", "--dry-run"]);
    assert_eq!((dry.code, &*dry.err), (0, ""));
    assert_snapshot!(shown(&dry.out), @r"
    would create  HOST/app:new
    would move    HOST/app:old    from OTHER
    unchanged     HOST/app:there
    ");
    assert_eq!(puts(&server), Vec::<String>::new());

    let ran = place.run(&["tag", &source, "new", "old", "there", "new"]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    assert_snapshot!(shown(&ran.out), @r"
    created    HOST/app:new
    moved      HOST/app:old    from OTHER
    unchanged  HOST/app:there
    ");
    let mut put = puts(&server);
    put.sort();
    assert_eq!(put, ["PUT /v2/app/manifests/new", "PUT /v2/app/manifests/old"]);
    for request in server.requests().iter().filter(|request| request.method == "PUT") {
        assert_eq!(request.body(), image.manifest, "the bytes as they were read");
    }
}

#[test]
fn a_tag_that_fails_does_not_keep_the_others() {
    let (image, other) = (TestImage::new("image"), TestImage::new("other"));
    let server = registry(&image, &other);
    let place = Project::new(&[("file", "")]);
    let source = format!("{}/app:source", server.host());
    let ran = place.run(&["tag", &source, "fixed", "new", "--format", "json"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_snapshot!(ran.err.replace(&server.host(), "HOST"), @r"
    error: fixed: PUT http://HOST/v2/app/manifests/fixed: it may not be changed (400 Bad Request, TAG_INVALID: the tag is immutable)
    hint: HOST keeps this tag as it is: take another tag, or ask who set the repository's rules
    ");
    let json = ran.json();
    assert_eq!(
        (&json["schema"], &json["digest"]),
        (&"dockit.tag/1".into(), &image.digest().into())
    );
    let [fixed, new] = &json["tags"].as_array().unwrap()[..] else { panic!("{json}") };
    assert_eq!((&fixed["status"], &fixed["previous"]), (&"failed".into(), &other.digest().into()));
    assert!(fixed["error"].as_str().unwrap().contains("TAG_INVALID"), "{json}");
    assert_eq!((&new["status"], &new["previous"]), (&"created".into(), &serde_json::Value::Null));
}

#[test]
fn an_absent_source_is_exit_3_and_nothing_is_put() {
    let image = TestImage::new("image");
    let server = registry(&image, &image);
    let project = scratch(&server.host());
    let ran = project.run(&["tag", "base", "new"]);
    assert_eq!((ran.code, &*ran.out), (3, ""), "{ran:?}");
    assert!(ran.err.contains("base is not in its registry"), "{}", ran.err);
    assert!(ran.err.contains("dockit build base --push always"), "{}", ran.err);
    assert!(ran.err.contains("MANIFEST_UNKNOWN"), "the registry's words: {}", ran.err);
    assert_eq!(puts(&server), Vec::<String>::new());
}

#[test]
fn sources_and_tags_that_are_none_are_usage_errors() {
    let project = scratch("r.example");
    let nowhere = Project::new(&[("file", "")]);
    let homeless =
        Project::new(&[("dockit.toml", "[images.base]\n"), ("base/Dockerfile", "FROM scratch\n")]);
    let content = format!("k1-{}", "a".repeat(64));
    for (place, arguments, expected) in [
        (
            &project,
            &["tag", "bsae", "x"][..],
            "neither an image of DIR/dockit.toml nor a reference",
        ),
        (&nowhere, &["tag", "base", "x"], "there is no dockit.toml here"),
        (&homeless, &["tag", "base", "x"], "is in no registry"),
        (&project, &["tag", "base", &content], "is a content tag"),
        (&project, &["tag", "base", "a/b"], "invalid value 'a/b'"),
        (&project, &["tag", "base"], "<TAG>"),
        (&project, &["tag", "base", "x", "--offline"], "--offline forbids"),
    ] {
        let ran = place.run(arguments);
        assert_eq!((ran.code, &*ran.out), (2, ""), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn an_image_of_the_project_whose_name_has_a_slash_is_that_image() {
    let image = TestImage::new("image");
    let server = registry(&image, &image);
    let project = Project::new(&[
        (
            "dockit.toml",
            &format!("[project]\nregistry = \"{}/p\"\n[images.\"tools/cross\"]\n", server.host()),
        ),
        ("tools/cross/Dockerfile", "FROM scratch\n"),
    ]);
    let ran = project.run(&["tag", "tools/cross", "new"]);
    assert!(ran.err.contains("tools/cross is not in its registry"), "{ran:?}");
    assert!(
        server.log().iter().all(|line| line.contains("p/tools/cross") || line.contains("/v2/ "))
    );
}
