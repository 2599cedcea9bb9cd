//! The files of a range, as git tells them.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use dockit_hashing::context::{Escaped, unescape};
use tokio_util::sync::CancellationToken;

use super::settings::ChangedSettings;
use crate::inputs::{Change, What};
use crate::revision::{OUTPUT_LIMIT, RevisionError, git, output};

/// Paths from the repository's top level that differ between the two ends: of files, links and
/// submodules, never of directories.
pub(super) struct ChangedFiles {
    paths: BTreeSet<Vec<u8>>,
}

impl ChangedFiles {
    /// The difference between a commit and another one, or else the work tree with what git neither
    /// tracks nor ignores.
    pub(super) async fn of(
        top: &Path,
        base: &str,
        until: Option<&str>,
        cancel: &CancellationToken,
    ) -> Result<Self, RevisionError> {
        // A file that only got another name is one that went and one that came.
        let diff = git(top).args(["diff", "--name-only", "--no-renames", "--no-ext-diff", "-z"]);
        let diff = diff.args(["--ignore-submodules=none", base]);
        let diff = until.map_or(diff.clone(), |until| diff.arg(until)).arg("--");
        let mut listed = output(diff.output_limit(OUTPUT_LIMIT), cancel).await?;
        if until.is_none() {
            let others = git(top).args(["ls-files", "--others", "--exclude-standard", "-z"]);
            listed.extend(output(others.output_limit(OUTPUT_LIMIT), cancel).await?);
        }
        Ok(Self::read(&listed))
    }

    fn read(listed: &[u8]) -> Self {
        let paths = listed.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        // A repository within the work tree, of which nobody said that it is a submodule, ends with one.
        let paths = paths.map(|path| path.strip_suffix(b"/").unwrap_or(path).to_vec());
        Self { paths: paths.collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether a file, absolute, is one of them.
    pub(super) fn have(&self, file: &Path, top: &Path) -> bool {
        let place = file.parent().and_then(|parent| parent.canonicalize().ok());
        let Some((place, name)) = place.zip(file.file_name()) else {
            return false;
        };
        below_top(name.as_encoded_bytes(), &place, top)
            .is_some_and(|path| self.paths.contains(&path))
    }

    /// The first of these files that is such, as people read it.
    pub(super) fn first(&self, is_such: impl Fn(&[u8]) -> bool) -> Option<String> {
        self.paths.iter().find(|path| is_such(path)).map(|path| Escaped(path).to_string())
    }

    /// Whether they, but for those that are ignored, are the reason for a change. What is no file stands
    /// in the configuration, the lockfile or a Dockerfile, and counts always.
    ///
    /// `root` is the directory that files are named from, and `top` that of the repository.
    pub(super) fn explains(
        &self,
        change: &Change,
        root: &Path,
        top: &Path,
        settings: &ChangedSettings,
    ) -> bool {
        if !matches!(change.what, What::File | What::ExtraInput) {
            return true;
        }
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let subject = unescape(change.subject.trim_end_matches('/'));
        match subject.and_then(|subject| below_top(&subject, &root, top)) {
            Some(path) => self.touches(&path, settings),
            // What lies outside of the repository, or is all files, is for no range to say.
            None => true,
        }
    }

    /// Whether one that is not ignored is this path, lies below it, or is a submodule around it.
    fn touches(&self, path: &[u8], settings: &ChangedSettings) -> bool {
        let counts = |known: &[u8]| !settings.ignores(known);
        if path.is_empty() {
            // The whole repository.
            return self.paths.iter().any(|known| counts(known));
        }
        let around = (1..=path.len())
            .filter(|end| *end == path.len() || path[*end] == b'/')
            .map(|end| &path[..end]);
        let mut around = around.filter(|path| self.paths.contains(*path));
        // Of a submodule git names no files; what is ignored is judged by the file itself.
        if around.any(|_| counts(path)) {
            return true;
        }
        let prefix = [path, b"/"].concat();
        let below = self.paths.range(prefix.clone()..);
        below.take_while(|known| known.starts_with(&prefix)).any(|known| counts(known))
    }
}

/// A path that is relative to `root`, from the top level; none for one outside.
fn below_top(path: &[u8], root: &Path, top: &Path) -> Option<Vec<u8>> {
    let from_top = root.strip_prefix(top).ok()?;
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in from_top.components() {
        if let Component::Normal(part) = part {
            parts.push(part.as_encoded_bytes());
        }
    }
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use dockit_hashing::context::ignore::IgnoreRules;

    use super::*;
    use crate::inputs::How;

    fn explains(listed: &str, ignore: &str, what: What, subject: &str) -> bool {
        let settings = ChangedSettings {
            ignore: IgnoreRules::parse(ignore.as_bytes()).unwrap(),
            ..ChangedSettings::default()
        };
        let change =
            Change { what, how: How::Changed, subject: subject.to_owned(), from: None, to: None };
        let files = ChangedFiles::read(listed.as_bytes());
        files.explains(&change, Path::new("/nowhere/top/ci"), Path::new("/nowhere/top"), &settings)
    }

    #[test]
    fn files_explain_what_they_are_and_what_they_lie_in() {
        let listed = "ci/a/f\0lib/sub\0nested/\0ci/ü\\x\0";
        for (subject, expected) in [
            ("a/f", true),
            ("a", true),
            ("a/", true),
            ("a/g", false),
            ("a/f2", false),
            ("../lib/sub/below", true),
            ("../lib/su", false),
            ("../lib", true),
            ("../nested/x", true),
            ("ü\\\\x", true),
            ("..", true),
            // Outside of the repository.
            ("../../other", true),
        ] {
            assert_eq!(explains(listed, "", What::File, subject), expected, "{subject}");
        }
        assert!(explains("", "", What::Instruction, "RUN (line 1)"));
        assert!(!explains("", "", What::ExtraInput, "a"));
    }

    #[test]
    fn what_is_ignored_explains_nothing() {
        let listed = "ci/a/f.md\0ci/a/f\0ci/docs/x\0lib/sub\0";
        let ignore = "**/*.md\nci/docs";
        for (subject, expected) in [
            ("a/f.md", false),
            ("a/f", true),
            ("a", true),
            ("docs/x", false),
            ("docs", false),
            ("../lib/sub/readme.md", false),
            ("../lib/sub/x", true),
        ] {
            assert_eq!(explains(listed, ignore, What::File, subject), expected, "{subject}");
        }
    }
}
