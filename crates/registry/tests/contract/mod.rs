//! What the client promises about every registry, written once, and run against each.
//!
//! Another vendor is one file in `real/vendors/`: a fixture that implements [`Vendor`], says what its
//! registry is known to do differently, and asks for [`contract_tests`]. A layout is one that needs no
//! process, in `it/layout_contract.rs`.

pub(crate) mod access;
pub(crate) mod blobs;
pub(crate) mod copies;
pub(crate) mod deletion;
pub(crate) mod listing;
pub(crate) mod lists;
pub(crate) mod manifests;
pub(crate) mod referrers;
pub(crate) mod retag;
pub(crate) mod source;
pub(crate) mod streams;

use dockit_registry::{
    Access, Client, Digest, ErrorKind, ManifestDeletion, RawManifest, Reference, Registry as _,
    RegistryHost, Repository, TagDeletion, TimeSource,
};
use dockit_testkit::TestImage;

/// A registry that the contract is checked against.
///
/// Every test starts one of its own; where that is a service that lives longer, `repository` gives names
/// that no other test uses.
pub(crate) trait Vendor: Sync {
    /// `host[:port]`.
    fn host(&self) -> RegistryHost;

    /// A client that may do everything. Each one knows nothing yet.
    fn client(&self) -> Client;

    /// User and password of whoever may do everything, if there are users.
    fn login(&self) -> Option<(String, String)>;

    /// What differs from registry to registry.
    fn expected(&self) -> Expected;

    /// Clients that the registry does not let in, and how it says so. Only for registries that are
    /// checked for it.
    fn strangers(&self) -> Vec<(Client, ErrorKind)> {
        Vec::new()
    }

    /// Clients that may read but not write, and how the registry says so. Only for registries that are
    /// checked for it.
    fn readers(&self) -> Vec<(Client, ErrorKind)> {
        Vec::new()
    }

    /// What lists say of an image's size, if they say it.
    fn image_size(&self, image: &TestImage) -> u64 {
        (image.config.len() + image.layer.len()) as u64
    }

    /// A repository that can be pushed to, named after `name`. Equal names are equal repositories.
    fn repository(&self, name: &str) -> Repository {
        format!("{}/contract/{name}", self.host()).parse().expect("tests choose good names")
    }

    /// A repository that was never pushed to, nor made.
    fn missing_repository(&self, name: &str) -> Repository {
        format!("{}/contract/{name}", self.host()).parse().expect("tests choose good names")
    }

    /// The path below which repositories can be listed, where a registry does not list all that it has.
    fn listed_below(&self) -> Option<Repository> {
        None
    }
}

/// What registries do differently.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// How a tag is removed.
    pub(crate) delete_tag: TagDeletion,
    /// What deleting a manifest does to its tags.
    pub(crate) delete_manifest: ManifestDeletion,
    /// Whether a blob can be taken from another repository.
    pub(crate) mounts: bool,
    /// Whether all repositories have the same blobs.
    pub(crate) shares_blobs: bool,
    /// How a list of the tags of a repository begins that does not exist: nothing, or an error.
    pub(crate) tags_of_missing_repository: Result<(), ErrorKind>,
    /// Whether a repository is made by pushing to it.
    pub(crate) creates_repositories: bool,
    /// What lists of entries say.
    pub(crate) entries: ExpectedEntries,
}

/// What lists of entries say about images.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedEntries {
    /// What the times are times of.
    pub(crate) time_source: TimeSource,
    /// Whether an image's size is said, which is that of config and layers.
    pub(crate) sizes: bool,
    /// Whether media types are said.
    pub(crate) media_types: bool,
    /// Whether manifests without a tag are listed.
    pub(crate) untagged: bool,
    /// How the list of a repository begins that does not exist.
    pub(crate) of_missing_repository: Result<(), ErrorKind>,
}

/// Makes a test of every item of the contract that needs no other program. `$start` makes the vendor; behind it are the items that
/// only some registries have a use for.
macro_rules! contract_tests {
    ($start:expr $(, $module:ident::$test:ident)*) => {
        crate::contract::contract_tests! { @each $start;
            $($module::$test)*
            blobs::small_and_large_blobs_are_read_as_they_were_put
            blobs::absent_and_oversize_blobs_are_errors
            streams::blobs_are_streamed_as_they_were_pushed
            streams::a_source_that_holds_another_blob_stores_nothing
            streams::what_is_not_the_blob_is_an_error
            streams::blobs_are_mounted_from_other_repositories
            manifests::a_manifest_is_read_by_tag_and_by_digest_as_it_was_put
            manifests::an_index_is_put_with_its_manifests
            manifests::another_tag_has_the_same_digest
            manifests::a_tag_moves_and_the_old_digest_stays
            manifests::absent_is_no_error_and_errors_are_not_absent
            lists::every_tag_is_listed_once
            lists::tags_of_a_missing_repository
            lists::repositories_are_listed
            retag::tags_get_the_same_digest_and_are_planned_first
            deletion::a_tag_is_removed_alone_or_not_at_all
            deletion::a_manifest_is_deleted_by_its_digest
            deletion::a_repository_without_tags_lists_none
            listing::entries_say_digest_size_and_time
            listing::a_list_of_many_entries_is_whole
            listing::entries_of_a_missing_repository
            listing::every_deletion_has_a_result
            listing::an_index_goes_with_its_children_in_any_order
            listing::a_first_push_makes_the_repository_or_says_what_does
            listing::whoever_may_come_in_is_told_so
            access::many_first_questions_at_once_are_all_answered
            referrers::what_refers_to_a_manifest_is_listed
            copies::an_image_is_copied_to_another_repository
            copies::another_tag_of_the_same_repository_moves_nothing
            copies::an_image_is_copied_to_a_layout_and_back
        }
    };
    (@each $start:expr; $($module:ident::$test:ident)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                crate::contract::$module::$test(&$start).await;
            }
        )*
    };
}
pub(crate) use contract_tests;

/// An image as manifest.
pub(crate) fn manifest(image: &TestImage) -> RawManifest {
    RawManifest::new(image.media_type, image.manifest.clone())
}

/// Pushes config, layer and manifest under a tag.
pub(crate) async fn push(client: &Client, at: &Reference, image: &TestImage) -> Digest {
    push_blobs(client, at.repository(), image).await;
    let tag = at.tag_or_latest();
    client.put_manifest(at.repository(), &tag, &manifest(image)).await.unwrap()
}

/// Pushes config and layer.
pub(crate) async fn push_blobs(client: &Client, repository: &Repository, image: &TestImage) {
    for blob in [&image.config, &image.layer] {
        client.put_blob(repository, blob.clone().into()).await.unwrap();
    }
}

/// Pushes an index of two images for different platforms, which have no tags; returns it and them.
pub(crate) async fn push_index(client: &Client, at: &Reference) -> (RawManifest, [TestImage; 2]) {
    let images =
        ["amd64", "arm64"].map(|architecture| TestImage::for_platform("i", "linux", architecture));
    for image in &images {
        push_blobs(client, at.repository(), image).await;
        let put = client.put_manifest_at_digest(at.repository(), &manifest(image)).await.unwrap();
        assert_eq!(put.as_str(), image.digest());
    }
    let [one, other] = &images;
    let bytes = TestImage::index(&[(one, "linux", "amd64"), (other, "linux", "arm64")]);
    let index = RawManifest::new(dockit_registry::manifest::media_type::OCI_INDEX, bytes);
    client.put_manifest(at.repository(), &at.tag_or_latest(), &index).await.unwrap();
    (index, images)
}

/// The digest that a tag is on, as a client finds that knows nothing yet.
pub(crate) async fn digest_of(vendor: &impl Vendor, at: &Reference) -> Option<Digest> {
    let head = vendor.client().head_manifest(at, Access::Pull).await.unwrap();
    head.map(|head| head.digest)
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
