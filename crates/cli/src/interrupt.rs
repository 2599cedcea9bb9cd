//! Ctrl-C.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::diagnostics::{Exit, Failure};

/// A token that the first interrupt cancels. Work that cannot be cancelled, such as hashing a large
/// build context, does not hold the process back for longer than `grace`.
pub(crate) fn cancellation(grace: Duration) -> CancellationToken {
    let cancel = CancellationToken::new();
    tokio::spawn(watch(cancel.clone(), grace));
    cancel
}

async fn watch(cancel: CancellationToken, grace: Duration) {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    cancel.cancel();
    tokio::time::sleep(grace).await;
    let exit = failure().report();
    #[expect(clippy::exit, reason = "the main thread is busy and would not see it")]
    std::process::exit(exit as i32);
}

/// What an interrupted command ends with.
pub(crate) fn failure() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted")
}
