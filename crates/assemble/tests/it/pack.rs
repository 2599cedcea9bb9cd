//! Layers as they are packed.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;

use dockit_assemble::assemble::Compression;
use dockit_assemble::layer::pack;
use dockit_assemble::tree::{Change, FileContent, FileNode, NodeKind};
use dockit_assemble::{AssembleError, AssembleErrorKind};

use crate::generated::Generated;
use crate::layers::{Output, directory, file, put, samples, symlink};

const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

/// Several pieces of each compression, and everything that an entry can be.
fn large() -> Vec<Change> {
    let mut changes = samples();
    for (name, size) in [("l1", 9_000_001), ("l2", 1_048_576), ("l3", 3_333_333)] {
        let content = Arc::new(Generated { seed: size, size });
        let node = FileNode { size, content, hard_link: 0 };
        changes.push(put(name, NodeKind::File(node), 0o644));
    }
    changes
}

/// Who changes these digests gives every image of every project another one.
#[test]
fn the_bytes_of_a_layer_stay_what_they_are() {
    let output = Output::new();
    let found: Vec<String> = ALL
        .iter()
        .flat_map(|compression| {
            [samples(), large()].map(|changes| {
                let layer = output.pack(&changes, *compression, 2);
                layer.descriptor.digest.to_string()
            })
        })
        .collect();
    let expected: [&str; 6] = [
        "sha256:91a42a8572fc102dc18ae616cf847d9af29c6fc136fec03b01eae9a708132dbf",
        "sha256:9d3c7a3687e3983ee18e04e239d7970cdb77011d513173486d0c93f7fa139d9e",
        "sha256:651fd010e5e546ca99f1ab9d11d83080c987aba064309f9db8dff502cc0268c9",
        "sha256:f243184a0cba1e59ea9d1f84b395c43baff363f5c47f9b66acbd7c24dbc5ce0c",
        "sha256:dcc96f4a99d7321caee400010ccba9aec4684403f8d0103d110253a0de374e97",
        "sha256:bc06c600207523eb794b5e6a95f347f755a309d0ed5f28b4990d4502b0f56531",
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_number_of_threads_and_the_order_of_changes_change_nothing() {
    let output = Output::new();
    let changes = large();
    let mut turned = changes.clone();
    // Only of two changes of one path the order counts.
    turned.sort_by_key(|change| matches!(change, Change::Put(..)));
    for compression in ALL {
        let one = output.pack(&changes, compression, 1);
        for threads in [2, 3, 5, 8] {
            assert_eq!(output.pack(&turned, compression, threads), one, "{threads}");
        }
    }
}

#[test]
fn the_media_type_and_the_diff_id_are_those_of_the_bytes() {
    let output = Output::new();
    for compression in ALL {
        let layer = output.pack(&samples(), compression, 1);
        assert_eq!(layer.descriptor.media_type, compression.media_type());
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut output.open(&layer), &mut bytes).unwrap();
        let tar = match compression {
            Compression::None => bytes,
            Compression::Zstd => zstd::stream::decode_all(&bytes[..]).unwrap(),
            _ => {
                let mut tar = Vec::new();
                let mut unpacked = flate2::read::MultiGzDecoder::new(&bytes[..]);
                io::Read::read_to_end(&mut unpacked, &mut tar).unwrap();
                tar
            }
        };
        assert!(layer.diff_id.matches(&tar), "{compression:?}");
        assert_eq!(tar.len() % 512, 0);
    }
}

struct Failing(io::ErrorKind);

impl FileContent for Failing {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"ab")?;
        Err(self.0.into())
    }
}

struct Foreign;

impl FileContent for Foreign {
    fn write_to(&self, _: &mut dyn Write) -> io::Result<()> {
        Err(io::Error::other(AssembleError::new(AssembleErrorKind::Image, "a damaged layer")))
    }
}

#[test]
fn what_cannot_be_packed_leaves_nothing() {
    let sized = |size, content: Arc<dyn FileContent>| {
        put("f", NodeKind::File(FileNode { size, content, hard_link: 0 }), 0o644)
    };
    let generated = |size| Arc::new(Generated { seed: 1, size });
    let mut attribute = file("f", b"");
    if let Change::Put(_, node) = &mut attribute {
        node.meta.xattrs.insert(b"user.a=b".to_vec(), Vec::new());
    }
    let mut large = file("f", b"");
    if let Change::Put(_, node) = &mut large {
        node.meta.xattrs.insert(b"user.large".to_vec(), vec![b'x'; 1024 * 1024]);
    }
    for (change, kind, expected) in [
        (sized(2, Arc::new(Failing(io::ErrorKind::Other))), AssembleErrorKind::Context, "\"f\""),
        (sized(2, Arc::new(Foreign)), AssembleErrorKind::Image, "a damaged layer"),
        (sized(4_000_000, generated(3_999_999)), AssembleErrorKind::Context, "lacks 1"),
        (sized(4_000_000, generated(4_000_001)), AssembleErrorKind::Context, "more bytes"),
        (sized(0, generated(1)), AssembleErrorKind::Context, "more bytes"),
        (file("a/.wh.b", b""), AssembleErrorKind::Instruction, ".wh."),
        (directory(".wh..wh..opq"), AssembleErrorKind::Instruction, ".wh."),
        (file("", b""), AssembleErrorKind::Instruction, "directory"),
        (file("/a", b""), AssembleErrorKind::Instruction, "no path"),
        (file("a/../b", b""), AssembleErrorKind::Instruction, "no path"),
        (directory("a/"), AssembleErrorKind::Instruction, "no path"),
        (attribute, AssembleErrorKind::Instruction, "user.a=b"),
        (large, AssembleErrorKind::Instruction, "more than a MiB"),
        (symlink("l", &"l".repeat(4096)), AssembleErrorKind::Instruction, "4095 bytes"),
        (
            put("d", NodeKind::CharDevice { major: u32::MAX, minor: 0 }, 0),
            AssembleErrorKind::Instruction,
            "device",
        ),
    ] {
        for threads in [1, 4] {
            let output = Output::new();
            let threads = NonZeroUsize::new(threads).unwrap();
            let error =
                pack(std::slice::from_ref(&change), Compression::Gzip, threads, &output.layout);
            let error = error.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(expected), "{error}");
            let blobs = std::fs::read_dir(output.layout.directory()).unwrap();
            let names: Vec<_> = blobs.map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names.len(), 3, "{names:?}");
        }
    }
}
