//! Paths that the configuration names, spelled in one way.

use std::fmt;
use std::path::{Path, PathBuf};

/// A file or directory by its path from the directory of the configuration file.
///
/// Two spellings of one path are equal: `./b`, `b/` and `a/../b` are `b`, by their text alone, so a
/// `..` behind a symbolic link means what it says and not where the link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectPath {
    text: String,
    location: PathBuf,
    line: usize,
}

/// Why a text is no [`ProjectPath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidProjectPath {
    #[error("a path must not be empty")]
    Empty,
    #[error("a path must not hold NUL")]
    Nul,
    /// It would put the place of the checkout into keys.
    #[error("a path must be relative to the configuration file")]
    Absolute,
}

impl ProjectPath {
    /// Takes a path relative to `root`, as it stands on a line of the configuration file.
    pub(crate) fn new(root: &Path, written: &str, line: usize) -> Result<Self, InvalidProjectPath> {
        if written.is_empty() {
            return Err(InvalidProjectPath::Empty);
        }
        if written.contains('\0') {
            return Err(InvalidProjectPath::Nul);
        }
        if written.starts_with('/') || Path::new(written).is_absolute() {
            return Err(InvalidProjectPath::Absolute);
        }
        let mut components: Vec<&str> = Vec::new();
        for component in written.split('/') {
            match component {
                "" | "." => {}
                ".." if components.last().is_some_and(|last| *last != "..") => {
                    components.pop();
                }
                other => components.push(other),
            }
        }
        let text = if components.is_empty() { ".".to_owned() } else { components.join("/") };
        let location = root.join(&text).components().collect();
        Ok(Self { text, location, line })
    }

    /// The path without needless components: `../pyproject.toml`, or `.` for the configuration
    /// file's own directory.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it lies.
    pub fn location(&self) -> &Path {
        &self.location
    }

    /// The line of the configuration file that names it.
    pub fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for ProjectPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        let table = [
            ("b", "b", "/p/c/b"),
            ("./b", "b", "/p/c/b"),
            ("b//", "b", "/p/c/b"),
            ("a/../b", "b", "/p/c/b"),
            ("a/./b/..", "a", "/p/c/a"),
            ("a/..", ".", "/p/c"),
            ("../x", "../x", "/p/c/../x"),
            ("a/../../x", "../x", "/p/c/../x"),
            ("../../x/../y", "../../y", "/p/c/../../y"),
            ("..a/...", "..a/...", "/p/c/..a/..."),
        ];
        for (written, text, location) in table {
            let path = ProjectPath::new(Path::new("/p/c"), written, 1).unwrap();
            assert_eq!((path.as_str(), path.location()), (text, Path::new(location)), "{written}");
        }
        for bad in ["", "/a", "a\0b"] {
            assert!(ProjectPath::new(Path::new("/p"), bad, 1).is_err(), "{bad:?}");
        }
    }
}
