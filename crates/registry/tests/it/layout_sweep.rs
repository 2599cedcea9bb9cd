//! Removing what nothing leads to, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use dockit_registry::layout::{DEFAULT_GRACE, Layout, Sweep, Unwanted};
use dockit_registry::manifest::media_type::OCI_INDEX;
use dockit_registry::{Digest, ErrorKind, RawManifest};
use dockit_testkit::TestImage;
use serde_json::json;

use crate::layout_disk::{Disk, blob_path, digest, named};
use crate::layout_store::{manifest, put, put_blob, put_blobs, repository, tag, whole_names};

const NONE: Duration = Duration::ZERO;

/// The blobs that are there, by their hex digits.
fn blobs(disk: &Disk) -> BTreeSet<String> {
    let listing = disk.listing().into_iter();
    listing.filter_map(|name| Some(name.strip_prefix("blobs/sha256/")?.to_owned())).collect()
}

fn delete(layout: &Layout, name: &str, item: &Unwanted) -> bool {
    layout.delete(&repository(name), std::slice::from_ref(item)).unwrap().remove(0).unwrap()
}

/// Makes a file older than any grace, if it is there.
fn age(disk: &Disk, name: &str) {
    if let Ok(file) = fs::File::options().write(true).open(disk.join(name)) {
        file.set_modified(SystemTime::now() - 2 * DEFAULT_GRACE).unwrap();
    }
}

#[test]
fn what_is_named_stays_with_all_that_it_needs() {
    let disk = Disk::new();
    let layout = disk.open();
    for number in 0..3 {
        put(&layout, &format!("team/app:{number}"), &TestImage::new(&number.to_string()));
    }
    let [one, other] = ["amd64", "arm64"].map(|one| TestImage::for_platform("i", "linux", one));
    for image in [&one, &other] {
        put_blobs(&layout, image);
        // As a tool may leave them that gives children no entry.
        layout.put_manifest(&manifest(image)).unwrap();
    }
    let index = TestImage::index(&[(&one, "linux", "amd64"), (&other, "linux", "arm64")]);
    let index = RawManifest::new(OCI_INDEX, index);
    layout.put_tag(&repository("both"), &tag("1"), &index).unwrap();
    let before = blobs(&disk);
    let names = whole_names(&layout);
    assert_eq!(names.len(), 4);

    put_blob(&layout, b"an orphan");
    let orphan = TestImage::new("orphan");
    put_blobs(&layout, &orphan);
    layout.put_manifest(&manifest(&orphan)).unwrap();
    assert_eq!(layout.sweep(DEFAULT_GRACE).unwrap(), Sweep::default(), "all of it is young");
    let sweep = layout.sweep(NONE).unwrap();
    assert!(sweep.blobs >= 3 && sweep.bytes > 9, "{sweep:?}");
    assert_eq!((blobs(&disk), whole_names(&layout)), (before, names));
    assert_eq!(layout.sweep(NONE).unwrap(), Sweep::default(), "nothing is left");
}

#[test]
fn what_was_deleted_goes_and_what_others_need_stays() {
    let disk = Disk::new();
    let layout = disk.open();
    let (kept, gone) = (TestImage::new("kept"), TestImage::new("gone"));
    put(&layout, "app:kept", &kept);
    let only_kept = blobs(&disk);
    put(&layout, "app:1", &gone);
    put(&layout, "app:2", &gone);
    let gone = Unwanted::Manifest(gone.digest().parse().unwrap());
    // Without its tags it is still there, as in other registries.
    assert!(delete(&layout, "app", &Unwanted::Tag(tag("1"))));
    assert!(delete(&layout, "app", &Unwanted::Tag(tag("2"))));
    assert_eq!(layout.sweep(NONE).unwrap(), Sweep::default());
    assert!(!delete(&layout, "other", &gone), "another repository has nothing of it");
    assert!(delete(&layout, "app", &gone));
    assert!(layout.sweep(NONE).unwrap().blobs > 0);
    assert_eq!(blobs(&disk), only_kept);
}

#[test]
fn a_damaged_index_can_be_deleted_and_keeps_what_it_may_lead_to() {
    let disk = Disk::new();
    let layout = disk.open();
    let child = TestImage::new("child");
    put_blobs(&layout, &child);
    layout.put_untagged(&repository("app"), &manifest(&child)).unwrap();
    let index = RawManifest::new(OCI_INDEX, TestImage::index(&[(&child, "linux", "amd64")]));
    layout.put_tag(&repository("app"), &tag("1"), &index).unwrap();
    let child = Unwanted::Manifest(child.digest().parse().unwrap());
    let held = layout.delete(&repository("app"), std::slice::from_ref(&child)).unwrap().remove(0);
    assert_eq!(*held.unwrap_err().kind(), ErrorKind::StillReferenced);
    disk.write(&blob_path(index.digest()), "damaged");
    layout.delete(&repository("app"), std::slice::from_ref(&child)).unwrap_err();
    assert!(delete(&layout, "app", &Unwanted::Manifest(index.digest().clone())));
    assert!(delete(&layout, "app", &child));
    assert_eq!(disk.read_index()["manifests"], json!([]));
}

#[test]
fn referrers_go_with_what_they_refer_to() {
    let disk = Disk::new();
    let layout = disk.open();
    let image = TestImage::new("subject");
    put(&layout, "app:1", &image);
    let subject = json!({
        "mediaType": image.media_type, "digest": image.digest(), "size": image.manifest.len(),
    });
    let mut before = subject;
    for text in ["document", "signature of the document"] {
        let referrer = crate::layout_disk::referrer(&before, text);
        put_blob(&layout, b"{}");
        put_blob(&layout, text.as_bytes());
        layout.put_untagged(&repository("app"), &referrer).unwrap();
        before = json!({
            "mediaType": referrer.media_type(), "digest": referrer.digest().as_str(),
            "size": referrer.bytes().len(),
        });
    }
    let all = blobs(&disk);
    assert_eq!(layout.sweep(NONE).unwrap(), Sweep::default());
    let unwanted = Unwanted::Manifest(image.digest().parse().unwrap());
    assert!(delete(&layout, "app", &unwanted));
    assert_eq!(layout.sweep(DEFAULT_GRACE).unwrap(), Sweep::default());
    assert_eq!(blobs(&disk), all);
    let sweep = layout.sweep(NONE).unwrap();
    assert_eq!((sweep.referrers, blobs(&disk).len()), (2, 0), "{sweep:?}");
    assert_eq!(disk.read_index()["manifests"], json!([]));
}

#[test]
fn what_is_not_understood_keeps_everything() {
    let unknown = |disk: &Disk| disk.blob("application/x.unknown.manifest", "{\"needs\":\"?\"}");
    let broken = |disk: &Disk| disk.blob(OCI_INDEX, "{\"schemaVersion\":2");
    let damaged = |disk: &Disk| {
        let image = disk.image("damaged");
        disk.write(&blob_path(&digest(&image)), "damaged");
        image
    };
    let missing = |disk: &Disk| {
        let image = disk.image("missing");
        fs::remove_file(disk.join(&blob_path(&digest(&image)))).unwrap();
        image
    };
    let odd = |_: &Disk| json!({"mediaType": OCI_INDEX, "digest": "blake3:00", "size": 1});
    let below = |disk: &Disk| disk.list(&[unknown(disk)]);
    type Entry<'a> = (&'a str, &'a dyn Fn(&Disk) -> serde_json::Value);
    let cases: [Entry<'_>; 6] = [
        ("unknown", &unknown),
        ("broken", &broken),
        ("damaged", &damaged),
        ("missing", &missing),
        ("odd", &odd),
        ("below", &below),
    ];
    for (case, entry) in cases {
        let disk = Disk::new();
        let entry = named(&entry(&disk), "theirs:1");
        disk.index(&[entry]);
        let layout = disk.open();
        put_blob(&layout, b"an orphan, for all that is known");
        let before = disk.listing();
        let sweep = layout.sweep(NONE).unwrap();
        assert_eq!((sweep.blobs, sweep.held_by.len()), (0, 1), "{case}: {sweep:?}");
        assert_eq!(disk.listing(), before, "{case}");
    }
}

#[test]
fn who_relies_on_a_blob_keeps_it() {
    let disk = Disk::new();
    let layout = disk.open();
    let image = TestImage::new("again");
    put_blobs(&layout, &image);
    let old: Vec<String> =
        disk.listing().into_iter().filter(|name| name.starts_with("blobs/")).collect();
    old.iter().for_each(|name| age(&disk, name));
    put_blob(&layout, &image.config);
    let sweep = layout.sweep(DEFAULT_GRACE).unwrap();
    assert_eq!(sweep.blobs, 1, "the layer alone: {sweep:?}");
    // And whoever did not ask gets no image that lacks something.
    let error = layout.put_tag(&repository("app"), &tag("1"), &manifest(&image)).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(layout.tagged(&repository("app"), &tag("1")).unwrap(), None);
    put(&layout, "app:1", &image);
    assert_eq!(whole_names(&layout).len(), 1);
}

#[test]
fn a_damaged_blob_that_is_put_again_is_whole_afterwards() {
    let disk = Disk::new();
    let layout = disk.open();
    let image = TestImage::new("damaged");
    put_blobs(&layout, &image);
    let layer = Digest::of(&image.layer);
    disk.write(&blob_path(&layer), vec![b'x'; image.layer.len()]);
    put(&layout, "app:1", &image);
    assert_eq!(whole_names(&layout).len(), 1);
}

/// Writers, each with tags of its own, who delete some images and put them again; and sweeps all the
/// time.
#[test]
fn no_tag_is_lost_and_no_named_blob_swept_while_all_write() {
    const WRITERS: usize = 4;
    const ROUNDS: usize = 12;
    let disk = Disk::new();
    let (stop, swept) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let layout = disk.open();
            while !stop.load(Ordering::Relaxed) {
                let sweep = layout.sweep(DEFAULT_GRACE).unwrap();
                assert_eq!(sweep.held_by, [""; 0]);
                swept.fetch_add(sweep.blobs, Ordering::Relaxed);
            }
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let disk = &disk;
                scope.spawn(move || {
                    let layout = disk.open();
                    for round in 0..ROUNDS {
                        // The same images for all, and one of its own.
                        let shared = TestImage::new(&format!("shared {}", round % 3));
                        let own = TestImage::new(&format!("{writer} {round}"));
                        put(&layout, &format!("shared:{writer}-{round}"), &shared);
                        put(&layout, &format!("own{writer}:{round}"), &own);
                        if round % 2 == 1 {
                            let item = Unwanted::Manifest(own.digest().parse().unwrap());
                            assert!(delete(&layout, &format!("own{writer}"), &item));
                            // What is left of it is old now, and a sweep may take any of it before
                            // or while it is relied upon again.
                            for bytes in [&own.config, &own.layer, &own.manifest] {
                                age(disk, &blob_path(&Digest::of(bytes)));
                            }
                            put(&layout, &format!("again{writer}:{round}"), &own);
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let layout = disk.open();
    let mut expected = BTreeSet::new();
    for writer in 0..WRITERS {
        for round in 0..ROUNDS {
            expected.insert(format!("shared:{writer}-{round}"));
            let kept = if round % 2 == 0 { "own" } else { "again" };
            expected.insert(format!("{kept}{writer}:{round}"));
        }
    }
    assert_eq!(whole_names(&layout), expected);
    assert!(layout.sweep(NONE).unwrap().held_by.is_empty());
    assert_eq!(whole_names(&layout), expected);
}
