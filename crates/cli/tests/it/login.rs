//! `dockit login` and `dockit logout`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use dockit_testkit::{Reply, ScriptedServer};

use crate::run::{Project, Ran};
use crate::scratch;

/// `ci:hunter2`.
const LOGIN: &str = "Basic Y2k6aHVudGVyMg==";

fn registry() -> ScriptedServer {
    ScriptedServer::start(|request| match request.header("authorization") {
        Some(LOGIN) => Reply::new(200),
        _ => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    })
}

fn typed(project: &Project, arguments: &[&str], input: &str) -> Ran {
    let mut command = project.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Ran::of(child.wait_with_output().unwrap(), &project.root())
}

fn config(project: &Project) -> PathBuf {
    project.root().parent().unwrap().join("home/.docker/config.json")
}

#[test]
fn a_password_is_checked_and_kept_where_docker_finds_it_and_forgotten_again() {
    let server = registry();
    let project = scratch(&server.host());
    // The project's own registry, without naming it.
    let ran = typed(&project, &["login", "-u", "ci"], "hunter2\n");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.starts_with(&format!("logged in to {} as ci, kept in ", server.host())));
    assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(config(&project)).unwrap()).unwrap();
    assert_eq!(json["auths"][server.host()]["auth"], "Y2k6aHVudGVyMg==");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(config(&project)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let ran = project.run(&["logout", &server.host(), "--format", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.json()["forgotten"][0]["kind"], "file");
    let text = std::fs::read_to_string(config(&project)).unwrap();
    assert!(!text.contains("Y2k6"), "{text}");
    let ran = project.run(&["logout", &server.host()]);
    assert_eq!(ran.out, format!("no password for {} was kept\n", server.host()));
}

#[test]
fn a_wrong_password_is_not_kept_and_not_shown() {
    let server = registry();
    let project = scratch("r.example");
    let ran = typed(&project, &["login", &server.host(), "-u", "ci"], "planted-secret");
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("does not take this password of ci"), "{ran:?}");
    assert!(!format!("{ran:?}").contains("planted-secret"), "{ran:?}");
    assert!(!config(&project).exists());
    // A series of failed logins ends in a ban at some registries.
    let logins = server.requests();
    let logins = logins.iter().filter(|request| request.header("authorization").is_some());
    assert_eq!(logins.count(), 1);
}

#[test]
fn a_password_comes_from_standard_input_alone() {
    let server = registry();
    let project = scratch("r.example");
    for (arguments, input, said) in [
        (&["login", "HOST"][..], "hunter2", "who logs in?"),
        (&["login", "HOST", "-u", "ci"], "", "the password is empty"),
        (&["login", "HOST", "-u", "ci", "--password", "x"], "", "unexpected argument"),
        (&["login", "HOST", "-u", "ci", "--offline"], "hunter2", "--offline forbids"),
    ] {
        let host = server.host();
        let arguments: Vec<&str> = arguments
            .iter()
            .map(|argument| if *argument == "HOST" { host.as_str() } else { *argument })
            .collect();
        let ran = typed(&project, &arguments, input);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.err.contains(said), "{said}: {ran:?}");
    }
    assert!(server.requests().is_empty());
}

#[test]
fn a_registry_that_asks_nobody_keeps_the_password_with_a_warning() {
    let server = ScriptedServer::start(|_| Reply::new(200));
    let project = scratch("r.example");
    let ran = typed(&project, &["login", &server.host(), "-u", "ci", "--format", "json"], "x");
    assert_eq!((ran.code, &ran.json()["checked"]), (0, &serde_json::json!(false)), "{ran:?}");
}

#[cfg(unix)]
#[test]
fn a_credential_helper_keeps_it_where_the_configuration_names_one() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = registry();
    let mut project = scratch("r.example");
    let bin = project.root().join("bin");
    project.write("bin/docker-credential-test", "#!/bin/sh\ncat >> \"$0.$1\"\n");
    let program = bin.join("docker-credential-test");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    project.write("docker/config.json", "{\"credsStore\": \"test\", \"kept\": 1}");
    let path = format!("{}:/usr/bin:/bin", bin.display());
    project.variables.push(("PATH", path));
    project.variables.push(("DOCKER_CONFIG", project.root().join("docker").display().to_string()));
    let ran = typed(&project, &["login", &server.host(), "-u", "ci"], "hunter2");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.ends_with("kept by docker-credential-test\n"), "{ran:?}");
    let stored = std::fs::read_to_string(bin.join("docker-credential-test.store")).unwrap();
    assert!(stored.contains("hunter2") && stored.contains(&server.host()), "{stored}");
    let text = std::fs::read_to_string(project.root().join("docker/config.json")).unwrap();
    assert!(!text.contains("hunter2") && text.contains("\"kept\": 1"), "{text}");
}

#[test]
fn which_registry_is_meant_has_to_be_clear() {
    let project = Project::new(&[
        (
            "dockit.toml",
            "[images.a]\nrepository = \"one.example/a\"\n[images.b]\nrepository = \"two.example/b\"\n",
        ),
        ("a/Dockerfile", "FROM scratch\n"),
        ("b/Dockerfile", "FROM scratch\n"),
    ]);
    let ran = typed(&project, &["login", "-u", "ci"], "x");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("the project has one.example, two.example"), "{ran:?}");
}

/// Google's own way is `-u _json_key`, with the file as password.
#[test]
fn a_password_may_have_several_lines() {
    let server = ScriptedServer::start(|request| match request.header("authorization") {
        // `_json_key:{\n}`
        Some("Basic X2pzb25fa2V5OnsKfQ==") => Reply::new(200),
        _ => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    });
    let project = scratch("r.example");
    let ran = typed(&project, &["login", &server.host(), "-u", "_json_key"], "{\n}\n");
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_configuration_that_lies_around_does_not_have_a_password_sent_in_the_clear() {
    let server = registry();
    let port = server.host().rsplit_once(':').unwrap().1.to_owned();
    // Not on loopback by its name, so that it is spoken to over TLS unless it is called insecure.
    let host = format!("localhost.localdomain:{port}");
    let toml = format!("[project]\ninsecure-registries = [\"{host}\"]\n[images.base]\n");
    let project = Project::new(&[("dockit.toml", &toml), ("base/Dockerfile", "FROM scratch\n")]);
    let ran = typed(&project, &["login", &host, "-u", "ci"], "hunter2");
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(server.requests().is_empty(), "{ran:?}");
}

#[test]
fn what_is_no_registry_gets_no_password_kept_for_it() {
    for reply in
        [|| Reply::new(404), || Reply::new(200).header("Content-Type", "text/html").body("<html>")]
    {
        let server = ScriptedServer::start(move |_| reply());
        let project = scratch("r.example");
        let ran = typed(&project, &["login", &server.host(), "-u", "ci"], "hunter2");
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(!config(&project).exists());
    }
}
