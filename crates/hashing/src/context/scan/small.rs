//! Small files, which a thread reads one by one and hashes many together.
//!
//! A processor hashes two contents in less time than one after the other, and most directories hold
//! too few files to find it one of about the same length. So contents wait, across directories,
//! until there is no room for another.

use super::super::digest::{FileDigest, hash_wholes};
use super::super::error::ContextError;
use super::super::path::ContextPath;
use super::super::stable_file::{BUFFER, StableFile};
use super::super::stamp::Stamp;
use super::super::stat_cache::Learned;
use super::super::tree::Tree;
use super::order::{DirectoryId, Item, Part};
use super::{File, RETRIES, Scan, Task, Worker, retry};

/// Bytes up to which a file is read by the thread that lists its directory.
const SMALL: u64 = BUFFER as u64;

/// Bytes of contents that wait: room for the largest after many others, and so few that they are
/// still in the core's own cache when they are hashed.
const ROOM: usize = 2 * BUFFER;

/// Contents begin at multiples of it, so that no load touches two lines of the processor's cache.
const LINE: usize = 64;

/// Files that were read and are not hashed yet.
pub(super) struct Waiting {
    buffer: Vec<u8>,
    used: usize,
    files: Vec<Read>,
    /// Where they are. What comes next is in the last one.
    directories: Vec<Open>,
}

/// A file whose content is in the buffer.
struct Read {
    directory: usize,
    path: ContextPath,
    stamp: Stamp,
    start: usize,
}

/// What is known of a directory of which files wait.
struct Open {
    directory: DirectoryId,
    items: Vec<Item>,
    learned: Option<Learned>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { buffer: vec![0; ROOM], used: 0, files: Vec::new(), directories: Vec::new() }
    }
}

impl Waiting {
    /// Whether a content of that size, and a byte more, can wait as well.
    fn has_room(&self, size: u64) -> bool {
        size < (self.buffer.len() - self.used) as u64
    }

    /// Adds the file whose content was just read to where there was room.
    fn add(&mut self, path: ContextPath, stamp: Stamp) {
        let directory = self.directories.len() - 1;
        self.files.push(Read { directory, path, stamp, start: self.used });
        // Nothing takes a line, too: so there are not too many files either.
        let length = (stamp.size as usize).max(1).next_multiple_of(LINE);
        self.used = self.buffer.len().min(self.used + length);
    }

    /// Takes out all files, with their digests.
    fn hash(&mut self) -> impl Iterator<Item = (Read, FileDigest)> + use<> {
        let contents =
            self.files.iter().map(|file| &self.buffer[file.start..][..file.stamp.size as usize]);
        let digests = hash_wholes(&contents.collect::<Vec<_>>());
        self.used = 0;
        std::mem::take(&mut self.files).into_iter().zip(digests)
    }
}

impl<T: Tree> Scan<'_, T> {
    /// Reads what has to be hashed; `items` are what else is known to be in the directory.
    pub(super) fn hash_files(
        &self,
        directory: DirectoryId,
        opened: &T::Directory,
        files: Vec<File>,
        mut items: Vec<Item>,
        worker: &mut Worker,
    ) {
        items.reserve_exact(files.len());
        worker.waiting.directories.push(Open { directory, items, learned: None });
        for File { path, known } in files {
            if self.is_behind_failure(Some(&path)) {
                continue;
            }
            if let Some((stamp, digest)) = known
                && self.tree.stat_in(opened, &path).is_ok_and(|now| now == stamp)
            {
                if let Some(open) = worker.waiting.directories.last_mut() {
                    open.items.push(Item::Entry(self.file_entry(path, &stamp, digest)));
                }
                continue;
            }
            match self.read_small(opened, &path, worker) {
                Ok(Some(stamp)) => worker.waiting.add(path, stamp),
                Ok(None) => self.queue.add([Task::File(directory, path)]),
                Err(error) => self.fail(Some(path), error),
            }
        }
        if worker.waiting.files.is_empty() {
            self.close(0, worker);
        }
    }

    /// Hashes all files that wait.
    pub(super) fn hash_waiting(&self, worker: &mut Worker) {
        self.hash_read(worker);
        self.close(0, worker);
    }

    /// Reads the file to where there is room; nothing if it is too large.
    fn read_small(
        &self,
        opened: &T::Directory,
        path: &ContextPath,
        worker: &mut Worker,
    ) -> Result<Option<Stamp>, ContextError> {
        retry(RETRIES, || {
            let file = StableFile::open(self.tree, Some(opened), path)?;
            let stamp = *file.stamp();
            if stamp.size > SMALL {
                return Ok(None);
            }
            if !worker.waiting.has_room(stamp.size) {
                self.hash_read(worker);
                self.close(1, worker);
            }
            let Waiting { buffer, used, .. } = &mut worker.waiting;
            file.read_whole(&mut buffer[*used..])?;
            Ok(Some(stamp))
        })
    }

    fn hash_read(&self, worker: &mut Worker) {
        for (Read { directory, path, stamp, .. }, digest) in worker.waiting.hash() {
            let open = &mut worker.waiting.directories[directory];
            self.learn(&mut open.learned, &path, &stamp, &digest);
            open.items.push(Item::Entry(self.file_entry(path, &stamp, digest)));
        }
    }

    /// Is done with all directories but the last few. None of their files waits.
    fn close(&self, few: usize, worker: &mut Worker) {
        let Worker { waiting, found, .. } = worker;
        let done = waiting.directories.len().saturating_sub(few);
        for Open { directory, items, learned } in waiting.directories.drain(..done) {
            if !items.is_empty() {
                found.parts.push(Part::new(directory, items));
            }
            found.learned.extend(learned);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::super::listing::Node;
    use super::super::super::selection::Selection;
    use super::super::super::{BuildContext, ContextOptions};
    use super::*;
    use crate::content_hash::ContentHash;

    #[test]
    fn files_that_waited_have_their_own_digests() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path();
        // Rooms are filled in the middle of a directory and at its end, and left half empty.
        let odd = [0, 1, 63, 64, 65, BUFFER - 1, BUFFER, BUFFER + 1, ROOM - 1, ROOM, ROOM + 1];
        for place in 0..6 {
            let below = root.join(format!("{place}"));
            fs::create_dir(&below).expect("made");
            for number in 0..place * 60 {
                let size = if number % 15 == 0 {
                    odd[(number / 15 + place) % odd.len()]
                } else {
                    number * 37
                };
                let content: Vec<u8> =
                    (0..size).map(|at| (at / 64 + at * place + number) as u8).collect();
                fs::write(below.join(format!("{number}")), content).expect("written");
            }
        }
        for portable in [false, true] {
            let options = ContextOptions { portable, ..Default::default() };
            let context = BuildContext::open(root, &options).expect("opened");
            let listing = context.listing(&Selection::whole()).expect("listed");
            assert_eq!(listing.files(), 60 + 120 + 180 + 240 + 300);
            for entry in listing.entries() {
                if let Node::File { digest, size, .. } = entry.node() {
                    let content = fs::read(entry.path().below(root)).expect("read");
                    assert_eq!(*digest, FileDigest::Whole(ContentHash::of(&content)), "{entry:?}");
                    assert_eq!(*size, content.len() as u64);
                }
            }
        }
    }
}
