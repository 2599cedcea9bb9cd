//! Wildcards, matched in time linear in the path for a given pattern.

use std::ops::RangeInclusive;

/// One piece of a pattern with wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The character itself.
    One(char),
    /// `?`: any character but a slash.
    NoSlash,
    /// `*`: any number of characters but slashes.
    ManyNoSlash,
    /// `[…]`, which may match a slash.
    Class { negated: bool, ranges: Vec<RangeInclusive<char>> },
    /// `**` with something behind it: nothing, or text without line feeds that ends in a slash.
    Directories,
    /// `**` at the end: any text without line feeds.
    Rest,
}

/// A sequence of steps that a whole path has to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    steps: Vec<Step>,
    prefix: Box<[u8]>,
    suffix: Box<[u8]>,
}

impl Glob {
    pub(super) fn new(steps: Vec<Step>) -> Self {
        let literal = |step: &Step| match step {
            Step::One(character) => Some(*character),
            _ => None,
        };
        let prefix: String = steps.iter().map_while(literal).collect();
        let suffix: Vec<char> = steps.iter().rev().map_while(literal).collect();
        let suffix: String = suffix.into_iter().rev().collect();
        Self { steps, prefix: prefix.into_bytes().into(), suffix: suffix.into_bytes().into() }
    }

    /// Text that every matching path starts with.
    pub(super) fn literal_prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Whether the path as a whole matches. A byte that is not UTF-8 counts as one character, as
    /// in Go.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        if !path.starts_with(&self.prefix) || !path.ends_with(&self.suffix) {
            return false;
        }
        let mut now = States::new(self.steps.len());
        let mut next = now.clone();
        self.enter(&mut now, 0);
        for chunk in path.utf8_chunks() {
            let invalid = chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER);
            for character in chunk.valid().chars().chain(invalid) {
                next.clear();
                self.advance(&now, &mut next, character);
                std::mem::swap(&mut now, &mut next);
            }
        }
        now.at[self.steps.len()]
    }

    /// Puts the matcher before a step, and behind it if the step may match nothing.
    fn enter(&self, states: &mut States, step: usize) {
        states.at[step] = true;
        if let Some(Step::ManyNoSlash | Step::Directories | Step::Rest) = self.steps.get(step) {
            self.enter(states, step + 1);
        }
    }

    fn advance(&self, now: &States, next: &mut States, character: char) {
        for (index, step) in self.steps.iter().enumerate() {
            let (at, inside) = (now.at[index], now.inside[index]);
            if !at && !inside {
                continue;
            }
            match step {
                Step::One(one) if *one == character => self.enter(next, index + 1),
                Step::NoSlash if character != '/' => self.enter(next, index + 1),
                Step::Class { negated, ranges }
                    if ranges.iter().any(|range| range.contains(&character)) != *negated =>
                {
                    self.enter(next, index + 1);
                }
                Step::ManyNoSlash if character != '/' => self.enter(next, index),
                Step::Rest if character != '\n' => self.enter(next, index),
                Step::Directories => {
                    next.inside[index] |= character != '\n';
                    if character == '/' {
                        self.enter(next, index + 1);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Which steps may come next.
#[derive(Clone)]
struct States {
    /// Before the step; the last one stands for the end.
    at: Vec<bool>,
    /// In the midst of [`Step::Directories`], which has to reach a slash.
    inside: Vec<bool>,
}

impl States {
    fn new(steps: usize) -> Self {
        Self { at: vec![false; steps + 1], inside: vec![false; steps + 1] }
    }

    fn clear(&mut self) {
        self.at.fill(false);
        self.inside.fill(false);
    }
}
