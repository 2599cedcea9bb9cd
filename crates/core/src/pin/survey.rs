//! Reading the files of a work tree for what is kept true in them.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::files::{WorkTree, text_of};
use super::rule::{FileMatcher, PinForm, PinRule};
use super::scan::{Mention, Scanner, Written, line_of};
use crate::image_name::ImageName;

/// A file with something in it.
pub(crate) struct SurveyedFile {
    pub(crate) path: PathBuf,
    pub(crate) shown: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) items: Vec<Item>,
    /// The rules that it is matched by.
    pub(crate) rules: Vec<usize>,
}

/// Something in a file that is kept true, or should be there.
pub(crate) struct Item {
    pub(crate) line: usize,
    /// What is shown.
    pub(crate) span: Range<usize>,
    pub(crate) what: What,
}

/// What was found.
pub(crate) enum What {
    /// A reference, or the parts of one.
    Reference {
        mention: Mention,
        /// The image that the rule names.
        image: Option<ImageName>,
        /// Whether one with a content tag alone is kept true, too.
        tags: bool,
    },
    /// The parts of a reference to an image that is none of the project's, as it is written.
    Foreign(String),
    /// A rule does not find what it is to find.
    Failed(String),
}

/// What is looked for, and in which files.
pub(crate) struct Search<'a> {
    pub(crate) tree: &'a WorkTree,
    pub(crate) rules: &'a [PinRule],
    /// By rule.
    pub(crate) matchers: Vec<FileMatcher>,
    pub(crate) scanner: Scanner,
    /// Whether references are looked for in files that no rule names.
    pub(crate) all_files: bool,
    /// What is never looked at: files that dockit itself writes.
    pub(crate) own: Vec<PathBuf>,
}

/// A file that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{shown}: cannot be read: {error}")]
pub struct Unreadable {
    shown: String,
    #[source]
    error: io::Error,
}

impl Search<'_> {
    /// Reads the files on all cores. The result is in the order of the paths.
    pub(crate) fn run(&self) -> Result<Vec<SurveyedFile>, Unreadable> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicUsize::new(0);
        let read = || {
            let mut found = Vec::new();
            // By small portions: sizes of files differ.
            loop {
                let start = next.fetch_add(PORTION, Ordering::Relaxed);
                let Some(paths) = self.tree.paths.get(start..) else { break };
                if paths.is_empty() {
                    break;
                }
                for (offset, path) in paths.iter().take(PORTION).enumerate() {
                    if let Some(file) = self.file(path)? {
                        found.push((start + offset, file));
                    }
                }
            }
            Ok::<_, Unreadable>(found)
        };
        let mut files = Vec::new();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (1..threads).map(|_| scope.spawn(read)).collect();
            files.extend(read()?);
            for worker in workers {
                files.extend(worker.join().expect("reading does not panic")?);
            }
            Ok::<_, Unreadable>(())
        })?;
        files.sort_by_key(|(position, _)| *position);
        Ok(files.into_iter().map(|(_, file)| file).collect())
    }

    fn file(&self, path: &[u8]) -> Result<Option<SurveyedFile>, Unreadable> {
        let rules: Vec<usize> =
            (0..self.rules.len()).filter(|rule| self.matchers[*rule].is_match(path)).collect();
        let named = |rule: &usize| matches!(self.rules[*rule].form, PinForm::References { .. });
        let references = self.all_files || rules.iter().any(named);
        if rules.is_empty() && !references {
            return Ok(None);
        }
        let location = self.tree.location(path);
        if self.own.iter().any(|own| location.starts_with(own)) {
            return Ok(None);
        }
        let read = text_of(&location);
        let shown = || self.tree.shown(path);
        let Some(bytes) = read.map_err(|error| Unreadable { shown: shown(), error })? else {
            return Ok(None);
        };
        let mut items = Vec::new();
        for rule in &rules {
            self.apply(&self.rules[*rule].form, &shown(), &bytes, &mut items);
        }
        if references && self.scanner.may_find(&bytes) {
            let tags = rules
                .iter()
                .any(|rule| matches!(self.rules[*rule].form, PinForm::References { tags: true }));
            for mention in self.scanner.scan(&bytes) {
                // What a rule speaks of, it decides.
                if items.iter().all(|item| !overlap(&item.span, &mention.span)) {
                    let (line, span) = (mention.line, mention.span.clone());
                    let what = What::Reference { mention, image: None, tags };
                    items.push(Item { line, span, what });
                }
            }
        }
        items.sort_by_key(|item| item.span.start);
        if items.is_empty() {
            return Ok(None);
        }
        Ok(Some(SurveyedFile { path: location, shown: shown(), bytes, items, rules }))
    }

    fn apply(&self, form: &PinForm, shown: &str, bytes: &[u8], items: &mut Vec<Item>) {
        let failed = |message: String| Item { line: 1, span: 0..0, what: What::Failed(message) };
        match form {
            PinForm::References { .. } => {}
            PinForm::Pattern(pattern) => {
                let found = pattern.matches(bytes, &self.scanner);
                if found.len() != pattern.expected() as usize {
                    let (times, wanted) = (found.len(), pattern.expected());
                    items.push(failed(format!(
                        "its pattern is to match {wanted} times in this file, and does {times} times"
                    )));
                    return;
                }
                items.extend(found.into_iter().map(|matched| {
                    let what = match (matched.mention, matched.repository) {
                        (Some(mention), None) => {
                            What::Reference { mention, image: matched.image, tags: true }
                        }
                        (Some(mention), Some(written)) => {
                            if matched.image.is_some() || mention.repository.to_string() != NOWHERE
                            {
                                What::Reference { mention, image: matched.image, tags: true }
                            } else {
                                What::Foreign(written)
                            }
                        }
                        (None, written) => What::Failed(match written {
                            Some(written) => format!("{written} has neither tag nor digest here"),
                            None => {
                                "its pattern matches what is no reference to an image".to_owned()
                            }
                        }),
                    };
                    Item { line: matched.line, span: matched.whole, what }
                }));
            }
            PinForm::Field { path, image } => match path.find(shown, bytes) {
                Err(message) => items.push(failed(message)),
                Ok(span) => {
                    let line = line_of(bytes, span.start);
                    let what = match self.value(bytes, &span, line) {
                        Some(mention) => {
                            What::Reference { mention, image: Some(image.clone()), tags: true }
                        }
                        None => What::Failed(format!("{path} is no reference, tag or digest")),
                    };
                    items.push(Item { line, span, what });
                }
            },
        }
    }

    /// What the value of a field says: a reference, or a digest or tag alone.
    fn value(&self, bytes: &[u8], span: &Range<usize>, line: usize) -> Option<Mention> {
        let text = std::str::from_utf8(&bytes[span.clone()]).ok()?;
        let mut inside = self.scanner.scan(text.as_bytes());
        if let [mention] = inside.as_mut_slice()
            && mention.span == (0..text.len())
        {
            let mut mention = mention.clone();
            mention.shift(span.start);
            mention.line = line;
            return Some(mention);
        }
        let mut mention = Mention::of_parts(span.clone(), line);
        match (text.parse(), text.parse()) {
            (Ok(digest), _) => {
                mention.digest = Some(Written { value: digest, span: span.clone() });
            }
            (_, Ok(tag)) => mention.tag = Some(Written { value: tag, span: span.clone() }),
            _ => return None,
        }
        Some(mention)
    }
}

/// How many files a thread takes at a time.
const PORTION: usize = 16;

/// The repository of parts whose image the rule names.
pub(crate) const NOWHERE: &str = "docker.io/library/unnamed";

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}
