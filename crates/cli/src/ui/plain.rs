//! Lines for a log: each names its image, and no line is ever rewritten.

use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use dockit_core::ImageName;
use dockit_core::backend::{BackendError, BuildEvent};
use dockit_core::events::{Event, Observer};
use dockit_core::execute::{ImageReport, Status};
use dockit_core::secrets::SecretMountKind;
use dockit_registry::{Reference, Tag};

use super::checks;
use super::lines::{OutputLines, Writer};
use super::progress::Display;

pub(super) struct Plain {
    quiet: bool,
    output: OutputLines,
}

impl Plain {
    pub(super) fn new() -> Self {
        Self { quiet: false, output: OutputLines::default() }
    }

    pub(super) fn warnings_only() -> Self {
        Self { quiet: true, ..Self::new() }
    }

    fn say(&self, image: &ImageName, text: &str) {
        if !self.quiet {
            super::say(&format!("{image}: {text}"));
        }
    }

    fn build(&self, image: &ImageName, event: BuildEvent) {
        match event {
            BuildEvent::StepStarted { name, .. } => self.say(image, &name),
            BuildEvent::Output { id, bytes } => {
                self.output(&Writer::Step(image.clone(), id), &bytes);
            }
            BuildEvent::StepFinished { id, name, cached, error, seconds } => {
                self.rest(&Writer::Step(image.clone(), id));
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
        let writer = Writer::Prepare(image);
        if self.quiet {
            self.output.hold_back(&writer, bytes);
        } else {
            self.output(&writer, bytes);
        }
    }

    fn prepare_finished(&self, image: ImageName, succeeded: bool) {
        let rest = self.output.rest(&Writer::Prepare(image));
        if !(self.quiet && succeeded) {
            write(&rest);
        }
    }

    fn output(&self, writer: &Writer, bytes: &[u8]) {
        if !self.quiet {
            write(&self.output.take(writer, bytes));
        }
    }

    fn rest(&self, writer: &Writer) {
        if !self.quiet {
            write(&self.output.rest(writer));
        }
    }
}

/// Whole lines, of which colours stay.
fn write(lines: &str) {
    if !lines.is_empty() {
        let _ = std::io::stderr().lock().write_all(lines.as_bytes());
    }
}

impl Observer for Plain {
    fn event(&self, event: Event) {
        match event {
            Event::Build { image, event } if !is_announced(&event) => {
                self.build(&image, event);
            }
            Event::PrepareOutput { image, bytes } => self.prepare_output(image, &bytes),
            Event::PrepareFinished { image, succeeded, .. } => {
                self.prepare_finished(image, succeeded);
            }
            Event::CheckStarted { of, command, on } if !self.quiet => {
                super::say(&format!("{}: {}", checks::who(&of), checks::beginning(&command, on)));
            }
            Event::CheckOutput { of, bytes } => self.output(&Writer::Test(of), &bytes),
            // What failed is told once, when the image or the run is done.
            Event::CheckFinished { of, passed, seconds } if !self.quiet => {
                self.rest(&Writer::Test(of.clone()));
                if passed {
                    super::say(&format!("{}: passed in {seconds:.1} s", checks::who(&of)));
                }
            }
            Event::Finished(report) => {
                if !self.quiet || report.error.is_some() {
                    super::say(&finished(&report));
                }
            }
            Event::BackendLost { backend, error } => super::say(&lost(&backend, &error)),
            Event::Waiting { images, left } => {
                if !self.quiet {
                    super::say(&waiting(&images, left));
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

fn secret(kind: SecretMountKind) -> &'static str {
    match kind {
        SecretMountKind::Secret => "secret",
        SecretMountKind::Ssh => "ssh agent",
    }
}

/// What has to be written in the configuration.
fn table(kind: SecretMountKind, id: &str) -> String {
    match kind {
        SecretMountKind::Secret => format!("[secrets.{id:?}]"),
        SecretMountKind::Ssh => format!("[ssh.{id:?}]"),
    }
}

/// Whether an event of a build is told as those of the run are.
pub(super) fn is_announced(event: &BuildEvent) -> bool {
    matches!(
        event,
        BuildEvent::CacheNotUsed { .. }
            | BuildEvent::LayersNotKept { .. }
            | BuildEvent::BuiltAgain { .. }
    )
}

/// What an event says about an image, and whether it is a warning.
pub(super) fn announcement(event: &Event) -> Option<(ImageName, String, bool)> {
    Some(match event {
        Event::KeyWarning(warning) => (warning.image().clone(), warning.to_string(), true),
        Event::SecretNotMounted { image, kind, id } => {
            let what = secret(*kind);
            (image.clone(), format!("the {what} {id:?} is configured, and no RUN mounts it"), true)
        }
        Event::SecretNotConfigured { image, kind, id } => {
            let (what, place) = (secret(*kind), table(*kind, id));
            let text = format!("built without the {what} {id:?}, which {place} could say");
            (image.clone(), text, true)
        }
        Event::PrepareStarted { image, command } => {
            (image.clone(), format!("preparing: {command}"), false)
        }
        Event::BuildStarted { image, reference, backend } => {
            let on = backend.as_ref().map(|name| format!(" on {name}")).unwrap_or_default();
            (image.clone(), format!("building {}{on}", super::shown(reference)), false)
        }
        Event::PushStarted { image, reference } => {
            (image.clone(), format!("pushing {reference}"), false)
        }
        Event::PushRetried { image, error, wait } => {
            let seconds = wait.as_secs_f64();
            (image.clone(), format!("the push failed, again in {seconds:.1} s: {error}"), true)
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
        Event::Replaced { image, old, digest } => (
            image.clone(),
            format!("replaced {old}, which stays in the registry, by {digest}"),
            false,
        ),
        Event::ReplacedNotRecorded { image, old, error } => (
            image.clone(),
            format!("that it replaces {old} could not be recorded beside it: {error}"),
            true,
        ),
        Event::CacheNotLookedUp { image, reference, error } => (
            image.clone(),
            format!("built without the layers of {}: {error}", super::shown(reference)),
            true,
        ),
        Event::Build { image, event: BuildEvent::CacheNotUsed { source, reason } } => {
            (image.clone(), format!("built without the layers of {source}: {reason}"), true)
        }
        Event::Build { image, event: BuildEvent::LayersNotKept { reason } } => {
            (image.clone(), format!("its layers are not kept for later builds: {reason}"), true)
        }
        Event::Build { image, event: BuildEvent::BuiltAgain { reason } } => {
            let text = "is built once more, because the engine lost something that it built with";
            (image.clone(), format!("{text}: {reason}"), true)
        }
        Event::TagNotRecorded { image, tag, error } => (
            image.clone(),
            format!("for which commit {tag} is put could not be recorded: {error}"),
            true,
        ),
        Event::InputsNotPublished { image, error } => (
            image.clone(),
            format!("pushed, but the list of its inputs could not be published: {error}"),
            true,
        ),
        Event::TagsMoved { image, tags, held } => {
            let mut texts = Vec::new();
            if !tags.is_empty() {
                let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
                texts.push(format!("tagged {}", tags.join(", ")));
            }
            texts.extend(
                held.iter().map(|held| format!("{} is not moved: {}", held.name(), held.reason)),
            );
            (image.clone(), texts.join("; "), false)
        }
        Event::Appeared { image, reference } => {
            (image.clone(), format!("{} is there", super::shown(reference)), false)
        }
        Event::WaitFailed { image, error } => {
            (image.clone(), format!("the registry did not say whether it is there: {error}"), true)
        }
        _ => return None,
    })
}

/// That a build backend gets nothing more.
pub(super) fn lost(backend: &str, error: &BackendError) -> String {
    format!("warning: the build backend {backend} is not used any more: {error}")
}

/// What is waited for: a line, and one for each image.
pub(super) fn waiting(images: &[(ImageName, Reference)], left: Duration) -> String {
    let minutes = left.as_millis().div_ceil(60_000);
    let mut text = format!(
        "waiting for {}, at most {}",
        super::count(images.len(), "image"),
        super::count(usize::try_from(minutes).unwrap_or(usize::MAX), "minute"),
    );
    for (image, reference) in images {
        text.push_str(&format!("\n  {image}: {}", super::shown(reference)));
    }
    text
}

/// One line on how an image ended.
pub(super) fn finished(report: &ImageReport) -> String {
    let name = &report.image;
    let status = report.status.as_str();
    if let Some(why) = &report.skipped {
        return format!("{name}: {status}: {why}");
    }
    match (&report.error, report.status) {
        (Some(error), _) => format!("{name}: {status}: {}", error.message),
        (None, Status::Built) => format!("{name}: {status} in {:.1} s", report.seconds),
        (None, _) => format!("{name}: {status}"),
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
