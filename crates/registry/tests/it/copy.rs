//! Copies between places that are held in memory.

use std::sync::{Arc, Mutex};

use dockit_registry::copy::{CopyEvent, CopyObserver, CopyOptions, ImagePlace as _, copy};
use dockit_registry::manifest::media_type;
use dockit_registry::{Digest, ErrorKind, RawManifest};
use proptest::prelude::*;
use serde_json::json;

use crate::memory_place::{MemoryPlace, digest, run};

#[tokio::test]
async fn an_index_with_children_and_referrers_is_copied_whole_and_the_name_comes_last() {
    let (from, to) = (MemoryPlace::new("a.io/x:1"), MemoryPlace::new("b.io/y:2"));
    let (one, other) = (from.image("one"), from.image("other"));
    let index = from.index(&[one.clone(), other]);
    let document = from.referrer(&one, "document");
    from.referrer(&document, "signature of the document");
    from.referrer(&index, "signature");
    let root = from.name(&index);
    to.store(|store| store.wants_subjects = true);
    let report = run(&from, &to).await.unwrap();
    assert_eq!((&report.digest, report.previous.as_ref()), (&root, None));
    assert_eq!((report.manifests_written, report.referrers_written), (6, 3));
    // "common" and "{}" count once in a generation.
    assert_eq!((report.blobs.written, report.blobs.present), (9, 1));
    to.assert_whole(&from);
    let log = to.log();
    assert_eq!(log.last().unwrap(), "name b.io/y:2");
    assert_eq!(log.iter().filter(|line| line.starts_with("name")).count(), 1);

    let again = run(&from, &to).await.unwrap();
    assert_eq!((again.previous.as_ref(), again.manifests_written), (Some(&root), 0));
    assert_eq!((again.blobs, to.log().len()), (Default::default(), 0));
}

#[tokio::test]
async fn what_was_added_since_is_all_that_a_second_copy_moves() {
    let (from, to) = (MemoryPlace::new("a.io/x:1"), MemoryPlace::new("b.io/y:2"));
    let image = from.image("one");
    from.name(&image);
    let document = from.referrer(&image, "document");
    run(&from, &to).await.unwrap();
    to.log();
    from.referrer(&document, "signature");
    let report = run(&from, &to).await.unwrap();
    assert_eq!((report.manifests_written, report.referrers_written), (1, 1));
    assert_eq!(to.log(), ["blob signature", "manifest"]);
}

#[tokio::test]
async fn a_sparse_index_at_the_destination_is_filled_up() {
    let (from, to) = (MemoryPlace::new("a.io/x:1"), MemoryPlace::new("b.io/x:1"));
    let (one, other) = (from.image("one"), from.image("other"));
    let index = from.index(&[one, other]);
    let root = from.name(&index);
    let sparse = from.store(|store| store.manifests[&root].clone());
    to.store(|store| store.manifests.insert(root.clone(), sparse));
    to.name(&index);
    let report = run(&from, &to).await.unwrap();
    assert_eq!((report.manifests_written, report.blobs.written), (2, 5));
    to.assert_whole(&from);
}

#[tokio::test]
async fn a_copy_that_fails_puts_no_name() {
    let (from, to) = (MemoryPlace::new("a.io/x:1"), MemoryPlace::new("b.io/x:1"));
    let index = from.index(&[from.image("one"), from.image("other")]);
    from.name(&index);
    to.store(|store| store.refuse = Some(Digest::of(b"other")));
    assert_eq!(*run(&from, &to).await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(to.named_digest().await.unwrap(), None);
    to.store(|store| store.refuse = None);
    let report = run(&from, &to).await.unwrap();
    assert!(report.blobs.present + report.blobs.written == 5, "{report:?}");
    to.assert_whole(&from);
}

#[tokio::test]
async fn a_destination_with_another_digest_gets_nothing() {
    let from = MemoryPlace::new("oci:from:app");
    from.name(&from.image("one"));
    let other = Digest::of(b"other");
    for place in [format!("r.io/app@{other}"), format!("oci:to:app@{other}")] {
        let to = MemoryPlace::new(&place);
        assert_eq!(*run(&from, &to).await.unwrap_err().kind(), ErrorKind::DigestMismatch);
        assert_eq!(to.log(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn within_a_registry_blobs_can_be_mounted_and_within_a_repository_nothing_moves() {
    let from = MemoryPlace::new("a.io/x:1");
    from.name(&from.image("one"));
    let to = MemoryPlace::new("a.io/other/y:1");
    run(&from, &to).await.unwrap();
    assert!(to.log()[0].ends_with(" or from x"));
    let elsewhere = MemoryPlace::new("b.io/other/y:1");
    run(&from, &elsewhere).await.unwrap();
    assert!(!elsewhere.log()[0].contains(" or from "));

    let same = from.beside("a.io/x:2");
    let report = run(&from, &same).await.unwrap();
    assert_eq!((report.manifests_written, same.log()), (0, vec!["name a.io/x:2".to_owned()]));
}

#[tokio::test]
async fn layers_that_are_had_elsewhere_are_left_there_and_caches_move_their_blobs() {
    let (from, to) = (MemoryPlace::new("a.io/x:1"), MemoryPlace::new("b.io/x:1"));
    let mut foreign = from.blob("windows");
    foreign["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
    let image = from.add(&json!({
        "schemaVersion": 2, "mediaType": media_type::DOCKER_MANIFEST,
        "config": from.blob("config"), "layers": [foreign],
    }));
    let index = from.index(&[image, from.blob("a layer of a cache")]);
    from.name(&index);
    let report = run(&from, &to).await.unwrap();
    assert_eq!(report.layers_left.len(), 1);
    assert_eq!(report.blobs.written, 2);
    let there = to.store(|store| store.blobs.contains_key(&Digest::of(b"a layer of a cache")));
    assert!(there);
}

#[tokio::test]
async fn one_platform_of_an_index_is_an_image_of_its_own() {
    let (from, to) = (MemoryPlace::new("a.io/x:1"), MemoryPlace::new("b.io/x:1"));
    let (mut one, mut other) = (from.image("one"), from.image("other"));
    one["platform"] = json!({"os": "linux", "architecture": "amd64"});
    other["platform"] = json!({"os": "linux", "architecture": "arm64"});
    let index = from.index(&[one, other.clone()]);
    from.name(&index);
    let mut options = CopyOptions { platform: "linux/arm64".parse().ok(), ..Default::default() };
    let report = copy(&from, &to, &options, Arc::new(())).await.unwrap();
    assert_eq!((report.digest, report.manifests_written), (digest(&other), 1));
    options.platform = "linux/s390x".parse().ok();
    let error = copy(&from, &to, &options, Arc::new(())).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::WrongPlatform);
    assert!(error.to_string().contains("linux/amd64, linux/arm64"), "{error}");
}

#[tokio::test]
async fn a_single_image_is_not_taken_for_one_of_another_platform() {
    let (from, to) = (MemoryPlace::new("a.io/x:1"), MemoryPlace::new("b.io/x:1"));
    let config = from.blob(r#"{"os":"linux","architecture":"amd64"}"#);
    let image = from.add(&json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": [],
    }));
    from.name(&image);
    let mut options = CopyOptions { platform: "linux/arm64".parse().ok(), ..Default::default() };
    let error = copy(&from, &to, &options, Arc::new(())).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::WrongPlatform);
    assert!(error.to_string().contains("is for linux/amd64, not for linux/arm64"), "{error}");
    assert_eq!(to.log(), Vec::<String>::new());
    options.platform = "linux/amd64".parse().ok();
    assert!(copy(&from, &to, &options, Arc::new(())).await.is_ok());
}

#[tokio::test]
async fn without_referrers_nobody_is_asked_for_them() {
    let (from, to) = (MemoryPlace::new("a.io/x:1"), MemoryPlace::new("b.io/x:1"));
    let image = from.image("one");
    from.name(&image);
    from.referrer(&image, "document");
    let options = CopyOptions { referrers: false, ..CopyOptions::default() };
    let report = copy(&from, &to, &options, Arc::new(())).await.unwrap();
    assert_eq!((report.manifests_written, report.referrers_written), (1, 0));
}

#[tokio::test]
async fn an_observer_is_told_of_every_byte() {
    #[derive(Default)]
    struct Count(Mutex<(u64, u64, usize)>);
    impl CopyObserver for Count {
        fn event(&self, event: CopyEvent<'_>) {
            let mut count = self.0.lock().unwrap();
            match event {
                CopyEvent::Surveyed { bytes, .. } => count.0 += bytes,
                CopyEvent::BlobProgress { blob, bytes } if bytes == blob.size => count.1 += bytes,
                CopyEvent::BlobDone { .. } => count.2 += 1,
                _ => {}
            }
        }
    }
    let (from, to) = (MemoryPlace::new("a.io/x:1"), MemoryPlace::new("b.io/x:1"));
    from.name(&from.image("one"));
    let observer = Arc::new(Count::default());
    let options = CopyOptions::default();
    let report = copy(&from, &to, &options, Arc::clone(&observer) as _).await.unwrap();
    let count = observer.0.lock().unwrap();
    assert_eq!(*count, (report.blobs.bytes_written, report.blobs.bytes_written, 3));
}

#[tokio::test]
async fn an_index_without_end_is_refused() {
    let (from, to) = (MemoryPlace::new("a.io/x:1"), MemoryPlace::new("b.io/x:1"));
    let mut top = from.image("one");
    for _ in 0..17 {
        top = from.index(&[top]);
    }
    from.name(&top);
    let error = run(&from, &to).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("nested"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever part of whatever graph the destination has, it has all of it afterwards.
    #[test]
    fn any_graph_is_copied_whole(
        shape in proptest::collection::vec((any::<u8>(), any::<prop::sample::Index>()), 1..12),
        held in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let (from, to) = (MemoryPlace::new("a.io/x:1"), MemoryPlace::new("b.io/x:1"));
        let mut entries = vec![from.image("first")];
        for (number, (kind, earlier)) in shape.iter().enumerate() {
            let other = entries[earlier.index(entries.len())].clone();
            entries.push(match kind % 3 {
                0 => from.image(&number.to_string()),
                1 => from.referrer(&other, &number.to_string()),
                _ => from.index(&[other, from.image("shared")]),
            });
        }
        // Everything hangs on one index; what it lists comes first.
        let all = from.index(&entries);
        from.name(&all);
        // Blobs and manifests that are there already, whole.
        let images: Vec<RawManifest> = from.store(|store| store.manifests.values().cloned().collect());
        for index in held {
            let manifest = &images[index.index(images.len())];
            let content = manifest.parse().unwrap();
            if content.children().is_empty() && content.subject().is_none() {
                for blob in content.blobs() {
                    let bytes = from.store(|store| store.blobs[&blob.digest].clone());
                    to.store(|store| store.blobs.insert(blob.digest.clone(), bytes));
                }
                to.store(|store| store.manifests.insert(manifest.digest().clone(), manifest.clone()));
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let report = runtime.block_on(run(&from, &to)).unwrap();
        to.assert_whole(&from);
        let again = runtime.block_on(run(&from, &to)).unwrap();
        prop_assert_eq!(again.manifests_written + again.blobs.written, 0);
        prop_assert_eq!(again.previous, Some(report.digest));
    }
}
