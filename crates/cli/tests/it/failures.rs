//! Registries and engines that fail: the right exit code, a hint, nothing built, nothing pushed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dockit_testkit::{Reply, Request, ScriptedServer};

use crate::scratch;

/// An engine that answers, has no image, and must not be asked to build.
pub(crate) fn idle_engine(builds: Arc<AtomicUsize>) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        if asks_to_build(request.path()) {
            builds.fetch_add(1, Ordering::SeqCst);
        }
        engine_reply(request)
    })
}

/// Whether this part of an engine's API has it build, as Docker or as Podman.
fn asks_to_build(path: &str) -> bool {
    ["/build", "/grpc", "/session"].iter().any(|end| path.ends_with(end))
}

fn engine_reply(request: &Request) -> Reply {
    let path = request.path();
    if path.ends_with("/_ping") {
        return Reply::new(200).header("Api-Version", "1.41").body("OK");
    }
    if path.ends_with("/version") {
        let body = r#"{"ApiVersion":"1.41"}"#;
        return Reply::new(200).header("Content-Type", "application/json").body(body);
    }
    if path.contains("/images/") && path.ends_with("/json") {
        let body = r#"{"message":"No such image"}"#;
        return Reply::new(404).header("Content-Type", "application/json").body(body);
    }
    Reply::new(500).header("Content-Type", "application/json").body(r#"{"message":"broken"}"#)
}

fn json_error(status: u16, code: &str) -> Reply {
    Reply::new(status)
        .header("Content-Type", "application/json")
        .body(format!(r#"{{"errors":[{{"code":"{code}","message":"as the test wants"}}]}}"#))
}

#[test]
fn a_registry_that_does_not_prove_absence_ends_the_run_with_exit_3() {
    type Answer = fn() -> Reply;
    let answers: &[(&str, Answer, &str)] = &[
        ("401", || json_error(401, "UNAUTHORIZED"), "dockit login"),
        ("403", || json_error(403, "DENIED"), "lack a right"),
        (
            "500",
            || json_error(500, "UNKNOWN").header("Retry-After", "0"),
            "did not answer properly",
        ),
        (
            "429 for longer than anybody waits",
            || json_error(429, "TOOMANYREQUESTS").header("Retry-After", "3600"),
            "try again later",
        ),
        (
            "an HTML page",
            || Reply::new(200).header("Content-Type", "text/html").body("<html>hello</html>"),
            "nothing was built",
        ),
        (
            "garbage",
            || {
                Reply::new(200)
                    .header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
                    .body("\u{0}garbage")
            },
            "nothing was built",
        ),
    ];
    for (name, answer, hint) in answers {
        let registry = ScriptedServer::start(move |_| answer());
        let builds = Arc::new(AtomicUsize::new(0));
        let engine = idle_engine(builds.clone());
        let mut project = scratch(&registry.host());
        project.docker_host = format!("tcp://{}", engine.host());
        for command in [&["build", "--push", "always"][..], &["plan", "--push", "always"]] {
            let ran = project.run(command);
            assert_eq!((ran.code, &*ran.out), (3, ""), "{name}: {ran:?}");
            assert!(ran.err.contains(hint), "{name}: {}", ran.err);
            assert!(ran.err.contains("error: image "), "{name}: {}", ran.err);
        }
        assert_eq!(builds.load(Ordering::SeqCst), 0, "{name}");
        assert!(!project.root().join("dockit.lock").exists());
    }
}

#[test]
fn a_registry_that_hangs_up_or_is_not_there_is_exit_3() {
    let silent = ScriptedServer::start(|_| Reply::hang_up());
    // Nobody listens there; a port that was free a moment ago can be another test's by now.
    let gone = "127.0.0.1:1".to_owned();
    for host in [silent.host(), gone] {
        let ran = scratch(&host).run(&["build", "--push", "always"]);
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(ran.err.contains("check the address and the network"), "{}", ran.err);
    }
}

#[test]
fn a_registry_that_asks_to_wait_is_waited_for() {
    let first = AtomicUsize::new(0);
    let registry = ScriptedServer::start(move |_| {
        if first.fetch_add(1, Ordering::SeqCst) < 2 {
            return json_error(429, "TOOMANYREQUESTS").header("Retry-After", "1");
        }
        json_error(404, "MANIFEST_UNKNOWN")
    });
    let project = scratch(&registry.host());
    let ran = project.run(&["plan", "--push", "always"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("2 to build"), "{}", ran.out);
}

#[test]
fn a_base_that_cannot_be_resolved_leaves_no_lockfile() {
    let registry = ScriptedServer::start(|_| json_error(404, "MANIFEST_UNKNOWN"));
    let project = scratch(&registry.host());
    project.write("base/Dockerfile", &format!("FROM {}/debian:12\n", registry.host()));
    let ran = project.run(&["build", "--push", "always"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("cannot resolve"), "{}", ran.err);
    assert!(!project.root().join("dockit.lock").exists());
}

#[test]
fn no_engine_is_exit_4_with_what_to_do() {
    let registry = ScriptedServer::start(|_| json_error(404, "MANIFEST_UNKNOWN"));
    let project = scratch(&registry.host());
    let ran = project.run(&["build", "--push", "always", "--backend", "engine"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(
        ran.err.contains("no-engine.sock") && ran.err.contains("hint: start Docker"),
        "{ran:?}"
    );
    let statuses = project
        .run(&["build", "--push", "always", "--backend", "engine", "--format", "json"])
        .json();
    assert_eq!(statuses["images"][0]["status"], "failed");
    assert_eq!(statuses["images"][1]["status"], "skipped");
    assert!(
        registry.log().iter().all(|line| line.starts_with("HEAD ") || line.starts_with("GET "))
    );
}

#[test]
fn without_a_registry_the_engine_has_to_answer() {
    let project = scratch("unused");
    project.write("dockit.toml", "[images.base]\n[images.child]\n");
    for command in ["plan", "build"] {
        let ran = project.run(&[command]);
        assert_eq!(ran.code, 4, "{ran:?}");
    }
}

#[test]
fn an_engine_that_dies_during_a_build_is_exit_4_and_nothing_is_pushed() {
    let registry = ScriptedServer::start(|_| json_error(404, "MANIFEST_UNKNOWN"));
    let endings: [fn() -> Reply; 2] = [Reply::hang_up, || {
        Reply::new(200).header("Content-Type", "application/json").body("{\"stream\":\"x\"}\n")
    }];
    for ending in endings {
        let engine = ScriptedServer::start(move |request| {
            if asks_to_build(request.path()) { ending() } else { engine_reply(request) }
        });
        let mut project = scratch(&registry.host());
        project.docker_host = format!("tcp://{}", engine.host());
        let ran = project.run(&["build", "--push", "always", "--backend", "engine", "--pin"]);
        assert_eq!(ran.code, 4, "{ran:?}");
        let log = engine.log();
        assert!(log.iter().any(|line| line.contains("/grpc")), "it was asked to build: {log:?}");
        assert!(!log.iter().any(|line| line.contains("/push")), "{log:?}");
        assert!(!project.root().join("dockit.lock").exists());
    }
}

#[test]
fn an_engine_that_cannot_build_is_exit_4() {
    let registry = ScriptedServer::start(|_| json_error(404, "MANIFEST_UNKNOWN"));
    let engine = ScriptedServer::start(engine_reply);
    let mut project = scratch(&registry.host());
    project.docker_host = format!("tcp://{}", engine.host());
    let ran = project.run(&["build", "--push", "always", "--backend", "engine"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("broken"), "{}", ran.err);
}

#[test]
fn an_engine_that_answers_a_lookup_with_an_error_is_exit_4() {
    let engine = ScriptedServer::start(|request| {
        if request.path().contains("/images/") {
            let body = r#"{"message":"boom"}"#;
            return Reply::new(500).header("Content-Type", "application/json").body(body);
        }
        engine_reply(request)
    });
    let registry = ScriptedServer::start(|_| json_error(404, "MANIFEST_UNKNOWN"));
    let mut with_registry = scratch(&registry.host());
    let mut without = scratch("unused");
    without.write("dockit.toml", "[images.base]\n[images.child]\n");
    for project in [&mut with_registry, &mut without] {
        project.docker_host = format!("tcp://{}", engine.host());
        let ran = project.run(&["build"]);
        assert_eq!((ran.code, &*ran.out), (4, ""), "{ran:?}");
        assert!(ran.err.contains("boom"), "{}", ran.err);
    }
    let log = engine.log();
    assert!(!log.iter().any(|line| line.contains("/build") || line.contains("/grpc")), "{log:?}");
}

#[test]
fn an_engine_that_is_too_old_or_wants_tls_is_told_apart() {
    let registry = ScriptedServer::start(|_| json_error(404, "MANIFEST_UNKNOWN"));
    let old = ScriptedServer::start(|request| {
        if request.path().ends_with("/version") {
            let body = r#"{"ApiVersion":"1.24"}"#;
            return Reply::new(200).header("Content-Type", "application/json").body(body);
        }
        engine_reply(request)
    });
    let mut project = scratch(&registry.host());
    project.docker_host = format!("tcp://{}", old.host());
    let ran = project.run(&["build", "--push", "always", "--backend", "engine"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("too old"), "{}", ran.err);
    project.variables.push(("DOCKER_TLS_VERIFY", "1".to_owned()));
    let ran = project.run(&["build", "--push", "always", "--backend", "engine"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("ca.pem: not found"), "{}", ran.err);
}

#[test]
fn an_endpoint_that_is_none_is_named() {
    let registry = ScriptedServer::start(|_| json_error(404, "MANIFEST_UNKNOWN"));
    let mut project = scratch(&registry.host());
    project.docker_host = "gopher://build@host".to_owned();
    let ran = project.run(&["build", "--push", "always"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("DOCKER_HOST: no engine is reached by \"gopher\""), "{}", ran.err);
    assert!(ran.err.contains("hint: an engine is named as"), "{}", ran.err);
}

#[test]
fn ci_runs_push_and_others_do_not() {
    let registry = ScriptedServer::start(|_| json_error(404, "MANIFEST_UNKNOWN"));
    let asked = |variables: &[(&'static str, &str)]| {
        let engine = ScriptedServer::start(engine_reply);
        let mut project = scratch(&registry.host());
        project.docker_host = format!("tcp://{}", engine.host());
        project.variables =
            variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let ran = project.run(&["plan"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        engine.log().iter().any(|line| line.contains("/images/"))
    };
    assert!(asked(&[]), "without a push the engine's store is asked as well");
    assert!(!asked(&[("CI", "true")]));
    assert!(asked(&[("CI", "true"), ("GITHUB_EVENT_NAME", "pull_request")]));
}
