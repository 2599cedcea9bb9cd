//! Layouts of which one bit is another.

use std::collections::BTreeMap;
use std::fs;

use dockit_registry::layout::Layout;
use dockit_registry::{Digest, Error, RawManifest};
use dockit_testkit::TestImage;

use crate::layout_disk::{Disk, descriptor_of, referrer};
use crate::layout_store::{manifest, put, put_blob, put_blobs, repository, tag};

struct Example {
    disk: Disk,
    image: TestImage,
    document: RawManifest,
}

fn example() -> Example {
    let disk = Disk::empty();
    let layout = Layout::create(disk.path()).unwrap();
    let image = TestImage::new("bits");
    put(&layout, "team/app:1", &image);
    let subject = serde_json::json!({
        "mediaType": image.media_type, "digest": image.digest(), "size": image.manifest.len(),
    });
    let document = referrer(&subject, "document");
    put_blob(&layout, b"{}");
    put_blob(&layout, b"document");
    layout.put_untagged(&repository("team/app"), &document).unwrap();
    Example { disk, image, document }
}

/// Everything that can be read, each as it was put, or an error. Whether there was one.
fn read(example: &Example) -> Result<(), Error> {
    let Example { disk, image, document } = example;
    let layout = Layout::open(disk.path())?;
    let app = repository("team/app");
    let digest: Digest = image.digest().parse().unwrap();
    let mut result = Ok(());
    let mut keep = |error: Error| result = Err(error);
    match layout.tagged_manifest(&app, &tag("1")) {
        Ok(found) => assert_eq!(found, Some(manifest(image)), "a tag"),
        Err(error) => keep(error),
    }
    match layout.manifest_in(&app, &digest) {
        Ok(found) => assert_eq!(found, Some(manifest(image)), "a digest"),
        Err(error) => keep(error),
    }
    match layout.referrers_in(&app, &digest) {
        Ok(found) => {
            let found: Vec<&Digest> = found.iter().map(|found| &found.digest).collect();
            assert_eq!(found, [document.digest()]);
        }
        Err(error) => keep(error),
    }
    match layout.entries(&app) {
        Ok(entries) => {
            let tags: Vec<_> = entries.iter().map(|entry| entry.tag.clone()).collect();
            assert_eq!(tags, [Some(tag("1")), None]);
            assert!(entries.iter().all(|entry| entry.pushed.is_some()));
        }
        Err(error) => keep(error),
    }
    for bytes in [&image.config[..], &image.layer, b"{}", b"document"] {
        let mut found = Vec::new();
        let mut file = layout.open_blob(&descriptor_of(bytes))?;
        std::io::Read::read_to_end(&mut file, &mut found).unwrap();
        // Whoever reads checks, as the client does.
        if !Digest::of(bytes).matches(&found) {
            return Err(Error::new(dockit_registry::ErrorKind::DigestMismatch, "a blob"));
        }
        assert_eq!(found, bytes);
    }
    result
}

fn files(disk: &Disk) -> BTreeMap<String, Vec<u8>> {
    let names = disk.listing().into_iter();
    names.map(|name| (name.clone(), fs::read(disk.join(&name)).unwrap())).collect()
}

/// What may change without being noticed, because it changes nothing.
fn is_harmless(name: &str, whole: &[u8], position: usize) -> bool {
    let text = String::from_utf8_lossy(whole);
    let within = |part: &str| {
        text.find(part).is_some_and(|start| (start..start + part.len()).contains(&position))
    };
    match name {
        // A later version of the same layouts.
        "oci-layout" => within("1.0.0"),
        // What an index says of itself, and what a referrer says of itself that its manifest says, too.
        "index.json" => {
            within("\"mediaType\":\"application/vnd.oci.image.index.v1+json\"")
                || within("\"artifactType\":\"text/note\"")
        }
        _ => false,
    }
}

#[test]
fn no_bit_changes_unnoticed() {
    let example = example();
    read(&example).unwrap();
    for (name, whole) in files(&example.disk) {
        for position in 0..whole.len() {
            // One bit of each byte: which one differs from byte to byte.
            let mut damaged = whole.clone();
            damaged[position] ^= 1 << (position % 7);
            example.disk.write(&name, &damaged);
            let found = read(&example);
            let harmless = is_harmless(&name, &whole, position);
            assert!(found.is_err() || harmless, "{name} at {position} of {}", whole.len());
        }
        example.disk.write(&name, &whole);
    }
    read(&example).unwrap();
}

#[test]
fn a_layout_whose_index_is_damaged_stays_byte_for_byte() {
    let example = example();
    let disk = &example.disk;
    for name in ["index.json", "oci-layout"] {
        let whole = fs::read(disk.join(name)).unwrap();
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 1 << (position % 7);
            disk.write(name, &damaged);
            if read(&example).is_ok() {
                continue;
            }
            let before = files(disk);
            write_all(disk).unwrap_err();
            assert!(files(disk) == before, "{name} at {position}");
        }
        disk.write(name, &whole);
    }
}

/// Another image, by all that writes; the first error.
fn write_all(disk: &Disk) -> Result<(), Error> {
    let layout = Layout::create(disk.path())?;
    let (app, image) = (repository("team/app"), TestImage::new("another"));
    let mut errors = Vec::new();
    errors.extend(layout.blob_writer(&descriptor_of(&image.config)).err());
    errors.extend(layout.put_tag(&app, &tag("1"), &manifest(&image)).err());
    errors.extend(layout.put_untagged(&app, &manifest(&image)).err());
    let unwanted = dockit_registry::layout::Unwanted::Tag(tag("1"));
    errors.extend(layout.delete(&app, &[unwanted]).err());
    errors.extend(layout.sweep(std::time::Duration::ZERO).err());
    if errors.len() == 5 {
        Err(errors.remove(0))
    } else {
        put_blobs(&layout, &image);
        Ok(())
    }
}

#[test]
fn a_large_layer_of_which_one_bit_is_another_is_not_relied_upon() {
    let disk = Disk::empty();
    let layout = Layout::create(disk.path()).unwrap();
    let bytes: Vec<u8> = (0..2_u32 << 20).map(|number| (number % 251) as u8).collect();
    let layer = descriptor_of(&bytes);
    let base = TestImage::new("base");
    put_blob(&layout, &base.config);
    put_blob(&layout, &bytes);
    let config: serde_json::Value = serde_json::json!({"mediaType": "c", "digest": Digest::of(&base.config).as_str(),
            "size": base.config.len()});
    let image = |note: &str| {
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": base.media_type, "config": config,
            "layers": [{"mediaType": "l", "digest": layer.digest.as_str(), "size": layer.size}],
            "annotations": {"note": note},
        });
        RawManifest::new(base.media_type, manifest.to_string())
    };
    let app = repository("team/app");
    layout.put_tag(&app, &tag("1"), &image("before")).unwrap();
    assert!(layout.renew_blob(&layer).unwrap());

    let mut damaged = bytes.clone();
    damaged[1_500_000] ^= 4;
    // The clocks of file systems tick.
    std::thread::sleep(std::time::Duration::from_millis(50));
    disk.write(&crate::layout_disk::blob_path(&layer.digest), &damaged);
    let error = layout.put_tag(&app, &tag("2"), &image("after")).unwrap_err();
    assert_eq!(*error.kind(), dockit_registry::ErrorKind::DigestMismatch, "{error}");
    assert_eq!(layout.tagged(&app, &tag("2")).unwrap(), None);
    for layout in [&layout, &Layout::open(disk.path()).unwrap()] {
        assert!(!layout.renew_blob(&layer).unwrap());
    }
    // Whoever has the bytes puts them again, and all is well.
    put_blob(&layout, &bytes);
    assert_eq!(fs::read(disk.join(&crate::layout_disk::blob_path(&layer.digest))).unwrap(), bytes);
    layout.put_tag(&app, &tag("2"), &image("after")).unwrap();
}
