//! What a key was computed from, in writing: stored, published with the image, compared.
//!
//! A [`Document`] holds everything that is hashed into a key, so that whoever reads it can compute the
//! key and believe nothing else. Files are in it with path, mode and digest, instructions with line,
//! keyword and hash, arguments with the hash of their value: what was built can be compared without
//! its sources ([`changes`]), but the sources cannot be had from it.
//!
//! Documents of what was built here lie in an [`InputsStore`]; those of pushed images hang on them as
//! referrers ([`attach`], [`fetch`]).

mod bounds;
mod change;
mod contribution;
mod document;
mod origin;
mod packed;
mod program_changes;
mod publish;
mod schema;
mod store;

pub use change::{Change, How, What, changes};
pub use contribution::Contribution;
pub use document::{Document, WholeContextNote};
pub(crate) use origin::annotations;
pub use origin::{Origin, origins, rfc3339};
pub use packed::{DocumentError, MAX_DOCUMENT_SIZE, MAX_PACKED_SIZE};
pub use publish::{ARTIFACT_TYPE, LAYER_TYPE, PublishError, attach, fetch};
pub(crate) use publish::{EMPTY, EMPTY_TYPE, artifact};
pub use store::InputsStore;
