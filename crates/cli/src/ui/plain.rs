//! Lines for a log: each names its image, and no line is ever rewritten.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Mutex;

use dockit_core::ImageName;
use dockit_core::backend::BuildEvent;
use dockit_core::events::{Event, Observer};
use dockit_core::execute::{ImageReport, Status};

use super::progress::Display;

/// Bytes of an unfinished line that are held back at most.
const LINE_LIMIT: usize = 8 * 1024;

/// What the output of a prepare command is filed under; no step of a build is called so.
const PREPARE: &str = "prepare";

pub(super) struct Plain {
    quiet: bool,
    /// Unfinished lines by image and step.
    partial: Mutex<HashMap<(ImageName, String), Vec<u8>>>,
}

impl Plain {
    pub(super) fn new() -> Self {
        Self { quiet: false, partial: Mutex::default() }
    }

    pub(super) fn warnings_only() -> Self {
        Self { quiet: true, partial: Mutex::default() }
    }

    fn say(&self, image: &ImageName, text: &str) {
        if !self.quiet {
            super::say(&format!("{image}: {text}"));
        }
    }

    fn build(&self, image: &ImageName, event: BuildEvent) {
        match event {
            BuildEvent::StepStarted { name, .. } => self.say(image, &name),
            BuildEvent::Output { id, bytes } => self.output(image, id, &bytes),
            BuildEvent::StepFinished { id, name, cached, error, seconds } => {
                self.flush(image, id);
                // What failed is told once, when the image is done.
                if cached {
                    self.say(image, &format!("{name} (cached)"));
                } else if error.is_none() && seconds >= 1.0 {
                    self.say(image, &format!("{name} ({seconds:.1} s)"));
                }
            }
            _ => {}
        }
    }

    /// Where nothing is shown, the end is held back for the case that the command fails.
    fn prepare_output(&self, image: ImageName, bytes: &[u8]) {
        if !self.quiet {
            return self.output(&image, PREPARE.to_owned(), bytes);
        }
        let mut partial = lock(&self.partial);
        let held = partial.entry((image, PREPARE.to_owned())).or_default();
        held.extend_from_slice(bytes);
        let excess = held.len().saturating_sub(8 * LINE_LIMIT);
        held.drain(..excess);
    }

    fn prepare_finished(&self, image: &ImageName, succeeded: bool) {
        if self.quiet && succeeded {
            lock(&self.partial).remove(&(image.clone(), PREPARE.to_owned()));
        } else {
            self.flush(image, PREPARE.to_owned());
        }
    }

    fn output(&self, image: &ImageName, id: String, bytes: &[u8]) {
        if self.quiet {
            return;
        }
        let mut partial = lock(&self.partial);
        let line = partial.entry((image.clone(), id)).or_default();
        line.extend_from_slice(bytes);
        let end = match line.iter().rposition(|byte| *byte == b'\n') {
            Some(position) => position + 1,
            None if line.len() > LINE_LIMIT => line.len(),
            None => return,
        };
        let complete: Vec<u8> = line.drain(..end).collect();
        drop(partial);
        self.lines(image, &complete);
    }

    fn flush(&self, image: &ImageName, id: String) {
        let rest = lock(&self.partial).remove(&(image.clone(), id));
        if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
            self.lines(image, &rest);
        }
    }

    fn lines(&self, image: &ImageName, bytes: &[u8]) {
        let mut text = String::new();
        for line in String::from_utf8_lossy(bytes).lines() {
            // A progress bar rewrites its line; a log gets its last state.
            let line = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
            text.push_str(&format!("{image} | {line}\n"));
        }
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

impl Observer for Plain {
    fn event(&self, event: Event) {
        match event {
            Event::Build { image, event } => self.build(&image, event),
            Event::PrepareOutput { image, bytes } => self.prepare_output(image, &bytes),
            Event::PrepareFinished { image, succeeded, .. } => {
                self.prepare_finished(&image, succeeded);
            }
            Event::Finished(report) => {
                if !self.quiet || report.error.is_some() {
                    super::say(&finished(&report));
                }
            }
            other => {
                if let Some((image, text, warning)) = announcement(&other) {
                    if warning {
                        super::say(&format!("{image}: warning: {text}"));
                    } else {
                        self.say(&image, &text);
                    }
                }
            }
        }
    }
}

impl Display for Plain {}

/// What an event says about an image, and whether it is a warning.
pub(super) fn announcement(event: &Event) -> Option<(ImageName, String, bool)> {
    Some(match event {
        Event::KeyWarning(warning) => (warning.image().clone(), warning.to_string(), true),
        Event::PrepareStarted { image, command } => {
            (image.clone(), format!("preparing: {command}"), false)
        }
        Event::BuildStarted { image, reference } => {
            (image.clone(), format!("building {}", super::shown(reference)), false)
        }
        Event::PushStarted { image, reference } => {
            (image.clone(), format!("pushing {reference}"), false)
        }
        Event::RepositoryCreated { image, repository } => {
            (image.clone(), format!("made the repository {repository}"), false)
        }
        Event::PullStarted { image, reference } => {
            (image.clone(), format!("pulling {reference}"), false)
        }
        Event::Adopted { image, digest } => {
            (image.clone(), format!("another run pushed this key: using its image {digest}"), false)
        }
        Event::InputsNotPublished { image, error } => (
            image.clone(),
            format!("pushed, but the list of its inputs could not be published: {error}"),
            true,
        ),
        _ => return None,
    })
}

/// One line on how an image ended.
pub(super) fn finished(report: &ImageReport) -> String {
    let name = &report.image;
    let status = report.status.as_str();
    match (&report.error, report.status) {
        (Some(error), _) => format!("{name}: {status}: {}", error.message),
        (None, Status::Built) => format!("{name}: {status} in {:.1} s", report.seconds),
        (None, _) => format!("{name}: {status}"),
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
