//! Reading `dockit.toml`.
//!
//! In two steps: `schema` mirrors the file, `validate` turns it into a [`Project`]. Both go on
//! after a mistake, so that one run reports all of them.

mod problem;
mod reader;
mod schema;
mod validate;

use std::path::{Path, PathBuf};

pub(crate) use problem::nearest;
pub use problem::{Problem, Problems};

use crate::project::Project;

/// The name of the configuration file.
pub const CONFIG_FILE: &str = "dockit.toml";

/// The nearest `dockit.toml` in `directory` or above it.
pub fn find(directory: &Path) -> Option<PathBuf> {
    directory.ancestors().map(|ancestor| ancestor.join(CONFIG_FILE)).find(|file| file.is_file())
}

/// Reads and validates a configuration file.
///
/// # Errors
///
/// Everything that is wrong with the file, with its lines.
pub fn load(file: &Path) -> Result<Project, Problems> {
    let unreadable = |message: String| {
        Problems(vec![Problem { file: file.to_owned(), line: 0, message, suggestion: None }])
    };
    let file = std::path::absolute(file).map_err(|error| unreadable(error.to_string()))?;
    let bytes = std::fs::read(&file)
        .map_err(|error| unreadable(format!("cannot read the configuration: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        unreadable(format!("line {line} is not UTF-8"))
    })?;
    parse(&file, &text)
}

/// Validates the text of a configuration file that lies, or would lie, at `file` (absolute).
///
/// # Errors
///
/// As [`load`].
pub fn parse(file: &Path, text: &str) -> Result<Project, Problems> {
    let (schema, problems) = schema::read(file, text);
    validate::validate(file, schema, problems)
}
