//! What a registry can do.

/// What a registry can do, as far as it is known without asking it.
///
/// The distribution spec leaves much of this open; each vendor's answer is its documentation's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether a tag can be removed and its manifest stay.
    pub delete_tag: TagDeletion,
    /// What deleting a manifest does to its tags.
    pub delete_manifest: ManifestDeletion,
    /// How many items one request can delete.
    pub delete_batch: usize,
    /// Whether listings say when an image was pushed.
    pub push_times: bool,
    /// Whether listings say when an image was last pulled.
    pub pull_times: bool,
    /// Whether a blob can be uploaded in several requests (`PATCH`).
    pub chunked_uploads: bool,
    /// Whether a repository exists as soon as something is pushed to it.
    pub creates_repositories: bool,
    /// Most entries that a page of tags may be asked for.
    pub tags_page: u32,
}

/// How a tag can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TagDeletion {
    /// By deleting it (distribution spec 1.1, *Deleting tags*).
    Native,
    /// By deleting it; a manifest goes with its last tag.
    RemovesLast,
    /// Only by putting it on a manifest made for it, and deleting that one.
    BySubstitute,
    /// Not at all.
    Unsupported,
    /// The registry has to be asked.
    Unknown,
}

/// What deleting a manifest by its digest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManifestDeletion {
    /// All its tags vanish with it.
    RemovesTags,
    /// It is refused while a tag is on it.
    RefusedWhileTagged,
    /// It is not possible.
    Unsupported,
    /// The registry has to be asked.
    Unknown,
}

impl Capabilities {
    /// Of a registry of which nothing is known but that it follows the distribution spec.
    pub fn generic() -> Self {
        Self {
            delete_tag: TagDeletion::Unknown,
            delete_manifest: ManifestDeletion::Unknown,
            delete_batch: 1,
            push_times: false,
            pull_times: false,
            chunked_uploads: true,
            creates_repositories: true,
            tags_page: 1000,
        }
    }
}
