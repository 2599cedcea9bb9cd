//! From a layer to changes.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dockit_registry::Digest;
use sha2::{Digest as _, Sha256};

use super::compress::digest;
use super::decompress::decompressed;
use super::names::Names;
use super::reader::TarReader;
use super::spool::{Budget, Spool};
use crate::error::{AssembleError, AssembleErrorKind};
use crate::images::BaseLayer;
use crate::tree::Change;

/// What a layer does.
#[derive(Debug)]
pub struct LayerContents {
    /// Its changes, sorted by path; for one path, what is removed comes before what is put. Contents are
    /// read from a file of the unpacked layer, which is made when the first is wanted.
    pub changes: Vec<Change>,
    /// The digest of the tar.
    pub diff_id: Digest,
}

/// Reads a layer: gzip, Zstandard or plain, whatever its media type says. Where its configuration tells the
/// digest of the tar, that is checked. Nothing of its contents is held: where the first is wanted, they go
/// to a file without a name in the directory `spools`.
///
/// Removals concern lower layers alone (image spec, *Whiteouts*). Names are clamped to the root, as
/// container runtimes do it.
///
/// # Errors
///
/// [`AssembleErrorKind::Image`]: the layer cannot be had, or is damaged; it has a hard link to a file of a
/// lower layer; it has over 1,048,576 entries, 512 MiB of names and attributes, 256 GiB, or 16 GiB of holes.
pub fn read(
    layer: &BaseLayer,
    diff_id: Option<&Digest>,
    spools: &Path,
) -> Result<LayerContents, AssembleError> {
    read_counted(layer, diff_id, spools, None)
}

fn read_counted(
    layer: &BaseLayer,
    diff_id: Option<&Digest>,
    spools: &Path,
    budget: Option<Arc<Budget>>,
) -> Result<LayerContents, AssembleError> {
    let name = layer.descriptor.digest.clone();
    let explain = move |error: io::Error| {
        if error.get_ref().is_some_and(|inner| inner.is::<AssembleError>()) {
            return AssembleError::from_io(AssembleErrorKind::Image, error);
        }
        AssembleError::new(AssembleErrorKind::Image, format!("layer {name}: {error}"))
    };
    let spool = {
        let blob = Arc::clone(&layer.blob);
        let explain = explain.clone();
        let open = {
            let explain = explain.clone();
            move || -> Result<Box<dyn Read + Send>, AssembleError> {
                decompressed(blob.open()?).map_err(&explain)
            }
        };
        Spool::new(spools, budget, Box::new(open), explain)
    };
    let (names, found) = changes(layer.blob.open()?, &spool).map_err(&explain)?;
    let contents = LayerContents { changes: names.into_changes(), diff_id: found };
    contents.check(layer, diff_id)?;
    Ok(contents)
}

fn changes(blob: Box<dyn Read + Send>, spool: &Arc<Spool>) -> io::Result<(Names, Digest)> {
    let mut packed = blob;
    let mut names = Names::default();
    let hasher = {
        let mut hashed = Hashed { input: decompressed(&mut packed)?, hasher: Sha256::new() };
        let mut tar = TarReader::new(&mut hashed);
        while let Some(entry) = tar.next()? {
            names.add(entry, spool)?;
        }
        // What follows the end counts for the digest of the tar.
        tar.drain()?;
        hashed.hasher
    };
    // And what follows that, for the blob's.
    io::copy(&mut packed, &mut io::sink())?;
    Ok((names, digest(hasher)))
}

impl LayerContents {
    fn check(&self, layer: &BaseLayer, diff_id: Option<&Digest>) -> Result<(), AssembleError> {
        // Of a digest of another kind nothing is known.
        match diff_id.filter(|told| told.algorithm() == self.diff_id.algorithm()) {
            Some(told) if *told != self.diff_id => {
                let message = format!(
                    "layer {}: the configuration says that it holds {told}, but it holds {}",
                    layer.descriptor.digest, self.diff_id
                );
                Err(AssembleError::new(AssembleErrorKind::Image, message))
            }
            _ => Ok(()),
        }
    }
}

/// Hashes what is read.
struct Hashed<R> {
    input: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// Most changes that a cache holds.
const MOST_CHANGES: usize = 2_000_000;

/// Most bytes that the unpacked layers of a cache have together, if there are several: 32 GiB.
const MOST_SPOOLED: u64 = 32 << 30;

/// The layers that were read in a run, so that a base which many images share is read once. Several
/// threads may read; of those that want the same layer, one does it.
///
/// What was not used for longest goes first when it is full; whoever still has it keeps it. Of unpacked
/// contents, 32 GiB are kept: what is more is unpacked anew when it is wanted.
pub struct LayerCache {
    spools: PathBuf,
    most: usize,
    budget: Arc<Budget>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slots: HashMap<Digest, Slot>,
    /// Counts uses.
    now: u64,
}

#[derive(Clone, Default)]
struct Slot {
    /// Held by whoever reads the layer.
    contents: Arc<Mutex<Option<Arc<LayerContents>>>>,
    used: u64,
    changes: usize,
}

impl LayerCache {
    /// An empty cache, whose layers put unpacked contents into files without names in this directory.
    pub fn new(spools: impl Into<PathBuf>) -> Self {
        Self::limited(spools.into(), MOST_CHANGES, MOST_SPOOLED)
    }

    fn limited(spools: PathBuf, most: usize, most_spooled: u64) -> Self {
        Self { spools, most, budget: Budget::new(most_spooled), state: Mutex::default() }
    }

    /// Where contents are unpacked.
    pub fn spools(&self) -> &Path {
        &self.spools
    }

    /// What a layer does, read unless it is here.
    ///
    /// # Errors
    ///
    /// As [`read`]; it is tried anew the next time.
    pub fn read(
        &self,
        layer: &BaseLayer,
        diff_id: Option<&Digest>,
    ) -> Result<Arc<LayerContents>, AssembleError> {
        let digest = &layer.descriptor.digest;
        let slot = {
            let mut state = self.lock();
            state.now += 1;
            let now = state.now;
            let slot = state.slots.entry(digest.clone()).or_default();
            slot.used = now;
            Arc::clone(&slot.contents)
        };
        let mut held = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(contents) = &*held {
            contents.check(layer, diff_id)?;
            return Ok(Arc::clone(contents));
        }
        let budget = Some(Arc::clone(&self.budget));
        let contents = Arc::new(read_counted(layer, diff_id, &self.spools, budget)?);
        *held = Some(Arc::clone(&contents));
        drop(held);
        let mut state = self.lock();
        if let Some(slot) = state.slots.get_mut(digest) {
            slot.changes = contents.changes.len();
        }
        state.make_room(self.most, digest);
        Ok(contents)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn make_room(&mut self, most: usize, newest: &Digest) {
        let mut sum: usize = self.slots.values().map(|slot| slot.changes).sum();
        while sum > most {
            let others = self.slots.iter().filter(|(digest, _)| *digest != newest);
            let Some(oldest) = others.min_by_key(|(_, slot)| slot.used) else {
                return;
            };
            let oldest = oldest.0.clone();
            sum -= self.slots.remove(&oldest).map_or(0, |slot| slot.changes);
        }
    }
}

impl fmt::Debug for LayerCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LayerCache({} layers)", self.lock().slots.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use dockit_registry::manifest::Descriptor;

    use super::*;
    use crate::images::LayerBlob;
    use crate::layer::header::{self, EntryType, Header};
    use crate::tree::NodeKind;

    struct Counted(Vec<u8>, Arc<AtomicUsize>);

    impl LayerBlob for Counted {
        fn open(&self) -> Result<Box<dyn Read + Send>, AssembleError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(io::Cursor::new(self.0.clone())))
        }
    }

    /// A layer with a file of 1000 such bytes, and how often it is opened.
    fn layer(byte: u8) -> (BaseLayer, Arc<AtomicUsize>) {
        let mut tar = Vec::new();
        let header = Header {
            path: b"f",
            entry_type: EntryType::File,
            size: 1000,
            mode: 0o644,
            uid: 0,
            gid: 0,
            modified: 0,
            modified_nanos: 0,
            link: b"",
            device: (0, 0),
            xattrs: None,
        };
        header.write_to(&mut tar).unwrap();
        tar.extend_from_slice(&[byte; 1000]);
        header::pad(&mut tar, 1000).unwrap();
        header::end(&mut tar).unwrap();
        let descriptor = Descriptor::new("application/octet-stream", Digest::of(&tar), 2560);
        let opened = Arc::new(AtomicUsize::new(0));
        (BaseLayer { descriptor, blob: Arc::new(Counted(tar, Arc::clone(&opened))) }, opened)
    }

    fn content(contents: &LayerContents) -> Vec<u8> {
        let Change::Put(_, node) = &contents.changes[0] else { panic!() };
        let NodeKind::File(file) = &node.kind else { panic!() };
        let mut bytes = Vec::new();
        file.content.write_to(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn unpacked_layers_are_bounded_and_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        // Two of the three fit; a tar has 2560 bytes.
        for (most, expected) in [(6000, [3, 3, 3]), (8000, [2, 2, 2]), (1, [3, 3, 3])] {
            let cache = LayerCache::limited(directory.path().to_owned(), MOST_CHANGES, most);
            let layers = [layer(b'a'), layer(b'b'), layer(b'c')];
            for _ in 0..2 {
                for ((layer, _), byte) in layers.iter().zip(b"abc") {
                    let contents = cache.read(layer, None).unwrap();
                    for _ in 0..2 {
                        assert_eq!(content(&contents), [*byte; 1000]);
                    }
                }
            }
            let opened = layers.each_ref().map(|(_, opened)| opened.load(Ordering::Relaxed));
            assert_eq!(opened, expected, "{most}");
        }
    }
}
