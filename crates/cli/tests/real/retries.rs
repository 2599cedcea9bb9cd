//! Pushes that a registry does not take at first, as the engine words it.

use dockit_testkit::{Auth, Fault, FaultProxy, RegistryProcess, Reply, Rule};

use crate::debian;
use crate::engine::Cleanup;

fn puts(proxy: &FaultProxy) -> usize {
    let exchanges = proxy.exchanges();
    let tagged = exchanges.iter().filter(|one| one.path().starts_with("/v2/ci/tool/manifests/k1-"));
    tagged.filter(|one| one.method == "PUT").count()
}

#[test]
fn a_push_is_tried_again_where_the_registry_is_busy() {
    let registry = RegistryProcess::start(Auth::None);
    let proxy = FaultProxy::start(registry.host());
    let project = debian(&format!("registry = \"{}/ci\"", proxy.host()));
    proxy.add(Rule::on("PUT", "/v2/ci/tool/manifests/*", Fault::status(503)).times(2));
    let ran = project.run(&[
        "build",
        "tool",
        "--backend",
        "engine",
        "--push",
        "always",
        "--format",
        "json",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let _cleanup = Cleanup::of(&ran.json());
    assert_eq!(ran.json()["images"][0]["status"], "built");
    assert!(ran.err.contains("tool: warning: the push failed, again in "), "{}", ran.err);
    assert!(ran.err.contains("503"), "{}", ran.err);
    assert_eq!(puts(&proxy), 3);
}

#[test]
fn a_push_that_is_denied_is_a_failure_at_once() {
    let registry = RegistryProcess::start(Auth::None);
    let proxy = FaultProxy::start(registry.host());
    let project = debian(&format!("registry = \"{}/ci\"", proxy.host()));
    let denied =
        r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    let denied = Reply::new(403).header("Content-Type", "application/json").body(denied);
    proxy.add(Rule::on("PUT", "/v2/ci/tool/manifests/*", Fault::reply(denied)));
    let ran = project.run(&["build", "tool", "--push", "always", "--format", "json"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    let _cleanup = Cleanup::of(&ran.json());
    assert_eq!(ran.json()["images"][0]["status"], "failed");
    assert!(ran.err.contains("denied") && !ran.err.contains("again in"), "{}", ran.err);
    assert_eq!(puts(&proxy), 1);
}
