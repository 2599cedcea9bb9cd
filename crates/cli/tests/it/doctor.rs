//! `dockit doctor`.

use dockit_testkit::{Reply, Request, ScriptedServer};

use crate::run::{Project, Ran};

/// `ci:hunter2`.
const LOGIN: &str = "Basic Y2k6aHVudGVyMg==";

/// A registry for `ci`, who may push to `p/base` and read everything; there is no `p/gone`.
fn registry() -> ScriptedServer {
    ScriptedServer::start(|request| {
        if request.header("authorization") != Some(LOGIN) {
            return Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\"");
        }
        answer(request)
    })
}

fn answer(request: &Request) -> Reply {
    let denied = || Reply::new(403).body(r#"{"errors":[{"code":"DENIED","message":"no"}]}"#);
    match (request.method.as_str(), request.path()) {
        ("GET", "/v2/") => Reply::new(200),
        ("POST", "/v2/p/base/blobs/uploads/") => {
            Reply::new(202).header("Location", "/v2/p/base/blobs/uploads/1")
        }
        ("POST", "/v2/p/gone/blobs/uploads/") => {
            Reply::new(404).body(r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no"}]}"#)
        }
        ("DELETE", "/v2/p/base/blobs/uploads/1") => Reply::new(204),
        ("POST", _) => denied(),
        ("HEAD", "/v2/p/secret/manifests/latest") => Reply::new(403),
        ("HEAD", _) => Reply::new(404),
        _ => denied(),
    }
}

fn project(host: &str) -> Project {
    let toml = format!(
        "[project]\nregistry = \"{host}/p\"\n[images.base]\n[images.closed]\n[images.gone]\n\
         [images.secret]\n"
    );
    let project = Project::new(&[
        ("dockit.toml", &toml),
        ("base/Dockerfile", "FROM scratch\n"),
        ("closed/Dockerfile", "FROM scratch\n"),
        ("gone/Dockerfile", "FROM scratch\n"),
        ("secret/Dockerfile", &format!("FROM {host}/p/missing:1\n")),
    ]);
    let config = format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"Y2k6aHVudGVyMg==\"}}}}}}");
    project.write("../home/.docker/config.json", &config);
    project
}

/// Subject, status and message of every check, and the hints.
fn checks(ran: &Ran, host: &str) -> Vec<String> {
    let json = ran.json();
    let checks = json["checks"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    checks
        .map(|check| {
            let line = format!(
                "{} {}: {} [{}]",
                text(&check["subject"]),
                text(&check["status"]),
                text(&check["message"]),
                text(&check["hint"])
            );
            line.replace(host, "HOST")
        })
        .collect()
}

#[test]
fn each_right_that_is_missing_is_named_with_what_would_give_it() {
    let server = registry();
    let project = project(&server.host());
    let ran = project.run(&["doctor", "--format", "json"]);
    let checks = checks(&ran, &server.host());
    for (start, parts) in [
        ("engine failed", vec!["no-engine.sock", "start Docker"]),
        ("HOST ok", vec!["a credential of ci is kept in ", "config.json"]),
        ("HOST ok", vec!["takes the credential (generic)"]),
        ("HOST/p/base ok", vec!["can be pulled from and pushed to"]),
        ("HOST/p/closed failed", vec!["cannot be pushed to", "403", "it takes the right to push"]),
        ("HOST/p/gone failed", vec!["is not there"]),
        ("HOST/p/secret failed", vec!["cannot be pulled from", "it takes the right to pull"]),
        ("HOST/p/missing:1 failed", vec!["is not there"]),
    ] {
        let found = checks
            .iter()
            .any(|check| check.starts_with(start) && parts.iter().all(|part| check.contains(part)));
        assert!(found, "{start} {parts:?}\n{checks:#?}");
    }
    // The engine says most about what to do.
    assert_eq!(ran.code, 4);
    assert!(!format!("{ran:?}").contains("hunter2"));
    let log = server.log();
    assert!(log.contains(&"DELETE /v2/p/base/blobs/uploads/1".to_owned()), "{log:?}");
    assert!(!log.iter().any(|line| line.starts_with("PUT")), "{log:?}");
}

#[test]
fn without_a_good_credential_only_what_is_for_everybody_is_tried() {
    let server = registry();
    let project = project(&server.host());
    project.write("../home/.docker/config.json", "{}");
    let ran = project.run(&["doctor", &server.host(), "--format", "json"]);
    let checks = checks(&ran, &server.host());
    assert!(checks.iter().any(|check| check.starts_with("HOST warning: there is no credential")));
    let refused = checks.iter().find(|check| check.starts_with("HOST failed")).unwrap();
    assert!(
        refused.contains("no credentials for it") && refused.contains("`dockit login HOST`"),
        "{refused}"
    );
    // What is read may be for everybody, and is asked for; what is pushed is not.
    let images: Vec<&String> = checks.iter().filter(|check| check.starts_with("HOST/p/")).collect();
    assert!(matches!(&images[..], [base] if base.starts_with("HOST/p/missing:1 ")), "{images:?}");
}

#[test]
fn a_broken_configuration_keeps_nothing_else_from_being_examined() {
    let server = registry();
    let project = project(&server.host());
    project.write("dockit.toml", "[images.base\n");
    let ran = project.run(&["doctor"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.out.contains("dockit.toml") && ran.out.contains("engine"), "{ran:?}");
    let ran = project.run(&["doctor", "--offline"]);
    assert_eq!(ran.code, 2);
}
