//! A project that is built: the tree of its build context, and what the build is told besides.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::{self, Debug, Formatter};
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use dockit_registry::Digest;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};

/// Where a Dockerfile says this, each build under test has a text of its own, so that it finds
/// nothing of another test in the layer cache.
pub const NONCE: &str = "@nonce@";

/// A `FROM` that says this means the image with a shell that the engine was given.
pub const BASE: &str = "@base@";

/// The time of files unless a row says otherwise: 2020-01-01.
const TIME: u64 = 1_577_836_800;

/// A build context, and what a build of it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// By path in the build context.
    tree: BTreeMap<Vec<u8>, Entry>,
    /// Its path in the build context.
    pub dockerfile: String,
    /// The stage to build.
    pub target: Option<String>,
    /// The platform to build for.
    pub platform: String,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    root_mode: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    node: Node,
    mode: u32,
    time: u64,
    owner: u32,
    attribute: Option<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    File(Content),
    Symlink(Vec<u8>),
    /// To another file of the tree, which sorts before it.
    Hardlink(Vec<u8>),
    Fifo,
    Socket,
    Device,
}

#[derive(Clone, PartialEq, Eq)]
struct Content(Vec<u8>);

/// Large ones by their digest.
impl Debug for Content {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.len() > 4096 {
            return write!(f, "{}", Digest::of(&self.0));
        }
        self.0.fmt(f)
    }
}

impl State {
    /// A context with this Dockerfile and these files.
    pub fn new(dockerfile: &str, files: &[(&str, &str)]) -> Self {
        let mut state = Self {
            tree: BTreeMap::new(),
            dockerfile: "Dockerfile".to_owned(),
            target: None,
            platform: "linux/amd64".to_owned(),
            args: BTreeMap::new(),
            root_mode: 0o755,
        };
        state.write("Dockerfile", dockerfile);
        for (path, content) in files {
            state.write(path, content);
        }
        state
    }

    /// Writes a file; one that is there keeps its mode.
    pub fn write(&mut self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        let path = path.as_ref();
        let mode = self.tree.get(path).map_or(0o644, |entry| entry.mode);
        self.put(path, Node::File(Content(content.as_ref().to_vec())), mode);
    }

    /// Makes an empty directory.
    pub fn mkdir(&mut self, path: impl AsRef<[u8]>) {
        self.put(path.as_ref(), Node::Directory, 0o755);
    }

    /// Makes a symbolic link, in place of what is there.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.put(path.as_bytes(), Node::Symlink(target.as_bytes().to_vec()), 0o777);
    }

    /// Makes another name of a file.
    pub fn hardlink(&mut self, path: &str, to: &str) {
        self.put(path.as_bytes(), Node::Hardlink(to.as_bytes().to_vec()), 0o644);
    }

    /// Makes a fifo.
    pub fn fifo(&mut self, path: &str) {
        self.put(path.as_bytes(), Node::Fifo, 0o644);
    }

    /// Makes a socket.
    pub fn socket(&mut self, path: &str) {
        self.put(path.as_bytes(), Node::Socket, 0o644);
    }

    /// Makes a character device.
    pub fn device(&mut self, path: &str) {
        self.put(path.as_bytes(), Node::Device, 0o644);
    }

    /// Gives a path, or the context with `.`, a mode.
    pub fn chmod(&mut self, path: &str, mode: u32) {
        if path == "." {
            self.root_mode = mode;
        } else {
            self.entry(path).mode = mode;
        }
    }

    /// Gives a path an owner and group.
    pub fn chown(&mut self, path: &str, owner: u32) {
        self.entry(path).owner = owner;
    }

    /// Gives a path a later time.
    pub fn touch(&mut self, path: &str) {
        self.entry(path).time += 1000;
    }

    /// Gives a file an extended attribute.
    pub fn set_attribute(&mut self, path: &str, name: &str, value: &str) {
        self.entry(path).attribute = Some((name.to_owned(), value.to_owned()));
    }

    /// With everything below it.
    pub fn remove(&mut self, path: impl AsRef<[u8]>) {
        let path = path.as_ref();
        assert!(self.has(path), "{path:?} is not there to be removed");
        self.tree.retain(|entry, _| !is_at_or_below(entry, path));
    }

    /// With everything below it.
    pub fn rename(&mut self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) {
        let (from, to) = (from.as_ref(), to.as_ref());
        assert!(self.has(from), "{from:?} is not there to be renamed");
        let old = std::mem::take(&mut self.tree);
        for (path, entry) in old {
            if is_at_or_below(&path, from) {
                self.add_parents(to);
                self.tree.insert([to, &path[from.len()..]].concat(), entry);
            } else {
                self.tree.insert(path, entry);
            }
        }
    }

    /// In a file's text, everywhere; the text must be there.
    pub fn replace(&mut self, path: &str, from: &str, to: &str) {
        let text = self.text(path);
        assert!(text.contains(from), "{path} has no {from:?}");
        self.write(path, text.replace(from, to));
    }

    /// Puts text in front of a file's.
    pub fn prepend(&mut self, path: &str, text: &str) {
        self.write(path, format!("{text}{}", self.text(path)));
    }

    /// Puts text behind a file's.
    pub fn append(&mut self, path: &str, text: &str) {
        self.write(path, format!("{}{text}", self.text(path)));
    }

    /// Gives a build argument.
    pub fn arg(&mut self, name: &str, value: &str) {
        self.args.insert(name.to_owned(), value.to_owned());
    }

    /// A file's text.
    pub fn text(&self, path: &str) -> String {
        match self.tree.get(path.as_bytes()).map(|entry| &entry.node) {
            Some(Node::File(content)) => String::from_utf8(content.0.clone()).unwrap(),
            _ => panic!("{path} is no file"),
        }
    }

    /// Whether there is something.
    pub fn has(&self, path: impl AsRef<[u8]>) -> bool {
        self.tree.contains_key(path.as_ref())
    }

    /// Whether there is a file.
    pub fn is_file(&self, path: &str) -> bool {
        self.tree.get(path.as_bytes()).is_some_and(|entry| matches!(entry.node, Node::File(_)))
    }

    /// Whether nothing is there, and nothing but directories above it.
    pub fn is_free(&self, path: &str) -> bool {
        let mut parents = path.match_indices('/').map(|(end, _)| &path.as_bytes()[..end]);
        !self.has(path)
            && parents.all(|parent| {
                self.tree.get(parent).is_none_or(|entry| entry.node == Node::Directory)
            })
    }

    /// Everything in the context.
    pub fn paths(&self) -> Vec<String> {
        self.tree.keys().map(|path| String::from_utf8(path.clone()).unwrap()).collect()
    }

    /// A digest of everything in it, by which a record knows what it is about.
    pub(crate) fn fingerprint(&self) -> String {
        // Where the format of `Debug` ever changes, verdicts have to be recorded anew; nothing wrong
        // is concluded.
        let digest = Digest::of(format!("{self:?}").as_bytes());
        digest.as_str().trim_start_matches("sha256:").to_owned()
    }

    /// Makes the build context in a directory, which must not exist.
    pub(crate) fn write_to(&self, context: &Path, nonce: &str, base: &str) {
        fs::create_dir(context).unwrap();
        let at = |path: &[u8]| context.join(OsStr::from_bytes(path));
        for (path, entry) in &self.tree {
            let file = at(path);
            match &entry.node {
                Node::Directory => fs::create_dir(&file).unwrap(),
                Node::File(content) => {
                    let content = if path == self.dockerfile.as_bytes() {
                        let text = String::from_utf8(content.0.clone()).unwrap();
                        text.replace(NONCE, nonce).replace(BASE, base).into_bytes()
                    } else {
                        content.0.clone()
                    };
                    fs::write(&file, content).unwrap();
                }
                Node::Symlink(target) => symlink(OsStr::from_bytes(target), &file).unwrap(),
                Node::Hardlink(to) => fs::hard_link(at(to), &file).unwrap(),
                Node::Fifo => make_node(&file, FileType::Fifo, 0),
                Node::Socket => drop(UnixListener::bind(&file).unwrap()),
                Node::Device => make_node(&file, FileType::CharacterDevice, makedev(1, 3)),
            }
            if entry.owner != 0 {
                let owner = Some(entry.owner);
                std::os::unix::fs::lchown(&file, owner, owner).unwrap();
            }
            if let Some((name, value)) = &entry.attribute {
                setxattr(&file, name, value.as_bytes(), XattrFlags::empty()).unwrap();
            }
        }
        // What is below a directory changes its time, and may not be reached through its mode.
        for (path, entry) in self.tree.iter().rev() {
            if matches!(entry.node, Node::File(_) | Node::Directory | Node::Hardlink(_)) {
                let file = at(path);
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(entry.time);
                File::open(&file).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
                fs::set_permissions(&file, Permissions::from_mode(entry.mode)).unwrap();
            }
        }
        fs::set_permissions(context, Permissions::from_mode(self.root_mode)).unwrap();
    }

    fn put(&mut self, path: &[u8], node: Node, mode: u32) {
        self.add_parents(path);
        self.tree
            .insert(path.to_vec(), Entry { node, mode, time: TIME, owner: 0, attribute: None });
    }

    fn add_parents(&mut self, path: &[u8]) {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for end in slashes.map(|(index, _)| index).collect::<Vec<_>>() {
            self.tree.entry(path[..end].to_vec()).or_insert(Entry {
                node: Node::Directory,
                mode: 0o755,
                time: TIME,
                owner: 0,
                attribute: None,
            });
        }
    }

    fn entry(&mut self, path: &str) -> &mut Entry {
        self.tree.get_mut(path.as_bytes()).unwrap_or_else(|| panic!("{path} is not there"))
    }
}

fn is_at_or_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

fn make_node(file: &Path, kind: FileType, device: u64) {
    mknodat(CWD, file, kind, Mode::from_raw_mode(0o644), device).unwrap();
}
