//! Where the value of a field stands in a TOML or JSON document, so that it alone can be replaced.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::declared_key::field_path;

/// A field by its keys, with dots between them; a number is an index in an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    text: String,
    path: Vec<String>,
}

impl Field {
    /// # Errors
    ///
    /// Why the text names no field.
    pub(crate) fn new(text: &str) -> Result<Self, &'static str> {
        Ok(Self { text: text.to_owned(), path: field_path(text)? })
    }

    /// The bytes between the quotes of the field's value, which is a string without escapes. The name of
    /// the file decides how it is read.
    ///
    /// # Errors
    ///
    /// There is no such string, or the document is none.
    pub(crate) fn find(&self, file: &str, bytes: &[u8]) -> Result<Range<usize>, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let found = if file.ends_with(".toml") {
            in_toml(text, &self.path)?
        } else if file.ends_with(".json") {
            in_json(text, &self.path)?
        } else {
            return Err("fields are found in .toml and .json: write a pattern instead".to_owned());
        };
        let span = found.ok_or_else(|| format!("it has no field {self}"))?;
        let quoted = &text[span.clone()];
        let inner = ["\"", "'"].iter().find_map(|quote| {
            let inner = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
            (quoted.len() > 1 && !inner.contains(quote)).then_some(inner)
        });
        match inner {
            Some(inner) if !inner.contains('\\') => Ok(span.start + 1..span.end - 1),
            _ => Err(format!("{self} is no plain string in it")),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn in_toml(text: &str, path: &[String]) -> Result<Option<Range<usize>>, String> {
    let (mark, text) = match text.strip_prefix('\u{feff}') {
        Some(rest) => (3, rest),
        None => (0, text),
    };
    let table = DeTable::parse(text).map_err(|error| error.message().to_owned())?;
    let (first, rest) = path.split_first().expect("a field has a key");
    let mut value: Option<&Spanned<DeValue<'_>>> = table.get_ref().get(first.as_str());
    for key in rest {
        value = match value.map(Spanned::get_ref) {
            Some(DeValue::Table(table)) => table.get(key.as_str()),
            Some(DeValue::Array(items)) => {
                key.parse().ok().and_then(|index: usize| items.get(index))
            }
            _ => None,
        };
    }
    Ok(value.map(|value| value.span().start + mark..value.span().end + mark))
}

fn in_json(text: &str, path: &[String]) -> Result<Option<Range<usize>>, String> {
    // The reader below takes well-formed documents alone.
    serde_json::from_str::<serde::de::IgnoredAny>(text.trim_start_matches('\u{feff}'))
        .map_err(|error| error.to_string())?;
    let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut json = Json { bytes: text.as_bytes(), at };
    Ok(json.value(Some(path)))
}

/// Reads a well-formed document once, from the left.
struct Json<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Json<'_> {
    /// Reads a value; of the one that `path` leads to from here, its bytes.
    fn value(&mut self, path: Option<&[String]>) -> Option<Range<usize>> {
        self.blanks();
        let start = self.at;
        let found = match self.bytes[self.at] {
            b'{' => self.members(b'}', path),
            b'[' => self.members(b']', path),
            b'"' => {
                self.string();
                None
            }
            _ => {
                while self.at < self.bytes.len() && !b",]} \t\r\n".contains(&self.bytes[self.at]) {
                    self.at += 1;
                }
                None
            }
        };
        match path {
            Some([]) => Some(start..self.at),
            _ => found,
        }
    }

    fn members(&mut self, end: u8, path: Option<&[String]>) -> Option<Range<usize>> {
        self.at += 1;
        let mut found = None;
        let mut index = 0_usize;
        loop {
            self.blanks();
            match self.bytes[self.at] {
                byte if byte == end => {
                    self.at += 1;
                    return found;
                }
                b',' => self.at += 1,
                _ => {
                    let key = if end == b'}' {
                        let key = self.string();
                        self.blanks();
                        self.at += 1; // the colon
                        serde_json::from_slice(&self.bytes[key]).unwrap_or_default()
                    } else {
                        index.to_string()
                    };
                    let below = path.and_then(|path| {
                        let (first, rest) = path.split_first()?;
                        (*first == key).then_some(rest)
                    });
                    // Of a key that is there twice, readers take the last one.
                    found = self.value(below).or(found);
                    index += 1;
                }
            }
        }
    }

    fn string(&mut self) -> Range<usize> {
        let start = self.at;
        self.at += 1;
        while self.bytes[self.at] != b'"' {
            self.at += if self.bytes[self.at] == b'\\' { 2 } else { 1 };
        }
        self.at += 1;
        start..self.at
    }

    fn blanks(&mut self) {
        while self.bytes.get(self.at).is_some_and(|byte| b" \t\r\n".contains(byte)) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found<'t>(file: &str, text: &'t str, field: &str) -> Result<&'t str, String> {
        Field::new(field).unwrap().find(file, text.as_bytes()).map(|span| &text[span])
    }

    #[test]
    fn the_value_of_a_field_is_found_between_its_quotes() {
        let toml = "\u{feff}a = 1\r\n[b]\r\nimages = [\r\n  { tag = 'one' }, { \"t.g\" = \"two\" },\r\n]\r\n";
        assert_eq!(found("x.toml", toml, "b.images.0.tag"), Ok("one"));
        assert_eq!(found("x.toml", toml, "b.images.1.\"t.g\""), Ok("two"));
        assert_eq!(
            found("x.toml", toml, "b.images.2"),
            Err("it has no field b.images.2".to_owned())
        );
        assert_eq!(found("x.toml", toml, "a"), Err("a is no plain string in it".to_owned()));
        let json = r#"{"a": [1, {"b\"c": "one"}, "x,]"], "d": {"e": "two", "f": {}}, "e": null}"#;
        assert_eq!(found("x.json", json, "a.1.b\"c"), Ok("one"));
        assert_eq!(found("x.json", json, "a.2"), Ok("x,]"));
        assert_eq!(found("x.json", json, "d.e"), Ok("two"));
        assert!(found("x.json", json, "e").is_err() && found("x.json", json, "d.f.g").is_err());
        assert!(found("x.json", "{", "a").is_err() && found("x.toml", "a = ", "a").is_err());
        assert!(found("x.yml", "a: b", "a").unwrap_err().contains("pattern"));
        assert!(found("x.toml", "a = \"\"\"x\"\"\"", "a").is_err());
        assert!(found("x.toml", "a = \"\\u0041\"", "a").is_err());
    }

    proptest! {
        #[test]
        fn fields_of_json_are_those_that_a_parser_finds(
            keys in prop::collection::vec("[a-c]{1,2}|\\PC{1,3}", 1..5),
            value in "[a-z:@]{0,8}",
            noise in prop::collection::vec("[ -~]{0,4}", 0..4),
            pretty: bool,
        ) {
            let mut document = serde_json::json!(value);
            for key in keys.iter().rev() {
                let mut object = serde_json::Map::new();
                for (number, noise) in noise.iter().enumerate() {
                    object.insert(format!("{noise}{number}\\\""), serde_json::json!([noise, {noise: number}]));
                }
                object.insert(key.clone(), document);
                document = object.into();
            }
            let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
            let text = text.unwrap();
            let field = Field { text: "x".to_owned(), path: keys.clone() };
            let span = field.find("x.json", text.as_bytes()).unwrap();
            prop_assert_eq!(&text[span], value);
        }
    }
}
