//! What registries hold of a project's images.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use dockit_core::lockfile::LockedImage;
use dockit_core::lookup::content_reference;
use dockit_core::remote::{RemoteState, look_at};
use dockit_core::{ImageGraph, ImageName, Lockfile};
use dockit_registry::{Digest, Error, ErrorKind, Reference, Repository, Tag, TagLists};
use futures_util::stream::{self, BoxStream, StreamExt as _};

use crate::support::{MemoryRegistry, TestProject, all, image};

/// Gives every repository these tags, or fails in the middle.
#[derive(Default)]
struct Lists {
    tags: usize,
    fails: Option<ErrorKind>,
    asked: Mutex<Vec<Repository>>,
}

impl TagLists for Lists {
    fn tags<'a>(&'a self, repository: &'a Repository) -> BoxStream<'a, Result<Tag, Error>> {
        self.asked.lock().unwrap().push(repository.clone());
        let tags = (0..self.tags).map(|number| Ok(format!("t{number}").parse().unwrap()));
        let failure = self.fails.clone().map(|kind| Err(Error::new(kind, "no list")));
        stream::iter(tags.chain(failure)).boxed()
    }
}

/// `a` has two moving tags, `b` and `c` have none.
fn project() -> TestProject {
    TestProject::new(&[
        (
            "dockit.toml",
            "[project]\nregistry = \"r.example\"\n\
             [images.a]\ntags = [\"latest\", \"old\"]\n\
             [images.b]\n[images.c]\n",
        ),
        ("a/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("a/f", "a"),
        ("b/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("b/f", "b"),
        ("c/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("c/f", "c"),
    ])
}

struct Asked {
    project: TestProject,
    registry: MemoryRegistry,
    lists: Lists,
    lockfile: Lockfile,
    /// Images whose keys are not known.
    keyless: BTreeSet<ImageName>,
}

impl Asked {
    fn new() -> Self {
        Self {
            project: project(),
            registry: MemoryRegistry::default(),
            lists: Lists { tags: 3, ..Lists::default() },
            lockfile: Lockfile::default(),
            keyless: BTreeSet::new(),
        }
    }

    fn content(&self, name: &str) -> Reference {
        let key = self.project.keys().get(&image(name)).unwrap().key;
        content_reference(&self.project.load().images[&image(name)], &key)
    }

    async fn ask(&self) -> BTreeMap<ImageName, RemoteState> {
        let loaded = self.project.load();
        let graph = ImageGraph::new(&loaded).unwrap();
        let keys = self.project.keys();
        let keys = keys
            .iter()
            .filter(|(name, _)| !self.keyless.contains(*name))
            .map(|(name, keyed)| (name.clone(), keyed.key))
            .collect();
        look_at(&graph, &all(&graph), &keys, &self.lockfile, &self.registry, &self.lists).await
    }
}

fn there(answer: &Result<Option<Digest>, Error>) -> Option<Digest> {
    answer.clone().unwrap()
}

#[tokio::test]
async fn each_image_has_its_content_and_its_moving_tags() {
    let asked = Asked::new();
    let a = asked.registry.push(&asked.content("a"), b"a");
    let latest: Reference = "r.example/a:latest".parse().unwrap();
    asked.registry.push(&latest, b"a");
    let found = asked.ask().await;
    let of_a = &found[&image("a")];
    assert_eq!(of_a.digest(), Some(&a));
    let tags: Vec<_> = of_a.tags.iter().map(|(tag, at)| (tag.as_str(), there(at))).collect();
    assert_eq!(tags, [("latest", Some(a)), ("old", None)]);
    assert_eq!(of_a.tag_count.clone().unwrap(), 3);
    assert_eq!(there(found[&image("b")].content.as_ref().unwrap()), None);
    assert!(found.values().all(|image| image.errors().next().is_none()));
}

#[tokio::test]
async fn nothing_is_asked_twice() {
    let mut asked = Asked::new();
    let key = asked.project.keys().get(&image("a")).unwrap().key;
    let reference = asked.content("a").with_digest(Digest::of(b"a"));
    asked.lockfile.update_image(image("a"), LockedImage { key, reference });
    asked.ask().await;
    // Three content tags, two moving tags, and what is recorded.
    assert_eq!(asked.registry.heads.load(Ordering::Relaxed), 6);
    assert_eq!(asked.lists.asked.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn an_error_is_never_absence() {
    let mut asked = Asked::new();
    *asked.registry.failure.lock().unwrap() = Some(ErrorKind::Denied);
    asked.lists.fails = Some(ErrorKind::Denied);
    for remote in asked.ask().await.values() {
        assert_eq!(*remote.content.clone().unwrap().unwrap_err().kind(), ErrorKind::Denied);
        assert!(remote.tags.iter().all(|(_, answer)| answer.is_err()));
        assert!(remote.tag_count.is_err(), "what was counted until then is not the number");
        assert_eq!(remote.errors().count(), remote.tags.len() + 1);
    }
}

#[tokio::test]
async fn a_repository_that_is_not_there_has_no_tags() {
    let mut asked = Asked::new();
    asked.lists = Lists { fails: Some(ErrorKind::NotFound), ..Lists::default() };
    assert!(asked.ask().await.values().all(|remote| *remote.tag_count.as_ref().unwrap() == 0));
}

#[tokio::test]
async fn a_refused_count_hides_nothing_else() {
    let mut asked = Asked::new();
    asked.lists.fails = Some(ErrorKind::Denied);
    for remote in asked.ask().await.values() {
        assert!(remote.tag_count.is_err(), "what was counted until then is not the number");
        assert_eq!(remote.errors().count(), 0);
    }
}

#[tokio::test]
async fn what_the_lockfile_records_is_asked_for_by_its_digest() {
    let mut asked = Asked::new();
    let content = asked.content("c");
    let held = asked.registry.push(&content, b"recorded");
    // The tag has moved since, which does not matter.
    asked.registry.push(&content, b"other");
    let key = asked.project.keys().get(&image("c")).unwrap().key;
    for (digest, expected) in [(held.clone(), Some(held)), (Digest::of(b"gone"), None)] {
        asked.lockfile = Lockfile::default();
        let reference = content.with_digest(digest);
        let locked = LockedImage { key, reference };
        asked.lockfile.update_image(image("c"), locked);
        let found = asked.ask().await;
        let locked = found[&image("c")].locked.as_ref().unwrap();
        assert_eq!(there(&locked.held), expected);
    }
}

#[tokio::test]
async fn an_image_without_a_key_still_has_tags() {
    let mut asked = Asked::new();
    asked.keyless.insert(image("a"));
    let found = asked.ask().await;
    assert!(found[&image("a")].content.is_none());
    assert_eq!(found[&image("a")].tags.len(), 2);
}

#[tokio::test]
async fn an_image_in_no_registry_is_left_out() {
    let asked = Asked {
        project: TestProject::new(&[
            ("dockit.toml", "[images.a]\n"),
            ("a/Dockerfile", "FROM scratch\nCOPY f /\n"),
            ("a/f", ""),
        ]),
        ..Asked::new()
    };
    assert!(asked.ask().await.is_empty());
    assert_eq!(asked.registry.heads.load(Ordering::Relaxed), 0);
}
