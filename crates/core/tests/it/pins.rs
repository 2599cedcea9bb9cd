//! References in files follow the lockfile, and nothing else in the files changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dockit_core::lockfile::LockedImage;
use dockit_core::pin::{self, Finding, PinOptions, PinStatus, Pins, run_after};
use dockit_core::{ImageGraph, Lockfile};
use dockit_registry::{Digest, Reference};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::git::{commit, git};
use crate::support::{MemoryRegistry, TestProject, all, image};

const CONFIG: &str = "[project]\nregistry = \"gcr.io/p\"\n[images.x]\n[images.xy]\n";

fn digest(number: u64) -> Digest {
    format!("sha256:{number:064x}").parse().unwrap()
}

/// A repository of git with two images, whose keys and digests are recorded: 1 and 2.
fn project(config: &str, files: &[(&str, &[u8])]) -> TestProject {
    let project = TestProject::new(&[
        ("dockit.toml", &format!("{CONFIG}{config}")),
        ("x/Dockerfile", "FROM scratch\nCOPY file /\n"),
        ("x/file", "x"),
        ("xy/Dockerfile", "FROM x\nCOPY file /\n"),
        ("xy/file", "xy"),
    ]);
    git(project.root(), &["init", "--quiet"]);
    for (path, bytes) in files {
        let path = project.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    record(&project, 1);
    commit(project.root());
    project
}

/// Records the keys of the work tree, and digests that begin at a number.
fn record(project: &TestProject, first: u64) {
    let loaded = project.load();
    let keys = project.keys();
    let state = loaded.state_directory();
    Lockfile::edit(&loaded.lockfile, &state, |lockfile| {
        for (number, name) in (first..).zip(["x", "xy"]) {
            let key = keys.key(&image(name)).unwrap();
            let reference: Reference = format!("gcr.io/p/{name}").parse().unwrap();
            let reference = reference.with_tag(key.tag()).with_digest(digest(number));
            lockfile.update_image(image(name), LockedImage { key, reference });
        }
    })
    .unwrap();
}

async fn look_with(project: &TestProject, registry: &MemoryRegistry, options: &PinOptions) -> Pins {
    let loaded = project.load();
    let graph = ImageGraph::new(&loaded).unwrap();
    let lockfile = Lockfile::load(&loaded.lockfile).unwrap();
    let cancel = CancellationToken::new();
    pin::look(&loaded, &graph, &lockfile, registry, options, &cancel).await.unwrap()
}

async fn look(project: &TestProject) -> Pins {
    look_with(project, &MemoryRegistry::default(), &PinOptions::default()).await
}

fn told(pins: &Pins) -> Vec<(String, usize, String)> {
    let word = |finding: &Finding| match &finding.status {
        PinStatus::Stale { expected } => format!("stale {expected}"),
        status => format!("{status:?}"),
    };
    pins.findings.iter().map(|it| (it.file.clone(), it.line, word(it))).collect()
}

fn read(project: &TestProject, path: &str) -> Vec<u8> {
    std::fs::read(project.root().join(path)).unwrap()
}

/// Every way of writing a reference, with `OLD` in the place of digests.
const FORMS: &[(&str, &[u8])] = &[
    ("Dockerfile.ci", b"FROM gcr.io/p/x@OLD AS x\r\nCOPY --from=gcr.io/p/xy@OLD \\\r\n  /a /b"),
    (
        "run me.sh",
        b"docker run --rm gcr.io/p/x@OLD make # \xff\xfe\n--env \"IMAGE=gcr.io/p/xy@OLD\"\n",
    ),
    ("ci/jobs.yml", b"image: gcr.io/p/x@OLD\nother: 'gcr.io/p/xy@OLD'\nmore: \"gcr.io/p/x@OLD\"\n"),
    ("ci/data.json", b"{\"image\":\"gcr.io/p/x@OLD\",\"args\":[\"--x=gcr.io/p/xy@OLD\"]}"),
    (
        ".bazelrc",
        b"build --remote_default_exec_properties=container-image=docker://gcr.io/p/x@OLD\n",
    ),
    ("README.md", b"Use `gcr.io/p/x@OLD`, or gcr.io/p/xy@OLD.\n"),
    ("prod digests.txt", b"gcr.io/p/x@OLD\ngcr.io/p/xy@OLD\n"),
];

/// What only looks like a reference to the project's images.
const FOREIGN: &[u8] =
    b"eu.gcr.io/p/x@OLD\nghcr.io/gcr.io/p/x@OLD\nmirror/p/x@OLD\ngcr.io/p/x/deep/\n";

fn with_digests(bytes: &[u8], x: &str, xy: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(4).position(|window| window == b"@OLD") {
        out.extend_from_slice(&rest[..=at]);
        out.extend_from_slice(if rest[..at].ends_with(b"/xy") { xy } else { x }.as_bytes());
        rest = &rest[at + 4..];
    }
    out.extend_from_slice(rest);
    out
}

#[tokio::test]
async fn every_form_is_rewritten_and_nothing_else_changes() {
    let old = digest(99).to_string();
    let mut files: Vec<(&str, Vec<u8>)> =
        FORMS.iter().map(|(path, bytes)| (*path, with_digests(bytes, &old, &old))).collect();
    files.push(("foreign.txt", with_digests(FOREIGN, &old, &old)));
    let borrowed: Vec<(&str, &[u8])> =
        files.iter().map(|(path, it)| (*path, it.as_slice())).collect();
    let project = project("[pin]\nfiles = [\"**\"]\n", &borrowed);
    let pins = look(&project).await;
    assert_eq!(pins.findings.len(), 14, "{:?}", told(&pins));
    assert!(pins.findings.iter().all(|it| it.status.is_difference()), "{:?}", told(&pins));
    pins.write(&project.load()).unwrap();
    let (x, xy) = (digest(1).to_string(), digest(2).to_string());
    for (path, bytes) in FORMS {
        assert_eq!(read(&project, path), with_digests(bytes, &x, &xy), "{path}");
    }
    assert_eq!(read(&project, "foreign.txt"), with_digests(FOREIGN, &old, &old));
    // Once is enough.
    let pins = look(&project).await;
    assert!(pins.findings.iter().all(|it| it.status == PinStatus::Right), "{:?}", told(&pins));
    assert!(pins.files.is_empty());
    let changed = git(project.root(), &["status", "--porcelain", "--untracked-files=no"]);
    assert_eq!(changed.lines().count(), FORMS.len(), "{changed}");
}

#[tokio::test]
async fn only_files_that_are_named_and_not_ignored_count() {
    let line = format!("gcr.io/p/x@{}\n", digest(99));
    let project = project(
        "[[pin]]\nfiles = [\"ci\", \"!ci/kept\"]\n",
        &[("ci/a", line.as_bytes()), ("ci/kept/a", line.as_bytes()), ("other", line.as_bytes())],
    );
    project.write("ci/untracked", &line);
    project.write("ci/ignored", &line);
    project.write(".gitignore", "ignored\n");
    // A link is its own text.
    #[cfg(unix)]
    std::os::unix::fs::symlink("../other", project.root().join("ci/link")).unwrap();
    let files =
        |pins: &Pins| pins.findings.iter().map(|it| it.file.clone()).collect::<BTreeSet<String>>();
    assert_eq!(
        files(&look(&project).await),
        BTreeSet::from(["ci/a".into(), "ci/untracked".into()])
    );
    let everything = PinOptions { all_files: true, ..PinOptions::default() };
    let pins = look_with(&project, &MemoryRegistry::default(), &everything).await;
    let expected = ["ci/a", "ci/kept/a", "ci/untracked", "other"].map(str::to_owned);
    assert_eq!(files(&pins), BTreeSet::from(expected));
}

#[tokio::test]
async fn what_cannot_be_made_right_says_why() {
    let (old, malformed) = (digest(99), "sha256:12");
    let text = format!(
        "gcr.io/p/z@{old}\ngcr.io/p/x@{old} # dockit: keep\ngcr.io/p/x@{malformed}\ngcr.io/p/z:1\n\
         gcr.io/p/x:latest\ngcr.io/p/x:stable@{old}\ngcr.io/p/xy:gone@{old}\n"
    );
    let project = project("[pin]\nfiles = [\"list\"]\n", &[("list", text.as_bytes())]);
    let registry = MemoryRegistry::default();
    let stable = registry.push(&"gcr.io/p/x:stable".parse().unwrap(), b"{}");
    let pins = look_with(&project, &registry, &PinOptions::default()).await;
    let told = told(&pins);
    let (first, gone) = (digest(1), "TagAbsent(Reference");
    assert_eq!(told.len(), 5, "{told:?}");
    assert_eq!(told[0], ("list".into(), 1, "Unknown".into()));
    assert_eq!(told[1], ("list".into(), 2, "Kept".into()));
    assert_eq!(told[2], ("list".into(), 3, format!("stale gcr.io/p/x@{first}")));
    assert_eq!(told[3], ("list".into(), 6, format!("stale gcr.io/p/x:stable@{stable}")));
    assert!(told[4].1 == 7 && told[4].2.starts_with(gone), "{:?}", told[4]);
    let offline = PinOptions { offline: true, ..PinOptions::default() };
    let pins = look_with(&project, &registry, &offline).await;
    assert!(matches!(pins.findings[4].status, PinStatus::NotAsked(_)));
    // An image that nobody has recorded.
    std::fs::remove_file(project.root().join("dockit.lock")).unwrap();
    assert_eq!(
        look_with(&project, &registry, &offline).await.findings[2].status,
        PinStatus::NotRecorded
    );
}

#[tokio::test]
async fn a_content_tag_is_kept_true_with_its_digest_and_alone_where_files_use_tags() {
    let old = format!("k1-{}", "0".repeat(64));
    let text = format!("gcr.io/p/x:{old}@{}\ngcr.io/p/x:{old}\ngcr.io/p/x:latest\n", digest(99));
    let project = project(
        "[[pin]]\nfiles = [\"digests\"]\n[[pin]]\nfiles = [\"tags\"]\ntags = true\n",
        &[("digests", text.as_bytes()), ("tags", text.as_bytes())],
    );
    look(&project).await.write(&project.load()).unwrap();
    let tag = project.keys().key(&image("x")).unwrap().tag();
    let pinned = format!("gcr.io/p/x:{tag}@{}\n", digest(1));
    let digests = format!("{pinned}gcr.io/p/x:{old}\ngcr.io/p/x:latest\n");
    assert_eq!(String::from_utf8(read(&project, "digests")).unwrap(), digests);
    let tags = format!("{pinned}gcr.io/p/x:{tag}\ngcr.io/p/x:latest\n");
    assert_eq!(String::from_utf8(read(&project, "tags")).unwrap(), tags);
}

#[tokio::test]
async fn rules_find_split_references_as_often_as_they_say() {
    let workspace = format!(
        "container_pull(\n  name = \"x\",\n  registry = \"gcr.io\",\n  repository = \"p/x\",\n  digest = \"{old}\",\n)\n\
         container_pull(\n  name = \"z\",\n  registry = \"gcr.io\",\n  repository = \"q/x\",\n  digest = \"{old}\",\n)\n",
        old = digest(99)
    );
    let rules = "[[pin]]\nfiles = [\"WORKSPACE\"]\nexpect = 2\npattern = '''registry = \"(?<registry>[^\"]+)\",\\s+repository = \"(?<repository>[^\"]+)\",\\s+digest = \"(?<digest>[^\"]+)\"'''\n\
        [[pin]]\nfiles = [\"version.py\"]\nimage = \"xy\"\npattern = 'IMAGE_VERSION = \"(?<tag>[^\"]*)\"'\nrun = \"cat version.py > generated\"\n\
        [[pin]]\nfiles = [\"values.toml\"]\nimage = \"x\"\nfield = \"image.digest\"\n";
    let values = format!("[image]\ndigest = '{}' # of the job\n", digest(99));
    let project = project(
        rules,
        &[
            ("WORKSPACE", workspace.as_bytes()),
            ("version.py", b"IMAGE_VERSION = \"300\"\n"),
            ("values.toml", values.as_bytes()),
        ],
    );
    let loaded = project.load();
    let pins = look(&project).await;
    let unknown = |it: &&Finding| it.status == PinStatus::Unknown;
    assert_eq!(pins.findings.iter().find(unknown).unwrap().line, 9, "{:?}", told(&pins));
    pins.write(&loaded).unwrap();
    let text = String::from_utf8(read(&project, "WORKSPACE")).unwrap();
    assert_eq!(text, workspace.replacen(digest(99).as_str(), digest(1).as_str(), 1));
    let tag = project.keys().key(&image("xy")).unwrap().tag();
    let version = format!("IMAGE_VERSION = \"{tag}\"\n");
    assert_eq!(read(&project, "version.py"), version.as_bytes());
    let pinned = values.replace(digest(99).as_str(), digest(1).as_str());
    assert_eq!(read(&project, "values.toml"), pinned.as_bytes());
    assert!(!project.root().join("generated").exists());
    run_after(&loaded, &pins, &CancellationToken::new()).await.unwrap();
    assert_eq!(read(&project, "generated"), version.as_bytes());
    // One that finds something else than it says changes nothing at all.
    project.write("version.py", "IMAGE_VERSION = \"1\"\nIMAGE_VERSION = \"2\"\n");
    let pins = look(&project).await;
    assert!(pins.findings.iter().any(|it| it.status.is_obstacle()), "{:?}", told(&pins));
}

#[tokio::test]
async fn a_pin_that_changes_what_it_pins_is_told_from_one_that_does_not() {
    let stale = format!("gcr.io/p/xy@{}\n", digest(99));
    let of_x = format!("gcr.io/p/x@{}\n", digest(99));
    // An input of x, which xy is built on; a file beside it that x does not copy; the same the other way.
    let project = project(
        "[pin]\nfiles = [\"**\"]\n",
        &[
            ("x/file", stale.as_bytes()),
            ("x/beside", stale.as_bytes()),
            ("xy/file", of_x.as_bytes()),
        ],
    );
    let pins = look(&project).await;
    let cycles: Vec<&Finding> =
        pins.findings.iter().filter(|it| matches!(it.status, PinStatus::Cycle(_))).collect();
    let [cycle] = cycles.as_slice() else { panic!("{:?}", told(&pins)) };
    let PinStatus::Cycle(why) = &cycle.status else { unreachable!() };
    assert_eq!(
        (cycle.file.as_str(), why.input_of.as_str(), why.ignore.as_deref()),
        ("x/file", "x", Some("file"))
    );
    let files: Vec<&Path> = pins.files.iter().map(|it| it.path.as_path()).collect();
    assert!(files.iter().all(|path| !path.ends_with("x/file")), "{files:?}");
    assert_eq!(files.len(), 2);
}

#[tokio::test]
async fn references_in_from_lines_change_no_key() {
    let project = project("[pin]\nfiles = [\"**/Dockerfile\"]\n", &[]);
    let text = format!("FROM gcr.io/p/x@{}\nCOPY file /\n", digest(99));
    project.write("xy/Dockerfile", &text);
    record(&project, 1);
    let before = project.key("xy");
    look(&project).await.write(&project.load()).unwrap();
    assert_eq!(
        read(&project, "xy/Dockerfile"),
        text.replace(digest(99).as_str(), digest(1).as_str()).as_bytes()
    );
    assert_eq!(project.key("xy"), before);
}

#[tokio::test]
async fn a_big_repository_asks_once_for_each_tag_and_is_right_after_one_run() {
    let registry = MemoryRegistry::default();
    let stable = registry.push(&"gcr.io/p/x:stable".parse().unwrap(), b"{}");
    let old = digest(99).to_string();
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for number in 0..200 {
        let (path, form) = FORMS[number % FORMS.len()];
        let mut bytes = with_digests(form, &old, &old);
        bytes.extend_from_slice(format!("\ngcr.io/p/x:stable@{old}\n").as_bytes());
        files.insert(format!("dir {}/{number} {path}", number % 7).replace("/ci", ""), bytes);
    }
    files.retain(|path, _| !path.contains(".bazelrc/"));
    let borrowed: Vec<(&str, &[u8])> =
        files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    let project = project("[pin]\nfiles = [\"dir *\"]\n", &borrowed);
    let options = PinOptions::default();
    let pins = look_with(&project, &registry, &options).await;
    assert!(pins.findings.len() > 500, "{}", pins.findings.len());
    pins.write(&project.load()).unwrap();
    let again = look_with(&project, &registry, &options).await;
    assert!(again.findings.iter().all(|it| it.status == PinStatus::Right), "{:?}", told(&again));
    let (x, xy) = (digest(1).to_string(), digest(2).to_string());
    for (number, (path, before)) in files.iter().enumerate() {
        let after = String::from_utf8_lossy(&read(&project, path)).into_owned();
        let expected = String::from_utf8_lossy(before)
            .replace(&format!("x:stable@{old}"), &format!("x:stable@{stable}"))
            .replace(&format!("/xy@{old}"), &format!("/xy@{xy}"))
            .replace(&format!("/x@{old}"), &format!("/x@{x}"));
        assert_eq!(after, expected, "{number} {path}");
    }
    let graph = ImageGraph::new(&project.load()).unwrap();
    assert_eq!(all(&graph).len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn bytes_around_references_stay(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 1..5),
    ) {
        let old = format!(" gcr.io/p/x@{} ", digest(99));
        // No NUL, which would make it no text.
        let pieces: Vec<Vec<u8>> =
            pieces.into_iter().map(|piece| piece.into_iter().map(|byte| byte.max(1)).collect()).collect();
        let before = pieces.join(old.as_bytes());
        let after = pieces.join(format!(" gcr.io/p/x@{} ", digest(1)).as_bytes());
        let project = project("[pin]\nfiles = [\"list\"]\n", &[("list", &before)]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { look(&project).await.write(&project.load()).unwrap() });
        prop_assert_eq!(read(&project, "list"), after);
    }
}
