//! Layouts with very many tags.

use std::time::{Duration, Instant};

use dockit_registry::layout::{Layout, Unwanted};
use dockit_testkit::TestImage;
use serde_json::json;

use crate::layout_disk::{Disk, REF_NAME};
use crate::layout_store::{manifest, put, put_blobs, repository, tag};

/// Far more than anything here takes, of code that is not optimised; far less than it would take if each
/// lookup read the index.
const LIMIT: Duration = Duration::from_secs(60);

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
    let start = Instant::now();
    let layout = disk.open();
    let app = repository("team/app");
    for number in 0..1000 {
        let found = layout.tagged_manifest(&app, &tag(&(number * 100).to_string())).unwrap();
        assert_eq!(found, Some(manifest(&image)), "{number}");
    }
    assert_eq!(layout.tagged(&app, &tag("100000")).unwrap(), None);
    let looked_up = start.elapsed();
    put(&layout, "team/app:new", &TestImage::new("new"));
    let was_put = start.elapsed();
    assert_eq!(layout.entries(&app).unwrap().len(), 100_001);
    let listed = start.elapsed();
    let deleted = layout.delete(&app, &[Unwanted::Tag(tag("77"))]).unwrap();
    assert!(matches!(deleted[..], [Ok(true)]));
    assert_eq!(layout.sweep(Duration::ZERO).unwrap().held_by, [""; 0]);
    let swept = start.elapsed();
    let steps = format!("looked up {looked_up:?}, put {was_put:?}, listed {listed:?}, {swept:?}");
    println!("{steps}");
    assert!(swept < LIMIT, "{steps}");
}

#[test]
fn a_thousand_images_are_put_and_looked_up() {
    let disk = Disk::empty();
    let layout = Layout::create(disk.path()).unwrap();
    let start = Instant::now();
    for number in 0..1000 {
        put(&layout, &format!("app{number}:1"), &TestImage::new(&number.to_string()));
    }
    let were_put = start.elapsed();
    for number in 0..1000 {
        let app = repository(&format!("app{number}"));
        assert!(layout.tagged_manifest(&app, &tag("1")).unwrap().is_some());
    }
    let steps = format!("put {were_put:?}, looked up {:?}", start.elapsed());
    println!("{steps}");
    assert!(start.elapsed() < LIMIT, "{steps}");
}
