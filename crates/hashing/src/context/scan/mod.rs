//! Finding what is in a build context, and hashing it, on all cores.
//!
//! Threads share one queue. The thread that lists a directory reads the small files in it at once;
//! further directories, the rest of wide ones, and larger files are tasks for whoever is free, and
//! files that are hashed in leaves are read by several threads at the same time. Waiting tasks hold
//! a few descriptors together, however many they are, so that neither depth nor width of a tree can
//! use them up.

mod held;
mod large;
mod order;
mod queue;
mod reader;
mod small;

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::SystemTime;

use self::held::{Held, Holding};
use self::large::Large;
use self::order::{DirectoryId, Item, Part, in_order};
use self::queue::Queue;
use self::reader::Reader;
use self::small::Waiting;
use super::archive::Archive;
use super::digest::{FileDigest, is_in_leaves};
use super::error::{ContextError, ContextErrorKind};
use super::ignore::{IgnoreRules, Verdict};
use super::listing::{Entry, Node};
use super::mode::FileMode;
use super::never::Never;
use super::path::ContextPath;
use super::selection::{Choice, Selection};
use super::stable_file::{BUFFER, StableFile};
use super::stamp::Stamp;
use super::stat_cache::{Learned, Memory, Record, StatCache, Window};
use super::tree::{Tree, Way};

/// Files of one directory that a thread reads in a row, if they are small.
const BATCH: usize = 128;

/// How often a file may change while it is read before it is an error.
const RETRIES: u32 = 1;

/// What of a context counts, and how it is read.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) strict_modes: bool,
    pub(super) stat_cache: Option<StatCache>,
}

/// Everything that is in the context and selected, with content digests, sorted by path, each path
/// once.
///
/// # Errors
///
/// Of everything that is wrong, the first by path.
pub(super) fn scan<T: Tree>(
    root: &Path,
    rules: &IgnoreRules,
    never: &Never,
    selection: &Selection,
    manner: &Manner,
) -> Result<Vec<Entry>, ContextError> {
    scan_at::<T>(root, rules, never, selection, manner, SystemTime::now())
}

/// The same, as if it was `start` now.
pub(super) fn scan_at<T: Tree>(
    root: &Path,
    rules: &IgnoreRules,
    never: &Never,
    selection: &Selection,
    manner: &Manner,
    start: SystemTime,
) -> Result<Vec<Entry>, ContextError> {
    let context = Context { rules, never, selection, strict_modes: manner.strict_modes };
    let tree = T::open(root).map_err(|error| ContextError::root(root, error))?;
    let memory = manner.stat_cache.as_ref().and_then(|cache| cache.recall(&tree, start));
    if let Some(memory) = memory {
        let scan = Scan::new(&tree, context, Some(&memory));
        // Were it for what is remembered that something failed, it must not fail again.
        if let Ok((entries, learned)) = scan.run() {
            memory.remember(learned);
            return Ok(entries);
        }
    }
    Scan::new(&tree, context, None).run().map(|(entries, _)| entries)
}

/// What of the directory counts.
#[derive(Clone, Copy)]
struct Context<'a> {
    rules: &'a IgnoreRules,
    never: &'a Never,
    selection: &'a Selection,
    strict_modes: bool,
}

struct Scan<'a, T: Tree> {
    tree: &'a T,
    context: Context<'a>,
    memory: Option<&'a Memory>,
    threads: usize,
    queue: Queue<Task<T>>,
    holding: Holding,
    /// How many were met so far.
    directories: AtomicU32,
    failed: AtomicBool,
    /// The first by path of all failures so far, and where it was.
    first_failure: Mutex<Option<Failed>>,
}

/// The root has no path, and so comes first.
type Failed = (Option<ContextPath>, ContextError);

enum Task<T: Tree> {
    Directory(Directory<T::Directory>),
    /// Some files of a directory.
    Files(DirectoryId, Vec<File>),
    /// A file that is not small.
    File(DirectoryId, ContextPath),
    /// To help with a large file, if it still needs help.
    Leaves(Weak<Large<T::File>>),
}

/// A directory to be read. The root has no path and is never excluded.
struct Directory<D> {
    id: DirectoryId,
    path: Option<ContextPath>,
    /// One that holds it, not always the nearest.
    above: Option<Arc<Held<D>>>,
    verdict: Verdict,
    choice: Choice,
}

impl<D> Directory<D> {
    fn way(&self) -> Option<Way<'_, D>> {
        self.above.as_ref().map(|held| held.way())
    }
}

/// A file that is listed.
struct File {
    path: ContextPath,
    /// Its stamp when it was hashed last, and its digest.
    known: Option<(Stamp, FileDigest)>,
}

/// What a thread has of its own.
struct Worker {
    buffer: Vec<u8>,
    waiting: Waiting,
    /// What it read of the stat cache.
    window: Window,
    found: Found,
}

#[derive(Default)]
struct Found {
    parts: Vec<Part>,
    learned: Vec<Learned>,
}

impl<'a, T: Tree> Scan<'a, T> {
    fn new(tree: &'a T, context: Context<'a>, memory: Option<&'a Memory>) -> Self {
        let choice = context.selection.root();
        let first = (choice.may_select_below && !context.never.holds_root()).then(|| {
            let verdict = Verdict::default();
            Task::Directory(Directory { id: 0, path: None, above: None, verdict, choice })
        });
        Self {
            tree,
            context,
            memory,
            threads: thread::available_parallelism().map_or(1, NonZero::get),
            queue: Queue::new(first),
            holding: Holding::default(),
            directories: AtomicU32::new(1),
            failed: AtomicBool::new(false),
            first_failure: Mutex::new(None),
        }
    }

    fn run(self) -> Result<(Vec<Entry>, Vec<Learned>), ContextError> {
        let Found { parts, learned } = self.find();
        let first_failure = self.first_failure.into_inner();
        if let Some((_, error)) = first_failure.unwrap_or_else(|poisoned| poisoned.into_inner()) {
            return Err(error);
        }
        let entries = in_order(self.directories.into_inner() as usize, parts);
        let reserved = Archive::DOCKERFILE_NAME.as_bytes();
        match entries.binary_search_by(|entry| entry.path.as_bytes().cmp(reserved)) {
            Ok(index) => {
                let location = entries[index].path.below(self.tree.root());
                Err(ContextError::new(ContextErrorKind::ReservedName, location))
            }
            Err(_) => Ok((entries, learned)),
        }
    }

    fn find(&self) -> Found {
        let work = || {
            let mut worker = Worker {
                buffer: vec![0; BUFFER],
                waiting: Waiting::default(),
                window: Window::default(),
                found: Found::default(),
            };
            self.queue.work(|task| self.work_on(task, &mut worker));
            self.hash_waiting(&mut worker);
            worker.found
        };
        thread::scope(|scope| {
            let others: Vec<_> = (1..self.threads).map(|_| scope.spawn(work)).collect();
            let mut found = work();
            for thread in others {
                let other = thread.join();
                let other = other.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                found.parts.extend(other.parts);
                found.learned.extend(other.learned);
            }
            found
        })
    }

    fn work_on(&self, task: Task<T>, worker: &mut Worker) {
        match task {
            Task::Directory(directory) => self.read_directory(directory, worker),
            Task::Files(directory, files) => self.hash_batch(directory, files, worker),
            Task::File(directory, path) => self.hash_file(directory, path, RETRIES, worker),
            Task::Leaves(large) => {
                if let Some(large) = large.upgrade() {
                    self.hash_leaves(large, worker);
                }
            }
        }
    }

    fn read_directory(&self, directory: Directory<T::Directory>, worker: &mut Worker) {
        let path = directory.path.as_ref();
        if self.is_behind_failure(path) {
            return;
        }
        let window = &mut worker.window;
        let known = self.memory.and_then(|memory| memory.directory(path, window));
        let mut reader = Reader {
            scan: self,
            directory: &directory,
            items: Vec::new(),
            files: Vec::new(),
            below: Vec::new(),
        };
        let opened = match known.as_ref().and_then(|record| self.as_recorded(&directory, record)) {
            Some((opened, record)) => {
                reader.repeat(record);
                opened
            }
            None => match reader.list(known.as_ref(), &mut worker.found.learned) {
                Ok(opened) => opened,
                Err(failure) => {
                    let error = failure.at(&self.location(path));
                    return self.fail(directory.path, error);
                }
            },
        };
        let Reader { items, mut files, below, .. } = reader;
        let more = files.split_off(files.len().min(BATCH));
        let id = directory.id;
        if below.is_empty() {
            self.queue.add(batches(id, more));
            return self.hash_files(id, &opened, files, items, worker);
        }
        let held = self.holding.hold(opened, path);
        let above = held.as_ref().ok().or(directory.above.as_ref());
        // The first of them is the next to be read, so that records are asked for in their order.
        let below = below.into_iter().rev();
        self.queue
            .add(below.map(|below| Task::Directory(Directory { above: above.cloned(), ..below })));
        self.queue.add(batches(id, more));
        let opened = held.as_ref().map_or_else(|opened| opened, |held| held.directory());
        self.hash_files(id, opened, files, items, worker);
    }

    /// The open directory, if the names in it are those of the record.
    fn as_recorded<'r, 'c>(
        &self,
        directory: &Directory<T::Directory>,
        record: &'r Record<'c>,
    ) -> Option<(T::Directory, &'r Record<'c>)> {
        let stamp = record.stamp?;
        let opened = self.tree.near(directory.way(), directory.path.as_ref()).ok()?;
        let now = self.tree.directory_stamp(&opened).ok()?;
        (now == stamp).then_some((opened, record))
    }

    fn hash_batch(&self, directory: DirectoryId, files: Vec<File>, worker: &mut Worker) {
        let Some(first) = files.first().filter(|first| !self.is_behind_failure(Some(&first.path)))
        else {
            return;
        };
        let parent = first.path.parent();
        match self.tree.near(None, parent.as_ref()) {
            Ok(opened) => self.hash_files(directory, &opened, files, Vec::new(), worker),
            Err(failure) => {
                let error = failure.at(&self.location(parent.as_ref()));
                self.fail(parent, error);
            }
        }
    }

    /// Remembers the digest of a file, if its stamp will tell a change.
    fn learn(
        &self,
        learned: &mut Option<Learned>,
        path: &ContextPath,
        stamp: &Stamp,
        digest: &FileDigest,
    ) {
        if self.memory.is_some_and(|memory| memory.trusts(stamp)) {
            let learned = learned.get_or_insert_with(|| Learned::about(path.parent()));
            learned.hashed(path.name(), stamp, digest);
        }
    }

    /// A file that was hashed in a task of its own.
    fn found_file(
        &self,
        directory: DirectoryId,
        path: ContextPath,
        stamp: &Stamp,
        digest: FileDigest,
        found: &mut Found,
    ) {
        let mut learned = None;
        self.learn(&mut learned, &path, stamp, &digest);
        found.learned.extend(learned);
        let items = vec![Item::Entry(self.file_entry(path, stamp, digest))];
        found.parts.push(Part::new(directory, items));
    }

    fn hash_file(
        &self,
        directory: DirectoryId,
        path: ContextPath,
        retries: u32,
        worker: &mut Worker,
    ) {
        if self.is_behind_failure(Some(&path)) {
            return;
        }
        let result = retry(retries, || {
            let file = StableFile::open(self.tree, None, &path)?;
            if is_in_leaves(file.stamp().size) {
                return Ok(Err(file.into_parts()));
            }
            let digest = file.read(&mut worker.buffer, |_| Ok(()))?;
            Ok(Ok((*file.stamp(), digest)))
        });
        match result {
            Ok(Ok((stamp, digest))) => {
                self.found_file(directory, path, &stamp, digest, &mut worker.found);
            }
            Ok(Err(parts)) => {
                let large = Arc::new(Large::new(path, directory, parts, retries));
                self.queue.add((1..self.threads).map(|_| Task::Leaves(Arc::downgrade(&large))));
                self.hash_leaves(large, worker);
            }
            Err(error) => self.fail(Some(path), error),
        }
    }

    fn hash_leaves(&self, large: Arc<Large<T::File>>, worker: &mut Worker) {
        let path = &large.path;
        match large.work(&mut worker.buffer) {
            None => {}
            Some(Ok(digest)) => {
                let (directory, path) = (large.directory, path.clone());
                self.found_file(directory, path, &large.stamp, digest, &mut worker.found);
            }
            Some(Err(failure)) => {
                let error = failure.at(&self.location(Some(path)));
                match (error.kind(), large.retries.checked_sub(1)) {
                    (ContextErrorKind::Changed, Some(retries)) => {
                        self.hash_file(large.directory, path.clone(), retries, worker);
                    }
                    _ => self.fail(Some(path.clone()), error),
                }
            }
        }
    }

    fn file_entry(&self, path: ContextPath, stamp: &Stamp, digest: FileDigest) -> Entry {
        let mode = if self.context.strict_modes {
            FileMode::strict(stamp.mode)
        } else {
            FileMode::normalise(stamp.mode)
        };
        Entry { path, node: Node::File { mode, size: stamp.size, digest } }
    }

    fn location(&self, path: Option<&ContextPath>) -> PathBuf {
        path.map_or_else(|| self.tree.root().to_owned(), |path| path.below(self.tree.root()))
    }

    fn fail(&self, path: Option<ContextPath>, error: ContextError) {
        let mut first = self.first_failure();
        if first.as_ref().is_none_or(|(before, _)| path < *before) {
            *first = Some((path, error));
        }
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Whether it does not matter any more what is at the path. What is before the first failure
    /// still does: which failure is reported must not depend on which thread came first.
    fn is_behind_failure(&self, path: Option<&ContextPath>) -> bool {
        self.failed.load(Ordering::Relaxed)
            && self.first_failure().as_ref().is_some_and(|(before, _)| path > before.as_ref())
    }

    fn first_failure(&self) -> MutexGuard<'_, Option<Failed>> {
        self.first_failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn batches<T: Tree>(directory: DirectoryId, files: Vec<File>) -> Vec<Task<T>> {
    let mut files = files.into_iter();
    let mut batches = Vec::new();
    loop {
        let batch: Vec<_> = files.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return batches;
        }
        batches.push(Task::Files(directory, batch));
    }
}

/// Tries again when the file changed.
fn retry<R>(
    mut retries: u32,
    mut look: impl FnMut() -> Result<R, ContextError>,
) -> Result<R, ContextError> {
    loop {
        match look() {
            Err(error) if error.kind() == ContextErrorKind::Changed && retries > 0 => retries -= 1,
            result => return result,
        }
    }
}
