//! `.dockerignore`: what a build context leaves out.
//!
//! [`IgnoreRules`] gives the verdicts of BuildKit's own reader and matcher
//! (`github.com/moby/patternmatcher` at 5a6d842), not those of `.gitignore`, which is another
//! language: patterns are anchored at the root, the last one that matches wins, and `!` brings
//! back what lies below an excluded directory.
//!
//! BuildKit turns patterns into Go regular expressions, and some characters slip through with the
//! meaning that they have there. Such a pattern is refused, with its line, rather than guessed at:
//!
//! - `^`, `|`, and `{` before a digit, outside of brackets in a pattern that has wildcards
//! - a backslash before a letter or digit
//! - inside of brackets: `*`, `?`, `[:`, a hyphen that makes no range, a range backwards
//! - bytes that are not UTF-8, NUL and U+FFFD, in a pattern that has wildcards
//! - U+FEFF at the start of a pattern
//!
//! A pattern of two stars and literal text, such as `**foo`, excludes `barfoo` for BuildKit of
//! today, and did not in Docker 20.10. Where the two come to different verdicts, nothing is
//! excluded: the file counts.

mod error;
mod glob;
mod pattern;
mod reader;

pub use self::error::{IgnoreError, IgnoreErrorKind};

use self::pattern::{Engine, Pattern};
use super::path::ContextPath;

/// The patterns of one ignore file, ready to judge paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoreRules {
    patterns: Vec<Pattern>,
    /// Whether a pattern means something else to Docker 20.10.
    ambiguous: bool,
}

/// What the patterns say about one path, and what the paths below it inherit.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// Whether the path is left out.
    pub(super) excluded: bool,
    current: Vec<bool>,
    docker20: Vec<bool>,
}

impl IgnoreRules {
    /// Reads an ignore file.
    ///
    /// # Errors
    ///
    /// The first line that BuildKit rejects, or whose pattern is refused as the module says.
    pub fn parse(text: &[u8]) -> Result<Self, IgnoreError> {
        let mut rules = Self::default();
        for line in reader::lines(text) {
            let line = line?;
            let pattern = Pattern::compile(&line.pattern)
                .map_err(|problem| IgnoreError::new(line.number, &line.pattern, problem))?;
            rules.ambiguous |= pattern.is_ambiguous();
            rules.patterns.push(pattern);
        }
        Ok(rules)
    }

    /// Takes patterns as `--exclude` and `--parents` have them, which only engines of today know: no
    /// comments, and a `/` in front counts. What a line of an ignore file would leave out is what
    /// they match.
    pub(super) fn of_flags<'p>(
        patterns: impl Iterator<Item = &'p [u8]>,
    ) -> Result<Self, IgnoreErrorKind> {
        let patterns = patterns
            .filter_map(reader::cleaned)
            .map(|pattern| Pattern::compile(&pattern).map_err(|problem| problem.kind))
            .collect::<Result<_, _>>()?;
        Ok(Self { patterns, ambiguous: false })
    }

    /// Whether there is no pattern.
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the path itself is left out. A directory that is may still be part of the build
    /// context, as parent of a path that is not.
    pub fn excludes(&self, path: &ContextPath) -> bool {
        self.judge_from_root(path).excluded
    }

    /// The verdict on a path without that on its directory.
    pub(super) fn judge_from_root(&self, path: &ContextPath) -> Verdict {
        let parent = path.parent().map(|parent| self.judge_from_root(&parent));
        self.judge(path, &parent.unwrap_or_default())
    }

    /// The verdict on a path whose directory has the verdict `parent`; the default one stands for
    /// the root.
    pub(super) fn judge(&self, path: &ContextPath, parent: &Verdict) -> Verdict {
        self.judge_bytes(path.as_bytes(), parent)
    }

    /// The same for a path that is relative to some other directory than the root.
    pub(super) fn judge_bytes(&self, path: &[u8], parent: &Verdict) -> Verdict {
        let (excluded, current) = self.evaluate(path, &parent.current, Engine::Current);
        if !self.ambiguous {
            return Verdict { excluded, current, docker20: Vec::new() };
        }
        let (excluded20, docker20) = self.evaluate(path, &parent.docker20, Engine::Docker20);
        Verdict { excluded: excluded && excluded20, current, docker20 }
    }

    /// Whether a path below the excluded `directory` may be brought back.
    ///
    /// If no exception matches below, every verdict there is the directory's own: the last pattern
    /// that matched it is inherited, and only excluding ones can join.
    pub(super) fn may_bring_back_below(&self, directory: &[u8]) -> bool {
        self.may_match_below(directory, true)
    }

    /// Whether a path below `directory`, which is not excluded, may be.
    pub(super) fn may_exclude_below(&self, directory: &[u8]) -> bool {
        self.may_match_below(directory, false)
    }

    fn may_match_below(&self, directory: &[u8], exception: bool) -> bool {
        let below = [directory, b"/"].concat();
        let mut patterns = self.patterns.iter();
        patterns.any(|pattern| pattern.exception == exception && pattern.may_match_below(&below))
    }

    /// The last pattern that matches the path, or a directory above it, wins.
    ///
    /// A pattern is not looked at while it could not change the verdict reached so far. What it
    /// would have said is then not inherited either, and that is part of the semantics.
    fn evaluate(&self, path: &[u8], parent: &[bool], engine: Engine) -> (bool, Vec<bool>) {
        let mut excluded = false;
        let mut matched = vec![false; self.patterns.len()];
        for (index, pattern) in self.patterns.iter().enumerate() {
            let inherited = parent.get(index).copied().unwrap_or(false);
            let could_change = pattern.exception == excluded;
            if inherited || (could_change && pattern.matches(path, engine)) {
                matched[index] = true;
                excluded = !pattern.exception;
            }
        }
        (excluded, matched)
    }
}
