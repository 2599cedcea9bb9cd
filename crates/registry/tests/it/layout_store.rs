//! Images in the repositories of a layout, put there as a client does.

use std::collections::BTreeSet;

use dockit_registry::layout::Layout;
use dockit_registry::manifest::Manifest;
use dockit_registry::{RawManifest, RepositoryName, Tag};
use dockit_testkit::TestImage;

use crate::layout_disk::descriptor_of;

pub(crate) fn repository(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

pub(crate) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

pub(crate) fn manifest(image: &TestImage) -> RawManifest {
    RawManifest::new(image.media_type, image.manifest.clone())
}

/// Puts bytes as a blob, or relies on those that are there.
pub(crate) fn put_blob(layout: &Layout, bytes: &[u8]) {
    let blob = descriptor_of(bytes);
    if !layout.renew_blob(&blob).unwrap() {
        let mut writer = layout.blob_writer(&blob).unwrap();
        writer.write(bytes).unwrap();
        writer.commit().unwrap();
    }
}

pub(crate) fn put_blobs(layout: &Layout, image: &TestImage) {
    put_blob(layout, &image.config);
    put_blob(layout, &image.layer);
}

pub(crate) fn put(layout: &Layout, name: &str, image: &TestImage) {
    put_blobs(layout, image);
    let (repository_name, tag_name) = name.split_once(':').unwrap();
    layout.put_tag(&repository(repository_name), &tag(tag_name), &manifest(image)).unwrap();
}

/// Every name of the layout; everything that each leads to is there, byte for byte.
pub(crate) fn whole_names(layout: &Layout) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (name, found) in layout.names().unwrap() {
        let (repository_name, tag_name) = name.as_str().split_once(':').unwrap();
        let raw = layout.tagged_manifest(&repository(repository_name), &tag(tag_name));
        let raw = raw.unwrap().unwrap();
        assert_eq!(*raw.digest(), found.digest);
        assert_whole(layout, &raw);
        names.insert(name.to_string());
    }
    names
}

fn assert_whole(layout: &Layout, raw: &RawManifest) {
    let content = raw.parse().unwrap();
    for blob in content.blobs() {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut layout.open_blob(blob).unwrap(), &mut bytes).unwrap();
        assert!(blob.digest.matches(&bytes), "{}", blob.digest);
    }
    if let Manifest::Index(index) = &content {
        for child in &index.entries {
            assert_whole(layout, &layout.manifest(&child.digest).unwrap());
        }
    }
}
