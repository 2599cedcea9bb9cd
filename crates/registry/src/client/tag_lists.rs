//! Listing tags, for those who need no more of a registry than that.

use futures_util::stream::BoxStream;

use super::Client;
use crate::error::Error;
use crate::reference::{Repository, Tag};

/// Registries whose tags can be listed. Not part of [`Registry`](super::Registry), because what builds
/// images never lists any.
pub trait TagLists: Send + Sync {
    /// As [`Client::tags`].
    fn tags<'a>(&'a self, repository: &'a Repository) -> BoxStream<'a, Result<Tag, Error>>;
}

impl TagLists for Client {
    fn tags<'a>(&'a self, repository: &'a Repository) -> BoxStream<'a, Result<Tag, Error>> {
        Self::tags(self, repository)
    }
}
