//! Images from Dockerfiles that only put files together: without an engine, without root, and with the
//! same digest on every machine.
//!
//! The central function is [`assemble()`]: it takes a Dockerfile, resolved, the files of its build context
//! and the images that it names, and writes layers, configuration and manifest into an OCI layout. The
//! layers of base images are referred to, not packed again.
//!
//! The data goes one way: the base's layers are read into a [`Tree`](tree::Tree), each instruction that
//! moves files makes [`Change`](tree::Change)s of it, and these are packed into a layer.

pub mod assemble;
pub mod config;
pub mod copy;
pub mod error;
pub mod images;
pub mod layer;
pub mod tree;

pub use assemble::{Assembled, Assembly, assemble};
pub use error::{AssembleError, AssembleErrorKind};
pub use images::{BaseImage, Images, LayerBlob};
