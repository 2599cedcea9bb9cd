//! Which images a name means, and in which direction it reaches.

use std::collections::BTreeMap;

use dockit_core::backend::NamedBackend;
use dockit_core::events::Silent;
use dockit_core::graph::UnknownKind;
use dockit_core::plan::Action;
use dockit_core::story::{self, Request, Services};
use dockit_core::{Error, ImageGraph};
use tokio_util::sync::CancellationToken;

use crate::support::{FakeEngine, MemoryRegistry, TestProject, diamond, image};

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn selected(project: &TestProject, names: &[&str]) -> Vec<String> {
    let project = project.load();
    let by_project = project.select(&texts(names)).unwrap();
    let by_graph = ImageGraph::new(&project).unwrap().select(&texts(names)).unwrap();
    assert_eq!(by_project, by_graph, "{names:?}");
    by_project.iter().map(ToString::to_string).collect()
}

fn with_variants() -> TestProject {
    let dockerfile = "FROM scratch\n";
    TestProject::new(&[
        (
            "dockit.toml",
            "[images.app]\n[images.app.variants.x]\n[images.app.variants.y]\n\
             [images.\"ci/lint\"]\n\
             [images.only]\nonly-variants = true\n[images.only.variants.z]\n",
        ),
        ("app/Dockerfile", dockerfile),
        ("ci/lint/Dockerfile", dockerfile),
        ("only/Dockerfile", dockerfile),
    ])
}

#[test]
fn a_name_is_one_image_and_a_glob_is_all_that_it_matches() {
    let project = with_variants();
    let all = ["app", "app-x", "app-y", "ci/lint", "only-z"];
    for (names, expected) in [
        (&[][..], &all[..]),
        (&["app"], &["app"]),
        (&["app-*"], &["app-x", "app-y"]),
        (&["app*"], &["app", "app-x", "app-y"]),
        (&["*"], &all),
        (&["*t"], &["ci/lint"]),
        (&["c?/l*"], &["ci/lint"]),
        (&["app-[x-z]", "only-z"], &["app-x", "app-y", "only-z"]),
        (&["app-[!x]", "app-y"], &["app-y"]),
    ] {
        assert_eq!(selected(&project, names), expected, "{names:?}");
    }
}

#[test]
fn what_means_no_image_is_an_error() {
    let graph = ImageGraph::new(&with_variants().load()).unwrap();
    for (name, kind, message) in [
        ("ap", UnknownKind::Name, "no image is called \"ap\""),
        ("db-*", UnknownKind::Glob, "no image matches \"db-*\""),
        ("app[", UnknownKind::InvalidGlob, "\"app[\" is no glob"),
        (
            "only",
            UnknownKind::OnlyVariants(vec![image("only-z")]),
            "no image is called \"only\": there are only its variants only-z",
        ),
    ] {
        let error = graph.select(&texts(&["app", name])).unwrap_err();
        assert_eq!(error.kind, kind, "{name}");
        assert!(error.to_string().starts_with(message), "{error}");
    }
    assert_eq!(graph.select(&texts(&["ap"])).unwrap_err().nearest.as_deref(), Some("app"));
    // Where one image is meant, a glob is none.
    assert_eq!(graph.named("app*").unwrap_err().kind, UnknownKind::Name);
    assert_eq!(graph.named("app-x").unwrap(), image("app-x"));
}

async fn planned(
    project: &TestProject,
    registry: &MemoryRegistry,
    names: &[&str],
    with_dependents: bool,
) -> Result<BTreeMap<String, Action>, Error> {
    let engine = FakeEngine { registry: Some(registry), ..FakeEngine::default() };
    let services = Services {
        registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    let request = Request { images: texts(names), with_dependents, ..Request::default() };
    let planned = story::plan(&project.load(), &request, &services).await?;
    Ok(planned.plan.steps.into_iter().map(|it| (it.image.to_string(), it.action)).collect())
}

fn actions(planned: &BTreeMap<String, Action>) -> Vec<(&str, &str)> {
    planned.iter().map(|(name, action)| (name.as_str(), action.as_str())).collect()
}

/// Downwards only: what is named, and of what it needs whatever is absent.
#[tokio::test]
async fn a_name_reaches_what_it_needs_and_nothing_that_needs_it() {
    let (project, registry) = (diamond("r.example/p"), MemoryRegistry::default());
    let plan = planned(&project, &registry, &["left"], false).await.unwrap();
    assert_eq!(actions(&plan), [("base", "build"), ("left", "build")]);
    let plan = planned(&project, &registry, &["base"], false).await.unwrap();
    assert_eq!(actions(&plan), [("base", "build")]);
}

/// Upwards as well, through other images; and what those need is implied.
#[tokio::test]
async fn with_dependents_a_name_reaches_everything_that_needs_it() {
    let (project, registry) = (diamond("r.example/p"), MemoryRegistry::default());
    let plan = planned(&project, &registry, &["left"], true).await.unwrap();
    let build = |names: &[&'static str]| -> Vec<(&str, &str)> {
        names.iter().map(|name| (*name, "build")).collect()
    };
    assert_eq!(actions(&plan), build(&["base", "left", "right", "top"]));
    let plan = planned(&project, &registry, &["base"], true).await.unwrap();
    assert_eq!(actions(&plan), build(&["base", "left", "right", "top"]));
    let plan = planned(&project, &registry, &["alone"], true).await.unwrap();
    assert_eq!(actions(&plan), build(&["alone"]));
    let graph = ImageGraph::new(&project.load()).unwrap();
    let reached = graph.with_dependents(&[image("left")].into());
    assert_eq!(reached, [image("left"), image("top")].into(), "right is only needed");
}

#[tokio::test(start_paused = true)]
async fn a_run_with_dependents_builds_just_these() {
    let (project, registry) = (diamond("r.example/p"), MemoryRegistry::default());
    let engine = FakeEngine { registry: Some(&registry), ..FakeEngine::default() };
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    let request = Request { images: texts(&["l*"]), with_dependents: true, ..Request::default() };
    let cancel = CancellationToken::new();
    let built = story::build(&project.load(), &request, &services, &cancel).await.unwrap();
    assert!(built.report.succeeded());
    let mut names = engine.built_names();
    names.sort();
    assert_eq!(names, ["base", "left", "right", "top"]);
}
