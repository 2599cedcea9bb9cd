//! Reading the places where secrets are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::error::SecretProblem;
use super::had::SecretOptions;
use super::value::SecretValue;
use super::{SecretFile, SecretSource};
use crate::process::ProcessErrorKind;

/// The largest secret that BuildKit takes, in bytes
/// (<https://github.com/moby/buildkit/blob/master/session/secrets/secrets.go>).
pub(super) const LARGEST: usize = 500 * 1024;

/// How long a command may take that writes a secret: it may ask somebody to touch a key.
const TIME_LIMIT: Duration = Duration::from_secs(120);

pub(super) type Got<T> = Result<T, SecretProblem>;

/// What is needed to read any of them.
pub(super) struct Sources<'a> {
    pub(super) root: &'a Path,
    pub(super) options: &'a SecretOptions,
    pub(super) cancel: &'a CancellationToken,
}

impl Sources<'_> {
    pub(super) async fn value(&self, source: &SecretSource) -> Got<SecretValue> {
        let bytes = match source {
            SecretSource::File(file) => read(self.path(file)?, TIME_LIMIT).await,
            SecretSource::Env(name) => self.variable(name),
            SecretSource::Run(_) => self.run(source).await,
        }?;
        match bytes.len() {
            0 => Err(SecretProblem::Empty),
            length if length > LARGEST => Err(SecretProblem::TooLarge(LARGEST)),
            _ => Ok(SecretValue::new(bytes)),
        }
    }

    pub(super) fn path(&self, file: &SecretFile) -> Got<PathBuf> {
        match file {
            SecretFile::At(path) => Ok(path.clone()),
            SecretFile::AtHome(path) => match &self.options.home {
                Some(home) => Ok(home.join(path)),
                None => Err(SecretProblem::Unreadable("there is no home directory".to_owned())),
            },
        }
    }

    pub(super) fn variable(&self, name: &str) -> Got<Vec<u8>> {
        let value = self.options.environment.and_then(|lookup| lookup(name));
        value
            .map(OsString::into_encoded_bytes)
            .ok_or_else(|| SecretProblem::Unreadable("it is not set".to_owned()))
    }

    /// What a command writes. What it says on standard error is told to nobody: it may be the secret.
    async fn run(&self, source: &SecretSource) -> Got<Vec<u8>> {
        let SecretSource::Run(command) = source else {
            unreachable!("only commands run");
        };
        let process = command.process(self.root).time_limit(TIME_LIMIT).output_limit(LARGEST + 2);
        let ran = process.run(self.cancel).await.map_err(|error| match error.kind {
            ProcessErrorKind::TimedOut(limit) => SecretProblem::TimedOut(limit),
            kind => SecretProblem::Unreadable(kind.to_string()),
        })?;
        if !ran.succeeded() {
            return Err(SecretProblem::Failed(ran.code));
        }
        if ran.stdout.truncated {
            return Err(SecretProblem::TooLarge(LARGEST));
        }
        let mut bytes = ran.stdout.bytes;
        if bytes.ends_with(b"\n") {
            bytes.pop();
            if bytes.ends_with(b"\r") {
                bytes.pop();
            }
        }
        Ok(bytes)
    }
}

/// Reads a file, not further than can be told to be too much. It may lie on a file system that does not
/// answer.
async fn read(path: PathBuf, limit: Duration) -> Got<Vec<u8>> {
    let task = tokio::task::spawn_blocking(move || read_now(&path));
    match tokio::time::timeout(limit, task).await {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => Err(SecretProblem::Unreadable(error.to_string())),
        Err(_) => Err(SecretProblem::TimedOut(limit)),
    }
}

fn read_now(path: &Path) -> Got<Vec<u8>> {
    use std::io::Read as _;

    let unreadable = |error: std::io::Error| SecretProblem::Unreadable(error.to_string());
    // Before it is opened: that of a pipe waits for a writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(SecretProblem::Unreadable("it is no regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(LARGEST + 1).expect("a small number");
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

#[cfg(unix)]
pub(super) fn is_socket(path: PathBuf) -> Got<PathBuf> {
    use std::os::unix::fs::FileTypeExt as _;

    match std::fs::metadata(&path) {
        Ok(found) if found.file_type().is_socket() => Ok(path),
        Ok(_) => Err(SecretProblem::Unreadable(format!("{} is no socket", path.display()))),
        Err(error) => Err(SecretProblem::Unreadable(format!("{}: {error}", path.display()))),
    }
}

#[cfg(not(unix))]
pub(super) fn is_socket(_: PathBuf) -> Got<PathBuf> {
    Err(SecretProblem::Unreadable("agents have no sockets here".to_owned()))
}

#[cfg(unix)]
pub(super) fn from_bytes(bytes: Vec<u8>) -> OsString {
    use std::os::unix::ffi::OsStringExt as _;

    OsString::from_vec(bytes)
}

#[cfg(not(unix))]
pub(super) fn from_bytes(bytes: Vec<u8>) -> OsString {
    String::from_utf8_lossy(&bytes).into_owned().into()
}
