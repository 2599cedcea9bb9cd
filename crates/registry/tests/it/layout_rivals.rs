//! Several who write to one layout at the same time.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use dockit_registry::Digest;
use dockit_registry::layout::Layout;
use dockit_testkit::TestImage;
use serde_json::json;

use crate::layout_disk::{Disk, blob_path, descriptor, descriptor_of, name, named};
use crate::layout_store::{manifest, put_blobs, repository, tag};

#[test]
fn names_given_at_the_same_time_are_all_there() {
    let disk = Disk::new();
    let images: Vec<_> = (0..8).map(|number| disk.image(&number.to_string())).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Old or new, never half.
                disk.open().names().unwrap();
            }
        });
        let writers: Vec<_> = images
            .iter()
            .enumerate()
            .map(|(number, image)| {
                let disk = &disk;
                scope.spawn(move || {
                    let layout = disk.open();
                    for round in 0..10 {
                        let text = format!("app{number}:{round}");
                        layout.set_name(&name(&text), &descriptor(image)).unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let mut names: Vec<String> =
        disk.open().names().unwrap().into_iter().map(|(name, _)| name.to_string()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 80);
    let left: Vec<String> =
        disk.listing().into_iter().filter(|name| !name.starts_with("blobs/")).collect();
    assert_eq!(left, ["index.json", "oci-layout"]);
}

#[test]
fn of_many_who_put_the_same_tag_at_the_same_time_one_wins() {
    let disk = Disk::empty();
    let (app, latest) = (repository("team/app"), tag("key"));
    let mut expected = None;
    for round in 0..5 {
        let images: Vec<_> =
            (0..6).map(|number| TestImage::new(&format!("{round}-{number}"))).collect();
        let start = Barrier::new(images.len());
        let told: Vec<Digest> = thread::scope(|scope| {
            let writers: Vec<_> = images
                .iter()
                .map(|image| {
                    let (disk, start, app, latest, expected) =
                        (&disk, &start, &app, &latest, expected.as_ref());
                    scope.spawn(move || {
                        let layout = Layout::create(disk.path()).unwrap();
                        put_blobs(&layout, image);
                        start.wait();
                        layout.put_tag_if(app, latest, &manifest(image), expected).unwrap()
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let on = disk.open().tagged(&app, &latest).unwrap().unwrap().digest;
        assert!(told.iter().all(|told| *told == on), "{told:?}, and it is on {on}");
        assert!(images.iter().any(|image| image.digest() == on.as_str()));
        assert_ne!(Some(&on), expected.as_ref(), "the one that was expected is replaced");
        expected = Some(on);
    }
}

#[test]
fn a_tag_is_put_where_none_is_or_what_it_is_on_is_lost() {
    let disk = Disk::empty();
    let layout = Layout::create(disk.path()).unwrap();
    let (app, latest) = (repository("team/app"), tag("key"));
    let (one, two) = (TestImage::new("1"), TestImage::new("2"));
    let other = Digest::of(b"what was expected");
    let put_if = |image, expected: Option<&Digest>| {
        layout.put_tag_if(&app, &latest, &manifest(image), expected).unwrap()
    };
    put_blobs(&layout, &one);
    put_blobs(&layout, &two);
    let [first, second] = [&one, &two].map(|image| manifest(image).digest().clone());

    assert_eq!(put_if(&one, Some(&other)), first, "whoever deleted it has put no other");
    assert_eq!(put_if(&one, None), first, "it is on it already");
    assert_eq!(put_if(&two, Some(&other)), first);
    assert_eq!(put_if(&two, None), first);
    let bytes = std::fs::read(disk.join(&blob_path(&first))).unwrap();
    disk.write(&blob_path(&first), "damaged");
    assert_eq!(put_if(&two, None), second);
    disk.write(&blob_path(&first), bytes);
    assert_eq!(put_if(&one, Some(&second)), first);
}

#[test]
fn another_process_that_has_the_lock_is_waited_for() {
    let disk = Disk::new();
    let (one, two) = (disk.image("1"), disk.image("2"));
    let index = json!({"schemaVersion": 2, "manifests": [named(&one, "theirs")]});
    disk.write("theirs.json", index.to_string());
    // Reads the index before, in its way, and writes it when told to.
    let mut other = Command::new("flock")
        .args(["index.json.lock", "sh", "-c", "echo locked; read go; mv theirs.json index.json"])
        .current_dir(disk.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(other.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "locked\n");
    let layout = disk.open();
    let writer = thread::spawn(move || layout.set_name(&name("ours"), &descriptor(&two)));
    assert!(!writer.is_finished(), "it cannot have the lock");
    other.stdin.take().unwrap().write_all(b"go\n").unwrap();
    writer.join().unwrap().unwrap();
    assert!(other.wait().unwrap().success());
    let names: Vec<String> =
        disk.open().names().unwrap().into_iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["theirs", "ours"]);
}

#[test]
fn a_lock_file_that_somebody_left_locks_nobody_out() {
    let disk = Disk::new();
    let image = disk.image("1");
    disk.write("index.json.lock", "");
    disk.open().set_name(&name("app"), &descriptor(&image)).unwrap();
    assert!(!disk.join("index.json.lock").exists());
}

#[test]
fn a_layout_made_by_many_at_once_is_one_layout() {
    let disk = Disk::empty();
    let path = disk.join("new");
    let text = br#"{"schemaVersion":2,"manifests":[]}"#;
    thread::scope(|scope| {
        for number in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let layout = Layout::create(path).unwrap();
                let manifest = dockit_registry::RawManifest::new("m", &text[..]);
                layout.put_manifest(&manifest).unwrap();
                let app = name(&format!("app{number}"));
                layout.set_name(&app, &manifest.descriptor()).unwrap();
            });
        }
    });
    assert_eq!(Layout::open(&path).unwrap().names().unwrap().len(), 8);
}

#[test]
fn two_writers_of_the_same_blob_are_both_fine() {
    let disk = Disk::empty();
    let layout = Layout::create(disk.path()).unwrap();
    let bytes = vec![3; 10_000];
    let blob = descriptor_of(&bytes);
    let mut writers: Vec<_> = (0..3).map(|_| layout.blob_writer(&blob).unwrap()).collect();
    for writer in &mut writers {
        writer.write(&bytes[..5_000]).unwrap();
    }
    for mut writer in writers {
        writer.write(&bytes[5_000..]).unwrap();
        writer.commit().unwrap();
        assert!(layout.has_blob(&blob).unwrap());
    }
    assert_eq!(fs::read_dir(disk.join("blobs/sha256")).unwrap().count(), 1);
    assert_eq!(disk.listing().len(), 3, "{:?}", disk.listing());
}
