//! `dockit update`, `list --pinned`, and `pull` of what the lockfile records, with registries that say
//! what a test wants.

use std::sync::{Arc, Mutex};

use dockit_testkit::{Reply, ScriptedServer, TestImage};
use insta::assert_snapshot;

use crate::failures::idle_engine;
use crate::run::Project;

/// What tags are on: `REPOSITORY:TAG` and an image.
type Tags = Arc<Mutex<Vec<(&'static str, TestImage)>>>;

/// Has the images that the tags are on, also by digest, and nothing else.
fn registry(tags: &Tags) -> ScriptedServer {
    let tags = Arc::clone(tags);
    ScriptedServer::start(move |request| {
        let path = request.path().to_owned();
        if path == "/v2/" {
            return Reply::new(200);
        }
        for (name, image) in tags.lock().unwrap().iter() {
            let (repository, tag) = name.split_once(':').unwrap();
            let manifest = |what: &str| path == format!("/v2/{repository}/manifests/{what}");
            if manifest(tag) || manifest(&image.digest()) {
                return Reply::new(200)
                    .header("Content-Type", image.media_type)
                    .header("Docker-Content-Digest", image.digest())
                    .body(image.manifest.clone());
            }
            if path == format!("/v2/{repository}/blobs/{}", image.config_digest()) {
                return Reply::new(200).body(image.config.clone());
            }
        }
        Reply::new(404)
            .header("Content-Type", "application/json")
            .body(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#)
    })
}

fn tags(images: &[(&'static str, &str)]) -> Tags {
    let images = images.iter().map(|(name, seed)| (*name, TestImage::new(seed)));
    Arc::new(Mutex::new(images.collect()))
}

fn put(tags: &Tags, name: &'static str, seed: &str) {
    let mut tags = tags.lock().unwrap();
    tags.retain(|(known, _)| *known != name);
    tags.push((name, TestImage::new(seed)));
}

fn project(host: &str) -> Project {
    Project::new(&[
        ("dockit.toml", "[images.base]\n[images.app]\n[images.tool]\n[images.alone]\n"),
        ("base/Dockerfile", &format!("FROM {host}/debian:12\n")),
        ("app/Dockerfile", "FROM base\nRUN x\n"),
        ("tool/Dockerfile", &format!("FROM {host}/tool:1\n")),
        ("alone/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("alone/f", ""),
    ])
}

#[test]
fn bases_move_and_it_is_said_what_is_built_anew() {
    let tags = tags(&[("debian:12", "old"), ("tool:1", "tool")]);
    let server = registry(&tags);
    let project = project(&server.host());
    let shown = |text: &str| {
        let mut text = text.replace(&server.host(), "HOST");
        for (seed, word) in [("old", "OLD"), ("new", "NEW"), ("tool", "TOOL")] {
            text = text.replace(&TestImage::new(seed).digest()[..19], word);
        }
        text
    };
    let first = project.run(&["update", "--check"]);
    assert_eq!(first.code, 5, "{first:?}");
    assert!(!project.root().join("dockit.lock").exists());
    let first = project.run(&["update"]);
    assert_eq!((first.code, &*first.err), (0, "dockit.lock is written: commit it\n"), "{first:?}");
    let lockfile = || std::fs::read_to_string(project.root().join("dockit.lock")).unwrap();
    let before = lockfile();
    assert_eq!(project.run(&["key"]).code, 0);
    let again = project.run(&["update", "--check"]);
    assert_eq!((again.code, &*again.err), (0, "dockit.lock is up to date\n"), "{again:?}");

    put(&tags, "debian:12", "new");
    let dry = project.run(&["update", "--dry-run"]);
    assert_eq!((dry.code, &*dry.err), (0, "dockit.lock would be written\n"));
    assert_snapshot!(shown(&dry.out), @r"
    would move  HOST/debian:12  OLD -> NEW
    unchanged   HOST/tool:1     TOOL
    2 images would be built anew:
      base: base image HOST/debian:12 changed
      app: because of base
    ");
    assert_eq!(project.run(&["update", "--check"]).code, 5);
    assert_eq!(lockfile(), before);
    let json = project.run(&["update", "--format", "json"]).json();
    assert_eq!(json["schema"], "dockit.update/1");
    assert_eq!(json["written"], true);
    assert_eq!(json["bases"][0]["status"], "moved");
    assert_eq!(json["bases"][0]["to"], TestImage::new("new").digest());
    assert_eq!(json["images"][1]["because"], serde_json::json!(["base"]));
    assert_eq!(json["images"][1]["direct"], false);
    assert!(lockfile().contains(&TestImage::new("new").digest()));
}

#[test]
fn mistakes_and_failures_leave_the_lockfile() {
    let tags = tags(&[("debian:12", "old"), ("tool:1", "tool")]);
    let server = registry(&tags);
    let project = project(&server.host());
    assert_eq!(project.run(&["update"]).code, 0);
    let lockfile = || std::fs::read_to_string(project.root().join("dockit.lock")).unwrap();
    let before = lockfile();
    put(&tags, "debian:12", "new");
    tags.lock().unwrap().retain(|(name, _)| *name != "tool:1");
    let ran = project.run(&["update"]);
    assert_eq!((ran.code, &*ran.out), (3, ""), "{ran:?}");
    assert!(ran.err.contains("/tool:1"), "{}", ran.err);
    assert_eq!(lockfile(), before);
    let ran = project.run(&["update", &format!("{}/debian:21", server.host())]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("did you mean"), "{}", ran.err);
    assert_eq!(project.run(&["update", "--offline"]).code, 2);
    // One alone does not ask for the other.
    assert_eq!(project.run(&["update", "*/debian:12"]).code, 0);
    assert_ne!(lockfile(), before);
}

#[test]
fn a_lockfile_after_a_merge_says_where_and_what_to_do() {
    let project = project("r.example");
    let ours = "<<<<<<< HEAD\nversion = 1\n=======\nversion = 1\n>>>>>>> other\n";
    project.write("dockit.lock", ours);
    let ran = project.run(&["key"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("dockit.lock: line 1: a merge left both sides here"), "{}", ran.err);
    assert!(ran.err.contains("dockit update"), "{}", ran.err);
}

/// A project whose lockfile records an image that its registry has.
fn pinned(host: &str, image: &TestImage) -> Project {
    let toml = format!("[project]\nregistry = \"{host}/p\"\n[images.base]\n[images.other]\n");
    let key = "12".repeat(32);
    let entry = format!(
        "version = 1\n\n[[image]]\nname = \"base\"\nkey = \"k1:{key}\"\n\
         reference = \"{host}/p/base:k1-{key}@{}\"\n",
        image.digest()
    );
    Project::new(&[
        ("dockit.toml", &toml),
        ("dockit.lock", &entry),
        ("base/Dockerfile", "FROM scratch\n"),
        ("other/Dockerfile", "FROM scratch\n"),
    ])
}

#[test]
fn pinned_references_are_listed() {
    let image = TestImage::new("pinned");
    let project = pinned("r.example", &image);
    let reference = format!("r.example/p/base:k1-{}@{}", "12".repeat(32), image.digest());
    let one = project.run(&["list", "--pinned", "base"]);
    assert_eq!((one.code, one.out, &*one.err), (0, format!("{reference}\n"), ""));
    let all = project.run(&["list", "--pinned"]);
    assert_eq!((all.code, all.out), (0, format!("base  {reference}\n")));
    let json = project.run(&["list", "--pinned", "--format", "json"]).json();
    assert_eq!(json["schema"], "dockit.pinned/1");
    assert_eq!(json["images"][0]["reference"], reference);
    let none = project.run(&["list", "--pinned", "other"]);
    assert_eq!((none.code, &*none.out), (2, ""));
    assert!(none.err.contains("dockit build --pin other"), "{}", none.err);
}

#[test]
fn what_is_recorded_or_tagged_is_pulled() {
    let tags = tags(&[("p/base:stable", "pinned"), ("p/other:stable", "other")]);
    let server = registry(&tags);
    let image = TestImage::new("pinned");
    let mut project = pinned(&server.host(), &image);
    // Layouts fetch the layer too, which this registry does not have: what is asked for is what counts.
    let asked = |arguments: &[&str]| {
        let from = server.log().len();
        let ran = project.run(arguments);
        let log = server.log().split_off(from);
        (ran, log.into_iter().filter(|line| line.contains("/manifests/")).collect::<Vec<_>>())
    };
    let (_, log) = asked(&["pull", "--locked", "--to", "oci:out"]);
    assert_eq!(log[0], format!("HEAD /v2/p/base/manifests/{}", image.digest()));
    assert!(!log.iter().any(|line| line.contains("/p/other/")), "{log:?}");
    let (ran, _) = asked(&["pull", "--locked", "other", "--to", "oci:out"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    let (_, log) = asked(&["pull", "--tag", "stable", "o*", "--to", "oci:out"]);
    assert_eq!(log[0], "HEAD /v2/p/other/manifests/stable");
    assert!(!log.iter().any(|line| line.contains("/p/base/")), "{log:?}");
    let (ran, _) = asked(&["pull", "--tag", "absent", "--to", "oci:out"]);
    assert_eq!(ran.code, 3, "{ran:?}");

    // Too much is not begun.
    let engine = idle_engine(Arc::default());
    project.docker_host = format!("tcp://{}", engine.host());
    let size: u64 = ["pinned", "other"]
        .iter()
        .map(|seed| TestImage::new(seed))
        .map(|image| (image.config.len() + image.layer.len()) as u64)
        .sum();
    let ran = project.run(&["pull", "--tag", "stable", "--max-size", &(size - 1).to_string()]);
    assert_eq!((ran.code, &*ran.out), (2, ""), "{ran:?}");
    assert!(ran.err.contains("nothing was pulled"), "{}", ran.err);
    assert!(ran.err.contains("  base ") && ran.err.contains("  other "), "{}", ran.err);
    let pulls = || engine.log().iter().filter(|line| line.contains("/images/create")).count();
    assert_eq!(pulls(), 0);
    // As much as that is begun, and this engine fails.
    let ran = project.run(&["pull", "--tag", "stable", "--max-size", &size.to_string()]);
    assert_ne!(ran.code, 2, "{ran:?}");
    assert!(pulls() > 0, "{ran:?}");
}
