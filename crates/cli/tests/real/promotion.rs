//! Promotion of fifty images over a real registry, with a failure at several positions, and `kill -9` in
//! the middle.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use dockit_testkit::{Auth, Fault, FaultProxy, RegistryProcess, Reply, Rule, TestImage, exchange};
use serde_json::Value;

use crate::run::Project;

const IMAGES: usize = 50;

/// Every second image has an old `stable` already, and a tag `candidate` on what is to be promoted.
struct Scene {
    registry: RegistryProcess,
    proxy: FaultProxy,
    project: Project,
    before: BTreeMap<String, Option<String>>,
}

impl Scene {
    fn new() -> Self {
        let registry = RegistryProcess::start(Auth::None);
        let proxy = FaultProxy::start(registry.host());
        let mut config = format!("[project]\nregistry = \"{}/ci\"\n", proxy.host());
        let mut files = vec![];
        for index in 0..IMAGES {
            let name = name(index);
            config += &format!("[images.{name}]\n");
            files.push(format!("{name}/Dockerfile"));
            let repository = format!("ci/{name}");
            TestImage::new(&format!("new {name}")).push(
                registry.host(),
                &repository,
                "candidate",
                None,
            );
            if index % 2 == 1 {
                TestImage::new(&format!("old {name}")).push(
                    registry.host(),
                    &repository,
                    "stable",
                    None,
                );
            }
        }
        let project = Project::new(&[("dockit.toml", &config)]);
        for file in files {
            project.write(&file, "FROM scratch\n");
        }
        let mut scene = Self { registry, proxy, project, before: BTreeMap::new() };
        scene.before = scene.stable();
        scene
    }

    /// Where the tag is now, asked without the proxy.
    fn stable(&self) -> BTreeMap<String, Option<String>> {
        (0..IMAGES)
            .map(|index| (name(index), digest(self.registry.host(), &name(index), "stable")))
            .collect()
    }

    fn is_promoted(&self) -> bool {
        let wanted = (0..IMAGES)
            .map(|index| (name(index), digest(self.registry.host(), &name(index), "candidate")));
        self.stable() == wanted.collect()
    }

    /// How many tags were put so far.
    fn puts(&self) -> usize {
        let exchanges = self.proxy.exchanges();
        let put = |path: &str| path.ends_with("/manifests/stable");
        exchanges
            .iter()
            .filter(|one| one.method == "PUT" && put(one.path()) && one.status == Some(201))
            .count()
    }
}

fn name(index: usize) -> String {
    format!("image{index:02}")
}

fn digest(host: &str, name: &str, tag: &str) -> Option<String> {
    let path = format!("/v2/ci/{name}/manifests/{tag}");
    let accept = [("Accept", "application/vnd.oci.image.manifest.v1+json")];
    let reply = exchange(host, "HEAD", &path, &accept, b"").unwrap();
    reply.header("Docker-Content-Digest").map(str::to_owned)
}

const PROMOTE: [&str; 6] = ["tag", "--set", "stable", "--from", "candidate", "--format=json"];

#[test]
fn a_failure_at_any_position_ends_as_it_was_before() {
    let scene = Scene::new();
    for position in [0, 1, IMAGES / 2, IMAGES - 1] {
        scene.proxy.reset();
        let reply = Reply::new(403)
            .header("Content-Type", "application/json")
            .body(r#"{"errors":[{"code":"DENIED","message":"not today"}]}"#);
        let rule = Rule::on("PUT", "*/manifests/stable", Fault::reply(reply));
        scene.proxy.add(rule.after(position).times(1));
        let ran = scene.project.run(&PROMOTE);
        assert_eq!(ran.code, 3, "{position}: {}", ran.err);
        assert_eq!(ran.json()["outcome"], "rolled-back", "{position}");
        assert!(scene.puts() >= position, "{position}: the others were put before");
        assert_eq!(scene.stable(), scene.before, "{position}");
    }
    scene.proxy.reset();
    let ran = scene.project.run(&PROMOTE);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(scene.is_promoted());
}

#[test]
fn what_was_killed_is_finished_or_undone() {
    for (finish, outcome) in [("--rollback", "rolled-back"), ("--resume", "promoted")] {
        let scene = Scene::new();
        // The last ones take for ever.
        let rule = Rule::on("PUT", "*/manifests/stable", Fault::stall_upload_after(0));
        scene.proxy.add(rule.after(IMAGES / 2));
        let mut child = scene
            .project
            .command(&PROMOTE)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while scene.puts() < IMAGES / 2 {
            assert!(start.elapsed() < Duration::from_secs(60), "{} are put", scene.puts());
            std::thread::sleep(Duration::from_millis(10));
        }
        let other = scene.project.run(&PROMOTE);
        assert_eq!(other.code, 1, "{}", other.err);
        assert!(other.err.contains("in progress"), "{}", other.err);
        child.kill().unwrap();
        child.wait().unwrap();
        scene.proxy.reset();
        let stable = scene.stable();
        assert!(stable != scene.before && !scene.is_promoted(), "it was in the middle");

        let other = scene.project.run(&PROMOTE);
        assert_eq!((other.code, scene.stable()), (1, stable), "{}", other.err);
        assert!(other.err.contains("was interrupted"), "{}", other.err);
        let ran = scene.project.run(&["tag", finish, "--format=json"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let json: Value = ran.json();
        assert_eq!(json["outcome"], outcome);
        if finish == "--resume" {
            assert!(scene.is_promoted());
        } else {
            assert_eq!(scene.stable(), scene.before);
        }
    }
}
