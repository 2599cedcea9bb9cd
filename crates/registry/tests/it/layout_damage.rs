//! Damaged layouts, and such as were made to lead somewhere else.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use dockit_registry::layout::Layout;
use dockit_registry::manifest::{Descriptor, MAX_MANIFEST_SIZE, media_type};
use dockit_registry::{Digest, ErrorKind, RawManifest};
use proptest::prelude::*;
use serde_json::Value;

use crate::layout_disk::{Disk, assert_kind, blob_path, descriptor, digest, name, named};

fn pipe(path: &Path) {
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

/// A layout with one image, `app`.
fn with_app() -> (Disk, Value) {
    let disk = Disk::new();
    let image = disk.image("1");
    disk.index(&[named(&image, "app")]);
    (disk, image)
}

#[test]
fn a_damaged_manifest_is_told_from_an_absent_one_and_is_mended_by_writing() {
    let (disk, image) = with_app();
    let layout = disk.open();
    let path = disk.join(&blob_path(&digest(&image)));
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[10] ^= 1;
    let manifest = RawManifest::new(media_type::OCI_MANIFEST, whole.clone());
    for damaged in [&whole[..whole.len() - 1], &flipped, b"", &[&whole[..], b" "].concat()] {
        fs::write(&path, damaged).unwrap();
        assert_kind(layout.manifest(&digest(&image)), &ErrorKind::DigestMismatch);
        assert_kind(layout.find(None, Some(&digest(&image))), &ErrorKind::DigestMismatch);
        assert_kind(layout.referrers(&digest(&image)), &ErrorKind::DigestMismatch);
        assert!(!layout.has_manifest(&digest(&image)).unwrap());
        layout.put_manifest(&manifest).unwrap();
        assert!(layout.has_manifest(&digest(&image)).unwrap());
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    fs::remove_file(&path).unwrap();
    assert_kind(layout.manifest(&digest(&image)), &ErrorKind::NotFound);
    assert_eq!(layout.find(Some(&name("app")), None).unwrap().unwrap().digest, digest(&image));
    assert_eq!(layout.find(None, Some(&digest(&image))).unwrap(), None);
}

#[test]
fn a_blob_of_another_size_is_not_there() {
    let disk = Disk::new();
    let blob = descriptor(&disk.blob("m", "bytes"));
    let layout = disk.open();
    disk.write(&blob_path(&blob.digest), "byte");
    assert!(!layout.has_blob(&blob).unwrap());
    assert_kind(layout.open_blob(&blob), &ErrorKind::DigestMismatch);
}

#[test]
fn a_manifest_that_is_too_large_is_neither_read_nor_written() {
    let disk = Disk::new();
    let size = usize::try_from(MAX_MANIFEST_SIZE).unwrap();
    let text = format!(r#"{{"schemaVersion":2,"manifests":[],"x":"{}"}}"#, "x".repeat(size));
    let entry = disk.blob(media_type::OCI_INDEX, &text);
    let layout = disk.open();
    assert_kind(layout.manifest(&digest(&entry)), &ErrorKind::Invalid);
    let manifest = RawManifest::new(media_type::OCI_INDEX, text);
    assert_kind(layout.put_manifest(&manifest), &ErrorKind::Invalid);
}

#[test]
fn a_damaged_index_is_never_overwritten() {
    let (disk, image) = with_app();
    let layout = disk.open();
    let whole = fs::read(disk.join("index.json")).unwrap();
    let too_large = [&whole[..], &vec![b' '; 128 * 1024 * 1024]].concat();
    for damaged in [&b""[..], b"\0\0\0", &whole[..whole.len() - 2], b"[]", b"{}", &too_large] {
        disk.write("index.json", damaged);
        assert_kind(layout.find(Some(&name("app")), None), &ErrorKind::Invalid);
        assert_kind(layout.names(), &ErrorKind::Invalid);
        assert_kind(layout.set_name(&name("b"), &descriptor(&image)), &ErrorKind::Invalid);
        assert_kind(layout.set_only(&descriptor(&image)), &ErrorKind::Invalid);
        assert_kind(layout.add_entry(&descriptor(&image)), &ErrorKind::Invalid);
        assert_kind(layout.remove_name(&name("app")), &ErrorKind::Invalid);
        Layout::create(disk.path()).unwrap();
        assert_eq!(fs::read(disk.join("index.json")).unwrap(), damaged);
    }
    fs::remove_file(disk.join("index.json")).unwrap();
    assert_kind(layout.set_name(&name("b"), &descriptor(&image)), &ErrorKind::Invalid);
    assert!(!disk.join("index.json").exists());
}

#[test]
fn the_directory_itself_may_be_a_link() {
    let (disk, image) = with_app();
    let other = Disk::empty();
    symlink(disk.path(), other.join("link")).unwrap();
    let layout = Layout::open(&other.join("link")).unwrap();
    layout.set_name(&name("b"), &descriptor(&image)).unwrap();
    assert_eq!(disk.open().names().unwrap().len(), 2);
}

/// Moves something of a layout out of it and leaves a link to where it went.
fn moved_out(disk: &Disk, outside: &Disk, from: &str) {
    let to = outside.join("moved");
    fs::rename(disk.join(from), &to).unwrap();
    symlink(&to, disk.join(from)).unwrap();
}

#[test]
fn no_link_leads_out() {
    let path = |image: &Value| blob_path(&digest(image));
    for case in ["blobs", "blobs/sha256", "BLOB", "index.json", "oci-layout", "index.json.lock"] {
        let (disk, image) = with_app();
        let outside = Disk::empty();
        let layout = disk.open();
        let part = case.replace("BLOB", &path(&image));
        if case == "index.json.lock" {
            disk.write(case, "");
        }
        moved_out(&disk, &outside, &part);
        let before = outside.listing();
        if case == "oci-layout" {
            assert_kind(Layout::open(disk.path()), &ErrorKind::Invalid);
            assert_kind(Layout::create(disk.path()), &ErrorKind::Invalid);
            continue;
        }
        let new = descriptor(&image);
        let error = assert_kind(layout.set_name(&name("b"), &new), &ErrorKind::Invalid);
        if case == "index.json" {
            assert_kind(layout.names(), &ErrorKind::Invalid);
        } else if case != "index.json.lock" {
            assert!(error.to_string().contains("leads out"), "{error}");
            assert_kind(layout.has_blob(&new), &ErrorKind::Invalid);
            assert_kind(layout.open_blob(&new), &ErrorKind::Invalid);
            assert_kind(layout.manifest(&new.digest), &ErrorKind::Invalid);
            assert_kind(layout.has_manifest(&new.digest), &ErrorKind::Invalid);
            assert_kind(layout.referrers(&new.digest), &ErrorKind::Invalid);
        }
        if case.starts_with("blobs") {
            let manifest = RawManifest::new(media_type::OCI_INDEX, "{}");
            assert_kind(layout.put_manifest(&manifest), &ErrorKind::Invalid);
        }
        assert_eq!(outside.listing(), before, "{case}: nothing was written outside");
    }
}

#[test]
fn a_blob_that_is_a_link_is_replaced_and_not_written_through() {
    let (disk, image) = with_app();
    let outside = Disk::empty();
    let part = blob_path(&digest(&image));
    let whole = fs::read(disk.join(&part)).unwrap();
    moved_out(&disk, &outside, &part);
    outside.write("moved", "secret");
    let manifest = RawManifest::new(media_type::OCI_MANIFEST, whole);
    disk.open().put_manifest(&manifest).unwrap();
    assert_eq!(fs::read(outside.join("moved")).unwrap(), b"secret");
    assert_eq!(disk.open().manifest(&digest(&image)).unwrap(), manifest);
}

#[test]
fn links_that_stay_inside_are_followed() {
    let (disk, image) = with_app();
    fs::rename(disk.join("blobs/sha256"), disk.join("store")).unwrap();
    symlink("../store", disk.join("blobs/sha256")).unwrap();
    let layout = disk.open();
    layout.manifest(&digest(&image)).unwrap();
    let manifest = RawManifest::new(media_type::OCI_INDEX, r#"{"manifests":[]}"#);
    layout.put_manifest(&manifest).unwrap();
    assert!(disk.join("store").join(manifest.digest().hex()).is_file());
}

#[test]
fn links_that_lead_nowhere_or_in_circles_end() {
    let (disk, image) = with_app();
    let path = disk.join(&blob_path(&digest(&image)));
    fs::remove_file(&path).unwrap();
    symlink("nowhere", &path).unwrap();
    assert_kind(disk.open().manifest(&digest(&image)), &ErrorKind::NotFound);
    fs::remove_file(&path).unwrap();
    symlink(path.file_name().unwrap(), &path).unwrap();
    assert_kind(disk.open().manifest(&digest(&image)), &ErrorKind::Storage);
}

#[test]
fn only_regular_files_are_read() {
    let make_directory = |path: &Path| fs::create_dir(path).unwrap();
    let make_socket = |path: &Path| drop(UnixListener::bind(path).unwrap());
    let makers: [&dyn Fn(&Path); 3] = [&pipe, &make_directory, &make_socket];
    for make in makers {
        for case in ["BLOB", "index.json", "oci-layout", "index.json.lock", "blobs"] {
            let (disk, image) = with_app();
            let layout = disk.open();
            // A socket's path is short, so it is made elsewhere and moved.
            let special = disk.join("s");
            make(&special);
            let path = disk.join(&case.replace("BLOB", &blob_path(&digest(&image))));
            match case {
                "blobs" => fs::rename(&path, disk.join("away")).unwrap(),
                "index.json.lock" => {}
                _ => fs::remove_file(&path).unwrap(),
            }
            fs::rename(&special, &path).unwrap();
            let new = descriptor(&image);
            match case {
                "oci-layout" => {
                    assert_kind(Layout::open(disk.path()), &ErrorKind::Invalid);
                    assert_kind(Layout::create(disk.path()), &ErrorKind::Invalid);
                }
                "blobs" if path.is_dir() => {
                    assert_kind(layout.open_blob(&new), &ErrorKind::NotFound);
                }
                "index.json" => {
                    assert_kind(layout.names(), &ErrorKind::Invalid);
                    assert_kind(layout.set_name(&name("b"), &new), &ErrorKind::Invalid);
                }
                "index.json.lock" => {
                    assert_kind(layout.set_name(&name("b"), &new), &ErrorKind::Invalid);
                }
                _ => {
                    assert_kind(layout.open_blob(&new), &ErrorKind::Invalid);
                    assert_kind(layout.manifest(&new.digest), &ErrorKind::Invalid);
                    assert_kind(layout.has_manifest(&new.digest), &ErrorKind::Invalid);
                }
            }
        }
    }
}

#[test]
fn a_link_to_a_device_is_not_opened() {
    let (disk, image) = with_app();
    let path = disk.join(&blob_path(&digest(&image)));
    fs::remove_file(&path).unwrap();
    symlink("/dev/zero", &path).unwrap();
    assert_kind(disk.open().manifest(&digest(&image)), &ErrorKind::Invalid);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a byte of a layout becomes: what is read is right, or an error.
    #[test]
    fn a_changed_byte_is_never_believed(
        file in 0..3_usize, place in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let (disk, image) = with_app();
        let digest = digest(&image);
        let layer = Descriptor::new("l", Digest::of(b"1"), 1);
        let files = [blob_path(&digest), "index.json".to_owned(), "oci-layout".to_owned()];
        let path = disk.join(&files[file]);
        let mut bytes = fs::read(&path).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        fs::write(&path, bytes).unwrap();
        let Ok(layout) = Layout::open(disk.path()) else { return Ok(()) };
        if let Ok(Some(found)) = layout.find(Some(&name("app")), None)
            && let Ok(manifest) = layout.manifest(&found.digest)
        {
            prop_assert_eq!(manifest.digest(), &digest);
        }
        let _ = layout.find(None, None);
        let _ = layout.referrers(&digest);
        let mut read = Vec::new();
        layout.open_blob(&layer).unwrap().read_to_end(&mut read).unwrap();
        prop_assert_eq!(read, b"1");
    }
}
