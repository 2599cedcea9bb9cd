//! Layouts and skopeo: what one writes the other reads.

use std::path::Path;
use std::process::Command;

use dockit_registry::copy::{CopyEvent, CopyObserver, CopyOptions, LayoutImage, copy};
use dockit_registry::layout::{Layout, LayoutName};
use dockit_registry::manifest::{Descriptor, Manifest, media_type};
use dockit_registry::{Digest, RawManifest};
use dockit_testkit::TestImage;

struct Silent;

impl CopyObserver for Silent {
    fn event(&self, _: CopyEvent<'_>) {}
}

fn skopeo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo").arg("--insecure-policy").args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo {arguments:?}: {errors}");
    output.stdout
}

fn copy_with_skopeo(from: &str, to: &str) {
    skopeo(&["copy", "--quiet", "--all", "--preserve-digests", from, to]);
}

fn put_blob(layout: &Layout, bytes: &[u8]) {
    let blob = Descriptor::new("m", Digest::of(bytes), bytes.len() as u64);
    let mut writer = layout.blob_writer(&blob).unwrap();
    writer.write(bytes).unwrap();
    writer.commit().unwrap();
}

fn put_image(layout: &Layout, image: &TestImage) -> RawManifest {
    put_blob(layout, &image.config);
    put_blob(layout, &image.layer);
    let manifest = RawManifest::new(image.media_type, image.manifest.clone());
    layout.put_manifest(&manifest).unwrap();
    manifest
}

fn name(text: &str) -> LayoutName {
    text.parse().unwrap()
}

/// A layout with an image `one:1` and an index `team/both:2.0`, and their digests.
fn written(path: &Path) -> (Layout, Digest, Digest) {
    let layout = Layout::create(path).unwrap();
    let (one, two) = (TestImage::new("one"), TestImage::for_platform("two", "linux", "arm64"));
    let image = put_image(&layout, &one);
    put_image(&layout, &two);
    let bytes = TestImage::index(&[(&one, "linux", "amd64"), (&two, "linux", "arm64")]);
    let index = RawManifest::new(media_type::OCI_INDEX, bytes);
    layout.put_manifest(&index).unwrap();
    layout.set_name(&name("one:1"), &image.descriptor()).unwrap();
    layout.set_name(&name("team/both:2.0"), &index.descriptor()).unwrap();
    (layout, image.digest().clone(), index.digest().clone())
}

fn oci(directory: &Path, name: &str) -> String {
    format!("oci:{}:{name}", directory.display())
}

#[test]
fn skopeo_reads_what_is_written_here() {
    let root = tempfile::tempdir().unwrap();
    let (layout, image, index) = written(&root.path().join("ours"));
    for (text, digest) in [("one:1", &image), ("team/both:2.0", &index)] {
        let raw = skopeo(&["inspect", "--raw", &oci(layout.directory(), text)]);
        assert_eq!(Digest::of(&raw), *digest, "{text}");
    }
    let shown = skopeo(&["inspect", &oci(layout.directory(), "one:1")]);
    let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
    assert_eq!(shown["Digest"], image.as_str());
    assert_eq!(shown["Architecture"], "amd64");
}

#[test]
fn what_skopeo_copied_is_read_here_with_the_same_digests() {
    let root = tempfile::tempdir().unwrap();
    let (ours, image, index) = written(&root.path().join("ours"));
    let theirs = root.path().join("theirs");
    for (from, to) in [("one:1", "a"), ("team/both:2.0", "team/b:3"), ("team/both:2.0", "a")] {
        copy_with_skopeo(&oci(ours.directory(), from), &oci(&theirs, to));
    }
    let layout = Layout::open(&theirs).unwrap();
    let a = layout.find(Some(&name("a")), None).unwrap().unwrap();
    let b = layout.find(Some(&name("team/b:3")), None).unwrap().unwrap();
    assert_eq!((&a.digest, &b.digest), (&index, &index), "the name moved");
    assert!(layout.find(None, Some(&image)).unwrap().is_some(), "what had it is still there");
    let raw = layout.manifest(&index).unwrap();
    let Manifest::Index(content) = raw.parse().unwrap() else { panic!("an index") };
    for entry in &content.entries {
        let Manifest::Image(child) = layout.manifest(&entry.digest).unwrap().parse().unwrap()
        else {
            panic!("an image")
        };
        assert!(layout.has_blob(&child.config).unwrap());
        assert!(child.layers.iter().all(|layer| layout.has_blob(layer).unwrap()));
    }
}

#[test]
fn skopeo_and_this_write_to_one_layout_in_turns() {
    let root = tempfile::tempdir().unwrap();
    let (ours, image, index) = written(&root.path().join("ours"));
    let shared = root.path().join("shared");
    copy_with_skopeo(&oci(ours.directory(), "one:1"), &oci(&shared, "first"));
    let layout = Layout::create(&shared).unwrap();
    put_image(&layout, &TestImage::new("ours"));
    let manifest = RawManifest::new(media_type::OCI_MANIFEST, TestImage::new("ours").manifest);
    layout.set_name(&name("second"), &manifest.descriptor()).unwrap();
    copy_with_skopeo(&oci(ours.directory(), "team/both:2.0"), &oci(&shared, "third"));
    layout.set_name(&name("first"), &manifest.descriptor()).unwrap();
    let expected = [("first", manifest.digest()), ("second", manifest.digest()), ("third", &index)];
    for (text, digest) in expected {
        let found = layout.find(Some(&name(text)), None).unwrap().unwrap();
        assert_eq!(found.digest, *digest, "{text}");
        let raw = skopeo(&["inspect", "--raw", &oci(&shared, text)]);
        assert_eq!(Digest::of(&raw), *digest, "{text}");
    }
    assert!(layout.has_manifest(&image).unwrap());
}

#[tokio::test]
async fn a_copy_of_a_copy_of_skopeos_is_the_same_image() {
    let root = tempfile::tempdir().unwrap();
    let (ours, _, index) = written(&root.path().join("ours"));
    let (theirs, back) = (root.path().join("theirs"), root.path().join("back"));
    copy_with_skopeo(&oci(ours.directory(), "team/both:2.0"), &oci(&theirs, "both"));
    let from = LayoutImage::open(oci(&theirs, "both").parse().unwrap());
    let to = LayoutImage::create(oci(&back, "both:again").parse().unwrap());
    let observer = std::sync::Arc::new(Silent);
    let report = copy(&from, &to, &CopyOptions::default(), observer).await.unwrap();
    assert_eq!(report.digest, index);
    let end = root.path().join("end");
    copy_with_skopeo(&oci(&back, "both:again"), &oci(&end, "end"));
    let layout = Layout::open(&end).unwrap();
    assert_eq!(layout.find(Some(&name("end")), None).unwrap().unwrap().digest, index);
}
