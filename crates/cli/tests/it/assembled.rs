//! Projects without an engine: images that run no command, in a layout.

use std::fs;

use crate::run::{Project, Ran};

/// A base, an application on it, one beside it, and an image that collects files of both.
fn project(registry: &str) -> Project {
    // The engine of its environment is not there, so that whoever asks it fails.
    Project::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\n{registry}\n[images.base]\n[images.app]\n[images.site]\n[images.bundle]\n"
            ),
        ),
        ("base/Dockerfile", "FROM scratch\nENV LANG=C.UTF-8\nCOPY etc/ /etc/\n"),
        ("base/etc/passwd", "app:x:1000:1000::/:/bin/sh\n"),
        (
            "app/Dockerfile",
            "FROM base\nWORKDIR /app\nCOPY --chown=app:app main .\nCMD [\"/app/main\"]\n",
        ),
        ("app/main", "1"),
        ("site/Dockerfile", "FROM scratch\nCOPY index.html /srv/\n"),
        ("site/index.html", "<p>1</p>"),
        (
            "bundle/Dockerfile",
            "FROM scratch\nCOPY --from=app /app /app\nCOPY --from=site /srv /srv\nLABEL of=\"app site\"\n",
        ),
    ])
}

const LAYOUT: &str = "registry = \"oci:images\"";

fn statuses(ran: &Ran) -> Vec<(String, String, String)> {
    let of = |image: &serde_json::Value, key: &str| image[key].as_str().unwrap_or("-").to_owned();
    let document = ran.json();
    let images = document["images"].as_array().unwrap().iter();
    images.map(|image| (of(image, "name"), of(image, "status"), of(image, "backend"))).collect()
}

fn named(statuses: &[(String, String, String)], status: &str) -> Vec<String> {
    let with = statuses.iter().filter(|(_, it, _)| it == status);
    with.map(|(name, ..)| name.clone()).collect()
}

#[test]
fn a_project_in_a_layout_is_built_reused_and_built_again_as_far_as_it_changed() {
    let project = project(LAYOUT);
    let build = || project.run(&["build", "--format", "json"]);
    let first = build();
    assert_eq!(first.code, 0, "{first:?}");
    let built = statuses(&first);
    assert_eq!(built.len(), 4);
    assert!(built.iter().all(|(_, status, by)| status == "built" && by == "assemble"), "{built:?}");
    assert!(first.json()["images"].as_array().unwrap().iter().all(|image| image["pushed"] == true));
    let again = build();
    assert_eq!(named(&statuses(&again), "reused").len(), 4, "{again:?}");
    project.write("app/main", "2");
    let plan = project.run(&["plan"]);
    assert!(plan.out.contains("2 to build, 0 to retag, 2 to reuse"), "{plan:?}");
    let changed = build();
    assert_eq!(named(&statuses(&changed), "built"), ["app", "bundle"], "{changed:?}");
    // Each key is there under its content tag, as other tools read it.
    let index = fs::read_to_string(project.root().join("images/index.json")).unwrap();
    for image in changed.json()["images"].as_array().unwrap() {
        let reference = image["reference"].as_str().unwrap();
        let name = reference.strip_prefix("oci:images:").unwrap();
        assert!(index.contains(&format!("\"{name}\"")), "{name}: {index}");
    }
}

#[test]
fn equal_sources_give_equal_digests_wherever_they_lie() {
    let digests = |project: &Project| -> Vec<String> {
        let ran = project.run(&["build", "--format", "json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let document = ran.json();
        let images = document["images"].as_array().unwrap().iter();
        images.map(|image| image["digest"].as_str().unwrap().to_owned()).collect()
    };
    let (one, other) = (project(LAYOUT), project("registry = \"oci:else/where\""));
    assert_eq!(digests(&one), digests(&other));
}

#[test]
fn without_a_registry_images_stay_beside_the_project() {
    let project = project("");
    let run = |arguments: &[&str]| {
        project.run(&[&["build", "--backend", "assemble", "--format", "json"], arguments].concat())
    };
    let first = run(&[]);
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!(named(&statuses(&first), "built").len(), 4, "{first:?}");
    assert!(project.root().join(".dockit/images/index.json").is_file());
    assert_eq!(named(&statuses(&run(&[])), "reused").len(), 4);
    project.write("site/index.html", "<p>2</p>");
    assert_eq!(named(&statuses(&run(&[])), "built"), ["site", "bundle"]);
    // What an earlier run left there can be built on.
    project.write("app/main", "3");
    let app = run(&["app"]);
    assert_eq!(named(&statuses(&app), "built"), ["app"], "{app:?}");
    let loaded = run(&["--load"]);
    assert_eq!(loaded.code, 4, "{loaded:?}");
    assert!(loaded.err.contains("takes an engine"), "{}", loaded.err);
}

#[test]
fn a_command_takes_an_engine_and_all_else_is_built() {
    for registry in [LAYOUT, ""] {
        let project = project(registry);
        project.write("app/Dockerfile", "FROM base\n\nRUN make all\n");
        let ran = project.run(&["build", "--backend", "assemble", "--format", "json"]);
        assert_eq!(ran.code, 4, "{ran:?}");
        let statuses = statuses(&ran);
        assert_eq!(named(&statuses, "built"), ["base", "site"]);
        assert_eq!(named(&statuses, "failed"), ["app"]);
        let document = ran.json();
        let failed = document["images"].as_array().unwrap().iter();
        let mut failed = failed.filter(|image| image["name"] == "app");
        let error = failed.next().unwrap()["error"].as_str().unwrap().to_owned();
        for part in ["line 3", "RUN make all", "Podman", "BuildKit", "[backends.NAME]"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(ran.err.contains("hint: start Docker"), "{}", ran.err);
    }
}

#[test]
fn an_engine_that_was_named_is_never_replaced() {
    let without = project("");
    let ran = without.run(&["build"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("no-engine.sock"), "{}", ran.err);
    assert!(!without.root().join(".dockit/images").exists());
    let in_layout = project(LAYOUT);
    in_layout.write("app/Dockerfile", "FROM base\nRUN make\n");
    let ran = in_layout.run(&["build"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("no-engine.sock"), "{}", ran.err);
    // Whoever insists on it gets nothing assembled.
    in_layout.write("site/index.html", "<p>2</p>");
    let engine = in_layout.run(&["build", "--backend", "engine", "site"]);
    assert_eq!(engine.code, 4, "{engine:?}");
}

#[test]
fn layers_are_packed_as_the_project_says() {
    for (compression, media_type) in [("gzip", "+gzip"), ("zstd", "+zstd"), ("none", ".tar\"")] {
        let project = project(&format!("{LAYOUT}\ncompression = \"{compression}\""));
        let ran = project.run(&["build", "site", "--format", "json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let digest = ran.json()["images"][0]["digest"].as_str().unwrap().replace(':', "/");
        let manifest = project.root().join("images/blobs").join(digest);
        let manifest = fs::read_to_string(manifest).unwrap();
        assert!(manifest.contains(media_type), "{compression}: {manifest}");
    }
}
