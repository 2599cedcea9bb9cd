//! Copies within a registry, and to and from a directory.

use std::path::Path;
use std::sync::Arc;

use dockit_registry::copy::{CopyOptions, CopyReport, ImagePlace, LayoutImage, RemoteImage, copy};
use dockit_registry::layout::LayoutReference;
use dockit_registry::{Client, Digest, Reference, Registry as _};
use dockit_testkit::TestImage;

use super::referrers::referrer;
use super::{Vendor, digest_of, push_index};

/// Blobs of the image: two configs, as the layers of both are the same bytes, and a layer; and of what
/// refers to it: the empty config and a layer.
pub(crate) const BLOBS: usize = 5;

/// The index, its two images, and what refers to one of them.
const MANIFESTS: usize = 4;

/// An image for two platforms of which one has a referrer.
pub(crate) struct Image {
    index: Digest,
    images: [TestImage; 2],
    referrer: Digest,
}

impl Image {
    pub(crate) async fn push(client: &Client, at: &Reference) -> Self {
        let (index, images) = push_index(client, at).await;
        for blob in ["{}", "signature"] {
            client.put_blob(at.repository(), blob.into()).await.unwrap();
        }
        let referrer = referrer(&images[0], "application/vnd.example.signature", b"signature");
        let referrer = client.put_referrer(at.repository(), &referrer).await.unwrap();
        Self { index: index.digest().clone(), images, referrer }
    }

    /// Everything of the image is in a place under the place's name.
    async fn assert_at(&self, place: &dyn ImagePlace) {
        assert_eq!(*place.named().await.unwrap().digest(), self.index);
        for image in &self.images {
            let digest = image.digest().parse().unwrap();
            assert_eq!(place.manifest(&digest).await.unwrap().bytes(), image.manifest);
            let manifest = place.manifest(&digest).await.unwrap().parse().unwrap();
            for blob in manifest.blobs() {
                let stream = place.blob(blob).await.unwrap();
                crate::source::collect(stream).await.unwrap();
            }
        }
        let subject = self.images[0].digest().parse().unwrap();
        let referrers = place.referrers(&subject).await.unwrap();
        let digests: Vec<Digest> = referrers.into_iter().map(|entry| entry.digest).collect();
        assert_eq!(digests, std::slice::from_ref(&self.referrer));
    }
}

async fn run(from: &dyn ImagePlace, to: &dyn ImagePlace) -> CopyReport {
    copy(from, to, &CopyOptions::default(), Arc::new(())).await.unwrap()
}

/// Copies twice, of which the second time moves nothing.
pub(crate) async fn copy_and_copy_again(
    image: &Image,
    from: &dyn ImagePlace,
    to: &dyn ImagePlace,
) -> CopyReport {
    let first = run(from, to).await;
    assert_eq!((&first.digest, &first.previous), (&image.index, &None));
    assert_eq!((first.manifests_written, first.referrers_written), (MANIFESTS, 1));
    assert_eq!(first.blobs.present + first.blobs.mounted + first.blobs.written, BLOBS);
    image.assert_at(to).await;

    let second = run(from, to).await;
    assert_eq!(second.previous, Some(image.index.clone()));
    assert_eq!((second.manifests_written, second.blobs.bytes_written), (0, 0));
    assert_eq!(second.blobs.written + second.blobs.mounted, 0);
    image.assert_at(to).await;
    first
}

fn layout(directory: &Path) -> LayoutReference {
    LayoutReference::new(directory.to_owned(), Some("both".parse().unwrap()), None)
}

pub(crate) async fn an_image_is_copied_to_another_repository(vendor: &impl Vendor) {
    let at = vendor.repository("from").with_tag("1".parse().unwrap());
    let to = vendor.repository("to").with_tag("2".parse().unwrap());
    let image = Image::push(&vendor.client(), &at).await;
    let client = vendor.client();
    let report = copy_and_copy_again(
        &image,
        &RemoteImage::new(client.clone(), at),
        &RemoteImage::to_write(client, to),
    )
    .await;
    if vendor.expected().shares_blobs {
        assert_eq!((report.blobs.mounted, report.blobs.written), (0, 0));
    } else if vendor.expected().mounts {
        assert_eq!((report.blobs.mounted, report.blobs.written), (BLOBS, 0));
    } else {
        assert_eq!((report.blobs.mounted, report.blobs.written), (0, BLOBS));
    }
}

pub(crate) async fn another_tag_of_the_same_repository_moves_nothing(vendor: &impl Vendor) {
    let at = vendor.repository("app").with_tag("1".parse().unwrap());
    let to = vendor.repository("app").with_tag("2".parse().unwrap());
    let image = Image::push(&vendor.client(), &at).await;
    let client = vendor.client();
    let from = RemoteImage::new(client.clone(), at);
    let report = run(&from, &RemoteImage::to_write(client, to.clone())).await;
    assert_eq!((report.manifests_written, report.blobs.written, report.blobs.mounted), (0, 0, 0));
    assert_eq!(digest_of(vendor, &to).await, Some(image.index));
}

pub(crate) async fn an_image_is_copied_to_a_layout_and_back(vendor: &impl Vendor) {
    let directory = tempfile::tempdir().unwrap();
    let between = layout(&directory.path().join("layout"));
    let at = vendor.repository("app").with_tag("1".parse().unwrap());
    let back = vendor.repository("back").with_tag("1".parse().unwrap());
    let image = Image::push(&vendor.client(), &at).await;
    let from = RemoteImage::new(vendor.client(), at);
    copy_and_copy_again(&image, &from, &LayoutImage::create(between.clone())).await;
    let to = RemoteImage::to_write(vendor.client(), back);
    copy_and_copy_again(&image, &LayoutImage::open(between), &to).await;
}
