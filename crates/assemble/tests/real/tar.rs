//! What is packed, read by tar and Python; and what tar packs, read here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use dockit_assemble::assemble::Compression;
use dockit_assemble::layer::{read, unpack};
use dockit_assemble::tree::{Change, Node, NodeKind};
use dockit_registry::Digest;

use crate::layers::{self, content, file_node, layer, samples, shown};

const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    output
}

/// Prints the members of a tar: type, mode, owners, time, size, device, link, attributes and content.
const MEMBERS: &str = r#"
import hashlib, sys, tarfile
out = sys.stdout.buffer
with tarfile.open(sys.argv[1], "r:", errors="surrogateescape") as tar:
    for member in tar:
        raw = lambda text: repr(text.encode("utf-8", "surrogateescape"))
        file = tar.extractfile(member) if member.isreg() else None
        content = hashlib.sha256(file.read()).hexdigest() if file else ""
        attributes = sorted(key for key in member.pax_headers if key.startswith("SCHILY.xattr."))
        fields = [raw(member.name), member.type.decode(), oct(member.mode), member.uid, member.gid,
                  format(member.mtime, ".2f"), member.size, member.devmajor, member.devminor,
                  raw(member.linkname), attributes, content]
        out.write((" ".join(str(field) for field in fields) + "\n").encode())
"#;

/// What that prints for changes as they are packed.
fn members(changes: &[Change]) -> Vec<String> {
    let mut sorted: Vec<&Change> = changes.iter().collect();
    sorted.sort_by(|one, other| one.path().cmp(other.path()));
    let mut first: BTreeMap<u64, &[u8]> = BTreeMap::new();
    let quoted = |bytes: &[u8]| {
        let text: String = bytes
            .iter()
            .map(|byte| match byte {
                b'\n' => "\\n".to_owned(),
                b' '..=b'~' => char::from(*byte).to_string(),
                other => format!("\\x{other:02x}"),
            })
            .collect();
        format!("b'{text}'")
    };
    let whiteout = |path: &[u8]| {
        let path = quoted(path);
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        format!("{path} 0 0o0 0 0 315619200.00 0 0 0 b'' [] {empty}")
    };
    let removed: Vec<&[u8]> = changes
        .iter()
        .filter(|change| matches!(change, Change::Remove(_)))
        .map(Change::path)
        .collect();
    let mut lines = Vec::new();
    for change in sorted {
        let path = change.path();
        let Change::Put(_, Node { kind, meta }) = change else {
            let is_put = changes
                .iter()
                .any(|other| matches!(other, Change::Put(..)) && other.path() == path);
            if !is_put {
                let name = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
                lines.push(whiteout(&[&path[..name], b".wh.", &path[name..]].concat()));
            }
            continue;
        };
        let (mut flag, mut size, mut device, mut link, mut hash) =
            ('0', 0, (0, 0), Vec::new(), None);
        match kind {
            NodeKind::Directory => flag = '5',
            NodeKind::File(file) => match first.get(&file.hard_link) {
                Some(there) => {
                    flag = '1';
                    link = there.to_vec();
                }
                None => {
                    if file.hard_link != 0 {
                        first.insert(file.hard_link, path);
                    }
                    size = file.size;
                    hash = Some(Digest::of(&content(file)));
                }
            },
            NodeKind::Symlink { target } => {
                flag = '2';
                link.clone_from(target);
            }
            NodeKind::CharDevice { major, minor } => (flag, device) = ('3', (*major, *minor)),
            NodeKind::BlockDevice { major, minor } => (flag, device) = ('4', (*major, *minor)),
            NodeKind::Fifo => flag = '6',
        }
        // Python follows hard links to their content.
        let hash = hash.as_ref().map_or("", Digest::hex);
        let attributes: Vec<String> = meta
            .xattrs
            .keys()
            .map(|name| format!("'SCHILY.xattr.{}'", String::from_utf8_lossy(name)))
            .collect();
        let time = meta.modified as f64 + f64::from(meta.modified_nanos) / 1e9;
        lines.push(format!(
            "{} {flag} {:#o} {} {} {time:.2} {size} {} {} {} [{}] {hash}",
            quoted(path),
            meta.mode,
            meta.uid,
            meta.gid,
            device.0,
            device.1,
            quoted(&link),
            attributes.join(", "),
        ));
        if removed.contains(&path) && flag == '5' {
            lines.push(whiteout(&[path, b"/.wh..wh..opq"].concat()));
        }
    }
    lines
}

#[test]
fn python_reads_what_is_packed() {
    let output = layers::Output::new();
    let changes = samples();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layer.tar");
    std::io::copy(
        &mut output.open(&output.pack(&changes, Compression::None, 1)),
        &mut File::create(&path).unwrap(),
    )
    .unwrap();
    let printed = run(Command::new("python3").args(["-c", MEMBERS]).arg(&path));
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(printed.lines().collect::<Vec<_>>(), members(&changes));
}

#[test]
fn tar_unpacks_what_is_packed_however_it_is_compressed() {
    let output = layers::Output::new();
    // What only the owner of a machine may make, or GNU tar does not take, is left to Python.
    let changes: Vec<Change> = samples()
        .into_iter()
        .filter(|change| match change {
            Change::Put(_, node) => {
                node.meta.gid < 1 << 32
                    && !matches!(
                        node.kind,
                        NodeKind::CharDevice { .. } | NodeKind::BlockDevice { .. }
                    )
            }
            _ => false,
        })
        .collect();
    for compression in ALL {
        let directory = tempfile::tempdir().unwrap();
        let packed = directory.path().join("layer");
        let tree = directory.path().join("tree");
        fs::create_dir(&tree).unwrap();
        std::io::copy(
            &mut output.open(&output.pack(&changes, compression, 2)),
            &mut File::create(&packed).unwrap(),
        )
        .unwrap();
        run(Command::new("tar")
            .args(["--no-same-owner", "-xpf"])
            .arg(&packed)
            .arg("-C")
            .arg(&tree));
        for change in &changes {
            let Change::Put(path, node) = change else { unreachable!() };
            let path = tree.join(std::str::from_utf8(path).unwrap());
            let found = path.symlink_metadata().unwrap();
            assert_eq!(found.mtime(), node.meta.modified, "{}", path.display());
            match &node.kind {
                NodeKind::Symlink { target } => {
                    let link = fs::read_link(&path).unwrap();
                    assert_eq!(link.as_os_str().as_encoded_bytes(), target);
                    continue;
                }
                NodeKind::File(file) => {
                    assert_eq!(fs::read(&path).unwrap(), content(file));
                    assert_eq!(found.nlink(), if file.hard_link == 0 { 1 } else { 2 });
                }
                NodeKind::Directory => assert!(found.is_dir()),
                _ => {}
            }
            assert_eq!(found.permissions().mode() & 0o7777, node.meta.mode, "{}", path.display());
        }
    }
}

/// A tree with what archives find hard, and its lines as [`layers::shown`] has them, without owners and
/// with whole seconds.
fn tree(root: &Path) {
    fs::create_dir_all(root.join("d").join("e".repeat(90)).join("f".repeat(90))).unwrap();
    let deep = root.join("d").join("e".repeat(90)).join("f".repeat(90)).join("g");
    fs::write(&deep, "deep").unwrap();
    fs::write(root.join("d/x"), "x".repeat(70_000)).unwrap();
    fs::hard_link(root.join("d/x"), root.join("d/y")).unwrap();
    symlink("../d/x", root.join("d/link")).unwrap();
    symlink("t/".repeat(80), root.join("d/long")).unwrap();
    fs::set_permissions(root.join("d/x"), fs::Permissions::from_mode(0o4751)).unwrap();
    let mut sparse = File::create(root.join("d/sparse")).unwrap();
    // More fragments than the header of one format has room for.
    for at in 0..40 {
        sparse.seek(SeekFrom::Start(at * 100_000)).unwrap();
        sparse.write_all(format!("part {at}").as_bytes()).unwrap();
    }
    sparse.set_len(5_000_000).unwrap();
}

/// What is at paths, without attributes that formats differ in.
fn plain(changes: Vec<Change>) -> Vec<String> {
    let changes: Vec<Change> = changes
        .into_iter()
        .map(|mut change| {
            if let Change::Put(_, node) = &mut change {
                node.meta.modified_nanos = 0;
                node.meta.uid = 0;
                node.meta.gid = 0;
            }
            change
        })
        .collect();
    let mut lines = shown(&changes);
    lines.sort();
    lines
}

#[test]
fn all_that_tar_writes_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    tree(&root);
    let archive = directory.path().join("archive");
    let mut expected: Option<Vec<String>> = None;
    let formats: [&[&str]; 8] = [
        &["--format=posix"],
        &["--format=gnu"],
        &["--format=oldgnu"],
        &["--format=gnu", "--sparse"],
        &["--format=oldgnu", "--sparse"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
    ];
    for format in formats {
        for pack in [&[][..], &["--gzip"], &["--bzip2"], &["--xz"], &["--zstd"]] {
            let mut tar = Command::new("tar");
            tar.args(["--sort=name", "-cf"]).arg(&archive).args(format).args(pack);
            run(tar.arg("-C").arg(&root).arg("d"));
            let bytes = fs::read(&archive).unwrap();
            let changes = unpack(&file_node(&bytes), directory.path()).unwrap().unwrap();
            let found = plain(changes);
            assert_eq!(&found, expected.get_or_insert(found.clone()), "{format:?} {pack:?}");
            let read = read(&layer(&bytes), None, directory.path()).unwrap();
            assert_eq!(plain(read.changes), found, "{format:?} {pack:?}");
        }
    }
    // All are equal; so one is compared with what is on the disk.
    let bytes = fs::read(&archive).unwrap();
    let changes = read(&layer(&bytes), None, directory.path()).unwrap().changes;
    assert_eq!(changes.len(), 9);
    for change in &changes {
        let Change::Put(path, node) = change else { panic!("{change:?}") };
        let path = root.join(std::str::from_utf8(path).unwrap());
        let there = path.symlink_metadata().unwrap();
        assert_eq!(node.meta.mode, there.permissions().mode() & 0o7777);
        assert_eq!(node.meta.modified, there.mtime());
        assert_eq!((node.meta.uid, node.meta.gid), (there.uid().into(), there.gid().into()));
        match &node.kind {
            NodeKind::File(file) => {
                assert_eq!(content(file), fs::read(&path).unwrap());
                assert_eq!(file.hard_link != 0, there.nlink() > 1);
            }
            NodeKind::Symlink { target } => {
                let link = fs::read_link(&path).unwrap();
                assert_eq!(link.as_os_str().as_encoded_bytes(), target);
            }
            NodeKind::Directory => assert!(there.is_dir()),
            other => panic!("{other:?}"),
        }
    }
}
