//! Reading `dockit.toml`.
//!
//! In two steps: `schema` mirrors the file, `validate` turns it into a [`Project`]. Both go on
//! after a mistake, so that one run reports all of them.

mod merge;
mod one_image;
mod problem;
mod reader;
mod schema;
mod time_limit;
mod validate;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

pub use one_image::{OneImage, one_image};
pub(crate) use problem::nearest;
pub use problem::{Problem, Problems};
pub use time_limit::time_limit;

use crate::project::Project;

/// The name of the configuration file.
pub const CONFIG_FILE: &str = "dockit.toml";

/// The nearest `dockit.toml` in `directory` or above it.
pub fn find(directory: &Path) -> Option<PathBuf> {
    directory.ancestors().map(|ancestor| ancestor.join(CONFIG_FILE)).find(|file| file.is_file())
}

/// What a configuration is read with besides its text.
#[derive(Clone, Copy, Default)]
pub struct LoadOptions<'a> {
    /// The environment, for `env-args`; an empty value is one. Without it no variable is set.
    pub environment: Option<&'a Variables<'a>>,
}

/// Looks up a variable of an environment by its name.
pub type Variables<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

impl fmt::Debug for LoadOptions<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let environment = self.environment.map(|_| "a function");
        formatter.debug_struct("LoadOptions").field("environment", &environment).finish()
    }
}

/// Reads and validates a configuration file.
///
/// # Errors
///
/// Everything that is wrong with the file, with its lines.
pub fn load(file: &Path, options: &LoadOptions<'_>) -> Result<Project, Problems> {
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
    parse(&file, &text, options)
}

/// Validates the text of a configuration file that lies, or would lie, at `file` (absolute).
///
/// # Errors
///
/// As [`load`].
pub fn parse(file: &Path, text: &str, options: &LoadOptions<'_>) -> Result<Project, Problems> {
    let (schema, problems) = schema::read(file, text);
    validate::validate(file, schema, problems, options)
}
