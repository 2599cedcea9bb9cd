//! Podman through the API that it shares with Docker.

use std::process::Command;

use dockit_testkit::{Auth, PASSWORD, RegistryProcess, USERNAME};
use serde_json::Value;

use super::process::Running;
use crate::run::Project;
use crate::{base_image, debian, nonce};

/// A service with a store of its own.
struct Podman {
    running: Option<Running>,
    directory: tempfile::TempDir,
}

impl Podman {
    /// It speaks plain HTTP to these registries.
    fn start(registries: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let hosts = registries
            .iter()
            .map(|host| format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n"));
        std::fs::write(path("registries.conf"), hosts.collect::<String>()).unwrap();
        let socket = path("podman.sock");
        let mut command = Command::new("podman");
        command
            .env("CONTAINERS_REGISTRIES_CONF", path("registries.conf"))
            .arg("--root")
            .arg(path("root"))
            .arg("--runroot")
            .arg(path("runroot"))
            .args(["--storage-driver", "vfs", "--runtime", "runc"])
            .args(["--cgroup-manager", "cgroupfs", "system", "service", "--time=0"])
            .arg(format!("unix://{}", socket.display()));
        let ready = || std::os::unix::net::UnixStream::connect(&socket).is_ok();
        let running = Some(Running::start(&mut command, (":", ":"), &path("log"), ready));
        Self { running, directory }
    }

    fn serve(&self, project: &mut Project) {
        let socket = self.directory.path().join("podman.sock");
        project.docker_host = format!("unix://{}", socket.display());
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Before its directory goes.
        drop(self.running.take());
    }
}

fn base_host() -> String {
    base_image().split_once('/').unwrap().0.to_owned()
}

fn report(project: &Project, arguments: &[&str]) -> (Value, String) {
    let ran = project.run(&[&["build", "--format", "json"], arguments].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    (ran.json(), ran.err)
}

fn statuses(report: &Value) -> Vec<&str> {
    let images = report["images"].as_array().unwrap().iter();
    images.map(|image| image["status"].as_str().unwrap()).collect()
}

#[test]
fn images_are_built_pushed_found_again_and_loaded() {
    let registry = RegistryProcess::start(Auth::Htpasswd);
    let podman = Podman::start(&[registry.host(), &base_host()]);
    let mut project = debian(&format!("registry = \"{}/ci\"", registry.host()));
    podman.serve(&mut project);
    let user = serde_json::json!({"username": USERNAME, "password": PASSWORD});
    let config = serde_json::json!({"auths": {registry.host(): user}});
    project.write("../docker/config.json", &config.to_string());
    let directory = project.root().join("../docker");
    project.variables.push(("DOCKER_CONFIG", directory.display().to_string()));

    let doctor = project.run(&["doctor"]);
    assert!(doctor.out.contains("Podman "), "{doctor:?}");
    let (first, said) = report(&project, &["--push", "always"]);
    assert_eq!(statuses(&first), ["built", "built", "built"], "{said}");
    assert!(said.contains("STEP 2/") && said.contains("RUN cmp /from-base"), "{said}");
    let (second, _) = report(&project, &["--push", "always", "--load"]);
    assert_eq!(statuses(&second), ["reused", "reused", "reused"]);
    for (one, other) in
        first["images"].as_array().unwrap().iter().zip(second["images"].as_array().unwrap())
    {
        assert_eq!(one["digest"], other["digest"]);
    }
    // A rebuild makes the same key again, and what is there stays.
    let (again, said) = report(&project, &["--push", "always", "--rebuild", "tool"]);
    assert_eq!(again["images"][0]["digest"], first["images"][1]["digest"], "{said}");
}

#[test]
fn a_failed_step_shows_what_it_wrote() {
    let podman = Podman::start(&[&base_host()]);
    let mut project = debian("");
    podman.serve(&mut project);
    project.write(
        "base/Dockerfile",
        &format!("FROM {}\nRUN echo because >&2; exit 7\n", base_image()),
    );
    let ran = project.run(&["build", "base"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains(": RUN echo because >&2; exit 7: "), "{}", ran.err);
    assert!(ran.err.contains("exit status 7") && ran.err.contains("\n    because"), "{}", ran.err);
}

/// Its layer cache would take a step for unchanged whose mounted files have changed.
#[test]
fn a_changed_file_that_is_only_mounted_reaches_the_image() {
    let podman = Podman::start(&[&base_host()]);
    let mut project = debian("");
    podman.serve(&mut project);
    let mount =
        "RUN --mount=type=bind,source=nonce,target=/n cat /n > /o && echo ran with $(cat /n)";
    project.write("base/Dockerfile", &format!("FROM {}\n{mount}\n", base_image()));
    for content in [nonce(), nonce()] {
        project.write("base/nonce", &content);
        let (built, said) = report(&project, &["base"]);
        assert_eq!(statuses(&built), ["built"], "{said}");
        assert!(said.contains(&format!("ran with {content}")), "{said}");
    }
    // Where nothing is mounted, it is used.
    project.write("base/Dockerfile", &format!("FROM {}\nRUN echo {}\n", base_image(), nonce()));
    let (_, said) = report(&project, &["--push", "never", "base"]);
    assert!(!said.contains("(cached)"), "{said}");
    let (_, said) = report(&project, &["--push", "never", "base"]);
    assert!(said.contains("(cached)"), "{said}");
}

#[test]
fn a_heredoc_is_refused_where_its_lines_would_be_instructions() {
    let version = Command::new("podman").arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let major =
        version.rsplit(' ').next().unwrap().split('.').next().unwrap().parse::<u32>().unwrap();
    let podman = Podman::start(&[&base_host()]);
    let mut project = debian("");
    podman.serve(&mut project);
    let heredoc =
        format!("FROM {}\nRUN <<EOF\necho {} > /h\nEOF\nRUN test -s /h\n", base_image(), nonce());
    project.write("base/Dockerfile", &heredoc);
    let ran = project.run(&["build", "base"]);
    if major >= 5 {
        assert_eq!(ran.code, 0, "{ran:?}");
    } else {
        assert_eq!(ran.code, 4, "{ran:?}");
        assert!(ran.err.contains("has a heredoc, and Podman 4"), "{}", ran.err);
    }
}
