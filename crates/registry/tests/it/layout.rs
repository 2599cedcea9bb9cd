//! What layouts hold, and how it gets there.

use std::fs;
use std::io::Read as _;
use std::time::{Duration, SystemTime};

use dockit_registry::layout::Layout;
use dockit_registry::manifest::media_type;
use dockit_registry::{Digest, ErrorKind, RawManifest};
use serde_json::json;

use crate::layout_disk::{
    Disk, REF_NAME, assert_kind, blob_path, descriptor, descriptor_of, digest, name, named,
    referrer,
};

fn write(layout: &Layout, bytes: &[u8]) {
    let mut writer = layout.blob_writer(&descriptor_of(bytes)).unwrap();
    for piece in bytes.chunks(3) {
        writer.write(piece).unwrap();
    }
    writer.commit().unwrap();
}

#[test]
fn a_new_layout_is_what_the_spec_says_and_nothing_else() {
    let disk = Disk::empty();
    let path = disk.join("deep/er");
    for _ in 0..2 {
        Layout::create(&path).unwrap();
    }
    assert_eq!(disk.listing(), ["deep/er/index.json", "deep/er/oci-layout"]);
    assert!(path.join("blobs").is_dir());
    let mark = fs::read_to_string(path.join("oci-layout")).unwrap();
    assert_eq!(mark, r#"{"imageLayoutVersion":"1.0.0"}"#);
    let layout = Layout::open(&path).unwrap();
    assert_eq!(layout.names().unwrap(), []);
    assert_eq!(layout.find(None, None).unwrap(), None);
    assert_eq!(layout.directory(), path);
}

#[test]
fn a_creation_that_was_interrupted_is_finished() {
    let disk = Disk::empty();
    let whole = Disk::empty();
    Layout::create(whole.path()).unwrap();
    fs::create_dir(disk.join("blobs")).unwrap();
    disk.write("index.json.lock", "");
    disk.write(".dockit-unfinished-1", "{");
    fs::copy(whole.join("index.json"), disk.join("index.json")).unwrap();
    assert_kind(Layout::open(disk.path()), &ErrorKind::Invalid);
    Layout::create(disk.path()).unwrap();
    Layout::open(disk.path()).unwrap();
}

#[test]
fn a_directory_of_something_else_stays_as_it_is() {
    for (file, bytes) in [
        ("src/main.rs", ""),
        ("blobs/sha256/x", ""),
        ("index.json", "{}"),
        ("index.json", r#"{"schemaVersion":2,"manifests":[{"a":1}]}"#),
    ] {
        let disk = Disk::empty();
        disk.write(file, bytes);
        let error = assert_kind(Layout::create(disk.path()), &ErrorKind::Invalid);
        assert!(error.to_string().contains("not empty"), "{error}");
        assert_eq!(disk.listing(), [file]);
    }
}

#[test]
fn what_is_no_layout_is_not_opened() {
    let disk = Disk::empty();
    assert_kind(Layout::open(disk.path()), &ErrorKind::Invalid);
    assert_kind(Layout::open(&disk.join("absent")), &ErrorKind::Invalid);
    disk.write("file", "");
    assert_kind(Layout::open(&disk.join("file")), &ErrorKind::Invalid);
    for mark in
        ["", "{", "[]", "{}", r#"{"imageLayoutVersion":1}"#, r#"{"imageLayoutVersion":"2.0.0"}"#]
    {
        disk.write("oci-layout", mark);
        assert_kind(Layout::open(disk.path()), &ErrorKind::Invalid);
        assert_kind(Layout::create(disk.path()), &ErrorKind::Invalid);
    }
    disk.write("oci-layout", r#"{"imageLayoutVersion":"1.1.0","more":1}"#);
    Layout::open(disk.path()).unwrap();
}

#[test]
fn blobs_come_back_as_they_were_written() {
    let disk = Disk::empty();
    let layout = Layout::create(disk.path()).unwrap();
    for bytes in [&b""[..], b"x", &[7; 100_000]] {
        let blob = descriptor_of(bytes);
        assert!(!layout.has_blob(&blob).unwrap());
        assert_kind(layout.open_blob(&blob), &ErrorKind::NotFound);
        for _ in 0..2 {
            write(&layout, bytes);
        }
        assert!(layout.has_blob(&blob).unwrap());
        let mut read = Vec::new();
        layout.open_blob(&blob).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
        assert_eq!(fs::read(disk.join(&blob_path(&blob.digest))).unwrap(), bytes);
    }
    assert_eq!(disk.listing().len(), 5, "{:?}", disk.listing());
}

#[test]
fn a_blob_of_sha512_has_its_own_directory() {
    let disk = Disk::empty();
    let layout = Layout::create(disk.path()).unwrap();
    let hex = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
               2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
    let mut blob = descriptor_of(b"abc");
    blob.digest = format!("sha512:{hex}").parse().unwrap();
    let mut writer = layout.blob_writer(&blob).unwrap();
    writer.write(b"abc").unwrap();
    writer.commit().unwrap();
    assert_eq!(fs::read(disk.join("blobs/sha512").join(hex)).unwrap(), b"abc");
}

#[test]
fn only_the_blob_that_was_announced_is_kept() {
    let disk = Disk::empty();
    let layout = Layout::create(disk.path()).unwrap();
    let before = disk.listing();
    let blob = descriptor_of(b"right");
    for bytes in [&b""[..], b"righ", b"wrong"] {
        let mut writer = layout.blob_writer(&blob).unwrap();
        writer.write(bytes).unwrap();
        assert_kind(writer.commit(), &ErrorKind::DigestMismatch);
    }
    let mut writer = layout.blob_writer(&blob).unwrap();
    assert_kind(writer.write(b"right and more"), &ErrorKind::DigestMismatch);
    drop(writer);
    let mut writer = layout.blob_writer(&blob).unwrap();
    writer.write(b"right").unwrap();
    drop(writer);
    assert!(!layout.has_blob(&blob).unwrap());
    assert_eq!(disk.listing(), before, "nothing is left");
}

#[test]
fn what_a_killed_writer_left_counts_for_nothing_and_goes_after_a_day() {
    let disk = Disk::empty();
    let layout = Layout::create(disk.path()).unwrap();
    let blob = descriptor_of(b"half a blob");
    let mut writer = layout.blob_writer(&blob).unwrap();
    writer.write(b"half").unwrap();
    std::mem::forget(writer);
    assert!(!layout.has_blob(&blob).unwrap());
    Layout::create(disk.path()).unwrap();
    let left: Vec<String> =
        disk.listing().into_iter().filter(|name| name.contains("unfinished")).collect();
    assert_eq!(left.len(), 1, "a writer may still be at work");
    let file = fs::File::options().write(true).open(disk.join(&left[0])).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(25 * 60 * 60)).unwrap();
    Layout::create(disk.path()).unwrap();
    assert_eq!(disk.listing(), ["index.json", "oci-layout"]);
}

#[test]
fn a_manifest_is_found_by_name_and_by_digest() {
    let disk = Disk::empty();
    let layout = Layout::create(disk.path()).unwrap();
    let manifest = RawManifest::new(
        media_type::OCI_INDEX,
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
    );
    let app = name("team/app:1.0");
    assert_kind(layout.set_name(&app, &manifest.descriptor()), &ErrorKind::NotFound);
    assert_eq!(layout.find(None, Some(manifest.digest())).unwrap(), None);
    assert_kind(layout.manifest(manifest.digest()), &ErrorKind::NotFound);
    for _ in 0..2 {
        layout.put_manifest(&manifest).unwrap();
    }
    let found = layout.find(None, Some(manifest.digest())).unwrap();
    assert_eq!(found, Some(manifest.descriptor()), "without an entry");
    assert_eq!(layout.find(Some(&app), None).unwrap(), None);
    layout.set_name(&app, &manifest.descriptor()).unwrap();
    let found = layout.find(Some(&app), None).unwrap().unwrap();
    assert_eq!((&found.digest, found.size), (manifest.digest(), manifest.bytes().len() as u64));
    assert_eq!(layout.manifest(&found.digest).unwrap(), manifest);
    assert_eq!(layout.names().unwrap(), [(app.clone(), found.clone())]);
    assert_eq!(layout.find(None, None).unwrap(), Some(found));
    layout.remove_name(&app).unwrap();
    assert_eq!(layout.names().unwrap(), []);
    let found = layout.find(None, None).unwrap().unwrap();
    assert_eq!(found.digest, *manifest.digest(), "the entry stays");
    assert_eq!(disk.listing().len(), 3, "{:?}", disk.listing());
}

#[test]
fn the_only_image_needs_no_name_and_several_are_listed() {
    let disk = Disk::new();
    let (one, two) = (disk.image("1"), disk.image("2"));
    let note = disk.referrer(&one, "note");
    let only = |entries: &[serde_json::Value]| {
        disk.index(entries);
        disk.open().find(None, None)
    };
    let tag = format!("sha256-{}", digest(&one).hex());
    let lists = disk.list(std::slice::from_ref(&note));
    for entries in [
        &[one.clone()][..],
        &[one.clone(), note.clone()],
        &[note.clone(), one.clone(), one.clone()],
        &[two.clone(), named(&one, "app")],
        &[named(&one, "a"), named(&one, "b")],
        &[named(&one, "app"), named(&lists, &tag)],
    ] {
        assert_eq!(only(entries).unwrap().unwrap().digest, digest(&one), "{entries:?}");
    }
    let error = assert_kind(only(&[named(&one, "a"), named(&two, "b:2")]), &ErrorKind::Invalid);
    assert!(error.to_string().ends_with("name one: a, b:2"), "{error}");
    let error = assert_kind(only(&[one.clone(), two.clone()]), &ErrorKind::Invalid);
    assert!(error.to_string().contains(digest(&two).as_str()), "{error}");
}

#[test]
fn the_only_image_is_replaced_unless_it_has_a_name() {
    let disk = Disk::new();
    let (one, two) = (disk.image("1"), disk.image("2"));
    let note = disk.referrer(&one, "note");
    let layout = disk.open();
    for image in [&one, &one, &two] {
        layout.set_only(&descriptor(image)).unwrap();
        layout.add_entry(&descriptor(&note)).unwrap();
        assert_eq!(layout.find(None, None).unwrap().unwrap().digest, digest(image));
    }
    assert_eq!(disk.read_index()["manifests"].as_array().unwrap().len(), 2);
    layout.set_name(&name("app"), &descriptor(&two)).unwrap();
    layout.set_only(&descriptor(&two)).unwrap();
    let error = assert_kind(layout.set_only(&descriptor(&one)), &ErrorKind::Invalid);
    assert!(error.to_string().contains("app"), "{error}");
}

#[test]
fn referrers_are_found_among_the_entries_and_below_them() {
    let disk = Disk::new();
    let (one, two) = (disk.image("1"), disk.image("2"));
    let layout = disk.open();
    let listed = referrer(&one, "listed");
    layout.put_manifest(&listed).unwrap();
    assert_eq!(layout.referrers(&digest(&one)).unwrap(), [], "nothing leads to it");
    layout.add_entry(&listed.descriptor()).unwrap();
    let below = disk.referrer(&one, "below");
    let other = disk.referrer(&two, "other");
    let absent = json!({"mediaType": media_type::OCI_MANIFEST, "size": 2,
        "digest": Digest::of(b"not here").as_str()});
    let list = disk.list(&[disk.list(&[below.clone(), absent]), below.clone(), other]);
    layout.set_name(&name("list"), &descriptor(&list)).unwrap();
    let mut found = layout.referrers(&digest(&one)).unwrap();
    found.sort_by_key(|found| found.annotations["note"].clone());
    let digests: Vec<Digest> = found.iter().map(|found| found.digest.clone()).collect();
    assert_eq!(digests, [digest(&below), listed.digest().clone()]);
    assert_eq!(found[0].artifact_type.as_deref(), Some("text/note"));
    assert_eq!(layout.referrers(&digest(&two)).unwrap().len(), 1);
    assert_eq!(layout.referrers(&digest(&list)).unwrap(), []);
}

#[test]
fn a_name_that_moves_leaves_what_others_wrote() {
    let disk = Disk::new();
    let (one, two) = (disk.image("1"), disk.image("2"));
    let mut foreign = named(&one, "app");
    foreign["annotations"]["io.containerd.image.name"] = "docker.io/library/app:1".into();
    foreign["x-unknown"] = json!({"deep": [1, null]});
    let strange = json!({"mediaType": "?", "digest": "blake3:00", "size": -1});
    disk.write(
        "index.json",
        json!({"schemaVersion": 2, "manifests": [foreign, strange], "x": 1}).to_string(),
    );
    disk.open().set_name(&name("app"), &descriptor(&two)).unwrap();
    let index = disk.read_index();
    foreign["annotations"].as_object_mut().unwrap().remove(REF_NAME);
    assert_eq!(index["manifests"], json!([foreign, strange, named(&two, "app")]));
    assert_eq!(index["x"], 1);
}
