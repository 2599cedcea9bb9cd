//! How much is asked of one host at a time.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::provider::RegistrySettings;

/// How long a host that has said "too many requests" gets half as many at a time.
const SLOW_PERIOD: Duration = Duration::from_secs(30);

/// How much one host is asked at a time. Each kind of request has its own limit, so that long transfers
/// never keep short questions waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Requests about manifests, tags and other short things; 16.
    pub questions: usize,
    /// Blobs that are read at a time; 6.
    pub downloads: usize,
    /// Blobs that are written at a time; 4.
    pub uploads: usize,
    /// Requests that are begun in a second, all kinds together; as many as there are, if it is not set.
    pub requests_per_second: Option<NonZeroU32>,
}

impl Limits {
    /// These, but for what is configured about one registry.
    pub(super) fn configured(&self, settings: &RegistrySettings) -> Self {
        let pace = settings.requests_per_second;
        Self {
            questions: settings.questions.unwrap_or(self.questions),
            downloads: settings.downloads.unwrap_or(self.downloads),
            uploads: settings.uploads.unwrap_or(self.uploads),
            requests_per_second: pace.or(self.requests_per_second),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { questions: 16, downloads: 6, uploads: 4, requests_per_second: None }
    }
}

/// What kind of request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Question,
    Download,
    /// Part of an upload, which has its permit already.
    OfUpload,
}

/// The right to send a request, or to upload a blob, until it is dropped.
///
/// Whoever writes a blob may read it from elsewhere, or from the same host, meanwhile. So the right to
/// an upload is had before its source is opened, and lasts until all is sent: a download never waits
/// for an upload, and no two transfers can wait for one another.
pub(in crate::client) struct Permit {
    _wide: Option<OwnedSemaphorePermit>,
    _narrow: Option<OwnedSemaphorePermit>,
}

/// The limits of one host.
pub(super) struct HostLimits {
    questions: Lane,
    downloads: Lane,
    uploads: Lane,
    /// Requests for tokens, which a question waits for that has no permit yet.
    logins: Lane,
    interval: Option<Duration>,
    gate: Mutex<Gate>,
}

/// Half of the requests have to go through the narrow part while a host is to be spared.
struct Lane {
    wide: Arc<Semaphore>,
    narrow: Arc<Semaphore>,
}

#[derive(Default)]
struct Gate {
    /// When the next request may begin.
    opens: Option<Instant>,
    /// Until when the lanes are narrow.
    slow_until: Option<Instant>,
}

impl Lane {
    fn new(width: usize) -> Self {
        let width = width.max(1);
        Self {
            wide: Arc::new(Semaphore::new(width)),
            narrow: Arc::new(Semaphore::new((width / 2).max(1))),
        }
    }
}

impl HostLimits {
    pub(super) fn new(limits: &Limits) -> Self {
        let per_second = limits.requests_per_second;
        Self {
            questions: Lane::new(limits.questions),
            downloads: Lane::new(limits.downloads),
            uploads: Lane::new(limits.uploads),
            logins: Lane::new(limits.questions),
            interval: per_second.map(|count| Duration::from_secs(1) / count.get()),
            gate: Mutex::default(),
        }
    }

    /// Waits for the right to send a request.
    pub(super) async fn admit(&self, class: Class) -> Permit {
        let permit = match class {
            Class::Question => self.enter(&self.questions).await,
            Class::Download => self.enter(&self.downloads).await,
            Class::OfUpload => Permit { _wide: None, _narrow: None },
        };
        while let Some(wait) = self.turn() {
            tokio::time::sleep_until(wait).await;
        }
        permit
    }

    /// Waits for the right to upload a blob.
    pub(super) async fn admit_upload(&self) -> Permit {
        self.enter(&self.uploads).await
    }

    /// Waits for the right to ask for a token.
    pub(super) async fn admit_login(&self) -> Permit {
        self.enter(&self.logins).await
    }

    async fn enter(&self, lane: &Lane) -> Permit {
        let wide = Some(acquire(&lane.wide).await);
        let narrow = if self.is_slow() { Some(acquire(&lane.narrow).await) } else { None };
        Permit { _wide: wide, _narrow: narrow }
    }

    /// The host has said that it is asked too much, and for how long it wants to be left alone.
    pub(super) fn spare(&self, pause: Option<Duration>) {
        let now = Instant::now();
        let mut gate = self.gate();
        if let Some(pause) = pause {
            gate.opens = gate.opens.max(Some(now + pause));
        }
        gate.slow_until = Some(now + SLOW_PERIOD);
    }

    fn is_slow(&self) -> bool {
        self.gate().slow_until.is_some_and(|until| Instant::now() < until)
    }

    /// When to come again, or `None`: it is this request's turn.
    fn turn(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut gate = self.gate();
        match gate.opens {
            Some(opens) if opens > now => Some(opens),
            _ => {
                gate.opens = self.interval.map(|interval| now + interval);
                None
            }
        }
    }

    fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        // No code panics while it holds the lock.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn acquire(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(semaphore)
        .acquire_owned()
        .await
        .expect("the semaphore lives as long as the host and is never closed")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn kinds_of_requests_do_not_wait_for_one_another() {
        let limits = HostLimits::new(&Limits { uploads: 1, downloads: 1, ..Limits::default() });
        let upload = limits.admit_upload().await;
        assert!(limits.admit_upload().now_or_never().is_none());
        // What belongs to an upload waits for no other.
        let _part = limits.admit(Class::OfUpload).now_or_never().unwrap();
        let _download = limits.admit(Class::Download).now_or_never().unwrap();
        let _question = limits.admit(Class::Question).now_or_never().unwrap();
        drop(upload);
        assert!(limits.admit_upload().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_is_kept() {
        let per_second = NonZeroU32::new(10);
        let limits =
            HostLimits::new(&Limits { requests_per_second: per_second, ..Limits::default() });
        let start = Instant::now();
        for _ in 0..21 {
            limits.admit(Class::Question).await;
        }
        assert!((1990..2200).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_wants_to_be_left_alone_is_and_then_gets_half() {
        let limits = HostLimits::new(&Limits { questions: 4, ..Limits::default() });
        let start = Instant::now();
        limits.spare(Some(Duration::from_secs(7)));
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(limits.admit(Class::Question).await);
        }
        assert_eq!(start.elapsed().as_secs(), 7);
        assert!(limits.admit(Class::Question).now_or_never().is_none());
        tokio::time::advance(SLOW_PERIOD).await;
        assert!(limits.admit(Class::Question).now_or_never().is_some());
    }
}
