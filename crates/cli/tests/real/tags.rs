//! Moving tags over a real registry, which lists no referrers by itself.

use dockit_testkit::{Auth, RegistryProcess, exchange};
use serde_json::{Value, json};

use crate::engine::{self, Cleanup};
use crate::run::Project;
use crate::{commit, git, nonce};

fn on_tag(host: &str, name: &str, tag: &str) -> Option<String> {
    let path = format!("/v2/ci/{name}/manifests/{tag}");
    let accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json";
    let reply = exchange(host, "GET", &path, &[("Accept", accept)], b"").unwrap();
    reply.header("Docker-Content-Digest").map(str::to_owned)
}

#[test]
fn a_late_run_of_an_older_commit_leaves_the_tag_where_it_is() {
    let registry = RegistryProcess::start(Auth::None);
    let (host, name) = (registry.host(), nonce());
    let mut project = Project::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\nregistry = \"{host}/ci\"\nversion = {{ file = \"VERSION\" }}\n\
                 [images.{name}]\ntags = [\"latest\", \"{{version}}-{{branch}}\"]\n"
            ),
        ),
        (&format!("{name}/Dockerfile"), "FROM scratch\nCOPY file /\n"),
        (&format!("{name}/file"), "1"),
        ("VERSION", "1.2\n"),
    ]);
    project.docker_host = engine::endpoint();
    let build = |more: &[&str]| -> Value {
        let ran = project.run(&[&["build", "--push", "always", "--format", "json"], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.json()["images"][0].clone()
    };
    let first = commit(&project);
    let old = build(&[]);
    project.write(&format!("{name}/file"), "2");
    let second = commit(&project);
    let new = build(&[]);
    let _cleanup =
        Cleanup([&old, &new].map(|image| image["reference"].as_str().unwrap().to_owned()).to_vec());
    assert_eq!(new["tags"], json!(["latest", "1.2-main"]));
    assert_eq!(on_tag(host, &name, "latest").as_deref(), new["digest"].as_str());

    git(&project, &["checkout", "--quiet", "-B", "main", &first]);
    let late = build(&[]);
    assert_eq!((&late["status"], &late["digest"]), (&json!("retagged"), &old["digest"]));
    assert_eq!(late["tags"], json!(["1.2-main"]));
    assert_eq!(late["held_tags"][0]["kind"], "newer", "{late}");
    let reason = format!("the tag is on a newer revision {second}");
    assert_eq!(late["held_tags"][0]["reason"], reason);
    assert_eq!(on_tag(host, &name, "latest").as_deref(), new["digest"].as_str());

    let forced = build(&["--force-tags"]);
    assert_eq!(forced["tags"], json!(["latest"]));
    assert_eq!(on_tag(host, &name, "latest").as_deref(), old["digest"].as_str());

    // Another job waits for what is there already, without an engine.
    project.docker_host = "unix:///nonexistent.sock".to_owned();
    let ran = project.run(&["build", "--wait", "1h", "--format", "json"]);
    assert_eq!((ran.code, &ran.json()["images"][0]["status"]), (0, &json!("reused")), "{ran:?}");
    // `why` says from what the image of the tag was built.
    let ran = project.run(&["why", &name, "--tag", "1.2-main"]);
    assert!(ran.out.contains(&format!("built from {first} at 20")), "{ran:?}");
}
