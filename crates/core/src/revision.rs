//! A git revision as a directory, the way a checkout would make it.
//!
//! Nothing of the repository changes: git writes the files into a temporary work tree, with an index of
//! its own, and fetches nothing. Files that git does not track are in no revision.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use crate::process::{Process, ProcessError, ProcessErrorKind, ProcessOutput};

/// Variables that say which repository git works on. Where git runs this program, as it does for a
/// hook, they would lead to another one than the directory does.
const REPOSITORY_VARIABLES: [&str; 7] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
    "GIT_PREFIX",
    "GIT_NAMESPACE",
];

/// Bytes of output that are read where git lists the files of a repository.
pub(crate) const OUTPUT_LIMIT: usize = 256 * 1024 * 1024;

/// Submodules within submodules.
const MAX_DEPTH: usize = 16;

/// The files of a revision; removed when it is dropped.
#[derive(Debug)]
pub struct Checkout {
    directory: tempfile::TempDir,
    top: PathBuf,
    commit: String,
}

/// Why there is no such directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevisionError {
    /// The directory is in no repository.
    #[error("{} is in no git repository", .0.display())]
    NoRepository(PathBuf),
    /// The repository has no files beside it.
    #[error("the git repository of {} is bare", .0.display())]
    Bare(PathBuf),
    /// The repository does not know the revision.
    #[error("git knows no revision {revision:?}{}", if *.shallow {
        ": the clone is shallow, and may lack it"
    } else {
        ""
    })]
    Unknown {
        /// What was asked for.
        revision: String,
        /// Whether older commits were left out when the repository was cloned.
        shallow: bool,
    },
    /// A submodule is there, but lacks the commit.
    #[error("the submodule {} lacks the commit {commit}", path.display())]
    Submodule {
        /// Where it is.
        path: PathBuf,
        /// The commit that belongs to the revision.
        commit: String,
    },
    /// git did not do what it should.
    #[error("git failed: {0}")]
    Git(String),
    /// git cannot be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The files cannot be written.
    #[error("cannot write to {}: {error}", directory.display())]
    Io {
        /// Where.
        directory: PathBuf,
        /// What happened.
        error: std::io::Error,
    },
}

impl Checkout {
    /// Writes the files of `revision` of the repository that `directory` is in to a new directory in
    /// `temporary`: all of them, as build contexts may lie anywhere, and those of the submodules that
    /// are initialised.
    ///
    /// # Errors
    ///
    /// As [`RevisionError`] says.
    pub async fn new(
        directory: &Path,
        revision: &str,
        temporary: &Path,
        cancel: &CancellationToken,
    ) -> Result<Self, RevisionError> {
        let io = |error| RevisionError::Io { directory: temporary.to_owned(), error };
        let top = top_level(directory, cancel).await?;
        let commit = resolve(&top, revision, cancel).await?;
        let target =
            tempfile::Builder::new().prefix("dockit-").tempdir_in(temporary).map_err(io)?;
        let checkout = Self { directory: target, top, commit };
        let tree = checkout.root();
        std::fs::create_dir(&tree).map_err(io)?;
        checkout.write(&checkout.top, &checkout.commit, &tree, 0, cancel).await?;
        Ok(checkout)
    }

    /// The commit's full id.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// The directory of the files: the counterpart of the repository's top level.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    /// Where a path of the repository's work tree lies in the revision; none for one outside of it.
    pub fn counterpart(&self, path: &Path) -> Option<PathBuf> {
        let parent = path.parent()?.canonicalize().ok()?;
        let below = parent.strip_prefix(&self.top).ok()?;
        Some(self.root().join(below).join(path.file_name()?))
    }

    /// Whether a path lies among the files of the revision, wherever its links lead, and whether or not
    /// there is something.
    pub fn has(&self, path: &Path) -> bool {
        let root = self.root().canonicalize();
        root.is_ok_and(|root| followed(path).is_some_and(|path| path.starts_with(root)))
    }

    /// Writes a commit of the repository at `repository` to `tree`, then its submodules.
    async fn write(
        &self,
        repository: &Path,
        commit: &str,
        tree: &Path,
        depth: usize,
        cancel: &CancellationToken,
    ) -> Result<(), RevisionError> {
        let index = self.directory.path().join("index");
        let git_dir =
            output(git(repository).args(["rev-parse", "--absolute-git-dir"]), cancel).await?;
        let git_dir = path_line(git_dir);
        let git = || {
            git(tree)
                .env("GIT_DIR", &git_dir)
                .env("GIT_WORK_TREE", tree)
                .env("GIT_INDEX_FILE", &index)
                .output_limit(OUTPUT_LIMIT)
        };
        match std::fs::remove_file(&index) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(RevisionError::Io { directory: index, error });
            }
            _ => {}
        }
        output(git().args(["read-tree", commit]), cancel).await?;
        output(git().args(["checkout-index", "--all", "--force", "--quiet"]), cancel).await?;
        let listed = output(git().args(["ls-files", "--stage", "-z"]), cancel).await?;
        for (path, commit) in submodules(&listed) {
            let module = repository.join(&path);
            // One that is not initialised is an empty directory in every checkout.
            if depth >= MAX_DEPTH || !module.join(".git").exists() {
                continue;
            }
            if resolve(&module, &commit, cancel).await.is_err() {
                let path = module.strip_prefix(&self.top).unwrap_or(&module).to_owned();
                return Err(RevisionError::Submodule { path, commit });
            }
            let tree = tree.join(&path);
            std::fs::create_dir_all(&tree)
                .map_err(|error| RevisionError::Io { directory: tree.clone(), error })?;
            Box::pin(self.write(&module, &commit, &tree, depth + 1, cancel)).await?;
        }
        Ok(())
    }
}

pub(crate) async fn top_level(
    directory: &Path,
    cancel: &CancellationToken,
) -> Result<PathBuf, RevisionError> {
    let ran = run(git(directory).args(["rev-parse", "--show-toplevel"]), cancel).await?;
    if ran.succeeded() {
        return Ok(path_line(ran.stdout.bytes));
    }
    let bare = run(git(directory).args(["rev-parse", "--is-bare-repository"]), cancel).await?;
    Err(if bare.stdout.bytes == b"true\n" {
        RevisionError::Bare(directory.to_owned())
    } else if ran.stderr.text().contains("not a git repository") {
        RevisionError::NoRepository(directory.to_owned())
    } else {
        failure(&ran)
    })
}

pub(crate) async fn resolve(
    repository: &Path,
    revision: &str,
    cancel: &CancellationToken,
) -> Result<String, RevisionError> {
    // Nothing that could be an option; no revision begins so.
    if !revision.starts_with('-') {
        let name = format!("{revision}^{{commit}}");
        let ran =
            run(git(repository).args(["rev-parse", "--verify", "--quiet", &name]), cancel).await?;
        if ran.succeeded() {
            return Ok(ran.stdout.text().trim_end().to_owned());
        }
    }
    let shallow =
        run(git(repository).args(["rev-parse", "--is-shallow-repository"]), cancel).await?;
    let shallow = shallow.stdout.bytes == b"true\n";
    Err(RevisionError::Unknown { revision: revision.to_owned(), shallow })
}

/// Paths and commits of the submodules in git's list of what is in an index.
fn submodules(listed: &[u8]) -> Vec<(PathBuf, String)> {
    let entries = listed.split(|byte| *byte == 0).filter_map(|entry| {
        let tab = entry.iter().position(|byte| *byte == b'\t')?;
        let (head, path) = (std::str::from_utf8(&entry[..tab]).ok()?, &entry[tab + 1..]);
        let mut words = head.split(' ');
        (words.next() == Some("160000")).then_some(())?;
        Some((PathBuf::from(os_string(path)), words.next()?.to_owned()))
    });
    entries.collect()
}

/// git in a directory, which neither asks nor fetches nor refreshes what is not ours.
pub(crate) fn git(directory: &Path) -> Process {
    let process = Process::new("git", directory)
        .args(["-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false"])
        // No hook of the repository runs, and no transport is allowed: an older git, which does not know
        // the variable below, would fetch what a partial clone lacks.
        .args(["-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never"])
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        // What is not there would be fetched.
        .env("GIT_LFS_SKIP_SMUDGE", "1")
        .env("LC_ALL", "C");
    REPOSITORY_VARIABLES.iter().fold(process, |process, name| process.without_env(name))
}

pub(crate) async fn run(
    process: Process,
    cancel: &CancellationToken,
) -> Result<ProcessOutput, RevisionError> {
    Ok(process.run(cancel).await?)
}

pub(crate) async fn output(
    process: Process,
    cancel: &CancellationToken,
) -> Result<Vec<u8>, RevisionError> {
    let ran = run(process, cancel).await?;
    if !ran.succeeded() {
        return Err(failure(&ran));
    }
    if ran.stdout.truncated {
        return Err(RevisionError::Git("it said more than can be read".to_owned()));
    }
    Ok(ran.stdout.bytes)
}

fn failure(ran: &ProcessOutput) -> RevisionError {
    let text = ran.stderr.text();
    let line = text.lines().find(|line| line.starts_with("fatal: ") || line.starts_with("error: "));
    let line = line.or_else(|| text.lines().next()).unwrap_or("it did not say why");
    RevisionError::Git(line.trim_start_matches("fatal: ").trim_start_matches("error: ").to_owned())
}

impl RevisionError {
    /// Whether the run was given up.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Process(ProcessError { kind: ProcessErrorKind::Cancelled, .. }))
    }
}

/// Where a path leads, also if nothing is there; none if its links turn in circles.
fn followed(path: &Path) -> Option<PathBuf> {
    const MAX_LINKS: usize = 40;
    let mut links = 0;
    let mut found = PathBuf::new();
    // What is still to be walked, the next part last.
    let parts = |path: &Path| -> Vec<PathBuf> {
        path.components().rev().map(|part| PathBuf::from(part.as_os_str())).collect()
    };
    let mut waiting = parts(path);
    while let Some(part) = waiting.pop() {
        if part.as_os_str() == ".." {
            found.pop();
            continue;
        }
        let next = found.join(part);
        match std::fs::read_link(&next) {
            Ok(target) => {
                links += 1;
                (links <= MAX_LINKS).then_some(())?;
                waiting.extend(parts(&target));
            }
            Err(_) => found = next,
        }
    }
    Some(found)
}

/// A path that git printed on a line.
fn path_line(mut line: Vec<u8>) -> PathBuf {
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    os_string(&line).into()
}

#[cfg(unix)]
pub(crate) fn os_string(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_owned())
}

#[cfg(not(unix))]
pub(crate) fn os_string(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}
