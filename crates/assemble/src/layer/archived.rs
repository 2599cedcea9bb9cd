//! Layers that are tars already, as engines give and take them.

use std::io::{self, BufReader, Cursor, Read, Write};
use std::num::NonZeroUsize;
use std::thread;

use dockit_registry::layout::Layout;

use super::compress::Compressor;
use super::decompress::{Format, LONGEST_MAGIC, ZSTD_WINDOW_LOG};
use super::pack::PackedLayer;
use super::reader::LARGEST;
use crate::assemble::Compression;

/// Bytes that are moved at a time.
const PIECE: usize = 256 * 1024;

/// Packs a layer whose tar is there, byte for byte. The same tar gives the same bytes, whatever the number
/// of threads.
///
/// # Errors
///
/// The tar cannot be read, or the layout cannot be written.
pub fn pack_tar(
    tar: &mut dyn Read,
    compression: Compression,
    threads: NonZeroUsize,
    output: &Layout,
) -> io::Result<PackedLayer> {
    let blob = output.new_blob().map_err(io::Error::other)?;
    let (descriptor, diff_id) = thread::scope(|scope| {
        let mut out = Compressor::new(scope, compression, threads.get(), blob)?;
        let mut piece = vec![0; PIECE];
        loop {
            match tar.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => out.write_all(&piece[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        out.finish()
    })?;
    Ok(PackedLayer { descriptor, diff_id })
}

/// A layer as somebody stored it, unpacked if it begins as gzip or Zstandard do. What unpacks to more than
/// any layer may is an error.
///
/// # Errors
///
/// It cannot be read. What is damaged is told when it is read.
pub fn unpacked<'a>(mut stored: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut start = Vec::new();
    stored.by_ref().take(LONGEST_MAGIC as u64).read_to_end(&mut start)?;
    let format = Format::of(&start);
    let stored = BufReader::with_capacity(PIECE, Cursor::new(start).chain(stored));
    Ok(match format {
        Format::Gzip => Box::new(Bounded::new(flate2::bufread::MultiGzDecoder::new(stored))),
        Format::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(stored)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(Bounded::new(decoder))
        }
        Format::Plain | Format::Bzip2 | Format::Xz => Box::new(stored),
    })
}

/// Ends with an error where too much comes.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R> Bounded<R> {
    fn new(inner: R) -> Self {
        Self { inner, left: LARGEST }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| super::damaged("it unpacks to more than a layer may have"))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tar_stays_what_it_is_however_it_is_packed() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(&directory.path().join("layout")).unwrap();
        let tar: Vec<u8> = (0..9_000_000_u32).map(|number| (number / 7 % 251) as u8).collect();
        let pack = |compression, threads| {
            let threads = NonZeroUsize::new(threads).unwrap();
            pack_tar(&mut tar.as_slice(), compression, threads, &layout).unwrap()
        };
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let one = pack(compression, 1);
            assert_eq!(one.descriptor.digest, pack(compression, 3).descriptor.digest);
            assert_eq!(one.diff_id, dockit_registry::Digest::of(&tar));
        }
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let packed = layout.open_blob(&pack(compression, 2).descriptor).unwrap();
            let mut bytes = Vec::new();
            unpacked(packed).unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, tar);
        }
    }

    #[test]
    fn what_unpacks_to_too_much_is_an_error() {
        let mut bounded = Bounded { inner: io::repeat(0).take(11), left: 10 };
        let error = io::copy(&mut bounded, &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let mut bounded = Bounded { inner: io::repeat(0).take(10), left: 10 };
        assert_eq!(io::copy(&mut bounded, &mut io::sink()).unwrap(), 10);
    }
}
