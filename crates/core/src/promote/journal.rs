//! What a promotion wants and what was there before, on the disk before the first tag is put.
//!
//! `promotions/current.json` in the project's [state directory](crate::Project::state_directory) is there
//! from before the first tag is put until the last one is where it belongs, or back. Then it is kept as
//! `promotions/ID.json`. Which tags were moved so far is not in it: the registry is asked for that.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use dockit_registry::{Digest, RawManifest, Reference, Repository, Tag};
use serde::{Deserialize, Serialize};

use super::error::PromoteError;
use crate::lockfile::{open_lock, prepare_state};
use crate::project::Project;

const SCHEMA: &str = "dockit.promotion-journal/1";
const DIRECTORY: &str = "promotions";
const CURRENT: &str = "current.json";

/// The journals of a project, for this process alone. The operating system's lock on `promotions/lock`
/// ends with the process, however that ends.
#[derive(Debug)]
pub(super) struct Journals {
    directory: PathBuf,
    _guard: File,
}

/// How far a promotion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// Tags are being put.
    Promoting,
    /// They are being put back.
    RollingBack,
    /// All are where they belong.
    Promoted,
    /// All are back, as far as nobody else moved them.
    RolledBack,
}

/// A promotion in writing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    schema: String,
    pub(super) id: String,
    /// RFC 3339.
    pub(super) started: String,
    pub(super) state: State,
    pub(super) revision: Option<String>,
    /// RFC 3339, of the revision.
    pub(super) committed: Option<String>,
    /// Whether tags that were absent stay when the others are put back.
    pub(super) keep_new_tags: bool,
    pub(super) gates: Vec<JournalGate>,
    moves: Vec<JournalMove>,
}

/// How a gate ended, or why it was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JournalGate {
    pub(super) set: String,
    pub(super) name: String,
    pub(super) skipped: Option<String>,
}

/// One tag of one image, with what it is on and what it will be on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) set: String,
    pub(super) image: String,
    pub(super) source: Reference,
    pub(super) repository: Repository,
    pub(super) tag: Tag,
    /// With its bytes: a registry may collect what no tag leads to.
    pub(super) old: Option<RawManifest>,
    pub(super) new: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct JournalMove {
    set: String,
    image: String,
    source: String,
    target: String,
    old: Option<StoredManifest>,
    new: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredManifest {
    digest: String,
    media_type: String,
    /// Manifests are JSON, and JSON is UTF-8 (image spec 1.1, *Media Types*; RFC 8259).
    text: String,
}

impl Move {
    pub(super) fn target(&self) -> Reference {
        self.repository.with_tag(self.tag.clone())
    }

    pub(super) fn old_digest(&self) -> Option<&Digest> {
        self.old.as_ref().map(RawManifest::digest)
    }

    pub(super) fn changes(&self) -> bool {
        self.old_digest() != Some(&self.new)
    }

    fn written(&self) -> Result<JournalMove, String> {
        let old = self.old.as_ref().map(|old| {
            let text = std::str::from_utf8(old.bytes())
                .map_err(|_| format!("the manifest {} is no text", old.digest()))?;
            Ok::<_, String>(StoredManifest {
                digest: old.digest().to_string(),
                media_type: old.media_type().to_owned(),
                text: text.to_owned(),
            })
        });
        Ok(JournalMove {
            set: self.set.clone(),
            image: self.image.clone(),
            source: self.source.to_string(),
            target: self.target().to_string(),
            old: old.transpose()?,
            new: self.new.to_string(),
        })
    }
}

impl JournalMove {
    fn read(&self) -> Result<Move, String> {
        let parsed = |error: &dyn std::fmt::Display| error.to_string();
        let target: Reference = self.target.parse().map_err(|error| parsed(&error))?;
        let tag = target.tag().cloned().ok_or_else(|| format!("{target} has no tag"))?;
        let old = self.old.as_ref().map(|old| {
            let manifest = RawManifest::new(old.media_type.clone(), old.text.clone().into_bytes());
            if manifest.digest().as_str() == old.digest {
                Ok(manifest)
            } else {
                Err(format!("the manifest {} was changed", old.digest))
            }
        });
        Ok(Move {
            set: self.set.clone(),
            image: self.image.clone(),
            source: self.source.parse().map_err(|error| parsed(&error))?,
            repository: target.repository().clone(),
            tag,
            old: old.transpose()?,
            new: self.new.parse().map_err(|error| parsed(&error))?,
        })
    }
}

impl Journal {
    /// The journal of a promotion that begins now.
    pub(super) fn new(id: String, started: String, moves: &[Move]) -> Result<Self, String> {
        let moves = moves.iter().map(Move::written).collect::<Result<_, _>>()?;
        Ok(Self {
            schema: SCHEMA.to_owned(),
            id,
            started,
            state: State::Promoting,
            revision: None,
            committed: None,
            keep_new_tags: false,
            gates: Vec::new(),
            moves,
        })
    }

    pub(super) fn moves(&self) -> Result<Vec<Move>, String> {
        self.moves.iter().map(JournalMove::read).collect()
    }
}

impl Journals {
    /// The project's journals, unless another process has them.
    pub(super) fn open(project: &Project) -> Result<Self, PromoteError> {
        let state = project.state_directory();
        let directory = state.join(DIRECTORY);
        let failed = |error: io::Error| PromoteError::Journal {
            file: directory.clone(),
            message: error.to_string(),
        };
        // A link may have been committed, and lead anywhere.
        for path in [&state, &directory] {
            if std::fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_dir()) {
                let error = io::Error::new(io::ErrorKind::NotADirectory, "it is no directory");
                return Err(failed(error));
            }
        }
        prepare_state(&state).map_err(failed)?;
        std::fs::create_dir_all(&directory).map_err(failed)?;
        let guard = open_lock(&directory.join("lock")).map_err(failed)?;
        match guard.try_lock() {
            Ok(()) => Ok(Self { directory, _guard: guard }),
            Err(TryLockError::WouldBlock) => Err(PromoteError::InProgress),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    pub(super) fn current_file(&self) -> PathBuf {
        self.directory.join(CURRENT)
    }

    /// The promotion that was begun and is not finished.
    pub(super) fn current(&self) -> Result<Option<Journal>, PromoteError> {
        let file = self.current_file();
        let failed = |message: String| PromoteError::Journal { file: file.clone(), message };
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error.to_string())),
        };
        let journal: Journal =
            serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        if journal.schema != SCHEMA {
            return Err(failed(format!("{} is not known to this version", journal.schema)));
        }
        if matches!(journal.state, State::Promoted | State::RolledBack) {
            // It ended between the last write and the new name.
            self.keep(&journal).map_err(|error| failed(error.to_string()))?;
            return Ok(None);
        }
        Ok(Some(journal))
    }

    /// Writes how far the promotion is. It is on the disk then; a finished one is put aside.
    pub(super) fn write(&self, journal: &Journal) -> Result<PathBuf, PromoteError> {
        let written = self.replace(journal);
        written.map_err(|error| PromoteError::Journal {
            file: self.current_file(),
            message: error.to_string(),
        })
    }

    fn replace(&self, journal: &Journal) -> io::Result<PathBuf> {
        let mut file = tempfile::Builder::new().prefix("new.").tempfile_in(&self.directory)?;
        let mut json = serde_json::to_vec_pretty(journal)?;
        json.push(b'\n');
        file.write_all(&json)?;
        file.as_file().sync_all()?;
        file.persist(self.current_file()).map_err(|error| error.error)?;
        sync_directory(&self.directory)?;
        match journal.state {
            State::Promoted | State::RolledBack => self.keep(journal),
            _ => Ok(self.current_file()),
        }
    }

    fn keep(&self, journal: &Journal) -> io::Result<PathBuf> {
        // The id may be anything where somebody else wrote the file.
        let safe = |character: char| character.is_ascii_alphanumeric() || character == '-';
        let id: String = journal.id.chars().filter(|character| safe(*character)).collect();
        let file = self.directory.join(format!("p{id}.json"));
        std::fs::rename(self.current_file(), &file)?;
        Ok(file)
    }
}

/// Makes a new name in the directory as lasting as the file.
fn sync_directory(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(directory)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = directory;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, LoadOptions};

    fn project(root: &Path) -> Project {
        let config = root.join("dockit.toml");
        config::parse(&config, "[images.base]\n", &LoadOptions::default()).unwrap()
    }

    fn moves() -> Vec<Move> {
        let old = RawManifest::new("application/x", "{\"a\": \"ä\\n\"}\n");
        let target: Reference = "r.example/p/base:stable".parse().unwrap();
        let new = Digest::of(b"new");
        let one = Move {
            set: "stable".to_owned(),
            image: "base".to_owned(),
            source: target.repository().with_digest(new.clone()),
            repository: target.repository().clone(),
            tag: target.tag().unwrap().clone(),
            old: Some(old),
            new,
        };
        vec![Move { old: None, tag: "other".parse().unwrap(), ..one.clone() }, one]
    }

    fn journal() -> Journal {
        Journal::new("1".to_owned(), "2026-11-22T00:00:00Z".to_owned(), &moves()).unwrap()
    }

    #[test]
    fn what_is_written_is_what_is_read_and_a_finished_one_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let journals = Journals::open(&project(directory.path())).unwrap();
        assert!(journals.current().unwrap().is_none());
        let mut journal = journal();
        journals.write(&journal).unwrap();
        let read = journals.current().unwrap().unwrap();
        assert_eq!((&read, read.moves().unwrap()), (&journal, moves()));
        journal.state = State::RolledBack;
        let kept = journals.write(&journal).unwrap();
        assert_eq!(kept.file_name().unwrap(), "p1.json");
        assert!(kept.is_file() && journals.current().unwrap().is_none());
    }

    #[test]
    fn one_process_has_them_and_a_finished_one_left_behind_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let project = project(directory.path());
        let journals = Journals::open(&project).unwrap();
        assert!(matches!(Journals::open(&project), Err(PromoteError::InProgress)));
        let done = Journal { state: State::Promoted, id: "../../x".to_owned(), ..journal() };
        std::fs::write(journals.current_file(), serde_json::to_vec(&done).unwrap()).unwrap();
        assert!(journals.current().unwrap().is_none());
        assert!(!journals.current_file().exists() && journals.directory.join("px.json").exists());
    }

    #[test]
    fn damage_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let journals = Journals::open(&project(directory.path())).unwrap();
        let text = serde_json::to_string(&journal()).unwrap();
        for (from, to) in [("journal/1", "journal/2"), ("{\"schema", "{\"chema")] {
            std::fs::write(journals.current_file(), text.replace(from, to)).unwrap();
            assert!(matches!(journals.current(), Err(PromoteError::Journal { .. })), "{to}");
        }
        std::fs::write(journals.current_file(), text.replace('ä', "a")).unwrap();
        let message = journals.current().unwrap().unwrap().moves().unwrap_err();
        assert!(message.contains("was changed"), "{message}");
    }
}
