//! The whole story without an engine and without a registry: images assembled into a layout.

use std::collections::BTreeSet;

use dockit_testkit::GeneratedProject;
use serde_json::Value;

use crate::run::Project;

/// The names of the images or steps whose field says so.
fn with(document: &Value, list: &str, name: &str, field: &str, value: &str) -> BTreeSet<String> {
    let entries = document[list].as_array().unwrap().iter();
    entries
        .filter(|entry| entry[field] == value)
        .map(|entry| entry[name].as_str().unwrap().to_owned())
        .collect()
}

fn with_status(report: &Value, status: &str) -> BTreeSet<String> {
    with(report, "images", "name", "status", status)
}

fn to_build(plan: &Value) -> BTreeSet<String> {
    with(plan, "steps", "image", "action", "build")
}

fn digests(report: &Value) -> Vec<(String, String)> {
    let images = report["images"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    images.map(|image| (text(&image["name"]), text(&image["digest"]))).collect()
}

fn json(project: &Project, arguments: &[&str]) -> Value {
    let ran = project.run(&[arguments, &["--format", "json"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.json()
}

fn generated(depth: usize, width: usize) -> (GeneratedProject, Project) {
    let images = GeneratedProject::new(depth, width);
    let project = Project::new(&[("readme", "")]);
    images.write(&project.root(), "registry = \"oci:images\"", "first");
    (images, project)
}

#[test]
fn a_thousand_images_are_assembled_once_and_then_exactly_what_a_change_affects() {
    let (images, project) = generated(10, 100);
    let everything: BTreeSet<String> = (0..images.images()).map(GeneratedProject::name).collect();
    assert_eq!(everything.len(), 1000);
    let first = json(&project, &["build"]);
    assert_eq!(with_status(&first, "built"), everything);
    let second = json(&project, &["build"]);
    assert_eq!(with_status(&second, "reused"), everything);
    assert_eq!(digests(&first), digests(&second));
    for changed in [&[999][..], &[512], &[7, 300]] {
        for image in changed {
            images.change(&project.root(), *image, "second");
        }
        let affected = images.affected(changed);
        assert_eq!(to_build(&json(&project, &["plan"])), affected, "{changed:?}");
        let report = json(&project, &["build"]);
        assert_eq!(with_status(&report, "built"), affected, "{changed:?}");
        let others: BTreeSet<String> = everything.difference(&affected).cloned().collect();
        assert_eq!(with_status(&report, "reused"), others, "{changed:?}");
    }
}

#[test]
fn the_same_project_elsewhere_gives_the_same_digests() {
    let (images, here) = generated(3, 4);
    let built = json(&here, &["build", "--jobs", "1"]);
    let mut there = Project::new(&[("readme", "")]);
    images.write(&there.root(), "registry = \"oci:else where\"", "first");
    there.variables = vec![("TZ", "Asia/Tokyo".to_owned()), ("LC_ALL", "C.UTF-8".to_owned())];
    let built_there = json(&there, &["build", "--jobs", "8"]);
    assert_eq!(digests(&built), digests(&built_there));
    let mut third = Project::new(&[("readme", "")]);
    images.write(&third.root(), "registry = \"oci:out\"", "first");
    third.variables = vec![("TZ", String::new()), ("LC_ALL", String::new())];
    third.umask = Some("077");
    assert_eq!(digests(&built), digests(&json(&third, &["build"])));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let made = std::fs::metadata(third.root().join("out/index.json")).unwrap();
        assert_eq!(made.permissions().mode() & 0o077, 0, "the umask was that of the run");
    }
    assert!(digests(&built).iter().all(|(_, digest)| digest.starts_with("sha256:")), "{built}");
}

#[test]
fn what_is_gone_from_the_layout_is_assembled_again_with_the_same_digest() {
    let (_, project) = generated(2, 2);
    let first = json(&project, &["build"]);
    std::fs::remove_dir_all(project.root().join("images")).unwrap();
    assert_eq!(to_build(&json(&project, &["plan"])).len(), 4);
    assert_eq!(digests(&json(&project, &["build"])), digests(&first));
}

#[test]
fn a_run_that_needs_an_engine_says_which_line_does() {
    let project = Project::new(&[
        ("dockit.toml", "[project]\nregistry = \"oci:images\"\n[images.plain]\n[images.tools]\n"),
        ("plain/Dockerfile", "FROM scratch\nCOPY file /\n"),
        ("plain/file", "1"),
        ("tools/Dockerfile", "FROM scratch\nCOPY file /\n\nRUN [\"/file\"]\n"),
        ("tools/file", "1"),
    ]);
    let ran = project.run(&["build", "--backend", "assemble"]);
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains("tools") && ran.err.contains("line 4"), "{}", ran.err);
    // What does not is not in its way.
    let ran = project.run(&["build", "plain"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, 4, "{}", ran.err);
}
