//! Cases on top of an image that no Dockerfile made.

use serde_json::json;
use tar::EntryType::{self, Directory, Link, Regular, Symlink};

use super::hand_written::cases;
use super::{World, compare};
use crate::engine::{self, SavedImage};

const CASES: &[&str] = &[
    "LABEL a=b",
    "COPY --from=base / /copy",
    "COPY --from=base /usr /copy",
    "COPY --from=base /usr/bin/tool /usr/bin/again /copy/",
    "COPY --from=base /link/bin /copy",
    "COPY --from=base /tmp /copy",
    "COPY --from=base --chown=5:6 /usr /new",
    "COPY --chown=app:staff a.txt /opt/",
    "COPY a.txt /gone/",
    "COPY a.txt /opaque/",
    "COPY a.txt /tmp/",
    "COPY a.txt /link/bin/",
    "COPY a.txt /became-file",
    "COPY a.txt /became-file/x",
    "COPY one /became-directory/",
    "COPY a.txt /was-link/",
    "COPY root/usr /usr",
    "COPY a.txt /usr/bin/again",
    "WORKDIR /tmp/x",
    "WORKDIR /link/x",
    "USER app\nWORKDIR /made",
    "ADD files.tar /tmp",
    "ADD files.tar /",
];

type Entry = (EntryType, &'static str, u32, u64, &'static str);

fn layer(entries: &[Entry]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (kind, path, mode, owner, holds) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_uid(*owner);
        header.set_gid(owner * 2);
        header.set_mtime(1_000_000_000);
        header.set_size(0);
        match kind {
            Symlink | Link => archive.append_link(&mut header, path, holds).unwrap(),
            _ => {
                header.set_size(holds.len() as u64);
                archive.append_data(&mut header, path, holds.as_bytes()).unwrap();
            }
        }
    }
    archive.into_inner().unwrap()
}

/// No pipes, which Docker 20.10 does not copy; and nothing special where fuse-overlayfs copies it up,
/// since it then drops set-uid and set-gid.
fn layers() -> Vec<Vec<u8>> {
    let lower = layer(&[
        (Directory, "became-file/", 0o755, 0, ""),
        (Regular, "became-file/inner", 0o644, 0, "lower"),
        (Regular, "became-directory", 0o644, 0, "lower"),
        (Directory, "etc/", 0o755, 0, ""),
        (Symlink, "etc/passwd", 0o777, 0, "../usr/passwd"),
        (Regular, "etc/group", 0o644, 0, "staff:x:50:\n"),
        (Directory, "gone/", 0o755, 0, ""),
        (Regular, "gone/file", 0o644, 0, "lower"),
        (Regular, "gone-file", 0o644, 0, "lower"),
        (Symlink, "link", 0o777, 0, "/usr"),
        (Directory, "opaque/", 0o755, 0, ""),
        (Directory, "opaque/deep/", 0o755, 0, ""),
        (Regular, "opaque/deep/old", 0o644, 0, "lower"),
        (Directory, "opt/", 0o750, 4, ""),
        (Directory, "tmp/", 0o1777, 0, ""),
        (Directory, "usr/", 0o755, 0, ""),
        (Regular, "usr/passwd", 0o644, 0, "app:x:1000:1001::/:\n"),
        (Directory, "usr/bin/", 0o755, 0, ""),
        (Regular, "usr/bin/special", 0o4755, 3, "tool"),
        (Regular, "usr/bin/tool", 0o755, 3, "tool"),
        (Link, "usr/bin/again", 0o755, 3, "usr/bin/tool"),
        (Symlink, "was-link", 0o777, 0, "/usr"),
    ]);
    let upper = layer(&[
        (Regular, ".wh.gone", 0o644, 0, ""),
        (Regular, ".wh.gone-file", 0o644, 0, ""),
        (Regular, "became-file", 0o600, 0, "upper"),
        (Directory, "became-directory/", 0o700, 0, ""),
        (Regular, "became-directory/inner", 0o600, 0, "upper"),
        (Directory, "opaque/", 0o711, 5, ""),
        (Regular, "opaque/.wh..wh..opq", 0o644, 0, ""),
        (Regular, "opaque/new", 0o644, 0, "upper"),
        (Directory, "usr/", 0o711, 0, ""),
        (Directory, "usr/bin/", 0o755, 0, ""),
        (Regular, "usr/bin/.wh.missing", 0o644, 0, ""),
        (Directory, "was-link/", 0o755, 0, ""),
        (Regular, "was-link/inner", 0o644, 0, "upper"),
    ]);
    vec![lower, upper]
}

#[test]
fn trees_on_top_of_images_are_the_engines() {
    let config = json!({ "architecture": "amd64", "os": "linux", "config": {} });
    let loaded = engine::load(config, layers());
    let base = format!("FROM {} AS base\n", loaded.name);
    let saved =
        SavedImage { config: loaded.saved.config.clone(), layers: loaded.saved.layers.clone() };
    compare(&World { base, image: saved, ..World::new() }, &cases(CASES), usize::MAX);
}
