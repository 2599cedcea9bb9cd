//! Hashing what was found, on all cores.

use std::num::NonZero;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::error::{ContextError, ContextErrorKind};
use super::listing::{Entry, Node};
use super::stable_file::{BUFFER, StableFile};
use super::walk::{Found, FoundKind};

/// Looks into every file, in no particular order. The entries keep the order of `found`.
pub(super) fn hash_files(root: &Path, found: Vec<Found>) -> Result<Vec<Entry>, ContextError> {
    let files = found.iter().filter(|found| matches!(found.kind, FoundKind::File)).count();
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(files).max(1);
    let jobs = Jobs {
        root,
        waiting: Mutex::new(found.into_iter().enumerate()),
        stopped: AtomicBool::new(false),
    };
    let results: Vec<_> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| jobs.work())).collect();
        let own = jobs.work();
        let others = others
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        std::iter::once(own).chain(others).collect()
    });
    let mut entries = Vec::new();
    let mut first_error: Option<(usize, ContextError)> = None;
    for result in results {
        match result {
            Ok(done) => entries.extend(done),
            Err(error) if first_error.as_ref().is_none_or(|first| error.0 < first.0) => {
                first_error = Some(error);
            }
            Err(_) => {}
        }
    }
    if let Some((_, error)) = first_error {
        return Err(error);
    }
    entries.sort_unstable_by_key(|(index, _)| *index);
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// What is to be done, by index.
struct Jobs<'a, I> {
    root: &'a Path,
    waiting: Mutex<I>,
    /// Set after the first error.
    stopped: AtomicBool,
}

type Failure = (usize, ContextError);

impl<I: Iterator<Item = (usize, Found)>> Jobs<'_, I> {
    fn work(&self) -> Result<Vec<(usize, Entry)>, Failure> {
        let mut buffer = vec![0; BUFFER];
        let mut done = Vec::new();
        while !self.stopped.load(Ordering::Relaxed) {
            let Some((index, found)) = self.next() else {
                break;
            };
            let node = self.node(&found, &mut buffer).map_err(|error| {
                self.stopped.store(true, Ordering::Relaxed);
                (index, error)
            })?;
            done.push((index, Entry { path: found.path, node }));
        }
        Ok(done)
    }

    fn next(&self) -> Option<(usize, Found)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        waiting.next()
    }

    fn node(&self, found: &Found, buffer: &mut [u8]) -> Result<Node, ContextError> {
        match &found.kind {
            FoundKind::Directory => Ok(Node::Directory),
            FoundKind::Symlink { target } => Ok(Node::Symlink { target: target.clone() }),
            FoundKind::File => {
                let location = found.path.below(self.root);
                match file(&location, buffer) {
                    Err(error) if error.kind() == ContextErrorKind::Changed => {
                        file(&location, buffer)
                    }
                    result => result,
                }
            }
        }
    }
}

fn file(location: &Path, buffer: &mut [u8]) -> Result<Node, ContextError> {
    let file = StableFile::open(location)?;
    let (size, mode) = (file.size, file.mode);
    let digest = file.read(buffer, |_| Ok(()))?;
    Ok(Node::File { mode, size, digest })
}
