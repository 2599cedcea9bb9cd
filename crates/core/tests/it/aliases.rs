//! What images are called in an engine besides.

use std::path::Path;

use dockit_core::backend::NamedBackend;
use dockit_core::config::{self, LoadOptions};
use dockit_core::events::Silent;
use dockit_core::story::{self, Request, Services};
use dockit_core::{Project, PushPolicy};
use tokio_util::sync::CancellationToken;

use crate::support::{FakeEngine, MemoryRegistry, TestProject, image};

fn problems(text: &str) -> String {
    let parsed = config::parse(Path::new("/p/dockit.toml"), text, &LoadOptions::default());
    parsed.map(|_: Project| ()).unwrap_err().to_string()
}

#[test]
fn an_alias_is_a_name_of_one_image() {
    let content = format!("a:k1-{}", "0".repeat(64));
    let digest = format!("a@sha256:{}", "0".repeat(64));
    for (text, message) in [
        (
            "[images.a]\naliases = [\"x\"]\n[images.b]\naliases = [\"docker.io/library/x:latest\"]\n",
            ":3: images \"a\" and \"b\" have the same alias \"x:latest\"",
        ),
        (
            "[images.a]\naliases = [\"b\"]\n[images.b]\n",
            ":1: the alias \"b:latest\" of image \"a\" is what image \"b\" is called in an engine",
        ),
        (
            "[images.a]\naliases = [\"b\"]\n[images.\"library/b\"]\n",
            ":1: the alias \"b:latest\" of image \"a\" is what image \"library/b\" is called in an engine",
        ),
        ("[images.a]\naliases = [\"x\", \"x:latest\"]\n", ":2: alias \"x:latest\" is there twice"),
        ("[images.a]\naliases = [\"X y\"]\n", ":2: name component \"X y\""),
        (&format!("[images.a]\naliases = [\"{digest}\"]\n"), "a name cannot hold a digest"),
        (&format!("[images.a]\naliases = [\"{content}\"]\n"), "has the form of a content tag"),
    ] {
        let found = problems(text);
        assert!(found.contains(message), "{text}\n{found}");
    }
}

/// `base`, and `app` with aliases, of which its variant takes over none.
fn project() -> TestProject {
    TestProject::new(&[
        (
            "dockit.toml",
            "[project]\nregistry = \"r.example/p\"\n[images.base]\naliases = [\"b\"]\n\
             [images.app]\naliases = [\"app\", \"ci.example:5000/team/app:dev\"]\n\
             [images.app.variants.v]\nargs = { V = \"1\" }\n",
        ),
        ("base/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("base/f", "base"),
        ("app/Dockerfile", "FROM base\nARG V\nCOPY f /app\n"),
        ("app/f", "app"),
    ])
}

async fn names_after(
    project: &TestProject,
    engine: &FakeEngine<'_>,
    registry: &MemoryRegistry,
    request: &Request,
) -> Vec<String> {
    let services =
        Services { registry, engine, backends: &[NamedBackend::only(engine)], observer: &Silent };
    let cancel = CancellationToken::new();
    let built = story::build(&project.load(), request, &services, &cancel).await.unwrap();
    assert!(built.report.succeeded(), "{:?}", built.report);
    let store = engine.store.lock().unwrap();
    store.keys().filter(|name| !name.contains(":k1-")).cloned().collect()
}

const APP: [&str; 2] = ["ci.example:5000/team/app:dev", "docker.io/library/app:latest"];
const BASE: &str = "docker.io/library/b:latest";

#[tokio::test(start_paused = true)]
async fn what_is_built_or_found_in_the_engine_gets_its_aliases() {
    let registry = MemoryRegistry::default();
    let engine = FakeEngine { registry: Some(&registry), ..FakeEngine::default() };
    let project = project();
    let request = Request { images: vec!["app".to_owned()], ..Request::default() };
    let built = names_after(&project, &engine, &registry, &request).await;
    assert_eq!(built, [APP[0], APP[1], BASE]);
    engine.store.lock().unwrap().retain(|name, _| name.contains(":k1-"));
    let found = names_after(&project, &engine, &registry, &request).await;
    assert_eq!(engine.built_names().len(), 2, "nothing is built again");
    assert_eq!(found, built);
}

#[tokio::test(start_paused = true)]
async fn loading_gives_a_reused_image_its_aliases_and_a_run_that_only_reuses_gives_none() {
    let registry = MemoryRegistry::default();
    let first = FakeEngine { registry: Some(&registry), ..FakeEngine::default() };
    let project = project();
    let pushing = Request { push: Some(PushPolicy::Always), ..Request::default() };
    names_after(&project, &first, &registry, &pushing).await;
    let engine = FakeEngine { registry: Some(&registry), ..FakeEngine::default() };
    let request = Request { images: vec!["app".to_owned()], ..pushing };
    assert!(names_after(&project, &engine, &registry, &request).await.is_empty());
    let load = Request { load: true, ..request };
    assert_eq!(names_after(&project, &engine, &registry, &load).await, APP);
    assert!(engine.built_names().is_empty());
    let loaded = project.load();
    assert!(loaded.images[&image("app-v")].aliases.is_empty(), "a name is of one image");
}
