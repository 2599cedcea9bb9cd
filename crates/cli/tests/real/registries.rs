//! The whole story over real registries: open, with a password, with tokens.

use dockit_testkit::{Auth, PASSWORD, RegistryProcess, TokenIssuer, USERNAME, exchange};
use serde_json::Value;

use crate::engine::{self, Cleanup};
use crate::run::{Project, Ran};
use crate::{commit, debian};

fn build(project: &Project, more: &[&str]) -> (Ran, Value) {
    let arguments = [&["build", "--push", "always", "--format", "json"], more].concat();
    let ran = project.run(&arguments);
    let json = if ran.out.is_empty() { Value::Null } else { ran.json() };
    (ran, json)
}

fn statuses(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    report["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| (text(&image["name"]), text(&image["status"])))
        .collect()
}

fn log_in(project: &mut Project, host: &str) {
    // base64 by hand would only hide what is written here.
    let config = serde_json::json!({"auths": {host: {"username": USERNAME, "password": PASSWORD}}});
    project.write("../docker/config.json", &config.to_string());
    let directory = project.root().join("../docker");
    project.variables.push(("DOCKER_CONFIG", directory.to_str().unwrap().to_owned()));
}

/// First run, second run, a change, the lockfile, the engine's copies.
fn full_story(registry: &RegistryProcess, with_password: bool) {
    let mut project = debian(&format!("registry = \"{}/ci\"", registry.host()));
    if with_password {
        let (ran, _) = build(&project, &[]);
        assert_eq!(ran.code, 3, "without credentials: {ran:?}");
        assert!(!ran.err.contains(PASSWORD));
        log_in(&mut project, registry.host());
    }
    let (ran, first) = build(&project, &["--pin"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let _cleanup = Cleanup::of(&first);
    let built = |name: &str| (name.to_owned(), "built".to_owned());
    assert_eq!(statuses(&first), [built("base"), built("tool"), built("child")]);
    assert!(!ran.err.contains(PASSWORD), "{}", ran.err);
    assert!(!ran.err.contains("could not be published"), "{}", ran.err);
    let lock = std::fs::read_to_string(project.root().join("dockit.lock")).unwrap();
    for image in first["images"].as_array().unwrap() {
        assert!(lock.contains(image["digest"].as_str().unwrap()), "{lock}");
        assert_eq!(image["pushed"], true);
    }

    let (ran, second) = build(&project, &["--pin", "--locked"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(statuses(&second).iter().all(|(_, status)| status == "reused"));
    for (a, b) in
        first["images"].as_array().unwrap().iter().zip(second["images"].as_array().unwrap())
    {
        assert_eq!((&a["digest"], &a["key"]), (&b["digest"], &b["key"]));
    }

    // The engine has nothing any more: dependencies come from the registry, with our credentials.
    for image in first["images"].as_array().unwrap() {
        let reference = image["reference"].as_str().unwrap();
        let repository = reference.rsplit_once(':').unwrap().0;
        engine::remove(reference);
        engine::remove(&format!("{repository}@{}", image["digest"].as_str().unwrap()));
    }
    project.write(
        "child/Dockerfile",
        "FROM base\nCOPY --from=tool /tool /tool2\nRUN cmp /from-base /tool2\n",
    );
    let (ran, third) = build(&project, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let _more = Cleanup::of(&third);
    assert_eq!(
        statuses(&third)
            .iter()
            .map(|(name, status)| format!("{name} {status}"))
            .collect::<Vec<_>>(),
        ["base reused", "tool reused", "child built"]
    );
    assert_ne!(first["images"][2]["digest"], third["images"][2]["digest"]);
}

#[test]
fn the_story_with_an_open_registry() {
    let registry = RegistryProcess::start(Auth::None);
    full_story(&registry, false);
}

#[test]
fn the_story_with_a_password() {
    let registry = RegistryProcess::start(Auth::Htpasswd);
    full_story(&registry, true);
}

#[test]
fn the_story_with_tokens() {
    let issuer = TokenIssuer::start();
    let registry = RegistryProcess::start(Auth::Token(&issuer));
    full_story(&registry, true);
}

#[test]
fn the_pushed_manifest_is_what_the_report_says_and_tags_follow_it() {
    let registry = RegistryProcess::start(Auth::None);
    let project = debian(&format!("registry = \"{}/ci\"", registry.host()));
    commit(&project);
    let digest_of = |tag: &str| -> Option<String> {
        let message = exchange(
            registry.host(),
            "GET",
            &format!("/v2/ci/child/manifests/{tag}"),
            &[("Accept", "application/vnd.docker.distribution.manifest.v2+json")],
            b"",
        )
        .unwrap();
        message.header("Docker-Content-Digest").map(str::to_owned)
    };
    assert_eq!(digest_of("latest"), None);
    let (ran, first) = build(&project, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let _cleanup = Cleanup::of(&first);
    let child = &first["images"][2];
    let tag = child["key"].as_str().unwrap().replace(':', "-");
    assert_eq!(digest_of(&tag).as_deref(), child["digest"].as_str());
    assert_eq!(digest_of("latest").as_deref(), child["digest"].as_str());
    assert_eq!(child["tags"], serde_json::json!(["latest"]));
    assert_eq!(child["held_tags"], serde_json::json!([]));
    // What the base was resolved to is in its label, and none is inherited.
    let labels = |index: usize| {
        let found = engine::inspect(first["images"][index]["reference"].as_str().unwrap());
        found.unwrap()["Config"]["Labels"]["dev.dockit.bases"].as_str().unwrap().to_owned()
    };
    let lock = std::fs::read_to_string(project.root().join("dockit.lock")).unwrap();
    assert!(labels(0).starts_with("sha256:") && lock.contains(&labels(0)), "{}", labels(0));
    assert_eq!(labels(2), "");
}

#[test]
fn loading_brings_a_reused_image_into_an_engine_that_forgot_it() {
    let registry = RegistryProcess::start(Auth::None);
    let project = debian(&format!("registry = \"{}/ci\"", registry.host()));
    let (ran, first) = build(&project, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let _cleanup = Cleanup::of(&first);
    let tool = first["images"][1]["reference"].as_str().unwrap().to_owned();
    engine::remove(&tool);
    assert!(engine::inspect(&tool).is_none());
    let (ran, loaded) = build(&project, &["tool", "--load"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(statuses(&loaded), [("tool".to_owned(), "reused".to_owned())]);
    let by_tag = engine::inspect(&tool).expect("under its content tag");
    let by_name = engine::inspect("tool:latest").expect("under its short name");
    assert_eq!(by_tag["Id"], by_name["Id"]);
    engine::remove("tool:latest");
}
