//! Documents: written, read, verified, compared, kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use dockit_core::ImageName;
use dockit_core::inputs::{
    Change, Document, DocumentError, How, InputsStore, What, WholeContextNote, changes,
};
use dockit_core::key::{
    ArgValue, DeclaredValue, ExtraInput, Files, ImageKey, ImageUseInput, KeyInputs, KeyedArg,
    NeedInput,
};
use dockit_hashing::content_hash::ContentHash;
use dockit_hashing::context::{ContextPath, Entry, FileDigest, FileMode, Listing, Node};
use dockit_hashing::dockerfile::{Program, ProgramStage, ProgramStep, StageBase};
use dockit_registry::Digest;
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{TestProject, diamond, image};

fn hash(text: &str) -> ContentHash {
    ContentHash::of(text.as_bytes())
}

fn key(text: &str) -> ImageKey {
    format!("k1:{}", hash(text)).parse().unwrap()
}

fn file(path: &str, content: &str) -> Entry {
    let digest = FileDigest::Whole(hash(content));
    let mode = FileMode::normalise(0o644);
    let node = Node::File { mode, size: content.len() as u64, digest };
    Entry::new(ContextPath::new(path.as_bytes()).unwrap(), node)
}

fn node(path: &[u8], node: Node) -> Entry {
    Entry::new(ContextPath::new(path).unwrap(), node)
}

fn listing(entries: Vec<Entry>) -> Arc<Listing> {
    Arc::new(Listing::from_entries(entries).unwrap())
}

fn step(line: u32, keyword: &str) -> ProgramStep {
    ProgramStep { line, keyword: keyword.to_owned(), hash: hash(&format!("{keyword} {line}")) }
}

/// A document with something of everything.
fn full() -> Document {
    let stage = |name: Option<&str>, base, steps: &[(u32, &str)]| ProgramStage {
        name: name.map(str::to_owned),
        base,
        platform: None,
        triggers: Vec::new(),
        steps: steps.iter().map(|(line, keyword)| step(*line, keyword)).collect(),
    };
    let tree = FileDigest::Leaves(hash("large"));
    Document {
        image: image("tools/full"),
        context: Some("docker".to_owned()),
        whole_context: vec![WholeContextNote { line: 4, reason: Some("COPY . /".to_owned()) }],
        inputs: KeyInputs {
            platform: "linux/arm/v7".parse().unwrap(),
            program: Program {
                frontend: Some("--flag".to_owned()),
                stages: vec![
                    stage(Some("build"), StageBase::Image(1), &[(2, "RUN")]),
                    ProgramStage {
                        platform: Some("linux/amd64".to_owned()),
                        triggers: vec![step(1, "COPY")],
                        ..stage(None, StageBase::Stage(0), &[(4, "COPY"), (5, "ENV")])
                    },
                    stage(None, StageBase::Scratch, &[]),
                ],
            },
            args: vec![
                KeyedArg { name: "HIDDEN".to_owned(), value: Some(ArgValue::Hash(hash("h"))) },
                KeyedArg::new("UNSET", None),
                KeyedArg::new("VERSION", Some("3.11".to_owned())),
            ],
            uses: vec![
                ImageUseInput::Image { name: image("base"), key: key("base") },
                ImageUseInput::Base {
                    reference: "debian:12".parse().unwrap(),
                    platform: "linux/amd64".parse().unwrap(),
                    digest: Digest::of(b"debian"),
                },
            ],
            needs: vec![NeedInput { name: image("other"), key: key("other") }],
            files: Files::Listed(listing(vec![
                node(b"big", Node::Directory { mode: FileMode::strict(0o1777) }),
                node(b"bin", Node::Directory { mode: FileMode::DIRECTORY }),
                file("bin/run", "#!"),
                node(b"link\n\xff", Node::Symlink { target: b"../\xfe\\".as_slice().into() }),
                node(
                    "zoë".as_bytes(),
                    Node::File { mode: FileMode::strict(0o4711), size: 1 << 40, digest: tree },
                ),
            ])),
            dockerfile: Some(hash("FROM")),
            extra: vec![ExtraInput {
                path: "../pyproject.toml".to_owned(),
                listing: listing(vec![file("pyproject.toml", "[project]")]),
            }],
            epoch: Some("2026-W47".to_owned()),
            options: BTreeMap::from([("network".to_owned(), "none".to_owned())]),
        },
    }
}

/// A document with declared values instead of files.
fn declared() -> Document {
    let value = |name: &str, value: &str| DeclaredValue { name: name.into(), value: value.into() };
    let mut document = full();
    document.inputs.files = Files::Declared(vec![value("numpy", "2.0"), value("torch", "2.9")]);
    document
}

fn json(document: &Document) -> Value {
    serde_json::from_slice(&document.to_json().unwrap()).unwrap()
}

fn read(json: &Value) -> Result<Document, DocumentError> {
    Document::from_json(&serde_json::to_vec(json).unwrap())
}

#[test]
fn a_document_is_read_as_it_was_written_and_has_the_same_key() {
    for document in [full(), declared()] {
        let again = Document::from_json(&document.to_json().unwrap()).unwrap();
        assert_eq!(json(&again), json(&document));
        assert_eq!(again.key(), document.key());
        let packed = document.pack().unwrap();
        assert_eq!(Document::unpack(&packed).unwrap().pack().unwrap(), packed);
        assert!(changes(&document, &again).is_empty());
    }
}

#[test]
fn the_document_of_a_project_has_the_key_of_the_image() {
    let test = diamond("r.example/p");
    let project = test.load();
    let keys = test.keys();
    for (name, keyed) in keys.iter() {
        let document = Document::of(&project, &project.images[name], keyed);
        assert_eq!(Document::unpack(&document.pack().unwrap()).unwrap().key(), keyed.key);
        assert_eq!(document.context.as_deref(), Some(name.as_str()));
    }
}

/// What is in the document for people alone, by the names on the way to it.
const NOT_HASHED: [&str; 11] = [
    "image",
    "context",
    "whole_context/line",
    "whole_context/reason",
    "program/stages/name",
    "program/stages/triggers/line",
    "program/stages/triggers/keyword",
    "program/stages/steps/line",
    "program/stages/steps/keyword",
    "uses/image/name",
    "needs/name",
];

/// Each value in the document, changed to another of its kind, with the names on the way to it.
fn mutations(value: &Value, way: &str, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Null => {}
        Value::Bool(flag) => found.push((way.to_owned(), Value::Bool(!flag))),
        Value::Number(number) => {
            found.push((way.to_owned(), Value::from(number.as_u64().unwrap() + 1)));
        }
        Value::String(text) => {
            // The last character, so that hashes stay hashes and paths stay sorted.
            let last = text.chars().last().unwrap();
            let other = match last {
                '0' => '1',
                '1'..='9' | 'a'..='f' => '0',
                _ => 'q',
            };
            let kept = &text[..text.len() - last.len_utf8()];
            found.push((way.to_owned(), Value::String(format!("{kept}{other}"))));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let mut inner = Vec::new();
                mutations(item, way, &mut inner);
                for (way, item) in inner {
                    let mut items = items.clone();
                    items[index] = item;
                    found.push((way, Value::Array(items)));
                }
                let mut fewer = items.clone();
                fewer.remove(index);
                found.push((format!("{way}[]"), Value::Array(fewer)));
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let mut inner = Vec::new();
                let way = if way.is_empty() { name.clone() } else { format!("{way}/{name}") };
                mutations(field, &way, &mut inner);
                for (way, field) in inner {
                    let mut fields = fields.clone();
                    fields[name] = field;
                    found.push((way, Value::Object(fields)));
                }
                let mut fewer = fields.clone();
                fewer.remove(name);
                found.push((format!("{way}-"), Value::Object(fewer)));
            }
        }
    }
}

#[test]
fn whatever_is_changed_in_a_document_is_noticed_unless_it_does_not_count() {
    let free: Vec<String> = NOT_HASHED
        .iter()
        .map(|way| (*way).to_owned())
        .chain(["uses/base/reference", "uses/base/platform", "whole_context[]"].map(str::to_owned))
        // What may be missing.
        .chain(
            ["context-", "whole_context-", "whole_context/reason-", "program/stages/name-"]
                .map(str::to_owned),
        )
        // The digest beside it is what counts.
        .chain(["args/value-".to_owned()])
        .collect();
    for document in [full(), declared()] {
        let mut all = Vec::new();
        mutations(&json(&document), "", &mut all);
        assert!(all.len() > 100, "{}", all.len());
        for (way, mutated) in all {
            match read(&mutated) {
                Ok(read) => {
                    assert!(free.contains(&way), "a change of {way} went unnoticed: {mutated}");
                    assert_eq!(read.key(), document.key());
                }
                Err(_) => {
                    // "linux/arm/v7" has no neighbour that is a platform in the same way.
                    let fine = !free.contains(&way) || way == "uses/base/platform";
                    assert!(fine, "a change of {way} does not count: {mutated}");
                }
            }
        }
    }
}

#[test]
fn what_is_published_holds_no_values_but_those_that_are_named() {
    let mut document = full();
    document.inputs.args = vec![
        KeyedArg::new("API_TOKEN", Some("hunter2".to_owned())),
        KeyedArg::new("DATABASE_URL", Some("postgres://u:swordfish@h/d".to_owned())),
        KeyedArg::new("OPEN", Some("shown".to_owned())),
        KeyedArg::new("OTHER", Some("inside".to_owned())),
    ];
    let key = document.key();
    let text = |document: &Document| String::from_utf8(document.to_json().unwrap()).unwrap();
    let published = document.published(&["OPEN".to_owned()]);
    assert_eq!(published.key(), key);
    let published = text(&published);
    assert!(published.contains("shown"));
    for secret in ["hunter2", "swordfish", "inside", "COPY . /"] {
        assert!(!published.contains(secret), "{published}");
    }
    let local = document.without_secrets(&[]);
    assert_eq!(local.key(), key);
    let local = text(&local);
    assert!(local.contains("shown") && local.contains("inside") && !local.contains("hunter2"));
    assert!(!local.contains("swordfish"), "the value says that it holds a secret: {local}");
    let named = ["API_TOKEN".to_owned(), "DATABASE_URL".to_owned()];
    let said = text(&document.without_secrets(&named));
    assert!(said.contains("hunter2"), "it was said that it is none");
    assert!(said.contains("swordfish"), "it was said that it is none");
}

#[test]
fn what_is_no_document_is_refused() {
    let good = full().to_json().unwrap();
    for bytes in [&b""[..], b"{}", b"null", b"[]", &good[..good.len() - 1]] {
        assert!(matches!(Document::from_json(bytes), Err(DocumentError::Invalid(_))));
    }
    let mut other = json(&full());
    other["schema"] = Value::from("dockit.inputs/2");
    assert!(matches!(read(&other), Err(DocumentError::Invalid(_))));
    other = json(&full());
    other["key"] = Value::from(key("another").to_string());
    assert!(matches!(read(&other), Err(DocumentError::WrongKey { .. })));
    other = json(&full());
    other["unknown"] = Value::from("is skipped");
    assert_eq!(read(&other).unwrap().key(), full().key());
    let packed = full().pack().unwrap();
    for bytes in [&packed[..packed.len() / 2], b"", b"\x1f\x8b", &good] {
        assert!(matches!(Document::unpack(bytes), Err(DocumentError::Damaged(_))));
    }
}

#[test]
fn names_with_control_characters_are_refused() {
    const NAME: &str = "a\x1b]0;b\x07";
    type Change = fn(&mut Document);
    let spoilt: [(Change, &str); 5] = [
        (|document| document.inputs.args[0].name = NAME.to_owned(), "argument"),
        (|document| document.inputs.program.stages[0].name = Some(NAME.to_owned()), "stage"),
        (
            |document| document.inputs.program.stages[0].steps[0].keyword = NAME.to_owned(),
            "instruction",
        ),
        (
            |document| drop(document.inputs.options.insert(NAME.to_owned(), String::new())),
            "build option",
        ),
        (
            |document| {
                let value = DeclaredValue { name: NAME.to_owned(), value: String::new() };
                document.inputs.files = Files::Declared(vec![value]);
            },
            "declared value",
        ),
    ];
    for (spoil, what) in spoilt {
        let mut document = full();
        spoil(&mut document);
        let error = read(&json(&document)).unwrap_err().to_string();
        assert!(error.contains(&format!("{what}: {NAME:?} is no name")), "{error}");
    }
}

#[test]
fn a_document_that_unpacks_to_more_than_its_limit_is_not_held_in_memory() {
    use std::io::Write as _;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let blanks = vec![b' '; 1 << 20];
    for _ in 0..70 {
        bomb.write_all(&blanks).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    assert!(matches!(Document::unpack(&bomb), Err(DocumentError::TooLarge(_))));
}

#[test]
fn the_document_of_7000_files_is_small() {
    let entries = (0..7000).map(|number| {
        file(&format!("src/package{:02}/module_{number:05}.py", number / 100), &number.to_string())
    });
    let mut document = full();
    document.inputs.files = Files::Listed(listing(entries.collect()));
    let size = document.pack().unwrap().len();
    assert!(size < 400 * 1024, "{size} bytes");
}

fn said(old: &Document, new: &Document) -> Vec<String> {
    changes(old, new).iter().map(told).collect()
}

fn told(change: &Change) -> String {
    let mut text = format!("{} {} {}", change.what.as_str(), change.how.as_str(), change.subject);
    if change.from.is_some() || change.to.is_some() {
        let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
        text.push_str(&format!(": {} → {}", side(&change.from), side(&change.to)));
    }
    text
}

/// A change of a document, and what is said of it.
type Case = (fn(&mut Document), Vec<&'static str>);

#[test]
fn every_change_is_named() {
    fn arg(document: &mut Document, index: usize, value: Option<&str>) {
        let name = document.inputs.args[index].name.clone();
        document.inputs.args[index] = KeyedArg::new(name, value.map(str::to_owned));
    }
    fn entries(document: &mut Document, change: impl FnOnce(&mut Vec<Entry>)) {
        let Files::Listed(old) = &document.inputs.files else { panic!("listed") };
        let mut entries = old.entries().to_vec();
        change(&mut entries);
        entries.sort_by(|a, b| a.path().cmp(b.path()));
        document.inputs.files = Files::Listed(listing(entries));
    }
    let cases: Vec<Case> = vec![
        (
            |document| document.inputs.platform = "linux/amd64".parse().unwrap(),
            // The base is then for the image's own platform, so that it needs no more words.
            vec!["platform changed : linux/arm/v7 → linux/amd64"],
        ),
        (
            |document| entries(document, |entries| entries.push(file("new.txt", "new"))),
            vec!["file added docker/new.txt"],
        ),
        (
            |document| entries(document, |entries| entries[2] = file("bin/run", "#!!")),
            vec!["file changed docker/bin/run"],
        ),
        (
            |document| {
                entries(document, |entries| {
                    entries[2] =
                        node(b"bin/run", Node::Symlink { target: b"sh".as_slice().into() });
                });
            },
            vec!["file changed docker/bin/run: file → link"],
        ),
        (
            |document| {
                entries(document, |entries| {
                    entries.remove(2);
                    entries[0] = node(b"big", Node::Directory { mode: FileMode::DIRECTORY });
                });
            },
            vec!["file changed docker/big: 1777 → 0755", "file removed docker/bin/run"],
        ),
        (|document| arg(document, 2, Some("3.12")), vec!["argument changed VERSION: 3.11 → 3.12"]),
        (
            |document| arg(document, 0, Some("known now")),
            vec!["argument changed HIDDEN: (not recorded) → known now"],
        ),
        (|document| arg(document, 1, Some("")), vec!["argument changed UNSET: (no value) → "]),
        (
            |document| {
                document.inputs.args.pop();
                document.inputs.args.push(KeyedArg::new("X_TOKEN", Some("abc".to_owned())));
            },
            vec!["argument removed VERSION: 3.11 → -", "argument added X_TOKEN: - → abc"],
        ),
        (
            |document| {
                document.inputs.args[0] = KeyedArg::new("A_TOKEN", Some("abc".to_owned()));
                *document = document.without_secrets(&[]);
            },
            vec![
                "argument added A_TOKEN: - → (hidden)",
                "argument removed HIDDEN: (not recorded) → -",
            ],
        ),
        (
            |document| document.inputs.epoch = Some("2026-W48".to_owned()),
            vec!["epoch changed : 2026-W47 → 2026-W48"],
        ),
        (|document| document.inputs.epoch = None, vec!["epoch removed : 2026-W47 → -"]),
        (
            |document| {
                document.inputs.options.insert("shm-size".to_owned(), "1g".to_owned());
            },
            vec!["build option added shm-size: - → 1g"],
        ),
        (
            |document| document.inputs.dockerfile = Some(hash("other")),
            vec!["Dockerfile changed text"],
        ),
        (|document| document.inputs.dockerfile = None, vec!["Dockerfile removed text"]),
        (
            |document| {
                document.inputs.extra[0].listing = listing(vec![file("pyproject.toml", "[other]")]);
            },
            vec!["extra input changed ../pyproject.toml"],
        ),
        (|document| document.inputs.extra.clear(), vec!["extra input removed ../pyproject.toml"]),
        (|document| document.inputs.program.frontend = None, vec!["frontend changed : --flag → "]),
        (
            |document| document.inputs.program.stages[1].base = StageBase::Scratch,
            vec!["stage changed number 2: from stage number 1 → from scratch"],
        ),
        (
            |document| document.inputs.program.stages[1].platform = None,
            vec!["stage changed number 2: linux/amd64 → -"],
        ),
        (
            |document| {
                document.inputs.program.stages[0].steps.push(step(3, "RUN"));
            },
            vec!["instruction added RUN, line 3"],
        ),
        (
            |document| {
                document.inputs.program.stages.remove(2);
            },
            vec!["stage removed number 3"],
        ),
        (|document| document.inputs.uses.swap(0, 1), vec!["order changed inputs"]),
        (
            |document| document.inputs.needs[0].name = image("renamed"),
            // What it is called does not count.
            vec![],
        ),
    ];
    let old = full();
    for (change, expected) in cases {
        let mut new = old.clone();
        change(&mut new);
        let found = said(&old, &new);
        assert_eq!(found, expected);
        assert_eq!(found.is_empty(), old.key() == new.key());
        assert_eq!(said(&new, &old).len(), found.len());
    }
    let mut new = old.clone();
    new.inputs.uses[0] = ImageUseInput::Image { name: image("base"), key: key("other base") };
    let found = changes(&old, &new);
    let [change] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((change.what, change.how), (What::Dependency, How::Changed));
    assert_eq!((&*change.subject, &change.to), ("base", &Some(key("other base").to_string())));
    let mut new = old.clone();
    new.inputs.uses[1] = ImageUseInput::Base {
        reference: "debian:12".parse().unwrap(),
        platform: "linux/amd64".parse().unwrap(),
        digest: Digest::of(b"debian again"),
    };
    let found = changes(&old, &new);
    let [change] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(change.what, What::BaseImage);
    assert_eq!(change.subject, "docker.io/library/debian:12 (linux/amd64)");
    let found = said(&old, &declared());
    assert_eq!(
        found,
        [
            "file changed all files: listed → declared values",
            "declared value added numpy: - → 2.0",
            "declared value added torch: - → 2.9",
        ]
    );
}

#[test]
fn an_image_that_equals_another_is_still_added_or_removed() {
    let with = |names: &[&str]| {
        let mut document = full();
        let needs = names.iter().map(|name| NeedInput { name: image(name), key: key("other") });
        document.inputs.needs = needs.collect();
        let used = |name: &&str| ImageUseInput::Image { name: image(name), key: key("other") };
        document.inputs.uses = names.iter().map(used).collect();
        document
    };
    assert_eq!(
        said(&with(&["one"]), &with(&["one", "two"])),
        [format!("dependency added two: - → {}", key("other"))]
    );
    assert_eq!(
        said(&with(&["one", "two"]), &with(&["two"])),
        [format!("dependency removed one: {} → -", key("other"))]
    );
    assert_eq!(said(&with(&["one"]), &with(&["two"])), Vec::<String>::new());
}

#[test]
fn the_store_gives_back_what_it_was_given_and_forgets_the_oldest() {
    let test = TestProject::new(&[("dockit.toml", "[images.a]\n")]);
    let store = InputsStore::new(&test.load());
    let name = image("tools/full");
    assert_eq!(store.last(&name), None);
    let document = full();
    assert_eq!(store.get(&document.key()), None);
    store.keep(std::slice::from_ref(&document), &[&name]);
    assert_eq!(store.last(&name), Some(document.key()));
    assert_eq!(json(&store.get(&document.key()).unwrap()), json(&document));

    let at = |number: u32| {
        let mut document = full();
        document.inputs.epoch = Some(number.to_string());
        document
    };
    let many: Vec<Document> = (0..205).map(at).collect();
    for documents in many.chunks(50) {
        store.keep(documents, &[]);
        // So that the times of the files tell them apart.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let held = many.iter().filter(|document| store.get(&document.key()).is_some()).count();
    assert_eq!(held, 200, "the newest are kept");
    assert_eq!(store.get(&document.key()), None, "the oldest is gone");
    assert_eq!(store.last(&name), Some(document.key()), "what it was is still known");
}

#[test]
fn a_store_that_cannot_be_written_or_is_damaged_is_empty() {
    let test =
        TestProject::new(&[("dockit.toml", "[images.a]\n"), (".dockit", "a file in its place")]);
    let store = InputsStore::new(&test.load());
    let name = image("tools/full");
    store.keep(&[full()], &[&name]);
    assert_eq!((store.get(&full().key()), store.last(&name)), (None, None));

    let test = TestProject::new(&[("dockit.toml", "[images.a]\n")]);
    let store = InputsStore::new(&test.load());
    store.keep(&[full()], &[&name]);
    let file = format!(".dockit/inputs/{}.json.gz", full().key().tag());
    assert!(test.root().join(&file).is_file());
    // Another document under this one's name, and no document at all.
    std::fs::write(test.root().join(&file), declared().pack().unwrap()).unwrap();
    assert_eq!(store.get(&full().key()), None);
    test.write(&file, "garbage");
    assert_eq!(store.get(&full().key()), None);
    store.keep(&[full()], &[&name]);
    assert!(store.get(&full().key()).is_some(), "it is written again");
    test.write(".dockit/inputs/last/tools%full", "garbage");
    assert_eq!(store.last(&name), None);
}

#[cfg(unix)]
#[test]
fn a_store_that_is_a_link_is_not_followed() {
    for link in [".dockit", ".dockit/inputs", ".dockit/inputs/last"] {
        let test = TestProject::new(&[("dockit.toml", "[images.a]\n"), ("elsewhere/own", "")]);
        let store = InputsStore::new(&test.load());
        let place = test.root().join(link);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(test.root().join("elsewhere"), &place).unwrap();
        let name = image("tools/full");
        store.keep(&[full()], &[&name]);
        assert_eq!((store.get(&full().key()), store.last(&name)), (None, None), "{link}");
        let there = std::fs::read_dir(test.root().join("elsewhere")).unwrap();
        assert_eq!(there.count(), 1, "{link}");
    }
}

#[test]
fn the_store_forgets_nothing_but_documents() {
    let test = TestProject::new(&[("dockit.toml", "[images.a]\n")]);
    let store = InputsStore::new(&test.load());
    for number in 0..201 {
        test.write(&format!(".dockit/inputs/mine-{number}.json.gz"), "");
        test.write(&format!(".dockit/inputs/k1-{number}.json.gz"), "");
    }
    std::thread::sleep(std::time::Duration::from_millis(20));
    store.keep(&[full()], &[]);
    assert!(store.get(&full().key()).is_some());
    let files = std::fs::read_dir(test.root().join(".dockit/inputs")).unwrap();
    // With the document, and the directory of what images last were.
    assert_eq!(files.count(), 2 * 201 + 2);
}

fn a_name() -> impl Strategy<Value = ImageName> {
    "[a-z0-9]{1,5}(/[a-z0-9]{1,3})?".prop_map(|name| name.parse().unwrap())
}

prop_compose! {
    fn a_hash()(bytes: [u8; 32]) -> ContentHash {
        ContentHash::from_bytes(bytes)
    }
}

fn a_key() -> impl Strategy<Value = ImageKey> {
    a_hash().prop_map(|hash| format!("k1:{hash}").parse().unwrap())
}

fn a_path() -> impl Strategy<Value = ContextPath> {
    let part = prop::collection::vec(any::<u8>(), 1..6);
    prop::collection::vec(part, 1..4)
        .prop_filter_map("a path", |parts| ContextPath::new(&parts.join(&b'/')))
}

fn a_node() -> impl Strategy<Value = Node> {
    let mode = || (0..0o10000_u32).prop_map(FileMode::strict);
    prop_oneof![
        mode().prop_map(|mode| Node::Directory { mode }),
        prop::collection::vec(any::<u8>(), 0..9)
            .prop_map(|target| Node::Symlink { target: target.into() }),
        (mode(), any::<u64>(), a_hash(), any::<bool>()).prop_map(|(mode, size, hash, whole)| {
            let digest = if whole { FileDigest::Whole(hash) } else { FileDigest::Leaves(hash) };
            Node::File { mode, size, digest }
        }),
    ]
}

fn a_listing() -> impl Strategy<Value = Arc<Listing>> {
    prop::collection::btree_map(a_path(), a_node(), 0..6).prop_map(|entries| {
        listing(entries.into_iter().map(|(path, node)| Entry::new(path, node)).collect())
    })
}

fn a_step() -> impl Strategy<Value = ProgramStep> {
    (any::<u32>(), "[A-Z]{1,4}", a_hash()).prop_map(|(line, keyword, hash)| ProgramStep {
        line,
        keyword,
        hash,
    })
}

fn a_stage() -> impl Strategy<Value = ProgramStage> {
    let base = prop_oneof![
        Just(StageBase::Scratch),
        any::<usize>().prop_map(StageBase::Stage),
        any::<usize>().prop_map(StageBase::Image),
    ];
    let steps = || prop::collection::vec(a_step(), 0..4);
    (prop::option::of("\\PC{0,3}"), base, prop::option::of("\\PC{0,3}"), steps(), steps()).prop_map(
        |(name, base, platform, triggers, steps)| ProgramStage {
            name,
            base,
            platform,
            triggers,
            steps,
        },
    )
}

fn a_use() -> impl Strategy<Value = ImageUseInput> {
    prop_oneof![
        (a_name(), a_key()).prop_map(|(name, key)| ImageUseInput::Image { name, key }),
        ("[a-z]{1,3}", any::<u8>()).prop_map(|(name, byte)| ImageUseInput::Base {
            reference: format!("{name}:12").parse().unwrap(),
            platform: "linux/arm64".parse().unwrap(),
            digest: Digest::of(&[byte]),
        }),
    ]
}

fn an_arg() -> impl Strategy<Value = KeyedArg> {
    let value = prop_oneof![".{0,5}".prop_map(ArgValue::Plain), a_hash().prop_map(ArgValue::Hash)];
    ("[A-Z]{1,2}", prop::option::of(value)).prop_map(|(name, value)| KeyedArg { name, value })
}

fn a_document() -> impl Strategy<Value = Document> {
    let files = prop_oneof![
        a_listing().prop_map(Files::Listed),
        prop::collection::vec(("\\PC{0,3}", ".{0,3}"), 0..3).prop_map(|values| Files::Declared(
            values.into_iter().map(|(name, value)| DeclaredValue { name, value }).collect()
        )),
    ];
    let program = (prop::option::of(".{0,3}"), prop::collection::vec(a_stage(), 0..3))
        .prop_map(|(frontend, stages)| Program { frontend, stages });
    let needs = prop::collection::vec(
        (a_name(), a_key()).prop_map(|(name, key)| NeedInput { name, key }),
        0..3,
    );
    let extra = prop::collection::vec(
        (".{0,3}", a_listing()).prop_map(|(path, listing)| ExtraInput { path, listing }),
        0..2,
    );
    let names = (a_name(), prop::option::of(".{0,3}"));
    (
        names,
        program,
        prop::collection::vec(an_arg(), 0..4),
        prop::collection::vec(a_use(), 0..4),
        needs,
        files,
        prop::option::of(a_hash()),
        extra,
        prop::option::of(".{0,3}"),
        prop::collection::btree_map("\\PC{0,3}", ".{0,3}", 0..3),
    )
        .prop_map(
            |(
                (image, context),
                program,
                args,
                uses,
                needs,
                files,
                dockerfile,
                extra,
                epoch,
                options,
            )| {
                let platform = "linux/amd64".parse().unwrap();
                let inputs = KeyInputs {
                    platform,
                    program,
                    args,
                    uses,
                    needs,
                    files,
                    dockerfile,
                    extra,
                    epoch,
                    options,
                };
                Document { image, context, whole_context: Vec::new(), inputs }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_document_is_read_as_it_was_written(document in a_document()) {
        let again = Document::unpack(&document.pack().unwrap()).unwrap();
        prop_assert_eq!(again.key(), document.key());
        prop_assert_eq!(json(&again), json(&document));
    }

    #[test]
    fn nothing_is_said_exactly_of_what_has_the_same_key(one in a_document(), other in a_document()) {
        prop_assert_eq!(changes(&one, &other).is_empty(), one.key() == other.key());
        prop_assert!(changes(&one, &one.published(&[])).is_empty());
    }

    #[test]
    fn reading_anything_never_panics(bytes: Vec<u8>, cut in 0..4000_usize, byte: u8) {
        let _ = Document::from_json(&bytes);
        let _ = Document::unpack(&bytes);
        let mut json = full().to_json().unwrap();
        let position = cut.min(json.len() - 1);
        json[position] = byte;
        if let Ok(read) = Document::from_json(&json) {
            prop_assert_eq!(read.key(), full().key());
        }
    }
}
