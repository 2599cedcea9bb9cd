//! Layers of archives as blobs of a layout, and back.

use std::io::{self, Read, Write};

use dockit_assemble::assemble::Compression;
use dockit_registry::Digest;
use dockit_registry::layout::Layout;
use dockit_registry::manifest::Descriptor;

/// Packs the unpacked bytes of a layer, and says what they are as well.
pub(super) fn pack(
    layer: &mut dyn Read,
    _: Compression,
    layout: &Layout,
) -> io::Result<(Descriptor, Digest)> {
    let mut blob = layout.new_blob().map_err(io::Error::other)?;
    io::copy(layer, &mut blob)?;
    let descriptor =
        blob.finish("application/vnd.oci.image.layer.v1.tar").map_err(io::Error::other)?;
    let diff_id = descriptor.digest.clone();
    Ok((descriptor, diff_id))
}

/// Unpacks a layer that is packed with zstd; how many bytes it has then.
pub(super) fn unpack(_: &mut dyn Read, _: &mut dyn Write) -> io::Result<u64> {
    Err(io::Error::other("layers packed with zstd cannot be loaded yet"))
}
