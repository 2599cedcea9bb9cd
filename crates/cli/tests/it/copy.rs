//! `dockit copy` and `dockit pull` without a registry, or with one that says what a test wants.

use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};

use dockit_testkit::{Reply, ScriptedServer, TestImage};
use insta::assert_snapshot;

use crate::layout;
use crate::run::{Project, Ran};
use crate::scratch;

/// A directory without a project in it.
fn nowhere() -> Project {
    Project::new(&[("file", "")])
}

#[test]
fn layouts_are_copied_offline_and_without_a_project() {
    let (place, image) = (nowhere(), TestImage::new("copy"));
    layout::write(&place.root().join("a"), &[("app:1.0", &image)]);
    let ran = place.run(&["copy", "--offline", "oci:a", "oci:b", "--format", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let json = ran.json();
    assert_eq!(json["schema"], "dockit.copy/1");
    assert_eq!(
        (&json["source"], &json["destination"]),
        (&"oci:a:app:1.0".into(), &"oci:b:app:1.0".into())
    );
    assert_eq!(json["digest"], image.digest());
    assert_eq!(json["previous"], serde_json::Value::Null);
    assert_eq!(json["manifests"]["written"], 1);
    assert_eq!((&json["blobs"]["written"], &json["blobs"]["present"]), (&2.into(), &0.into()));
    let bytes = image.config.len() + image.layer.len();
    assert_eq!(json["blobs"]["bytes_written"], bytes);
    assert_eq!(json["layers_left"], serde_json::json!([]));
    assert_eq!(layout::names(&place.root().join("b")), [("app:1.0".to_owned(), image.digest())]);

    let again = place.run(&["copy", "oci:a:app:1.0", "oci:b"]);
    assert_eq!((again.code, again.out), (0, format!("oci:b:app:1.0@{}\n", image.digest())));
    // What follows is how long it took.
    let (said, _) = again.err.rsplit_once(';').unwrap();
    assert_snapshot!(said, @r"
    copying oci:a:app:1.0 to oci:b:app:1.0
    oci:b:app:1.0: there already; nothing had to be moved
    ");
    assert_eq!(place.run(&["copy", "-q", "oci:a:app:1.0", "oci:b"]).err, "");
}

#[test]
fn a_name_that_is_moved_says_from_where() {
    let (place, old, new) = (nowhere(), TestImage::new("old"), TestImage::new("new"));
    layout::write(&place.root().join("a"), &[("app:1", &new)]);
    layout::write(&place.root().join("b"), &[("app:1", &old)]);
    let ran = place.run(&["copy", "oci:a:app:1", "oci:b", "--format", "json"]);
    assert_eq!(ran.json()["previous"], old.digest());
    assert!(ran.err.contains(&format!("was {}", old.digest())), "{}", ran.err);
}

#[test]
fn places_that_are_none_are_usage_errors() {
    let place = nowhere();
    layout::write(&place.root().join("a"), &[("app", &TestImage::new("a"))]);
    layout::write(
        &place.root().join("two"),
        &[("x:1", &TestImage::new("x")), ("y:1", &TestImage::new("y"))],
    );
    let offline = place.run(&["copy", "--offline", "oci:a:app", "r.example/b:1"]);
    assert_eq!(offline.code, 2, "{offline:?}");
    assert!(offline.err.contains("--offline forbids"), "{}", offline.err);
    for (source, destination, code) in [
        ("oci:", "oci:b", 2),
        ("Upper/case:1", "oci:b", 2),
        ("docker://r.example/a:1", "oci:b", 2),
        ("oci:a:app", "./b", 2),
        ("oci:a", "out", 2),
        ("oci:a:app", "r.example/b", 2),
        ("oci:two", "oci:b", 3),
        ("oci:missing:app", "oci:b", 3),
        ("oci:a:other", "oci:b", 3),
    ] {
        let ran = place.run(&["copy", source, destination]);
        assert_eq!((ran.code, &*ran.out), (code, ""), "{source} {destination}: {ran:?}");
        assert!(!place.root().join("b/index.json").exists() || code == 3, "{source}");
    }
    let scheme = place.run(&["copy", "docker://r.example/a:1", "oci:b"]).err;
    assert!(scheme.contains("hint: a reference has no scheme: r.example/a:1"), "{scheme}");
    let path = place.run(&["copy", "oci:a:app", "./b"]).err;
    assert!(path.contains("hint: oci:./b is the layout"), "{path}");
    assert_snapshot!(place.run(&["copy", "oci:a", "out"]).err, @r"
    error: out is no place to copy to: it has no registry
    hint: oci:out is the layout in that directory
    hint: docker.io/library/out is Docker Hub's image
    ");
    assert_snapshot!(place.run(&["copy", "oci:a:app", "r.example/b"]).err, @r"
    error: r.example/b needs a tag: the source has none to take
    hint: write r.example/b:TAG
    ");
    assert_snapshot!(place.run(&["copy", "oci:two", "oci:b"]).err, @r"
    error: two: holds several images, name one: x:1, y:1
    ");
    assert_snapshot!(place.run(&["copy", "oci:a:other", "oci:b"]).err, @r"
    copying oci:a:other to oci:b:other
    error: oci:a:other: no such image
    hint: check the name and the tag
    ");
}

#[test]
fn a_directory_with_other_things_is_left_alone() {
    let place = nowhere();
    place.write("full/important", "data");
    layout::write(&place.root().join("a"), &[("app:1", &TestImage::new("a"))]);
    let ran = place.run(&["copy", "oci:a", "oci:full"]);
    assert_eq!((ran.code, &*ran.out), (3, ""), "{ran:?}");
    let left: Vec<_> = std::fs::read_dir(place.root().join("full")).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn a_damaged_blob_is_not_copied_and_nothing_gets_the_name() {
    let (place, image) = (nowhere(), TestImage::new("whole"));
    let from = place.root().join("a");
    layout::write(&from, &[("app:1", &image)]);
    let config = image.config_digest();
    let blob = from.join("blobs/sha256").join(config.strip_prefix("sha256:").unwrap());
    let length = image.config.len();
    std::fs::write(blob, "x".repeat(length)).unwrap();
    let ran = place.run(&["copy", "oci:a", "oci:b"]);
    assert_eq!((ran.code, &*ran.out), (3, ""), "{ran:?}");
    assert_eq!(layout::names(&place.root().join("b")), []);
}

#[test]
fn a_registry_that_refuses_ends_with_exit_3_and_a_hint() {
    let server = ScriptedServer::start(|_| {
        Reply::new(403)
            .header("Content-Type", "application/json")
            .body(r#"{"errors":[{"code":"DENIED","message":"not you"}]}"#)
    });
    let place = nowhere();
    layout::write(&place.root().join("a"), &[("app:1", &TestImage::new("a"))]);
    let ran = place.run(&["copy", "oci:a", &format!("{}/b", server.host())]);
    assert_eq!((ran.code, &*ran.out), (3, ""), "{ran:?}");
    assert!(ran.err.contains("lack a right"), "{}", ran.err);
    assert!(server.log().iter().all(|line| !line.starts_with("PUT")), "{:?}", server.log());
}

#[test]
fn what_a_project_pulls_is_named_before_anything_is_asked() {
    let project = scratch("r.example");
    for (arguments, expected) in [
        (&["pull", "base", "child", "--to", "oci:out:app"][..], "is for one image"),
        (&["pull", "r.example/a/x:1", "r.example/b/x:1", "--to", "oci:out"], "would both be"),
        (&["pull", "--to", "out"], "is no layout"),
        (&["pull", "bsae", "--to", "oci:out"], "neither an image of"),
        (&["pull", "--offline"], "--offline forbids"),
    ] {
        let ran = project.run(arguments);
        assert_eq!((ran.code, &*ran.out), (2, ""), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
    }
    assert!(!project.root().join("out").exists());
}

#[test]
fn an_image_that_cannot_be_pulled_does_not_keep_others_from_it() {
    let server = ScriptedServer::start(|request| match request.path() {
        "/v2/" => Reply::new(200),
        path if path.contains("/a/") => Reply::new(404)
            .header("Content-Type", "application/json")
            .body(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#),
        _ => Reply::new(403),
    });
    let (place, host) = (nowhere(), server.host());
    let names = [format!("{host}/a:1"), format!("{host}/b:1")];
    let ran = place.run(&["pull", &names[0], &names[1], "--to", "oci:out", "--format", "json"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let json = ran.json();
    assert_eq!(json["schema"], "dockit.pull/1");
    assert_eq!(json["images"][0]["status"], "failed");
    assert_eq!(json["images"][0]["destinations"], serde_json::json!(["oci:out:a:1"]));
    assert!(json["images"][0]["error"].as_str().unwrap().contains("is absent"), "{json}");
    assert!(json["images"][1]["error"].as_str().unwrap().contains("denied"), "{json}");
}

/// Starts a copy or pull from a registry that never sends a blob, and ends it in the middle.
fn interrupted(arguments: impl Fn(&str) -> Vec<String>) -> (Project, Ran) {
    let image = TestImage::new("endless");
    let (asked, was_asked) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (asked, released) = (Mutex::new(asked), Mutex::new(released));
    let server = ScriptedServer::start(move |request| {
        if request.path().contains("/blobs/") {
            let _ = asked.lock().unwrap().send(());
            // Until the test is over.
            let _ = released.lock().unwrap().recv();
        }
        Reply::new(200)
            .header("Content-Type", image.media_type)
            .header("Docker-Content-Digest", image.digest())
            .body(image.manifest.clone())
    });
    let place = nowhere();
    let arguments = arguments(&format!("{}/app:1", server.host()));
    let child = place
        .command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    was_asked.recv().unwrap();
    let sent = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let ran = Ran::of(child.wait_with_output().unwrap(), &place.root());
    drop(release);
    (place, ran)
}

#[test]
fn an_interrupted_copy_puts_no_name_and_says_so() {
    for command in ["copy", "pull"] {
        let (place, ran) = interrupted(|source| match command {
            "copy" => ["copy", source, "oci:out"].map(str::to_owned).to_vec(),
            _ => ["pull", source, "--to", "oci:out"].map(str::to_owned).to_vec(),
        });
        assert_eq!((ran.code, &*ran.out), (130, ""), "{command}: {ran:?}");
        assert!(ran.err.contains("error: interrupted"), "{}", ran.err);
        assert!(ran.err.contains("does not move"), "{}", ran.err);
        assert_eq!(layout::names(&place.root().join("out")), []);
    }
}

#[test]
fn a_content_tag_is_only_for_the_image_that_has_it() {
    let (place, image, other) = (nowhere(), TestImage::new("image"), TestImage::new("other"));
    let (tag, second) = (format!("k1-{}", "a".repeat(64)), format!("k1-{}", "b".repeat(64)));
    layout::write(
        &place.root().join("a"),
        &[(&format!("app:{tag}"), &image), (&format!("app:{second}"), &image), ("app:1", &other)],
    );
    layout::write(&place.root().join("taken"), &[(&format!("app:{tag}"), &other)]);
    let [source, moving, digest] =
        [format!("oci:a:app:{tag}"), "oci:a:app:1".to_owned(), format!("oci:a@{}", image.digest())];
    let beside = format!("{source}@{}", other.digest());
    let (new, taken) = (format!("oci:new:app:{tag}"), format!("oci:taken:app:{tag}"));
    let (differs, alone) = (format!("oci:new:app:{second}"), format!("oci:new:{tag}"));
    for (arguments, why) in [
        (&["copy", &moving, &new][..], "is under a content tag"),
        (&["copy", &moving, &alone], "is under a content tag"),
        (&["copy", &digest, &new], "is under a content tag"),
        (&["copy", &source, &differs], "or under another"),
        (&["copy", &source, &new, "--platform", "linux/amd64"], "one platform"),
        (&["copy", &source, &taken], "already"),
        (&["copy", &beside, &new], "is on"),
    ] {
        let ran = place.run(arguments);
        assert_eq!((ran.code, &*ran.out), (2, ""), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(why), "{arguments:?}: {}", ran.err);
    }
    assert!(!place.root().join("new").exists());
    for _ in 0..2 {
        let ran = place.run(&["copy", &source, "oci:new"]);
        assert_eq!(ran.code, 0, "also where it is already: {ran:?}");
    }
    let full_name = format!("app:{tag}");
    assert_eq!(layout::names(&place.root().join("new")), [(full_name, image.digest())]);
}

#[test]
fn a_broken_project_is_not_in_the_way_of_what_needs_none() {
    let server = ScriptedServer::start(|_| {
        Reply::new(404)
            .header("Content-Type", "application/json")
            .body(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#)
    });
    let place = Project::new(&[("dockit.toml", "[images"), ("empty/file", "")]);
    layout::write(&place.root().join("a"), &[("app:1", &TestImage::new("a"))]);
    let layouts = place.run(&["copy", "oci:a", "oci:b", "-q"]);
    assert_eq!((layouts.code, &*layouts.err), (0, ""));

    let source = format!("{}/app:1", server.host());
    for command in [&["copy", &source, "oci:b"][..], &["tag", &source, "x"], &["pull", &source]] {
        let ran = place.run(command);
        assert_eq!(ran.code, 3, "{command:?}: {ran:?}");
        assert!(ran.err.contains("warning: the project is not used"), "{}", ran.err);
        let named = [command, &["--config", "dockit.toml"]].concat();
        assert_eq!(place.run(&named).code, 2, "{command:?}");
    }
    assert_eq!(place.run(&["tag", "base", "x"]).code, 2);
    let ran = nowhere().run(&["-C", ".", "tag", &source, "x"]);
    assert_eq!(ran.code, 3, "no dockit.toml under -C is no project: {ran:?}");
}

#[test]
fn a_name_means_the_same_in_every_command() {
    let server = ScriptedServer::start(|_| {
        Reply::new(404)
            .header("Content-Type", "application/json")
            .body(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#)
    });
    let project = scratch(&server.host());
    let ran = project.run(&["copy", "base", "oci:x"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("/p/base:k1-"), "{}", ran.err);
    let ran = project.run(&["copy", "debian", "oci:x"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("neither an image of DIR/dockit.toml nor a reference"), "{}", ran.err);
    project.write("there/file", "");
    let ran = project.run(&["copy", "there", "oci:x"]);
    assert!(ran.err.contains("hint: oci:there is the layout in that directory"), "{}", ran.err);
    let ran = project.run(&["tag", "oci:there:app", "x"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("tag and pull work on registries"), "{}", ran.err);
}

#[test]
fn a_layout_without_a_blob_is_incomplete() {
    let (place, image) = (nowhere(), TestImage::new("a"));
    layout::write(&place.root().join("a"), &[("app:1", &image)]);
    let config = image.config_digest();
    let blobs = place.root().join("a/blobs/sha256");
    std::fs::remove_file(blobs.join(config.strip_prefix("sha256:").unwrap())).unwrap();
    let ran = place.run(&["copy", "oci:a", "oci:b"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("hint: the layout or repository is incomplete"), "{}", ran.err);
}

#[test]
fn equal_references_are_pulled_once() {
    let server = ScriptedServer::start(|_| Reply::new(403));
    let source = format!("{}/a:1", server.host());
    let ran = nowhere().run(&["pull", &source, &source, "--to", "oci:out", "--format", "json"]);
    assert_eq!(ran.json()["images"].as_array().unwrap().len(), 1, "{ran:?}");
}

#[test]
fn of_several_names_none_is_taken() {
    let (place, image) = (nowhere(), TestImage::new("a"));
    layout::write(&place.root().join("a"), &[("app:1", &image), ("app:2", &image)]);
    let ran = place.run(&["copy", "oci:a", "oci:b"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("has the names app:1, app:2: write one"), "{}", ran.err);
    assert_eq!(place.run(&["copy", "oci:a", "oci:b:app:3"]).code, 0);
}
