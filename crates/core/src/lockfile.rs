//! `dockit.lock`: what the network told, written down.
//!
//! A key is a pure function of the work tree and this file, so everything about an external base
//! image that a key reads stands here. Entries are sorted and one block each, so that two branches
//! that add entries merge.

mod entries;
mod text;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use dockit_registry::{Digest, Platform, Reference};

use crate::epoch::Epoch;
use crate::image_name::ImageName;
use crate::key::ImageKey;
use crate::project::Project;

/// What a lockfile is called where nothing else is said.
pub(crate) const LOCKFILE: &str = "dockit.lock";

/// The contents of a lockfile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lockfile {
    bases: BTreeMap<Reference, LockedBase>,
    images: BTreeMap<ImageName, LockedImage>,
    epochs: BTreeMap<ImageName, Epoch>,
}

/// What an external image reference stood for when it was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedBase {
    /// Digest of the index, or of the manifest where the reference names no index.
    pub digest: Digest,
    /// The manifests of the platforms that the project uses.
    pub platforms: BTreeMap<Platform, LockedPlatform>,
}

/// One platform's manifest of an external image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedPlatform {
    /// Digest of the platform's manifest.
    pub digest: Digest,
    /// The image's `ENV`, as `NAME=value`.
    pub env: Vec<String>,
    /// The image's `ONBUILD` triggers.
    pub onbuild: Vec<String>,
}

/// An image of the project as it was last recorded with `--pin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedImage {
    /// Its key.
    pub key: ImageKey,
    /// Its reference with content tag and digest.
    pub reference: Reference,
}

/// Why a lockfile could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", file.display())]
pub struct LockfileError {
    file: PathBuf,
    #[source]
    kind: LockfileErrorKind,
}

#[derive(Debug, thiserror::Error)]
enum LockfileErrorKind {
    #[error("cannot read: {0}")]
    Read(std::io::Error),
    #[error("cannot write: {0}")]
    Write(std::io::Error),
    #[error("line {line}: {message}")]
    Syntax { line: usize, message: String },
    #[error("version {0} is not known to this version of dockit")]
    Version(u64),
    #[error("line {line}: {name} is there twice, first on line {first}")]
    Twice { line: usize, name: String, first: usize },
    #[error("line {line}: a merge left both sides here")]
    Conflict { line: usize },
}

impl LockfileError {
    /// Whether a merge left it so: with marks of a conflict, or with an entry twice.
    pub fn is_conflict(&self) -> bool {
        matches!(self.kind, LockfileErrorKind::Conflict { .. } | LockfileErrorKind::Twice { .. })
    }
}

impl Lockfile {
    /// The lockfile of a project; empty if it [keeps nothing](Project::in_memory).
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn of(project: &Project) -> Result<Self, LockfileError> {
        if project.in_memory { Ok(Self::default()) } else { Self::load(&project.lockfile) }
    }

    /// Reads the lockfile; a file that is not there is an empty lockfile.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not one that dockit wrote.
    pub fn load(file: &Path) -> Result<Self, LockfileError> {
        let failed = |kind| LockfileError { file: file.to_owned(), kind };
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(&text).map_err(failed),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(failed(LockfileErrorKind::Read(error))),
        }
    }

    /// Changes the lockfile: reads it anew, applies `change`, and writes it if that changed anything.
    ///
    /// Processes that change it at the same time wait for each other, so that no entry is lost. A
    /// reader sees the old file or the new one, whole. `state` is a directory of dockit's own on the
    /// same file system; it is made if it is missing.
    ///
    /// # Errors
    ///
    /// The file cannot be read, a directory is missing, read-only or full.
    pub fn edit(
        file: &Path,
        state: &Path,
        change: impl FnOnce(&mut Self),
    ) -> Result<Self, LockfileError> {
        let failed =
            |error| LockfileError { file: file.to_owned(), kind: LockfileErrorKind::Write(error) };
        prepare_state(state).map_err(failed)?;
        let guard = open_lock(&state.join("lock")).map_err(failed)?;
        guard.lock().map_err(failed)?;
        let before = Self::load(file)?;
        let mut after = before.clone();
        change(&mut after);
        if after != before {
            after.write(file, state).map_err(failed)?;
        }
        Ok(after)
    }

    /// The temporary file lies in dockit's own directory: one beside the lockfile would be part of
    /// a build context for a moment, and change keys.
    fn write(&self, file: &Path, state: &Path) -> std::io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("dockit.lock.");
        // A temporary file is private by default; a lockfile is an ordinary file of the project.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut temporary = builder.tempfile_in(state)?;
        temporary.write_all(self.to_text().as_bytes())?;
        temporary.as_file().sync_all()?;
        temporary.persist(file).map_err(|error| error.error)?;
        Ok(())
    }

    /// The entry of an external image, if there is one for this platform.
    pub fn base(&self, reference: &Reference, platform: &Platform) -> Option<&LockedPlatform> {
        self.bases.get(reference)?.platforms.get(platform)
    }

    /// The entry of an external image for all platforms.
    pub fn base_entry(&self, reference: &Reference) -> Option<&LockedBase> {
        self.bases.get(reference)
    }

    /// Records what an external image stands for on a platform. What is recorded already stays: one
    /// reference means one index, until somebody moves it deliberately.
    pub fn lock_base(
        &mut self,
        reference: Reference,
        digest: Digest,
        platform: Platform,
        entry: LockedPlatform,
    ) {
        let base = self
            .bases
            .entry(reference)
            .or_insert_with(|| LockedBase { digest: digest.clone(), platforms: BTreeMap::new() });
        if base.digest == digest {
            base.platforms.entry(platform).or_insert(entry);
        }
    }

    /// The recorded image of this name.
    pub fn image(&self, name: &ImageName) -> Option<&LockedImage> {
        self.images.get(name)
    }

    /// Records an image.
    pub fn update_image(&mut self, name: ImageName, image: LockedImage) {
        self.images.insert(name, image);
    }

    /// The recorded epoch of an image with a `refresh`.
    pub fn epoch(&self, image: &ImageName) -> Option<Epoch> {
        self.epochs.get(image).copied()
    }

    /// Records the epoch that counts for an image until another one is recorded.
    pub fn set_epoch(&mut self, image: ImageName, epoch: Epoch) {
        self.epochs.insert(image, epoch);
    }
}

/// Makes dockit's own directory, which tells git by itself that it is none of its business.
pub(crate) fn prepare_state(state: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(state)?;
    // A new file is none that a link, which may be committed, leads to.
    match std::fs::File::create_new(state.join(".gitignore")) {
        Ok(mut file) => file.write_all(b"*\n"),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Opens a file that is there to be locked. What is in it stays, and a link is an error: it may be
/// committed, and lead to any file of who runs this.
pub(crate) fn open_lock(file: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.custom_flags(flags.bits().cast_signed());
    }
    options.open(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: &str) -> Digest {
        format!("sha256:{}", byte.repeat(32)).parse().unwrap()
    }

    fn example() -> Lockfile {
        let mut lockfile = Lockfile::default();
        for (name, byte) in [("debian:bookworm-slim", "aa"), ("alpine:3", "bb")] {
            lockfile.lock_base(
                name.parse().unwrap(),
                digest(byte),
                "linux/amd64".parse().unwrap(),
                LockedPlatform {
                    digest: digest("cc"),
                    env: vec!["PATH=/bin".into(), "ODD=a \"b\"\n\\c\u{1}".into()],
                    onbuild: vec![],
                },
            );
        }
        let key: ImageKey = format!("k1:{}", "12".repeat(32)).parse().unwrap();
        for (name, epoch) in
            [("weekly", "2026-W47"), ("daily", "2026-11-21"), ("monthly", "2026-11")]
        {
            lockfile.set_epoch(name.parse().unwrap(), epoch.parse().unwrap());
        }
        lockfile.update_image(
            "base".parse().unwrap(),
            LockedImage {
                key,
                reference: format!("r.example/base:{}@{}", key.tag(), digest("dd"))
                    .parse()
                    .unwrap(),
            },
        );
        lockfile
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let lockfile = example();
        assert_eq!(Lockfile::parse(&lockfile.to_text()).unwrap(), lockfile);
    }

    #[test]
    fn entries_are_sorted_blocks() {
        let text = example().to_text();
        let alpine = text.find("docker.io/library/alpine:3").unwrap();
        assert!(alpine < text.find("docker.io/library/debian:bookworm-slim").unwrap());
        assert_eq!(text.matches("\n\n[[base]]\n").count(), 2);
    }

    #[test]
    fn an_entry_never_moves_by_itself() {
        let mut lockfile = example();
        let debian: Reference = "debian:bookworm-slim".parse().unwrap();
        let (arm, amd) = ("linux/arm64".parse().unwrap(), "linux/amd64".parse().unwrap());
        let entry = LockedPlatform { digest: digest("ee"), env: vec![], onbuild: vec![] };
        lockfile.lock_base(debian.clone(), digest("ff"), arm, entry.clone());
        assert_eq!(lockfile, example(), "another index");
        let amd: Platform = amd;
        lockfile.lock_base(debian.clone(), digest("aa"), amd.clone(), entry.clone());
        assert_eq!(lockfile, example(), "another manifest");
        let arm: Platform = "linux/arm64".parse().unwrap();
        lockfile.lock_base(debian.clone(), digest("aa"), arm.clone(), entry.clone());
        assert_eq!(lockfile.base(&debian, &arm), Some(&entry));
        assert!(lockfile.base(&debian, &amd).is_some());
    }

    #[test]
    fn damage_is_an_error_with_its_line() {
        let error = |text: &str| Lockfile::parse(text).unwrap_err().to_string();
        assert!(error("version = 1\n[[base]]\nreference = \"x:y\"\n").contains("line 2"));
        assert!(error("version = 2\n").contains("version 2"));
        assert!(error("<<<<<<< HEAD\nversion = 1\n").contains("line 1"));
        let twice = example().to_text();
        let block = &twice[twice.find("[[base]]").unwrap()..twice.rfind("[[image]]").unwrap()];
        assert!(error(&format!("{twice}\n{block}")).contains("there twice"));
    }

    #[test]
    fn editing_replaces_the_file_whole_and_a_missing_file_is_empty() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("dockit.lock");
        let state = directory.path().join(".dockit");
        assert_eq!(Lockfile::load(&file).unwrap(), Lockfile::default());
        Lockfile::edit(&file, &state, |_| {}).unwrap();
        assert!(!file.exists(), "nothing to write");
        std::fs::write(&file, "version = 1\n").unwrap();
        Lockfile::edit(&file, &state, |lockfile| *lockfile = example()).unwrap();
        assert_eq!(Lockfile::load(&file).unwrap(), example());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_written_through_links_in_the_state_directory() {
        let directory = tempfile::tempdir().unwrap();
        let (file, state) = (directory.path().join("dockit.lock"), directory.path().join("state"));
        let theirs = directory.path().join("theirs");
        std::fs::write(&theirs, "theirs").unwrap();
        std::fs::create_dir(&state).unwrap();
        std::os::unix::fs::symlink(&theirs, state.join("lock")).unwrap();
        std::os::unix::fs::symlink(directory.path().join("new"), state.join(".gitignore")).unwrap();
        Lockfile::edit(&file, &state, |lockfile| *lockfile = example()).unwrap_err();
        assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "theirs");
        assert!(!directory.path().join("new").exists());
        std::fs::remove_file(state.join("lock")).unwrap();
        Lockfile::edit(&file, &state, |lockfile| *lockfile = example()).unwrap();
    }

    #[test]
    fn edits_at_the_same_time_lose_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (file, state) = (directory.path().join("dockit.lock"), directory.path().join("state"));
        std::thread::scope(|scope| {
            for index in 0..16 {
                let (file, state) = (&file, &state);
                scope.spawn(move || {
                    let reference: Reference = format!("image{index}:1").parse().unwrap();
                    let entry =
                        LockedPlatform { digest: digest("aa"), env: vec![], onbuild: vec![] };
                    let platform = "linux/amd64".parse().unwrap();
                    Lockfile::edit(file, state, |lockfile| {
                        lockfile.lock_base(reference, digest("bb"), platform, entry);
                    })
                    .unwrap();
                });
            }
        });
        assert_eq!(Lockfile::load(&file).unwrap().bases.len(), 16);
    }
}
