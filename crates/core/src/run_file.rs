//! Where the report of a run lies while it runs, so that it is there whatever ends the process.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::lockfile::{open_lock, prepare_state};
use crate::project::Project;

/// `run.json` in the project's [state directory](Project::state_directory), of the run that began last.
///
/// One run at a time writes it: of runs at once in one work tree, the one that came first. That is the
/// operating system's lock on `run.lock` beside it, which ends with the process, however that ends.
#[derive(Debug)]
pub struct RunFile {
    file: PathBuf,
    _guard: File,
}

impl RunFile {
    /// The file, for this process alone; `None` while another run writes it.
    ///
    /// # Errors
    ///
    /// The directory cannot be made or written, or is none of dockit's own but a link to another.
    pub fn open(project: &Project) -> io::Result<Option<Self>> {
        let state = project.state_directory();
        if std::fs::symlink_metadata(&state).is_ok_and(|metadata| !metadata.is_dir()) {
            let message = format!("{} is no directory", state.display());
            return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
        }
        prepare_state(&state)?;
        let guard = open_lock(&state.join("run.lock"))?;
        match guard.try_lock() {
            Ok(()) => Ok(Some(Self { file: state.join("run.json"), _guard: guard })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Puts this text in the place of what is there. A reader sees the one or the other, whole.
    ///
    /// What is written is in the operating system's hands then, and not necessarily on the disk: it is
    /// there after the death of the process, and may be lost with the machine.
    ///
    /// # Errors
    ///
    /// The directory cannot be written, or is full.
    pub fn replace(&self, text: &str) -> io::Result<()> {
        let new = self.file.with_extension("json.new");
        // Nobody else writes this one: it was left by a run that was killed, or is a link that was
        // committed, which must lead nowhere.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::create_new(&new)?;
        file.write_all(text.as_bytes())?;
        drop(file);
        std::fs::rename(&new, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, LoadOptions};

    fn project(root: &Path) -> Project {
        let config = root.join("dockit.toml");
        config::parse(&config, "[images.base]\n", &LoadOptions::default()).unwrap()
    }

    #[test]
    fn one_run_at_a_time_writes_it() {
        let directory = tempfile::tempdir().unwrap();
        let project = project(directory.path());
        let first = RunFile::open(&project).unwrap().unwrap();
        assert!(RunFile::open(&project).unwrap().is_none());
        first.replace("{}").unwrap();
        first.replace("{\"complete\":true}").unwrap();
        drop(first);
        let second = RunFile::open(&project).unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(second.path()).unwrap(), "{\"complete\":true}");
        let state = project.state_directory();
        let mut names: Vec<_> =
            std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".gitignore", "run.json", "run.lock"]);
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_written_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let project = project(directory.path());
        std::os::unix::fs::symlink(elsewhere.path(), project.state_directory()).unwrap();
        RunFile::open(&project).unwrap_err();
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn files_that_are_links_lead_nowhere() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().unwrap();
        let project = project(directory.path());
        let theirs = directory.path().join("theirs");
        std::fs::write(&theirs, "theirs").unwrap();
        let state = project.state_directory();
        std::fs::create_dir(&state).unwrap();
        symlink(&theirs, state.join("run.lock")).unwrap();
        RunFile::open(&project).unwrap_err();
        std::fs::remove_file(state.join("run.lock")).unwrap();
        for name in ["run.json", "run.json.new"] {
            symlink(&theirs, state.join(name)).unwrap();
        }
        let run = RunFile::open(&project).unwrap().unwrap();
        run.replace("{}").unwrap();
        assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "theirs");
        assert_eq!(std::fs::read_to_string(run.path()).unwrap(), "{}");
        assert!(!std::fs::symlink_metadata(run.path()).unwrap().is_symlink());
    }
}
