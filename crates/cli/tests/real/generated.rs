//! A generated project of 50 images: what is built is exactly what a change affects.

use std::collections::BTreeSet;

use dockit_testkit::{Auth, GeneratedProject, RegistryProcess};
use serde_json::Value;

use crate::engine::{self, Cleanup};
use crate::run::Project;
use crate::{base_image, nonce};

/// The names of the images that ended so.
pub(crate) fn with_status(report: &Value, status: &str) -> BTreeSet<String> {
    let images = report["images"].as_array().unwrap().iter();
    images
        .filter(|image| image["status"] == status)
        .map(|image| image["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn builds_of_50_images_are_exactly_what_a_change_affects() {
    let registry = RegistryProcess::start(Auth::None);
    let images = GeneratedProject::new(5, 10).with_runs(17, &base_image(), "cat /i* > /all");
    assert_eq!(images.images(), 50);
    let mut project = Project::new(&[("readme", "")]);
    project.docker_host = engine::endpoint();
    images.write(&project.root(), &format!("registry = \"{}/g\"", registry.host()), &nonce());
    let mut cleanup = Cleanup(Vec::new());
    let mut build = || {
        let ran = project.run(&["build", "--push", "always", "--format", "json"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let report = ran.json();
        cleanup.0.append(&mut std::mem::take(&mut Cleanup::of(&report).0));
        report
    };
    let everything: BTreeSet<String> = (0..50).map(GeneratedProject::name).collect();
    assert_eq!(with_status(&build(), "built"), everything);
    assert_eq!(with_status(&build(), "reused"), everything);
    // A leaf, the middle, a root, and all of these at once.
    for changed in [&[47][..], &[23], &[4], &[2, 25, 49]] {
        for image in changed {
            images.change(&project.root(), *image, &nonce());
        }
        let report = build();
        let affected = images.affected(changed);
        assert_eq!(with_status(&report, "built"), affected, "{changed:?}");
        let others: BTreeSet<String> = everything.difference(&affected).cloned().collect();
        assert_eq!(with_status(&report, "reused"), others, "{changed:?}");
    }
}
