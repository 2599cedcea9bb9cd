//! The sources of an instruction: which paths of a tree they mean.

use dockit_hashing::context::patterns::{has_wildcard, is_malformed, matches};

use super::instruction;
use super::path::cleaned;
use crate::error::AssembleError;
use crate::tree::{Tree, join};

/// A source, as it is spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// From the root, perhaps with wildcards.
    path: Vec<u8>,
    /// With `--parents`: the pattern of what is copied below.
    pub(super) include: Option<Vec<u8>>,
    /// With `--parents` and no wildcards: what the path of something that is copied has to begin with.
    pub(super) required: Option<Vec<u8>>,
}

impl Source {
    pub(super) fn new(word: &str) -> Self {
        Self { path: cleaned(word.as_bytes()), include: None, required: None }
    }

    /// Takes a source of `--parents`: what stands behind the first `/./` is copied with its directories.
    pub(super) fn with_parents(word: &str) -> Self {
        let (base, pattern) = word.split_once("/./").unwrap_or(("", word));
        let wildcards = has_wildcard(base.as_bytes()) || has_wildcard(pattern.as_bytes());
        let required = || cleaned(format!("/{base}/{pattern}").as_bytes());
        Self {
            path: cleaned(base.as_bytes()),
            include: Some(cleaned(pattern.as_bytes())),
            required: (!wildcards).then(required),
        }
    }

    /// The paths that it means: itself, or everything that its wildcards match. Where a directory
    /// matches, nothing below it is looked at.
    ///
    /// # Errors
    ///
    /// The part without wildcards is not there, or a wildcard is malformed.
    pub(super) fn matches(&self, tree: &Tree) -> Result<Vec<Vec<u8>>, AssembleError> {
        let names: Vec<&[u8]> = self.path.split(|byte| *byte == b'/').collect();
        let plain = names.iter().take_while(|name| !has_wildcard(name)).count();
        let (base, pattern) = names.split_at(plain);
        let missing = |path: &[u8]| instruction(format!("/{} is not there", path.escape_ascii()));
        let resolved = tree.resolve(&base.join(&b'/'))?;
        if tree.get(&resolved).is_none() {
            return Err(missing(&base.join(&b'/')));
        }
        if pattern.is_empty() {
            return Ok(vec![self.path.clone()]);
        }
        let pattern = pattern.join(&b'/');
        if is_malformed(&pattern) {
            let message = format!("the pattern {} is malformed", pattern.escape_ascii());
            return Err(instruction(message));
        }
        let mut found = Vec::new();
        search(tree, &resolved, &mut Vec::new(), &pattern, &mut found);
        Ok(found)
    }
}

fn search(
    tree: &Tree,
    directory: &[u8],
    relative: &mut Vec<u8>,
    pattern: &[u8],
    found: &mut Vec<Vec<u8>>,
) {
    for (name, node) in tree.children(directory) {
        let length = relative.len();
        if length > 0 {
            relative.push(b'/');
        }
        relative.extend_from_slice(name);
        let path = join(directory, name);
        if matches(pattern, relative) {
            found.push(path);
        } else if node.is_directory() {
            search(tree, &path, relative, pattern, found);
        }
        relative.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::testing::{directory, file, link};

    fn tree() -> Tree {
        let mut tree = Tree::default();
        for path in ["a.txt", "b.txt", ".h.txt", "d/c.txt", "d/e/f.txt", "s[/x.txt"] {
            tree.put(path.as_bytes(), file(path)).expect("short");
        }
        tree.put(b"empty.txt", directory()).expect("short");
        tree.put(b"l.txt", link("d")).expect("short");
        tree.put(b"l", link("d")).expect("short");
        tree
    }

    #[test]
    fn wildcards_mean_what_matches_in_the_order_of_names() {
        let tree = tree();
        for (word, expected) in [
            ("a.txt", "a.txt"),
            ("/./x/../a.txt", "a.txt"),
            ("../../a.txt/", "a.txt"),
            ("*.txt", ".h.txt a.txt b.txt empty.txt l.txt"),
            ("?.txt", "a.txt b.txt l.txt"),
            ("[ab].txt", "a.txt b.txt"),
            ("*/*.txt", "d/c.txt s[/x.txt"),
            ("d/*", "d/c.txt d/e"),
            ("*/e/*", "d/e/f.txt"),
            ("**", ".h.txt a.txt b.txt d empty.txt l l.txt s["),
            ("l/*.txt", "d/c.txt"),
            ("a.txt/*", ""),
            ("none*", ""),
            (".", ""),
        ] {
            let found = Source::new(word).matches(&tree).expect(word);
            let found: Vec<_> =
                found.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
            assert_eq!(found.join(" "), expected, "{word}");
        }
    }

    #[test]
    fn what_is_not_there_is_an_error_without_wildcards_alone() {
        for word in ["none", "d/none", "none/*.txt", "a.txt/x", "s[/[", "[a", "d\\*"] {
            Source::new(word).matches(&tree()).expect_err(word);
        }
    }

    #[test]
    fn parents_begin_at_the_pivot() {
        for (word, path, include, required) in [
            ("a/b", "", "a/b", Some("a/b")),
            ("./a/b/", "", "a/b", Some("a/b")),
            ("a/./b", "a", "b", Some("a/b")),
            ("a/b/./c/./d", "a/b", "c/d", Some("a/b/c/d")),
            ("a/./*", "a", "*", None),
            ("a*/./b", "a*", "b", None),
            ("/./a", "", "a", Some("a")),
        ] {
            let expected = Source {
                path: path.into(),
                include: Some(include.into()),
                required: required.map(Into::into),
            };
            assert_eq!(Source::with_parents(word), expected, "{word}");
        }
    }
}
