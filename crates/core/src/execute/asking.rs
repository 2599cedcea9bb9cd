//! What build backends say of themselves before anything is built, and after something went wrong.

use dockit_registry::Platform;
use futures_util::future::join_all;

use super::Run;
use super::assignment::{Assignment, Capacity};
use super::report::{ImageError, ImageErrorKind};
use crate::backend::{BackendError, BackendErrorKind, NamedBackend};
use crate::events::Event;
use crate::plan::Plan;

/// The backends of a run, with what they can do. Of several each is asked first, so that one which does
/// not answer gets nothing.
pub(super) async fn assignment(run: &Run<'_>, plan: &Plan) -> Assignment {
    let asks = run.backends.len() > 1 && plan.builds();
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
        capacities.push(Capacity { jobs, platforms });
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
    let gone = |error: &BackendError| {
        matches!(error.kind, BackendErrorKind::Unavailable | BackendErrorKind::Forbidden)
    };
    backend.backend.platforms().await.err().filter(gone)
}

/// That no backend builds for a platform: because none answers any more, or because none that does is for
/// it.
pub(super) fn nobody_builds(
    run: &Run<'_>,
    assignment: &Assignment,
    platform: &Platform,
) -> ImageError {
    let names: Vec<&str> = run.backends.iter().map(|backend| backend.name).collect();
    let names = names.join(", ");
    let message = if assignment.all_lost() {
        format!("no build backend answers; there are {names}")
    } else {
        format!("no build backend that answers builds for {platform}; there are {names}")
    };
    ImageError { kind: ImageErrorKind::Engine, message }
}
