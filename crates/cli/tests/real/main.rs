//! The command with a real engine and real registries. `scripts/test` runs this after `scripts/setup`,
//! which gives `DOCKIT_TEST_BASE`, a Debian image in a registry that the engine can pull from.

mod engine;
#[path = "../it/run.rs"]
mod run;

mod context;
mod ending;
mod local;
mod moving;
mod race;
mod registries;
mod why;

use std::sync::atomic::{AtomicU32, Ordering};

use run::Project;

/// The Debian image of `scripts/setup`.
fn base_image() -> String {
    #[expect(clippy::disallowed_methods, reason = "tests are told what to use")]
    std::env::var("DOCKIT_TEST_BASE").expect(
        "DOCKIT_TEST_BASE names an image: run scripts/test, or source what scripts/setup wrote",
    )
}

/// A text that no other test and no other run has: what is built with it is in no cache.
fn nonce() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("n{:x}-{count}", now.as_nanos())
}

/// A project whose images `base` and `child` run commands; `child` also copies from `tool`.
fn debian(project_table: &str) -> Project {
    let nonce = nonce();
    let mut project = Project::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\n{project_table}\n[images.base]\nargs = {{ BASE = \"{}\" }}\n\
                 [images.tool]\n[images.child]\ntags = [\"latest\"]\n",
                base_image()
            ),
        ),
        (
            "base/Dockerfile",
            "ARG BASE\nFROM $BASE\nCOPY nonce /nonce\nRUN cat /nonce > /from-base\n",
        ),
        ("base/nonce", &nonce),
        ("tool/Dockerfile", "FROM scratch\nCOPY tool /tool\n"),
        ("tool/tool", &nonce),
        (
            "child/Dockerfile",
            "FROM base:whatever\nCOPY --from=tool /tool /tool\nRUN cmp /from-base /tool && touch /ok\n",
        ),
    ]);
    project.docker_host = engine::endpoint();
    project
}
