//! What no program can be faster than: the least that must be asked of the kernel and the processor,
//! on all cores.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir};
use sha2::{Digest, Sha256};

/// What is done with each file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Its metadata are looked up.
    Stat,
    /// It is opened and read whole.
    Read,
}

/// Bytes read at once.
const BUFFER: usize = 128 * 1024;

/// Bytes of a large file that a thread reads before it looks for the next task.
const PART: u64 = 1024 * 1024;

/// Walks the tree and does the work on every file, as quickly as it can.
///
/// # Errors
///
/// Something cannot be read.
pub fn walk(root: &Path, work: Work) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, root, flags, Mode::empty())?;
    let tasks = Tasks {
        state: Mutex::new((vec![Task::Directory(Arc::new(root), CString::from(c"."))], 0)),
        changed: Condvar::new(),
    };
    let run = || {
        let mut buffer = vec![0; BUFFER];
        let mut result = Ok(());
        while let Some(task) = tasks.next() {
            if result.is_ok() {
                result = tasks.work_on(task, work, &mut buffer);
            }
            tasks.finish();
        }
        result
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..cores()).map(|_| scope.spawn(run)).collect();
        let own = run();
        let all = others
            .into_iter()
            .map(|thread| thread.join().map_err(|_| io::Error::other("panic"))?);
        std::iter::once(own).chain(all).collect()
    })
}

enum Task {
    Directory(Arc<OwnedFd>, CString),
    Part(Arc<OwnedFd>, u64, u64),
}

struct Tasks {
    /// Waiting tasks, and how many are worked on.
    state: Mutex<(Vec<Task>, usize)>,
    changed: Condvar,
}

impl Tasks {
    fn next(&self) -> Option<Task> {
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        loop {
            if let Some(task) = state.0.pop() {
                state.1 += 1;
                return Some(task);
            }
            if state.1 == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    fn add(&self, tasks: &mut Vec<Task>) {
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        state.0.append(tasks);
        self.changed.notify_all();
    }

    fn finish(&self) {
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        state.1 -= 1;
        if state.1 == 0 && state.0.is_empty() {
            self.changed.notify_all();
        }
    }

    fn work_on(&self, task: Task, work: Work, buffer: &mut [u8]) -> io::Result<()> {
        match task {
            Task::Part(file, mut offset, end) => {
                while offset < end {
                    let length = ((end - offset) as usize).min(buffer.len());
                    offset += rustix::io::pread(&*file, &mut buffer[..length], offset)? as u64;
                }
                Ok(())
            }
            Task::Directory(parent, name) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let directory = rustix::fs::openat(&*parent, &name, flags, Mode::empty())?;
                self.list(Arc::new(directory), work, buffer)
            }
        }
    }

    fn list(&self, directory: Arc<OwnedFd>, work: Work, buffer: &mut [u8]) -> io::Result<()> {
        let mut names = [MaybeUninit::uninit(); 32 * 1024];
        let mut entries = RawDir::new(&*directory, &mut names);
        let mut tasks = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match (entry.file_type(), work) {
                (FileType::Directory, _) => {
                    tasks.push(Task::Directory(directory.clone(), name.to_owned()));
                }
                (_, Work::Stat) => {
                    let stat = rustix::fs::statat(&*directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    std::hint::black_box(stat.st_mtime);
                }
                (FileType::RegularFile, Work::Read) => read(&directory, name, buffer, &mut tasks)?,
                (_, Work::Read) => {}
            }
        }
        self.add(&mut tasks);
        Ok(())
    }
}

fn read(
    directory: &OwnedFd,
    name: &CStr,
    buffer: &mut [u8],
    tasks: &mut Vec<Task>,
) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOATIME;
    let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    let size = rustix::fs::fstat(&file)?.st_size as u64;
    if size <= buffer.len() as u64 {
        rustix::io::pread(&file, &mut buffer[..size as usize], 0)?;
        return Ok(());
    }
    let file = Arc::new(file);
    let parts = (0..size.div_ceil(PART))
        .map(|part| Task::Part(file.clone(), part * PART, size.min((part + 1) * PART)));
    tasks.extend(parts);
    Ok(())
}

/// Bytes per second that all cores hash together with SHA-256, from their caches.
pub fn sha256_rate() -> f64 {
    const BLOCK: usize = 64 * 1024;
    const LONG_ENOUGH: Duration = Duration::from_millis(400);
    let run = || {
        let block = vec![7_u8; BLOCK];
        let start = Instant::now();
        let mut bytes = 0_u64;
        while start.elapsed() < LONG_ENOUGH {
            std::hint::black_box(Sha256::digest(std::hint::black_box(&block)));
            bytes += BLOCK as u64;
        }
        bytes as f64 / start.elapsed().as_secs_f64()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(run)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
    })
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}
