//! The project's version: where it stands, and what stands there.

use std::path::Path;

use crate::declared_key::{DeclaredError, DeclaredSource, Notation, Pick};
use crate::project_path::ProjectPath;

/// Where the value of `{version}` stands.
#[derive(Clone, Debug)]
pub struct VersionSource {
    file: ProjectPath,
    /// Fields of which the first that is there counts, or the one thing that the configuration names;
    /// none: the file is the version.
    places: Vec<DeclaredSource>,
}

/// Why there is no version.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// The file cannot be read, or does not hold what is configured.
    #[error("no version: {0}")]
    Declared(#[from] DeclaredError),
    /// The file has none of the usual fields.
    #[error("no version: {file} has neither of {}; name a \"field\" or a \"pattern\", or another file",
        .fields.join(", "))]
    NoField {
        /// The file.
        file: String,
        /// The fields.
        fields: Vec<&'static str>,
    },
    /// The file cannot be read.
    #[error("no version: {file} cannot be read: {error}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is empty, or has more than a line.
    #[error("no version: {file} is not one line of text; name a \"pattern\"")]
    NotALine {
        /// The file.
        file: String,
    },
}

/// The fields in which a file of this name has its version, in the words of its own documentation:
/// the *pyproject.toml specification* and Poetry's; *The manifest format* of Cargo; npm's *package.json*.
fn usual_fields(file: &Path) -> &'static [&'static str] {
    match file.file_name().and_then(|name| name.to_str()) {
        Some("pyproject.toml") => &["project.version", "tool.poetry.version"],
        Some("Cargo.toml") => &["package.version", "workspace.package.version"],
        Some("package.json") => &["version"],
        _ => &[],
    }
}

impl VersionSource {
    /// A file, and what is configured to be picked out of it.
    pub(crate) fn new(file: ProjectPath, pick: Option<Pick>) -> Self {
        let source = |pick| DeclaredSource::new("version".to_owned(), file.clone(), pick);
        let places = match (pick, Notation::of(&file)) {
            (Some(pick), _) => vec![source(pick)],
            (None, Some(notation)) => usual_fields(file.location())
                .iter()
                .map(|field| source(Pick::field(field, notation).expect("they are fields")))
                .collect(),
            (None, None) => Vec::new(),
        };
        Self { file, places }
    }

    /// The version.
    ///
    /// # Errors
    ///
    /// As [`VersionError`] says.
    pub fn value(&self) -> Result<String, VersionError> {
        let file = || self.file.to_string();
        match self.places.as_slice() {
            [] => {
                let text = std::fs::read_to_string(self.file.location())
                    .map_err(|error| VersionError::Unreadable { file: file(), error })?;
                let text = text.trim_start_matches('\u{feff}').trim();
                if text.is_empty() || text.lines().count() > 1 {
                    return Err(VersionError::NotALine { file: file() });
                }
                Ok(text.to_owned())
            }
            [place] => Ok(place.value()?),
            places => {
                for place in places {
                    match place.value() {
                        // `version.workspace = true` of Cargo is a table.
                        Err(DeclaredError::Absent { .. } | DeclaredError::NotAValue { .. }) => {}
                        value => return Ok(value?),
                    }
                }
                let fields = usual_fields(self.file.location()).to_vec();
                Err(VersionError::NoField { file: file(), fields })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str, content: &str, pick: Option<Pick>) -> Result<String, String> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(name), content).unwrap();
        let file = ProjectPath::new(directory.path(), name, 1).unwrap();
        VersionSource::new(file, pick).value().map_err(|error| error.to_string())
    }

    #[test]
    fn the_usual_files_have_it_in_the_usual_places() {
        for (name, content) in [
            ("pyproject.toml", "[project]\nname = \"a\"\nversion = \"1.2\"\n"),
            ("pyproject.toml", "[project]\nname = \"a\"\n[tool.poetry]\nversion = \"1.2\"\n"),
            ("Cargo.toml", "[package]\nversion = \"1.2\"\n"),
            ("Cargo.toml", "[workspace.package]\nversion = \"1.2\"\n"),
            (
                "Cargo.toml",
                "[package]\nversion.workspace = true\n[workspace.package]\nversion = \"1.2\"\n",
            ),
            ("package.json", "{\"version\": \"1.2\"}"),
            ("VERSION", "1.2\n"),
            ("version.txt", "\u{feff}  1.2\r\n"),
            ("other.toml", "1.2"),
        ] {
            assert_eq!(version(name, content, None).unwrap(), "1.2", "{name}: {content}");
        }
        let field = Pick::field("tool.x.v", Notation::Toml).unwrap();
        let pyproject = "[project]\nversion = \"1\"\n[tool.x]\nv = \"1.2\"\n";
        assert_eq!(version("pyproject.toml", pyproject, Some(field)).unwrap(), "1.2");
        let pattern = Pick::pattern(r#"^__version__ = "(.*)"$"#).unwrap();
        assert_eq!(version("a.py", "x\n__version__ = \"1.2\"\n", Some(pattern)).unwrap(), "1.2");
    }

    #[test]
    fn a_version_that_is_not_there_says_where_it_was_looked_for() {
        for (name, content, message) in [
            (
                "pyproject.toml",
                "[project]\ndynamic = [\"version\"]\n",
                "project.version, tool.poetry",
            ),
            ("Cargo.toml", "[package]\nversion.workspace = true\n", "workspace.package.version"),
            ("package.json", "{}", "has nothing for the field \"version\""),
            ("pyproject.toml", "[project]\nversion = \"\"\n", "empty value"),
            ("pyproject.toml", "[project\n", "is not valid"),
            ("VERSION", "1\n2\n", "is not one line"),
            ("VERSION", "\n", "is not one line"),
        ] {
            let error = version(name, content, None).unwrap_err();
            assert!(
                error.starts_with("no version: ") && error.contains(message),
                "{name}: {error}"
            );
        }
        let file = ProjectPath::new(Path::new("/nowhere"), "VERSION", 1).unwrap();
        assert!(matches!(
            VersionSource::new(file, None).value(),
            Err(VersionError::Unreadable { .. })
        ));
    }
}
