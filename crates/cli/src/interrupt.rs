//! Ctrl-C, and the other signals by which a process is asked to end.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::diagnostics::{Exit, Failure};

/// How long a cancelled run of builds or tests may take to say what was done.
pub(crate) const RUN_GRACE: Duration = Duration::from_secs(5);

/// How long containers that were given up may take to be gone.
pub(crate) const SETTLE: Duration = Duration::from_secs(4);

/// A token that the first interrupt cancels. Work that cannot be cancelled, such as hashing a large
/// build context, does not hold the process back for longer than `grace`.
pub(crate) fn cancellation(grace: Duration) -> CancellationToken {
    let cancel = CancellationToken::new();
    // Listened to from here on, not only once the task runs.
    if let Ok(asked) = asked_to_end() {
        tokio::spawn(watch(asked, cancel.clone(), grace));
    }
    cancel
}

async fn watch(asked: impl Future<Output = ()>, cancel: CancellationToken, grace: Duration) {
    asked.await;
    cancel.cancel();
    tokio::time::sleep(grace).await;
    let exit = failure().report();
    #[expect(clippy::exit, reason = "the main thread is busy and would not see it")]
    std::process::exit(exit as i32);
}

/// Ends with the first SIGINT, or SIGTERM of who gives up a job, or SIGHUP of a terminal that is
/// closed. Without it, programs that were started, which have process groups of their own, would go
/// on, and temporary directories stay.
#[cfg(unix)]
fn asked_to_end() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn asked_to_end() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    })
}

/// What an interrupted command ends with.
pub(crate) fn failure() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted")
}
