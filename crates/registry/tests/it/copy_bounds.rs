//! Copies of what nobody should have made, and to places that are not what they seem.

use std::fs;
use std::sync::Arc;

use dockit_registry::copy::{CopyOptions, ImagePlace as _, LayoutImage, copy};
use dockit_registry::manifest::{Descriptor, media_type};
use dockit_registry::{Digest, ErrorKind, RawManifest};
use serde_json::json;

use crate::layout_disk::{Disk, blob_path, digest as digest_of, named};
use crate::memory_place::{MemoryPlace, digest, run};

#[tokio::test]
async fn a_layout_that_has_a_manifest_gets_the_blobs_that_it_lacks() {
    let disk = Disk::new();
    let (one, two) = (disk.image("layer of one"), disk.image("layer of two"));
    let list = disk.list(&[one.clone(), two]);
    let note = disk.referrer(&one, "note on one");
    disk.index(&[named(&list, "app"), note]);
    let from = LayoutImage::open(disk.reference(":app"));
    let target = Disk::empty();
    let to = LayoutImage::create(target.reference(":app"));
    let options = CopyOptions::default();
    copy(&from, &to, &options, Arc::new(())).await.unwrap();
    let path = |text: &str| target.join(&blob_path(&Digest::of(text.as_bytes())));
    fs::remove_file(path("layer of one")).unwrap();
    fs::write(path("layer of two"), "layer").unwrap();
    fs::remove_file(path("note on one")).unwrap();
    let report = copy(&from, &to, &options, Arc::new(())).await.unwrap();
    assert_eq!((report.manifests_written, report.blobs.written), (0, 3));
    for text in ["layer of one", "layer of two", "note on one"] {
        assert_eq!(fs::read(path(text)).unwrap(), text.as_bytes());
    }
    // What the layout has is not asked of the source.
    fs::remove_file(disk.join(&blob_path(&digest_of(&one)))).unwrap();
    let report = copy(&from, &to, &options, Arc::new(())).await.unwrap();
    assert_eq!((report.manifests_written, report.blobs), (0, Default::default()));
}

#[tokio::test]
async fn more_referrers_than_anybody_needs_are_not_even_read() {
    let (from, to) = (MemoryPlace::new("a.io/x:1"), MemoryPlace::new("b.io/x:1"));
    from.name(&from.image("one"));
    // None of them is there: whoever read them would pass over them.
    let lie = |number: u32| {
        Descriptor::new(media_type::OCI_MANIFEST, Digest::of(&number.to_be_bytes()), 1)
    };
    from.store(|store| store.lies = (0..1_000).map(lie).collect());
    run(&from, &to).await.unwrap();
    from.store(|store| store.lies.push(lie(1_000)));
    let error = run(&from, &to).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("refer to it"), "{error}");
}

#[tokio::test]
async fn manifests_without_end_are_refused() {
    let (from, to) = (MemoryPlace::new("a.io/x:1"), MemoryPlace::new("b.io/x:1"));
    let filling = "x".repeat(4_000_000);
    let children: Vec<_> = (0..70)
        .map(|number| {
            from.add(&json!({
                "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [],
                "annotations": {"number": number.to_string(), "filling": filling},
            }))
        })
        .collect();
    from.name(&from.index(&children));
    let error = run(&from, &to).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("bytes"), "{error}");
    assert_eq!(to.log(), Vec::<String>::new());
}

#[tokio::test]
async fn what_refers_to_another_image_or_to_none_is_passed_over() {
    let (from, to) = (MemoryPlace::new("a.io/x:1"), MemoryPlace::new("b.io/x:1"));
    let (image, other) = (from.image("one"), from.image("other"));
    from.name(&image);
    let note = from.referrer(&image, "note");
    let foreign = from.referrer(&other, "of the other");
    let lies = [&other, &foreign].map(|entry| {
        let manifest: RawManifest = from.store(|store| store.manifests[&digest(entry)].clone());
        manifest.descriptor()
    });
    from.store(|store| store.lies = lies.to_vec());
    let report = run(&from, &to).await.unwrap();
    assert_eq!((report.manifests_written, report.referrers_written), (2, 1));
    assert!(to.has_manifest(&digest(&note)).await.unwrap());
    for entry in [&other, &foreign] {
        assert!(!to.has_manifest(&digest(entry)).await.unwrap());
    }
}

#[tokio::test]
async fn children_that_refer_to_another_are_put_one_after_the_other() {
    // The place panics if two of them are underway.
    let (from, to) = (MemoryPlace::new("a.io/x:1"), MemoryPlace::new("b.io/x:1"));
    let image = from.image("one");
    let notes = ["1", "2", "3"].map(|text| from.referrer(&image, text));
    let [first, second, third] = notes;
    from.name(&from.index(&[image, first, second, third]));
    run(&from, &to).await.unwrap();
    to.assert_whole(&from);
}
