//! Compressed streams, recognised by how they begin.

use std::io::{self, BufRead, BufReader, Cursor, Read};

/// Bytes that tell one format from another.
pub(super) const LONGEST_MAGIC: usize = 6;

const BUFFER: usize = 64 * 1024;

/// What a stream of xz may make a reader hold. The largest that its own program makes needs 65 MiB.
const XZ_MEMORY_KIB: u32 = 256 * 1024;

/// The logarithm of what a stream of Zstandard may make a reader hold, which is what its own program
/// takes unasked.
pub(super) const ZSTD_WINDOW_LOG: u32 = 27;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Plain,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Format {
    /// What a stream that begins so is; as BuildKit recognises it.
    pub(super) fn of(start: &[u8]) -> Self {
        // Frames of Zstandard that readers skip may come first.
        let skippable = matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
        match start {
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ if skippable => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// What a stream holds, decompressed as its first bytes say. Several streams in a row are taken for what
/// they hold together. Read to the end, the sums that the formats have were right.
pub(super) fn decompressed<'a>(
    mut input: impl Read + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut start = Vec::new();
    input.by_ref().take(LONGEST_MAGIC as u64).read_to_end(&mut start)?;
    let format = Format::of(&start);
    let input = BufReader::with_capacity(BUFFER, Cursor::new(start).chain(input));
    Ok(match format {
        Format::Plain => Box::new(input),
        Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Format::Xz => {
            Box::new(Whole(lzma_rust2::XzReader::new_mem_limit(input, true, XZ_MEMORY_KIB)))
        }
        Format::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(Windowed(decoder))
        }
    })
}

/// Tells a stream that asks for more than it may from a damaged one.
struct Windowed<R>(R);

impl<R: Read> Read for Windowed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            // The library has a text for each of its errors, and nothing else.
            if error.to_string().contains("too much memory") {
                io::Error::new(io::ErrorKind::OutOfMemory, error)
            } else {
                error
            }
        })
    }
}

/// Sees that a decoder which has ended has read all: what follows the last stream is damage.
struct Whole<R: BufRead>(lzma_rust2::XzReader<R>);

impl<R: BufRead> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        if read == 0 && !buffer.is_empty() && !self.0.inner_mut().fill_buf()?.is_empty() {
            return Err(super::damaged("something follows its end"));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        for (start, expected) in [
            (&b"BZh9"[..], Format::Bzip2),
            (b"\x1f\x8b\x08\0", Format::Gzip),
            (b"\x1f\x8b\x07\0", Format::Plain),
            (b"\xfd7zXZ\0", Format::Xz),
            (b"\xfd7zXZ", Format::Plain),
            (b"\x28\xb5\x2f\xfd", Format::Zstd),
            (b"\x5a\x2a\x4d\x18\0\0\0\0", Format::Zstd),
            (b"\x60\x2a\x4d\x18\0\0\0\0", Format::Plain),
            (b"", Format::Plain),
            (b"BZ", Format::Plain),
        ] {
            assert_eq!(Format::of(start), expected, "{start:?}");
        }
    }
}
