//! Blobs: whole ones that are small, and streams.

mod chunks;
mod download;
mod outgoing;
pub(super) mod read;
pub(super) mod small;
pub(super) mod upload;

pub(super) use download::stream;
