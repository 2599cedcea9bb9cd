//! Everything that dockit reads from the environment, in one place.

#![expect(clippy::disallowed_methods, reason = "the CLI is where the environment is read")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

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

/// A directory among those for what is needed for a moment that is this user's alone. Where somebody else
/// has taken its name, or others may write there, it is another one.
pub(crate) fn private_directory() -> PathBuf {
    let all = temporary_directory();
    let directory = all.join(match user() {
        Some(user) => format!("dockit-{user}"),
        None => "dockit".to_owned(),
    });
    if make_private(&directory).is_ok() && is_private(&directory) {
        return directory;
    }
    let made = tempfile::Builder::new().prefix("dockit-").tempdir_in(&all);
    // Without a directory for it the store says so itself, when it is wanted.
    made.map_or_else(|_| directory.join("taken"), tempfile::TempDir::keep)
}

fn make_private(directory: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    match builder.create(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Whether this is a directory, and no link to one, of this user, where nobody else may do anything.
fn is_private(directory: &Path) -> bool {
    let Ok(metadata) = std::fs::symlink_metadata(directory) else {
        return false;
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        if user() != Some(metadata.uid()) || metadata.mode() & 0o077 != 0 {
            return false;
        }
    }
    metadata.is_dir()
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

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_others_may_write_or_put_there_is_not_private() {
        let all = tempfile::tempdir().unwrap();
        let directory = all.path().join("own");
        make_private(&directory).unwrap();
        make_private(&directory).unwrap();
        assert!(is_private(&directory));
        std::os::unix::fs::symlink(&directory, all.path().join("link")).unwrap();
        assert!(!is_private(&all.path().join("link")));
        for mode in [0o750, 0o702] {
            std::fs::set_permissions(&directory, PermissionsExt::from_mode(mode)).unwrap();
            assert!(!is_private(&directory), "{mode:o}");
        }
        assert!(!is_private(&all.path().join("missing")));
    }
}
