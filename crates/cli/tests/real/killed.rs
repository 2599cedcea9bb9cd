//! `kill -9` in each phase of a run. The next run ends in the state that an undisturbed one would have
//! ended in, and what was done until then stands in the report.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dockit_testkit::{Auth, Fault, FaultProxy, RegistryProcess, Reply, Rule, exchange};
use serde_json::Value;

use crate::engine::{self, Cleanup};
use crate::run::Project;
use crate::together::labels;
use crate::{base_image, nonce};

/// What is killed: a run whose images an engine builds and pushes.
const BUILD: [&str; 6] = ["build", "--backend", "engine", "--push", "always", "--force-tags"];

/// Longest that a phase may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A project, its registry, and a proxy in between that can hold a run up.
struct Scene {
    registry: RegistryProcess,
    proxy: FaultProxy,
    project: Project,
    cleanup: Cleanup,
}

impl Scene {
    /// Images `first` and `second`; the latter is built from the former and has a moving tag.
    fn new(more: &str) -> Self {
        let registry = RegistryProcess::start(Auth::None);
        let proxy = FaultProxy::start(registry.host());
        let nonce = nonce();
        let mut project = Project::new(&[
            (
                "dockit.toml",
                &format!(
                    "[project]\nregistry = \"{}/ci\"\n[images.first]\n\
                     [images.second]\ntags = [\"latest\"]\n{more}\n",
                    proxy.host()
                ),
            ),
            ("first/Dockerfile", "FROM scratch\nCOPY file /first\n"),
            ("first/file", &nonce),
            ("second/Dockerfile", "FROM first\nCOPY file /second\n"),
            ("second/file", &nonce),
        ]);
        project.docker_host = engine::endpoint();
        Self { registry, proxy, project, cleanup: Cleanup(Vec::new()) }
    }

    /// Starts a run, and kills it as soon as `reached` says so.
    fn kill(&self, arguments: &[&str], mut reached: impl FnMut(&Self) -> bool) {
        let mut child = self
            .project
            .command(&[&BUILD[..], &["--jobs", "1"], arguments].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while !reached(self) {
            assert!(start.elapsed() < PATIENCE, "the phase does not come");
            assert!(child.try_wait().unwrap().is_none(), "it ended before the phase came");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The report that the killed run left.
    fn kept(&self) -> Value {
        let text = std::fs::read_to_string(self.project.root().join(".dockit/run.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn was_asked(&self, method: &str, path: &str) -> bool {
        let exchanges = self.proxy.exchanges();
        exchanges.iter().any(|one| one.method == method && one.path().contains(path))
    }

    /// How the two images ended in the report.
    fn statuses(report: &Value) -> [&str; 2] {
        ["first", "second"].map(|name| {
            let mut images = report["images"].as_array().unwrap().iter();
            images.find(|image| image["name"] == name).unwrap()["status"].as_str().unwrap()
        })
    }

    /// Runs again, undisturbed, and checks all that a run leaves; returns the report.
    fn recover(&mut self, arguments: &[&str]) -> Value {
        self.proxy.reset();
        let arguments = [&BUILD[..], &["--format", "json"], arguments].concat();
        let ran = self.project.run(&arguments);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let report = ran.json();
        self.cleanup.0.append(&mut std::mem::take(&mut Cleanup::of(&report).0));
        for image in report["images"].as_array().unwrap() {
            let name = image["name"].as_str().unwrap();
            let tag = image["key"].as_str().unwrap().replace(':', "-");
            let found = labels(self.registry.host(), &format!("ci/{name}"));
            assert_eq!(found.keys().collect::<Vec<_>>(), [&tag], "{name}");
            assert_eq!(Some(&*found[&tag]), image["key"].as_str(), "{name}");
            assert_eq!(self.digest(name, &tag).as_deref(), image["digest"].as_str(), "{name}");
            let inputs = self.inputs(name, image["digest"].as_str().unwrap());
            assert_eq!(inputs, [image["key"].as_str().unwrap()], "{name}");
        }
        let second = &report["images"][1];
        assert_eq!(self.digest("second", "latest").as_deref(), second["digest"].as_str());
        let kept = self.kept();
        assert_eq!((&kept["complete"], &kept["images"]), (&true.into(), &report["images"]));
        let mut names: Vec<String> = std::fs::read_dir(self.project.root().join(".dockit"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| {
            let kept = [".gitignore", "inputs", "lock", "run.json", "run.lock", "unfinished"];
            !kept.contains(&&**name)
        });
        assert!(names.is_empty(), "{names:?}");
        let unfinished = self.project.root().join(".dockit/unfinished");
        let left = std::fs::read_dir(unfinished).map_or(0, Iterator::count);
        assert_eq!(left, 0, "nothing is left to do");
        let again = self.project.run(&arguments);
        assert_eq!(again.code, 0, "{}", again.err);
        assert_eq!(Self::statuses(&again.json()), ["reused", "reused"]);
        for index in [0, 1] {
            let digest = |report: &Value| report["images"][index]["digest"].clone();
            assert_eq!(digest(&again.json()), digest(&report));
        }
        report
    }

    /// The keys whose inputs hang on an image, from the list that clients keep for this registry.
    fn inputs(&self, name: &str, digest: &str) -> Vec<String> {
        let accept = ("Accept", "application/vnd.oci.image.index.v1+json");
        let target = format!("/v2/ci/{name}/manifests/{}", digest.replace(':', "-"));
        let reply = exchange(self.registry.host(), "GET", &target, &[accept], b"").unwrap();
        assert_eq!(reply.status(), 200, "{target}");
        let list: Value = serde_json::from_slice(&reply.body).unwrap();
        let mut keys = Vec::new();
        for entry in list["manifests"].as_array().unwrap() {
            keys.push(entry["annotations"]["dev.dockit.key"].as_str().unwrap().to_owned());
        }
        keys
    }

    fn digest(&self, name: &str, tag: &str) -> Option<String> {
        let accept = (
            "Accept",
            "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json",
        );
        let target = format!("/v2/ci/{name}/manifests/{tag}");
        let reply = exchange(self.registry.host(), "HEAD", &target, &[accept], b"").unwrap();
        reply.header("Docker-Content-Digest").map(str::to_owned)
    }
}

#[test]
fn while_it_prepares() {
    let command = "echo $$ > pid; mv pid started; n=0; \
                   while [ ! -e go ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done; \
                   echo made > second/made";
    let outputs = "outputs = [\"second/made\"]";
    let mut scene = Scene::new(&format!("prepare = {{ run = {command:?}, {outputs} }}"));
    scene.project.write("second/Dockerfile", "FROM first\nCOPY file made /second/\n");
    let started = scene.project.root().join("started");
    scene.kill(&[], |_| started.exists());
    let kept = scene.kept();
    assert_eq!((&kept["complete"], &kept["images"]), (&false.into(), &Value::Array(Vec::new())));
    // What it had started goes on without it, as that of every killed program does; here it must not
    // write while the next run reads.
    let pid = std::fs::read_to_string(started).unwrap().trim().to_owned();
    let _ = Command::new("kill").args(["-9", &pid]).stderr(Stdio::null()).status();
    let start = Instant::now();
    while std::path::Path::new("/proc").join(&pid).exists() {
        assert!(start.elapsed() < PATIENCE, "the command does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    scene.project.write("go", "");
    assert_eq!(Scene::statuses(&scene.recover(&[])), ["built", "built"]);
}

#[test]
fn before_a_lookup_is_answered() {
    let mut scene = Scene::new("");
    let late = Reply::new(404).delay(PATIENCE);
    scene.proxy.add(Rule::on("HEAD", "/v2/*/manifests/*", Fault::reply(late)));
    scene.kill(&[], |scene| scene.was_asked("HEAD", "/manifests/k1-"));
    assert_eq!(scene.kept()["complete"], false);
    assert_eq!(Scene::statuses(&scene.recover(&[])), ["built", "built"]);
}

#[test]
fn during_a_build() {
    let mut scene = Scene::new("");
    let dockerfile = format!(
        "FROM {}\nCOPY file /second\nCOPY --from=first /first /\nRUN echo it-begins; sleep 8\n",
        base_image()
    );
    scene.project.write("second/Dockerfile", &dockerfile);
    let mut child: Child = scene
        .project
        .command(&[&BUILD[..], &["--jobs", "1"]].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let begun = lines.map_while(Result::ok).any(|line| line.starts_with("second | it-begins"));
    assert!(begun, "the step begins");
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = scene.kept();
    assert_eq!(kept["images"][0]["status"], "built", "{kept}");
    assert_eq!(kept["unfinished"], serde_json::json!(["second"]));
    assert_eq!(Scene::statuses(&scene.recover(&[])), ["reused", "built"]);
}

#[test]
fn during_a_push() {
    let mut scene = Scene::new("");
    // The layer of `second` never gets there.
    let stall = Fault::stall_upload_after(0);
    scene.proxy.add(Rule::on("PATCH", "/v2/ci/second/blobs/uploads/*", stall));
    scene.kill(&[], |scene| scene.was_asked("PATCH", "/v2/ci/second/blobs/uploads/"));
    assert_eq!(scene.kept()["unfinished"], serde_json::json!(["second"]));
    assert_eq!(Scene::statuses(&scene.recover(&[])), ["reused", "built"]);
}

#[test]
fn between_the_push_and_its_verification() {
    let mut scene = Scene::new("");
    let late = Reply::new(404).delay(PATIENCE);
    scene.proxy.add(Rule::on("GET", "/v2/ci/second/manifests/sha256:*", Fault::reply(late)));
    scene.kill(&[], |scene| scene.was_asked("GET", "/v2/ci/second/manifests/sha256:"));
    assert_eq!(scene.kept()["unfinished"], serde_json::json!(["second"]));
    assert_eq!(Scene::statuses(&scene.recover(&[])), ["reused", "retagged"]);
}

#[test]
fn between_the_push_and_the_inputs() {
    let mut scene = Scene::new("");
    let late = Reply::new(500).delay(PATIENCE);
    scene.proxy.add(Rule::on("PUT", "/v2/ci/second/manifests/sha256*", Fault::reply(late)));
    scene.kill(&[], |scene| scene.was_asked("PUT", "/v2/ci/second/manifests/sha256"));
    assert_eq!(scene.kept()["unfinished"], serde_json::json!(["second"]));
    assert_eq!(Scene::statuses(&scene.recover(&[])), ["reused", "retagged"]);
}

#[test]
fn between_the_push_and_the_moving_tag() {
    let mut scene = Scene::new("");
    let late = Reply::new(500).delay(PATIENCE);
    scene.proxy.add(Rule::on("PUT", "/v2/ci/second/manifests/latest", Fault::reply(late)));
    scene.kill(&[], |scene| scene.was_asked("PUT", "/v2/ci/second/manifests/latest"));
    assert_eq!(scene.digest("second", "latest"), None);
    // Tags move when every image has ended.
    let kept = scene.kept();
    assert_eq!((&kept["complete"], Scene::statuses(&kept)), (&false.into(), ["built", "built"]));
    assert_eq!(Scene::statuses(&scene.recover(&[])), ["reused", "retagged"]);
}

#[test]
fn when_the_lockfile_is_to_be_written() {
    let mut scene = Scene::new("");
    let state = scene.project.root().join(".dockit");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join(".gitignore"), "*\n").unwrap();
    // Whoever changes the lockfile has to wait for us; all the rest is done before.
    let lock = std::fs::File::create(state.join("lock")).unwrap();
    lock.lock().unwrap();
    scene.kill(&["--pin"], |scene| {
        let file = scene.project.root().join(".dockit/run.json");
        let kept = std::fs::read_to_string(file).unwrap_or_default();
        let kept: Value = serde_json::from_str(&kept).unwrap_or_default();
        let ended = kept["images"].as_array().is_some_and(|images| images.len() == 2);
        ended && scene.digest("second", "latest").is_some()
    });
    drop(lock);
    let lockfile = scene.project.root().join("dockit.lock");
    assert!(!lockfile.exists());
    let report = scene.recover(&["--pin"]);
    assert_eq!(Scene::statuses(&report), ["reused", "reused"]);
    let text = std::fs::read_to_string(lockfile).unwrap();
    for image in report["images"].as_array().unwrap() {
        assert!(text.contains(image["digest"].as_str().unwrap()), "{text}");
    }
}
