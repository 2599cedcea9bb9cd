//! Declared (coarse) keys: values that are picked out of files and stand for all of them.

use std::collections::BTreeSet;
use std::fmt;

use regex::Regex;
use toml::de::{DeTable, DeValue};

use crate::project_path::ProjectPath;

/// One value of a declared key: which file it stands in, and where there.
#[derive(Clone, Debug)]
pub struct DeclaredSource {
    name: String,
    file: ProjectPath,
    pick: Pick,
}

#[derive(Clone, Debug)]
pub(crate) enum Pick {
    /// What the first group of a regular expression matches, or all of it where it has none.
    Pattern(Regex),
    /// A value of a TOML or JSON document.
    Field { text: String, path: Vec<String>, notation: Notation },
}

/// How the file of a [`Pick::Field`] is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notation {
    Toml,
    Json,
}

/// Why a declared value was not found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeclaredError {
    /// The file cannot be read.
    #[error("{file} cannot be read: {error}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is no UTF-8, TOML or JSON.
    #[error("{file} is not valid: {message}")]
    Invalid {
        /// The file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// Nothing in the file is meant.
    #[error("{file} has nothing for {pick}")]
    Absent {
        /// The file.
        file: String,
        /// The pattern or field.
        pick: String,
    },
    /// The value that is meant has no characters: it would make a key that nothing changes.
    #[error("{file} has an empty value for {pick}")]
    Empty {
        /// The file.
        file: String,
        /// The pattern or field.
        pick: String,
    },
    /// Several values are meant.
    #[error("{file} has several values for {pick}: {}", shown(.values))]
    Ambiguous {
        /// The file.
        file: String,
        /// The pattern.
        pick: String,
        /// All different values, sorted.
        values: Vec<String>,
    },
    /// The field is no string, number, boolean or date.
    #[error("{file} has {found} as {pick}, not a single value")]
    NotAValue {
        /// The file.
        file: String,
        /// The field.
        pick: String,
        /// What is there.
        found: &'static str,
    },
}

/// A few of them, so that a pattern like `.*` makes no long message.
fn shown(values: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<String> =
        values.iter().take(SHOWN).map(|value| format!("{value:?}")).collect();
    if values.len() > SHOWN {
        text.push(format!("and {} more", values.len() - SHOWN));
    }
    text.join(", ")
}

impl DeclaredSource {
    pub(crate) fn new(name: String, file: ProjectPath, pick: Pick) -> Self {
        Self { name, file, pick }
    }

    /// The name that the configuration gives the value.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that the value stands in.
    pub fn file(&self) -> &ProjectPath {
        &self.file
    }

    /// Reads the file and picks out the value.
    ///
    /// # Errors
    ///
    /// The file cannot be read or understood, or does not hold exactly one value that is not empty. A pattern may match
    /// several times if the values are equal.
    pub fn value(&self) -> Result<String, DeclaredError> {
        let file = || self.file.to_string();
        let bytes = std::fs::read(self.file.location())
            .map_err(|error| DeclaredError::Unreadable { file: file(), error })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let message = format!("byte {} is not UTF-8", error.utf8_error().valid_up_to());
            DeclaredError::Invalid { file: file(), message }
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let pick = || self.pick.to_string();
        let found = match &self.pick {
            Pick::Pattern(pattern) => return self.matched(pattern, text),
            Pick::Field { path, notation: Notation::Toml, .. } => toml_field(text, path),
            Pick::Field { path, notation: Notation::Json, .. } => json_field(text, path),
        };
        match found.map_err(|message| DeclaredError::Invalid { file: file(), message })? {
            Found::Value(value) if value.is_empty() => {
                Err(DeclaredError::Empty { file: file(), pick: pick() })
            }
            Found::Value(value) => Ok(value),
            Found::Nothing => Err(DeclaredError::Absent { file: file(), pick: pick() }),
            Found::Other(found) => {
                Err(DeclaredError::NotAValue { file: file(), pick: pick(), found })
            }
        }
    }

    fn matched(&self, pattern: &Regex, text: &str) -> Result<String, DeclaredError> {
        let (file, pick) = (self.file.to_string(), self.pick.to_string());
        let values: BTreeSet<&str> = pattern
            .captures_iter(text)
            .filter_map(|found| found.get(1).or_else(|| found.get(0)))
            .map(|found| found.as_str())
            .collect();
        let mut values: Vec<String> = values.into_iter().map(str::to_owned).collect();
        match values.len() {
            0 => Err(DeclaredError::Absent { file, pick }),
            1 if values[0].is_empty() => Err(DeclaredError::Empty { file, pick }),
            1 => Ok(values.remove(0)),
            _ => Err(DeclaredError::Ambiguous { file, pick, values }),
        }
    }
}

impl Pick {
    /// A regular expression whose `^` and `$` are the ends of lines, whichever way lines end.
    pub(crate) fn pattern(text: &str) -> Result<Self, String> {
        let built = regex::RegexBuilder::new(text).multi_line(true).crlf(true).build();
        built.map(Self::Pattern).map_err(|error| regex_problem(&error))
    }

    /// A field by its keys with dots between them, in quotes where a key has a dot itself; a number
    /// is an index in an array.
    pub(crate) fn field(text: &str, notation: Notation) -> Result<Self, &'static str> {
        let path = field_path(text)?;
        Ok(Self::Field { text: text.to_owned(), path, notation })
    }
}

/// What is wrong with a regular expression, as a fragment.
pub(crate) fn regex_problem(error: &regex::Error) -> String {
    // The crate's text draws an arrow below the pattern; its last line says what is wrong.
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// The keys of a field that is written with dots between them.
pub(crate) fn field_path(text: &str) -> Result<Vec<String>, &'static str> {
    let mut path = Vec::new();
    let mut rest = text;
    loop {
        let (key, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or("a quote is not closed")?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if key.is_empty() {
            return Err("a key is empty");
        }
        path.push(key.to_owned());
        match after.strip_prefix('.') {
            Some(after) => rest = after,
            None if after.is_empty() => break,
            None => return Err("a dot is missing after a quote"),
        }
    }
    Ok(path)
}

impl Notation {
    /// By the end of the file's name.
    pub(crate) fn of(file: &ProjectPath) -> Option<Self> {
        match file.location().extension()?.to_str()? {
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern) => write!(formatter, "the pattern {:?}", pattern.as_str()),
            Self::Field { text, .. } => write!(formatter, "the field {text:?}"),
        }
    }
}

/// What is where a field should be.
enum Found {
    Value(String),
    Nothing,
    Other(&'static str),
}

fn toml_field(text: &str, path: &[String]) -> Result<Found, String> {
    let document = DeTable::parse(text).map_err(|error| {
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
        format!("line {line}: {message}")
    })?;
    let (first, rest) = path.split_first().expect("a field has a key");
    let mut value = document.get_ref().get(first.as_str());
    for key in rest {
        value = value.and_then(|value| match value.get_ref() {
            DeValue::Table(table) => table.get(key.as_str()),
            DeValue::Array(items) => items.get(key.parse::<usize>().ok()?),
            _ => None,
        });
    }
    Ok(match value.map(|value| value.get_ref()) {
        None => Found::Nothing,
        Some(DeValue::String(text)) => Found::Value(text.to_string()),
        // As they are written: 3.10 is not 3.1.
        Some(DeValue::Integer(number)) => Found::Value(number.to_string()),
        Some(DeValue::Float(number)) => Found::Value(number.to_string()),
        Some(DeValue::Boolean(value)) => Found::Value(value.to_string()),
        Some(DeValue::Datetime(date)) => Found::Value(date.to_string()),
        Some(DeValue::Array(_)) => Found::Other("an array"),
        Some(DeValue::Table(_)) => Found::Other("a table"),
    })
}

fn json_field(text: &str, path: &[String]) -> Result<Found, String> {
    use serde_json::Value;
    let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut value = Some(&document);
    for key in path {
        value = value.and_then(|value| match value {
            Value::Object(object) => object.get(key.as_str()),
            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            _ => None,
        });
    }
    Ok(match value {
        None => Found::Nothing,
        Some(Value::String(text)) => Found::Value(text.clone()),
        Some(Value::Number(number)) => Found::Value(number.to_string()),
        Some(Value::Bool(value)) => Found::Value(value.to_string()),
        Some(Value::Null) => Found::Other("null"),
        Some(Value::Array(_)) => Found::Other("an array"),
        Some(Value::Object(_)) => Found::Other("an object"),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn value(name: &str, content: &str, pick: Pick) -> Result<String, String> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(name), content).unwrap();
        let file = ProjectPath::new(directory.path(), name, 1).unwrap();
        DeclaredSource::new("v".to_owned(), file, pick).value().map_err(|error| error.to_string())
    }

    fn matched(content: &str, pattern: &str) -> Result<String, String> {
        value("f.txt", content, Pick::pattern(pattern).unwrap())
    }

    #[test]
    fn a_pattern_finds_one_value() {
        let pins = "numpy==1.26\ntorch==2.1.0\ntorchvision==0.16\n";
        assert_eq!(matched(pins, r"^torch==(\S+)$").unwrap(), "2.1.0");
        assert_eq!(matched(&pins.replace('\n', "\r\n"), r"^torch==(\S+)$").unwrap(), "2.1.0");
        assert_eq!(matched(pins, "^torch==.*$").unwrap(), "torch==2.1.0");
        assert_eq!(matched("a=1 a=1", r"a=(\d)").unwrap(), "1", "equal values are one");
        assert_eq!(matched("\u{feff}a=1", r"^a=(\d)").unwrap(), "1");
        assert_eq!(
            matched(pins, r"^jax==(\S+)$").unwrap_err(),
            r#"f.txt has nothing for the pattern "^jax==(\\S+)$""#
        );
        assert_eq!(
            matched("a=2 a=1 a=2", r"a=(\d)").unwrap_err(),
            r#"f.txt has several values for the pattern "a=(\\d)": "1", "2""#
        );
        assert!(matched("1 2 3 4 5 6 7", r"\d").unwrap_err().ends_with(r#""5", and 2 more"#));
    }

    #[test]
    fn a_field_is_one_value_as_it_is_written() {
        let toml = "[project]\nrequires-python = \">=3.9\"\nv = 3.10\nn = 1\nb = true\n\
                    d = 2026-11-21\nlist = [\"x\", \"y\"]\n[tool.\"a.b\"]\nc = \"z\"\n";
        let json = r#"{"project":{"requires-python":">=3.9","n":1,"b":true,"list":["x","y"],
                       "null":null,"o":{}},"tool":{"a.b":{"c":"z"}}}"#;
        let field = |name: &str, content: &str, text: &str| {
            let notation = if name.ends_with("toml") { Notation::Toml } else { Notation::Json };
            value(name, content, Pick::field(text, notation).unwrap())
        };
        for (name, content) in [("f.toml", toml), ("f.json", json)] {
            let field = |text: &str| field(name, content, text);
            assert_eq!(field("project.requires-python").unwrap(), ">=3.9");
            assert_eq!(field("project.n").unwrap(), "1");
            assert_eq!(field("project.b").unwrap(), "true");
            assert_eq!(field("project.list.1").unwrap(), "y");
            assert_eq!(field("tool.\"a.b\".c").unwrap(), "z");
            let nothing = format!("{name} has nothing for the field \"project.x\"");
            assert_eq!(field("project.x").unwrap_err(), nothing);
            assert!(field("project.list").unwrap_err().contains("has an array as the field"));
            assert!(field("project.n.x").unwrap_err().contains("has nothing"));
        }
        assert_eq!(field("f.toml", toml, "project.v").unwrap(), "3.10");
        assert_eq!(field("f.toml", toml, "project.d").unwrap(), "2026-11-21");
        assert!(field("f.json", json, "project.null").unwrap_err().contains("has null"));
        assert!(field("f.toml", "a = \n", "a").unwrap_err().contains("line 1"));
        assert!(field("f.json", "{", "a").unwrap_err().contains("not valid"));
    }

    #[test]
    fn an_empty_value_is_none() {
        for pattern in ["x*", "a=(\\d*)$"] {
            assert_eq!(
                matched("a=", pattern).unwrap_err(),
                format!("f.txt has an empty value for the pattern {pattern:?}")
            );
        }
        for (name, content, notation) in
            [("f.toml", "a = ''", Notation::Toml), ("f.json", r#"{"a":""}"#, Notation::Json)]
        {
            let field = value(name, content, Pick::field("a", notation).unwrap());
            assert_eq!(
                field.unwrap_err(),
                format!("{name} has an empty value for the field \"a\"")
            );
        }
    }

    #[test]
    fn bad_patterns_and_fields_are_known_before_any_file_is_read() {
        assert_eq!(Pick::pattern("(a").unwrap_err(), "unclosed group");
        for bad in ["", ".a", "a.", "a..b", "\"a", "\"a\"b", "\"\""] {
            assert!(Pick::field(bad, Notation::Toml).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_notation_is_in_the_name() {
        let of = |name: &str| Notation::of(&ProjectPath::new(Path::new("/"), name, 1).unwrap());
        assert_eq!(of("a/pyproject.toml"), Some(Notation::Toml));
        assert_eq!(of("package.json"), Some(Notation::Json));
        assert_eq!(of("requirements.txt"), None);
        assert_eq!(of("toml"), None);
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let file = ProjectPath::new(Path::new("/nowhere/at/all"), "f", 1).unwrap();
        let source = DeclaredSource::new("v".into(), file, Pick::pattern("a").unwrap());
        assert!(matches!(source.value().unwrap_err(), DeclaredError::Unreadable { .. }));
    }
}
