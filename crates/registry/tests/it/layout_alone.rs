//! Images that are hard to find in a layout: what refers to something that is not there, and what has
//! no name.

use std::sync::Arc;

use dockit_registry::copy::{CopyOptions, ImagePlace as _, LayoutImage, copy};
use dockit_registry::manifest::media_type;
use dockit_registry::{Digest, ErrorKind};
use serde_json::Value;

use crate::layout_disk::{Disk, assert_kind, descriptor, digest, named};

async fn copied(from: &Disk, what: &str, to: &Disk, name: &str) -> Result<Digest, ErrorKind> {
    let from = LayoutImage::open(from.reference(what));
    let to = LayoutImage::create(to.reference(name));
    let report = copy(&from, &to, &CopyOptions::default(), Arc::new(())).await;
    report.map(|report| report.digest).map_err(|error| error.kind().clone())
}

/// An image with a signature that is signed itself.
fn signed() -> (Disk, Value, Value) {
    let disk = Disk::new();
    let image = disk.image("1");
    let signature = disk.referrer(&image, "signature");
    let second = disk.referrer(&signature, "signature of the signature");
    disk.index(&[named(&image, "app"), signature.clone(), second]);
    (disk, image, signature)
}

#[tokio::test]
async fn what_refers_to_something_that_is_not_there_is_an_image_without_a_name() {
    let (disk, _, signature) = signed();
    let target = Disk::empty();
    let wanted = format!("@{}", digest(&signature));
    for _ in 0..2 {
        assert_eq!(copied(&disk, &wanted, &target, "").await.unwrap(), digest(&signature));
        let found = target.open().find(None, None).unwrap().unwrap();
        assert_eq!(found.digest, digest(&signature));
        assert_eq!(target.open().referrers(&digest(&signature)).unwrap().len(), 1);
    }
    // It gives way to another one, as images do.
    let image = disk.image("2");
    disk.index(&[named(&image, "other")]);
    copied(&disk, ":other", &target, "").await.unwrap();
    assert_eq!(target.open().find(None, None).unwrap().unwrap().digest, digest(&image));
}

#[tokio::test]
async fn what_could_not_be_found_is_not_put_without_a_name() {
    let (disk, image, signature) = signed();
    let target = Disk::empty();
    copied(&disk, ":app", &target, "").await.unwrap();
    let wanted = format!("@{}", digest(&signature));
    let before = target.read_index();
    assert_eq!(copied(&disk, &wanted, &target, "").await.unwrap_err(), ErrorKind::Invalid);
    assert_eq!(target.read_index(), before);
    assert_eq!(target.open().find(None, None).unwrap().unwrap().digest, digest(&image));
    copied(&disk, &wanted, &target, ":signature").await.unwrap();
}

#[tokio::test]
async fn a_copy_that_broke_off_after_the_referrers_can_be_made_again() {
    let (disk, image, _) = signed();
    let target = Disk::new();
    let copies = target.image("1");
    let notes = ["one", "two"].map(|text| target.referrer(&copies, text));
    target.index(&notes);
    assert_eq!(target.open().find(None, None).unwrap(), None);
    copied(&disk, ":app", &target, "").await.unwrap();
    assert_eq!(target.open().find(None, None).unwrap().unwrap().digest, digest(&image));
    assert_eq!(target.open().referrers(&digest(&image)).unwrap().len(), 3);
}

#[tokio::test]
async fn an_image_below_an_index_gets_an_entry_when_it_is_put_by_its_digest() {
    let disk = Disk::new();
    let image = disk.image("1");
    let list = disk.list(std::slice::from_ref(&image));
    disk.index(&[named(&list, "app")]);
    let target = Disk::empty();
    copied(&disk, ":app", &target, ":app").await.unwrap();
    let by_digest = format!("@{}", digest(&image));
    copied(&disk, &by_digest, &target, &by_digest).await.unwrap();
    let index = target.read_index();
    assert_eq!(index["manifests"][1]["digest"], digest(&image).as_str());
    copied(&disk, &by_digest, &target, &by_digest).await.unwrap();
    assert_eq!(target.read_index(), index);
}

#[test]
fn foreign_entries_that_are_no_manifests_hide_no_referrers() {
    let disk = Disk::new();
    let image = disk.image("1");
    let note = disk.referrer(&image, "note");
    let foreign = [
        disk.blob(media_type::OCI_MANIFEST, "no manifest"),
        disk.blob(media_type::OCI_MANIFEST, &" ".repeat(5_000_000)),
        disk.blob(media_type::OCI_INDEX, r#"{"schemaVersion":2,"config":{},"manifests":[]}"#),
    ];
    let [text, large, both] = foreign;
    disk.index(&[text, large, both, named(&image, "app"), note]);
    assert_eq!(disk.open().referrers(&digest(&image)).unwrap().len(), 1);
    assert_eq!(disk.open().find(None, None).unwrap().unwrap().digest, digest(&image));
}

#[test]
fn a_layout_that_leads_to_manifests_without_end_is_refused() {
    let disk = Disk::new();
    let entry = |number: u32| {
        serde_json::json!({
            "mediaType": media_type::OCI_MANIFEST, "size": 1,
            "digest": Digest::of(&number.to_be_bytes()).as_str(),
        })
    };
    disk.index(&(0..100_001).map(entry).collect::<Vec<_>>());
    assert_kind(disk.open().referrers(&Digest::of(b"")), &ErrorKind::Invalid);
}

#[tokio::test]
async fn a_referrer_that_the_place_puts_is_listed_though_it_has_looked_before() {
    let disk = Disk::new();
    let image = disk.image("1");
    disk.index(&[named(&image, "app")]);
    let place = LayoutImage::create(disk.reference(":app"));
    let subject = descriptor(&image).digest;
    for listed in 0..3 {
        assert_eq!(place.referrers(&subject).await.unwrap().len(), listed);
        let note = crate::layout_disk::referrer(&image, &listed.to_string());
        place.put_manifest(&note).await.unwrap();
    }
}
