//! Which ignore file a build context has.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::ContextError;
use super::ignore::IgnoreRules;

const SUFFIX: &str = ".dockerignore";

/// Reads the ignore file beside the Dockerfile, or else that of the root, or else none. They are
/// never merged (BuildKit, `dockerui/config.go`).
pub(super) fn read(root: &Path, dockerfile: Option<&Path>) -> Result<IgnoreRules, ContextError> {
    let beside = dockerfile.map(|dockerfile| {
        let mut path = dockerfile.as_os_str().to_owned();
        path.push(SUFFIX);
        PathBuf::from(path)
    });
    for path in beside.into_iter().chain([root.join(SUFFIX)]) {
        match fs::read(&path) {
            Ok(text) => {
                return IgnoreRules::parse(&text)
                    .map_err(|error| ContextError::ignore(&path, error));
            }
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(ContextError::reading(&path, error)),
        }
    }
    Ok(IgnoreRules::default())
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
