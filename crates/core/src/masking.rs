//! What a step prints, without the secrets that it was given.
//!
//! Masked is a secret's whole value, with or without the blanks around it, and of one with several lines
//! each line of at least eight characters. A value of less than four bytes is not: whatever holds it by
//! accident would be torn. What a step makes of a secret, such as its base64, is not known here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// Each once.
    patterns: Arc<Vec<Vec<u8>>>,
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
        Self { patterns: Arc::new(patterns) }
    }

    /// Whether nothing is masked.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
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
        MaskedStream { masks: self.clone(), held: Vec::new(), covered: 0 }
    }

    /// What was kept of a test's output. Where its beginning was cut off, so may a secret have been.
    pub(crate) fn result(&self, result: &mut CheckResult) {
        if self.is_empty() {
            return;
        }
        let output = &mut result.output;
        if output.truncated {
            let longest = self.patterns.iter().map(Vec::len).max().unwrap_or(0);
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
        write!(formatter, "Masks({} texts)", self.patterns.len())
    }
}

/// Masks a stream of bytes, wherever its pieces begin and end. What may be the beginning of a secret is
/// held back until it is known.
pub struct MaskedStream {
    masks: Masks,
    held: Vec<u8>,
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
        self.held.extend_from_slice(bytes);
        let certain = self.certain();
        self.release(certain)
    }

    /// Gives back the rest.
    pub fn finish(&mut self) -> Vec<u8> {
        self.release(self.held.len())
    }

    /// How many of the held bytes begin no secret of which the end has not come.
    fn certain(&self) -> usize {
        let longest = self.masks.patterns.iter().map(Vec::len).max().unwrap_or(0);
        let first = (self.held.len() + 1).saturating_sub(longest);
        let may_begin = |start: &usize| {
            let rest = &self.held[*start..];
            let patterns = self.masks.patterns.iter();
            patterns.into_iter().any(|it| it.len() > rest.len() && it.starts_with(rest))
        };
        (first..self.held.len()).find(may_begin).unwrap_or(self.held.len())
    }

    /// Takes the first bytes away, masked.
    fn release(&mut self, count: usize) -> Vec<u8> {
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
        self.covered = covered.saturating_sub(count);
        masked
    }

    /// Where secrets lie in what is held, in order; those that overlap are one.
    fn secrets(&self) -> Vec<(usize, usize)> {
        let mut found: Vec<(usize, usize)> = Vec::new();
        if self.covered > 0 {
            found.push((0, self.covered));
        }
        for pattern in self.masks.patterns.iter() {
            let windows = self.held.windows(pattern.len()).enumerate();
            let places = windows.filter(|(_, window)| window == pattern);
            found.extend(places.map(|(start, _)| (start, start + pattern.len())));
        }
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
    streams: Mutex<BTreeMap<Source, MaskedStream>>,
}

impl<'a> MaskedObserver<'a> {
    pub(crate) fn new(observer: &'a dyn Observer, masks: &Masks) -> Self {
        Self { observer, masks: masks.clone(), streams: Mutex::default() }
    }

    fn push(&self, source: Source, bytes: &[u8]) -> Vec<u8> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.entry(source).or_insert_with(|| self.masks.stream()).push(bytes)
    }

    fn finish(&self, source: &Source) -> Vec<u8> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.remove(source).map(|mut stream| stream.finish()).unwrap_or_default()
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
