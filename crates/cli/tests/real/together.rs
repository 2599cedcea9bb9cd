//! Two runs at once of one project with different changes: no tag says what its image is not.

use std::collections::BTreeMap;
use std::process::Stdio;

use dockit_testkit::{Auth, GeneratedProject, RegistryProcess, exchange};
use serde_json::Value;

use crate::engine::{self, Cleanup};
use crate::nonce;
use crate::run::{Project, Ran};

fn get(host: &str, target: &str) -> Value {
    let accept = (
        "Accept",
        "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json",
    );
    let reply = exchange(host, "GET", target, &[accept], b"").unwrap();
    assert_eq!(reply.status(), 200, "{target}");
    serde_json::from_slice(&reply.body).unwrap()
}

/// The key that the label of each image's config says, by content tag, as the registry has them.
pub(crate) fn labels(host: &str, repository: &str) -> BTreeMap<String, String> {
    let tags = get(host, &format!("/v2/{repository}/tags/list"));
    let tags = tags["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap());
    tags.filter(|tag| tag.starts_with("k1-"))
        .map(|tag| {
            let manifest = get(host, &format!("/v2/{repository}/manifests/{tag}"));
            let config = manifest["config"]["digest"].as_str().unwrap();
            let config = get(host, &format!("/v2/{repository}/blobs/{config}"));
            let label = config["config"]["Labels"]["dev.dockit.key"].as_str().unwrap();
            (tag.to_owned(), label.to_owned())
        })
        .collect()
}

#[test]
fn concurrent_runs_with_overlapping_changes_build_no_wrong_tag() {
    let registry = RegistryProcess::start(Auth::None);
    let images = GeneratedProject::new(3, 4);
    let (seed, shared) = (nonce(), nonce());
    // Two work trees of one project, with one change in common and one each of their own.
    let projects = [(0, 5), (0, 6)].map(|(common, own)| {
        let mut project = Project::new(&[("readme", "")]);
        project.docker_host = engine::endpoint();
        images.write(&project.root(), &format!("registry = \"{}/t\"", registry.host()), &seed);
        images.change(&project.root(), common, &shared);
        images.change(&project.root(), own, &nonce());
        project
    });
    let children = projects.each_ref().map(|project| {
        project
            .command(&["build", "--push", "always", "--format", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let mut cleanup = Cleanup(Vec::new());
    let mut digests: BTreeMap<String, String> = BTreeMap::new();
    for (child, project) in children.into_iter().zip(&projects) {
        let ran = Ran::of(child.wait_with_output().unwrap(), &project.root());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let report = ran.json();
        cleanup.0.append(&mut std::mem::take(&mut Cleanup::of(&report).0));
        for image in report["images"].as_array().unwrap() {
            let digest = image["digest"].as_str().unwrap().to_owned();
            let key = image["key"].as_str().unwrap().to_owned();
            if let Some(other) = digests.insert(key.clone(), digest.clone()) {
                assert_eq!(other, digest, "both runs report one digest for {key}");
            }
        }
    }
    let mut tags = 0;
    for image in 0..images.images() {
        let name = GeneratedProject::name(image);
        for (tag, label) in labels(registry.host(), &format!("t/{name}")) {
            assert_eq!(tag.replacen('-', ":", 1), label, "{name}");
            assert!(digests.contains_key(&label), "{name}:{tag} is of neither run");
            tags += 1;
        }
    }
    assert_eq!(tags, digests.len());
}
