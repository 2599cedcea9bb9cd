//! The command with a real engine and real registries. `scripts/test` runs this after `scripts/setup`,
//! which gives `DOCKIT_TEST_BASE`, a Debian image in a registry that the engine can pull from.

mod engine;
#[path = "../it/run.rs"]
mod run;

mod assembled;
mod build_options;
mod buildkit;
mod checks;
mod context;
mod ending;
mod engines;
mod generated;
mod interrupted;
mod killed;
mod local;
mod log;
mod moving;
mod one_image;
mod pins;
mod platforms;
mod promotion;
mod race;
mod registries;
mod replace;
mod reports;
mod retries;
mod secrets;
mod several;
mod tags;
mod together;
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

/// Runs git in the project; the first call makes it a repository on `main`.
fn git(project: &Project, arguments: &[&str]) -> String {
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(arguments)
            .current_dir(project.root())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", "/nonexistent")
            .output()
            .expect("git is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    if !project.root().join(".git").exists() {
        run(&["init", "--quiet", "--initial-branch", "main"]);
    }
    run(arguments)
}

/// Commits all files; the id of the commit.
fn commit(project: &Project) -> String {
    git(project, &["add", "--all"]);
    git(project, &["commit", "--quiet", "--message", "x"]);
    git(project, &["rev-parse", "HEAD"])
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
