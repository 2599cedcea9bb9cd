//! Changing bytes of files: all files or none.
//!
//! Each file is replaced in one step, so that a reader sees the old bytes or the new ones. Several files
//! cannot be replaced in one step; where one cannot be written, those that were are put back. Only the
//! spans change: line endings, a missing one at the end, the encoding and the mode stay what they are.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

/// A span of a file, and what is to stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The bytes that go.
    pub span: Range<usize>,
    /// What comes in their place.
    pub text: String,
}

/// A file as it was read, and what is to change in it.
#[derive(Clone, Debug)]
pub struct EditedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes as they were read.
    pub before: Vec<u8>,
    /// Changes in the order of the file; none overlaps another.
    pub edits: Vec<Edit>,
}

/// Why no file was changed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", path.display())]
pub struct EditError {
    /// The file.
    pub path: PathBuf,
    /// What happened.
    #[source]
    pub kind: EditErrorKind,
}

/// Kinds of [`EditError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditErrorKind {
    /// It was changed since it was read.
    #[error("changed meanwhile; nothing was written")]
    Changed,
    /// It cannot be read or written; every file is what it was.
    #[error("cannot be written: {0}")]
    Write(io::Error),
    /// It cannot be written, and files that were written before could not be put back.
    #[error("cannot be written: {error}; these were written before and could not be put back: {}", listed(.written))]
    HalfWritten {
        /// What happened first.
        error: io::Error,
        /// The files that are new now.
        written: Vec<PathBuf>,
    },
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl EditedFile {
    /// The bytes afterwards.
    pub fn after(&self) -> Vec<u8> {
        let mut after = Vec::with_capacity(self.before.len());
        let mut at = 0;
        for edit in &self.edits {
            after.extend_from_slice(&self.before[at..edit.span.start]);
            after.extend_from_slice(edit.text.as_bytes());
            at = edit.span.end;
        }
        after.extend_from_slice(&self.before[at..]);
        after
    }
}

/// Changes the files. `state` is a directory of dockit's own: a new file beside an old one would be part
/// of a build context for a moment, so that is done only where the state lies on another file system.
///
/// # Errors
///
/// [`EditErrorKind`] says what; but for its last one, every file is what it was.
pub fn apply(files: &[EditedFile], state: &Path) -> Result<(), EditError> {
    let mut prepared = Vec::with_capacity(files.len());
    for file in files.iter().filter(|file| !file.edits.is_empty()) {
        let new = prepare(file, &file.after(), state).map_err(|kind| at(file, kind))?;
        prepared.push((file, new));
    }
    // Everything that may take time is done: what was changed meanwhile is seen here.
    for (file, _) in &prepared {
        match fs::read(&file.path) {
            Ok(bytes) if bytes == file.before => {}
            Ok(_) => return Err(at(file, EditErrorKind::Changed)),
            Err(error) => return Err(at(file, EditErrorKind::Write(error))),
        }
    }
    let mut written: Vec<&EditedFile> = Vec::new();
    for (file, new) in prepared {
        if let Err(error) = new.persist(&file.path) {
            return Err(at(file, put_back(&written, error.error, state)));
        }
        written.push(file);
    }
    Ok(())
}

fn at(file: &EditedFile, kind: EditErrorKind) -> EditError {
    EditError { path: file.path.clone(), kind }
}

/// Writes bytes to a file of its own with the mode of the one that it is to replace.
fn prepare(file: &EditedFile, bytes: &[u8], state: &Path) -> Result<TempPath, EditErrorKind> {
    let metadata = fs::symlink_metadata(&file.path).map_err(EditErrorKind::Write)?;
    if !metadata.is_file() {
        return Err(EditErrorKind::Changed);
    }
    let beside = file.path.parent().unwrap_or(Path::new("."));
    let directory = if same_file_system(state, beside) { state } else { beside };
    write(bytes, metadata.permissions(), directory).map_err(EditErrorKind::Write)
}

fn write(bytes: &[u8], permissions: Permissions, directory: &Path) -> io::Result<TempPath> {
    let mut new: NamedTempFile =
        tempfile::Builder::new().prefix(".dockit-pin-").tempfile_in(directory)?;
    new.write_all(bytes)?;
    new.as_file().set_permissions(permissions)?;
    new.as_file().sync_all()?;
    Ok(new.into_temp_path())
}

#[cfg(unix)]
fn same_file_system(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
    matches!((device(one), device(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(not(unix))]
fn same_file_system(_: &Path, _: &Path) -> bool {
    false
}

/// Gives files their old bytes again.
fn put_back(written: &[&EditedFile], error: io::Error, state: &Path) -> EditErrorKind {
    let restored = |file: &EditedFile| {
        let new = prepare(file, &file.before, state).ok()?;
        new.persist(&file.path).ok()
    };
    let left: Vec<PathBuf> = written
        .iter()
        .filter(|file| restored(file).is_none())
        .map(|file| file.path.clone())
        .collect();
    if left.is_empty() {
        EditErrorKind::Write(error)
    } else {
        EditErrorKind::HalfWritten { error, written: left }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edited(path: PathBuf, before: &[u8], edits: &[(Range<usize>, &str)]) -> EditedFile {
        let edits = edits.iter().cloned();
        let edits = edits.map(|(span, text)| Edit { span, text: text.to_owned() });
        EditedFile { path, before: before.to_vec(), edits: edits.collect() }
    }

    #[test]
    fn only_the_spans_change_and_the_mode_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a file");
        let before = b"one\r\n\xff two\r\nthree";
        fs::write(&path, before).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
        }
        let state = directory.path().join("state");
        fs::create_dir(&state).unwrap();
        let file = edited(path.clone(), before, &[(0..3, "1"), (7..10, "zwei"), (12..17, "")]);
        apply(&[file], &state).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"1\r\n\xff zwei\r\n");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o750);
        }
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn where_one_file_cannot_be_written_all_are_what_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (directory.path().join("one"), directory.path().join("other"));
        fs::write(&one, "old").unwrap();
        fs::write(&other, "old").unwrap();
        let files = [
            edited(one.clone(), b"old", &[(0..3, "new")]),
            edited(other.clone(), b"old", &[(0..3, "new")]),
        ];
        // Somebody else writes one of them between the look and the change.
        fs::write(&other, "their").unwrap();
        let error = apply(&files, directory.path()).unwrap_err();
        assert!(matches!(error.kind, EditErrorKind::Changed), "{error}");
        assert_eq!(fs::read_to_string(&one).unwrap(), "old");
        assert_eq!(fs::read_to_string(&other).unwrap(), "their");
        // A directory in the place of a file cannot be replaced by one.
        fs::remove_file(&other).unwrap();
        fs::create_dir(&other).unwrap();
        apply(&files, directory.path()).unwrap_err();
        assert_eq!(fs::read_to_string(&one).unwrap(), "old");
        let kind = put_back(
            &[&edited(one.clone(), b"older", &[])],
            io::Error::other("full"),
            directory.path(),
        );
        assert!(matches!(kind, EditErrorKind::Write(_)));
        assert_eq!(fs::read_to_string(&one).unwrap(), "older");
    }

    proptest! {
        #[test]
        fn what_is_outside_the_spans_stays(
            pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..8), "[a-z]{0,4}", "[a-z]{0,4}"), 0..6),
        ) {
            let (mut before, mut after, mut edits) = (Vec::new(), Vec::new(), Vec::new());
            for (kept, old, new) in &pieces {
                before.extend_from_slice(kept);
                after.extend_from_slice(kept);
                edits.push((before.len()..before.len() + old.len(), new.as_str()));
                before.extend_from_slice(old.as_bytes());
                after.extend_from_slice(new.as_bytes());
            }
            prop_assert_eq!(edited(PathBuf::new(), &before, &edits).after(), after);
        }
    }
}
