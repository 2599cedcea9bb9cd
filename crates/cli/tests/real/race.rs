//! Two processes that build the same absent key at once.

use std::process::Stdio;

use dockit_testkit::{Auth, RegistryProcess, exchange};
use serde_json::Value;

use crate::debian;
use crate::engine::Cleanup;
use crate::run::Ran;

#[test]
fn both_succeed_and_both_report_the_digest_that_the_tag_ends_on() {
    let registry = RegistryProcess::start(Auth::None);
    let project = debian(&format!("registry = \"{}/ci\"", registry.host()));
    // Without layer cache each process gets an image of its own from the same inputs.
    project
        .write("base/Dockerfile", "ARG BASE\nFROM $BASE\nCOPY nonce /\nRUN date +%N > /moment\n");
    let spawn = || {
        project
            .command(&["build", "base", "--push", "always", "--rebuild", "--format", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children = [spawn(), spawn()];
    let reports: Vec<Value> = children
        .into_iter()
        .map(|child| {
            let ran = Ran::of(child.wait_with_output().unwrap(), &project.root());
            assert_eq!(ran.code, 0, "{}", ran.err);
            ran.json()
        })
        .collect();
    let _cleanup = Cleanup::of(&reports[0]);
    let image = |index: usize| &reports[index]["images"][0];
    let tag = image(0)["key"].as_str().unwrap().replace(':', "-");
    let reply = exchange(
        registry.host(),
        "GET",
        &format!("/v2/ci/base/manifests/{tag}"),
        &[("Accept", "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json")],
        b"",
    )
    .unwrap();
    let digest = reply.header("Docker-Content-Digest").unwrap();
    for index in [0, 1] {
        assert_eq!(image(index)["digest"].as_str(), Some(digest), "{reports:#?}");
        let status = image(index)["status"].as_str().unwrap();
        assert!(matches!(status, "built" | "reused"), "{status}");
    }
}
