//! What the client promises about every registry, of layouts.

use dockit_registry::copy::RemoteImage;
use dockit_registry::{
    Client, ManifestDeletion, RegistryHost, Repository, TagDeletion, TimeSource,
};

use crate::contract::copies::{BLOBS, Image, copy_and_copy_again};
use crate::contract::{Expected, ExpectedEntries, Vendor, contract_tests};

/// A directory that is not there before something is written.
pub(crate) struct InDirectory(tempfile::TempDir);

impl InDirectory {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Vendor for InDirectory {
    fn host(&self) -> RegistryHost {
        RegistryHost::in_layout("images/Layout").unwrap()
    }

    fn client(&self) -> Client {
        crate::support::builder().layouts_relative_to(self.0.path()).build().unwrap()
    }

    fn login(&self) -> Option<(String, String)> {
        None
    }

    fn repository(&self, name: &str) -> Repository {
        Repository::new(self.host(), format!("contract/{name}").parse().unwrap()).unwrap()
    }

    fn missing_repository(&self, name: &str) -> Repository {
        self.repository(name)
    }

    fn expected(&self) -> Expected {
        Expected {
            delete_tag: TagDeletion::Native,
            delete_manifest: ManifestDeletion::RemovesTags,
            mounts: false,
            shares_blobs: true,
            tags_of_missing_repository: Ok(()),
            creates_repositories: true,
            entries: ExpectedEntries {
                time_source: TimeSource::TagPushed,
                sizes: true,
                media_types: true,
                untagged: true,
                of_missing_repository: Ok(()),
            },
        }
    }
}

contract_tests!(InDirectory::new(), manifests::a_manifest_without_its_blobs_is_refused);

#[tokio::test]
async fn an_image_is_copied_between_layouts() {
    let (one, other) = (InDirectory::new(), InDirectory::new());
    let at = one.repository("app").with_tag("1".parse().unwrap());
    let away = other.repository("away").with_tag("2".parse().unwrap());
    let image = Image::push(&one.client(), &at).await;
    let from = RemoteImage::new(one.client(), at);
    let to = RemoteImage::to_write(other.client(), away);
    let report = copy_and_copy_again(&image, &from, &to).await;
    assert_eq!(report.blobs.written, BLOBS);
}
