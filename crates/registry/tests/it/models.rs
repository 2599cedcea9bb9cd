//! Another implementation's reading of the same bytes.

use dockit_registry::RawManifest;
use dockit_registry::manifest::Manifest;
use dockit_testkit::TestImage;
use oci_distribution::manifest::OciManifest;

#[test]
fn oci_distribution_reads_manifests_as_we_do() {
    let image = TestImage::new("model");
    let raw = RawManifest::new(image.media_type, image.manifest.clone());
    let Manifest::Image(ours) = raw.parse().unwrap() else { panic!("an index") };
    let OciManifest::Image(theirs) = serde_json::from_slice(&image.manifest).unwrap() else {
        panic!("an index")
    };
    for (ours, theirs) in [(&ours.config, &theirs.config), (&ours.layers[0], &theirs.layers[0])] {
        assert_eq!(ours.digest.as_str(), theirs.digest);
        assert_eq!(i64::try_from(ours.size), Ok(theirs.size));
        assert_eq!(ours.media_type, theirs.media_type);
    }
}

#[test]
fn oci_distribution_reads_indexes_as_we_do() {
    let (one, other) = (TestImage::new("one"), TestImage::new("other"));
    let index = TestImage::index(&[(&one, "linux", "amd64"), (&other, "linux", "riscv64")]);
    let raw = RawManifest::new("application/vnd.oci.image.index.v1+json", index.clone());
    let Manifest::Index(ours) = raw.parse().unwrap() else { panic!("an image") };
    let OciManifest::ImageIndex(theirs) = serde_json::from_slice(&index).unwrap() else {
        panic!("an image")
    };
    assert_eq!(ours.entries.len(), theirs.manifests.len());
    for (ours, theirs) in ours.entries.iter().zip(&theirs.manifests) {
        let platform = theirs.platform.as_ref().unwrap();
        assert_eq!(ours.digest.as_str(), theirs.digest);
        let theirs = format!("{}/{}", platform.os, platform.architecture);
        assert_eq!(ours.platform.as_ref().unwrap().to_string(), theirs);
    }
}
