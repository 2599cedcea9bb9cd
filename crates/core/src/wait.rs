//! Waiting for images that another run makes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use dockit_registry::{Error as RegistryError, ErrorKind};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::events::{Event, Observer};
use crate::graph::ImageGraph;
use crate::image_name::ImageName;
use crate::jitter::jittered;
use crate::key::Keys;
use crate::lookup::{
    LookupError, LookupErrors, LookupOptions, Lookups, Presence, content_reference, look_up_all,
};

/// The pause before the first look, and before the looks in the end; each is random between half of it
/// and all of it, so that many jobs that wait do not come back at once.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// How often it is said what is still waited for.
const TELL_EVERY: Duration = Duration::from_secs(180);

/// How long an answer is waited for when the time is over.
const LAST_LOOK: Duration = Duration::from_secs(30);

/// For how long images are waited for, and what tells that it would be in vain.
#[derive(Clone, Debug)]
pub struct Wait {
    /// How long at most.
    pub limit: Duration,
    /// A directory for the files of the commit while its keys are computed.
    pub temporary: PathBuf,
    /// The environment, for `env-args` at that commit.
    pub environment: Option<fn(&str) -> Option<OsString>>,
}

/// Whether a lookup failed for a reason that may pass.
pub(crate) fn may_pass((_, error): &(ImageName, LookupError)) -> bool {
    match error {
        LookupError::Registry(error) => error.is_retryable(),
        LookupError::Engine(_) => false,
    }
}

/// Looks the images up until all of them are there, the time is over, or the run is cancelled; returns
/// those that are there.
///
/// # Errors
///
/// The registry refuses to answer, as it does with wrong credentials: waiting cannot help. An answer
/// that fails for a reason which may pass is asked for again while there is time, because that can
/// neither take an image for there nor for absent; it is an error when the time is over.
pub(crate) async fn wait(
    mut missing: BTreeSet<ImageName>,
    graph: &ImageGraph,
    keys: &Keys,
    options: &LookupOptions<'_>,
    limit: Duration,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<Lookups, LookupErrors> {
    let deadline = Instant::now() + limit;
    let mut found = Lookups::default();
    let mut pause = PAUSES.0;
    let mut tell_at = Instant::now();
    while !missing.is_empty() {
        if Instant::now() >= tell_at {
            tell(&missing, graph, keys, deadline, observer);
            tell_at += TELL_EVERY;
        }
        let next = (Instant::now() + jittered(pause)).min(deadline);
        tokio::select! {
            () = cancel.cancelled() => return Ok(found),
            () = tokio::time::sleep_until(next) => {}
        }
        pause = (pause * 3 / 2).min(PAUSES.1);
        let is_last = Instant::now() >= deadline;
        let (round, failures) = tokio::select! {
            () = cancel.cancelled() => return Ok(found),
            answer = tokio::time::timeout_at(
                deadline + LAST_LOOK,
                look_up_all(graph, &missing, keys, options),
            ) => match answer {
                Ok(answer) => answer,
                Err(_) => (Lookups::default(), no_answers(&missing)),
            },
        };
        for (name, presence) in round.iter() {
            if *presence != Presence::Absent {
                missing.remove(name);
                let reference = reference(name, graph, keys);
                observer.event(Event::Appeared { image: name.clone(), reference });
            }
        }
        found.extend(round.present());
        if !failures.is_empty() && (is_last || !failures.iter().all(may_pass)) {
            return Err(LookupErrors { failures });
        }
        for (image, error) in failures {
            observer.event(Event::WaitFailed { image, error: error.to_string() });
        }
        if is_last {
            break;
        }
    }
    Ok(found)
}

fn reference(name: &ImageName, graph: &ImageGraph, keys: &Keys) -> dockit_registry::Reference {
    let image = graph.node(name).expect("it was selected from this graph").image();
    content_reference(image, &keys.key(name).expect("selected images have keys"))
}

fn tell(
    missing: &BTreeSet<ImageName>,
    graph: &ImageGraph,
    keys: &Keys,
    deadline: Instant,
    observer: &dyn Observer,
) {
    let images = missing.iter().map(|name| (name.clone(), reference(name, graph, keys))).collect();
    let left = deadline.saturating_duration_since(Instant::now());
    observer.event(Event::Waiting { images, left });
}

fn no_answers(missing: &BTreeSet<ImageName>) -> Vec<(ImageName, LookupError)> {
    let error = || RegistryError::new(ErrorKind::Transient, "no answer when the time was over");
    missing.iter().map(|name| (name.clone(), LookupError::Registry(error()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_random_and_bounded() {
        let pauses: BTreeSet<Duration> = (0..50).map(|_| jittered(PAUSES.1)).collect();
        assert!(pauses.len() > 10);
        assert!(pauses.iter().all(|pause| (PAUSES.1 / 2..=PAUSES.1).contains(pause)));
    }
}
