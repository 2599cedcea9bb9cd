//! Without a registry the engine's own image store is looked up and used.

use crate::engine::{self, Cleanup};
use crate::{debian, nonce};

#[test]
fn what_was_built_is_found_again_in_the_engine() {
    let project = debian("");
    let build = |more: &[&str]| {
        let ran = project.run(&[&["build", "--format", "json"], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.json()
    };
    let plan = project.run(&["plan", "base"]);
    assert_eq!(plan.code, 2, "a plan resolves nothing: {plan:?}");
    let first = build(&[]);
    let _cleanup = Cleanup::of(&first);
    for image in first["images"].as_array().unwrap() {
        assert_eq!((&image["status"], &image["pushed"]), (&"built".into(), &false.into()));
        let found = engine::inspect(image["reference"].as_str().unwrap()).unwrap();
        assert_eq!(found["Config"]["Labels"]["dev.dockit.key"], image["key"]);
    }
    let second = build(&[]);
    assert!(second["images"].as_array().unwrap().iter().all(|image| image["status"] == "reused"));

    // `--push never` always builds what is named, and nothing else.
    let again = build(&["--push", "never", "child"]);
    let statuses: Vec<&str> = again["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["reused", "reused", "built"]);

    let loaded = build(&["tool", "--load"]);
    assert_eq!(loaded["images"][0]["status"], "reused");
    assert!(engine::inspect("tool:latest").is_some());
    engine::remove("tool:latest");
}

#[test]
fn a_content_tag_on_something_else_is_not_believed() {
    let project = debian("");
    let ran = project.run(&["build", "tool", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let before = ran.json();
    let _cleanup = Cleanup::of(&before);
    project.write("tool/tool", &nonce());
    let plan = project.run(&["plan", "tool", "--format", "json"]).json();
    let reference = plan["steps"][0]["reference"].as_str().unwrap();
    let _other = Cleanup(vec![reference.to_owned()]);
    let (repository, tag) = reference.rsplit_once(':').unwrap();
    engine::tag(before["images"][0]["reference"].as_str().unwrap(), repository, tag);
    assert!(engine::inspect(reference).is_some());
    let plan = project.run(&["plan", "tool", "--format", "json"]).json();
    assert_eq!(plan["steps"][0]["action"], "build");
}
