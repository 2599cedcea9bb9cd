//! Layouts with very many tags: were each lookup to read the index, these would not end.

use std::time::Duration;

use dockit_registry::layout::{Layout, Unwanted};
use dockit_testkit::TestImage;
use serde_json::json;

use crate::layout_disk::{Disk, REF_NAME};
use crate::layout_store::{manifest, put, put_blobs, repository, tag};

#[test]
fn a_hundred_thousand_tags_can_be_worked_with() {
    let disk = Disk::new();
    let image = TestImage::new("one of many");
    put_blobs(&disk.open(), &image);
    disk.open().put_manifest(&manifest(&image)).unwrap();
    let entries: Vec<_> = (0..100_000)
        .map(|number| {
            json!({
                "mediaType": image.media_type, "digest": image.digest(),
                "size": image.manifest.len(),
                "annotations": {REF_NAME: format!("team/app:{number}")},
            })
        })
        .collect();
    disk.index(&entries);
    // The file has been as it is for a while.
    std::thread::sleep(Duration::from_millis(300));
    let layout = disk.open();
    let app = repository("team/app");
    for number in 0..1000 {
        let found = layout.tagged_manifest(&app, &tag(&(number * 100).to_string())).unwrap();
        assert_eq!(found, Some(manifest(&image)), "{number}");
    }
    assert_eq!(layout.tagged(&app, &tag("100000")).unwrap(), None);
    put(&layout, "team/app:new", &TestImage::new("new"));
    assert_eq!(layout.entries(&app).unwrap().len(), 100_001);
    let deleted = layout.delete(&app, &[Unwanted::Tag(tag("77"))]).unwrap();
    assert!(matches!(deleted[..], [Ok(true)]));
    assert_eq!(layout.sweep(Duration::ZERO).unwrap().held_by, [""; 0]);
}

#[test]
fn a_thousand_images_are_put_and_looked_up() {
    let disk = Disk::empty();
    let layout = Layout::create(disk.path()).unwrap();
    for number in 0..1000 {
        put(&layout, &format!("app{number}:1"), &TestImage::new(&number.to_string()));
    }
    for number in 0..1000 {
        let app = repository(&format!("app{number}"));
        assert!(layout.tagged_manifest(&app, &tag("1")).unwrap().is_some());
    }
}
