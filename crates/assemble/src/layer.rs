//! Layers: packing changes, and reading those of base images.

mod compress;
mod header;
mod pack;

pub use pack::{PackedLayer, pack};

/// What names begin with that stand for what is removed (image spec, *Whiteouts*).
const WHITEOUT: &[u8] = b".wh.";

/// The name that stands for all that lower layers have in its directory (image spec, *Opaque Whiteout*).
const OPAQUE: &[u8] = b".wh..wh..opq";
