//! A listing with a stat cache is the listing without one.
//!
//! To see what is taken from the cache, some tests put digests into it that no content has: where the
//! listing shows one, the cache was believed. The time is set an hour forward where files that were
//! written just now are to be trusted.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::error::ContextError;
use super::super::ignore::IgnoreRules;
use super::super::listing::{Entry, Node};
use super::super::never::Never;
use super::super::scan::{Manner, scan_at};
use super::super::selection::Selection;
use super::super::tree::{Failure, Kind, SystemTree, Tree, Way};
use super::format::Names;
use super::*;
use crate::content_hash::ContentHash;

/// Trusts whatever file system the tests run on.
struct Trusting(SystemTree);

impl Tree for Trusting {
    type Directory = <SystemTree as Tree>::Directory;
    type File = <SystemTree as Tree>::File;

    fn open(root: &Path) -> io::Result<Self> {
        SystemTree::open(root).map(Self)
    }

    fn root(&self) -> &Path {
        self.0.root()
    }

    fn directory(
        &self,
        way: Option<Way<'_, Self::Directory>>,
        path: Option<&ContextPath>,
    ) -> Result<Self::Directory, Failure> {
        self.0.directory(way, path)
    }

    fn near(
        &self,
        way: Option<Way<'_, Self::Directory>>,
        path: Option<&ContextPath>,
    ) -> Result<Self::Directory, Failure> {
        self.0.near(way, path)
    }

    fn directory_stamp(&self, directory: &Self::Directory) -> io::Result<Stamp> {
        self.0.directory_stamp(directory)
    }

    fn trusted_device(&self) -> Option<u64> {
        self.stat(None).ok().map(|stamp| stamp.device)
    }

    fn list(
        &self,
        directory: &Self::Directory,
        each: &mut dyn FnMut(&OsStr, io::Result<Kind>),
    ) -> io::Result<()> {
        self.0.list(directory, each)
    }

    fn file(
        &self,
        directory: Option<&Self::Directory>,
        path: &ContextPath,
    ) -> Result<Self::File, Failure> {
        self.0.file(directory, path)
    }

    fn link(
        &self,
        directory: Option<&Self::Directory>,
        path: &ContextPath,
    ) -> Result<Box<[u8]>, Failure> {
        self.0.link(directory, path)
    }

    fn stat(&self, path: Option<&ContextPath>) -> io::Result<Stamp> {
        self.0.stat(path)
    }

    fn stat_in(&self, directory: &Self::Directory, path: &ContextPath) -> io::Result<Stamp> {
        self.0.stat_in(directory, path)
    }
}

/// A context and a cache.
struct Place {
    directory: TempDir,
    cache: StatCache,
}

/// Later than everything that the tests write.
fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

/// Longer than a file system's clock needs for a tick.
fn tick() {
    thread::sleep(Duration::from_millis(20));
}

fn poison() -> FileDigest {
    FileDigest::Whole(ContentHash::of(b"no content has this digest as its own"))
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("context")).expect("made");
        let cache = StatCache::new(directory.path().join("some/caches"));
        Self { directory, cache }
    }

    fn example() -> Self {
        let place = Self::new();
        place.write("a", "one");
        place.write("b/c", "two");
        place.write("b/d/e", "three");
        place.write("f/e", "other");
        place.write("medium", &"m".repeat(200 * 1024));
        place.write("large", &"l".repeat(1024 * 1024 + 1));
        fs::create_dir(place.at("empty")).expect("made");
        symlink("a", place.at("link")).expect("linked");
        place
    }

    fn root(&self) -> PathBuf {
        self.at("")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join("context").join(path)
    }

    fn write(&self, path: &str, content: &str) {
        let location = self.at(path);
        fs::create_dir_all(location.parent().expect("a parent")).expect("made");
        fs::write(location, content).expect("written");
    }

    fn try_list(
        &self,
        rules: &str,
        cache: Option<&StatCache>,
        start: SystemTime,
    ) -> Result<Vec<Entry>, ContextError> {
        let manner = Manner { strict_modes: true, stat_cache: cache.cloned() };
        let rules = IgnoreRules::parse(rules.as_bytes()).expect("rules");
        let (never, whole) = (Never::new(&[]), Selection::whole());
        scan_at::<Trusting>(&self.root(), &rules, &never, &whole, &manner, start)
    }

    fn list_at(&self, start: SystemTime) -> Vec<Entry> {
        self.try_list("", Some(&self.cache), start).expect("a listing")
    }

    fn list(&self) -> Vec<Entry> {
        self.list_at(later())
    }

    fn list_plainly(&self) -> Vec<Entry> {
        self.try_list("", None, later()).expect("a listing")
    }

    fn caches(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.cache.directory) else { return Vec::new() };
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }

    fn only_cache(&self) -> PathBuf {
        let caches = self.caches();
        let [cache] = &*caches else { panic!("{caches:?}") };
        cache.clone()
    }

    /// Makes the cache say of every file that it has the poison's digest, as far as it believes what
    /// it is told at the time.
    fn poison_at(&self, start: SystemTime) {
        let tree = Trusting::open(&self.root()).expect("the root");
        let memory = self.cache.recall(&tree, start).expect("trusted");
        let mut learned = Vec::new();
        let mut directories = vec![None];
        while let Some(path) = directories.pop() {
            let directory = tree.directory(None, path.as_ref()).expect("opened");
            let stamp = tree.directory_stamp(&directory).expect("a stamp");
            let mut about = Learned::about(path.clone());
            let mut names = Names::default();
            tree.list(&directory, &mut |name, kind| {
                let kind = kind.expect("a kind");
                names.add(name.as_encoded_bytes(), kind);
                let child = ContextPath::child(path.as_ref(), name);
                let stamp = tree.stat(Some(&child)).expect("a stamp");
                match kind {
                    Kind::Directory => directories.push(Some(child)),
                    Kind::File if memory.trusts(&stamp) => {
                        about.hashed(child.name(), &stamp, &poison());
                    }
                    _ => {}
                }
            })
            .expect("listed");
            about.listed(names, Some(stamp).filter(|stamp| memory.trusts(stamp)));
            learned.push(about);
        }
        memory.remember(learned);
    }

    fn poison(&self) {
        self.poison_at(later());
        tick();
    }
}

fn digests(entries: &[Entry]) -> BTreeMap<String, FileDigest> {
    let digest = |entry: &Entry| match entry.node {
        Node::File { digest, .. } => Some((entry.path.to_string(), digest)),
        _ => None,
    };
    entries.iter().filter_map(digest).collect()
}

/// The files whose digest was taken from the cache.
fn believed(entries: &[Entry]) -> Vec<String> {
    let digests = digests(entries).into_iter();
    digests.filter(|(_, digest)| *digest == poison()).map(|(path, _)| path).collect()
}

const FILES: [&str; 6] = ["a", "b/c", "b/d/e", "f/e", "large", "medium"];

#[test]
fn what_did_not_change_is_taken_from_the_cache() {
    let place = Place::example();
    let plain = place.list_plainly();
    assert_eq!(place.list(), plain);
    assert_eq!(place.list(), plain);
    place.poison();
    let poisoned = place.list();
    assert_eq!(believed(&poisoned), FILES);
    assert!(poisoned.iter().map(|entry| &entry.path).eq(plain.iter().map(|entry| &entry.path)));
}

#[test]
fn what_changed_is_not() {
    type Change = fn(&Place);
    let table: [(&str, &[&str], Change); 14] = [
        ("nothing", &[], |_| {}),
        ("content", &["a"], |place| place.write("a", "uno")),
        ("content of equal size, with the time put back", &["b/c"], |place| {
            let modified = fs::metadata(place.at("b/c")).and_then(|was| was.modified());
            place.write("b/c", "TWO");
            let file = File::open(place.at("b/c")).expect("opened");
            file.set_modified(modified.expect("a time")).expect("the time");
        }),
        ("appended to", &["large"], |place| {
            let mut file = File::options().append(true).open(place.at("large")).expect("opened");
            io::Write::write_all(&mut file, b"+").expect("written");
        }),
        ("one byte in the middle", &["medium"], |place| {
            let file = File::options().write(true).open(place.at("medium")).expect("opened");
            std::os::unix::fs::FileExt::write_at(&file, b"M", 1000).expect("written");
        }),
        ("mode", &["a"], |place| {
            let mode = fs::Permissions::from_mode(0o700);
            fs::set_permissions(place.at("a"), mode).expect("the mode");
        }),
        ("touched", &["b/d/e"], |place| {
            let file = File::open(place.at("b/d/e")).expect("opened");
            let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
            file.set_times(times).expect("the times");
        }),
        ("replaced by another file", &["a"], |place| {
            place.write("new", "uno");
            fs::rename(place.at("new"), place.at("a")).expect("renamed");
        }),
        ("two files exchanged", &["a", "b/c"], |place| {
            fs::rename(place.at("a"), place.at("x")).expect("renamed");
            fs::rename(place.at("b/c"), place.at("a")).expect("renamed");
            fs::rename(place.at("x"), place.at("b/c")).expect("renamed");
        }),
        ("directories exchanged", &["b/d/e", "f/e"], |place| {
            fs::rename(place.at("b/d"), place.at("x")).expect("renamed");
            fs::rename(place.at("f"), place.at("b/d")).expect("renamed");
            fs::rename(place.at("x"), place.at("f")).expect("renamed");
        }),
        ("removed and added", &["b/c"], |place| {
            fs::remove_file(place.at("b/c")).expect("removed");
            place.write("b/new", "new");
        }),
        ("a file becomes a directory", &["a"], |place| {
            fs::remove_file(place.at("a")).expect("removed");
            place.write("a/b", "below");
        }),
        ("a directory becomes a link", &["f/e"], |place| {
            fs::rename(place.at("f"), place.directory.path().join("f")).expect("renamed");
            symlink("b/d", place.at("f")).expect("linked");
        }),
        ("a link becomes a file, an empty directory goes", &[], |place| {
            fs::remove_file(place.at("link")).expect("removed");
            place.write("link", "one");
            fs::remove_dir(place.at("empty")).expect("removed");
        }),
    ];
    for (what, changed, change) in table {
        let place = Place::example();
        place.poison();
        change(&place);
        let (listing, plain) = (place.list(), place.list_plainly());
        let paths = |entries: &[Entry]| -> Vec<_> {
            entries.iter().map(|entry| entry.path.to_string()).collect()
        };
        assert_eq!(paths(&listing), paths(&plain), "{what}");
        // A renamed file may be as good as new: that some are read without need is no mistake.
        let believed = believed(&listing);
        let plain = digests(&plain);
        for (path, digest) in digests(&listing) {
            let fresh = changed.contains(&&*path) || !FILES.contains(&&*path);
            assert!(!fresh || digest == plain[&path], "{what}: {path}");
            assert!(fresh || believed.contains(&path), "{what}: {path} was read again");
        }
        // Once more: what was learned about the change is right as well.
        tick();
        for (path, digest) in digests(&place.list()) {
            assert!(digest == plain[&path] || digest == poison(), "{what}: {path}");
        }
    }
}

#[test]
fn what_was_written_just_now_is_not_remembered() {
    let start = SystemTime::now();
    let place = Place::new();
    place.write("a", "one");
    place.write("b/c", "two");
    place.poison_at(start);
    assert_eq!(place.caches(), Vec::<PathBuf>::new());
    for round in 0..100 {
        place.write("a", &format!("{round:03}"));
        assert_eq!(place.list_at(start), place.list_plainly(), "round {round}");
    }
    assert_eq!(place.caches(), Vec::<PathBuf>::new());
}

#[test]
fn times_in_the_future_are_not_trusted() {
    let place = Place::example();
    let file = File::open(place.at("a")).expect("opened");
    file.set_modified(later() + Duration::from_secs(60)).expect("the time");
    place.poison();
    assert!(!believed(&place.list()).contains(&"a".to_owned()));
}

#[test]
fn a_clock_that_was_turned_back_is_noticed() {
    let place = Place::example();
    place.poison_at(later() + Duration::from_secs(60));
    assert_eq!(believed(&place.list_at(later())), Vec::<String>::new());
}

#[test]
fn a_damaged_cache_is_never_wrong() {
    let place = Place::new();
    place.write("a", "one");
    place.write("b/c", "two");
    let plain = place.list_plainly();
    place.list();
    let cache = place.only_cache();
    let whole = fs::read(&cache).expect("the cache");
    for length in 0..whole.len() {
        fs::write(&cache, &whole[..length]).expect("written");
        assert_eq!(place.list(), plain, "{length} bytes");
    }
    for index in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[index] ^= 1 << (index % 8);
        fs::write(&cache, &damaged).expect("written");
        assert_eq!(place.list(), plain, "byte {index}");
    }
    fs::write(&cache, [&*whole, b"\0"].concat()).expect("written");
    assert_eq!(place.list(), plain);
    // A poisoned one, damaged: whatever is still believed was whole.
    place.poison();
    let whole = fs::read(&cache).expect("the cache");
    for index in (0..whole.len()).step_by(5) {
        let mut damaged = whole.clone();
        damaged[index] ^= 0x80;
        fs::write(&cache, &damaged).expect("written");
        for (path, digest) in digests(&place.list()) {
            assert!(digest == poison() || digest == digests(&plain)[&path], "byte {index}: {path}");
        }
    }
}

#[test]
fn a_cache_of_another_context_is_not_believed() {
    let place = Place::example();
    place.poison();
    let other = Place::example();
    other.list();
    fs::copy(place.only_cache(), other.only_cache()).expect("copied");
    assert_eq!(other.list(), other.list_plainly());

    // The same place, another directory.
    fs::rename(place.root(), place.directory.path().join("old")).expect("renamed");
    place.write("a", "uno");
    assert_eq!(place.list(), place.list_plainly());
}

#[test]
fn what_is_ignored_stays_known() {
    let place = Place::example();
    place.poison();
    tick();
    place.write("a", "uno");
    let listing = place.try_list("b", Some(&place.cache), later()).expect("a listing");
    assert_eq!(believed(&listing), ["f/e", "large", "medium"]);
    assert_eq!(believed(&place.list()), ["b/c", "b/d/e", "f/e", "large", "medium"]);

    fs::remove_dir_all(place.at("b")).expect("removed");
    let before = fs::metadata(place.only_cache()).expect("the cache").len();
    place.list();
    let after = fs::metadata(place.only_cache()).expect("the cache").len();
    assert!(after < before, "what is gone is forgotten: {before} {after}");
}

#[test]
fn a_cache_that_cannot_be_written_is_no_error() {
    let place = Place::example();
    let plain = place.list_plainly();
    fs::write(place.directory.path().join("some"), "no directory").expect("written");
    assert_eq!(place.list(), plain);

    let other = Place::example();
    other.list();
    let cache = other.only_cache();
    fs::remove_file(&cache).expect("removed");
    fs::create_dir(&cache).expect("made");
    assert_eq!(other.list(), plain);
}

#[test]
fn old_caches_go() {
    let place = Place::example();
    fs::create_dir_all(&place.cache.directory).expect("made");
    let made = |name: String, age: u64| {
        let location = place.cache.directory.join(name);
        fs::write(&location, "").expect("written");
        let modified = SystemTime::now() - Duration::from_secs(age);
        File::open(&location).and_then(|file| file.set_modified(modified)).expect("the time");
    };
    (0..100).for_each(|index| made(format!("{index:03}.stats"), 1000 + index));
    made("x.stats.1-1.unfinished".to_owned(), 100_000);
    made("y.stats.1-1.unfinished".to_owned(), 10);
    made("not of ours".to_owned(), 1_000_000);
    place.list();
    let mut left: Vec<_> = place.caches();
    left.sort();
    let names: Vec<_> = left.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert_eq!(names.iter().filter(|name| name.ends_with(".stats")).count(), 64);
    assert!(names.contains(&"062.stats") && !names.contains(&"063.stats"), "{names:?}");
    assert!(names.contains(&"y.stats.1-1.unfinished") && names.contains(&"not of ours"));
    assert!(!names.contains(&"x.stats.1-1.unfinished"));
}

#[test]
fn several_may_use_it_at_the_same_time() {
    let place = Place::example();
    let plain = place.list_plainly();
    thread::scope(|scope| {
        for thread in 0..4 {
            let (place, plain) = (&place, &plain);
            scope.spawn(move || {
                for round in 0..25 {
                    if (round + thread) % 5 == 0 {
                        // Another may have removed it before.
                        let _ = place.caches().first().map(fs::remove_file);
                    }
                    assert_eq!(place.list(), *plain);
                }
            });
        }
    });
    let place = Place::example();
    place.list();
    let written = fs::metadata(place.only_cache()).and_then(|was| was.modified()).expect("a time");
    place.list();
    let still = fs::metadata(place.only_cache()).and_then(|was| was.modified()).expect("a time");
    assert_eq!(written, still, "what is known already is not written again");
}

#[test]
fn the_cache_is_private() {
    let place = Place::example();
    place.list();
    let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o077;
    assert_eq!((mode(&place.cache.directory), mode(&place.only_cache())), (0, 0));
}

/// A change of a tree with few names, so that changes meet.
#[derive(Clone, Debug)]
enum Edit {
    Write(&'static str, u8, usize),
    WriteBack(&'static str, u8),
    Remove(&'static str),
    Rename(&'static str, &'static str),
    Link(&'static str, &'static str),
    Directory(&'static str),
    Mode(&'static str, u32),
    Ignore(&'static str),
}

fn edit() -> impl Strategy<Value = Edit> {
    let path = || prop::sample::select(vec!["a", "b", "a/c", "b/c", "a/d", "a/d/e", "b/d/e", "f"]);
    prop_oneof![
        4 => (path(), any::<u8>(), prop::sample::select(vec![0, 3, 3, 200_000, 1_100_000]))
            .prop_map(|(path, byte, size)| Edit::Write(path, byte, size)),
        3 => (path(), any::<u8>()).prop_map(|(path, byte)| Edit::WriteBack(path, byte)),
        2 => path().prop_map(Edit::Remove),
        4 => (path(), path()).prop_map(|(from, to)| Edit::Rename(from, to)),
        1 => (path(), path()).prop_map(|(from, to)| Edit::Link(from, to)),
        1 => path().prop_map(Edit::Directory),
        1 => (path(), prop::sample::select(vec![0o644, 0o755, 0o700]))
            .prop_map(|(path, mode)| Edit::Mode(path, mode)),
        1 => path().prop_map(Edit::Ignore),
    ]
}

impl Edit {
    /// What cannot be done is left undone.
    fn apply(&self, place: &Place) -> io::Result<()> {
        match self {
            Self::Write(path, byte, size) => {
                if let Some(parent) = place.at(path).parent() {
                    fs::create_dir_all(parent)?;
                }
                fs::write(place.at(path), vec![*byte; *size])
            }
            Self::WriteBack(path, byte) => {
                let metadata = fs::symlink_metadata(place.at(path))?;
                if metadata.is_file() {
                    fs::write(place.at(path), vec![*byte; metadata.len() as usize])?;
                    File::open(place.at(path))?.set_modified(metadata.modified()?)?;
                }
                Ok(())
            }
            Self::Remove(path) => {
                fs::remove_dir_all(place.at(path)).or_else(|_| fs::remove_file(place.at(path)))
            }
            Self::Rename(from, to) => fs::rename(place.at(from), place.at(to)),
            Self::Link(path, to) => symlink(to, place.at(path)),
            Self::Directory(path) => fs::create_dir_all(place.at(path)),
            Self::Mode(path, mode) => {
                fs::set_permissions(place.at(path), fs::Permissions::from_mode(*mode))
            }
            Self::Ignore(_) => Ok(()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_listing_is_the_same_with_and_without(
        edits in prop::collection::vec(prop::collection::vec(edit(), 1..4), 1..8),
    ) {
        let place = Place::new();
        for edits in edits {
            let mut rules = "";
            for edit in &edits {
                // Many edits have nothing to work on.
                let _ = edit.apply(&place);
                if let Edit::Ignore(path) = edit {
                    rules = path;
                }
            }
            let with = place.try_list(rules, Some(&place.cache), later()).expect("a listing");
            let without = place.try_list(rules, None, later()).expect("a listing");
            prop_assert_eq!(with, without);
            tick();
        }
    }
}
