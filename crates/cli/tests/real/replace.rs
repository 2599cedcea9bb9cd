//! A key that is there is built again, and its content tag moves only if that is asked for.

use dockit_testkit::{Auth, RegistryProcess, exchange};
use serde_json::Value;

use crate::debian;
use crate::engine::{self, Cleanup};
use crate::run::{Project, Ran};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn build(project: &Project, more: &[&str]) -> (Ran, Value) {
    let arguments = [&["build", "--push", "always", "--format", "json"], more].concat();
    let ran = project.run(&arguments);
    let json = if ran.out.is_empty() { Value::Null } else { ran.json() };
    (ran, json)
}

fn of<'a>(report: &'a Value, name: &str) -> &'a Value {
    let images = report["images"].as_array().unwrap();
    images.iter().find(|image| image["name"] == name).unwrap()
}

/// The manifest with this tag or digest, and its digest.
fn manifest(host: &str, name: &str, reference: &str) -> (String, Value) {
    let path = format!("/v2/ci/{name}/manifests/{reference}");
    let reply = exchange(host, "GET", &path, &[("Accept", MANIFEST)], b"").unwrap();
    let digest = reply.header("Docker-Content-Digest").expect("it is there").to_owned();
    (digest, serde_json::from_slice(&reply.body).unwrap())
}

fn on_tag(host: &str, image: &Value) -> String {
    let tag = image["key"].as_str().unwrap().replace(':', "-");
    manifest(host, image["name"].as_str().unwrap(), &tag).0
}

fn layers(host: &str, image: &Value) -> Vec<Value> {
    let digest = image["digest"].as_str().unwrap();
    let (_, manifest) = manifest(host, image["name"].as_str().unwrap(), digest);
    manifest["layers"].as_array().unwrap().clone()
}

#[test]
fn a_rebuild_keeps_the_tag_and_a_replacement_moves_it_with_all_that_is_built_on_it() {
    let registry = RegistryProcess::start(Auth::None);
    let host = registry.host();
    let project = debian(&format!("registry = \"{host}/ci\""));
    // Each build of it makes another layer.
    project.write(
        "base/Dockerfile",
        "ARG BASE\nFROM $BASE\nCOPY nonce /\nRUN cat /nonce > /from-base && date +%N > /moment\n",
    );
    let (ran, first) = build(&project, &["--pin"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let _cleanup = Cleanup::of(&first);
    let digest =
        |report: &Value, name: &str| of(report, name)["digest"].as_str().unwrap().to_owned();

    let (ran, rebuilt) = build(&project, &["base", "--rebuild"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let base = of(&rebuilt, "base");
    assert_eq!((base["status"].as_str(), base["pushed"].as_bool()), (Some("built"), Some(false)));
    assert_eq!(digest(&rebuilt, "base"), digest(&first, "base"));
    assert_eq!(on_tag(host, base), digest(&first, "base"));

    // A test that fails leaves the tag where it was.
    let toml = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
    project
        .write("dockit.toml", &toml.replace("[images.base]", "[images.base]\ntest = [\"false\"]"));
    let (ran, refused) = build(&project, &["base", "--replace"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert_eq!(of(&refused, "child")["status"], "skipped");
    assert_eq!(on_tag(host, of(&refused, "base")), digest(&first, "base"));
    engine::remove_built(of(&refused, "base")["key"].as_str().unwrap());
    project.write("dockit.toml", &toml);

    let (ran, replaced) = build(&project, &["base", "--replace", "--pin"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lock = std::fs::read_to_string(project.root().join("dockit.lock")).unwrap();
    for name in ["base", "child"] {
        let (old, new) = (of(&first, name), of(&replaced, name));
        assert_eq!((&new["key"], &new["status"]), (&old["key"], &"built".into()));
        assert_ne!(new["digest"], old["digest"]);
        assert_eq!(new["replaced"], old["digest"]);
        assert_eq!(on_tag(host, new), digest(&replaced, name));
        // What it was on is still there.
        let old = old["digest"].as_str().unwrap();
        assert_eq!(manifest(host, name, old).0, old);
        let source = format!("{host}/ci/{name}@{old}");
        let pull = project.run(&["copy", &source, &format!("oci:old:{name}:1")]);
        assert_eq!(pull.code, 0, "{}", pull.err);
        assert!(lock.contains(&digest(&replaced, name)) && !lock.contains(old), "{lock}");
        assert!(ran.err.contains(&format!("replaced {old}")), "{}", ran.err);
        // The new one says what it replaced, in the list that takes the referrers API's place.
        let list = digest(&replaced, name).replace(':', "-");
        let path = format!("/v2/ci/{name}/manifests/{list}");
        let accept = "application/vnd.oci.image.index.v1+json";
        let reply = exchange(host, "GET", &path, &[("Accept", accept)], b"").unwrap();
        let list: Value = serde_json::from_slice(&reply.body).unwrap();
        let records = list["manifests"].as_array().unwrap().iter();
        let records = records.filter(|entry| entry["annotations"]["dev.dockit.replaced"] == old);
        assert_eq!(records.count(), 2, "{list:#}");
    }
    // The dependent lies on the new base.
    let (base, child) = (layers(host, of(&replaced, "base")), layers(host, of(&replaced, "child")));
    assert_eq!(child[..base.len()], base[..]);
    assert_ne!(layers(host, of(&first, "base")), base);

    let (ran, last) = build(&project, &["--pin", "--locked"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let reused = |image: &Value| image["status"] == "reused";
    assert!(last["images"].as_array().unwrap().iter().all(reused), "{last:#}");
    let ran = project.run(&["build", "base", "--replace", "--push", "never"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
}
