//! Images that are built again under the key that they have.

use std::collections::BTreeSet;

use dockit_core::backend::{BackendErrorKind, NamedBackend};
use dockit_core::events::Silent;
use dockit_core::execute::{ImageErrorKind, ImageReport, RunReport, Status};
use dockit_core::lookup::{Lookups, Presence};
use dockit_core::moving_tags::recorded;
use dockit_core::plan::{Plan, PlanOptions, Reason};
use dockit_core::story::{self, Request, Services};
use dockit_core::{Error, ImageGraph, Lockfile, PushPolicy};
use dockit_registry::{Digest, Reference};
use tokio_util::sync::CancellationToken;

use crate::support::{
    FakeEngine, MemoryRegistry, TestProject, diamond, image, rival_config, short,
};

const REGISTRY: &str = "r.example/p";

fn pushing() -> Request {
    Request { push: Some(PushPolicy::Always), ..Request::default() }
}

fn replacing(images: &[&str]) -> Request {
    let images = images.iter().map(|name| (*name).to_owned()).collect();
    Request { images, replace: true, ..pushing() }
}

async fn build(
    project: &TestProject,
    registry: &MemoryRegistry,
    engine: &FakeEngine<'_>,
    request: &Request,
) -> Result<RunReport, Error> {
    let services =
        Services { registry, engine, backends: &[NamedBackend::only(engine)], observer: &Silent };
    let built =
        story::build(&project.load(), request, &services, &CancellationToken::new()).await?;
    built.recorded.unwrap();
    Ok(built.report)
}

fn engine<'a>(registry: &'a MemoryRegistry, nonce: &str) -> FakeEngine<'a> {
    FakeEngine { registry: Some(registry), nonce: nonce.to_owned(), ..FakeEngine::default() }
}

fn of<'a>(report: &'a RunReport, name: &str) -> &'a ImageReport {
    report.image(&image(name)).unwrap()
}

fn on_tag(registry: &MemoryRegistry, report: &ImageReport) -> Option<Digest> {
    registry.digest_of(&report.reference.to_string())
}

#[test]
fn all_that_depends_on_what_is_replaced_is_built_on_it() {
    let project = diamond(REGISTRY);
    let graph = ImageGraph::new(&project.load()).unwrap();
    let keys = project.keys();
    let present = || Presence::Registry { digest: Digest::of(b"old"), stale_tags: Vec::new() };
    let plan = |absent: &str, selected: &[&str]| {
        let lookups: Lookups = graph
            .order()
            .iter()
            .map(|name| {
                let presence = if name.as_str() == absent { Presence::Absent } else { present() };
                (name.clone(), presence)
            })
            .collect();
        let options = PlanOptions {
            selected: selected.iter().map(|name| image(name)).collect(),
            replace: BTreeSet::from([image("left")]),
            ..PlanOptions::default()
        };
        let plan = Plan::decide(&graph, &keys, &lookups, &options);
        let step = |name: &str| {
            let step = plan.step(&image(name)).unwrap();
            (step.action.as_str(), step.reason.clone(), step.replace)
        };
        (step("base"), step("left"), step("top"))
    };
    let replaced = Reason::DependencyReplaced(vec![image("left")]);
    assert_eq!(
        plan("", &["left", "top"]),
        (
            ("reuse", Reason::Present, false),
            ("build", Reason::Rebuild, true),
            ("build", replaced, true)
        )
    );
    let (_, _, absent) = plan("top", &["left", "top"]);
    assert_eq!(absent, ("build", Reason::Absent { after: vec![image("left")] }, true));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_image_moves_its_tag_and_says_what_it_was_on() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let pin = |request: Request| Request { pin: true, ..request };
    let first = build(&project, &registry, &engine(&registry, "1"), &pin(pushing())).await.unwrap();
    let again = engine(&registry, "2");
    let second = build(&project, &registry, &again, &pin(replacing(&["left"]))).await.unwrap();
    assert_eq!(again.built_names(), ["left", "top"]);
    let lockfile = Lockfile::load(&project.root().join("dockit.lock")).unwrap();
    for name in ["left", "top"] {
        let (old, new) = (of(&first, name), of(&second, name));
        assert_eq!((new.status, new.pushed, &new.key), (Status::Built, true, &old.key));
        assert_eq!(new.replaced, old.digest);
        assert_ne!(new.digest, old.digest);
        assert_eq!(on_tag(&registry, new), new.digest);
        let locked = lockfile.image(&image(name)).unwrap();
        assert_eq!(locked.reference.digest(), new.digest.as_ref());
        // What it was on is there, and the image says which that is.
        let repository = new.reference.repository();
        let place = repository.with_digest(old.digest.clone().unwrap());
        dockit_registry::Registry::manifest(&registry, &place).await.unwrap();
        let digest = new.digest.as_ref().unwrap();
        let records = recorded(&registry, repository, digest, &new.key.tag()).await.unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].replaced, old.digest);
        let origins = dockit_core::inputs::origins(&registry, repository, digest).await.unwrap();
        assert_eq!(origins[0].replaced, old.digest);
    }
    let built = again.built.lock().unwrap();
    let request = |name: &str| built.iter().find(|request| short(&request.name) == name).unwrap();
    assert!(!request("left").layer_cache && request("top").layer_cache);
    let dockerfile = String::from_utf8_lossy(&request("top").dockerfile).into_owned();
    let digest = of(&second, "left").digest.clone().unwrap();
    assert!(dockerfile.starts_with(&format!("FROM r.example/p/left@{digest}\n")), "{dockerfile}");
}

#[tokio::test(start_paused = true)]
async fn what_comes_out_the_same_replaces_nothing() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let first = build(&project, &registry, &engine(&registry, ""), &pushing()).await.unwrap();
    let request = replacing(&["alone"]);
    let second = build(&project, &registry, &engine(&registry, ""), &request).await.unwrap();
    let alone = of(&second, "alone");
    assert_eq!((alone.status, &alone.replaced), (Status::Built, &None));
    assert_eq!(alone.digest, of(&first, "alone").digest);
}

#[tokio::test(start_paused = true)]
async fn a_push_that_is_tried_again_still_replaces() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let first = build(&project, &registry, &engine(&registry, "1"), &pushing()).await.unwrap();
    let again = engine(&registry, "2");
    again.push_failures.lock().unwrap().push(BackendErrorKind::RegistryPassing);
    let second = build(&project, &registry, &again, &replacing(&["alone"])).await.unwrap();
    assert_eq!(of(&second, "alone").replaced, of(&first, "alone").digest);
    assert_eq!(again.pushed.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn of_two_replacing_runs_both_end_with_the_same_digest() {
    let project = diamond(REGISTRY);
    let key = project.key("alone");
    // The rival replaces while this run builds, or after it has pushed.
    for late in [false, true] {
        let registry = MemoryRegistry::default();
        build(&project, &registry, &engine(&registry, "1"), &pushing()).await.unwrap();
        let mut again = engine(&registry, "2");
        let config = rival_config(&key);
        if late {
            again.after_push = Some(Box::new(move |registry, name: &Reference| {
                registry.push(name, &config);
            }));
        } else {
            again.build_time = std::time::Duration::from_secs(10);
        }
        let request = replacing(&["alone"]);
        let run = build(&project, &registry, &again, &request);
        let rival = async {
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            if !late {
                let tag = format!("{REGISTRY}/alone:{}", key.replace(':', "-"));
                registry.push(&tag.parse().unwrap(), &rival_config(&key));
            }
        };
        let (report, ()) = tokio::join!(run, rival);
        let report = report.unwrap();
        let alone = of(&report, "alone");
        assert_eq!((alone.status, alone.pushed, &alone.replaced), (Status::Reused, late, &None));
        assert_eq!(on_tag(&registry, alone), alone.digest);
        assert_eq!(again.pushed.lock().unwrap().len(), usize::from(late));
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_leaves_the_tag_where_it_was() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let first = build(&project, &registry, &engine(&registry, "1"), &pushing()).await.unwrap();
    let mut broken = engine(&registry, "2");
    broken.broken.insert("left".to_owned(), BackendErrorKind::Build);
    let report = build(&project, &registry, &broken, &replacing(&["base"])).await.unwrap();
    for (name, status) in [
        ("base", Status::Built),
        ("left", Status::Failed),
        ("right", Status::Built),
        ("top", Status::Skipped),
    ] {
        let (old, new) = (of(&first, name), of(&report, name));
        assert_eq!(new.status, status, "{name}");
        assert_eq!(on_tag(&registry, new) == old.digest, status != Status::Built, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_cannot_move_is_told_from_other_refusals() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let first = build(&project, &registry, &engine(&registry, "1"), &pushing()).await.unwrap();
    for (words, kind) in [
        (
            "tag invalid: The image tag 'k1' already exists in the 'a' repository and cannot be \
             overwritten because the tag is immutable.",
            ImageErrorKind::Immutable,
        ),
        (
            "cannot update tag k1. The repository has enabled tag immutability",
            ImageErrorKind::Immutable,
        ),
        ("denied: requested access to the resource is denied", ImageErrorKind::Registry),
    ] {
        let mut again = engine(&registry, "2");
        again.push_words = words.to_owned();
        again.push_failures.lock().unwrap().push(BackendErrorKind::Registry);
        let report = build(&project, &registry, &again, &replacing(&["alone"])).await.unwrap();
        let error = of(&report, "alone").error.clone().unwrap();
        assert_eq!(error.kind, kind, "{error}");
        let old = of(&first, "alone").digest.as_ref().unwrap().as_str();
        assert_eq!(error.message.contains(old), kind == ImageErrorKind::Immutable, "{error}");
    }
}

#[tokio::test]
async fn replacing_needs_a_registry_and_a_push() {
    let local =
        TestProject::new(&[("dockit.toml", "[images.a]\n"), ("a/Dockerfile", "FROM scratch\n")]);
    let (registry, engine) = (MemoryRegistry::default(), FakeEngine::default());
    let request = Request { replace: true, ..Request::default() };
    let error = build(&local, &registry, &engine, &request).await.unwrap_err();
    assert!(error.to_string().contains("no registry holds a"), "{error}");
    for (request, words) in [
        (Request { replace: true, ..Request::default() }, "does not push"),
        (Request { push: Some(PushPolicy::Never), ..replacing(&[]) }, "does not push"),
        (Request { pin: true, locked: true, ..replacing(&[]) }, "than the lockfile"),
    ] {
        let error = build(&diamond(REGISTRY), &registry, &engine, &request).await.unwrap_err();
        assert!(matches!(error, Error::Usage(_)) && error.to_string().contains(words), "{error}");
    }
    assert!(engine.built_names().is_empty());
}
