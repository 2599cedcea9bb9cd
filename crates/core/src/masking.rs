//! What a step prints, without the secrets that it was given.
//!
//! Masked is a secret's whole value, with or without the blanks around it, and of one with several lines
//! each line of at least eight characters. A value of less than four bytes is not: whatever holds it by
//! accident would be torn. What a step makes of a secret, such as its base64, is not known here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::nfa::noncontiguous::NFA;

use crate::backend::{BackendError, BuildEvent};
use crate::check::CheckResult;
use crate::events::{CheckSubject, Event, Observer};
use crate::image_name::ImageName;
use crate::secrets::SecretValue;

/// What stands in the place of a secret.
const MASK: &str = "***";

/// The shortest value that is masked, in bytes.
const SHORTEST: usize = 4;

/// The shortest line of a value with several lines that is masked by itself, in characters.
const SHORTEST_LINE: usize = 8;

/// The texts that are masked. Cheap to clone.
#[derive(Clone, Default)]
pub struct Masks {
    /// None if nothing is masked.
    texts: Option<Arc<Texts>>,
}

/// All texts in one automaton, so that how many there are does not count.
struct Texts {
    automaton: NFA,
    /// By state: how many of the bytes before it are the beginning of a text that has not ended.
    begun: Vec<usize>,
    longest: usize,
    start: StateID,
}

impl Texts {
    /// None if there are none, or more than an automaton can hold.
    fn new(mut patterns: Vec<Vec<u8>>) -> Option<Self> {
        // Of a state without a way on, the state of what is left without its first byte is known then.
        patterns.sort_by_key(Vec::len);
        let longest = patterns.last()?.len();
        let automaton = NFA::new(&patterns).expect("secrets are small");
        let step = |state, bytes: &[u8]| {
            let next = |state, byte: &u8| automaton.next_state(Anchored::No, state, *byte);
            bytes.iter().fold(state, next)
        };
        let start = automaton.start_state(Anchored::No).expect("it is for searches");
        let mut begun: Vec<usize> = Vec::new();
        let set = |begun: &mut Vec<usize>, state: StateID, count: usize| {
            let index = state.as_usize();
            begun.resize(begun.len().max(index + 1), 0);
            begun[index] = count;
        };
        for pattern in &patterns {
            let mut state = start;
            for (index, byte) in pattern[..pattern.len() - 1].iter().enumerate() {
                state = automaton.next_state(Anchored::No, state, *byte);
                set(&mut begun, state, index + 1);
            }
        }
        let whole: Vec<(StateID, StateID)> = patterns
            .iter()
            .map(|pattern| (step(start, pattern), step(start, &pattern[1..])))
            .collect();
        for (state, rest) in whole {
            if begun.get(state.as_usize()).is_none_or(|count| *count == 0) {
                let count = begun.get(rest.as_usize()).copied().unwrap_or(0);
                set(&mut begun, state, count);
            }
        }
        Some(Self { automaton, begun, longest, start })
    }
}

impl Masks {
    /// Masks these secrets.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretValue>) -> Self {
        let mut patterns: Vec<Vec<u8>> = Vec::new();
        for secret in secrets {
            let value = secret.reveal();
            let trimmed = value.trim_ascii();
            patterns.extend([value, trimmed].map(<[u8]>::to_vec));
            let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            let long =
                |line: &&[u8]| String::from_utf8_lossy(line).chars().count() >= SHORTEST_LINE;
            patterns.extend(lines.filter(long).map(<[u8]>::to_vec));
        }
        patterns.retain(|pattern| pattern.len() >= SHORTEST);
        patterns.sort();
        patterns.dedup();
        Self { texts: Texts::new(patterns).map(Arc::new) }
    }

    /// Whether nothing is masked.
    pub fn is_empty(&self) -> bool {
        self.texts.is_none()
    }

    /// A whole text, masked.
    pub fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    /// The same of bytes.
    pub fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream();
        let mut masked = stream.push(bytes);
        masked.extend(stream.finish());
        masked
    }

    /// Masks what comes in pieces.
    pub fn stream(&self) -> MaskedStream {
        let state = self.texts.as_ref().map(|texts| texts.start).unwrap_or_default();
        MaskedStream { masks: self.clone(), state, held: Vec::new(), found: Vec::new(), covered: 0 }
    }

    /// What was kept of a test's output. Where its beginning was cut off, so may a secret have been.
    pub(crate) fn result(&self, result: &mut CheckResult) {
        if self.is_empty() {
            return;
        }
        let output = &mut result.output;
        if output.truncated {
            let longest = self.texts.as_ref().map_or(0, |texts| texts.longest);
            output.bytes.drain(..output.bytes.len().min(longest));
        }
        output.bytes = self.bytes(&output.bytes);
    }

    /// A failure can hold the end of what a step wrote.
    fn error(&self, error: BackendError) -> BackendError {
        BackendError { message: self.text(&error.message), ..error }
    }

    fn event(&self, event: BuildEvent) -> BuildEvent {
        match event {
            BuildEvent::StepStarted { id, name } => {
                BuildEvent::StepStarted { id, name: self.text(&name) }
            }
            BuildEvent::StepFinished { id, name, cached, error, seconds } => {
                let (name, error) = (self.text(&name), error.map(|error| self.text(&error)));
                BuildEvent::StepFinished { id, name, cached, error, seconds }
            }
            BuildEvent::CacheNotUsed { source, reason } => {
                BuildEvent::CacheNotUsed { source, reason: self.text(&reason) }
            }
            BuildEvent::LayersNotKept { reason } => {
                BuildEvent::LayersNotKept { reason: self.text(&reason) }
            }
            BuildEvent::BuiltAgain { reason } => {
                BuildEvent::BuiltAgain { reason: self.text(&reason) }
            }
            output @ BuildEvent::Output { .. } => output,
        }
    }
}

impl fmt::Debug for Masks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.texts.as_ref().map_or(0, |texts| texts.automaton.patterns_len());
        write!(formatter, "Masks({count} texts)")
    }
}

/// Masks a stream of bytes, wherever its pieces begin and end. What may be the beginning of a secret is
/// held back until it is known.
pub struct MaskedStream {
    masks: Masks,
    state: StateID,
    held: Vec<u8>,
    /// Where texts end in what is held, with the beginning of the longest.
    found: Vec<(usize, usize)>,
    /// How many of the held bytes belong to what stands masked already.
    covered: usize,
}

impl fmt::Debug for MaskedStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MaskedStream").field("masks", &self.masks).finish_non_exhaustive()
    }
}

impl MaskedStream {
    /// Takes a piece, and gives back what is certain.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Some(texts) = &self.masks.texts else {
            return bytes.to_vec();
        };
        for byte in bytes {
            self.state = texts.automaton.next_state(Anchored::No, self.state, *byte);
            self.held.push(*byte);
            if texts.automaton.is_match(self.state) {
                let ended = 0..texts.automaton.match_len(self.state);
                let lengths = ended.map(|index| {
                    texts.automaton.pattern_len(texts.automaton.match_pattern(self.state, index))
                });
                let end = self.held.len();
                self.found.push((end - lengths.max().unwrap_or(0), end));
            }
        }
        let begun = texts.begun.get(self.state.as_usize()).copied().unwrap_or(0);
        self.release(self.held.len() - begun)
    }

    /// Gives back the rest.
    pub fn finish(&mut self) -> Vec<u8> {
        self.state = self.masks.texts.as_ref().map(|texts| texts.start).unwrap_or_default();
        self.release(self.held.len())
    }

    /// Takes the first bytes away, masked.
    fn release(&mut self, count: usize) -> Vec<u8> {
        if count == 0 {
            return Vec::new();
        }
        let mut masked = Vec::with_capacity(count);
        let mut covered = 0;
        for (start, end) in self.secrets() {
            // Its beginning was masked with the piece before.
            let continued = start == 0 && self.covered > 0;
            if start >= count && !continued {
                break;
            }
            masked.extend_from_slice(&self.held[covered..start]);
            if !continued {
                masked.extend_from_slice(MASK.as_bytes());
            }
            covered = end;
        }
        if covered < count {
            masked.extend_from_slice(&self.held[covered..count]);
        }
        self.held.drain(..count);
        self.found.retain(|(start, _)| *start >= count);
        self.found
            .iter_mut()
            .for_each(|(start, end)| (*start, *end) = (*start - count, *end - count));
        self.covered = covered.saturating_sub(count);
        masked
    }

    /// Where secrets lie in what is held, in order; those that overlap are one.
    fn secrets(&self) -> Vec<(usize, usize)> {
        let mut found: Vec<(usize, usize)> = Vec::new();
        if self.covered > 0 {
            found.push((0, self.covered));
        }
        found.extend(&self.found);
        found.sort_unstable();
        let mut merged: Vec<(usize, usize)> = Vec::new();
        for (start, end) in found {
            match merged.last_mut() {
                Some(last) if start < last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        merged
    }
}

/// Whose output it is.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Step(ImageName, String),
    Image(ImageName),
    Project,
}

/// Tells an observer what happens, without secrets.
pub(crate) struct MaskedObserver<'a> {
    observer: &'a dyn Observer,
    masks: Masks,
    streams: Mutex<BTreeMap<Source, Arc<Mutex<MaskedStream>>>>,
}

impl<'a> MaskedObserver<'a> {
    pub(crate) fn new(observer: &'a dyn Observer, masks: &Masks) -> Self {
        Self { observer, masks: masks.clone(), streams: Mutex::default() }
    }

    fn push(&self, source: Source, bytes: &[u8]) -> Vec<u8> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Mutex::new(self.masks.stream()));
        let stream = Arc::clone(streams.entry(source).or_insert_with(new));
        drop(streams);
        stream.lock().unwrap_or_else(PoisonError::into_inner).push(bytes)
    }

    fn finish(&self, source: &Source) -> Vec<u8> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = streams.remove(source);
        drop(streams);
        let finish = |stream: Arc<Mutex<MaskedStream>>| {
            stream.lock().unwrap_or_else(PoisonError::into_inner).finish()
        };
        stream.map(finish).unwrap_or_default()
    }

    fn output(&self, image: &ImageName, id: String, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            let event = BuildEvent::Output { id, bytes };
            self.observer.event(Event::Build { image: image.clone(), event });
        }
    }

    fn test_output(&self, of: &CheckSubject, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.observer.event(Event::CheckOutput { of: of.clone(), bytes });
        }
    }
}

fn source(of: &CheckSubject) -> Source {
    match of {
        CheckSubject::Image(image) => Source::Image(image.clone()),
        CheckSubject::Project => Source::Project,
    }
}

impl Observer for MaskedObserver<'_> {
    fn event(&self, event: Event) {
        match event {
            _ if self.masks.is_empty() => self.observer.event(event),
            Event::Build { image, event: BuildEvent::Output { id, bytes } } => {
                let bytes = self.push(Source::Step(image.clone(), id.clone()), &bytes);
                self.output(&image, id, bytes);
            }
            Event::Build { image, event } => {
                if let BuildEvent::StepFinished { id, .. } = &event {
                    let rest = self.finish(&Source::Step(image.clone(), id.clone()));
                    self.output(&image, id.clone(), rest);
                }
                self.observer.event(Event::Build { image, event: self.masks.event(event) });
            }
            Event::CheckOutput { of, bytes } => {
                let bytes = self.push(source(&of), &bytes);
                self.test_output(&of, bytes);
            }
            Event::CheckFinished { of, passed, seconds } => {
                let rest = self.finish(&source(&of));
                self.test_output(&of, rest);
                self.observer.event(Event::CheckFinished { of, passed, seconds });
            }
            Event::PushRetried { image, error, wait } => {
                let error = self.masks.error(error);
                self.observer.event(Event::PushRetried { image, error, wait });
            }
            Event::BackendLost { backend, error } => {
                let error = self.masks.error(error);
                self.observer.event(Event::BackendLost { backend, error });
            }
            // Nothing in these comes from a step or a test, and the messages of reports are masked where
            // they are made. Each by its name, so that a new one is thought of.
            Event::PrepareStarted { .. }
            | Event::PrepareOutput { .. }
            | Event::PrepareFinished { .. }
            | Event::KeyWarning(_)
            | Event::SecretNotMounted { .. }
            | Event::SecretNotConfigured { .. }
            | Event::RunStarted { .. }
            | Event::BuildStarted { .. }
            | Event::CacheNotLookedUp { .. }
            | Event::CheckStarted { .. }
            | Event::RepositoryCreated { .. }
            | Event::PushStarted { .. }
            | Event::Adopted { .. }
            | Event::Replaced { .. }
            | Event::ReplacedNotRecorded { .. }
            | Event::InputsNotPublished { .. }
            | Event::TagsMoved { .. }
            | Event::Waiting { .. }
            | Event::Appeared { .. }
            | Event::WaitFailed { .. }
            | Event::TagNotRecorded { .. }
            | Event::PullStarted { .. }
            | Event::Finished(_) => self.observer.event(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::backend::BackendErrorKind;

    fn masks(values: &[&str]) -> Masks {
        let values: Vec<SecretValue> =
            values.iter().map(|value| SecretValue::new(*value)).collect();
        Masks::new(&values)
    }

    #[test]
    fn values_lines_and_what_overlaps_are_masked() {
        for (values, text, expected) in [
            (&["s3cret"][..], "a s3cret b s3crets", "a *** b ***s"),
            (&["s3cret\n"], "s3cret s3cret\n", "*** ***"),
            (&["abc"], "abc", "abc"),
            (&["abcd"], "abcabcd", "abc***"),
            (&["abcd", "cdef"], "xabcdefx", "x***x"),
            (&["abcd", "abcdefgh"], "abcdefgh abcdef", "*** ***ef"),
            (&["aaaa"], "aaaaaaa b", "*** b"),
            (
                &["first line\nshort\n  last one  \n"],
                "short, last one first line",
                "short, *** ***",
            ),
            (&["first line\nshort\nlast one\n"], ">first line\nshort\nlast one\n<", ">***<"),
            (&[], "text", "text"),
            (&["", " \n"], "text \n", "text \n"),
        ] {
            assert_eq!(masks(values).text(text), expected, "{values:?} {text:?}");
        }
    }

    #[test]
    fn only_what_may_begin_a_secret_is_held_back() {
        let mut stream = masks(&["s3cret"]).stream();
        let shown: Vec<Vec<u8>> = ["one s", "3", "cre", "t two s", "ee"]
            .iter()
            .map(|it| stream.push(it.as_bytes()))
            .collect();
        assert_eq!(shown, [&b"one "[..], b"", b"", b"*** two ", b"see"]);
        assert_eq!(stream.push(b" s3cr"), b" ");
        assert_eq!(stream.finish(), b"s3cr");
    }

    /// Keeps what was told.
    #[derive(Default)]
    struct Told(Mutex<Vec<Event>>);

    impl Observer for Told {
        fn event(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }

    #[test]
    fn many_texts_and_much_output_do_not_multiply() {
        let lines: String = (0..3000).map(|line| format!("certificate line {line:05}\n")).collect();
        let mut stream = masks(&[&lines]).stream();
        let mut shown = 0;
        for _ in 0..200 {
            shown +=
                stream.push(&b"output that is certificate line of nothing\n".repeat(100)).len();
        }
        assert_eq!(shown + stream.finish().len(), 200 * 100 * 43);
        assert_eq!(masks(&[&lines]).text("x certificate line 01234 y"), "x *** y");
    }

    #[test]
    fn a_failure_that_is_not_the_end_is_masked() {
        let told = Told::default();
        let observer = MaskedObserver::new(&told, &masks(&["s3cret"]));
        let error = || BackendError {
            kind: BackendErrorKind::RegistryPassing,
            message: "it said\n    s3cret".to_owned(),
        };
        let image: ImageName = "a".parse().unwrap();
        observer.event(Event::PushRetried { image, error: error(), wait: Duration::ZERO });
        observer.event(Event::BackendLost { backend: "b".to_owned(), error: error() });
        let told = format!("{:?}", told.0.lock().unwrap());
        assert!(!told.contains("s3cret"), "{told}");
        assert_eq!(told.matches("***").count(), 2, "{told}");
    }

    #[test]
    fn nothing_shows_what_is_masked() {
        assert_eq!(format!("{:?}", masks(&["s3cret"])), "Masks(1 texts)");
        let mut stream = masks(&["s3cret"]).stream();
        stream.push(b"s3cre");
        assert_eq!(format!("{stream:?}"), "MaskedStream { masks: Masks(1 texts), .. }");
    }

    proptest! {
        #[test]
        fn where_pieces_end_changes_nothing(
            values in proptest::collection::vec("[ab]{4,7}", 1..4),
            text in "[abc]{0,60}",
            cuts in proptest::collection::vec(0_usize..60, 0..8),
        ) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let masks = masks(&values);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut stream = masks.stream();
            let mut shown: Vec<u8> = Vec::new();
            for pair in cuts.windows(2) {
                shown.extend(stream.push(&text.as_bytes()[pair[0]..pair[1]]));
            }
            shown.extend(stream.finish());
            let shown = String::from_utf8(shown).unwrap();
            prop_assert_eq!(&shown, &masks.text(&text));
            prop_assert!(values.iter().all(|value| !shown.contains(value)));
        }
    }
}
