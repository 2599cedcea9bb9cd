//! What git says about the project's sources: the commit, the branch, and whether the files are as the
//! commit says.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::revision::{RevisionError, git, output, run, top_level};

/// Where the sources of a project come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// From a git repository.
    Git(GitSource),
    /// From no git repository.
    Elsewhere,
    /// git does not say: why.
    Unreadable(String),
}

/// The state of a git repository and its work tree.
#[derive(Clone, Debug)]
pub struct GitSource {
    /// The repository's top level.
    top: PathBuf,
    /// The commit that is checked out; none where there is no commit yet.
    pub commit: Option<Commit>,
    /// The branch that is checked out; none where `HEAD` is detached.
    pub branch: Option<String>,
    /// The branch that `origin/HEAD` is on.
    pub default_branch: Option<String>,
    /// Whether there is a branch `main`, here or at `origin`.
    pub has_main: bool,
    /// Files that git tracks and that differ from the commit, relative to the top level. Files that git
    /// does not track are not among them.
    pub changed: Vec<String>,
    /// What was found out about other commits: images of one run mostly name the same few.
    compared: Arc<tokio::sync::Mutex<BTreeMap<String, Option<Ordering>>>>,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its full id.
    pub id: String,
    /// When it was committed; none if git does not say.
    pub time: Option<OffsetDateTime>,
}

impl Source {
    /// Asks git about the directory. Fetches nothing and changes nothing.
    pub async fn of(directory: &Path, cancel: &CancellationToken) -> Self {
        if !directory.ancestors().any(|directory| directory.join(".git").exists()) {
            return Self::Elsewhere;
        }
        match GitSource::of(directory, cancel).await {
            Ok(source) => Self::Git(source),
            Err(RevisionError::NoRepository(_)) => Self::Elsewhere,
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }

    /// The repository, if there is one.
    pub fn git(&self) -> Option<&GitSource> {
        match self {
            Self::Git(source) => Some(source),
            _ => None,
        }
    }
}

impl GitSource {
    async fn of(directory: &Path, cancel: &CancellationToken) -> Result<Self, RevisionError> {
        let top = top_level(directory, cancel).await?;
        let status = git(&top).args(["status", "--porcelain=v2", "--branch", "-z"]);
        // Whatever `.gitmodules` says: a file of a submodule can be in a key as well.
        let status = status.args(["--untracked-files=no", "--ignore-submodules=none"]);
        let status = output(status, cancel).await?;
        let Status { head, branch, changed } = Status::read(&status);
        let commit = match head {
            None => None,
            Some(id) => {
                let time = git(&top).args(["show", "--no-patch", "--format=%ct", &id]);
                let time = output(time, cancel).await?;
                Some(Commit { time: timestamp(&time), id })
            }
        };
        let remote = git(&top).args(["symbolic-ref", "--quiet", "refs/remotes/origin/HEAD"]);
        let remote = run(remote, cancel).await?;
        let default_branch =
            remote.stdout.text().trim().strip_prefix("refs/remotes/origin/").map(str::to_owned);
        let main = git(&top).args(["for-each-ref", "refs/heads/main", "refs/remotes/origin/main"]);
        let has_main = !output(main, cancel).await?.is_empty();
        let compared = Arc::default();
        Ok(Self { top, commit, branch, default_branch, has_main, changed, compared })
    }

    /// The commit, if the files that git tracks are as it says.
    pub fn clean_commit(&self) -> Option<&Commit> {
        self.commit.as_ref().filter(|_| self.changed.is_empty())
    }

    /// Whether the commit that is checked out is older than another one (`Less`), newer, or neither.
    /// By descent where git knows both; otherwise, and where a shallow clone hides how they are
    /// related, by the times at which they were committed. `None` where nothing tells, and where the
    /// other is no commit's id: anybody may have written it. git is asked about one commit at a time,
    /// and once about each.
    pub async fn compare(
        &self,
        other: &str,
        other_time: Option<OffsetDateTime>,
        cancel: &CancellationToken,
    ) -> Option<Ordering> {
        let is_id =
            matches!(other.len(), 40 | 64) && other.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            return None;
        }
        let mut compared = self.compared.lock().await;
        if let Some(known) = compared.get(other) {
            return *known;
        }
        let order = self.order(other, other_time, cancel).await;
        if !cancel.is_cancelled() {
            compared.insert(other.to_owned(), order);
        }
        order
    }

    async fn order(
        &self,
        other: &str,
        other_time: Option<OffsetDateTime>,
        cancel: &CancellationToken,
    ) -> Option<Ordering> {
        let ours = self.commit.as_ref()?;
        if ours.id == other {
            return Some(Ordering::Equal);
        }
        let descends = async |old: &str, new: &str| {
            let ask = git(&self.top).args(["merge-base", "--is-ancestor", old, new]);
            run(ask, cancel).await.ok().and_then(|ran| match ran.code {
                Some(0) => Some(true),
                Some(1) => Some(false),
                _ => None,
            })
        };
        match (descends(&ours.id, other).await, descends(other, &ours.id).await) {
            (Some(true), _) => return Some(Ordering::Less),
            (_, Some(true)) => return Some(Ordering::Greater),
            // On different branches, as after a history was written anew.
            (Some(false), Some(false)) if !self.is_shallow(cancel).await => {
                return Some(Ordering::Greater);
            }
            _ => {}
        }
        Some(ours.time?.cmp(&other_time?))
    }

    async fn is_shallow(&self, cancel: &CancellationToken) -> bool {
        let ask = git(&self.top).args(["rev-parse", "--is-shallow-repository"]);
        !matches!(run(ask, cancel).await, Ok(ran) if ran.stdout.bytes == b"false\n")
    }
}

/// What `git status --porcelain=v2 --branch -z` says (git-status(1), *Porcelain Format Version 2*).
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    head: Option<String>,
    branch: Option<String>,
    changed: Vec<String>,
}

impl Status {
    fn read(output: &[u8]) -> Self {
        let mut status = Self::default();
        let mut entries = output.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        while let Some(entry) = entries.next() {
            let fields = |count: usize| entry.splitn(count, ' ').nth(count - 1).map(str::to_owned);
            if let Some(oid) = entry.strip_prefix("# branch.oid ") {
                status.head = Some(oid.to_owned()).filter(|oid| oid != "(initial)");
            } else if let Some(branch) = entry.strip_prefix("# branch.head ") {
                status.branch = Some(branch.to_owned()).filter(|branch| branch != "(detached)");
            } else if entry.starts_with("1 ") {
                status.changed.extend(fields(9));
            } else if entry.starts_with("2 ") {
                status.changed.extend(fields(10));
                // The path that it had before.
                entries.next();
            } else if entry.starts_with("u ") {
                status.changed.extend(fields(11));
            }
        }
        status
    }
}

fn timestamp(printed: &[u8]) -> Option<OffsetDateTime> {
    let seconds = std::str::from_utf8(printed).ok()?.trim().parse().ok()?;
    OffsetDateTime::from_unix_timestamp(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_with_all_kinds_of_changes() {
        let text = "# branch.oid abc\0# branch.head a/b\0# branch.upstream origin/a/b\0# branch.ab +0 -0\0\
                    1 .M N... 100644 100644 100644 a b dir/with space\0\
                    2 R. N... 100644 100644 100644 a b R100 new name\0old name\0\
                    u UU N... 100644 100644 100644 100644 a b c both\0";
        let status = Status::read(text.as_bytes());
        assert_eq!(status.head.as_deref(), Some("abc"));
        assert_eq!(status.branch.as_deref(), Some("a/b"));
        assert_eq!(status.changed, ["dir/with space", "new name", "both"]);
        let empty = Status::read(b"# branch.oid (initial)\0# branch.head (detached)\0");
        assert_eq!(empty, Status::default());
    }
}
