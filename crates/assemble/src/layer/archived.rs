//! Layers that are tars already, as engines give and take them.

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::thread;

use dockit_registry::layout::Layout;

use super::compress::Compressor;
use super::pack::PackedLayer;
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

/// Unpacks what is packed with Zstandard, and says how many bytes it is then.
///
/// # Errors
///
/// It is damaged, or one of the two failed.
pub fn unpack_zstd(packed: &mut dyn Read, out: &mut dyn Write) -> io::Result<u64> {
    let mut decoder = zstd::stream::read::Decoder::new(packed)?;
    io::copy(&mut decoder, out)
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
        let packed = layout.open_blob(&pack(Compression::Zstd, 2).descriptor).unwrap();
        let mut unpacked = Vec::new();
        assert_eq!(unpack_zstd(&mut &packed, &mut unpacked).unwrap(), tar.len() as u64);
        assert_eq!(unpacked, tar);
    }
}
