//! Archives that `ADD` unpacks.

use std::io::{self, Write};
use std::sync::Arc;

use dockit_assemble::layer::unpack;
use dockit_assemble::tree::{Change, FileContent, FileNode};
use dockit_assemble::{AssembleError, AssembleErrorKind};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::generated::Generated;
use crate::layers::file_node;
use crate::tars::{Tar, entry, lines};

type Archive = Result<Option<Vec<Change>>, AssembleError>;

fn unpacked(bytes: &[u8]) -> Archive {
    let spools = tempfile::tempdir().unwrap();
    let result = unpack(&file_node(bytes), spools.path());
    assert_eq!(std::fs::read_dir(spools.path()).unwrap().count(), 0);
    result
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

type Pack = fn(&[u8]) -> Vec<u8>;

const PACKERS: [(&str, Pack); 5] = [
    ("plain", <[u8]>::to_vec as Pack),
    ("gzip", gzip),
    ("bzip2", bzip2),
    ("xz", xz),
    ("zstd", zstd),
];

fn sample() -> Vec<u8> {
    let long = "long ".repeat(40_000);
    Tar::new()
        .directory("d/")
        .file("d/a", "1")
        .file("d/long", &long)
        .symlink("d/l", "../../..")
        .hard_link("b", "./d/a")
        .finish()
}

#[test]
fn archives_are_known_by_what_they_hold() {
    for (name, pack) in PACKERS {
        let found = lines(&unpacked(&pack(&sample())).unwrap().expect(name));
        let long = format!("d/long: {}", "long ".repeat(40_000));
        let expected = ["d: directory", "d/a: 1 linked", &long, "d/l: -> ../../..", "b: 1 linked"];
        assert_eq!(found, expected, "{name}");
        // Several streams in a row are one.
        if name != "plain" {
            let sample = sample();
            let (one, other) = sample.split_at(700);
            let parts = [pack(one), pack(other)].concat();
            assert_eq!(lines(&unpacked(&parts).unwrap().expect(name)), expected, "{name}");
        }
    }
}

#[test]
fn what_is_no_archive_is_copied() {
    let text = b"no archive ".repeat(100);
    for (name, pack) in PACKERS {
        for bytes in [&b""[..], b"x", &text, &[0; 512], &[0; 1024], &[0; 5000]] {
            assert!(unpacked(&pack(bytes)).unwrap().is_none(), "{name} of {} bytes", bytes.len());
        }
        // Cut off before the end of the first header.
        assert!(unpacked(&pack(&sample()[..511])).unwrap().is_none(), "{name}");
    }
    for start in [&b"\x1f\x8b\x08"[..], b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"] {
        assert!(unpacked(start).unwrap().is_none());
        assert!(unpacked(&[start, &text].concat()).unwrap().is_none());
    }
}

#[test]
fn damaged_archives_are_errors() {
    for (name, pack) in PACKERS {
        let cut = pack(&sample()[..60_000]);
        let error = unpacked(&cut).unwrap_err();
        assert_eq!(error.kind(), AssembleErrorKind::Instruction, "{name}");
        assert!(error.to_string().contains("cut off"), "{name}: {error}");
        if name == "plain" {
            continue;
        }
        let whole = pack(&sample());
        unpacked(&whole[..whole.len() - 1]).expect_err(name);
        let mut junk = whole.clone();
        junk.extend_from_slice(b"something else");
        unpacked(&junk).expect_err(name);
        // A sum at the end, which only who reads all of it checks.
        let mut sum = whole;
        let at = sum.len() - if name == "gzip" { 7 } else { 2 };
        sum[at] ^= 0x10;
        unpacked(&sum).expect_err(name);
    }
    for (tar, expected) in [
        (Tar::new().file("a", "").hard_link("b", "/etc/passwd"), "not in it"),
        (Tar::new().file("a", "").hard_link("a", "a"), "itself"),
        (Tar::new().directory("d").hard_link("b", "d"), "directory"),
        (Tar::new().file("a", "").file("..", "x"), "root"),
        (Tar::new().file("a", "").raw(entry(b'V', "v", 0, b"")), "unknown type"),
        (Tar::new().file("a", "").raw(entry(b'0', "huge", 1 << 32, b"")), "cut off"),
    ] {
        let error = unpacked(&tar.finish()).unwrap_err();
        assert_eq!(error.kind(), AssembleErrorKind::Instruction);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn nothing_leads_out_and_odd_files_are_kept() {
    let mut device = entry(b'3', "dev/null", 0, b"");
    device.bytes[329..337].copy_from_slice(b"0000001\0");
    device.bytes[337..345].copy_from_slice(b"0000003\0");
    let mut early = entry(b'0', "early", 0, b"");
    early.bytes[136..148].copy_from_slice(&[0xff; 12]);
    let tar = Tar::new()
        .file("../../a", "1")
        .file("/abs", "2")
        .symlink("out", "/etc")
        // Who unpacks it knows where that leads, and sees that it stays inside.
        .file("out/passwd", "3")
        .file(".wh.ordinary", "4")
        .raw(device)
        .raw(early)
        .directory("./");
    let changes = unpacked(&tar.finish()).unwrap().unwrap();
    let expected = [
        "a: 1",
        "abs: 2",
        "out: -> /etc",
        "out/passwd: 3",
        ".wh.ordinary: 4",
        "dev/null: CharDevice { major: 1, minor: 3 }",
        "early: ",
        ": directory",
    ];
    assert_eq!(lines(&changes), expected);
    let Change::Put(_, early) = &changes[6] else { panic!() };
    assert_eq!((early.meta.modified, early.meta.modified_nanos), (0, 0));
}

#[test]
fn what_an_archive_may_make_us_hold_is_bounded() {
    // A dictionary of a GiB is announced by the first block.
    let bytes = with_dictionary(xz(&sample()), 36);
    let error = unpacked(&bytes).unwrap_err();
    assert!(error.to_string().contains("mem"), "{error}");
    // A window of a GiB, told by the frame.
    let error = unpacked(b"\x28\xb5\x2f\xfd\0\xa0\x01\0\0").unwrap_err();
    assert!(error.to_string().contains("memory"), "{error}");
}

#[test]
fn the_first_header_makes_an_archive() {
    let comment = || {
        let mut records = b"13 comment=x\n".to_vec();
        records.resize(512, 0);
        Tar::new().raw(entry(b'g', "x", 13, b"")).raw_bytes(&records)
    };
    for (name, pack) in PACKERS {
        for (tar, expected) in [
            // As `tar -V label` begins.
            (Tar::new().raw(entry(b'V', "label", 0, b"")).file("a", "").finish(), "unknown type"),
            (comment().raw_bytes(&[1; 512]).finish(), "checksum"),
            (Tar::new().raw(entry(b'x', "x", 7, b"")).raw_bytes(&[b'y'; 512]).finish(), "record"),
            (Tar::new().hard_link("b", "a").finish(), "not in it"),
            (entry(b'0', "a", 9, b"").bytes.to_vec(), "cut off"),
        ] {
            let error = unpacked(&pack(&tar)).unwrap_err();
            assert_eq!(error.kind(), AssembleErrorKind::Instruction);
            assert!(error.to_string().contains(expected), "{name}: {error}, not {expected}");
        }
        assert!(unpacked(&pack(&comment().finish())).unwrap().unwrap().is_empty(), "{name}");
        assert_eq!(
            lines(&unpacked(&pack(&comment().file("a", "1").finish())).unwrap().unwrap()),
            ["a: 1"]
        );
    }
}

/// A file of xz whose first block tells of a dictionary of another size (xz file format, 5.3.1).
fn with_dictionary(mut bytes: Vec<u8>, dictionary: u8) -> Vec<u8> {
    // After the header of the stream: size, flags, filter, size of its properties, dictionary.
    assert_eq!(bytes[14..16], [0x21, 1]);
    bytes[16] = dictionary;
    let end = 12 + (usize::from(bytes[12]) + 1) * 4;
    let mut sum = flate2::Crc::new();
    sum.update(&bytes[12..end - 4]);
    bytes[end - 4..end].copy_from_slice(&sum.sum().to_le_bytes());
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// No damage of a compressed archive is more than an error, and what is read can be read again.
    #[test]
    fn any_damage_is_an_error_or_another_archive(
        which in 0..PACKERS.len(),
        damages in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..4),
        cut in proptest::option::weighted(0.2, any::<Index>()),
    ) {
        let text = "some text of some length, ".repeat(60);
        let tar = Tar::new().file("a", &text).directory("d").hard_link("d/b", "a").finish();
        let mut bytes = PACKERS[which].1(&tar);
        for (at, byte) in damages {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        match unpacked(&bytes) {
            Ok(changes) => _ = lines(&changes.unwrap_or_default()),
            Err(error) => prop_assert_eq!(error.kind(), AssembleErrorKind::Instruction),
        }
    }
}

struct Gone;

impl FileContent for Gone {
    fn write_to(&self, _: &mut dyn Write) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[test]
fn a_file_that_cannot_be_read_is_no_archive_but_an_error() {
    let spools = tempfile::tempdir().unwrap();
    let gone = FileNode { size: 5, content: Arc::new(Gone), hard_link: 0 };
    let error = unpack(&gone, spools.path()).unwrap_err();
    assert_eq!(error.kind(), AssembleErrorKind::Context);
    // A large one that is no archive is not even copied.
    let large = Generated { seed: 3, size: 1 << 40 };
    let large = FileNode { size: 1 << 40, content: Arc::new(large), hard_link: 0 };
    assert!(unpack(&large, spools.path()).unwrap().is_none());
}

#[test]
fn sparse_files_have_their_holes() {
    let mut old = entry(b'S', "old", 1024, b"");
    for (at, number) in [(386, 512_u64), (398, 512), (410, 4096), (422, 512), (434, 8192), (446, 0)]
    {
        old.bytes[at..at + 12].copy_from_slice(format!("{number:011o}\0").as_bytes());
    }
    old.bytes[483..495].copy_from_slice(format!("{:011o}\0", 8192).as_bytes());
    let one = |record: &str| {
        let length = record.len() + 4;
        let length = length + usize::from(length > 99);
        let text = format!("{length} {record}\n");
        assert_eq!(text.len(), length);
        text
    };
    let extended = |tar: Tar, records: &[&str]| {
        let text: String = records.iter().map(|record| one(record)).collect();
        let mut padded = text.clone().into_bytes();
        padded.resize(padded.len().next_multiple_of(512), 0);
        tar.raw(entry(b'x', "x", text.len() as u64, b"")).raw_bytes(&padded)
    };
    let data = [vec![b'a'; 512], vec![b'b'; 512]].concat();
    let mut tar = Tar::new().raw(old).raw_bytes(&data);
    tar = extended(
        tar,
        &[
            "GNU.sparse.size=8192",
            "GNU.sparse.numblocks=2",
            "GNU.sparse.name=01",
            "GNU.sparse.map=512,512,4096,512",
        ],
    );
    tar = tar.raw(entry(b'0', "x", 1024, b"")).raw_bytes(&data);
    tar = extended(
        tar,
        &[
            "GNU.sparse.size=8192",
            "GNU.sparse.numblocks=2",
            "GNU.sparse.offset=512",
            "GNU.sparse.numbytes=512",
            "GNU.sparse.offset=4096",
            "GNU.sparse.numbytes=512",
        ],
    );
    tar = tar.raw(entry(b'0', "00", 1024, b"")).raw_bytes(&data);
    tar = extended(
        tar,
        &[
            "GNU.sparse.major=1",
            "GNU.sparse.minor=0",
            "GNU.sparse.name=10",
            "GNU.sparse.realsize=8192",
        ],
    );
    let mut map = b"2\n512\n512\n4096\n512\n".to_vec();
    map.resize(512, 0);
    tar = tar.raw(entry(b'0', "x", 1536, b"")).raw_bytes(&map).raw_bytes(&data).file("after", "x");
    let mut whole = vec![0; 8192];
    whole[512..1024].fill(b'a');
    whole[4096..4608].fill(b'b');
    let whole = String::from_utf8(whole).unwrap();
    let changes = unpacked(&tar.finish()).unwrap().unwrap();
    let expected: Vec<String> =
        ["old", "01", "00", "10"].iter().map(|name| format!("{name}: {whole}")).collect();
    assert_eq!(lines(&changes)[..4], expected);
    assert_eq!(lines(&changes)[4], "after: x");
}

/// Files in GNU tar's format 1.0, with this many fragments of a byte, so many bytes from each other.
fn sparse(files: u64, fragments: u64, apart: u64) -> Vec<u8> {
    let mut map = format!("{fragments}\n");
    for fragment in 0..fragments {
        map.push_str(&format!("{}\n1\n", fragment * apart));
    }
    let mut content = map.into_bytes();
    content.resize(content.len().next_multiple_of(512), 0);
    let size = content.len() as u64 + fragments;
    content.resize(size.next_multiple_of(512) as usize, b'x');
    let whole = (fragments * apart).to_string();
    let mut tar = Tar::new();
    for file in 0..files {
        tar = tar
            .extended(&[
                ("GNU.sparse.major", "1"),
                ("GNU.sparse.minor", "0"),
                ("GNU.sparse.realsize", &whole),
            ])
            .raw(entry(b'0', &format!("f{file}"), size, b""))
            .raw_bytes(&content);
    }
    tar.finish()
}

#[test]
fn maps_of_sparse_files_are_bounded_together() {
    // What is held is one fragment of each.
    assert_eq!(unpacked(&sparse(17, 65_536, 1)).unwrap().unwrap().len(), 17);
    assert_eq!(unpacked(&sparse(16, 65_536, 2)).unwrap().unwrap().len(), 16);
    let error = unpacked(&sparse(17, 65_536, 2)).unwrap_err();
    assert!(error.to_string().contains("more than 1048576 fragments"), "{error}");
    let error = unpacked(&sparse(1, 1_048_577, 1)).unwrap_err();
    assert!(error.to_string().contains("more than 1048576 fragments"), "{error}");
}

/// The attributes of what is put, by path: mode, owner, extended ones.
fn attributes(changes: &[Change]) -> Vec<String> {
    let line = |change: &Change| {
        let Change::Put(path, node) = change else { panic!("an archive only puts") };
        let mut line =
            format!("{} {:o} {}", String::from_utf8_lossy(path), node.meta.mode, node.meta.uid);
        for (name, value) in &node.meta.xattrs {
            let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
            line.push_str(&format!(" {name}={value}"));
        }
        line
    };
    changes.iter().map(line).collect()
}

/// As GNU tar packs two names with `--xattrs`, and another program that tells more for the second.
pub(crate) fn with_attributes_of_links() -> Vec<u8> {
    let mut link = entry(b'1', "b", 0, b"a");
    link.bytes[100..108].copy_from_slice(b"0000600\0");
    link.bytes[108..116].copy_from_slice(b"0000007\0");
    Tar::new()
        .extended(&[("SCHILY.xattr.user.one", "1"), ("SCHILY.xattr.user.two", "2")])
        .file("a", "x")
        .extended(&[("SCHILY.xattr.user.two", "3")])
        .raw(link)
        .symlink("l", "x")
        .hard_link("m", "l")
        .finish()
}

#[test]
fn names_of_one_file_have_one_set_of_attributes() {
    let changes = unpacked(&with_attributes_of_links()).unwrap().unwrap();
    let expected = ["a 600 7 user.one=1 user.two=3", "b 600 7 user.one=1 user.two=3"];
    assert_eq!(attributes(&changes)[..2], expected);
    assert_eq!(attributes(&changes)[2..], ["l 777 0", "m 777 0"]);
}
