//! Comparing states: revisions, what was built, what was published.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use dockit_core::backend::NamedBackend;
use dockit_core::config::{LoadOptions, load};
use dockit_core::events::{Event, Observer, Silent};
use dockit_core::inputs::InputsStore;
use dockit_core::revision::{Checkout, RevisionError};
use dockit_core::source::{GitSource, Source};
use dockit_core::story::{self, Request, Services};
use dockit_core::why::{Sources, State, Why, WhyError, why};
use dockit_core::{KeyOptions, Project, PushPolicy};
use dockit_registry::{RawManifest, Reference, Registry};
use tokio_util::sync::CancellationToken;

use crate::git::{commit, git};
use crate::support::{FakeEngine, MemoryRegistry, TestProject, diamond, image};

const REGISTRY: &str = "r.example/p";

fn repository(test: &TestProject) -> String {
    git(test.root(), &["init", "--quiet"]);
    commit(test.root())
}

struct Asked<'a> {
    project: Option<&'a Project>,
    registry: Option<&'a MemoryRegistry>,
}

impl Asked<'_> {
    async fn why(&self, name: Option<&str>, from: Option<&str>, to: &str) -> Result<Why, WhyError> {
        let temporary = tempfile::tempdir().unwrap();
        let (keys, cancel) = (KeyOptions::default(), CancellationToken::new());
        let sources = Sources {
            project: self.project,
            registry: self.registry.map(|registry| registry as &dyn Registry),
            keys: &keys,
            load: LoadOptions::default(),
            temporary: temporary.path(),
            cancel: &cancel,
        };
        let from: Option<State> = from.map(|state| state.parse().unwrap());
        let answer = why(&sources, name, from.as_ref(), &to.parse().unwrap()).await;
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "it is empty again");
        answer
    }
}

/// Each image that changed, and what is said of it.
fn told(why: &Why) -> Vec<String> {
    why.images
        .iter()
        .map(|image| {
            let changes: Vec<String> = image
                .changes
                .iter()
                .map(|change| {
                    format!("{} {} {}", change.what.as_str(), change.how.as_str(), change.subject)
                })
                .collect();
            let unknown = if image.unknown.is_some() { " ?" } else { "" };
            format!("{}: {}{unknown}", image.image, changes.join(", "))
        })
        .collect()
}

#[tokio::test]
async fn a_change_is_followed_through_the_graph_and_told_once() {
    let test = diamond(REGISTRY);
    let head = repository(&test);
    test.write("base/file", "changed");
    test.write("left/file", "changed");
    let project = test.load();
    let asked = Asked { project: Some(&project), registry: None };
    let answer = asked.why(Some("top"), Some("rev:HEAD"), "worktree").await.unwrap();
    assert_eq!(
        told(&answer),
        [
            "top: dependency changed left, dependency changed right",
            "left: dependency changed base, file changed left/file",
            "base: file changed base/file",
            "right: dependency changed base",
        ]
    );
    assert_eq!(answer.from.commit.as_deref(), Some(&*head));
    assert_eq!(answer.images[0].because().collect::<Vec<_>>(), ["left", "right"]);
    let alone = asked.why(Some("alone"), Some("rev:HEAD"), "worktree").await.unwrap();
    assert_eq!(alone.from.key, alone.to.key);
    assert_eq!(told(&alone), Vec::<String>::new());
    // The other way round.
    let back = asked.why(Some("base"), Some("worktree"), &format!("rev:{head}")).await.unwrap();
    assert_eq!(told(&back), ["base: file changed base/file"]);
    let error = asked.why(Some("base"), Some("rev:nope"), "worktree").await.unwrap_err();
    assert!(
        matches!(&error, WhyError::Revision(RevisionError::Unknown { shallow: false, .. })),
        "{error}"
    );
}

#[tokio::test]
async fn a_revision_is_looked_at_as_a_whole_from_below_its_top() {
    let test = TestProject::new(&[
        ("ci/dockit.toml", "[images.a]\ncontext = \"..\"\ndockerfile = \"Dockerfile\"\n"),
        ("ci/Dockerfile", "FROM scratch\nCOPY src /src\n"),
        ("src/a", "1"),
    ]);
    repository(&test);
    let project = load(&test.root().join("ci/dockit.toml"), &LoadOptions::default()).unwrap();
    let asked = Asked { project: Some(&project), registry: None };
    let same = asked.why(Some("a"), Some("rev:HEAD"), "worktree").await.unwrap();
    assert_eq!(told(&same), Vec::<String>::new());
    // What git does not track counts here and is in no revision.
    test.write("src/untracked", "1");
    let answer = asked.why(Some("a"), Some("rev:HEAD"), "worktree").await.unwrap();
    assert_eq!(told(&answer), ["a: file added ../src/untracked"]);
    test.write("ci/dockit.toml", "[images.b]\ncontext = \"..\"\ndockerfile = \"Dockerfile\"\n");
    let project = load(&test.root().join("ci/dockit.toml"), &LoadOptions::default()).unwrap();
    let asked = Asked { project: Some(&project), registry: None };
    let error = asked.why(Some("b"), Some("rev:HEAD"), "worktree").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no image b at HEAD");
}

#[tokio::test]
async fn what_lies_beside_the_repository_is_in_no_revision() {
    for (table, outside) in [
        ("context = \"../../shared\"\ndockerfile = \"Dockerfile\"", "../../shared"),
        ("context = \"..\"\ndockerfile = \"../../shared/Dockerfile\"", "../../shared/Dockerfile"),
        ("context = \"../link\"\ndockerfile = \"Dockerfile\"", "../link"),
        (
            "context = \"..\"\ndockerfile = \"Dockerfile\"\ninputs = [\"../../shared\"]",
            "../../shared",
        ),
        (
            "context = \"..\"\ndockerfile = \"Dockerfile\"\n\
             declared-key = { v = { file = \"../../shared/a\", pattern = \".+\" } }",
            "../../shared/a",
        ),
    ] {
        let config = format!("[images.a]\n{table}\n");
        let test = TestProject::new(&[
            ("repository/ci/dockit.toml", &*config),
            ("repository/ci/Dockerfile", "FROM scratch\nCOPY a /a\n"),
            ("repository/a", "1"),
            ("shared/Dockerfile", "FROM scratch\nCOPY a /a\n"),
            ("shared/a", "1"),
        ]);
        let repository = test.root().join("repository");
        #[cfg(unix)]
        std::os::unix::fs::symlink("../shared", repository.join("link")).unwrap();
        git(&repository, &["init", "--quiet"]);
        commit(&repository);
        let config = repository.join("ci/dockit.toml");
        let project = load(&config, &LoadOptions::default())
            .unwrap_or_else(|problems| panic!("{table}: {problems}"));
        let asked = Asked { project: Some(&project), registry: None };
        let error = asked.why(Some("a"), Some("rev:HEAD"), "worktree").await.unwrap_err();
        let expected = format!("at HEAD: image \"a\": {outside} is not part of the repository");
        assert_eq!(error.to_string(), expected);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn no_hook_runs() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("repository");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("file"), "1").unwrap();
    git(&root, &["init", "--quiet"]);
    commit(&root);
    let (hooks, ran) = (root.join(".git/hooks"), directory.path().join("ran"));
    std::fs::create_dir_all(&hooks).unwrap();
    let hook = hooks.join("post-index-change");
    std::fs::write(&hook, format!("#!/bin/sh\n: > '{}'\n", ran.display())).unwrap();
    std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).unwrap();
    let checkout = checkout(&root, "HEAD").await.unwrap();
    assert!(checkout.root().join("file").exists());
    assert!(!ran.exists());
    git(&root, &["read-tree", "HEAD"]);
    assert!(ran.exists(), "git has this hook");
}

async fn checkout(directory: &Path, revision: &str) -> Result<Checkout, RevisionError> {
    let temporary = directory.parent().unwrap();
    Checkout::new(directory, revision, temporary, &CancellationToken::new()).await
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_as_in_a_checkout() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("repository");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::write(root.join(".gitattributes"), "*.bat eol=crlf\n").unwrap();
    std::fs::write(root.join("run.bat"), "a\r\nb\r\n").unwrap();
    std::fs::write(root.join("sub/run"), "x").unwrap();
    std::fs::set_permissions(root.join("sub/run"), PermissionsExt::from_mode(0o755)).unwrap();
    symlink("../nowhere", root.join("sub/link")).unwrap();
    std::fs::write(root.join("line\nfeed"), "").unwrap();
    git(&root, &["init", "--quiet"]);
    let first = commit(&root);
    std::fs::write(root.join("later"), "").unwrap();
    commit(&root);
    let before = git(&root, &["status", "--porcelain"]);
    let index = std::fs::read(root.join(".git/index")).unwrap();
    let checkout = checkout(&root, "HEAD~1").await.unwrap();
    assert_eq!(checkout.commit(), first);
    let tree = checkout.root();
    assert_eq!(std::fs::read(tree.join("run.bat")).unwrap(), b"a\r\nb\r\n");
    assert_eq!(std::fs::read_link(tree.join("sub/link")).unwrap(), Path::new("../nowhere"));
    let mode = std::fs::metadata(tree.join("sub/run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o100, 0o100);
    assert!(tree.join("line\nfeed").exists() && !tree.join("later").exists());
    assert_eq!(checkout.counterpart(&root.join("sub/run")), Some(tree.join("sub/run")));
    assert_eq!(checkout.counterpart(directory.path()), None);
    // The repository is as it was.
    assert_eq!(git(&root, &["status", "--porcelain"]), before);
    assert_eq!(std::fs::read(root.join(".git/index")).unwrap(), index);
    drop(checkout);
    assert!(!tree.exists());
}

#[tokio::test]
async fn submodules_are_there_as_far_as_they_are_initialised() {
    let directory = tempfile::tempdir().unwrap();
    let make = |name: &str, content: &str| {
        let root = directory.path().join(name);
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("file"), content).unwrap();
        git(&root, &["init", "--quiet"]);
        commit(&root);
        root
    };
    let (inner, middle, outer) = (make("inner", "1"), make("middle", "2"), make("outer", "3"));
    git(&middle, &["submodule", "--quiet", "add", "../inner", "deep/inner"]);
    commit(&middle);
    git(&outer, &["submodule", "--quiet", "add", "../middle", "middle"]);
    git(&outer, &["submodule", "--quiet", "update", "--init", "--recursive"]);
    git(&outer, &["submodule", "--quiet", "add", "../inner", "unused"]);
    commit(&outer);
    git(&outer, &["submodule", "--quiet", "deinit", "--force", "unused"]);
    let tree = checkout(&outer, "HEAD").await.unwrap();
    let read = |path: &str| std::fs::read_to_string(tree.root().join(path));
    assert_eq!(read("file").unwrap(), "3");
    assert_eq!(read("middle/file").unwrap(), "2");
    assert_eq!(read("middle/deep/inner/file").unwrap(), "1");
    assert!(read("unused/file").is_err());
    // The commit of a revision that the submodule has not fetched.
    std::fs::write(inner.join("file"), "new").unwrap();
    let unknown = commit(&inner);
    let entry = format!("160000,{unknown},middle");
    git(&outer, &["update-index", "--cacheinfo", &entry]);
    git(&outer, &["commit", "--quiet", "--message", "x"]);
    let error = checkout(&outer, "HEAD").await.unwrap_err();
    assert_eq!(error.to_string(), format!("the submodule middle lacks the commit {unknown}"));
}

#[tokio::test]
async fn what_is_no_usual_repository_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    std::fs::create_dir(&plain).unwrap();
    std::fs::write(plain.join("file"), "1").unwrap();
    let none = checkout(&plain, "HEAD").await;
    assert!(matches!(none, Err(RevisionError::NoRepository(_))), "{none:?}");
    git(&plain, &["init", "--quiet"]);
    for revision in ["HEAD", "--all", "-x", "", "a b", "HEAD:file"] {
        let error = checkout(&plain, revision).await.unwrap_err();
        assert!(matches!(error, RevisionError::Unknown { shallow: false, .. }), "{error}");
    }
    commit(&plain);
    commit(&plain);
    let bare = directory.path().join("bare.git");
    git(directory.path(), &["clone", "--quiet", "--bare", "plain", "bare.git"]);
    assert!(matches!(checkout(&bare, "HEAD").await, Err(RevisionError::Bare(_))));
    let url = format!("file://{}", plain.display());
    git(directory.path(), &["clone", "--quiet", "--depth", "1", &url, "shallow"]);
    let shallow = directory.path().join("shallow");
    checkout(&shallow, "HEAD").await.unwrap();
    let error = checkout(&shallow, "HEAD~1").await.unwrap_err();
    assert!(error.to_string().contains("the clone is shallow"), "{error}");
}

#[tokio::test]
async fn a_revision_is_known_where_the_work_tree_is_as_it_says() {
    let test = diamond(REGISTRY);
    let clean = async || {
        let source = Source::of(test.root(), &CancellationToken::new()).await;
        source.git().and_then(GitSource::clean_commit).map(|commit| commit.id.clone())
    };
    assert_eq!(clean().await, None);
    let head = repository(&test);
    assert_eq!(clean().await, Some(head.clone()));
    // Touched is not changed.
    test.write("base/file", "base");
    assert_eq!(clean().await, Some(head));
    test.write("base/file", "other");
    assert_eq!(clean().await, None);
}

/// Remembers what it was warned about.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Observer for Warnings {
    fn event(&self, event: Event) {
        if let Event::InputsNotPublished { image, error } = event {
            self.0.lock().unwrap().push(format!("{image}: {error}"));
        }
    }
}

async fn build(
    test: &TestProject,
    registry: &MemoryRegistry,
    observer: &dyn Observer,
) -> story::Built {
    let engine = FakeEngine { registry: Some(registry), ..FakeEngine::default() };
    let services =
        Services { registry, engine: &engine, backends: &[NamedBackend::only(&engine)], observer };
    let request = Request { push: Some(PushPolicy::Always), ..Request::default() };
    let built = story::build(&test.load(), &request, &services, &CancellationToken::new()).await;
    let built = built.unwrap();
    assert!(built.report.succeeded(), "{:?}", built.report);
    built
}

fn digest_of(built: &story::Built, name: &str) -> Reference {
    let report = built.report.image(&image(name)).unwrap();
    report.reference.repository().with_digest(report.digest.clone().unwrap())
}

#[tokio::test]
async fn published_images_are_compared_without_their_sources() {
    let registry = MemoryRegistry::default();
    let test = diamond(REGISTRY);
    let first = build(&test, &registry, &Silent).await;
    test.write("base/file", "changed");
    test.write("top/Dockerfile", "FROM left\nCOPY --from=right /right /elsewhere\n");
    let second = build(&test, &registry, &Silent).await;
    let (old, new) = (digest_of(&first, "top"), digest_of(&second, "top"));
    drop(test);
    let asked = Asked { project: None, registry: Some(&registry) };
    let answer = asked.why(None, Some(&old.to_string()), &new.to_string()).await.unwrap();
    assert_eq!(
        told(&answer),
        [
            "top: dependency changed left, dependency changed right, instruction changed COPY, line 2",
            "left: dependency changed base",
            "base: file changed base/file",
            "right: dependency changed base",
        ]
    );
    assert_eq!(answer.image, image("top"));
    let tag = first.report.image(&image("top")).unwrap().reference.to_string();
    let same = asked.why(None, Some(&tag), &old.to_string()).await.unwrap();
    assert_eq!(told(&same), Vec::<String>::new());
    let error = asked.why(None, Some("r.example/p/top:none"), &tag).await.unwrap_err();
    assert_eq!(error.to_string(), "r.example/p/top:none is absent");
    let error = asked.why(None, Some("tag:x"), &tag).await.unwrap_err();
    assert!(matches!(error, WhyError::State(_)), "{error}");
}

#[tokio::test]
async fn what_is_published_hangs_on_the_image_and_holds_no_values() {
    let registry = MemoryRegistry::default();
    let test = TestProject::new(&[
        (
            "dockit.toml",
            "[project]\nregistry = \"r.example/p\"\n[images.a]\nargs = { OPEN = \"seen-nowhere\" }\n",
        ),
        ("a/Dockerfile", "FROM scratch\nARG OPEN\nCOPY f /\n"),
        ("a/f", "content"),
    ]);
    let head = repository(&test);
    let built = build(&test, &registry, &Silent).await;
    let reference = digest_of(&built, "a");
    let digest = reference.digest().unwrap();
    let kind = "application/vnd.dockit.inputs.v1+json";
    let listed = registry.referrers(reference.repository(), digest, Some(kind)).await.unwrap();
    let [entry] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(entry.annotations["org.opencontainers.image.revision"], head);
    assert!(entry.annotations["org.opencontainers.image.created"].ends_with('Z'));
    let artifact = reference.repository().with_digest(entry.digest.clone());
    let manifest = registry.manifest(&artifact).await.unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(manifest.bytes()).unwrap();
    assert_eq!(manifest["subject"]["digest"], digest.as_str());
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
    let layer = registry.blob(reference.repository(), &layer, 1 << 20).await.unwrap();
    let document = dockit_core::inputs::Document::unpack(&layer).unwrap();
    let key = built.report.image(&image("a")).unwrap().key;
    assert_eq!(document.key(), key);
    let json = String::from_utf8(document.to_json().unwrap()).unwrap();
    assert!(json.contains("OPEN") && !json.contains("seen-nowhere"), "{json}");

    // A second run reuses the image and touches nothing.
    let again = build(&test, &registry, &Silent).await;
    assert_eq!(digest_of(&again, "a"), reference);
    let listed = registry.referrers(reference.repository(), digest, Some(kind)).await.unwrap();
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn an_image_whose_inputs_cannot_be_published_is_built_and_pushed_with_a_warning() {
    let registry = MemoryRegistry::default();
    registry.refuses_referrers.store(true, Ordering::Relaxed);
    let (test, warnings) = (diamond(REGISTRY), Warnings::default());
    build(&test, &registry, &warnings).await;
    let mut warnings = warnings.0.into_inner().unwrap();
    warnings.sort();
    assert_eq!(warnings.len(), 5);
    assert_eq!(warnings[0], "alone: in-memory registry");
}

#[tokio::test]
async fn what_was_built_here_is_what_is_compared_with() {
    let registry = MemoryRegistry::default();
    registry.refuses_referrers.store(true, Ordering::Relaxed);
    let test = diamond(REGISTRY);
    let project = test.load();
    let asked = Asked { project: Some(&project), registry: None };
    let error = asked.why(Some("top"), None, "worktree").await.unwrap_err();
    assert!(matches!(error, WhyError::NothingToCompare { .. }), "{error}");
    build(&test, &registry, &Silent).await;
    let same = asked.why(Some("top"), None, "worktree").await.unwrap();
    assert_eq!((same.from.state.to_string(), told(&same)), ("last".to_owned(), Vec::new()));
    test.write("base/file", "changed");
    let answer = asked.why(Some("left"), None, "worktree").await.unwrap();
    assert_eq!(told(&answer), ["left: dependency changed base", "base: file changed base/file"]);
    // Without what was kept, the keys are all there is.
    std::fs::remove_dir_all(test.root().join(".dockit/inputs")).unwrap();
    let old = answer.from.key.to_string();
    let answer = asked.why(Some("left"), Some(&old), "worktree").await.unwrap();
    assert_eq!(told(&answer), ["left:  ?"]);
    let unknown = answer.images[0].unknown.clone().unwrap();
    assert!(unknown.contains("no registry may be asked"), "{unknown}");
    // And with a registry that has the images, but not their inputs.
    let asked = Asked { project: Some(&project), registry: Some(&registry) };
    let answer = asked.why(Some("left"), Some(&old), "worktree").await.unwrap();
    let unknown = answer.images[0].unknown.clone().unwrap();
    assert!(unknown.contains("nor published with r.example/p/left:k1-"), "{unknown}");
}

#[tokio::test]
async fn a_dependency_that_nothing_is_known_of_is_named() {
    let registry = MemoryRegistry::default();
    let test = diamond(REGISTRY);
    build(&test, &registry, &Silent).await;
    let project = test.load();
    let old = test.keys();
    let kept = |name: &str| {
        let key = old.get(&image(name)).unwrap().key;
        test.root().join(format!(".dockit/inputs/{}.json.gz", key.tag()))
    };
    std::fs::remove_file(kept("base")).unwrap();
    test.write("base/file", "changed");
    let asked = Asked { project: Some(&project), registry: None };
    let answer = asked.why(Some("left"), Some("last"), "worktree").await.unwrap();
    assert_eq!(told(&answer), ["left: dependency changed base", "base:  ?"]);
    // The registry knows it.
    let asked = Asked { project: Some(&project), registry: Some(&registry) };
    let answer = asked.why(Some("left"), Some("last"), "worktree").await.unwrap();
    assert_eq!(told(&answer), ["left: dependency changed base", "base: file changed base/file"]);
}

#[tokio::test]
async fn somebody_elses_list_of_inputs_is_not_believed() {
    let registry = MemoryRegistry::default();
    let test = diamond(REGISTRY);
    let built = build(&test, &registry, &Silent).await;
    let (base, alone) = (digest_of(&built, "base"), digest_of(&built, "alone"));
    let kind = "application/vnd.dockit.inputs.v1+json";
    // The list of another image, hung on `base` without an annotation that tells.
    let listed =
        registry.referrers(alone.repository(), alone.digest().unwrap(), Some(kind)).await.unwrap();
    let other = alone.repository().with_digest(listed[0].digest.clone());
    let mut forged: serde_json::Value =
        serde_json::from_slice(registry.manifest(&other).await.unwrap().bytes()).unwrap();
    forged["subject"]["digest"] = base.digest().unwrap().as_str().into();
    forged["annotations"] = serde_json::json!({"org.opencontainers.image.created": "9999"});
    let forged = RawManifest::new("application/vnd.oci.image.manifest.v1+json", forged.to_string());
    registry.put_referrer(base.repository(), &forged).await.unwrap();
    let key = built.report.image(&image("base")).unwrap().key;
    let found =
        dockit_core::inputs::fetch(&registry, base.repository(), base.digest().unwrap(), key);
    assert_eq!(found.await.unwrap().unwrap().key(), key);
    let other = built.report.image(&image("top")).unwrap().key;
    let found =
        dockit_core::inputs::fetch(&registry, base.repository(), base.digest().unwrap(), other);
    assert!(found.await.is_err(), "nothing there has that key");
}

#[tokio::test]
async fn forged_lists_of_inputs_do_not_hide_the_true_one() {
    let registry = MemoryRegistry::default();
    let test = diamond(REGISTRY);
    let built = build(&test, &registry, &Silent).await;
    let base = digest_of(&built, "base");
    let (place, subject) = (base.repository(), base.digest().unwrap());
    let kind = "application/vnd.dockit.inputs.v1+json";
    let listed = registry.referrers(place, subject, Some(kind)).await.unwrap();
    let entry = place.with_digest(listed[0].digest.clone());
    let manifest = registry.manifest(&entry).await.unwrap();
    let mut forged: serde_json::Value = serde_json::from_slice(manifest.bytes()).unwrap();
    // Newer, of the same key as they say, and larger or said to be so.
    let garbage = dockit_registry::Digest::of(b"not there");
    for (number, size) in (0..31_u64).zip([1 << 20, 1 << 30, u64::MAX >> 1].into_iter().cycle()) {
        forged["annotations"]["org.opencontainers.image.created"] =
            format!("9999-01-01T00:00:{number:02}Z").into();
        forged["layers"][0]["digest"] = garbage.as_str().into();
        forged["layers"][0]["size"] = size.into();
        let forged = RawManifest::new(manifest.media_type(), forged.to_string());
        registry.put_referrer(place, &forged).await.unwrap();
    }
    let key = built.report.image(&image("base")).unwrap().key;
    let found = dockit_core::inputs::fetch(&registry, place, subject, key).await;
    assert_eq!(found.unwrap().unwrap().key(), key);
}

#[tokio::test]
async fn building_again_publishes_a_list_of_inputs_that_is_missing_and_no_second_one() {
    let registry = MemoryRegistry::default();
    let test = diamond(REGISTRY);
    registry.refuses_referrers.store(true, Ordering::Relaxed);
    let built = build(&test, &registry, &Silent).await;
    registry.refuses_referrers.store(false, Ordering::Relaxed);
    let base = digest_of(&built, "base");
    let kind = "application/vnd.dockit.inputs.v1+json";
    let listed = async || {
        registry
            .referrers(base.repository(), base.digest().unwrap(), Some(kind))
            .await
            .unwrap()
            .len()
    };
    assert_eq!(listed().await, 0);
    build(&test, &registry, &Silent).await;
    assert_eq!(listed().await, 0, "what is reused is left as it is");
    let project = test.load();
    let engine = FakeEngine { registry: Some(&registry), ..FakeEngine::default() };
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    let request = Request { push: Some(PushPolicy::Always), rebuild: true, ..Request::default() };
    for _ in 0..2 {
        let again = story::build(&project, &request, &services, &CancellationToken::new()).await;
        assert!(again.unwrap().report.succeeded());
        assert_eq!(listed().await, 1);
    }
}

#[tokio::test]
async fn the_lockfile_comes_first_and_a_moving_tag_last() {
    let registry = MemoryRegistry::default();
    let test = TestProject::new(&[
        ("dockit.toml", "[project]\nregistry = \"r.example/p\"\n[images.a]\ntags = [\"latest\"]\n"),
        ("a/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("a/f", "1"),
    ]);
    let project = test.load();
    let asked = Asked { project: Some(&project), registry: Some(&registry) };
    let error = asked.why(Some("a"), None, "worktree").await.unwrap_err();
    assert!(error.to_string().contains("r.example/p/a:latest is absent"), "{error}");
    let engine = FakeEngine { registry: Some(&registry), ..FakeEngine::default() };
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    let push = Some(PushPolicy::Always);
    let request = Request { push, pin: true, force_tags: true, ..Request::default() };
    story::build(&project, &request, &services, &CancellationToken::new()).await.unwrap();
    test.write("a/f", "2");
    let state = async || {
        let answer = asked.why(Some("a"), None, "worktree").await.unwrap();
        assert_eq!(told(&answer), ["a: file changed a/f"]);
        answer.from.state.to_string()
    };
    assert_eq!(state().await, "locked");
    std::fs::remove_file(test.root().join("dockit.lock")).unwrap();
    assert_eq!(state().await, "last");
    assert!(InputsStore::new(&project).last(&image("a")).is_some());
    std::fs::remove_dir_all(test.root().join(".dockit")).unwrap();
    assert_eq!(state().await, "tag:latest");
}
