//! What build backends say of themselves before anything is built, and after something went wrong.

use futures_util::future::join_all;

use super::Run;
use super::assignment::{Assignment, Capacity, Wants};
use super::report::{ImageError, ImageErrorKind};
use crate::backend::{BackendError, NamedBackend};
use crate::events::Event;
use crate::key::FirstCommand;
use crate::plan::{Plan, Step};

/// Whether of several backends the one can take the place of the other when it is lost: those that assemble
/// are always there.
pub(super) fn several(run: &Run<'_>) -> bool {
    run.backends.iter().filter(|backend| backend.backend.runs_commands()).count() > 1
}

/// The backends of a run, with what they can do. Of several each is asked first, so that one which does
/// not answer gets nothing.
pub(super) async fn assignment(run: &Run<'_>, plan: &Plan) -> Assignment {
    let asks = several(run) && plan.builds();
    let answers = join_all(run.backends.iter().map(|backend| async move {
        if asks { backend.backend.platforms().await } else { Ok(Default::default()) }
    }));
    let (mut capacities, mut lost) = (Vec::new(), Vec::new());
    for (position, (backend, answer)) in run.backends.iter().zip(answers.await).enumerate() {
        let jobs = backend.jobs.unwrap_or(run.options.jobs);
        let platforms = answer.unwrap_or_else(|error| {
            lost.push((position, error));
            Default::default()
        });
        let platforms = backend.platforms.cloned().unwrap_or(platforms);
        let commands = backend.backend.runs_commands();
        capacities.push(Capacity { jobs, platforms, commands });
    }
    let mut assignment = Assignment::new(capacities, run.options.jobs);
    for (position, error) in lost {
        tell_lost(run, &mut assignment, position, error);
    }
    assignment
}

/// Takes a backend out, and tells so once.
pub(super) fn tell_lost(
    run: &Run<'_>,
    assignment: &mut Assignment,
    position: usize,
    error: BackendError,
) {
    if assignment.lose(position) {
        let backend = run.backends[position].name.to_owned();
        run.observer.event(Event::BackendLost { backend, error });
    }
}

/// Whether the work for an image failed because the backend is gone. Its own words do not tell: what runs
/// in a build is ended with it, and looks like a command that failed.
pub(super) async fn is_lost(backend: NamedBackend<'_>, error: &ImageError) -> Option<BackendError> {
    use ImageErrorKind::{Build, Engine, EngineUnsuited, Registry, Test};
    if !matches!(error.kind, Build | Engine | EngineUnsuited | Registry | Test) {
        return None;
    }
    backend.backend.platforms().await.err().filter(BackendError::is_absent)
}

/// That no backend builds an image: because none answers any more, because none that does is for its
/// platform, or because none runs commands.
pub(super) fn nobody_builds(
    run: &Run<'_>,
    assignment: &Assignment,
    wants: Wants<'_>,
    command: Option<&FirstCommand>,
) -> ImageError {
    let names: Vec<&str> = run.backends.iter().map(|backend| backend.name).collect();
    let names = names.join(", ");
    let message = match command {
        Some(command) if !assignment.knows_commands() => needs_engine(command),
        _ if assignment.all_lost(wants) => {
            format!("no build backend answers; there are {names}")
        }
        _ => {
            let platform = wants.platform;
            format!("no build backend that answers builds for {platform}; there are {names}")
        }
    };
    ImageError { kind: ImageErrorKind::Engine, message }
}

/// That an image cannot be built because the engine, which nobody named, is not there.
pub(super) fn not_found(run: &Run<'_>, step: &Step, error: &BackendError) -> ImageError {
    let keyed = run.keys.get(&step.image);
    let message = match keyed.and_then(|keyed| keyed.command.as_ref()) {
        Some(command) => format!("{}: {}", needs_engine(command), error.message),
        None => error.to_string(),
    };
    ImageError { kind: ImageErrorKind::Engine, message }
}

/// That an image is not assembled, though it runs no command.
pub(super) fn refused(error: &ImageError) -> ImageError {
    let message =
        format!("{} (an engine may build what dockit does not: `--backend engine`)", error.message);
    ImageError { kind: error.kind, message }
}

/// That a build runs a command, and nothing here does.
fn needs_engine(FirstCommand { line, text }: &FirstCommand) -> String {
    let text = text.lines().next().unwrap_or_default();
    format!(
        "line {line} of its Dockerfile runs a command (RUN {text}), which takes an engine, and this run has \
         none: a Docker Engine, Podman or a BuildKit can build it, found by itself or named by \
         DOCKER_HOST, a Docker context or [backends.NAME]"
    )
}
