//! Layouts as places of copies.

use std::fs;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dockit_registry::copy::{CopyEvent, CopyObserver, CopyOptions, ImagePlace, LayoutImage, copy};
use dockit_registry::manifest::media_type;
use dockit_registry::{
    BlobSource, BlobStream, Delivery, Digest, Error, ErrorKind, Location, RawManifest,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use crate::layout_disk::{
    Disk, assert_kind, blob_path, descriptor, descriptor_of, digest, name, named, referrer,
};

struct Silent;

impl CopyObserver for Silent {
    fn event(&self, _: CopyEvent<'_>) {}
}

async fn collect(stream: BlobStream) -> Result<Vec<u8>, Error> {
    stream.try_fold(Vec::new(), |all, piece| async move { Ok([&all[..], &piece].concat()) }).await
}

/// Pieces, then perhaps an error.
struct Pieces(Vec<Result<&'static [u8], ()>>);

#[async_trait]
impl BlobSource for Pieces {
    async fn open(&self) -> Result<BlobStream, Error> {
        let cut = || Error::new(ErrorKind::Transient, "cut");
        let pieces: Vec<_> =
            self.0.iter().map(|piece| piece.map(Bytes::from_static).map_err(|()| cut())).collect();
        Ok(stream::iter(pieces).boxed())
    }
}

/// An index of two images, one of which has a note, which has one, too.
fn with_index() -> (Disk, Value) {
    let disk = Disk::new();
    let (one, two) = (disk.image("1"), disk.image("2"));
    let list = disk.list(&[one.clone(), two]);
    let note = disk.referrer(&one, "note");
    let signature = disk.referrer(&note, "signature");
    disk.index(&[named(&list, "app:1"), note, signature]);
    (disk, list)
}

#[tokio::test]
async fn a_copy_from_layout_to_layout_is_the_whole_image_and_a_second_one_moves_nothing() {
    let (disk, list) = with_index();
    let target = Disk::empty();
    let from = LayoutImage::open(disk.reference(":app:1"));
    for (round, written) in [(1, 5), (2, 0)] {
        let to = LayoutImage::create(target.reference(":copy"));
        let report = copy(&from, &to, &CopyOptions::default(), Arc::new(Silent)).await.unwrap();
        assert_eq!(report.digest, digest(&list));
        assert_eq!(report.manifests_written, written, "round {round}");
    }
    assert_eq!(target.listing(), disk.listing());
    let layout = target.open();
    let found = layout.find(Some(&name("copy")), None).unwrap().unwrap();
    assert_eq!(found.digest, digest(&list));
    for file in target.listing().iter().filter(|file| file.starts_with("blobs/")) {
        assert_eq!(fs::read(target.join(file)).unwrap(), fs::read(disk.join(file)).unwrap());
    }
}

#[tokio::test]
async fn a_copy_mends_a_layout_that_lost_something() {
    let (disk, list) = with_index();
    let target = Disk::empty();
    let from = LayoutImage::open(disk.reference(":app:1"));
    let to = LayoutImage::create(target.reference(":copy"));
    copy(&from, &to, &CopyOptions::default(), Arc::new(Silent)).await.unwrap();
    target.write(&blob_path(&digest(&list)), "damaged");
    assert_eq!(to.named_digest().await.unwrap(), None);
    assert_kind(to.named().await, &ErrorKind::DigestMismatch);
    copy(&from, &to, &CopyOptions::default(), Arc::new(Silent)).await.unwrap();
    assert_eq!(to.named().await.unwrap().digest(), &digest(&list));
}

#[tokio::test]
async fn a_large_blob_passes_in_pieces() {
    let (disk, target) = (Disk::new(), Disk::empty());
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
    let blob = descriptor_of(&bytes);
    disk.write(&blob_path(&blob.digest), &bytes);
    struct From(LayoutImage, dockit_registry::manifest::Descriptor);
    #[async_trait]
    impl BlobSource for From {
        async fn open(&self) -> Result<BlobStream, Error> {
            self.0.blob(&self.1).await
        }
    }
    let from = From(LayoutImage::open(disk.reference("")), blob.clone());
    let to = LayoutImage::create(target.reference(""));
    assert_eq!(to.put_blob(&blob, &from, None).await.unwrap(), Delivery::Written);
    assert_eq!(to.put_blob(&blob, &from, None).await.unwrap(), Delivery::Present);
    assert_eq!(collect(to.blob(&blob).await.unwrap()).await.unwrap(), bytes);
    // A stream that nobody reads to its end stops.
    let mut stream = to.blob(&blob).await.unwrap();
    assert!(stream.next().await.unwrap().unwrap().len() < bytes.len());
}

#[tokio::test]
async fn a_stream_of_damaged_bytes_ends_with_an_error() {
    let disk = Disk::new();
    let blob = descriptor(&disk.blob("m", "right"));
    disk.write(&blob_path(&blob.digest), "wrong");
    let place = LayoutImage::open(disk.reference(""));
    let error =
        assert_kind(collect(place.blob(&blob).await.unwrap()).await, &ErrorKind::DigestMismatch);
    assert!(error.to_string().contains(disk.path().to_str().unwrap()), "{error}");
    assert_kind(place.blob(&descriptor_of(b"absent")).await, &ErrorKind::NotFound);
}

#[tokio::test]
async fn what_is_not_the_blob_or_breaks_off_leaves_nothing() {
    let disk = Disk::empty();
    let place = LayoutImage::create(disk.reference(":app"));
    let blob = descriptor_of(b"right");
    for (pieces, kind) in [
        (vec![], ErrorKind::DigestMismatch),
        (vec![Ok(&b"righ"[..])], ErrorKind::DigestMismatch),
        (vec![Ok(&b"wrong"[..])], ErrorKind::DigestMismatch),
        (vec![Ok(&b"rig"[..]), Ok(b"ht and more")], ErrorKind::DigestMismatch),
        (vec![Ok(&b"rig"[..]), Err(())], ErrorKind::Transient),
    ] {
        assert_kind(place.put_blob(&blob, &Pieces(pieces), None).await, &kind);
        assert_eq!(disk.listing(), ["index.json", "oci-layout"]);
    }
    let pieces = Pieces(vec![Ok(b"rig"), Ok(b""), Ok(b"ht")]);
    assert_eq!(place.put_blob(&blob, &pieces, None).await.unwrap(), Delivery::Written);
    let empty = descriptor_of(b"");
    place.put_blob(&empty, &Pieces(vec![]), None).await.unwrap();
    assert_eq!(collect(place.blob(&empty).await.unwrap()).await.unwrap(), b"");
}

fn manifest(text: &str) -> RawManifest {
    let text = format!(r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"text":"{text}"}}}}"#);
    RawManifest::new(media_type::OCI_INDEX, text)
}

#[tokio::test]
async fn names_are_put_as_the_reference_says() {
    let disk = Disk::empty();
    let (one, two) = (manifest("1"), manifest("2"));
    let place = |rest: &str| LayoutImage::create(disk.reference(rest));

    let bare = place("");
    assert_eq!(bare.named_digest().await.unwrap(), None);
    for manifest in [&one, &two] {
        bare.put_named(manifest).await.unwrap();
        assert_eq!(bare.named_digest().await.unwrap().as_ref(), Some(manifest.digest()));
    }

    let app = place(":app");
    app.put_named(&one).await.unwrap();
    assert_eq!(app.named().await.unwrap(), one);
    assert_kind(bare.put_named(&two).await, &ErrorKind::Invalid);

    let by_digest = format!("@{}", two.digest());
    assert_kind(place(&by_digest).put_named(&one).await, &ErrorKind::DigestMismatch);
    place(&by_digest).put_named(&two).await.unwrap();
    assert_eq!(place(&by_digest).named().await.unwrap(), two);

    // What is read has the digest; what is written gets the name.
    let both = format!(":app@{}", two.digest());
    assert_eq!(place(&both).named().await.unwrap(), two);
    assert_eq!(place(&both).named_digest().await.unwrap().as_ref(), Some(one.digest()));
    let reader = LayoutImage::open(disk.reference(&both));
    assert_eq!(reader.named_digest().await.unwrap().as_ref(), Some(two.digest()));
    place(&both).put_named(&two).await.unwrap();
    assert_eq!(app.named().await.unwrap(), two);
}

#[tokio::test]
async fn a_referrer_that_is_put_is_listed() {
    let disk = Disk::empty();
    let place = LayoutImage::create(disk.reference(":app"));
    let subject = manifest("subject");
    place.put_named(&subject).await.unwrap();
    let entry = serde_json::json!({
        "mediaType": subject.media_type(), "digest": subject.digest().as_str(),
        "size": subject.bytes().len(),
    });
    let note = referrer(&entry, "note");
    place.put_manifest(&note).await.unwrap();
    let listed = place.referrers(subject.digest()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].digest, *note.digest());
    assert_eq!(listed[0].artifact_type.as_deref(), Some("text/note"));
    let index = disk.read_index();
    assert_eq!(index["manifests"][1]["artifactType"], "text/note", "as other tools look for it");
    assert_eq!(index["manifests"][1]["annotations"], Value::Null, "no name by accident");
}

#[tokio::test]
async fn nothing_is_touched_before_something_is_asked() {
    let disk = Disk::empty();
    let place = LayoutImage::create(disk.reference("/new:app"));
    assert_eq!(place.location().to_string(), disk.reference("/new:app").to_string());
    assert!(matches!(place.location(), Location::Layout(_)) && place.repository().is_none());
    assert_eq!(disk.listing(), Vec::<String>::new());
    assert!(!place.has_manifest(&Digest::of(b"")).await.unwrap());
    assert_eq!(disk.listing(), ["new/index.json", "new/oci-layout"]);

    let reader = LayoutImage::open(disk.reference("/other"));
    assert_kind(reader.named_digest().await, &ErrorKind::Invalid);
    let absent = LayoutImage::open(disk.reference("/new:other"));
    assert_eq!(absent.named_digest().await.unwrap(), None);
    assert_kind(absent.named().await, &ErrorKind::NotFound);
}
