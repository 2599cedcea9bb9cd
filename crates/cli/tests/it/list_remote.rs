//! `dockit list --remote` with registries that say what a test wants.

use dockit_testkit::{Reply, ScriptedServer, TestImage};
use insta::assert_snapshot;

use crate::scratch;

fn unknown(code: &str) -> Reply {
    Reply::new(404)
        .header("Content-Type", "application/json")
        .body(format!(r#"{{"errors":[{{"code":"{code}","message":"unknown"}}]}}"#))
}

/// Holds every image of the repository `base`, has no repository `child`, and has two tags.
fn registry(base: &TestImage) -> ScriptedServer {
    let base = base.clone();
    ScriptedServer::start(move |request| match request.path() {
        "/v2/" => Reply::new(200),
        "/v2/p/base/tags/list" => Reply::new(200)
            .header("Content-Type", "application/json")
            .body(r#"{"name":"p/base","tags":["one","two"]}"#),
        "/v2/p/child/tags/list" => unknown("NAME_UNKNOWN"),
        path if path.starts_with("/v2/p/base/manifests/") => Reply::new(200)
            .header("Content-Type", base.media_type)
            .header("Docker-Content-Digest", base.digest())
            .body(base.manifest.clone()),
        path if path.starts_with("/v2/p/child/manifests/") => unknown("MANIFEST_UNKNOWN"),
        _ => Reply::new(500),
    })
}

#[test]
fn present_and_absent_are_told_apart() {
    let image = TestImage::new("base");
    let server = registry(&image);
    let project = scratch(&server.host());
    let ran = project.run(&["list", "--remote"]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    let digest = &image.digest()[..19];
    let shown = ran.out.replace(&server.host(), "HOST").replace(digest, "sha256:DIGEST000000");
    assert_snapshot!(shown, @r"
    NAME   KEY              STATE    DIGEST               TAGS  LOCKED  ALL TAGS  REPOSITORY
    base   k1:14d460eed02b  present  sha256:DIGEST000000  -     -       2         HOST/p/base
    child  k1:734ccd812adb  absent   -                    -     -       0         HOST/p/child
    ");
    let json = project.run(&["list", "--remote", "--format", "json"]).json();
    assert_eq!(json["schema"], "dockit.list/1");
    let [base, child] = [&json["images"][0]["remote"], &json["images"][1]["remote"]];
    assert_eq!((&base["state"], &base["digest"]), (&"present".into(), &image.digest().into()));
    assert_eq!(base["repository_tags"], 2);
    assert_eq!(child["state"], "absent");
    assert_eq!(
        (&child["repository_tags"], &child["locked"]),
        (&0.into(), &serde_json::Value::Null)
    );
    let plain = project.run(&["list", "--format", "json"]).json();
    assert_eq!(plain["images"][0].get("remote"), None, "only when it was asked for");
}

#[test]
fn an_error_is_shown_as_one_and_hides_nothing() {
    let server = ScriptedServer::start(|request| {
        if request.path() == "/v2/p/child/tags/list" {
            unknown("NAME_UNKNOWN")
        } else if request.path().contains("/child/") {
            unknown("MANIFEST_UNKNOWN")
        } else {
            Reply::new(403)
        }
    });
    let project = scratch(&server.host());
    let ran = project.run(&["list", "--remote"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_snapshot!(ran.out.replace(&server.host(), "HOST"), @r"
    NAME   KEY              STATE   DIGEST  TAGS  LOCKED  ALL TAGS  REPOSITORY
    base   k1:14d460eed02b  error   -       -     -       -         HOST/p/base
    child  k1:734ccd812adb  absent  -       -     -       0         HOST/p/child
    ");
    assert!(ran.err.contains("error: image base: "), "{}", ran.err);
    assert!(ran.err.contains("lack a right"), "{}", ran.err);
    let json = project.run(&["list", "base", "--remote", "--format", "json"]).json();
    assert_eq!(json["images"][0]["remote"]["state"], "error");
    assert!(json["images"][0]["remote"]["error"].as_str().unwrap().contains("denied"), "{json}");
}

#[test]
fn tags_that_may_not_be_counted_are_a_warning() {
    let server = ScriptedServer::start(|request| match request.path() {
        "/v2/" => Reply::new(200),
        path if path.ends_with("/tags/list") => Reply::new(403),
        _ => unknown("MANIFEST_UNKNOWN"),
    });
    let ran = scratch(&server.host()).run(&["list", "--remote", "--format", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("warning: the tags of image base are not counted: "), "{}", ran.err);
    let remote = &ran.json()["images"][0]["remote"];
    assert_eq!((&remote["state"], &remote["error"]), (&"absent".into(), &serde_json::Value::Null));
    assert_eq!(remote["repository_tags"], serde_json::Value::Null);
    assert!(remote["repository_tags_error"].as_str().unwrap().contains("denied"), "{remote}");
}

#[test]
fn offline_it_is_a_usage_error() {
    let ran = scratch("r.example").run(&["list", "--remote", "--offline"]);
    assert_eq!((ran.code, &*ran.out), (2, ""));
    assert!(ran.err.contains("`dockit list --remote` asks registries"), "{}", ran.err);
}
