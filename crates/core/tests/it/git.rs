//! git in the directories of tests, without anything of the machine's configuration.

use std::path::Path;
use std::process::Command;

pub(crate) fn git(directory: &Path, arguments: &[&str]) -> String {
    git_at(directory, None, arguments)
}

fn git_at(directory: &Path, time: Option<&str>, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", "/nonexistent")
        .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@example.org")])
        .envs([("GIT_COMMITTER_NAME", "a"), ("GIT_COMMITTER_EMAIL", "a@example.org")])
        .envs(time.map(|time| ("GIT_COMMITTER_DATE", time)))
        .output()
        .expect("git is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

pub(crate) fn commit(directory: &Path) -> String {
    git(directory, &["add", "--all"]);
    git(directory, &["commit", "--quiet", "--allow-empty", "--message", "x"]);
    git(directory, &["rev-parse", "HEAD"])
}

/// A commit of all files at a time such as `2026-01-01T00:00:00Z`.
pub(crate) fn commit_at(directory: &Path, time: &str) -> String {
    git(directory, &["add", "--all"]);
    let arguments = ["commit", "--quiet", "--allow-empty", "--message", "x"];
    git_at(directory, Some(time), &arguments);
    git(directory, &["rev-parse", "HEAD"])
}
