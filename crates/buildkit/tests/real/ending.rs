//! Builds that nobody waits for any more.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use dockit_buildkit::{ErrorKind, NoFiles};

use crate::run::{build, client, nonce};

/// Whether a process of this machine, which the engine's are, has this word among its arguments.
fn runs(word: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join(Path::new("cmdline"))).ok())
        .any(|line| line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes()))
}

/// Waits as long as it takes, for something that has to happen.
async fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(120), "it does not happen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_build_that_is_dropped_ends_in_the_daemon() {
    let word = nonce();
    let step = format!("RUN [\"sh\", \"-c\", \"while :; do sleep 1; done\", \"{word}\"]");
    let build = build(&step, NoFiles);
    let building =
        tokio::spawn(
            async move { client().build(&build, &mut |_| ControlFlow::Continue(())).await },
        );
    until(|| runs(&word)).await;
    building.abort();
    until(|| !runs(&word)).await;
    assert!(building.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_build_whose_watcher_has_seen_enough_ends_in_the_daemon() {
    let word = nonce();
    let step = format!("RUN [\"sh\", \"-c\", \"echo on; while :; do sleep 1; done\", \"{word}\"]");
    let build = build(&step, NoFiles);
    let watch = |status: dockit_buildkit::StatusResponse| match status.logs.is_empty() {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let mut watch = watch;
    let error = client().build(&build, &mut watch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped);
    until(|| !runs(&word)).await;
}
