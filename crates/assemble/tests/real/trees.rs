//! File trees: those that the engine's BuildKit builds, and ours of the same Dockerfiles.

mod generated;
mod hand_written;
mod images;
mod newer;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;

use sha2::Digest as _;
use tempfile::TempDir;

use crate::engine::{self, Request, SavedImage};
use crate::ours;

/// Stages that are built at once.
const BATCH: usize = 25;

/// What the stages of cases are made of.
struct World {
    context: TempDir,
    /// The lines of the stage `base`.
    base: String,
    /// What every name of an image means.
    image: SavedImage,
    /// The buildkitd that builds instead of the engine, if one does.
    buildkitd: Option<String>,
}

impl World {
    /// A base that is put together from the build context.
    fn new() -> Self {
        let base = "FROM scratch AS base\nCOPY root /\n".to_owned();
        let image = SavedImage { config: Vec::new(), layers: Vec::new() };
        Self { context: context(), base, image, buildkitd: None }
    }
}

/// A stage on top of `base`, without its `FROM`.
#[derive(Clone, Debug)]
struct Case(String);

/// The files of an image by path: a line for each.
type Files = BTreeMap<String, String>;

/// Builds all cases both ways. What we refuse has to fail in the engine, too; of the rest the files have
/// to be the same.
fn compare(world: &World, cases: &[Case], most_refused: usize) {
    let mut refused = Vec::new();
    let mut accepted = Vec::new();
    for case in cases {
        match world.ours(&world.batch(std::slice::from_ref(case))) {
            Ok(_) => accepted.push(case.clone()),
            Err(error) => refused.push((case, error)),
        }
    }
    let mut problems = Vec::new();
    for cases in accepted.chunks(BATCH) {
        let text = world.batch(cases);
        let same = world.engines(&text).is_ok_and(|files| {
            files == world.ours(&text).expect("each of them is built by itself")
        });
        if !same {
            let differ: Vec<String> = cases.iter().filter_map(|case| world.problem(case)).collect();
            let together = || vec![format!("no single one differs, but together:\n{text}")];
            problems.extend(if differ.is_empty() { together() } else { differ });
        }
    }
    for (case, error) in refused.iter().take(most_refused) {
        if let Ok(built) = world.engines(&world.batch(std::slice::from_ref(case))) {
            let base = world.engines(&world.batch(&[Case(String::new())])).unwrap();
            let known: Vec<&str> = base.values().map(|line| without_stage(line)).collect();
            let mut lines = vec![case.0.clone(), format!("  ours:   {error}")];
            let new = built.values().filter(|line| !known.contains(&without_stage(line)));
            lines.extend(new.map(|line| format!("  engine: {line}")));
            problems.push(lines.join("\n"));
        }
    }
    assert!(!accepted.is_empty());
    let count = problems.len();
    assert!(problems.is_empty(), "{count} of {}:\n{}", cases.len(), problems.join("\n---\n"));
}

/// A line of a file without the directory of its case.
fn without_stage(line: &str) -> &str {
    line.split_once('/').map_or("", |(_, rest)| rest)
}

impl World {
    /// How the two differ on one case.
    fn problem(&self, case: &Case) -> Option<String> {
        let text = self.batch(std::slice::from_ref(case));
        let ours = self.ours(&text).expect("it was built before");
        let theirs = match self.engines(&text) {
            Ok(theirs) => theirs,
            Err(error) => return Some(format!("{}\n  engine: {error}", case.0)),
        };
        let mut lines = vec![case.0.clone()];
        for (whose, files, others) in [("ours:  ", &ours, &theirs), ("engine:", &theirs, &ours)] {
            let only = files.iter().filter(|(path, line)| others.get(*path) != Some(line));
            lines.extend(only.map(|(_, line)| format!("  {whose} {line}")));
        }
        (lines.len() > 1).then(|| lines.join("\n"))
    }

    /// One Dockerfile whose image holds the files of all cases.
    fn batch(&self, cases: &[Case]) -> String {
        let mut text = self.base.clone();
        for case in cases {
            text.push_str(&format!("FROM base AS {}\n{}\n", case.name(), case.0));
        }
        text.push_str("FROM scratch\n");
        for case in cases {
            let name = case.name();
            text.push_str(&format!("COPY --from={name} / /{name}/\n"));
        }
        text
    }

    fn engines(&self, dockerfile: &str) -> Result<Files, String> {
        let context = Some(self.context.path());
        let request = Request { dockerfile, context, ..Request::default() };
        let built = match &self.buildkitd {
            Some(address) => engine::build_elsewhere(&request, address),
            None => engine::build(&request),
        };
        Ok(files(&built?.layers))
    }

    fn ours(&self, dockerfile: &str) -> Result<Files, String> {
        let context = Some(self.context.path());
        let request = Request { dockerfile, context, ..Request::default() };
        Ok(files(&ours::build(&request, &self.image)?.layers))
    }
}

impl Case {
    /// A name of its own, also in another batch: the layer cache of Docker 20.10 takes stages for the same
    /// that differ in owners alone.
    fn name(&self) -> String {
        let digest = sha2::Sha256::digest(self.0.as_bytes());
        let digits: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("s{digits}")
    }
}

/// What layers hold on top of each other, read by other means than ours.
fn files(layers: &[Vec<u8>]) -> Files {
    let mut files: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    for layer in layers {
        let below: Vec<Vec<u8>> = files.keys().cloned().collect();
        let hidden = |files: &mut BTreeMap<_, _>, path: &[u8], itself: bool| {
            let inside = [path, b"/"].concat();
            for known in &below {
                if known.starts_with(&inside) || itself && known == path {
                    files.remove(known);
                }
            }
        };
        let mut archive = tar::Archive::new(layer.as_slice());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path_bytes().into_owned();
            let path = path.strip_prefix(b"./").unwrap_or(&path);
            let path = path.strip_suffix(b"/").unwrap_or(path).to_vec();
            let (directory, name) = match path.iter().rposition(|byte| *byte == b'/') {
                Some(slash) => (&path[..slash], &path[slash + 1..]),
                None => (&b""[..], &path[..]),
            };
            if name == b".wh..wh..opq" {
                hidden(&mut files, directory, false);
                continue;
            }
            if let Some(name) = name.strip_prefix(b".wh.") {
                let path = if directory.is_empty() { vec![] } else { [directory, b"/"].concat() };
                hidden(&mut files, &[&path, name].concat(), true);
                continue;
            }
            let kind = entry.header().entry_type();
            if path.is_empty() {
                continue;
            }
            if kind.is_hard_link() {
                let target = entry.link_name_bytes().unwrap().into_owned();
                let target = target.strip_prefix(b"./").unwrap_or(&target).to_vec();
                let line = files[&target].replace(
                    &format!(" {} ", target.escape_ascii()),
                    &format!(" {} ", path.escape_ascii()),
                );
                files.insert(path, line);
                continue;
            }
            let holds = if kind.is_dir() {
                "/".to_owned()
            } else if kind.is_symlink() {
                format!("-> {}", entry.link_name_bytes().unwrap().escape_ascii())
            } else if kind.is_file() {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                format!("= {}", content.escape_ascii())
            } else {
                let header = entry.header();
                let major = header.device_major().ok().flatten().unwrap_or(0);
                let minor = header.device_minor().ok().flatten().unwrap_or(0);
                format!("{kind:?} {major},{minor}")
            };
            if !kind.is_dir() {
                hidden(&mut files, &path, false);
            }
            let header = entry.header();
            let mode = if kind.is_symlink() { 0o777 } else { header.mode().unwrap() & 0o7777 };
            let (uid, gid) = (header.uid().unwrap(), header.gid().unwrap());
            let line = format!("{mode:04o} {uid}:{gid} {} {holds}", path.escape_ascii());
            files.insert(path, line);
        }
    }
    files.into_iter().map(|(path, line)| (path.escape_ascii().to_string(), line)).collect()
}

/// A build context with something of everything.
fn context() -> TempDir {
    let context = tempfile::tempdir().unwrap();
    let root = context.path();
    for (path, text) in [
        ("a.txt", "a"),
        ("b.txt", "b"),
        ("c.md", "c"),
        (".hidden", "h"),
        ("exec.sh", "#!"),
        ("[x].txt", "brackets"),
        ("one/f", "one"),
        ("one/same", "one"),
        ("one/sub/g", "one"),
        ("one/sub/deep/h.md", "one"),
        ("one/sub/deep/i.txt", "one"),
        ("one/read.md", "one"),
        ("two/f", "two"),
        ("two/same/inner", "two"),
        ("two/sub/g2", "two"),
        ("two/sub/deep/j.txt", "two"),
        ("root/usr/bin/tool", "tool"),
        ("root/usr/lib/library", "library"),
        ("root/etc/passwd", "root:x:0:0::/:\napp:x:1000:1001::/:\nmail:x:8:12::/:\n"),
        ("root/etc/group", "root:x:0:\nstaff:x:50:app\n"),
        ("root/data/one/f", "base"),
        ("root/data/file", "base"),
        ("root/srv/keep/file", "base"),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    for path in ["empty", "two/empty", "root/tmp"] {
        fs::create_dir_all(root.join(path)).unwrap();
    }
    for (path, target) in [
        ("to-file", "a.txt"),
        ("to-directory", "one"),
        ("to-link", "to-directory/sub"),
        ("absolute", "/one/sub"),
        ("above", "../../two"),
        ("one/link", "f"),
        ("one/directory-link", "sub"),
        ("one/away", "/etc/passwd"),
        ("one/dangling", "nowhere"),
        ("two/link", "same/inner"),
        ("root/bin", "usr/bin"),
        ("root/lib", "/usr/lib"),
        ("root/data/link", "file"),
        ("root/data/away", "/srv/keep"),
        ("root/data/new", "/srv/made/later"),
        ("root/data/up", "../../../srv"),
        ("root/data/circle", "circle"),
        ("root/data/dangling", "nowhere"),
        ("root/run", "/var/run"),
    ] {
        std::os::unix::fs::symlink(target, root.join(path)).unwrap();
    }
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(root.join("exec.sh"), executable).unwrap();
    fs::write(root.join("files.tar"), archive()).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut packed, &archive()).unwrap();
    fs::write(root.join("files.tgz"), packed.finish().unwrap()).unwrap();
    context
}

/// An archive that replaces and joins things of the base.
fn archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |kind: tar::EntryType, path: &str, mode: u32, holds: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(7);
        header.set_gid(9);
        header.set_mtime(1_000_000_000);
        match kind {
            tar::EntryType::Symlink | tar::EntryType::Link => {
                header.set_size(0);
                archive.append_link(&mut header, path, holds).unwrap();
            }
            _ => {
                header.set_size(holds.len() as u64);
                archive.append_data(&mut header, path, holds.as_bytes()).unwrap();
            }
        }
    };
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    add(Directory, "./", 0o700, "");
    add(Directory, "data/", 0o750, "");
    add(Regular, "data/file", 0o600, "archive");
    add(Link, "data/again", 0o600, "data/file");
    add(Regular, "data/link", 0o4755, "no link any more");
    add(Regular, "implied/directory/file", 0o644, "archive");
    add(Symlink, "data/target", 0o777, "/implied");
    add(Regular, "data/target/through", 0o644, "inside");
    add(Regular, "srv", 0o644, "no directory any more");
    archive.into_inner().unwrap()
}
