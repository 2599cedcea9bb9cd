//! Lines of what others write while they run: steps of builds, commands that prepare, tests.
//!
//! One place for all displays, because a log is obeyed by the service that keeps it: no way of showing
//! such a line may go around [`printable::without_commands`].

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;

use dockit_core::ImageName;
use dockit_core::events::CheckSubject;

use super::plain::lock;
use super::{checks, printable};

/// Bytes of an unfinished line that are held back at most.
const LINE_LIMIT: usize = 8 * 1024;

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Writer {
    /// A step of an image's build, by its id.
    Step(ImageName, String),
    /// The command that prepares an image.
    Prepare(ImageName),
    /// A test.
    Test(CheckSubject),
}

impl fmt::Display for Writer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(image, _) | Self::Prepare(image) => image.fmt(formatter),
            Self::Test(of) => formatter.write_str(&checks::who(of)),
        }
    }
}

/// Makes whole lines of pieces, each with the name of who wrote it and a line feed. A CI service obeys
/// none of them; colours stay.
#[derive(Default)]
pub(super) struct OutputLines {
    partial: Mutex<HashMap<Writer, Vec<u8>>>,
}

impl OutputLines {
    /// The lines that a piece completes; perhaps none, which is the empty text.
    pub(super) fn take(&self, writer: &Writer, bytes: &[u8]) -> String {
        let mut partial = lock(&self.partial);
        let line = partial.entry(writer.clone()).or_default();
        line.extend_from_slice(bytes);
        let end = match line.iter().rposition(|byte| *byte == b'\n') {
            Some(position) => position + 1,
            None if line.len() > LINE_LIMIT => line.len(),
            None => return String::new(),
        };
        let complete: Vec<u8> = line.drain(..end).collect();
        drop(partial);
        lines(writer, &complete)
    }

    /// Keeps the end of what is shown only if its writer fails.
    pub(super) fn hold_back(&self, writer: &Writer, bytes: &[u8]) {
        let mut partial = lock(&self.partial);
        let held = partial.entry(writer.clone()).or_default();
        held.extend_from_slice(bytes);
        let excess = held.len().saturating_sub(8 * LINE_LIMIT);
        held.drain(..excess);
    }

    /// What was left without an end of line, or held back. Nothing is left afterwards.
    pub(super) fn rest(&self, writer: &Writer) -> String {
        let rest = lock(&self.partial).remove(writer);
        lines(writer, &rest.unwrap_or_default())
    }
}

fn lines(writer: &Writer, bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in String::from_utf8_lossy(bytes).lines() {
        // A progress bar rewrites its line; a log gets its last state.
        let line = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
        text.push_str(&format!("{writer} | {line}\n"));
    }
    printable::without_commands(text.into()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> ImageName {
        "base".parse().unwrap()
    }

    fn writers() -> [Writer; 4] {
        [
            Writer::Step(base(), "1".to_owned()),
            Writer::Prepare(base()),
            Writer::Test(CheckSubject::Image(base())),
            Writer::Test(CheckSubject::Project),
        ]
    }

    #[test]
    fn pieces_become_lines_of_who_wrote_them() {
        let lines = OutputLines::default();
        let of = Writer::Test(CheckSubject::Image(base()));
        assert!(lines.take(&of, b"one").is_empty());
        let project = Writer::Test(CheckSubject::Project);
        assert_eq!(lines.take(&project, b"p\n"), "project tests | p\n");
        let text = lines.take(&of, b" more\r\n10%\r20%\ntail");
        assert_eq!(text, "base | one more\nbase | 20%\n");
        assert_eq!(lines.rest(&of), "base | tail\n");
        assert!(lines.rest(&of).is_empty());
        assert_eq!(lines.take(&of, &vec![b'x'; LINE_LIMIT + 1]).lines().count(), 1);
    }

    #[test]
    fn what_is_held_back_has_an_end() {
        let (lines, of) = (OutputLines::default(), Writer::Prepare(base()));
        for number in 0..10_000 {
            lines.hold_back(&of, format!("a line {number}\n").as_bytes());
        }
        let text = lines.rest(&of);
        assert!(text.ends_with("base | a line 9999\n") && !text.contains("a line 0\n"));
    }

    #[test]
    fn a_service_obeys_nobody_who_writes() {
        let evil = "##vso[a]b\n::set-output name=a::b\nx ##[error]c\r::add-mask::d\n  ##vso[e]f";
        for writer in writers() {
            // In one piece, and byte by byte.
            for size in [evil.len(), 1] {
                let output = OutputLines::default();
                let mut text = String::new();
                for piece in evil.as_bytes().chunks(size) {
                    text.push_str(&output.take(&writer, piece));
                }
                text.push_str(&output.rest(&writer));
                assert_eq!(text.lines().count(), 4, "{text}");
                for line in text.lines() {
                    let behind = format!("{writer} | ");
                    assert!(line.starts_with(&behind), "{line}");
                    assert!(!line.contains("##"), "{line}");
                    assert!(!line.trim_start().starts_with("::"), "{line}");
                }
            }
        }
    }
}
