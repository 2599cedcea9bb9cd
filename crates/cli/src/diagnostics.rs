//! Exit codes, and errors as a person reads them: what happened, and what to do about it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use dockit_core::backend::endpoint::EndpointError;
use dockit_core::backend::{BackendError, BackendErrorKind};
use dockit_core::execute::{ImageError, ImageErrorKind, ImageReport, RunReport, Status};
use dockit_core::graph::UnknownKind;
use dockit_core::lookup::LookupError;
use dockit_core::revision::RevisionError;
use dockit_core::secrets::SecretProblem;
use dockit_core::update::UpdateError;
use dockit_core::why::WhyError;
use dockit_core::{Error, Project};
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

impl Exit {
    /// Of two exit codes the one that says most about what to do.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        let order = [
            Self::Interrupted,
            Self::Usage,
            Self::Engine,
            Self::Registry,
            Self::Failed,
            Self::Differences,
        ];
        order.into_iter().find(|exit| [self, other].contains(exit)).unwrap_or(Self::Done)
    }
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

    /// How the process ends because of it.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
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

/// How hints name what helps: commands have to be such as could be typed.
struct Words {
    /// What builds.
    build: String,
    lockfile: String,
}

impl Words {
    /// Of a project whose settings nobody knows here.
    fn usual() -> Self {
        Self { build: "`dockit build`".to_owned(), lockfile: "dockit.lock".to_owned() }
    }

    fn of(project: &Project) -> Self {
        let lockfile = &project.lockfile;
        if project.from_options {
            let build = "`dockit build` with the same options for the image".to_owned();
            return Self { build, lockfile: lockfile.display().to_string() };
        }
        let lockfile = lockfile.strip_prefix(&project.root).unwrap_or(lockfile);
        Self { lockfile: lockfile.display().to_string(), ..Self::usual() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::worded(error, &Words::usual())
    }
}

impl Failure {
    /// The failure for an error of this project, with hints that fit it.
    pub(crate) fn of_project(project: &Project, error: Error) -> Self {
        Self::worded(error, &Words::of(project))
    }

    fn worded(error: Error, words: &Words) -> Self {
        let Words { build, lockfile } = words;
        let message = error.to_string();
        match error {
            Error::UnknownImage(error) => {
                let failure = Self::new(Exit::Usage, message);
                match (error.kind, error.nearest) {
                    (UnknownKind::OnlyVariants(_), _) => {
                        failure.hint(format!("'{}-*' names them all", error.name))
                    }
                    (_, Some(nearest)) => failure.hint(format!("did you mean {nearest:?}?")),
                    (_, None) => failure.hint("`dockit list` names the images"),
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
                failure.hint(format!(
                    "{build} resolves these images and writes their digests to {lockfile}"
                ))
            }
            Error::Secrets(error) => {
                let mut failure = Self::new(Exit::Usage, message);
                let of = |wanted: fn(&SecretProblem) -> bool| {
                    error.errors.iter().any(|error| wanted(&error.problem))
                };
                if of(|problem| matches!(problem, SecretProblem::NotConfigured)) {
                    failure = failure.hint(
                        "[secrets.ID] or [ssh.ID] says where it is: file, env or run; for ssh also \
                         agent = true",
                    );
                }
                if of(|problem| matches!(problem, SecretProblem::Failed(_))) {
                    failure = failure.hint(
                        "run the command by hand to see what it says: here it could be the secret",
                    );
                }
                if of(|problem| matches!(problem, SecretProblem::InContext(_))) {
                    failure = failure.hint("name the file in .dockerignore, or move it elsewhere");
                }
                failure
            }
            Error::Lockfile(error) if error.is_conflict() => Self::new(Exit::Usage, message)
                .hint(format!(
                    "take one side (`git checkout --ours {lockfile}` or --theirs): `dockit build --pin` \
                     records images anew, and `dockit update` the external ones"
                )),
            Error::Version(_) => Self::new(Exit::Usage, message)
                .hint("`version` in [project] says where the value of {version} stands"),
            Error::Locked(_) => Self::new(Exit::Usage, message)
                .hint(format!("run the same command without --locked and commit {lockfile}")),
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

impl From<UpdateError> for Failure {
    fn from(error: UpdateError) -> Self {
        let message = error.to_string();
        match error {
            UpdateError::Project(error) => error.into(),
            UpdateError::UnknownBase { nearest: Some(nearest), .. } => {
                Self::new(Exit::Usage, message).hint(format!("did you mean {nearest:?}?"))
            }
            _ => Self::new(Exit::Usage, message).hint(
                "`dockit graph` shows the external images; a glob such as 'debian:*' names several",
            ),
        }
    }
}

impl From<dockit_registry::Error> for Failure {
    fn from(error: dockit_registry::Error) -> Self {
        Self::of_registry(error.to_string(), std::iter::once(&error))
    }
}

impl From<EndpointError> for Failure {
    fn from(error: EndpointError) -> Self {
        let failure = Self::new(Exit::Engine, error.to_string());
        match error {
            EndpointError::NoContext { .. } => failure.hint(
                "`docker context ls` shows the contexts; unset DOCKER_CONTEXT, or choose one with \
                 `docker context use`",
            ),
            EndpointError::Invalid { .. } => failure
                .hint("an engine is named as unix://PATH, tcp://HOST:PORT or ssh://USER@HOST"),
            _ => failure,
        }
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        match error.kind {
            ImageErrorKind::Engine => Self::new(Exit::Engine, error.message).hint(ENGINE_HINT),
            ImageErrorKind::EngineUnsuited => {
                Self::new(Exit::Engine, error.message).hint(UNSUITED_HINT)
            }
            ImageErrorKind::Registry | ImageErrorKind::NoRepository => {
                Self::new(Exit::Registry, error.message)
            }
            ImageErrorKind::Immutable => {
                Self::new(Exit::Registry, error.message).hint(IMMUTABLE_HINT)
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
     (on Debian: `apt-get install docker.io`); `dockit doctor` shows which one is meant";

const UNSUITED_HINT: &str =
    "another engine builds it: take a newer version, or set DOCKER_HOST to a Docker Engine";

const IMMUTABLE_HINT: &str = "--replace needs a repository whose tags may be moved (of ECR: `aws ecr \
     put-image-tag-mutability --repository-name NAME --image-tag-mutability MUTABLE`), or the tag has to \
     be deleted first; what gives the image another key, such as `refresh`, needs neither";

const FORBIDDEN_HINT: &str = "this user may not open the socket: join the group docker \
     (`sudo usermod -aG docker $USER`, then log in anew), or set DOCKER_HOST to an engine of your own";

fn backend_failure(error: &BackendError, message: String) -> Failure {
    match error.kind {
        BackendErrorKind::Unavailable => Failure::new(Exit::Engine, message).hint(ENGINE_HINT),
        BackendErrorKind::Forbidden => Failure::new(Exit::Engine, message).hint(FORBIDDEN_HINT),
        BackendErrorKind::Unsupported => Failure::new(Exit::Engine, message).hint(UNSUITED_HINT),
        BackendErrorKind::Engine => Failure::new(Exit::Engine, message),
        BackendErrorKind::Registry | BackendErrorKind::RegistryPassing => {
            Failure::new(Exit::Registry, message)
        }
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
    if any(ImageErrorKind::Engine) || any(ImageErrorKind::EngineUnsuited) {
        Exit::Engine
    } else if [ImageErrorKind::Registry, ImageErrorKind::NoRepository, ImageErrorKind::Immutable]
        .into_iter()
        .any(any)
    {
        Exit::Registry
    } else if !report.succeeded() || !kinds.is_empty() || report.count(Status::Cancelled) > 0 {
        Exit::Failed
    } else {
        Exit::Done
    }
}

/// Who makes images that were absent in a run that builds nothing.
pub(crate) fn absence_hints(project: &Project, report: &RunReport) -> Vec<String> {
    let build = |options: &str, names: &str| match project.from_options {
        true => format!("`dockit build{options}` with the same options for the image"),
        false => format!("`dockit build{options} {names}`"),
    };
    let named = |kind: ImageErrorKind| {
        let of_kind =
            |image: &&ImageReport| image.error.as_ref().is_some_and(|error| error.kind == kind);
        let names: Vec<&str> =
            report.images.iter().filter(of_kind).map(|image| image.image.as_str()).collect();
        (!names.is_empty()).then(|| names.join(" "))
    };
    let absent = named(ImageErrorKind::Absent).map(|names| {
        format!(
            "{} makes and pushes what is absent, and so does the CI job that builds this commit with the \
             same arguments; a run for a pull or merge request pushes only with --push always",
            build(" --push always", &names)
        )
    });
    let only_here = named(ImageErrorKind::OnlyHere).map(|names| {
        format!(
            "commit what differs (`git status` names it), or build it here: {}",
            build("", &names)
        )
    });
    absent.into_iter().chain(only_here).collect()
}

/// What may help after a run with this report and exit code.
pub fn build_hint(report: &RunReport, exit: Exit) -> Option<&'static str> {
    let mut kinds = report.images.iter().filter_map(|image| Some(image.error.as_ref()?.kind));
    // An engine that does not suit runs.
    match exit {
        Exit::Engine if kinds.all(|kind| kind != ImageErrorKind::Engine) => Some(UNSUITED_HINT),
        Exit::Registry if kinds.any(|kind| kind == ImageErrorKind::Immutable) => {
            Some(IMMUTABLE_HINT)
        }
        exit => run_hint(exit),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(status: Status, kind: Option<ImageErrorKind>) -> ImageReport {
        ImageReport {
            image: "a".parse().unwrap(),
            platforms: Vec::new(),
            key: format!("k1:{}", "0".repeat(64)).parse().unwrap(),
            status,
            reference: "r.example/a:t".parse().unwrap(),
            digest: None,
            pushed: false,
            replaced: None,
            tags: Vec::new(),
            held_tags: Vec::new(),
            backend: None,
            seconds: 0.0,
            tests: Vec::new(),
            error: kind.map(|kind| ImageError { kind, message: String::new() }),
            skipped: None,
        }
    }

    #[test]
    fn of_several_exit_codes_the_first_of_130_2_4_3_1_5_counts() {
        use ImageErrorKind::{
            Absent, Build, Context, Dependency, Engine, EngineUnsuited, Immutable, NoRepository,
            OnlyHere, Registry,
        };
        let cases: &[(&[ImageErrorKind], u8)] = &[
            (&[], 0),
            (&[Build], 1),
            (&[Absent, OnlyHere], 1),
            (&[Context, Dependency], 1),
            (&[Registry], 3),
            (&[NoRepository], 3),
            (&[Immutable, Build], 3),
            (&[Engine], 4),
            (&[EngineUnsuited, Build], 4),
            (&[Build, Registry], 3),
            (&[Registry, Build, Dependency], 3),
            (&[Absent, Registry], 3),
            (&[Registry, Engine], 4),
            (&[Build, Dependency, Engine, Registry], 4),
        ];
        for (kinds, code) in cases {
            let mut images: Vec<ImageReport> =
                kinds.iter().map(|kind| ended(Status::Failed, Some(*kind))).collect();
            images.push(ended(Status::Built, None));
            let report = RunReport { images, ..RunReport::default() };
            assert_eq!(exit_of(&report, false) as u8, *code, "{kinds:?}");
            assert_eq!(exit_of(&report, true) as u8, 130, "{kinds:?}");
        }
        for (kinds, hint) in [
            (&[EngineUnsuited, Build][..], UNSUITED_HINT),
            (&[EngineUnsuited, Engine], ENGINE_HINT),
            (&[Immutable], IMMUTABLE_HINT),
        ] {
            let images =
                kinds.iter().map(|kind| ended(Status::Failed, Some(*kind))).collect::<Vec<_>>();
            let report = RunReport { images, ..RunReport::default() };
            assert_eq!(build_hint(&report, exit_of(&report, false)), Some(hint), "{kinds:?}");
        }
        // What was given up after a failure, and was not interrupted.
        let images = vec![ended(Status::Cancelled, None)];
        assert_eq!(exit_of(&RunReport { images, ..RunReport::default() }, false), Exit::Failed);
        assert_eq!(Exit::Failed.or(Exit::Registry), Exit::Registry);
        assert_eq!(Exit::Usage.or(Exit::Engine), Exit::Usage);
        assert_eq!(Exit::Done.or(Exit::Differences), Exit::Differences);
        assert_eq!(Exit::Interrupted.or(Exit::Failed), Exit::Interrupted);
        assert_eq!(Exit::Done.or(Exit::Done), Exit::Done);
        // A tag that stays where it is is no failure.
        let images = vec![ended(Status::Reused, None), ended(Status::Retagged, None)];
        assert_eq!(exit_of(&RunReport { images, ..RunReport::default() }, false), Exit::Done);
    }
}
