//! Which images a range of commits affects.

use std::collections::BTreeMap;
use std::path::Path;

use dockit_core::KeyOptions;
use dockit_core::changed::{Changed, ChangedError, ChangedRequest, changed};
use dockit_core::config::{LoadOptions, load};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::git::{commit, git};
use crate::support::{TestProject, diamond};

async fn asked(root: &Path, since: &str, until: Option<&str>) -> Result<Changed, ChangedError> {
    let project = load(&root.join("dockit.toml"), &LoadOptions::default()).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let (keys, cancel) = (KeyOptions::default(), CancellationToken::new());
    let request = ChangedRequest {
        since,
        until,
        keys: &keys,
        load: LoadOptions::default(),
        temporary: temporary.path(),
        cancel: &cancel,
    };
    let answer = changed(&project, &request).await;
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "it is empty again");
    answer
}

async fn names(root: &Path, since: &str, until: Option<&str>) -> Vec<String> {
    let answer = asked(root, since, until).await.unwrap();
    answer.images.iter().map(|affected| affected.image.to_string()).collect()
}

fn repository(test: &TestProject) -> String {
    git(test.root(), &["init", "--quiet"]);
    commit(test.root())
}

#[tokio::test]
async fn an_image_and_its_dependents_are_affected() {
    let test = diamond("r.example/p");
    let first = repository(&test);
    assert_eq!(names(test.root(), &first, None).await, Vec::<String>::new());
    test.write("left/file", "2");
    let second = commit(test.root());
    // What is not committed counts, and what git does not know yet.
    test.write("alone/file", "2");
    test.write("alone/unused", "not copied");
    let answer = asked(test.root(), "HEAD~1", None).await.unwrap();
    assert_eq!((answer.base.as_str(), answer.until.as_deref(), answer.files), (&*first, None, 3));
    let told: Vec<String> = answer
        .images
        .iter()
        .map(|image| format!("{} {:?} {}", image.image, image.through, image.changes.len()))
        .collect();
    assert_eq!(told, ["alone {} 1", "left {} 1", "top {ImageName(\"left\")} 0"]);
    assert_eq!(answer.images[1].changes[0].subject, "left/file");
    assert_eq!(names(test.root(), &first, Some("HEAD")).await, ["left", "top"]);
    assert_eq!(names(test.root(), &second, None).await, ["alone"]);
    let error = asked(test.root(), "nope", None).await.unwrap_err();
    assert!(!error.is_shallow(), "{error}");
}

#[tokio::test]
async fn what_the_other_side_did_since_is_not_in_the_range() {
    let test = diamond("r.example/p");
    repository(&test);
    git(test.root(), &["checkout", "--quiet", "-b", "topic"]);
    test.write("left/file", "topic");
    commit(test.root());
    git(test.root(), &["checkout", "--quiet", "main"]);
    test.write("right/file", "main");
    commit(test.root());
    git(test.root(), &["checkout", "--quiet", "topic"]);
    assert_eq!(names(test.root(), "main", None).await, ["left", "top"]);
    assert_eq!(names(test.root(), "topic", Some("main")).await, ["right", "top"]);
}

#[tokio::test]
async fn globs_say_what_counts_less_or_more() {
    let test = diamond("r.example/p");
    let config = std::fs::read_to_string(test.root().join("dockit.toml")).unwrap();
    let table = "[changed]\nignore = [\"**/*.md\", \"left\"]\nall = [\"ci/**\", \"!ci/*.txt\"]\n";
    test.write("dockit.toml", &format!("{config}{table}"));
    test.write("base/Dockerfile", "FROM scratch\nCOPY . /\n");
    let first = repository(&test);
    test.write("base/readme.md", "1");
    test.write("left/file", "2");
    assert_eq!(names(test.root(), &first, None).await, Vec::<String>::new());
    // An ignored file does not hide another one.
    test.write("base/file", "2");
    assert_eq!(names(test.root(), &first, None).await, ["base", "left", "right", "top"]);
    git(test.root(), &["checkout", "--quiet", "base/file"]);
    test.write("ci/notes.txt", "1");
    assert_eq!(names(test.root(), &first, None).await, Vec::<String>::new());
    test.write("ci/build.sh", "1");
    let answer = asked(test.root(), &first, None).await.unwrap();
    assert_eq!((answer.all.as_deref(), answer.images.len()), (Some("ci/build.sh"), 5));
}

#[tokio::test]
async fn what_git_ignores_is_of_no_range() {
    let test = diamond("r.example/p");
    test.write("base/Dockerfile", "FROM scratch\nCOPY . /\n");
    test.write(".gitignore", "*.o\nout/\n");
    let first = repository(&test);
    test.write("base/x.o", "made here");
    test.write("base/out/y", "made here");
    assert_eq!(names(test.root(), &first, None).await, Vec::<String>::new());
    test.write("base/new", "not made here");
    assert_eq!(names(test.root(), &first, None).await, ["base", "left", "right", "top"]);
}

#[tokio::test]
async fn configuration_dockerfiles_and_lockfile_count() {
    let test = TestProject::new(&[
        ("dockit.toml", "[images.a]\n[images.b]\n[images.c]\n"),
        ("a/Dockerfile", "FROM scratch\nARG V\nCOPY f$V /\n"),
        ("a/f", ""),
        ("a/f2", ""),
        ("b/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("b/f", ""),
        ("c/Dockerfile", "FROM debian:12\n"),
        ("dockit.lock", &locked("aa")),
    ]);
    let first = repository(&test);
    test.write("dockit.toml", "[images.a.args]\nV = \"2\"\n[images.b]\n[images.c]\n");
    assert_eq!(names(test.root(), &first, None).await, ["a"]);
    test.write("b/Dockerfile", "FROM scratch\n# A comment\nCOPY f /\n");
    assert_eq!(names(test.root(), &first, None).await, ["a"], "it means the same");
    test.write("b/Dockerfile", "FROM scratch\nCOPY f /g\n");
    assert_eq!(names(test.root(), &first, None).await, ["a", "b"]);
    test.write("dockit.lock", &locked("bb"));
    assert_eq!(names(test.root(), &first, None).await, ["a", "b", "c"]);
    // Images that come and go.
    let second = commit(test.root());
    test.write("dockit.toml", "[images.a.args]\nV = \"2\"\n[images.b]\n[images.d]\n");
    test.write("d/Dockerfile", "FROM b\n");
    let answer = asked(test.root(), &second, None).await.unwrap();
    assert_eq!(answer.images.len(), 1);
    assert!(answer.images[0].is_new && answer.images[0].image.as_str() == "d");
    assert_eq!(answer.removed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["c"]);
    // A lockfile that came in the range.
    git(test.root(), &["rm", "--quiet", "--cached", "dockit.lock"]);
    git(test.root(), &["checkout", "--quiet", "dockit.toml"]);
    test.write(".gitignore", "dockit.lock\n");
    let third = commit(test.root());
    assert_eq!(names(test.root(), &third, None).await, Vec::<String>::new());
    test.write(".gitignore", "");
    assert_eq!(names(test.root(), &third, None).await, ["c"]);
}

fn locked(byte: &str) -> String {
    let digest = format!("sha256:{}", byte.repeat(32));
    format!(
        "version = 1\n\n[[base]]\nreference = \"docker.io/library/debian:12\"\ndigest = \"{digest}\"\n\n\
         [[base.platform]]\nname = \"linux/amd64\"\ndigest = \"{digest}\"\nenv = []\nonbuild = []\n"
    )
}

#[tokio::test]
async fn what_cannot_be_compared_counts() {
    let test = diamond("r.example/p");
    let config = std::fs::read_to_string(test.root().join("dockit.toml")).unwrap();
    test.write("dockit.toml", "[images\n");
    let broken = repository(&test);
    test.write("dockit.toml", &config);
    let second = commit(test.root());
    let answer = asked(test.root(), &broken, None).await.unwrap();
    assert_eq!(answer.images.len(), 5);
    let problem = answer.images[0].problem.as_deref().unwrap();
    assert!(problem.contains("dockit.toml") && !problem.contains("dockit-"), "{problem}");
    git(test.root(), &["rm", "--quiet", "--cached", "dockit.toml"]);
    let without = commit_staged(test.root());
    assert_eq!(names(test.root(), &without, None).await.len(), 5);
    let error = asked(test.root(), &second, Some(&without)).await.unwrap_err();
    assert!(matches!(error, ChangedError::NoProject { .. }), "{error}");
}

fn commit_staged(directory: &Path) -> String {
    git(directory, &["commit", "--quiet", "--message", "x"]);
    git(directory, &["rev-parse", "HEAD"])
}

#[tokio::test]
async fn a_shallow_clone_says_so() {
    let test = diamond("r.example/p");
    let first = repository(&test);
    test.write("left/file", "2");
    commit(test.root());
    git(test.root(), &["checkout", "--quiet", "-b", "topic", &first]);
    test.write("right/file", "2");
    commit(test.root());
    let place = tempfile::tempdir().unwrap();
    let url = format!("file://{}", test.root().display());
    let clone = ["clone", "--quiet", "--depth=1", "--no-single-branch", &url, "clone"];
    git(place.path(), &clone);
    let clone = place.path().join("clone");
    let error = asked(&clone, &first, None).await.unwrap_err();
    assert!(error.is_shallow() && error.to_string().contains("shallow"), "{error}");
    let error = asked(&clone, "origin/main", None).await.unwrap_err();
    assert!(matches!(error, ChangedError::NoCommonCommit { shallow: true, .. }), "{error}");
    git(&clone, &["fetch", "--quiet", "--unshallow"]);
    assert_eq!(names(&clone, "origin/main", None).await, ["right", "top"]);
    // Two histories that never met.
    git(&clone, &["checkout", "--quiet", "--orphan", "other"]);
    commit(&clone);
    let error = asked(&clone, "origin/main", None).await.unwrap_err();
    assert!(!error.is_shallow(), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// What is affected is what has another key: the range is compared with keys that were taken of the
    /// work tree when it was as each end is.
    #[test]
    fn without_globs_what_is_affected_has_another_key(
        writes in proptest::collection::vec((0..5usize, 0..3usize), 0..6)
    ) {
        let test = diamond("r.example/p");
        let first = repository(&test);
        let keys = |test: &TestProject| -> BTreeMap<String, String> {
            ["base", "left", "right", "top", "alone"]
                .into_iter()
                .map(|name| (name.to_owned(), test.key(name)))
                .collect()
        };
        let before = keys(&test);
        for (place, content) in writes {
            let path = ["base/file", "left/file", "right/other", "alone/file", "docs/x"][place];
            test.write(path, &content.to_string());
        }
        let after = keys(&test);
        let mut expected: Vec<String> =
            before.keys().filter(|name| before[*name] != after[*name]).cloned().collect();
        expected.sort();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut found = runtime.block_on(names(test.root(), &first, None));
        found.sort();
        prop_assert_eq!(&found, &expected);
        commit(test.root());
        test.write("base/file", "later");
        let mut found = runtime.block_on(names(test.root(), &first, Some("HEAD")));
        found.sort();
        prop_assert_eq!(found, expected);
    }
}
