//! An engine with an empty layer cache takes layers over from what was pushed before.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use dockit_testkit::{Auth, PASSWORD, RegistryProcess, USERNAME, exchange};
use serde_json::Value;

use super::process::Running;
use crate::engine::{self, Cleanup};
use crate::run::Project;
use crate::{base_image, nonce};

/// A second Docker Engine, with its own store, cache and network.
pub(crate) struct SecondEngine {
    running: Option<Running>,
    directory: tempfile::TempDir,
}

impl SecondEngine {
    /// What the addresses of its containers begin with.
    pub(crate) const NETWORK: &str = "10.213.";

    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("daemon.json"), "{}").unwrap();
        // It must not take the bridge of the first one, nor change this machine's rules.
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let count = STARTED.fetch_add(1, Ordering::Relaxed);
        let number = std::process::id().wrapping_mul(2).wrapping_add(count);
        let bridge = format!("dkt{number:x}");
        let address = format!("{}{}.1/24", Self::NETWORK, number % 256);
        let before = format!(
            "ip link add {bridge} type bridge; ip addr add {address} dev {bridge}; \
             ip link set {bridge} up"
        );
        let after = format!("ip link del {bridge}");
        let mut command = Command::new("dockerd");
        command
            .arg("--config-file")
            .arg(path("daemon.json"))
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg(format!("--host=unix://{}", path("engine.sock").display()))
            .arg(format!("--bridge={bridge}"))
            .arg(format!("--storage-driver={}", engine::storage_driver()))
            .args(["--iptables=false", "--ip-masq=false", "--ip-forward=false"]);
        let log = path("log");
        let socket = path("engine.sock");
        let ready = || std::os::unix::net::UnixStream::connect(&socket).is_ok();
        let running = Some(Running::start(&mut command, (&before, &after), &log, ready));
        Self { running, directory }
    }

    pub(crate) fn endpoint(&self) -> String {
        let socket: PathBuf = self.directory.path().join("engine.sock");
        format!("unix://{}", socket.display())
    }
}

impl SecondEngine {
    /// Ends it, whatever it is doing, and waits until it has ended.
    pub(crate) fn end(&mut self) {
        drop(self.running.take());
    }
}

impl Drop for SecondEngine {
    fn drop(&mut self) {
        // Before its directory goes.
        self.end();
    }
}

/// Each step leaves something that no second run of it would leave.
fn project(host: &str) -> Project {
    let base = base_image();
    let dockerfile = format!(
        "FROM {base}\nRUN echo {} && head -c 8 /dev/urandom > /first\nCOPY change /change\n\
         RUN head -c 8 /dev/urandom > /second\n",
        nonce()
    );
    let toml =
        format!("[project]\nregistry = \"{host}/cold\"\n[images.app]\ntags = [\"latest\"]\n");
    let mut project = Project::new(&[
        ("dockit.toml", &toml),
        ("app/Dockerfile", &dockerfile),
        ("app/change", "1"),
    ]);
    project.docker_host = engine::endpoint();
    project
}

/// Builds and pushes: the report's image, and what was said.
fn build(project: &Project, more: &[&str]) -> (Value, String) {
    let arguments =
        [&["build", "--push", "always", "--force-tags", "--format", "json"], more].concat();
    let ran = project.run(&arguments);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let image = ran.json()["images"][0].clone();
    assert_eq!(image["status"], "built", "{}", ran.err);
    (image, ran.err)
}

/// The layers of what was pushed.
fn layers(host: &str, image: &Value, authorization: &str) -> Vec<String> {
    let path = format!("/v2/cold/app/manifests/{}", image["digest"].as_str().unwrap());
    let accept = "application/vnd.docker.distribution.manifest.v2+json";
    let headers = [("Accept", accept), ("Authorization", authorization)];
    let reply = exchange(host, "GET", &path, &headers, b"").unwrap();
    assert_eq!(reply.status(), 200);
    let manifest: Value = serde_json::from_slice(&reply.body).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

fn is_cached(said: &str, step: &str) -> bool {
    said.lines().any(|line| line.contains(step) && line.ends_with("(cached)"))
}

/// Built by one engine; after a change the other, which has never seen it, makes what changed and takes
/// the rest over.
fn story(host: &str, project: &mut Project, authorization: &str) {
    let (first, _) = build(project, &[]);
    let _cleanup = Cleanup(vec![first["reference"].as_str().unwrap().to_owned()]);
    let before = layers(host, &first, authorization);

    let second = SecondEngine::start();
    project.docker_host = second.endpoint();
    project.write("app/change", "2");
    let (changed, said) = build(project, &[]);
    assert!(is_cached(&said, "RUN echo"), "{said}");
    assert!(!is_cached(&said, "RUN head"), "{said}");
    assert!(!said.contains("warning"), "{said}");
    let after = layers(host, &changed, authorization);
    assert_eq!(before.len(), 4, "{before:?}");
    assert_eq!(before[..2], after[..2], "the base and the first step");
    assert!(before[2] != after[2] && before[3] != after[3], "{before:?} {after:?}");

    // What the key hides from the engine, or a rebuild, takes nothing over.
    let (_, said) = build(project, &["--rebuild"]);
    assert!(!is_cached(&said, "RUN") && !said.contains("importing cache"), "{said}");

    // What is taken over keeps being a source: the first engine gets the second's layers.
    project.docker_host = engine::endpoint();
    project.write("app/Dockerfile", &{
        let text = std::fs::read_to_string(project.root().join("app/Dockerfile")).unwrap();
        text + "RUN head -c 8 /dev/urandom > /third\n"
    });
    let (third, said) = build(project, &[]);
    let _more = Cleanup(vec![third["reference"].as_str().unwrap().to_owned()]);
    assert!(is_cached(&said, "> /second") && !is_cached(&said, "> /third"), "{said}");
    assert_eq!(after[..], layers(host, &third, authorization)[..4]);
}

#[test]
fn a_cold_engine_builds_only_what_changed() {
    let registry = RegistryProcess::start(Auth::None);
    let mut project = project(registry.host());
    story(registry.host(), &mut project, "");
}

#[test]
fn from_a_private_registry_as_well() {
    let registry = RegistryProcess::start(Auth::Htpasswd);
    let mut project = project(registry.host());
    let user = serde_json::json!({"username": USERNAME, "password": PASSWORD});
    let config = serde_json::json!({"auths": {registry.host(): user}});
    project.write("../docker/config.json", &config.to_string());
    let directory = project.root().join("../docker");
    project.variables.push(("DOCKER_CONFIG", directory.display().to_string()));
    story(registry.host(), &mut project, &RegistryProcess::basic_authorization());
}
