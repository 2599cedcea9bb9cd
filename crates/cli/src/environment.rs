//! Everything that dockit reads from the environment, in one place.

#![expect(clippy::disallowed_methods, reason = "the CLI is where the environment is read")]

use std::ffi::OsString;
use std::path::PathBuf;

use dockit_core::ci::CiRun;

/// Which CI service runs this, if one does, and for what. GitHub says part of it in a file
/// (`GITHUB_EVENT_PATH`); where that cannot be read it says nothing.
pub(crate) fn ci_run() -> CiRun {
    let run = CiRun::detect(text);
    let event = text("GITHUB_EVENT_PATH").and_then(|path| std::fs::read(path).ok());
    match event {
        Some(event) => run.with_github_event(&event),
        None => run,
    }
}

/// Whether a CI service runs this.
pub(crate) fn in_ci() -> bool {
    CiRun::detect(text).ci
}

/// A variable for the search of credential files (`DOCKER_CONFIG`, `REGISTRY_AUTH_FILE`, …), and of
/// the engine (`DOCKER_HOST`, `DOCKER_CONTEXT`, `DOCKER_TLS_VERIFY`, …).
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// A build argument that `env-args` takes from here. An empty value is one.
pub(crate) fn build_argument(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The home directory.
pub(crate) fn home() -> Option<PathBuf> {
    std::env::home_dir()
}

/// The user's number, which sockets below `/run/user` are found by.
pub(crate) fn user() -> Option<u32> {
    #[cfg(unix)]
    return Some(rustix::process::getuid().as_raw());
    #[cfg(not(unix))]
    return None;
}

/// The directory for what is needed for a moment.
pub(crate) fn temporary_directory() -> PathBuf {
    std::env::temp_dir()
}

/// `DOCKIT_CACHE`, or `dockit` in the user's cache directory: where hashes of files are kept. An empty
/// `DOCKIT_CACHE` keeps nothing, nor does one that is not absolute.
pub(crate) fn cache_directory() -> Option<PathBuf> {
    let directory = match std::env::var_os("DOCKIT_CACHE") {
        Some(directory) => PathBuf::from(directory),
        None => variable("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|directory| directory.is_absolute())
            .or_else(|| home().map(|home| home.join(".cache")))?
            .join("dockit"),
    };
    directory.is_absolute().then_some(directory)
}

/// The working directory.
pub(crate) fn working_directory() -> std::io::Result<PathBuf> {
    std::env::current_dir()
}

/// `NO_COLOR` or `TERM=dumb`: no colours and no moving lines.
pub(crate) fn plain_terminal() -> bool {
    variable("NO_COLOR").is_some() || text("TERM").as_deref() == Some("dumb")
}

fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
