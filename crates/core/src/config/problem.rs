//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::PathBuf;

/// One mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file with the mistake, or the option of [one image](crate::config::OneImage).
    pub file: PathBuf,
    /// Its line, counted from 1; 0 where the mistake has none (a missing file).
    pub line: usize,
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(formatter, "{}:", self.line)?;
        }
        write!(formatter, " {}", self.message)?;
        if let Some(suggestion) = &self.suggestion {
            write!(formatter, "; did you mean {suggestion:?}?")?;
        }
        Ok(())
    }
}

/// Every mistake that was found, in the order of files and lines. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            problem.fmt(formatter)?;
        }
        Ok(())
    }
}

impl Problems {
    /// `value` when there is no problem, and all of them in order otherwise.
    pub(crate) fn check<T>(mut problems: Vec<Problem>, value: T) -> Result<T, Self> {
        if problems.is_empty() {
            return Ok(value);
        }
        problems.sort_by(|a, b| (&a.file, a.line, &a.message).cmp(&(&b.file, b.line, &b.message)));
        problems.dedup();
        Err(Self(problems))
    }
}

/// The known word nearest to `word`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_word_is_suggested() {
        let known = ["dockerfile", "context", "args", "tags"];
        assert_eq!(nearest("dockerfil", known).as_deref(), Some("dockerfile"));
        assert_eq!(nearest("contex", known).as_deref(), Some("context"));
        assert_eq!(nearest("arg", known).as_deref(), Some("args"));
        assert_eq!(nearest("platform", known), None);
    }
}
