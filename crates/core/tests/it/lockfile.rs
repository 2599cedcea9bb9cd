//! Resolving bases into the lockfile.

use dockit_core::bases::{lock_bases, missing_bases};
use dockit_core::lockfile::Lockfile;
use dockit_core::{ImageGraph, compute_keys};
use dockit_registry::ErrorKind;

use crate::support::{MemoryRegistry, TestProject, all};

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
    lock_bases(&mut lockfile, &missing, &registry).await.unwrap();
    assert!(missing_bases(&graph, &all(&graph), &lockfile).is_empty());
    let debian = "r.example/debian:12".parse().unwrap();
    let entry = lockfile.base(&debian, &"linux/amd64".parse().unwrap()).unwrap();
    assert_eq!(entry.env, ["PATH=/bin"]);
    assert_eq!(entry.onbuild, ["RUN x"]);
    assert!(compute_keys(&loaded, &graph, &all(&graph), &lockfile).is_ok());
}

#[tokio::test]
async fn one_base_that_cannot_be_resolved_leaves_the_lockfile_as_it_was() {
    let (project, registry) = (project(), registry());
    let loaded = project.load();
    let graph = ImageGraph::new(&loaded).unwrap();
    let mut lockfile = Lockfile::default();
    let missing = missing_bases(&graph, &all(&graph), &lockfile);
    *registry.failure.lock().unwrap() = Some(ErrorKind::Denied);
    let error = lock_bases(&mut lockfile, &missing, &registry).await.unwrap_err();
    assert_eq!(error.failures.len(), 2);
    assert_eq!(lockfile, Lockfile::default());
}
