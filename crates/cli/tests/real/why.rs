//! What was pushed is compared without its sources.

use dockit_testkit::{Auth, RegistryProcess, exchange};

use crate::engine::Cleanup;
use crate::run::Project;
use crate::{debian, nonce};

fn build(project: &Project) -> (serde_json::Value, Cleanup) {
    let ran = project.run(&["build", "--push", "always", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    let report = ran.json();
    let cleanup = Cleanup::of(&report);
    (report, cleanup)
}

/// The image by digest.
fn pushed(report: &serde_json::Value, name: &str) -> String {
    let images = report["images"].as_array().unwrap();
    let image = images.iter().find(|image| image["name"] == name).unwrap();
    let (repository, _) = image["reference"].as_str().unwrap().rsplit_once(':').unwrap();
    format!("{repository}@{}", image["digest"].as_str().unwrap())
}

#[test]
fn two_pushed_versions_are_compared_without_their_sources() {
    let registry = RegistryProcess::start(Auth::None);
    let project = debian(&format!("registry = \"{}/ci\"", registry.host()));
    let (first, _first) = build(&project);
    project.write("base/nonce", &nonce());
    project
        .write("tool/tool", &std::fs::read_to_string(project.root().join("base/nonce")).unwrap());
    let (second, _second) = build(&project);
    let (old, new) = (pushed(&first, "child"), pushed(&second, "child"));
    drop(project);

    // Another machine, and no project at all.
    let elsewhere = Project::new(&[("readme", "nothing to see here")]);
    let ran = elsewhere.run(&["why", "--between", &old, &new, "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let json = ran.json();
    let images = json["images"].as_array().unwrap();
    let changed: Vec<(&str, Vec<&str>)> = images
        .iter()
        .map(|image| {
            assert!(image["problem"].is_null(), "{image}");
            let changes = image["changes"].as_array().unwrap();
            let names = changes.iter().map(|change| change["name"].as_str().unwrap());
            (image["image"].as_str().unwrap(), names.collect())
        })
        .collect();
    assert_eq!(
        changed,
        [
            ("child", vec!["base", "tool"]),
            ("base", vec!["base/nonce"]),
            ("tool", vec!["tool/tool"]),
        ]
    );
    let ran = elsewhere.run(&["why", "--between", &old, &new, "--exit-code"]);
    assert_eq!(ran.code, 5, "{}", ran.err);
    assert!(ran.out.contains("because base changes"), "{}", ran.out);
    let ran = elsewhere.run(&["why", "--between", &new, &new, "--exit-code"]);
    assert_eq!(ran.code, 0, "{}", ran.err);

    // This registry lists no referrers: the list is an index under the tag of the image's digest.
    let (_, digest) = new.split_once("@sha256:").unwrap();
    let index = exchange(
        registry.host(),
        "GET",
        &format!("/v2/ci/child/manifests/sha256-{digest}"),
        &[("Accept", "application/vnd.oci.image.index.v1+json")],
        b"",
    )
    .unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index.body).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{index}");
    assert_eq!(entries[0]["artifactType"], "application/vnd.dockit.inputs.v1+json");
}

#[test]
fn the_work_tree_is_compared_with_a_tag() {
    let registry = RegistryProcess::start(Auth::None);
    let project = debian(&format!("registry = \"{}/ci\"", registry.host()));
    crate::commit(&project);
    let (_, _cleanup) = build(&project);
    project.write("tool/tool", &nonce());
    // As in another clone: nothing is kept here but the lockfile.
    std::fs::remove_dir_all(project.root().join(".dockit")).unwrap();
    let ran = project.run(&["why", "child", "--tag", "latest"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("because tool changes"), "{}", ran.out);
    assert!(ran.out.contains("file changed  tool/tool"), "{}", ran.out);
    let ran = project.run(&["why", "child", "--tag", "never"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("is absent"), "{}", ran.err);
}
