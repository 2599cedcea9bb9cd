//! Images for several platforms: parts that an engine builds, indexes that an engine pulls.

use std::collections::BTreeMap;

use dockit_testkit::{Auth, RegistryProcess};
use serde_json::Value;

use crate::engine::{self, Cleanup};
use crate::nonce;
use crate::run::Project;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// `base` ← `app` for two platforms without a `RUN`, which this engine could not run for both.
fn project(registry: &RegistryProcess) -> Project {
    let image = format!("platforms = {BOTH:?}\ntags = [\"latest\"]\n");
    let config = format!(
        "[project]\nregistry = \"{}/t\"\n[images.base]\n{image}[images.app]\n{image}",
        registry.host()
    );
    let mut project = Project::new(&[
        ("dockit.toml", &config),
        ("base/Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY file-${TARGETARCH} /file\n"),
        ("base/file-amd64", &nonce()),
        ("base/file-arm64", &nonce()),
        ("app/Dockerfile", "FROM base\nCOPY all /all\n"),
        ("app/all", &nonce()),
    ]);
    project.docker_host = engine::endpoint();
    project
}

struct Built {
    report: Value,
    _cleanup: Cleanup,
}

impl Built {
    fn image(&self, name: &str) -> &Value {
        let mut images = self.report["images"].as_array().unwrap().iter();
        images.find(|image| image["name"] == name).unwrap_or_else(|| panic!("no {name}"))
    }

    fn statuses(&self) -> BTreeMap<&str, &str> {
        let images = self.report["images"].as_array().unwrap().iter();
        images
            .map(|image| (image["name"].as_str().unwrap(), image["status"].as_str().unwrap()))
            .collect()
    }
}

fn build(project: &Project, more: &[&str]) -> Built {
    let arguments = ["build", "--push", "always", "--force-tags", "--format", "json"];
    let ran = project.run(&[&arguments, more].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report = ran.json();
    let _cleanup = Cleanup::of(&report);
    Built { report, _cleanup }
}

fn all(status: &str, names: &[&str]) -> bool {
    names.iter().all(|name| *name == status)
}

#[test]
fn an_engine_pulls_each_platform_of_an_index_by_tag() {
    let registry = RegistryProcess::start(Auth::None);
    let project = project(&registry);
    let first = build(&project, &[]);
    let statuses: Vec<&str> = first.statuses().into_values().collect();
    assert!(statuses.len() == 6 && all("built", &statuses), "{statuses:?}");
    assert_eq!(first.image("app")["platforms"], serde_json::json!(BOTH));
    for (platform, architecture) in BOTH.into_iter().zip(["amd64", "arm64"]) {
        let part = first.image(&format!("app@{platform}"));
        assert_eq!(part["platform"], platform);
        let repository = format!("{}/t/app", registry.host());
        engine::remove(part["reference"].as_str().unwrap());
        let tagged = format!("{repository}:latest");
        let _pulled = Cleanup(vec![tagged.clone()]);
        engine::pull(&repository, "latest", platform);
        let pulled = engine::inspect(&tagged).unwrap();
        assert_eq!(pulled["Architecture"], architecture);
        assert_eq!(pulled["Config"]["Labels"]["dev.dockit.key"], part["key"]);
    }
    let second = build(&project, &[]);
    let statuses: Vec<&str> = second.statuses().into_values().collect();
    assert!(all("reused", &statuses), "{statuses:?}");
    assert_eq!(second.image("app")["digest"], first.image("app")["digest"]);

    project.write("base/file-arm64", &nonce());
    let changed = build(&project, &[]);
    for (name, status) in changed.statuses() {
        let expected = if name.ends_with("amd64") { "reused" } else { "built" };
        assert_eq!(status, expected, "{name}");
    }
}

#[test]
fn two_runs_for_a_platform_each_make_one_index() {
    let registry = RegistryProcess::start(Auth::None);
    let project = project(&registry);
    let arm = build(&project, &["--platform", "linux/arm64"]);
    assert_eq!(arm.image("app@linux/arm64")["status"], "built");
    assert_eq!(arm.image("app@linux/amd64")["status"], "skipped");
    assert_eq!(
        arm.image("app")["skipped"],
        serde_json::json!({"kind": "missing-platforms", "platforms": ["linux/amd64"]})
    );
    let amd = build(&project, &["--platform", "linux/amd64"]);
    assert_eq!(amd.image("app")["status"], "built");
    let all_reused = build(&project, &[]);
    let statuses: Vec<&str> = all_reused.statuses().into_values().collect();
    assert!(all("reused", &statuses), "{statuses:?}");
}

#[test]
fn the_engines_platform_of_an_index_is_loaded() {
    let registry = RegistryProcess::start(Auth::None);
    let project = project(&registry);
    let short = nonce();
    let config = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
    project.write("dockit.toml", &config.replace("images.app]", &format!("images.{short}]")));
    project.write(&format!("{short}/Dockerfile"), "FROM base\nCOPY all /all\n");
    project.write(&format!("{short}/all"), &nonce());
    let built = build(&project, &[&short]);
    let part = built.image(&format!("{short}@linux/amd64"));
    engine::remove(part["reference"].as_str().unwrap());
    let name = format!("{short}:latest");
    let reference = built.image(&short)["reference"].as_str().unwrap().to_owned();
    let _names = Cleanup(vec![name.clone(), reference]);
    assert!(engine::inspect(&name).is_none());
    let _loaded = build(&project, &[&short, "--load"]);
    let loaded = engine::inspect(&name).unwrap();
    assert_eq!(loaded["Architecture"], "amd64");
    assert_eq!(loaded["Config"]["Labels"]["dev.dockit.key"], part["key"]);
}
