//! What of a build context a build reads.
//!
//! A [`Selection`] is the union of [`Source`]s. The walk asks it about one path after the other,
//! from the root downwards, and hands back what was said of the directory; so a directory that
//! no source leads into is never read.

mod filter;
mod resolve;
mod source;
mod wildcard;

use std::sync::Arc;

pub use self::filter::{Filter, Filtered, Verdicts};
pub(super) use self::resolve::{Resolved, View, resolve};
pub use self::source::Source;
pub use self::wildcard::{has_wildcard, is_malformed, matches};

use self::source::Reach;
use self::wildcard::Step;
use super::path::ContextPath;

/// The paths of a build context that a build reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    sources: Vec<Source>,
}

/// What a selection says about one path, and what the paths below it inherit.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// Whether the path itself is read.
    pub(super) selected: bool,
    /// Whether a path below may be.
    pub(super) may_select_below: bool,
    below: Below,
}

#[derive(Clone, Debug)]
enum Below {
    Everything,
    Nothing,
    Some(Arc<[Lead]>),
}

/// How far into a source a path leads.
#[derive(Clone, Debug)]
enum Lead {
    /// Towards its base.
    Base { source: usize },
    /// To its base or below, where a component of the pattern decides next.
    Pattern { source: usize, component: usize },
    /// Into a tree whose paths, from `start` on, the filter judges.
    Filter { source: usize, start: usize, verdicts: Verdicts },
}

impl Selection {
    /// Everything.
    pub fn whole() -> Self {
        Self { sources: vec![Source::mount("")] }
    }

    /// Everything that one of the sources reads.
    pub fn of(sources: impl IntoIterator<Item = Source>) -> Self {
        Self { sources: sources.into_iter().collect() }
    }

    /// Whether it is everything by its text alone: symbolic links may lead to the root as well.
    pub fn is_whole(&self) -> bool {
        self.sources.iter().any(Source::is_whole)
    }

    /// What it says about the context's root, which is never listed itself.
    pub(super) fn root(&self) -> Choice {
        let mut union = Union::default();
        for index in 0..self.sources.len() {
            self.approach(index, b"", &mut union);
        }
        union.choice()
    }

    /// What it says about a path whose directory has the choice `parent`.
    pub(super) fn choose(&self, path: &ContextPath, parent: &Choice) -> Choice {
        let leads = match &parent.below {
            Below::Everything => return Choice::EVERYTHING,
            Below::Nothing => return Choice::NOTHING,
            Below::Some(leads) => leads,
        };
        let path = path.as_bytes();
        let mut union = Union::default();
        for lead in leads.iter() {
            match lead {
                Lead::Base { source } => self.approach(*source, path, &mut union),
                Lead::Pattern { source, component } => {
                    self.follow_pattern(*source, *component, path, &mut union);
                }
                Lead::Filter { source, start, verdicts } => {
                    self.ask_filter(*source, *start, path, verdicts, &mut union);
                }
            }
        }
        union.choice()
    }

    /// Whether it reads a file of this name in the root, if no link leads there.
    pub(super) fn covers_root_file(&self, name: &ContextPath) -> bool {
        self.choose(name, &self.root()).selected
    }

    /// A path that may be above the base, the base itself, or elsewhere.
    fn approach(&self, index: usize, path: &[u8], union: &mut Union) {
        let source = &self.sources[index];
        if source.base == path {
            match source.reach {
                Reach::Itself => union.selected = true,
                Reach::Tree => self.enter(index, path, union),
                Reach::Matches(_) => {
                    // Without the directory the build would fail, where it may find no match.
                    union.selected = true;
                    union.leads.push(Lead::Pattern { source: index, component: 0 });
                }
            }
        } else if below(&source.base, path) {
            union.leads.push(Lead::Base { source: index });
        }
    }

    fn follow_pattern(&self, index: usize, component: usize, path: &[u8], union: &mut Union) {
        let source = &self.sources[index];
        let Reach::Matches(wildcard) = &source.reach else {
            return;
        };
        match wildcard.step(component, last_component(path), relative(path, &source.base)) {
            Step::Matched => self.enter(index, path, union),
            Step::Below => {
                union.leads.push(Lead::Pattern { source: index, component: component + 1 });
            }
            Step::Failed => {}
        }
    }

    /// The top of something that is copied.
    fn enter(&self, index: usize, path: &[u8], union: &mut Union) {
        union.selected = true;
        if self.sources[index].filter.is_none() {
            union.everything = true;
            return;
        }
        let start = if path.is_empty() { 0 } else { path.len() + 1 };
        union.leads.push(Lead::Filter { source: index, start, verdicts: Verdicts::default() });
    }

    fn ask_filter(
        &self,
        index: usize,
        start: usize,
        path: &[u8],
        parent: &Verdicts,
        union: &mut Union,
    ) {
        let Some(filter) = &self.sources[index].filter else {
            return;
        };
        let filtered = filter.judge(&path[start..], parent);
        union.selected |= filtered.selected;
        if let Some(verdicts) = filtered.below {
            union.leads.push(Lead::Filter { source: index, start, verdicts });
        }
    }
}

impl Choice {
    const EVERYTHING: Self =
        Self { selected: true, may_select_below: true, below: Below::Everything };
    const NOTHING: Self = Self { selected: false, may_select_below: false, below: Below::Nothing };
}

/// What all sources together say about a path.
#[derive(Default)]
struct Union {
    selected: bool,
    everything: bool,
    leads: Vec<Lead>,
}

impl Union {
    fn choice(self) -> Choice {
        if self.everything {
            return Choice::EVERYTHING;
        }
        if self.leads.is_empty() {
            return Choice { selected: self.selected, ..Choice::NOTHING };
        }
        let below = Below::Some(self.leads.into());
        Choice { selected: self.selected, may_select_below: true, below }
    }
}

/// Whether `path` lies below `directory`; the empty path is the root.
fn below(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty() && !path.is_empty()
        || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
}

/// A path below `directory`, seen from there.
fn relative<'p>(path: &'p [u8], directory: &[u8]) -> &'p [u8] {
    if directory.is_empty() { path } else { &path[directory.len() + 1..] }
}

fn last_component(path: &[u8]) -> &[u8] {
    let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    &path[start..]
}
