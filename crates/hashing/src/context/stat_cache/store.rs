//! Writing a cache: what a run learned, and what was known before and may still be true.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::super::tree::Kind;
use super::format::{Learned, Output, Place, Record, SUFFIX, Window, entries_of};
use super::{LARGEST, Memory, bytes_of, owned};

/// Contexts that are remembered.
const MOST_FILES: usize = 64;

/// What a cache that is being written is called; left behind only by a process that was killed.
const UNFINISHED: &str = ".unfinished";

const ABANDONED_AFTER: Duration = Duration::from_secs(60 * 60);

pub(super) fn store(memory: Memory, learned: Vec<Learned>) -> io::Result<()> {
    let bytes = merge(&memory, learned);
    if bytes.len() as u64 > LARGEST {
        return Ok(());
    }
    make_private(&memory.directory)?;
    if !owned::is_directory_ours(&memory.directory) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    replace(&memory.location, &bytes)?;
    prune(&memory.directory, &memory.location)
}

/// What was learned about one directory, of all tasks.
#[derive(Default)]
struct News {
    listing: Option<Learned>,
    files: Vec<Vec<u8>>,
}

/// Where a directory's record comes from.
struct Source<'a> {
    old: Option<&'a Place>,
    news: Option<News>,
}

fn merge(memory: &Memory, learned: Vec<Learned>) -> Vec<u8> {
    let device = memory.trust.device();
    let cached = memory.cached.as_ref();
    let mut sources: BTreeMap<Vec<u8>, Source<'_>> = BTreeMap::new();
    let mut window = Window::default();
    for (cached, place) in
        cached.iter().flat_map(|cached| cached.index().values().map(move |place| (*cached, place)))
    {
        let bytes = cached.bytes_at(place, &mut window);
        if let Some(record) = bytes.and_then(|bytes| Record::parse(bytes, device)) {
            sources.insert(record.path.to_vec(), Source { old: Some(place), news: None });
        }
    }
    for mut learned in learned {
        let path = bytes_of(learned.path.as_ref()).to_vec();
        let source = sources.entry(path).or_insert(Source { old: None, news: None });
        let news = source.news.get_or_insert_default();
        news.files.push(std::mem::take(&mut learned.files));
        if learned.names.is_some() {
            news.listing = Some(learned);
        }
    }
    let mut output = Output::new(&memory.identity, memory.start);
    // A directory comes before what it holds.
    let mut there: HashSet<Vec<u8>> = HashSet::from([Vec::new()]);
    for (path, Source { old, news }) in &sources {
        // What an earlier run saw drops out where the directory that held it says so.
        if news.is_none() && !there.contains(path) {
            continue;
        }
        let old = cached
            .zip(*old)
            .and_then(|(cached, place)| cached.bytes_at(place, &mut window))
            .and_then(|bytes| Some((bytes, Record::parse(bytes, device)?)));
        match (old, news) {
            (Some((bytes, record)), None) => {
                there.extend(record.directories());
                output.copy(path, bytes);
            }
            (old, Some(news)) => {
                let record = update(path, old.map(|(_, record)| record), news, device);
                there.extend(record.directories());
                output.record(&record);
            }
            (None, None) => {}
        }
    }
    output.finish()
}

/// The record of a directory that was looked at.
fn update<'a>(path: &'a [u8], old: Option<Record<'a>>, news: &'a News, device: u64) -> Record<'a> {
    let hashed = news.files.iter().filter_map(|files| entries_of(files, device)).flatten();
    let mut files: HashMap<_, _> =
        hashed.filter_map(|entry| Some((entry.name, entry.file?))).collect();
    let (stamp, mut entries) = match &news.listing {
        Some(listing) => {
            let old = old.into_iter().flat_map(|record| record.entries);
            for entry in old {
                if let Some(file) = entry.file {
                    files.entry(entry.name).or_insert(file);
                }
            }
            let names = listing.names.as_deref().unwrap_or_default();
            (listing.stamp, entries_of(names, device).unwrap_or_default())
        }
        None => old.map_or((None, Vec::new()), |record| (record.stamp, record.entries)),
    };
    for entry in &mut entries {
        if entry.kind == Kind::File {
            entry.file = files.remove(entry.name).or(entry.file);
        }
    }
    // In the order of a listing, which need not be sorted again then.
    entries.sort_by_key(|entry| entry.name);
    Record { path, stamp, entries }
}

fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Readers see the old cache or the new one. Nothing is forced to the disk: what a power failure
/// leaves is noticed by its hashes.
fn replace(location: &Path, bytes: &[u8]) -> io::Result<()> {
    static WRITTEN: AtomicU32 = AtomicU32::new(0);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let mut unfinished = location.as_os_str().to_owned();
    unfinished.push(format!(".{}-{number}{UNFINISHED}", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(&unfinished)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&unfinished, location));
    if written.is_err() {
        // The first error tells more.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// Removes the caches that were used longest ago, while there are too many or they are too large.
fn prune(directory: &Path, newest: &Path) -> io::Result<()> {
    let now = SystemTime::now();
    let mut caches = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        // Another process may have removed it.
        let Ok(metadata) = entry.metadata() else { continue };
        let modified = metadata.modified()?;
        if name.ends_with(SUFFIX.as_bytes()) && entry.path() != newest {
            caches.push((modified, metadata.len(), entry.path()));
        } else if name.ends_with(UNFINISHED.as_bytes())
            && now.duration_since(modified).is_ok_and(|age| age > ABANDONED_AFTER)
        {
            fs::remove_file(entry.path())?;
        }
    }
    caches.sort_by(|one, other| other.cmp(one));
    let mut bytes = fs::metadata(newest)?.len();
    for (index, (_, size, path)) in caches.into_iter().enumerate() {
        bytes = bytes.saturating_add(size);
        if index + 1 >= MOST_FILES || bytes > LARGEST {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
