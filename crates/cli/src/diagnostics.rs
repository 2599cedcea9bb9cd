//! Exit codes, and errors as a person reads them: what happened, and what to do about it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use dockit_core::Error;
use dockit_core::backend::{BackendError, BackendErrorKind};
use dockit_core::execute::{ImageError, ImageErrorKind, RunReport, Status};
use dockit_core::lookup::LookupError;
use dockit_core::revision::RevisionError;
use dockit_core::why::WhyError;
use dockit_registry::ErrorKind;

use crate::ui::printable;

/// How the process ends. The numbers are a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// A build, a test or a gate failed.
    Failed = 1,
    /// The command line, the configuration or a Dockerfile is wrong.
    Usage = 2,
    /// A registry or layout, or the credentials for it.
    Registry = 3,
    /// No engine can build.
    Engine = 4,
    /// A check found differences.
    Differences = 5,
    /// Interrupted.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error, the exit code it leads to, and what may help.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    hints: Vec<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hints: Vec::new() }
    }

    /// Adds what may help.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What may help.
    pub(crate) fn hints_given(&self) -> &[String] {
        &self.hints
    }

    /// A failure of registries or layouts, with what may help for each of these errors.
    pub(crate) fn of_registry<'a>(
        message: String,
        errors: impl Iterator<Item = &'a dockit_registry::Error>,
    ) -> Self {
        Self::new(Exit::Registry, message).hints(registry_hints(errors))
    }

    /// Says it on standard error.
    pub fn report(&self) -> Exit {
        let mut text = String::new();
        for line in self.message.lines() {
            // Lines of a list of errors; what is indented belongs to the line above it.
            let label = if line.starts_with(' ') { "" } else { "error: " };
            let _ = writeln!(text, "{label}{line}");
        }
        for hint in &self.hints {
            let _ = writeln!(text, "hint: {hint}");
        }
        let _ = std::io::stderr().write_all(printable::lines(&text).as_bytes());
        self.exit
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::UnknownImage(error) => {
                let failure = Self::new(Exit::Usage, message);
                match error.nearest {
                    Some(nearest) => failure.hint(format!("did you mean {nearest:?}?")),
                    None => failure.hint("`dockit list` names the images"),
                }
            }
            Error::Prepare(_) => Self::new(Exit::Failed, message),
            Error::Keys(error) => {
                let mut failure = Self::new(Exit::Usage, message);
                if !error.unprepared.is_empty() {
                    failure = failure.hint(
                        "`dockit build` runs the prepare commands; other commands do so with --prepare",
                    );
                }
                if error.unlocked.is_empty() {
                    return failure;
                }
                failure.hint(
                    "`dockit build` resolves these images and writes their digests to dockit.lock",
                )
            }
            Error::Locked(_) => Self::new(Exit::Usage, message)
                .hint("run the same command without --locked and commit dockit.lock"),
            Error::Resolve(error) => {
                let errors = error.failures.iter().map(|(_, error)| error);
                Self::new(Exit::Registry, message).hints(registry_hints(errors))
            }
            Error::Lookup(error) => {
                let errors = error.failures.iter().filter_map(|(_, error)| match error {
                    LookupError::Registry(error) => Some(error),
                    LookupError::Engine(_) => None,
                });
                Self::new(Exit::Registry, message).hints(registry_hints(errors)).hint(
                    "nothing was built: only a registry that says \"absent\" leads to a build",
                )
            }
            Error::Backend(error) => backend_failure(&error, message),
            _ => Self::new(Exit::Usage, message),
        }
    }
}

impl From<WhyError> for Failure {
    fn from(error: WhyError) -> Self {
        let message = error.to_string();
        match error {
            WhyError::Project(error) => error.into(),
            WhyError::Registry(error) => {
                let hints = registry_hints(std::iter::once(&error));
                Self::new(Exit::Registry, message).hints(hints)
            }
            WhyError::Revision(RevisionError::Process(_)) => Self::new(Exit::Usage, message)
                .hint("a comparison with a revision needs git in the search path"),
            WhyError::Revision(RevisionError::Submodule { .. }) => {
                Self::new(Exit::Usage, message).hint("`git submodule update` fetches it")
            }
            WhyError::NothingToCompare { .. } => Self::new(Exit::Usage, message).hint(
                "name a state: --rev, --tag, --digest, --key; `dockit build` keeps what it builds",
            ),
            _ => Self::new(Exit::Usage, message),
        }
    }
}

impl From<dockit_registry::Error> for Failure {
    fn from(error: dockit_registry::Error) -> Self {
        Self::of_registry(error.to_string(), std::iter::once(&error))
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        match error.kind {
            ImageErrorKind::Engine => Self::new(Exit::Engine, error.message).hint(ENGINE_HINT),
            ImageErrorKind::Registry | ImageErrorKind::NoRepository => {
                Self::new(Exit::Registry, error.message)
            }
            _ => Self::new(Exit::Failed, error.message),
        }
    }
}

impl Failure {
    fn hints(mut self, hints: Vec<String>) -> Self {
        self.hints.extend(hints);
        self
    }
}

const ENGINE_HINT: &str = "start Docker, or set DOCKER_HOST to an engine that runs \
     (on Debian: `apt-get install docker.io`)";

fn backend_failure(error: &BackendError, message: String) -> Failure {
    match error.kind {
        BackendErrorKind::Unavailable => Failure::new(Exit::Engine, message).hint(ENGINE_HINT),
        BackendErrorKind::Engine => Failure::new(Exit::Engine, message),
        BackendErrorKind::Registry => Failure::new(Exit::Registry, message),
        _ => Failure::new(Exit::Failed, message),
    }
}

fn is_no_blob(error: &dockit_registry::Error) -> bool {
    error.request().is_none() && error.to_string().contains(": no blob sha")
}

fn registry_hints<'a>(errors: impl Iterator<Item = &'a dockit_registry::Error>) -> Vec<String> {
    let mut hints = Vec::new();
    for error in errors {
        let host = error.host().map_or_else(|| "HOST".to_owned(), ToString::to_string);
        let hint = match error.kind() {
            ErrorKind::Unauthorized => {
                format!("`dockit login {host}`; `dockit doctor {host}` says what there is now")
            }
            ErrorKind::Denied => format!(
                "the credentials for {host} lack a right on this repository, or it has to be \
                 created first"
            ),
            // Which of the two was asked for only the request tells, or a layout's words.
            ErrorKind::NotFound if error.to_string().contains("/blobs/") || is_no_blob(error) => {
                "the layout or repository is incomplete".to_owned()
            }
            ErrorKind::NotFound => "check the name and the tag".to_owned(),
            ErrorKind::RateLimited { .. } => format!("{host} limits requests: try again later"),
            ErrorKind::Transient => {
                format!("{host} did not answer properly: check the address and the network")
            }
            ErrorKind::Immutable => format!(
                "{host} keeps this tag as it is: take another tag, or ask who set the repository's \
                 rules"
            ),
            ErrorKind::StillTagged => "remove its tags first".to_owned(),
            ErrorKind::StillReferenced => "delete what points to it first".to_owned(),
            ErrorKind::Storage => {
                "check that the directory can be written and that the disk is not full".to_owned()
            }
            _ => continue,
        };
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    hints
}

/// The exit code of a run: where several apply, the one that says most about what to do.
pub fn exit_of(report: &RunReport, interrupted: bool) -> Exit {
    if interrupted {
        return Exit::Interrupted;
    }
    let kinds: Vec<ImageErrorKind> =
        report.images.iter().filter_map(|image| Some(image.error.as_ref()?.kind)).collect();
    let any = |kind| kinds.contains(&kind);
    if any(ImageErrorKind::Engine) {
        Exit::Engine
    } else if any(ImageErrorKind::Registry) || any(ImageErrorKind::NoRepository) {
        Exit::Registry
    } else if !kinds.is_empty() || report.count(Status::Cancelled) > 0 {
        Exit::Failed
    } else {
        Exit::Done
    }
}

/// What may help after a run with this exit code.
pub fn run_hint(exit: Exit) -> Option<&'static str> {
    match exit {
        Exit::Engine => Some(ENGINE_HINT),
        Exit::Interrupted => Some("the same command goes on where this run stopped"),
        _ => None,
    }
}
