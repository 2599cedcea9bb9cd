//! Which engine is asked, over TLS, through ssh, by a context; and what is told where that fails.

use std::path::Path;

use dockit_testkit::{ScriptedServer, TlsFront};

use crate::failures::idle_engine;
use crate::run::{Project, Ran};

fn project() -> Project {
    Project::new(&[("dockit.toml", "[images.base]\n"), ("base/Dockerfile", "FROM scratch\n")])
}

/// `doctor`'s word on the engine, and its exit code.
fn engine_check(project: &Project) -> (i32, String) {
    let ran = project.run(&["doctor", "--format", "json"]);
    let json = ran.json();
    let checks = json["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["subject"] == "engine").unwrap();
    let text = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
    (ran.code, format!("{}: {} [{}]", text("status"), text("message"), text("hint")))
}

fn behind_tls(port: u16, certificates: &Path) -> Project {
    let mut project = project();
    project.docker_host = format!("tcp://127.0.0.1:{port}");
    project.variables.push(("DOCKER_TLS_VERIFY", "1".to_owned()));
    project.variables.push(("DOCKER_CERT_PATH", certificates.display().to_string()));
    project
}

#[test]
fn an_engine_behind_tls_is_spoken_to_with_the_clients_certificate() {
    let engine = idle_engine(Default::default());
    let front = TlsFront::start(&engine.host());
    let project = behind_tls(front.port(), &front.certificates());
    let (code, check) = engine_check(&project);
    assert_eq!(code, 0, "{check}");
    assert!(check.starts_with("ok: Docker "), "{check}");
    assert!(check.contains(&format!("tcp://127.0.0.1:{} (from DOCKER_HOST)", front.port())));
    let ran = project.run(&["plan"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(engine.log().iter().any(|line| line.contains("/images/base")), "{:?}", engine.log());
}

#[test]
fn tls_that_does_not_fit_is_exit_4_with_the_reason() {
    let engine = idle_engine(Default::default());
    let front = TlsFront::start(&engine.host());
    let other = TlsFront::start(&engine.host());
    let fails = |project: &Project, reason: &str| {
        let (code, check) = engine_check(project);
        assert_eq!(code, 4, "{check}");
        assert!(check.starts_with("failed: ") && check.contains(reason), "{reason}: {check}");
    };
    // Another authority.
    fails(&behind_tls(front.port(), &other.certificates()), "UnknownIssuer");
    let (_, check) = engine_check(&behind_tls(front.port(), &other.certificates()));
    assert!(check.contains("unavailable: no connection: invalid peer certificate"), "{check}");
    // Another name.
    let mut named = behind_tls(front.port(), &front.certificates());
    named.docker_host = format!("tcp://localhost:{}", front.port());
    fails(&named, "not valid for name \"localhost\"");
    // No client certificate.
    let bare = project();
    std::fs::copy(front.certificates().join("ca.pem"), bare.root().join("ca.pem")).unwrap();
    fails(&behind_tls(front.port(), &bare.root()), "CertificateRequired");
    // A key that is none.
    for (file, reason) in [("key.pem", "key.pem: "), ("cert.pem", "cert.pem: it holds no")] {
        let broken = project();
        for name in ["ca.pem", "cert.pem", "key.pem"] {
            std::fs::copy(front.certificates().join(name), broken.root().join(name)).unwrap();
        }
        std::fs::write(broken.root().join(file), "nothing\n").unwrap();
        fails(&behind_tls(front.port(), &broken.root()), reason);
    }
    // No authority.
    fails(&behind_tls(front.port(), Path::new("/nowhere")), "/nowhere/ca.pem: not found");
    // Plain HTTP to TLS, and TLS to plain HTTP.
    let mut plain = project();
    plain.docker_host = format!("tcp://127.0.0.1:{}", front.port());
    fails(&plain, &plain.docker_host);
    let mut tls = behind_tls(front.port(), &front.certificates());
    tls.docker_host = format!("tcp://{}", engine.host());
    fails(&tls, "tls handshake eof");
}

#[test]
fn a_certificate_that_nobody_checks_is_a_warning() {
    let engine = idle_engine(Default::default());
    let front = TlsFront::start(&engine.host());
    let other = TlsFront::start(&engine.host());
    let mut project = project();
    project.docker_host = format!("tcp://localhost:{}", front.port());
    project.variables.push(("DOCKER_TLS", "1".to_owned()));
    let path = front.certificates().display().to_string();
    project.variables.push(("DOCKER_CERT_PATH", path));
    std::fs::copy(other.certificates().join("ca.pem"), front.certificates().join("ca.pem"))
        .unwrap();
    let (code, check) = engine_check(&project);
    assert_eq!(code, 0, "{check}");
    assert!(check.starts_with("warning: ") && check.contains("is not checked"), "{check}");
    let ran = project.run(&["plan"]);
    assert!(
        ran.err.contains("warning: the certificate of the engine at tcp://localhost:"),
        "{ran:?}"
    );
    assert_eq!(ran.err.matches("is not checked").count(), 1, "{ran:?}");
    assert!(!project.run(&["doctor"]).err.contains("is not checked"), "it is told as its finding");
    project.variables.retain(|(name, _)| *name != "DOCKER_TLS");
    project.docker_host = format!("tcp://{}", engine.host());
    assert!(!project.run(&["plan"]).err.contains("is not checked"));
}

/// An `ssh` that connects to an engine on loopback, and notes what it was asked.
#[cfg(unix)]
fn behind_ssh(script: &str) -> Project {
    use std::os::unix::fs::PermissionsExt as _;
    let mut project = project();
    project.write("bin/ssh", &format!("#!/bin/bash\necho \"$*\" >> ssh.log\n{script}\n"));
    let program = project.root().join("bin/ssh");
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let log = project.root();
    project.write(
        "bin/ssh",
        &format!("#!/bin/bash\ncd {}\necho \"$*\" >> ssh.log\n{script}\n", log.display()),
    );
    let path = format!("{}:/usr/bin:/bin", project.root().join("bin").display());
    project.variables.push(("PATH", path));
    project.docker_host = "ssh://me@box:2222/run/engine.sock".to_owned();
    project
}

#[cfg(unix)]
fn relay(engine: &ScriptedServer) -> String {
    let (host, port) =
        engine.host().rsplit_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    format!("exec 3<>/dev/tcp/{host}/{port}\ncat <&3 &\ncat >&3\nkill $!\n")
}

#[cfg(unix)]
#[test]
fn an_engine_behind_ssh_is_reached_as_docker_reaches_it() {
    let engine = idle_engine(Default::default());
    let project = behind_ssh(&relay(&engine));
    let (code, check) = engine_check(&project);
    assert_eq!(code, 0, "{check}");
    assert!(check.contains("ssh://me@box:2222/run/engine.sock (from DOCKER_HOST)"), "{check}");
    let ran = project.run(&["plan"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let asked = std::fs::read_to_string(project.root().join("ssh.log")).unwrap();
    let expected = "-o ConnectTimeout=30 -o BatchMode=yes -o ControlMaster=no -T -l me -p 2222 -- box docker \
                    --host=unix:///run/engine.sock system dial-stdio";
    assert!(asked.lines().all(|line| line == expected), "{asked}");
}

#[cfg(unix)]
#[test]
fn what_ssh_says_is_told() {
    for (script, reason) in [
        (
            "echo 'me@box: Permission denied (publickey).' >&2; exit 255",
            "ssh: me@box: Permission denied (publickey).",
        ),
        ("echo 'bash: docker: command not found' >&2; exit 127", "docker: command not found"),
        ("exit 1", "ssh: exit status: 1"),
    ] {
        let project = behind_ssh(script);
        let (code, check) = engine_check(&project);
        assert_eq!(code, 4, "{check}");
        assert!(check.contains(reason), "{reason}: {check}");
        assert!(check.contains("ssh://me@box:2222/run/engine.sock (from DOCKER_HOST)"), "{check}");
    }
    let mut project = project();
    project.docker_host = "ssh://box".to_owned();
    project.variables.push(("PATH", "/nowhere".to_owned()));
    let (code, check) = engine_check(&project);
    assert_eq!(code, 4);
    assert!(check.contains("ssh: not found"), "{check}");
}

#[test]
fn a_context_names_the_engine_and_docker_host_overrules_it() {
    let engine = idle_engine(Default::default());
    let mut project = project();
    let host = std::mem::take(&mut project.docker_host);
    let id = dockit_registry::Digest::of(b"box");
    let id = id.as_str().trim_start_matches("sha256:");
    let metadata = serde_json::json!({
        "Name": "box", "Endpoints": {"docker": {"Host": format!("tcp://{}", engine.host())}},
    });
    let file = format!("../home/.docker/contexts/meta/{id}/meta.json");
    project.write(&file, &metadata.to_string());
    project.write("../home/.docker/config.json", "{\"currentContext\": \"box\"}");
    let (code, check) = engine_check(&project);
    assert_eq!(code, 0, "{check}");
    assert!(check.contains("(from the context \"box\", named by "), "{check}");

    project.variables.push(("DOCKER_CONTEXT", "gone".to_owned()));
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("there is no Docker context \"gone\""), "{}", ran.err);
    assert!(ran.err.contains("there are \"default\" and box"), "{}", ran.err);
    assert!(ran.err.contains("hint: `docker context ls`"), "{}", ran.err);

    project.docker_host = host;
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    let warning = "warning: DOCKER_HOST is set, so DOCKER_CONTEXT (\"gone\") does not count";
    assert!(ran.err.contains(warning), "{}", ran.err);
    assert!(ran.err.contains("no-engine.sock (from DOCKER_HOST)"), "{}", ran.err);
}

/// A socket is there, but this user may not open it.
#[cfg(unix)]
#[test]
fn a_socket_that_may_not_be_opened_leads_to_the_group() {
    let ran: Ran = {
        use std::os::unix::fs::PermissionsExt as _;
        let mut project = project();
        let socket = project.root().join("closed/engine.sock");
        std::fs::create_dir(socket.parent().unwrap()).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o000)).unwrap();
        project.docker_host = format!("unix://{}", socket.display());
        let mut command = project.command(&["doctor", "--format", "json"]);
        as_nobody(&project, &mut command);
        Ran::of(command.output().unwrap(), &project.root())
    };
    let text = ran.json().to_string();
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(text.contains("permission denied at unix://DIR/closed/engine.sock"), "{text}");
    assert!(text.contains("join the group docker"), "{text}");
}

/// Root opens every socket, so root becomes somebody else.
#[cfg(unix)]
fn as_nobody(project: &Project, command: &mut std::process::Command) {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::os::unix::process::CommandExt as _;
    if std::fs::metadata("/proc/self").map_or(1, |process| process.uid()) != 0 {
        return;
    }
    let everybody = std::fs::Permissions::from_mode(0o755);
    let root = project.root();
    std::fs::set_permissions(root.parent().unwrap(), everybody.clone()).unwrap();
    std::fs::set_permissions(&root, everybody).unwrap();
    command.uid(65534).gid(65534);
}
