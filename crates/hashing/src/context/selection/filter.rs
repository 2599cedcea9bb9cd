//! `--exclude` and `--parents`: which paths below a source are copied.

use super::super::ignore::{IgnoreErrorKind, IgnoreRules, Verdict};

/// Patterns for paths relative to a source. The source itself is always copied.
///
/// Both kinds are evaluated as BuildKit does it, in the language of `.dockerignore`
/// (`fsutil/copy`, `shouldIncludePath` in `cache/contenthash`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// What is copied; all of it without.
    include: Option<IgnoreRules>,
    /// What of that is not copied.
    exclude: Option<IgnoreRules>,
}

/// What a filter said about a directory, for the paths in it.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    include: Verdict,
    exclude: Verdict,
}

/// What a filter says about a path.
#[derive(Clone, Debug)]
pub struct Filtered {
    /// Whether it is copied.
    pub selected: bool,
    /// For the paths below, if one of them may be selected.
    pub below: Option<Verdicts>,
}

impl Filter {
    /// Patterns that cannot be used leave everything in; none if nothing filters.
    pub(super) fn new(include: Option<&[u8]>, exclude: &[Vec<u8>]) -> Option<Self> {
        let rules = |patterns: &mut dyn Iterator<Item = &[u8]>| {
            IgnoreRules::of_flags(patterns).ok().filter(|rules| !rules.is_empty())
        };
        let include = rules(&mut include.into_iter());
        let exclude = rules(&mut exclude.iter().map(Vec::as_slice));
        (include.is_some() || exclude.is_some()).then_some(Self { include, exclude })
    }

    /// What is copied if all patterns have to be understood: what matches `include`, if there is one, and
    /// none of `exclude`. An `include` that is blank matches nothing.
    ///
    /// # Errors
    ///
    /// BuildKit rejects a pattern, or it is one that [`ignore`](super::super::ignore) refuses.
    pub fn exact(include: Option<&[u8]>, exclude: &[&[u8]]) -> Result<Self, IgnoreErrorKind> {
        let include = include.map(|pattern| IgnoreRules::of_flags([pattern].into_iter()));
        let exclude = IgnoreRules::of_flags(exclude.iter().copied())?;
        Ok(Self { include: include.transpose()?, exclude: Some(exclude) })
    }

    /// Both filters at once; of two of a kind, that of `other`.
    pub(super) fn and(self, other: Self) -> Self {
        Self { include: other.include.or(self.include), exclude: other.exclude.or(self.exclude) }
    }

    /// The verdict on a path relative to the source, whose directory has the verdicts `parent`; the
    /// default ones stand for the source.
    pub fn judge(&self, path: &[u8], parent: &Verdicts) -> Filtered {
        let (mut selected, mut possible) = (true, true);
        let mut below = Verdicts::default();
        if let Some(rules) = &self.include {
            below.include = rules.judge_bytes(path, &parent.include);
            selected = below.include.excluded;
            possible = selected || rules.may_exclude_below(path);
        }
        if let Some(rules) = &self.exclude {
            below.exclude = rules.judge_bytes(path, &parent.exclude);
            selected &= !below.exclude.excluded;
            possible &= !below.exclude.excluded || rules.may_bring_back_below(path);
        }
        Filtered { selected, below: possible.then_some(below) }
    }
}
