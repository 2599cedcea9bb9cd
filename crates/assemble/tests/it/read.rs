//! Layers as they are read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dockit_assemble::assemble::Compression;
use dockit_assemble::images::BaseLayer;
use dockit_assemble::layer::{LayerCache, read};
use dockit_assemble::tree::{Change, FileNode, Meta, Node, NodeKind};
use dockit_assemble::{AssembleError, AssembleErrorKind, LayerBlob};
use dockit_registry::Digest;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::generated::Generated;
use crate::layers::{Blob, Output, layer, samples, shown};
use crate::tars::{Tar, entry};

const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

fn bytes(output: &Output, changes: &[Change], compression: Compression) -> Vec<u8> {
    let mut bytes = Vec::new();
    let packed = output.pack(changes, compression, 3);
    output.open(&packed).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Changes as reading has them: each once, sorted, and what is there afterwards not removed as well.
fn expected(changes: &[Change]) -> Vec<Change> {
    let mut removed = BTreeSet::new();
    let mut cleared = BTreeSet::new();
    let mut put = BTreeMap::new();
    for change in changes {
        match change {
            Change::Remove(path) => _ = removed.insert(path.clone()),
            Change::Clear(path) => _ = cleared.insert(path.clone()),
            Change::Put(path, node) => _ = put.insert(path.clone(), node.clone()),
        }
    }
    let mut all: BTreeSet<&Vec<u8>> = removed.iter().chain(&cleared).collect();
    all.extend(put.keys());
    let mut expected = Vec::new();
    for path in all {
        let (removed, cleared) = (removed.contains(path), cleared.contains(path));
        match put.get(path) {
            Some(node) => {
                if node.is_directory() && (removed || cleared) {
                    expected.push(Change::Clear(path.clone()));
                }
                expected.push(Change::Put(path.clone(), node.clone()));
            }
            None if removed && !path.is_empty() => expected.push(Change::Remove(path.clone())),
            None => expected.push(Change::Clear(path.clone())),
        }
    }
    expected
}

#[test]
fn what_was_packed_is_read() {
    let output = Output::new();
    let mut changes = samples();
    for (name, size) in [("l1", 9_000_001), ("l2", 1_048_576), ("l3", 1)] {
        let content = Arc::new(Generated { seed: size, size });
        let kind = NodeKind::File(FileNode { size, content, hard_link: 0 });
        changes.push(Change::Put(name.into(), Node { kind, meta: Meta::default() }));
    }
    let spools = tempfile::tempdir().unwrap();
    for compression in ALL {
        let packed = output.pack(&changes, compression, 2);
        let layer = layer(&bytes(&output, &changes, compression));
        let contents = read(&layer, Some(&packed.diff_id), spools.path()).unwrap();
        assert_eq!(contents.diff_id, packed.diff_id);
        assert_eq!(shown(&contents.changes), shown(&expected(&changes)));
        // Files without names.
        assert_eq!(std::fs::read_dir(spools.path()).unwrap().count(), 0);
        // Packed again, it is the same layer.
        assert_eq!(output.pack(&contents.changes, compression, 1), packed);
    }
}

fn any_meta() -> impl Strategy<Value = Meta> {
    let seconds = prop_oneof![0..=315_619_200_i64, -5..5_i64, any::<i64>()];
    let nanos = prop_oneof![Just(0), 0..1_000_000_000_u32];
    let id = prop_oneof![0..2000_u64, 2_097_150..2_097_153_u64, 0..=i64::MAX as u64];
    let name = prop::string::string_regex("(user|security)\\.[a-z.\\n]{1,9}").unwrap();
    let xattrs = btree_map(name.prop_map(String::into_bytes), vec(any::<u8>(), 0..40), 0..3);
    (0..=0o7777_u32, id.clone(), id, seconds, nanos, xattrs).prop_map(
        |(mode, uid, gid, modified, modified_nanos, xattrs)| Meta {
            mode,
            uid,
            gid,
            modified,
            modified_nanos,
            xattrs,
        },
    )
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => 97..100_u8,
        1 => any::<u8>().prop_filter("a name has neither", |byte| !matches!(byte, 0 | b'/')),
    ];
    let length = prop_oneof![8 => 1..3_usize, 1 => 90..110_usize, 1 => 150..256_usize];
    length
        .prop_flat_map(move |length| vec(byte.clone(), length))
        .prop_filter("none that means something else", |name| {
            !matches!(&name[..], b"." | b"..") && !name.starts_with(b".wh.")
        })
}

fn any_kind() -> impl Strategy<Value = NodeKind> {
    let size =
        prop_oneof![6 => 0..2000_u64, 1 => 1_048_000..1_049_000_u64, 1 => 2_000_000..6_000_000_u64];
    let file = (any::<u64>(), size, prop_oneof![3 => Just(0), 1 => 1..4_u64]);
    let device = (0..=2_097_151_u32, 0..=2_097_151_u32);
    prop_oneof![
        3 => Just(NodeKind::Directory),
        6 => file.prop_map(|(seed, size, hard_link)| {
            // Names of one file have one content.
            let (seed, size) = if hard_link == 0 { (seed, size) } else { (hard_link, 1000 * hard_link) };
            NodeKind::File(FileNode { size, content: Arc::new(Generated { seed, size }), hard_link })
        }),
        1 => vec(1..=255_u8, 1..250).prop_map(|target| NodeKind::Symlink { target }),
        1 => device.clone().prop_map(|(major, minor)| NodeKind::CharDevice { major, minor }),
        1 => device.prop_map(|(major, minor)| NodeKind::BlockDevice { major, minor }),
        1 => Just(NodeKind::Fifo),
    ]
}

/// Changes of a layer: nothing below what is no directory.
fn any_changes() -> impl Strategy<Value = Vec<Change>> {
    let path = vec(any_name(), 1..6).prop_map(|names| names.join(&b'/'));
    let change =
        (path, any_kind(), any_meta(), 0..10_u8).prop_map(|(path, kind, mut meta, what)| {
            if matches!(kind, NodeKind::Symlink { .. }) {
                meta.mode = 0o777;
            }
            match what {
                0 => Change::Remove(path),
                1 => Change::Clear(path),
                _ => Change::Put(path, Node { kind, meta }),
            }
        });
    vec(change, 0..24).prop_map(|changes| {
        let mut leaves: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut linked: BTreeMap<u64, Meta> = BTreeMap::new();
        let mut kept: Vec<Change> = Vec::new();
        for mut change in changes {
            let path = change.path().to_vec();
            let above = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            let blocked = above.map(|(at, _)| &path[..at]).any(|above| leaves.contains(above));
            let below = [&path[..], b"/"].concat();
            let used = |there: &[u8]| there == path || there.starts_with(&below);
            if blocked || kept.iter().any(|change| used(change.path())) {
                continue;
            }
            if let Change::Put(_, node) = &mut change {
                if !node.is_directory() {
                    leaves.insert(path);
                }
                if let NodeKind::File(FileNode { hard_link: number @ 1.., .. }) = node.kind {
                    node.meta = linked.entry(number).or_insert(node.meta.clone()).clone();
                }
            }
            kept.push(change);
        }
        kept
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_changes_are_read_as_they_were_packed(changes in any_changes(), which in 0..3_usize) {
        let output = Output::new();
        let layer = layer(&bytes(&output, &changes, ALL[which]));
        let contents = read(&layer, None, output.layout.directory()).unwrap();
        prop_assert_eq!(shown(&contents.changes), shown(&expected(&changes)));
    }

    /// Nothing that is read makes it panic, or hold more than it should.
    #[test]
    fn any_damage_is_an_error_or_another_layer(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let output = Output::new();
        let mut tar = bytes(&output, &samples(), Compression::None);
        let at = at.index(tar.len());
        if cut {
            tar.truncate(at);
        } else {
            tar[at] = byte;
        }
        let spools = tempfile::tempdir().unwrap();
        match read(&layer(&tar), None, spools.path()) {
            Ok(contents) => _ = shown(&contents.changes),
            Err(error) => {
                prop_assert_eq!(error.kind(), AssembleErrorKind::Image);
                prop_assert!(error.to_string().contains(Digest::of(&tar).as_str()), "{}", error);
            }
        }
    }
}

#[test]
fn entries_mean_what_runtimes_make_of_them() {
    for (what, tar, expected) in [
        (
            "names are clamped to the root",
            Tar::new()
                .file("../../etc/a", "1")
                .file("/b", "2")
                .file("./x/../c", "3")
                .file("d/../../e", "4"),
            &["b: 2", "c: 3", "e: 4", "etc/a: 1"][..],
        ),
        (
            "the last of one name counts",
            Tar::new().file("a", "1").file("./a", "2").file("d/x", "1").file("d", "3"),
            &["a: 2", "d: 3"],
        ),
        (
            "what was no directory for a moment is empty",
            Tar::new().file("d", "1").directory("d/").file("d/x", "2"),
            &["d: cleared", "d: directory", "d/x: 2"],
        ),
        (
            "directories of one name are one",
            Tar::new().directory("d/").file("d/x", "1").directory("d"),
            &["d: directory", "d/x: 1"],
        ),
        (
            "links are followed on the way, inside the root",
            Tar::new()
                .symlink("up", "../../..")
                .symlink("d/abs", "/real")
                .symlink("d/rel", "../real/./sub")
                .file("up/a", "1")
                .file("d/abs/b", "2")
                .file("d/rel/c", "3"),
            &[
                "a: 1",
                "d/abs: -> /real",
                "d/rel: -> ../real/./sub",
                "real/b: 2",
                "real/sub/c: 3",
                "up: -> ../../..",
            ],
        ),
        (
            "the last name is not followed",
            Tar::new().symlink("l", "/etc/passwd").file("l", "1"),
            &["l: 1"],
        ),
        (
            "whiteouts concern lower layers",
            Tar::new()
                .file("d/x", "1")
                .file("d/.wh.x", "")
                .file(".wh.gone", "")
                .file("e/.wh..wh..opq", ""),
            &["d/x: removed", "d/x: 1", "e: cleared", "gone: removed"],
        ),
        ("the root can be opaque", Tar::new().file(".wh..wh..opq", ""), &[": cleared"]),
        (
            "what AUFS keeps is none",
            Tar::new().directory(".wh..wh.plnk").file(".wh..wh.plnk/1.2", "x"),
            &[],
        ),
        (
            "hard links share a node",
            Tar::new().file("a", "1").hard_link("b", "a").hard_link("d/c", "/b").file("a", "2"),
            &["a: 2", "b: 1 linked", "d/c: 1 linked"],
        ),
        (
            "a hard link to a symbolic one is another such",
            Tar::new().symlink("l", "x").hard_link("m", "./l"),
            &["l: -> x", "m: -> x"],
        ),
        ("the root has attributes", Tar::new().directory("./"), &[": directory"]),
        ("an archive may be empty", Tar::new(), &[]),
        (
            "of comments for all that follows nothing is made",
            Tar::new()
                .raw(entry(b'g', "x", 0, b"").size(13))
                .raw_bytes(&pad(b"13 comment=x\n"))
                .file("a", "1"),
            &["a: 1"],
        ),
        (
            "long names of GNU",
            Tar::new()
                .raw(entry(b'L', "././@LongLink", 0, b"").size(5))
                .raw_bytes(&pad(b"long\0"))
                .raw(entry(b'K', "././@LongLink", 0, b"").size(6))
                .raw_bytes(&pad(b"target"))
                .symlink("short", "no"),
            &["long: -> target"],
        ),
        (
            "version 7 has directories by name",
            Tar::new().raw(entry(0, "d/", 0, b"")).raw(entry(0, "f", 0, b"")),
            &["d: directory", "f: "],
        ),
    ] {
        let spools = tempfile::tempdir().unwrap();
        let contents = read(&layer(&tar.finish()), None, spools.path());
        let found =
            crate::tars::lines(&contents.unwrap_or_else(|error| panic!("{what}: {error}")).changes);
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn names_of_one_file_have_one_set_of_attributes() {
    let spools = tempfile::tempdir().unwrap();
    let layer = layer(&crate::unpack::with_attributes_of_links());
    let changes = read(&layer, None, spools.path()).unwrap().changes;
    for change in &changes[..2] {
        let Change::Put(_, node) = change else { panic!() };
        assert_eq!((node.meta.mode, node.meta.uid), (0o600, 7));
        let xattrs: Vec<&[u8]> = node.meta.xattrs.values().map(Vec::as_slice).collect();
        assert_eq!(xattrs, [b"1", b"3"]);
    }
    for change in &changes[2..] {
        let Change::Put(_, node) = change else { panic!() };
        assert_eq!(node.meta.mode, 0o777);
    }
}

fn pad(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(512), 0);
    padded
}

#[test]
fn damaged_and_lying_layers_are_errors_that_name_them() {
    let whole = Tar::new().file("a", "content").finish();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::stream::encode_all(bytes, 3).unwrap();
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 1].to_vec();
    let mut sum = gzip(&whole);
    let at = sum.len() - 6;
    sum[at] ^= 1;
    let mut wrong = whole.clone();
    wrong[1] = b'x';
    let pax = |record: &str| {
        Tar::new()
            .raw(entry(b'x', "x", 0, b"").size(record.len() as u64))
            .raw_bytes(&pad(record.as_bytes()))
            .file("a", "")
            .finish()
    };
    let gnu_sparse = |offset: &str, length: &str, size: &str, stored: u64| {
        let mut header = entry(b'S', "s", stored, b"");
        header.bytes[386..386 + offset.len()].copy_from_slice(offset.as_bytes());
        header.bytes[398..398 + length.len()].copy_from_slice(length.as_bytes());
        header.bytes[483..483 + size.len()].copy_from_slice(size.as_bytes());
        Tar::new().raw(header).raw_bytes(&vec![1; stored.next_multiple_of(512) as usize]).finish()
    };
    for (bytes, expected) in [
        (whole[..700].to_vec(), "cut off"),
        (whole[..513].to_vec(), "cut off"),
        (whole[..100].to_vec(), "cut off"),
        (wrong, "checksum"),
        (cut(gzip(&whole)), ""),
        (cut(zstd(&whole)), ""),
        (sum, "checksum"),
        ([gzip(&whole), b"junk".to_vec()].concat(), ""),
        ([zstd(&whole), b"junk".to_vec()].concat(), ""),
        (b"no layer".repeat(99), "checksum"),
        (Tar::new().hard_link("b", "a").finish(), "not in it"),
        (Tar::new().file("a", "").hard_link("a", "./a").finish(), "itself"),
        (Tar::new().directory("d").hard_link("b", "d").finish(), "directory"),
        (Tar::new().file("f", "").file("f/x", "").finish(), "no directory"),
        (Tar::new().symlink("l", "l").file("l/x", "").finish(), "too many links"),
        (Tar::new().file("./", "").finish(), "root"),
        (Tar::new().file(".wh.", "").finish(), "whiteout"),
        (Tar::new().file("d/.wh...", "").finish(), "whiteout"),
        (Tar::new().raw(entry(b'M', "x", 0, b"")).finish(), "unknown type"),
        (Tar::new().raw(entry(b'0', "x", 1 << 32, b"")).finish(), "cut off"),
        (Tar::new().raw(entry(b'x', "x", 2 << 20, b"")).finish(), "longer than a MiB"),
        (pax("22 size=9223372036854\n"), "256 GiB"),
        (pax("28 size=9223372036854775807\n"), "256 GiB"),
        (pax("22 GNU.sparse.major=2\n"), "unknown format"),
        (pax("22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"), "no size"),
        (pax("99 path=x\n"), "extended header"),
        (
            Tar::new().extended(&[("linkpath", &"l".repeat(4096))]).symlink("l", "").finish(),
            "longer than 4095 bytes",
        ),
        (gnu_sparse("0", "10", "10", 9), "does not fit"),
        (gnu_sparse("1", "10", "10", 8), "does not fit"),
        (pax("32 GNU.sparse.size=999999999999\n22 GNU.sparse.map=0,0\n"), "larger than 16 GiB"),
        (gnu_sparse("0", "-1", "10", 8), "number"),
    ] {
        let layer = layer(&bytes);
        let spools = tempfile::tempdir().unwrap();
        let result = read(&layer, None, spools.path());
        if expected.is_empty() && result.is_ok() {
            panic!(
                "{:?} should be refused",
                String::from_utf8_lossy(&bytes[..bytes.len().min(600)])
            );
        }
        let error = result.unwrap_err();
        assert_eq!(error.kind(), AssembleErrorKind::Image, "{error}");
        let text = error.to_string();
        assert!(
            text.contains(expected) && text.contains(layer.descriptor.digest.as_str()),
            "{text}, not {expected}"
        );
    }
    let layer = layer(&whole);
    let other = Digest::of(b"other");
    let spools = tempfile::tempdir().unwrap();
    let error = read(&layer, Some(&other), spools.path()).unwrap_err();
    assert!(error.to_string().contains(other.as_str()), "{error}");
    read(&layer, Some(&Digest::of(&whole)), spools.path()).unwrap();
}

/// Zeroes without end.
struct Bomb;

impl LayerBlob for Bomb {
    fn open(&self) -> Result<Box<dyn Read + Send>, AssembleError> {
        let header = entry(b'0', "big", 10, b"").bytes.to_vec();
        Ok(Box::new(
            io::Cursor::new(header).chain(io::repeat(1).take(512)).chain(Headers { at: 0 }),
        ))
    }
}

/// One header after another.
struct Headers {
    at: usize,
}

impl Read for Headers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let header = entry(b'5', "d", 0, b"").bytes;
        let rest = &header[self.at..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.at = (self.at + length) % header.len();
        Ok(length)
    }
}

#[test]
fn a_layer_without_end_ends() {
    let mut bomb = layer(b"");
    bomb.blob = Arc::new(Bomb);
    let spools = tempfile::tempdir().unwrap();
    let error = read(&bomb, None, spools.path()).unwrap_err();
    assert!(error.to_string().contains("entries"), "{error}");
}

/// Half as many entries as there may be, and one, each with an extended header.
struct Extended;

impl LayerBlob for Extended {
    fn open(&self) -> Result<Box<dyn Read + Send>, AssembleError> {
        let pair = Tar::new().extended(&[("comment", "x")]).directory("d").finish();
        let pair = pair[..pair.len() - 1024].to_vec();
        let pairs = (0..=1_048_576 / 2).map(move |_| pair.clone());
        Ok(Box::new(Pieces(Box::new(pairs), io::Cursor::default())))
    }
}

struct Pieces(Box<dyn Iterator<Item = Vec<u8>> + Send>, io::Cursor<Vec<u8>>);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.1.read(buffer)?;
        if read > 0 || buffer.is_empty() {
            return Ok(read);
        }
        match self.0.next() {
            Some(piece) => self.1 = io::Cursor::new(piece),
            None => return Ok(0),
        }
        self.1.read(buffer)
    }
}

#[test]
fn what_extends_an_entry_is_none_itself() {
    let spools = tempfile::tempdir().unwrap();
    let mut large = layer(b"");
    large.blob = Arc::new(Extended);
    read(&large, None, spools.path()).unwrap();
}

/// Counts how often it is opened.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl LayerBlob for Counted {
    fn open(&self) -> Result<Box<dyn Read + Send>, AssembleError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Blob(self.0.clone()).open()
    }
}

#[test]
fn a_layer_is_read_once_and_unpacked_once() {
    let output = Output::new();
    let bytes = bytes(&output, &samples(), Compression::Gzip);
    let opened = Arc::new(AtomicUsize::new(0));
    let mut layer: BaseLayer = layer(&bytes);
    layer.blob = Arc::new(Counted(bytes, Arc::clone(&opened)));
    let cache = LayerCache::new(output.layout.directory());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| cache.read(&layer, None).unwrap());
        }
    });
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    let contents = cache.read(&layer, None).unwrap();
    for _ in 0..2 {
        shown(&contents.changes);
        assert_eq!(opened.load(Ordering::SeqCst), 2);
    }
    cache.read(&layer, Some(&Digest::of(b"other"))).unwrap_err();
    assert_eq!(opened.load(Ordering::SeqCst), 2);
}
