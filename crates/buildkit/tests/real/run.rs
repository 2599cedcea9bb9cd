//! Builds for tests.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dockit_buildkit::{Build, Built, Client, Error, FileTree, Output, UnixDial};

pub(crate) fn client() -> Client {
    Client::docker_engine(UnixDial::new("/var/run/docker.sock"), Some("1.41"))
}

/// The Debian image of `scripts/setup`.
pub(crate) fn base_image() -> String {
    #[expect(clippy::disallowed_methods, reason = "tests are told what to use")]
    std::env::var("DOCKIT_TEST_BASE").expect(
        "DOCKIT_TEST_BASE names an image: run scripts/test, or source what scripts/setup wrote",
    )
}

/// A text that no other test and no other run has: what is built with it is in no cache.
pub(crate) fn nonce() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("n{:x}-{count}", now.as_nanos())
}

/// A build that leaves no image, of the base image and these instructions. What it builds is new.
pub(crate) fn build(instructions: &str, context: impl FileTree + 'static) -> Build {
    let dockerfile = format!("FROM {}\nENV NONCE={}\n{instructions}\n", base_image(), nonce());
    let mut build = Build::new(dockerfile, Arc::new(context), nonce());
    build.output = Output::CacheOnly;
    build
}

/// What happened in a build.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Names of steps by their digests.
    pub(crate) steps: HashMap<String, String>,
    /// Errors of steps, by name.
    pub(crate) errors: Vec<(String, String)>,
    /// Names of steps that the layer cache had.
    pub(crate) cached: Vec<String>,
    /// Everything that steps wrote.
    pub(crate) output: Vec<u8>,
}

impl Seen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    pub(crate) fn take(&mut self, status: dockit_buildkit::StatusResponse) {
        for step in status.vertexes {
            if !step.error.is_empty() {
                self.errors.push((step.name.clone(), step.error));
            }
            if step.cached {
                self.cached.push(step.name.clone());
            }
            self.steps.insert(step.digest, step.name);
        }
        for log in status.logs {
            self.output.extend(log.msg);
        }
    }
}

pub(crate) async fn run(build: &Build) -> (Result<Built, Error>, Seen) {
    let mut seen = Seen::default();
    let built = client()
        .build(build, &mut |status| {
            seen.take(status);
            ControlFlow::Continue(())
        })
        .await;
    (built, seen)
}

/// A build that succeeds.
pub(crate) async fn succeed(build: &Build) -> Seen {
    let (built, seen) = run(build).await;
    built.unwrap_or_else(|error| panic!("{error}\n{}", seen.text()));
    seen
}
