//! Resolving bases into the lockfile.

use dockit_core::bases::{missing_bases, resolve_bases};
use dockit_core::lockfile::Lockfile;
use dockit_core::{ImageGraph, KeyOptions, compute_keys};
use dockit_registry::ErrorKind;

use crate::support::{MemoryRegistry, TestProject, all, image};

fn project() -> TestProject {
    TestProject::new(&[
        ("dockit.toml", "[images.a]\n"),
        ("a/Dockerfile", "FROM r.example/debian:12\nCOPY --from=r.example/tool /t /t\n"),
    ])
}

fn registry() -> MemoryRegistry {
    let registry = MemoryRegistry::default();
    let config = br#"{"os":"linux","architecture":"amd64",
        "config":{"Env":["PATH=/bin"],"OnBuild":["RUN x"]}}"#;
    registry.push(&"r.example/debian:12".parse().unwrap(), config);
    registry.push(&"r.example/tool:latest".parse().unwrap(), config);
    registry
}

#[tokio::test]
async fn missing_bases_are_resolved_and_then_keys_are_pure() {
    let (project, registry) = (project(), registry());
    let loaded = project.load();
    let graph = ImageGraph::new(&loaded).unwrap();
    let mut lockfile = Lockfile::default();
    let missing = missing_bases(&graph, &all(&graph), &lockfile);
    assert_eq!(missing.len(), 2);
    let resolved = resolve_bases(&missing, &lockfile, &registry).await.unwrap();
    lockfile.lock_bases(&resolved);
    assert!(missing_bases(&graph, &all(&graph), &lockfile).is_empty());
    let debian = "r.example/debian:12".parse().unwrap();
    let entry = lockfile.base(&debian, &"linux/amd64".parse().unwrap()).unwrap();
    assert_eq!(entry.env, ["PATH=/bin"]);
    assert_eq!(entry.onbuild, ["RUN x"]);
    assert!(compute_keys(&loaded, &graph, &all(&graph), &lockfile, &KeyOptions::default()).is_ok());
}

#[tokio::test]
async fn every_base_that_cannot_be_resolved_is_named() {
    let (project, registry) = (project(), registry());
    let loaded = project.load();
    let graph = ImageGraph::new(&loaded).unwrap();
    let lockfile = Lockfile::default();
    let missing = missing_bases(&graph, &all(&graph), &lockfile);
    *registry.failure.lock().unwrap() = Some(ErrorKind::Denied);
    let error = resolve_bases(&missing, &lockfile, &registry).await.unwrap_err();
    assert_eq!(error.failures.len(), 2);
}

#[tokio::test]
async fn another_platform_comes_from_the_recorded_index_though_the_tag_has_moved() {
    let project = TestProject::new(&[
        ("dockit.toml", "[images.a]\n[images.b]\nplatforms = [\"linux/arm64\"]\n"),
        ("a/Dockerfile", "FROM r.example/debian:12\n"),
        ("b/Dockerfile", "FROM r.example/debian:12\n"),
    ]);
    let registry = MemoryRegistry::default();
    let name = "r.example/debian:12".parse().unwrap();
    let first = registry.push_index(&name, &["amd64", "arm64"], "first");
    let loaded = project.load();
    let graph = ImageGraph::new(&loaded).unwrap();
    let mut lockfile = Lockfile::default();
    let one = [image("a")].into();
    let missing = missing_bases(&graph, &one, &lockfile);
    let resolved = resolve_bases(&missing, &lockfile, &registry).await.unwrap();
    lockfile.lock_bases(&resolved);
    assert_ne!(registry.push_index(&name, &["amd64", "arm64"], "second"), first);
    let missing = missing_bases(&graph, &all(&graph), &lockfile);
    assert_eq!(missing.len(), 1);
    let resolved = resolve_bases(&missing, &lockfile, &registry).await.unwrap();
    lockfile.lock_bases(&resolved);
    let entry = lockfile.base_entry(&name).unwrap();
    assert_eq!((&entry.digest, entry.platforms.len()), (&first, 2));
}

/// The tag could move between two questions.
#[tokio::test]
async fn all_platforms_of_a_reference_are_of_one_index() {
    let project = TestProject::new(&[
        ("dockit.toml", "[images.a]\n[images.b]\nplatforms = [\"linux/arm64\"]\n"),
        ("a/Dockerfile", "FROM r.example/debian:12\n"),
        ("b/Dockerfile", "FROM r.example/debian:12\n"),
    ]);
    let registry = MemoryRegistry::default();
    let name = "r.example/debian:12".parse().unwrap();
    let index = registry.push_index(&name, &["amd64", "arm64"], "first");
    let graph = ImageGraph::new(&project.load()).unwrap();
    let mut lockfile = Lockfile::default();
    let missing = missing_bases(&graph, &all(&graph), &lockfile);
    assert_eq!(missing.len(), 2);
    let resolved = resolve_bases(&missing, &lockfile, &registry).await.unwrap();
    lockfile.lock_bases(&resolved);
    assert_eq!(*registry.tags_read.lock().unwrap(), std::slice::from_ref(&name));
    let entry = lockfile.base_entry(&name).unwrap();
    assert_eq!((&entry.digest, entry.platforms.len()), (&index, 2));
}
