//! Instructions: keyword, flags, arguments.

use std::ops::Range;

use super::error::DockerfileError;
use super::heredoc::Heredoc;
use super::lines::LogicalLine;

/// The instructions that there are.
const KEYWORDS: [&str; 18] = [
    "add",
    "arg",
    "cmd",
    "copy",
    "entrypoint",
    "env",
    "expose",
    "from",
    "healthcheck",
    "label",
    "maintainer",
    "onbuild",
    "run",
    "shell",
    "stopsignal",
    "user",
    "volume",
    "workdir",
];

/// Flags of each instruction. Any other is an error, as it is for BuildKit.
fn known_flags(keyword: &str) -> &'static [&'static str] {
    match keyword {
        "add" => &["checksum", "chmod", "chown", "exclude", "keep-git-dir", "link", "unpack"],
        "copy" => &["chmod", "chown", "exclude", "from", "link", "parents"],
        "from" => &["platform"],
        "healthcheck" => &["interval", "retries", "start-interval", "start-period", "timeout"],
        "run" => &["device", "mount", "network", "security"],
        _ => &[],
    }
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    /// The first physical line, counted from 1.
    pub(super) line: u32,
    /// In lower case.
    pub(super) keyword: String,
    pub(super) flags: Vec<Flag>,
    pub(super) arguments: Arguments,
    pub(super) heredocs: Vec<Heredoc>,
    /// For `ONBUILD`, the instruction that it holds.
    pub(super) onbuild: Option<Box<Instruction>>,
}

/// `--name=value` or `--name`, quotes removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flag {
    pub(super) name: String,
    pub(super) value: Option<String>,
    /// The value as written.
    pub(super) raw: Text,
}

/// What follows the flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arguments {
    /// A JSON array of strings.
    Json(Vec<String>),
    /// The text as it is.
    Shell(Text),
}

/// Text and where it stands in the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) places: Vec<usize>,
}

impl Instruction {
    /// Reads a logical line.
    pub(super) fn read(line: LogicalLine, escape: char) -> Result<Self, DockerfileError> {
        let LogicalLine { line, text, places, heredocs } = line;
        read(line, Text { text, places }, heredocs, escape, false)
    }

    /// The value of a flag that may stand once.
    pub(super) fn flag(&self, name: &str) -> Option<&Flag> {
        self.flags.iter().find(|flag| flag.name == name)
    }

    /// The arguments as text; for the JSON form, joined by blanks.
    pub(super) fn text(&self) -> String {
        match &self.arguments {
            Arguments::Json(items) => items.join(" "),
            Arguments::Shell(text) => text.text.clone(),
        }
    }
}

impl Text {
    pub(super) fn slice(&self, range: Range<usize>) -> Self {
        Self { text: self.text[range.clone()].to_owned(), places: self.places[range].to_vec() }
    }

    fn trim_start(&self) -> Self {
        let blanks = self.text.len() - self.text.trim_start().len();
        self.slice(blanks..self.text.len())
    }

    /// From the first to the last byte's place. Splices within are part of it.
    pub(super) fn span(&self) -> Range<usize> {
        match (self.places.first(), self.places.last()) {
            (Some(first), Some(last)) => *first..*last + 1,
            _ => 0..0,
        }
    }

    /// Words separated by blanks.
    pub(super) fn words(&self) -> Vec<Self> {
        let mut words = Vec::new();
        let mut start = None;
        for (index, character) in self.text.char_indices().chain([(self.text.len(), ' ')]) {
            match (start, character.is_whitespace()) {
                (None, false) => start = Some(index),
                (Some(from), true) => {
                    words.push(self.slice(from..index));
                    start = None;
                }
                _ => {}
            }
        }
        words
    }
}

fn read(
    line: u32,
    text: Text,
    heredocs: Vec<Heredoc>,
    escape: char,
    within_onbuild: bool,
) -> Result<Instruction, DockerfileError> {
    let error = |message: String| DockerfileError::new(line, message);
    let end = text.text.find(char::is_whitespace).unwrap_or(text.text.len());
    let written = &text.text[..end];
    let keyword = written.to_ascii_lowercase();
    if !KEYWORDS.contains(&keyword.as_str()) {
        let hint = nearest(&keyword)
            .map(|near| format!(" (did you mean {}?)", near.to_ascii_uppercase()))
            .unwrap_or_default();
        return Err(error(format!("unknown instruction {written:?}{hint}")));
    }
    let rest = text.slice(end..text.text.len()).trim_start();
    if rest.text.is_empty() {
        return Err(error(format!("{} requires at least one argument", keyword.to_uppercase())));
    }
    if keyword == "onbuild" {
        if within_onbuild {
            return Err(error("ONBUILD cannot hold another ONBUILD".to_owned()));
        }
        let inner = read(line, rest, heredocs, escape, true)?;
        if matches!(inner.keyword.as_str(), "from" | "maintainer") {
            let message = format!("ONBUILD cannot hold {}", inner.keyword.to_uppercase());
            return Err(error(message));
        }
        return Ok(Instruction {
            line,
            keyword,
            flags: Vec::new(),
            arguments: Arguments::Shell(Text::default()),
            heredocs: Vec::new(),
            onbuild: Some(Box::new(inner)),
        });
    }
    let (flags, rest) = flags(&keyword, rest, escape).map_err(error)?;
    let arguments = arguments(&keyword, rest).map_err(error)?;
    let instruction = Instruction { line, keyword, flags, arguments, heredocs, onbuild: None };
    check(&instruction).map_err(error)?;
    Ok(instruction)
}

/// Reads flags up to the first word that is none, or a bare `--`.
fn flags(keyword: &str, mut rest: Text, escape: char) -> Result<(Vec<Flag>, Text), String> {
    let mut flags: Vec<Flag> = Vec::new();
    while rest.text.starts_with("--") {
        let end = end_of_word(&rest.text, escape);
        let word = rest.slice(0..end);
        rest = rest.slice(end..rest.text.len()).trim_start();
        if word.text == "--" {
            break;
        }
        let name_end = word.text.find('=').unwrap_or(word.text.len());
        let name = word.text[2..name_end].to_owned();
        if !known_flags(keyword).contains(&name.as_str()) {
            return Err(format!("{} has no flag --{name}", keyword.to_uppercase()));
        }
        if !matches!(name.as_str(), "mount" | "exclude" | "device")
            && flags.iter().any(|flag| flag.name == name)
        {
            return Err(format!("--{name} is there twice"));
        }
        let flag = if name_end < word.text.len() {
            let raw = word.slice(name_end + 1..word.text.len());
            Flag { name, value: Some(unquote(&raw.text, escape)), raw }
        } else {
            Flag { name, value: None, raw: Text::default() }
        };
        flags.push(flag);
    }
    if rest.text.is_empty() && !flags.is_empty() {
        return Err(format!("{} has flags but no arguments", keyword.to_uppercase()));
    }
    Ok((flags, rest))
}

/// Where a word ends that may have quoted and escaped blanks.
pub(super) fn end_of_word(text: &str, escape: char) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if character == escape {
            escaped = true;
        } else if quote == Some(character) {
            quote = None;
        } else if quote.is_none() && (character == '"' || character == '\'') {
            quote = Some(character);
        } else if quote.is_none() && character.is_whitespace() {
            return index;
        }
    }
    text.len()
}

pub(super) fn unquote(text: &str, escape: char) -> String {
    let mut plain = String::new();
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == escape {
            plain.extend(characters.next());
        } else if quote == Some(character) {
            quote = None;
        } else if quote.is_none() && (character == '"' || character == '\'') {
            quote = Some(character);
        } else {
            plain.push(character);
        }
    }
    plain
}

/// The JSON form where the instruction has one and the text is an array of strings.
fn arguments(keyword: &str, rest: Text) -> Result<Arguments, String> {
    let has_json_form =
        matches!(keyword, "add" | "cmd" | "copy" | "entrypoint" | "run" | "shell" | "volume");
    // What is no JSON is a command that begins with a bracket.
    if has_json_form
        && rest.text.starts_with('[')
        && let Ok(items) = serde_json::from_str::<Vec<serde_json::Value>>(&rest.text)
    {
        return items
            .into_iter()
            .map(|item| match item {
                serde_json::Value::String(text) => Ok(text),
                other => {
                    Err(format!("a JSON array of arguments may hold strings only, not {other}"))
                }
            })
            .collect::<Result<_, _>>()
            .map(Arguments::Json);
    }
    Ok(Arguments::Shell(rest))
}

/// Rules that BuildKit enforces for every instruction, reachable or not.
fn check(instruction: &Instruction) -> Result<(), String> {
    let upper = instruction.keyword.to_uppercase();
    let words = match &instruction.arguments {
        Arguments::Json(items) => items.len(),
        Arguments::Shell(text) => text.words().len(),
    };
    match instruction.keyword.as_str() {
        "from" if words != 1 && words != 3 => {
            Err("FROM requires either one argument or three: FROM <image> [AS <name>]".to_owned())
        }
        "copy" | "add" if words < 2 => {
            Err(format!("{upper} requires at least two arguments: a source and a destination"))
        }
        "shell" if !matches!(instruction.arguments, Arguments::Json(_)) => {
            Err("SHELL requires its arguments in JSON form".to_owned())
        }
        "workdir" | "user" | "stopsignal" if words == 0 => {
            Err(format!("{upper} requires exactly one argument"))
        }
        _ => Ok(()),
    }
}

/// The keyword that differs least, if by at most two letters.
fn nearest(word: &str) -> Option<&'static str> {
    KEYWORDS
        .iter()
        .map(|known| (edits(word, known), *known))
        .filter(|(edits, _)| *edits <= 2)
        .min()
        .map(|(_, known)| known)
}

/// Levenshtein's distance; words here are short.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut previous = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = previous + usize::from(x != *y);
            previous = row[j + 1];
            row[j + 1] = replaced.min(previous + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
