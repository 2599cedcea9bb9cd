//! Following the symbolic links that lead to what a selection reads.
//!
//! A link in a copied directory is content. A link that is itself a source, that a wildcard of a
//! source matches, or that lies on the way to a source is followed, with the context's root as `/`.
//! Such links are part of the context as links, and where they lead is selected in their place.
//!
//! The same follows links when BuildKit copies (`RootPath` in `containerd/continuity`), and up to
//! as many.

use std::fs;
use std::path::Path;

use super::super::archive::Archive;
use super::super::error::{ContextError, ContextErrorKind};
use super::super::ignore::{IgnoreRules, Verdict};
use super::super::never::Never;
use super::super::path::ContextPath;
use super::source::{Reach, Source};
use super::wildcard::{Step, Wildcard};
use super::{Selection, last_component, relative};

/// Links that may be followed on the way to one source.
const MAX_LINKS: usize = 255;

/// What is in a build context, as far as links go.
#[derive(Clone, Copy)]
pub(in super::super) struct View<'a> {
    pub(in super::super) root: &'a Path,
    pub(in super::super) rules: &'a IgnoreRules,
    pub(in super::super) never: &'a Never,
}

/// A selection whose sources lead through no link.
pub(in super::super) struct Resolved {
    pub(in super::super) selection: Selection,
    /// The links that were followed, with their text, sorted.
    pub(in super::super) links: Vec<(ContextPath, Box<[u8]>)>,
}

/// Follows the links to the sources of a selection.
///
/// Reads links, and directories that a wildcard leads into, and nothing else. A source that is not
/// there selects nothing: the build fails by itself.
pub(in super::super) fn resolve(
    view: View<'_>,
    selection: &Selection,
) -> Result<Resolved, ContextError> {
    if selection.is_whole() {
        return Ok(Resolved { selection: Selection::whole(), links: Vec::new() });
    }
    let mut resolver = Resolver { view, sources: Vec::new(), links: Vec::new() };
    for source in &selection.sources {
        resolver.add(source)?;
    }
    let Resolver { sources, mut links, .. } = resolver;
    links.sort_unstable();
    links.dedup();
    Ok(Resolved { selection: Selection { sources }, links })
}

struct Resolver<'a> {
    view: View<'a>,
    sources: Vec<Source>,
    links: Vec<(ContextPath, Box<[u8]>)>,
}

impl Resolver<'_> {
    fn add(&mut self, source: &Source) -> Result<(), ContextError> {
        for base in self.follow(&source.base)? {
            if let Reach::Matches(wildcard) = &source.reach {
                let mut matched = Vec::new();
                self.view.links_matching(wildcard, &base, &mut matched)?;
                // In whatever order the directory has them.
                matched.sort_unstable();
                for link in matched {
                    for base in self.follow(link.as_bytes())? {
                        let filter = source.filter.clone();
                        self.sources.push(Source { base, reach: Reach::Tree, filter });
                    }
                }
            }
            self.sources.push(Source { base, ..source.clone() });
        }
        Ok(())
    }

    /// Where a path leads: no path where nothing is, and two where a link's text can be read in
    /// two ways.
    fn follow(&mut self, path: &[u8]) -> Result<Vec<Vec<u8>>, ContextError> {
        let mut ends = Vec::new();
        let physical = self.follow_as(path, DotDot::Physical)?;
        ends.extend(physical.end);
        if physical.ambiguous {
            let lexical = self.follow_as(path, DotDot::Lexical)?;
            ends.extend(lexical.end.filter(|end| !ends.contains(end)));
        }
        Ok(ends)
    }

    fn follow_as(&mut self, path: &[u8], dot_dot: DotDot) -> Result<Way, ContextError> {
        let mut way = Way { end: None, ambiguous: false };
        // The next component comes last.
        let mut ahead = Vec::new();
        push_reversed(&mut ahead, path);
        let mut at: Vec<u8> = Vec::new();
        let mut followed = 0;
        while let Some(component) = ahead.pop() {
            if component == b".." {
                // The directory that is left again has to be there.
                self.keep(&at);
                at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                continue;
            }
            let directory = at.len();
            if directory > 0 {
                at.push(b'/');
            }
            at.extend_from_slice(&component);
            let Some(path) = ContextPath::new(&at) else {
                return Ok(way);
            };
            match self.view.look_at(&path)? {
                Seen::Nothing => return Ok(way),
                Seen::Other => {}
                Seen::Link(text) => {
                    followed += 1;
                    if followed > MAX_LINKS {
                        let location = path.below(self.view.root);
                        return Err(ContextError::new(ContextErrorKind::TooManyLinks, location));
                    }
                    self.keep(&at);
                    at.truncate(if text.starts_with(b"/") { 0 } else { directory });
                    let (collapsed, ambiguous) = collapse(&text);
                    way.ambiguous |= ambiguous;
                    match dot_dot {
                        DotDot::Physical => push_reversed(&mut ahead, &text),
                        DotDot::Lexical => push_reversed(&mut ahead, &collapsed),
                    }
                    self.links.push((path, text));
                }
            }
        }
        way.end = Some(at);
        Ok(way)
    }

    fn keep(&mut self, path: &[u8]) {
        if !path.is_empty() {
            let base = path.to_owned();
            self.sources.push(Source { base, reach: Reach::Itself, filter: None });
        }
    }
}

/// How `a/..` is read where `a` is a link: as a kernel reads it, or as the empty path. BuildKit does
/// the one when it computes its own keys, the other when it copies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DotDot {
    Physical,
    Lexical,
}

/// What came of following a path.
struct Way {
    /// Where it ends, if that is part of the context.
    end: Option<Vec<u8>>,
    /// Whether the two readings of `..` may differ.
    ambiguous: bool,
}

fn push_reversed(ahead: &mut Vec<Vec<u8>>, path: &[u8]) {
    let components = path.split(|byte| *byte == b'/');
    let components = components.filter(|component| !matches!(*component, b"" | b"."));
    ahead.extend(components.rev().map(<[u8]>::to_vec));
}

/// The text without `a/..`, and whether it had any.
fn collapse(text: &[u8]) -> (Vec<u8>, bool) {
    let mut components: Vec<&[u8]> = Vec::new();
    let mut ambiguous = false;
    for component in text.split(|byte| *byte == b'/') {
        match (component, components.last()) {
            (b"" | b".", _) => {}
            (b"..", Some(last)) if *last != b".." => {
                ambiguous = true;
                components.pop();
            }
            _ => components.push(component),
        }
    }
    (components.join(&b'/'), ambiguous)
}

/// What is at a path of the context.
enum Seen {
    /// Nothing, or nothing that is part of the context.
    Nothing,
    Link(Box<[u8]>),
    /// Something that leads nowhere else.
    Other,
}

impl View<'_> {
    fn look_at(&self, path: &ContextPath) -> Result<Seen, ContextError> {
        use std::io::ErrorKind::{NotADirectory, NotFound};

        if path.as_bytes() == Archive::DOCKERFILE_NAME.as_bytes() {
            // The archive holds it, whatever the context does.
            return Ok(Seen::Other);
        }
        let excluded = self.rules.excludes(path);
        let part_of_context = !excluded || self.rules.may_bring_back_below(path.as_bytes());
        if self.never.holds(path) || !part_of_context {
            return Ok(Seen::Nothing);
        }
        let location = path.below(self.root);
        let metadata = match fs::symlink_metadata(&location) {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => {
                return Ok(Seen::Nothing);
            }
            Err(error) => return Err(ContextError::reading(&location, error)),
        };
        if !metadata.is_symlink() {
            return Ok(Seen::Other);
        }
        if excluded {
            return Ok(Seen::Nothing);
        }
        let text = fs::read_link(&location)
            .map_err(|error| ContextError::reading(&location, error))?
            .into_os_string()
            .into_encoded_bytes();
        Ok(Seen::Link(text.into()))
    }

    /// The links below a directory that a pattern matches, those that are ignored among them.
    fn links_matching(
        &self,
        wildcard: &Wildcard,
        base: &[u8],
        matched: &mut Vec<ContextPath>,
    ) -> Result<(), ContextError> {
        let top = ContextPath::new(base);
        let verdict = top.as_ref().map(|path| self.rules.judge_from_root(path)).unwrap_or_default();
        let mut directories = vec![(top, verdict, 0)];
        while let Some((directory, verdict, component)) = directories.pop() {
            self.read(directory.as_ref(), &verdict, &mut |path, verdict, kind| {
                let name = last_component(path.as_bytes());
                match wildcard.step(component, name, relative(path.as_bytes(), base)) {
                    Step::Matched if kind.is_symlink() => matched.push(path),
                    Step::Below
                        if kind.is_dir()
                            && (!verdict.excluded
                                || self.rules.may_bring_back_below(path.as_bytes())) =>
                    {
                        directories.push((Some(path), verdict, component + 1));
                    }
                    _ => {}
                }
            })?;
        }
        Ok(())
    }

    /// Hands out what is in a directory; one that is none has nothing in it.
    fn read(
        &self,
        directory: Option<&ContextPath>,
        verdict: &Verdict,
        found: &mut dyn FnMut(ContextPath, Verdict, fs::FileType),
    ) -> Result<(), ContextError> {
        let location = directory.map_or_else(|| self.root.to_owned(), |path| path.below(self.root));
        let reading = |error| ContextError::reading(&location, error);
        let entries = match fs::read_dir(&location) {
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(()),
            entries => entries.map_err(reading)?,
        };
        for entry in entries {
            let entry = entry.map_err(reading)?;
            let path = ContextPath::child(directory, &entry.file_name());
            if !self.never.holds(&path) {
                let verdict = self.rules.judge(&path, verdict);
                found(path, verdict, entry.file_type().map_err(reading)?);
            }
        }
        Ok(())
    }
}
