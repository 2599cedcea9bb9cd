//! What BuildKit did against what dockit's keys say.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use crate::key::Keyed;

/// What BuildKit did with the changed project, after it had built the project as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every step came out of the layer cache, and the image is the same.
    Same,
    /// Every step came out of the layer cache, but the image is another: its configuration differs.
    OtherImage,
    /// A step was run.
    Rebuilt,
    /// The build failed.
    Failed,
    /// The unchanged project does not build either: random ones may be like that.
    NeverBuilt,
}

impl Verdict {
    const WORDS: [(Self, &'static str); 5] = [
        (Self::Same, "same"),
        (Self::OtherImage, "other-image"),
        (Self::Rebuilt, "rebuilt"),
        (Self::Failed, "failed"),
        (Self::NeverBuilt, "never-built"),
    ];
}

/// As it stands in records.
impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(Self::WORDS.iter().find(|(verdict, _)| verdict == self).unwrap().1)
    }
}

impl FromStr for Verdict {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Self::WORDS.iter().find(|(_, known)| *known == word);
        known.map(|(verdict, _)| *verdict).ok_or_else(|| format!("no verdict {word:?}"))
    }
}

/// How a key and a verdict fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judgement {
    /// The key changed exactly because the build did.
    Exact,
    /// The key changed, and BuildKit would have used its cache: a build for nothing.
    Imprecise,
    /// dockit refuses what BuildKit builds.
    Refused,
    /// The key is equal, and BuildKit builds something else.
    Unsound,
    /// BuildKit builds neither the project nor the changed one.
    Mute,
}

impl Judgement {
    /// As it stands in `docs/precision.md`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Imprecise => "imprecise",
            Self::Refused => "refused",
            Self::Unsound => "unsound",
            Self::Mute => "mute",
        }
    }
}

/// Compares the keys of a project and of the changed project with the verdict on the change.
pub fn judge(before: &Keyed, after: &Keyed, verdict: Verdict) -> Judgement {
    match (before, after) {
        _ if verdict == Verdict::NeverBuilt => Judgement::Mute,
        (Keyed::Refused(_), _) => Judgement::Refused,
        (_, Keyed::Refused(_)) if verdict == Verdict::Failed => Judgement::Exact,
        (_, Keyed::Refused(_)) => Judgement::Refused,
        (Keyed::Key(before), Keyed::Key(after)) => match (before == after, verdict) {
            (true, Verdict::Same) => Judgement::Exact,
            (true, _) => Judgement::Unsound,
            (false, Verdict::Same) => Judgement::Imprecise,
            (false, _) => Judgement::Exact,
        },
    }
}

/// How often each judgement was passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// [`Judgement::Exact`].
    pub exact: usize,
    /// [`Judgement::Imprecise`].
    pub imprecise: usize,
    /// [`Judgement::Refused`].
    pub refused: usize,
    /// [`Judgement::Unsound`].
    pub unsound: usize,
    /// [`Judgement::Mute`].
    pub mute: usize,
}

impl Counts {
    /// Counts them.
    pub fn of(judgements: impl IntoIterator<Item = Judgement>) -> Self {
        let mut counts = Self::default();
        for judgement in judgements {
            match judgement {
                Judgement::Exact => counts.exact += 1,
                Judgement::Imprecise => counts.imprecise += 1,
                Judgement::Refused => counts.refused += 1,
                Judgement::Unsound => counts.unsound += 1,
                Judgement::Mute => counts.mute += 1,
            }
        }
        counts
    }
}
