//! The engine behind a real ssh server.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::process::Running;
use crate::debian;
use crate::engine::{self, Cleanup};
use crate::run::Project;

/// A server on a free port of loopback that lets this user in with one key.
struct Server {
    port: u16,
    _running: Running,
    directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(path(key))
                .status();
            assert!(made.is_ok_and(|status| status.success()), "run scripts/setup: no ssh-keygen");
        }
        std::fs::copy(path("user.pub"), path("authorized")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let root = directory.path().display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {root}/host\nPidFile none\n\
             AuthorizedKeysFile {root}/authorized\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
        );
        std::fs::write(path("sshd_config"), config).unwrap();
        // Where root starts it, it wants this directory; nobody else may make it, or needs it.
        let before = "mkdir -p /run/sshd 2>/dev/null || true";
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(path("sshd_config"));
        let log = path("log");
        let ready = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        let running = Running::start(&mut command, (before, ":"), &log, ready);
        Self { port, _running: running, directory }
    }

    /// A project whose `ssh` reads a configuration of its own, with these known hosts.
    fn project(&self, known: bool) -> Project {
        let mut project = debian("");
        let root = self.directory.path();
        let bin = project.root().join("../bin");
        std::fs::create_dir_all(&bin).unwrap();
        let hosts = bin.join("known_hosts");
        let key = std::fs::read_to_string(root.join("host.pub")).unwrap();
        let line = format!("[127.0.0.1]:{} {key}", self.port);
        std::fs::write(&hosts, if known { line.as_str() } else { "" }).unwrap();
        let config = format!(
            "Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  \
             GlobalKnownHostsFile /dev/null\n",
            root.join("user").display(),
            hosts.display()
        );
        std::fs::write(bin.join("config"), config).unwrap();
        write_program(
            &bin.join("ssh"),
            &format!("#!/bin/sh\nexec /usr/bin/ssh -F {}/config \"$@\"\n", bin.display()),
        );
        project.variables.push(("PATH", format!("{}:/usr/bin:/bin", bin.display())));
        let socket = engine::endpoint().trim_start_matches("unix://").to_owned();
        project.docker_host = format!("ssh://127.0.0.1:{}{socket}", self.port);
        project
    }
}

fn write_program(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_build_goes_through_ssh() {
    let server = Server::start();
    let project = server.project(true);
    let ran = project.run(&["build", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report = ran.json();
    let _cleanup = Cleanup::of(&report);
    let image = report["images"][2]["reference"].as_str().unwrap();
    assert!(engine::inspect(image).is_some(), "it is in the engine behind it");
    let ran = project.run(&["plan", "--format", "json"]);
    assert_eq!(ran.json()["steps"][2]["action"], "reuse", "{}", ran.err);
}

#[test]
fn a_host_that_is_not_known_is_not_trusted() {
    let server = Server::start();
    let project = server.project(false);
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("Host key verification failed"), "{}", ran.err);
    assert!(ran.err.contains("(from DOCKER_HOST)"), "{}", ran.err);
}
