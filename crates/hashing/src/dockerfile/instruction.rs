//! Typed instructions.

use std::ops::Range;

use super::error::{DockerfileError, DockerfileErrorKind, nearest};
use super::flags::{self, Flag, Mention};
use super::heredoc::Heredoc;
use super::keyword::Keyword;
use super::lines::{Lines, LogicalLine};
use super::words::{json_strings, name_values, split_blanks, split_quoted};

/// An instruction that is no `FROM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) keyword: Keyword,
    /// 1-based line on which it begins.
    pub(super) line: u32,
    pub(super) flags: Vec<Flag>,
    pub(super) arguments: Arguments,
    /// Of a `RUN`, `COPY` or `ADD`, in the order of their words.
    pub(super) heredocs: Vec<Heredoc>,
    /// The token that escapes a character in the flags and arguments.
    pub(super) escape: char,
    /// Of an `ONBUILD`, what it triggers as text, as the configuration of the image holds it; empty
    /// otherwise.
    pub(super) trigger: String,
}

impl Instruction {
    /// What an `ONBUILD` triggers; any other instruction itself.
    pub(super) fn innermost(&self) -> &Self {
        match &self.arguments {
            Arguments::Trigger(trigger) => trigger,
            _ => self,
        }
    }

    fn may_have_heredocs(&self) -> bool {
        matches!(self.keyword, Keyword::Add | Keyword::Copy | Keyword::Run)
            && !matches!(self.arguments, Arguments::Json(_))
    }
}

/// The arguments of an instruction. Variables are not expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arguments {
    /// The rest of the line, as it is: a shell command, a user, a directory.
    Text(String),
    /// Words between blanks: sources and destination, ports, volumes.
    Words(Vec<String>),
    /// A JSON array: a command without shell, paths with blanks.
    Json(Vec<String>),
    /// Names and values of `ENV` and `LABEL`.
    Pairs(Vec<(String, String)>),
    /// Names and defaults of `ARG`.
    Declarations(Vec<(String, Option<String>)>),
    /// `HEALTHCHECK`: `NONE`, or `CMD` and its command.
    Health(Option<Box<Arguments>>),
    /// `ONBUILD`.
    Trigger(Box<Instruction>),
}

/// `FROM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct From {
    pub(super) line: u32,
    /// What follows `FROM`; its name may hold variables.
    pub(super) base: Mention,
    /// `--platform`, which may hold variables.
    pub(super) platform: Option<String>,
    /// What follows `AS`, in lower case.
    pub(super) name: Option<String>,
}

/// A parsed logical line.
pub(super) enum Parsed {
    From(From),
    Instruction(Instruction),
}

/// Parses a logical line, and reads the heredocs that it asks for.
pub(super) fn parse(
    line: &LogicalLine,
    lines: &mut Lines<'_>,
    escape: char,
) -> Result<Parsed, DockerfileError> {
    let trimmed = trimmed_range(&line.text, 0..line.text.len());
    let (keyword, rest) = split_keyword(line, trimmed)?;
    if keyword == Keyword::From {
        return parse_from(line, rest, escape).map(Parsed::From);
    }
    let mut instruction = parse_instruction(keyword, line, rest, escape)?;
    if instruction.innermost().may_have_heredocs() {
        let mut heredocs = Heredoc::in_line(&line.text)
            .map_err(|message| DockerfileError::invalid(line.number, message))?;
        for heredoc in &mut heredocs {
            heredoc.read(lines, line.number)?;
        }
        match &mut instruction.arguments {
            Arguments::Trigger(trigger) => {
                for Heredoc { body, name, .. } in &heredocs {
                    let body = String::from_utf8_lossy(body);
                    instruction.trigger.extend(["\n", &body, name]);
                }
                trigger.heredocs = heredocs;
            }
            _ => instruction.heredocs = heredocs,
        }
    }
    Ok(Parsed::Instruction(instruction))
}

fn trimmed_range(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    start..start + part.trim().len()
}

fn is_blank(ch: char) -> bool {
    matches!(ch, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

fn split_keyword(
    line: &LogicalLine,
    range: Range<usize>,
) -> Result<(Keyword, Range<usize>), DockerfileError> {
    let text = &line.text[range.clone()];
    let (word, rest) = text.split_once(is_blank).unwrap_or((text, ""));
    let keyword = Keyword::parse(word).ok_or_else(|| {
        let names = Keyword::ALL.iter().map(|keyword| keyword.as_str());
        let kind = DockerfileErrorKind::UnknownInstruction {
            keyword: word.to_owned(),
            nearest: nearest(word, names).map(str::to_owned),
        };
        DockerfileError::new(line.number, kind)
    })?;
    Ok((keyword, range.end - rest.len()..range.end))
}

fn parse_from(
    line: &LogicalLine,
    range: Range<usize>,
    escape: char,
) -> Result<From, DockerfileError> {
    let invalid = |message: String| DockerfileError::invalid(line.number, message);
    let (flags, rest) = flags::parse(Keyword::From, line, range.clone(), escape)?;
    let arguments = trimmed_range(&line.text, rest..range.end);
    let words: Vec<&str> =
        line.text[arguments.clone()].split(is_blank).filter(|word| !word.is_empty()).collect();
    let name = match words.as_slice() {
        [_] => None,
        [_, word, name] if word.eq_ignore_ascii_case("as") => {
            Some(stage_name(name).map_err(invalid)?)
        }
        _ => return Err(invalid("FROM requires one or three arguments".to_owned())),
    };
    let span = line.in_source(arguments.start..arguments.start + words[0].len());
    let platform = flags.iter().find_map(|flag| match flag {
        Flag::Plain(text) => text.strip_prefix("--platform="),
        _ => None,
    });
    Ok(From {
        line: line.number,
        base: Mention { name: words[0].to_owned(), span, quotes: String::new() },
        platform: platform.filter(|platform| !platform.is_empty()).map(str::to_owned),
        name,
    })
}

fn stage_name(name: &str) -> Result<String, String> {
    let name = name.to_lowercase();
    let allowed = |ch: char| ch.is_ascii_lowercase() || ch.is_ascii_digit() || "-_.".contains(ch);
    if name.starts_with(|ch: char| ch.is_ascii_lowercase()) && name.chars().all(allowed) {
        return Ok(name);
    }
    Err(format!(
        "invalid stage name {name:?}: a letter must come first, then letters, digits, '-', '_' and '.'"
    ))
}

fn parse_instruction(
    keyword: Keyword,
    line: &LogicalLine,
    range: Range<usize>,
    escape: char,
) -> Result<Instruction, DockerfileError> {
    let (flags, rest) = flags::parse(keyword, line, range.clone(), escape)?;
    let range = trimmed_range(&line.text, rest..range.end);
    let mut trigger = String::new();
    let arguments = if keyword == Keyword::Onbuild {
        line.text[range.clone()].clone_into(&mut trigger);
        Arguments::Trigger(Box::new(parse_trigger(line, range, escape)?))
    } else {
        parse_arguments(keyword, &line.text[range], escape)
            .map_err(|message| DockerfileError::invalid(line.number, message))?
    };
    let heredocs = Vec::new();
    Ok(Instruction { keyword, line: line.number, flags, arguments, heredocs, escape, trigger })
}

fn parse_trigger(
    line: &LogicalLine,
    range: Range<usize>,
    escape: char,
) -> Result<Instruction, DockerfileError> {
    let invalid = |message: &str| DockerfileError::invalid(line.number, message);
    if range.is_empty() {
        return Err(invalid("ONBUILD requires at least one argument"));
    }
    let (keyword, rest) = split_keyword(line, range)?;
    match keyword {
        Keyword::Onbuild => Err(invalid("ONBUILD is not allowed as a trigger of ONBUILD")),
        Keyword::From => Err(invalid("FROM is not allowed as a trigger of ONBUILD")),
        Keyword::Maintainer => Err(invalid("MAINTAINER is not allowed as a trigger of ONBUILD")),
        _ => parse_instruction(keyword, line, rest, escape),
    }
}

fn parse_arguments(keyword: Keyword, text: &str, escape: char) -> Result<Arguments, String> {
    let name = keyword.as_str();
    let arguments = match keyword {
        Keyword::Run | Keyword::Cmd | Keyword::Entrypoint => command(text)?,
        Keyword::Add | Keyword::Copy => {
            let arguments = words_or_json(text)?;
            check_destination(name, &arguments)?;
            arguments
        }
        Keyword::Volume => {
            let arguments = words_or_json(text)?;
            if let Arguments::Words(words) | Arguments::Json(words) = &arguments {
                at_least_one(name, words.len())?;
                if words.iter().any(|word| word.trim().is_empty()) {
                    return Err("VOLUME cannot be an empty string".to_owned());
                }
            }
            arguments
        }
        Keyword::Expose => {
            let words = split_blanks(text);
            at_least_one(name, words.len())?;
            Arguments::Words(words)
        }
        Keyword::Env | Keyword::Label => {
            let pairs = name_values(name, text, escape)?;
            at_least_one(name, pairs.len())?;
            Arguments::Pairs(pairs)
        }
        Keyword::Arg => Arguments::Declarations(declarations(text, escape)?),
        Keyword::Shell => match command(text)? {
            Arguments::Json(words) if !words.is_empty() => Arguments::Json(words),
            Arguments::Json(_) => return Err("SHELL requires at least one argument".to_owned()),
            _ => return Err("SHELL requires the arguments to be a JSON array".to_owned()),
        },
        Keyword::Healthcheck => health(text)?,
        Keyword::Maintainer | Keyword::Stopsignal | Keyword::User | Keyword::Workdir => {
            if text.is_empty() {
                return Err(format!("{name} requires exactly one argument"));
            }
            Arguments::Text(text.to_owned())
        }
        Keyword::From | Keyword::Onbuild => {
            unreachable!("both are parsed by functions of their own")
        }
    };
    Ok(arguments)
}

fn at_least_one(name: &str, count: usize) -> Result<(), String> {
    if count == 0 { Err(format!("{name} requires at least one argument")) } else { Ok(()) }
}

fn check_destination(name: &str, arguments: &Arguments) -> Result<(), String> {
    let (Arguments::Words(words) | Arguments::Json(words)) = arguments else {
        return Ok(());
    };
    let [_, .., destination] = words.as_slice() else {
        return Err(format!("{name} requires at least two arguments: sources and a destination"));
    };
    if matches!(Heredoc::parse(destination), Ok(Some(_))) {
        return Err(format!("{name} cannot have a heredoc as destination"));
    }
    Ok(())
}

fn command(text: &str) -> Result<Arguments, String> {
    Ok(json_strings(text)?.map_or_else(|| Arguments::Text(text.to_owned()), Arguments::Json))
}

fn words_or_json(text: &str) -> Result<Arguments, String> {
    Ok(json_strings(text)?.map_or_else(|| Arguments::Words(split_blanks(text)), Arguments::Json))
}

fn declarations(text: &str, escape: char) -> Result<Vec<(String, Option<String>)>, String> {
    let words = split_quoted(text, escape);
    at_least_one("ARG", words.len())?;
    words
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err("ARG names can not be blank".to_owned()),
            Some((name, default)) => Ok((name.to_owned(), Some(default.to_owned()))),
            None => Ok((word, None)),
        })
        .collect()
}

fn health(text: &str) -> Result<Arguments, String> {
    let blank = |ch: char| ch.is_ascii_whitespace() || ch == '\u{b}';
    let (kind, test) = text.split_once(blank).unwrap_or((text, ""));
    let test = test.trim_start_matches(blank);
    match kind.to_uppercase().as_str() {
        "" => Err("HEALTHCHECK requires at least one argument".to_owned()),
        "NONE" if test.is_empty() => Ok(Arguments::Health(None)),
        "NONE" => Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        "CMD" => match command(test)? {
            Arguments::Json(words) if words.is_empty() => {
                Err("missing command after HEALTHCHECK CMD".to_owned())
            }
            Arguments::Text(text) if text.is_empty() => {
                Err("missing command after HEALTHCHECK CMD".to_owned())
            }
            command => Ok(Arguments::Health(Some(Box::new(command)))),
        },
        _ => Err(format!("unknown type {kind:?} in HEALTHCHECK (try CMD)")),
    }
}
