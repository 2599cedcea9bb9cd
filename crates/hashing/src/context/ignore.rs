//! `.dockerignore` as BuildKit reads and applies it.
//!
//! The rules are those of moby's `patternmatcher` and its `ignorefile` reader. They are not
//! gitignore's: patterns are anchored at the context's root, the last match wins, and a file below
//! an excluded directory can be taken back in.

use super::pattern::Pattern;

/// Longest line that BuildKit's reader accepts.
const LINE_LIMIT: usize = 64 * 1024;

/// The patterns of an ignore file.
#[derive(Clone, Debug, Default)]
pub struct IgnoreRules {
    patterns: Vec<Pattern>,
}

/// A line of an ignore file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoreError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

/// Which patterns match a path, kept for the paths below it.
#[derive(Clone, Debug, Default)]
pub(super) struct Matches {
    matched: Vec<bool>,
    pub(super) excluded: bool,
}

impl IgnoreRules {
    /// Reads an ignore file.
    ///
    /// # Errors
    ///
    /// The first line that is no pattern, or one whose meaning differs between engines.
    pub fn parse(text: &[u8]) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut patterns = Vec::new();
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let error = |message: String| IgnoreError { line: index + 1, message };
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.len() >= LINE_LIMIT {
                return Err(error("the line is longer than 64 KiB".to_owned()));
            }
            if line.first() == Some(&b'#') {
                continue;
            }
            let line = std::str::from_utf8(line)
                .map_err(|_| error("the pattern is not UTF-8".to_owned()))?;
            if let Some(pattern) = read_pattern(line.trim()).map_err(error)? {
                patterns.push(pattern);
            }
        }
        Ok(Self { patterns })
    }

    /// Whether a path relative to the context, its components joined by `/`, is excluded.
    ///
    /// A directory that is excluded can still hold files that are not.
    pub fn excludes(&self, path: &[u8]) -> bool {
        let mut matches = Matches::default();
        for (index, byte) in path.iter().enumerate() {
            if *byte == b'/' {
                matches = self.matches(&path[..index], &matches);
            }
        }
        self.matches(path, &matches).excluded
    }

    /// What matches a path, given what matched its parent directory.
    pub(super) fn matches(&self, path: &[u8], parent: &Matches) -> Matches {
        let mut excluded = false;
        let matched = self
            .patterns
            .iter()
            .enumerate()
            .map(|(index, pattern)| {
                let matched = parent.matched.get(index) == Some(&true) || pattern.matches(path);
                if matched {
                    excluded = !pattern.negated;
                }
                matched
            })
            .collect();
        Matches { matched, excluded }
    }

    /// Whether something below an excluded directory can be taken back in.
    pub(super) fn may_include_below(&self, directory: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| pattern.negated && pattern.may_match_below(directory))
    }
}

/// The pattern of a trimmed line, as the reader and the matcher clean it.
fn read_pattern(line: &str) -> Result<Option<Pattern>, String> {
    if line.is_empty() {
        return Ok(None);
    }
    let (negated, rest) = match line.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, line),
    };
    let cleaned = if rest.is_empty() { String::new() } else { clean(rest) };
    let cleaned = match cleaned.strip_prefix('/') {
        Some(relative) if cleaned.len() > 1 => relative,
        _ => &cleaned,
    };
    if negated && (cleaned.is_empty() || cleaned == "/") {
        return Err("an exclamation mark without a pattern".to_owned());
    }
    if cleaned.is_empty() || cleaned == "." || cleaned == "/" {
        return Ok(None);
    }
    Pattern::compile(cleaned, negated).map(Some)
}

/// Go's `path.Clean`: the shortest path with the same meaning, by its text alone.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut components: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." if components.last().is_some_and(|last| *last != "..") => {
                components.pop();
            }
            ".." if rooted => {}
            other => components.push(other),
        }
    }
    let joined = components.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, cleaned) in [
            ("a/../b", "b"),
            ("./b", "b"),
            ("b/", "b"),
            ("//b", "/b"),
            ("a/./b//c", "a/b/c"),
            ("..", ".."),
            ("../a", "../a"),
            ("/..", "/"),
            ("/../a", "/a"),
            (".", "."),
            ("a/..", "."),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }
}
