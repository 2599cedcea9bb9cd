//! Moving external images in the lockfile.

use std::sync::atomic::Ordering;

use dockit_core::lockfile::{LockedBase, LockedImage, Lockfile};
use dockit_core::update::{BaseStatus, Unused, Update, UpdateError, UpdateRequest, update};
use dockit_core::{Error, ImageGraph, ImageKey, KeyOptions};
use dockit_registry::{Digest, ErrorKind, Reference};
use time::macros::date;

use crate::support::{MemoryRegistry, TestProject, image};

fn project() -> TestProject {
    TestProject::new(&[
        (
            "dockit.toml",
            "[images.base]\n[images.app]\n[images.tool]\nrefresh = \"weekly\"\n\
             [images.alone]\n[images.set]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n\
             repository = \"r.example/p/set\"\n",
        ),
        ("base/Dockerfile", "FROM r.example/debian:12\n"),
        ("app/Dockerfile", "FROM base\nRUN x\n"),
        ("tool/Dockerfile", "FROM r.example/tool\n"),
        ("alone/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n"),
        ("set/Dockerfile", "FROM r.example/both:1\n"),
    ])
}

fn registry() -> MemoryRegistry {
    let registry = MemoryRegistry::default();
    for name in ["r.example/debian:12", "r.example/tool:latest", "r.example/both:1"] {
        registry.push_index(&name.parse().unwrap(), &["amd64", "arm64"], "first");
    }
    registry
}

fn keys() -> KeyOptions {
    KeyOptions { today: date!(2026 - 11 - 18), ..KeyOptions::default() }
}

async fn asked(
    test: &TestProject,
    registry: &MemoryRegistry,
    bases: &[&str],
) -> Result<Update, UpdateError> {
    let bases: Vec<String> = bases.iter().map(ToString::to_string).collect();
    let project = test.load();
    let graph = ImageGraph::new(&project).unwrap();
    let request = UpdateRequest { bases: &bases, keep_unused: false };
    update(&project, &graph, &request, registry, &keys()).await
}

/// Updates and writes.
async fn updated(test: &TestProject, registry: &MemoryRegistry, bases: &[&str]) -> Update {
    let update = asked(test, registry, bases).await.unwrap();
    update.write(&test.load()).unwrap();
    update
}

fn lockfile(test: &TestProject) -> Lockfile {
    Lockfile::load(&test.root().join("dockit.lock")).unwrap()
}

fn statuses(update: &Update) -> Vec<(String, BaseStatus)> {
    update.bases.iter().map(|base| (base.reference.to_string(), base.status())).collect()
}

/// Each affected image, whether by itself, and through which.
fn images(update: &Update) -> Vec<(String, bool, Vec<String>)> {
    let images = update.images.iter().map(|affected| {
        let through = affected.through.iter().map(ToString::to_string).collect();
        (affected.image.to_string(), affected.is_direct(), through)
    });
    images.collect()
}

#[tokio::test]
async fn a_base_that_moved_changes_what_is_built_on_it() {
    let (test, registry) = (project(), registry());
    let first = updated(&test, &registry, &[]).await;
    assert!(first.bases.iter().all(|base| base.status() == BaseStatus::Added));
    assert_eq!(first.epochs.len(), 1);
    let before = lockfile(&test);
    let again = asked(&test, &registry, &[]).await.unwrap();
    assert!(!again.is_change());
    assert_eq!(images(&again), []);

    let debian: Reference = "r.example/debian:12".parse().unwrap();
    let old = registry.digest_of("r.example/debian:12").unwrap();
    let new = registry.push_index(&debian, &["amd64", "arm64"], "second");
    registry.tags_read.lock().unwrap().clear();
    let moved = asked(&test, &registry, &[]).await.unwrap();
    assert_eq!(
        statuses(&moved),
        [
            ("r.example/both:1".to_owned(), BaseStatus::Unchanged),
            ("r.example/debian:12".to_owned(), BaseStatus::Moved),
            ("r.example/tool:latest".to_owned(), BaseStatus::Unchanged),
        ]
    );
    let base = &moved.bases[1];
    assert_eq!((base.from.as_ref(), &base.to), (Some(&old), &new));
    assert_eq!(base.platforms.len(), 1, "the project uses one");
    assert_ne!(base.platforms[0].from.as_ref(), Some(&base.platforms[0].to));
    assert_eq!(
        images(&moved),
        [("base".to_owned(), true, vec![]), ("app".to_owned(), false, vec!["base".to_owned()])]
    );
    let tags = registry.tags_read.lock().unwrap().clone();
    assert_eq!(tags, [], "what a tag is on is asked for once, and read by digest");
    // What is said is what the keys are.
    assert_eq!(lockfile(&test), before, "nothing is written before it is asked for");
    let project = test.load();
    moved.write(&project).unwrap();
    let (then, now) = (test.keys_with(&before), test.keys_with(&lockfile(&test)));
    for name in ["base", "app", "tool", "alone", "set"] {
        let (then, now) = (then.key(&image(name)), now.key(&image(name)));
        let said = moved.images.iter().find(|affected| affected.image.as_str() == name);
        assert_eq!(said.is_some(), then != now, "{name}");
        if let Some(said) = said {
            assert_eq!((said.from, said.to), (then, now), "{name}");
        }
    }
}

#[tokio::test]
async fn all_platforms_move_together_and_an_index_is_affected_as_one() {
    let (test, registry) = (project(), registry());
    updated(&test, &registry, &[]).await;
    let both: Reference = "r.example/both:1".parse().unwrap();
    let new = registry.push_index(&both, &["amd64", "arm64"], "second");
    let moved = updated(&test, &registry, &["r.example/both:*"]).await;
    assert_eq!(moved.bases.len(), 1);
    assert_eq!(moved.bases[0].platforms.len(), 2);
    assert_eq!(images(&moved), [("set".to_owned(), true, vec![])]);
    let entry = lockfile(&test).base_entry(&both).unwrap().clone();
    assert_eq!((entry.digest, entry.platforms.len()), (new, 2));
}

#[tokio::test]
async fn only_what_is_named_moves() {
    let (test, registry) = (project(), registry());
    updated(&test, &registry, &[]).await;
    for name in ["r.example/debian:12", "r.example/tool:latest"] {
        registry.push_index(&name.parse().unwrap(), &["amd64"], "second");
    }
    let before = lockfile(&test);
    let moved = updated(&test, &registry, &["r.example/tool"]).await;
    assert_eq!(statuses(&moved), [("r.example/tool:latest".to_owned(), BaseStatus::Moved)]);
    assert_eq!(images(&moved), [("tool".to_owned(), true, vec![])]);
    let debian = "r.example/debian:12".parse().unwrap();
    assert_eq!(lockfile(&test).base_entry(&debian), before.base_entry(&debian));
    let error = asked(&test, &registry, &["r.example/debian:13"]).await.unwrap_err();
    assert!(
        matches!(&error, UpdateError::UnknownBase { nearest: Some(near), .. } if near.contains("debian:12")),
        "{error}"
    );
}

#[tokio::test]
async fn where_one_reference_fails_nothing_moves() {
    let (test, registry) = (project(), registry());
    updated(&test, &registry, &[]).await;
    let before = std::fs::read(test.root().join("dockit.lock")).unwrap();
    registry.push_index(&"r.example/debian:12".parse().unwrap(), &["amd64"], "second");
    registry.set(&"r.example/tool:latest".parse().unwrap(), None);
    let error = asked(&test, &registry, &[]).await.unwrap_err();
    let UpdateError::Project(Error::Resolve(error)) = error else { panic!("{error}") };
    let failed: Vec<String> =
        error.failures.iter().map(|(base, _)| base.reference.to_string()).collect();
    assert_eq!(failed, ["r.example/tool:latest"]);
    // A platform that the new image lacks.
    registry.push_index(&"r.example/tool:latest".parse().unwrap(), &["arm64"], "second");
    asked(&test, &registry, &[]).await.unwrap_err();
    *registry.failure.lock().unwrap() = Some(ErrorKind::Denied);
    let error = asked(&test, &registry, &[]).await.unwrap_err();
    let UpdateError::Project(Error::Resolve(error)) = error else { panic!("{error}") };
    assert_eq!(error.failures.len(), 3, "all of them are named");
    assert_eq!(std::fs::read(test.root().join("dockit.lock")).unwrap(), before);
}

#[tokio::test]
async fn a_reference_with_a_digest_is_learnt_and_never_moves() {
    let registry = registry();
    let digest = registry.digest_of("r.example/debian:12").unwrap();
    let test = TestProject::new(&[
        ("dockit.toml", "[images.a]\n"),
        ("a/Dockerfile", &format!("FROM r.example/debian:12@{digest}\n")),
    ]);
    let first = updated(&test, &registry, &[]).await;
    assert_eq!(first.bases[0].status(), BaseStatus::Added);
    registry.push_index(&"r.example/debian:12".parse().unwrap(), &["amd64"], "second");
    registry.heads.store(0, Ordering::Relaxed);
    *registry.failure.lock().unwrap() = Some(ErrorKind::Denied);
    let again = asked(&test, &registry, &[]).await.unwrap();
    assert_eq!(again.bases[0].status(), BaseStatus::Unchanged);
    assert_eq!(registry.heads.load(Ordering::Relaxed), 0, "nobody is asked");
}

#[tokio::test]
async fn another_platform_completes_an_entry_that_stays() {
    let registry = registry();
    let files = |platform: &str| {
        TestProject::new(&[
            ("dockit.toml", &format!("[images.a]\nplatforms = [\"{platform}\"]\n")),
            ("a/Dockerfile", "FROM r.example/debian:12\n"),
        ])
    };
    let (one, other) = (files("linux/amd64"), files("linux/arm64"));
    updated(&one, &registry, &[]).await;
    std::fs::copy(one.root().join("dockit.lock"), other.root().join("dockit.lock")).unwrap();
    let update = updated(&other, &registry, &["r.example/debian:12"]).await;
    assert_eq!(update.bases[0].status(), BaseStatus::Completed);
    let debian = "r.example/debian:12".parse().unwrap();
    assert_eq!(lockfile(&other).base_entry(&debian).unwrap().platforms.len(), 2);
    // The platform that nothing uses goes when everything is updated.
    let update = updated(&other, &registry, &[]).await;
    let amd = "linux/amd64".parse().unwrap();
    assert_eq!(update.dropped, [Unused::Platform(debian.clone(), amd)]);
    assert_eq!(lockfile(&other).base_entry(&debian).unwrap().platforms.len(), 1);
}

#[tokio::test]
async fn epochs_go_on_and_never_back() {
    let (test, registry) = (project(), registry());
    let file = test.root().join("dockit.lock");
    let epoch = |text: &str| {
        Lockfile::edit(&file, &test.root().join(".dockit"), |lockfile| {
            lockfile.set_epoch(image("tool"), text.parse().unwrap());
        })
        .unwrap();
    };
    updated(&test, &registry, &[]).await;
    let now = lockfile(&test).epoch(&image("tool")).unwrap();
    assert_eq!(now.to_string(), "2026-W47");
    for (recorded, moves) in
        [("2026-W46", true), ("2026-W47", false), ("2026-W48", false), ("2026-11", true)]
    {
        epoch(recorded);
        let update = asked(&test, &registry, &[]).await.unwrap();
        assert_eq!(update.epochs.len(), usize::from(moves), "{recorded}");
        if moves {
            assert_eq!(update.epochs[0].from.unwrap().to_string(), recorded);
            assert_eq!(update.epochs[0].to, now);
        }
    }
    epoch("2026-W46");
    let update = asked(&test, &registry, &["r.example/debian:12"]).await.unwrap();
    assert_eq!(update.epochs, [], "a base alone was asked for");
    let update = updated(&test, &registry, &[]).await;
    assert_eq!(images(&update), [("tool".to_owned(), true, vec![])]);
    assert_eq!(update.images[0].changes[0].what.as_str(), "epoch");
}

#[tokio::test]
async fn what_nothing_uses_goes_unless_the_lockfile_is_of_several_projects() {
    let (test, registry) = (project(), registry());
    updated(&test, &registry, &[]).await;
    let clean = lockfile(&test);
    let gone: Reference = "r.example/gone:1".parse().unwrap();
    let key: ImageKey = format!("k1:{}", "12".repeat(32)).parse().unwrap();
    let reference: Reference = format!("r.example/old:1@{}", Digest::of(b"old")).parse().unwrap();
    let add = |lockfile: &mut Lockfile| {
        let (digest, platforms) = (Digest::of(b"gone"), std::collections::BTreeMap::new());
        lockfile.move_base(gone.clone(), LockedBase { digest, platforms });
        lockfile.set_epoch(image("base"), "2026-W40".parse().unwrap());
        for name in ["old", "app"] {
            let image_entry = LockedImage { key, reference: reference.clone() };
            lockfile.update_image(image(name), image_entry);
        }
    };
    let file = test.root().join("dockit.lock");
    let dirty = Lockfile::edit(&file, &test.root().join(".dockit"), add).unwrap();
    // A lockfile elsewhere may be of others, too.
    let text = std::fs::read_to_string(test.root().join("dockit.toml")).unwrap();
    test.write("below/dockit.toml", &format!("[project]\nlockfile = \"../dockit.lock\"\n{text}"));
    for name in ["base", "app", "tool", "alone", "set"] {
        let path = format!("{name}/Dockerfile");
        let dockerfile = std::fs::read_to_string(test.root().join(&path)).unwrap();
        test.write(&format!("below/{path}"), &dockerfile);
    }
    let below = dockit_core::config::load(
        &test.root().join("below/dockit.toml"),
        &dockit_core::config::LoadOptions::default(),
    )
    .unwrap();
    let graph = ImageGraph::new(&below).unwrap();
    let request = UpdateRequest::default();
    let kept = update(&below, &graph, &request, &registry, &keys()).await.unwrap();
    assert_eq!(kept.dropped, []);
    let named = asked(&test, &registry, &["*"]).await.unwrap();
    assert_eq!(named.dropped, []);

    let update = updated(&test, &registry, &[]).await;
    assert_eq!(
        update.dropped,
        [Unused::Base(gone), Unused::Epoch(image("base")), Unused::Image(image("old"))]
    );
    assert_eq!(images(&update), [], "no key is another one");
    let after = lockfile(&test);
    assert_eq!(after.bases().count(), clean.bases().count());
    assert_eq!(after.image(&image("app")), dirty.image(&image("app")), "it is there still");
    assert_eq!(after.images().count(), 1);
}

#[tokio::test]
async fn what_others_write_meanwhile_stays() {
    let (test, registry) = (project(), registry());
    let update = asked(&test, &registry, &[]).await.unwrap();
    let file = test.root().join("dockit.lock");
    Lockfile::edit(&file, &test.root().join(".dockit"), |lockfile| {
        let (digest, platforms) = (Digest::of(b"other"), std::collections::BTreeMap::new());
        lockfile.move_base("r.example/other:1".parse().unwrap(), LockedBase { digest, platforms });
    })
    .unwrap();
    update.write(&test.load()).unwrap();
    assert_eq!(lockfile(&test).bases().count(), 4);
}
