//! Reading a TOML document table by table, keeping the place of every value.
//!
//! serde stops at the first mistake; a person wants all of them. So tables are read by hand: each
//! key that is taken is ticked off, and what is left at the end is an unknown key.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, nearest};

/// A value and its line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) line: usize,
}

/// A document being read, and what was found wrong with it.
pub(crate) struct Document<'a> {
    file: &'a Path,
    text: &'a str,
    pub(crate) problems: Vec<Problem>,
}

impl<'a> Document<'a> {
    pub(crate) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, problems: Vec::new() }
    }

    /// The document's table; with syntax errors, what could be read around them.
    pub(crate) fn parse(&mut self) -> Spanned<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let line = error.span().map_or(0, |span| self.line_at(&span));
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            self.problem(line, message);
        }
        table
    }

    /// The line, counted from 1, on which a span begins.
    pub(crate) fn line_at(&self, span: &Range<usize>) -> usize {
        let start = span.start.min(self.text.len());
        1 + self.text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count()
    }

    pub(crate) fn problem(&mut self, line: usize, message: impl Into<String>) {
        self.push(line, message.into(), None);
    }

    pub(crate) fn push(&mut self, line: usize, message: String, suggestion: Option<String>) {
        self.problems.push(Problem { file: self.file.to_owned(), line, message, suggestion });
    }
}

/// A value that is written as a text, or in full as a table.
pub(crate) enum Entry<'t, 'i> {
    Text(String),
    Table(Table<'t, 'i>),
}

/// One table being read.
pub(crate) struct Table<'t, 'i> {
    /// As a person writes it: `[images.base]`.
    title: String,
    entries: BTreeMap<&'t str, (&'t Spanned<DeValue<'i>>, usize)>,
    known: Vec<&'static str>,
}

impl<'t, 'i> Table<'t, 'i> {
    pub(crate) fn new(document: &Document<'_>, title: String, table: &'t DeTable<'i>) -> Self {
        let entries = table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), (value, document.line_at(&key.span()))))
            .collect();
        Self { title, entries, known: Vec::new() }
    }

    fn take(&mut self, key: &'static str) -> Option<(&'t Spanned<DeValue<'i>>, usize)> {
        self.known.push(key);
        self.entries.remove(key)
    }

    fn wrong_type(
        &self,
        document: &mut Document<'_>,
        line: usize,
        key: &str,
        wanted: &str,
        found: &DeValue<'_>,
    ) {
        document.problem(
            line,
            format!("{key:?} in {} must be {wanted}, not {}", self.title, described(found)),
        );
    }

    pub(crate) fn string(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> Option<Located<String>> {
        let (value, line) = self.take(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Located { value: text.to_string(), line }),
            other => {
                self.wrong_type(document, line, key, "a string", other);
                None
            }
        }
    }

    pub(crate) fn boolean(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> Option<bool> {
        self.located_boolean(document, key).map(|located| located.value)
    }

    pub(crate) fn located_boolean(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> Option<Located<bool>> {
        let (value, line) = self.take(key)?;
        match value.get_ref() {
            DeValue::Boolean(value) => Some(Located { value: *value, line }),
            other => {
                self.wrong_type(document, line, key, "true or false", other);
                None
            }
        }
    }

    /// A whole number above zero.
    pub(crate) fn count(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> Option<NonZeroU32> {
        let (value, line) = self.take(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => {
                u32::from_str_radix(number.as_str(), number.radix()).ok().and_then(NonZeroU32::new)
            }
            _ => None,
        };
        if number.is_none() {
            let message = format!("{key:?} in {} must be a whole number above zero", self.title);
            document.problem(line, message);
        }
        number
    }

    pub(crate) fn strings(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> Vec<Located<String>> {
        let Some((value, line)) = self.take(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(document, line, key, "an array of strings", value.get_ref());
            return Vec::new();
        };
        let mut found = Vec::new();
        for item in items.iter() {
            let line = document.line_at(&item.span());
            match item.get_ref() {
                DeValue::String(text) => found.push(Located { value: text.to_string(), line }),
                other => self.wrong_type(document, line, key, "an array of strings", other),
            }
        }
        found
    }

    /// An array of strings; none where the key is not there.
    pub(crate) fn list(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> Option<Vec<Located<String>>> {
        let there = self.has(key);
        let strings = self.strings(document, key);
        there.then_some(strings)
    }

    /// Whether the key is there and was not taken yet.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Takes keys that have no meaning here, and says why.
    pub(crate) fn refuse(&mut self, document: &mut Document<'_>, keys: &[&'t str], why: &str) {
        for key in keys {
            if let Some((_, line)) = self.entries.remove(key) {
                document.problem(line, format!("{key:?} cannot stand in {}: {why}", self.title));
            }
        }
    }

    /// A table of strings, such as build arguments.
    pub(crate) fn string_map(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> BTreeMap<String, Located<String>> {
        self.map(document, key, false)
    }

    /// A table of strings and whole numbers.
    pub(crate) fn number_map(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> BTreeMap<String, Located<String>> {
        self.map(document, key, true)
    }

    fn map(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
        numbers: bool,
    ) -> BTreeMap<String, Located<String>> {
        let Some((value, line)) = self.take(key) else {
            return BTreeMap::new();
        };
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(document, line, key, "a table of strings", value.get_ref());
            return BTreeMap::new();
        };
        let mut found = BTreeMap::new();
        for (name, item) in table {
            let line = document.line_at(&name.span());
            let value = match item.get_ref() {
                DeValue::String(text) => Some(text.to_string()),
                DeValue::Integer(number) if numbers && number.radix() == 10 => {
                    Some(number.as_str().to_owned())
                }
                _ => None,
            };
            let name = name.get_ref().to_string();
            match value {
                Some(value) => drop(found.insert(name, Located { value, line })),
                None => {
                    let wanted = match numbers {
                        true => "a string or a whole number",
                        false => "a string",
                    };
                    let hint = if numbers { "" } else { ": write it in quotes" };
                    document.problem(
                        line,
                        format!(
                            "{name:?} in {} {key} must be {wanted}, not {}{hint}",
                            self.title,
                            described(item.get_ref())
                        ),
                    );
                }
            }
        }
        found
    }

    pub(crate) fn table(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> Option<&'t DeTable<'i>> {
        let (value, line) = self.take(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                self.wrong_type(document, line, key, "a table", other);
                None
            }
        }
    }

    /// A table below this one, ready to be read.
    pub(crate) fn below(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> Option<Located<Self>> {
        let line = self.entries.get(key).map(|(_, line)| *line);
        let table = self.table(document, key)?;
        let title = match self.title.strip_suffix(']') {
            Some(above) => format!("{above}.{key}]"),
            None => format!("[{key}]"),
        };
        Some(Located { value: Self::new(document, title, table), line: line.unwrap_or(0) })
    }

    /// A table, or an array of tables.
    pub(crate) fn one_or_more(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> Vec<Located<Self>> {
        const WANTED: &str = "a table, or an array of tables";
        let Some((value, line)) = self.take(key) else {
            return Vec::new();
        };
        let items = match value.get_ref() {
            DeValue::Table(table) => {
                let table = Self::new(document, format!("[{key}]"), table);
                return vec![Located { value: table, line }];
            }
            DeValue::Array(items) => items,
            other => {
                self.wrong_type(document, line, key, WANTED, other);
                return Vec::new();
            }
        };
        let mut tables = Vec::new();
        for item in items.iter() {
            let line = document.line_at(&item.span());
            match item.get_ref() {
                DeValue::Table(table) => {
                    let value = Self::new(document, format!("[[{key}]]"), table);
                    tables.push(Located { value, line });
                }
                other => self.wrong_type(document, line, key, WANTED, other),
            }
        }
        tables
    }

    /// All tables in this one, by their names.
    pub(crate) fn into_tables(
        self,
        document: &mut Document<'_>,
    ) -> BTreeMap<String, Located<Self>> {
        let mut tables = BTreeMap::new();
        for (name, (value, line)) in self.entries {
            let DeValue::Table(table) = value.get_ref() else {
                let found = described(value.get_ref());
                document.problem(
                    line,
                    format!("{name:?} in {} must be a table, not {found}", self.title),
                );
                continue;
            };
            // As it has to be written.
            let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            let shown = if name.bytes().all(bare) { name.to_owned() } else { format!("{name:?}") };
            let title = format!("{}.{shown}]", self.title.trim_end_matches(']'));
            let table = Self::new(document, title, table);
            tables.insert(name.to_owned(), Located { value: table, line });
        }
        tables
    }

    /// An array whose items are strings or tables.
    pub(crate) fn entries(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> Vec<Located<Entry<'t, 'i>>> {
        const WANTED: &str = "an array of strings and tables";
        let Some((value, line)) = self.take(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(document, line, key, WANTED, value.get_ref());
            return Vec::new();
        };
        let mut found = Vec::new();
        for item in items.iter() {
            let line = document.line_at(&item.span());
            match self.entry(document, key.to_owned(), item.get_ref()) {
                Some(value) => found.push(Located { value, line }),
                None => self.wrong_type(document, line, key, WANTED, item.get_ref()),
            }
        }
        found
    }

    /// A table whose values are strings or tables.
    pub(crate) fn entry_map(
        &mut self,
        document: &mut Document<'_>,
        key: &'static str,
    ) -> BTreeMap<String, Located<Entry<'t, 'i>>> {
        const WANTED: &str = "a table of strings and tables";
        let Some((value, line)) = self.take(key) else {
            return BTreeMap::new();
        };
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(document, line, key, WANTED, value.get_ref());
            return BTreeMap::new();
        };
        let mut found = BTreeMap::new();
        for (name, item) in table {
            let line = document.line_at(&name.span());
            let name = name.get_ref().to_string();
            match self.entry(document, format!("{key}.{name:?}"), item.get_ref()) {
                Some(value) => {
                    found.insert(name, Located { value, line });
                }
                None => self.wrong_type(document, line, key, WANTED, item.get_ref()),
            }
        }
        found
    }

    fn entry(
        &self,
        document: &Document<'_>,
        key: String,
        value: &'t DeValue<'i>,
    ) -> Option<Entry<'t, 'i>> {
        match value {
            DeValue::String(text) => Some(Entry::Text(text.to_string())),
            DeValue::Table(table) => {
                let title = format!("{}.{key}]", self.title.trim_end_matches(']'));
                Some(Entry::Table(Table::new(document, title, table)))
            }
            _ => None,
        }
    }

    /// Whether the key is there as an array, which [`strings`](Self::strings) then reads.
    pub(crate) fn is_array(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|(value, _)| matches!(value.get_ref(), DeValue::Array(_)))
    }

    /// Whether the key is there as a boolean.
    pub(crate) fn is_boolean(&self, key: &str) -> bool {
        let boolean = |value: &DeValue<'_>| matches!(value, DeValue::Boolean(_));
        self.entries.get(key).is_some_and(|(value, _)| boolean(value.get_ref()))
    }

    /// Reports the keys that nothing took.
    pub(crate) fn finish(self, document: &mut Document<'_>) {
        for (key, (_, line)) in self.entries {
            let suggestion = nearest(key, self.known.iter().copied());
            document.push(line, format!("unknown key {key:?} in {}", self.title), suggestion);
        }
    }
}

fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
