//! Layers: packing changes, and reading those of base images.
//!
//! [`pack`] makes a layer of changes, [`read`] changes of a layer, and [`unpack`] those of an archive that
//! `ADD` unpacks. Nothing of a file's content is ever held: it is streamed, and read again from where it
//! lies.

mod archived;
mod compress;
mod decompress;
mod extended;
mod header;
mod names;
mod number;
mod pack;
mod read;
mod reader;
mod sparse;
mod spool;
mod unpack;

use std::io;

pub use archived::{pack_tar, unpacked};
pub use pack::{PackedLayer, pack};
pub use read::{LayerCache, LayerContents, read};
pub use unpack::unpack;

/// What names begin with that stand for what is removed (image spec, *Whiteouts*).
const WHITEOUT: &[u8] = b".wh.";

/// The name that stands for all that lower layers have in its directory (image spec, *Opaque Whiteout*).
const OPAQUE: &[u8] = b".wh..wh..opq";

/// An error of an archive that is not what it should be.
fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
