//! Parser directives (`# escape=`, `# syntax=`, `# check=`), and which frontend a file asks for.

use std::ops::Range;

use super::error::{DockerfileError, DockerfileErrorKind};

/// The directives at the top of a file, as seen so far.
#[derive(Debug)]
pub(super) struct Directives {
    escape: char,
    seen: Vec<String>,
    done: bool,
}

impl Default for Directives {
    fn default() -> Self {
        Self { escape: '\\', seen: Vec::new(), done: false }
    }
}

impl Directives {
    /// The token that escapes a character and continues a line.
    pub(super) fn escape(&self) -> char {
        self.escape
    }

    /// Notes a line that begins an instruction, a comment, or nothing. The first that is no
    /// directive ends the directives.
    pub(super) fn see(&mut self, line: &[u8], number: u32) -> Result<(), DockerfileError> {
        if self.done {
            return Ok(());
        }
        let Some(directive) = Directive::parse(line, b"#") else {
            self.done = true;
            return Ok(());
        };
        if self.seen.contains(&directive.name) {
            let message = format!("only one {} parser directive can be used", directive.name);
            return Err(DockerfileError::invalid(number, message));
        }
        if directive.name == "escape" {
            self.escape = match &line[directive.value] {
                b"\\" => '\\',
                b"`" => '`',
                other => {
                    let other = String::from_utf8_lossy(other);
                    let message = format!("invalid escape token {other:?}: neither ` nor \\");
                    return Err(DockerfileError::invalid(number, message));
                }
            };
        }
        self.seen.push(directive.name);
        Ok(())
    }
}

/// `# name = value`, with one of the three known names.
struct Directive {
    name: String,
    /// Where the value stands in the line.
    value: Range<usize>,
}

impl Directive {
    fn parse(line: &[u8], marker: &[u8]) -> Option<Self> {
        let space = |byte: &u8| matches!(byte, b'\t' | b'\n' | 0x0c | b'\r' | b' ');
        let after_marker = super::lines::trim_start(line.strip_prefix(marker)?);
        let start = line.len() - after_marker.len();
        let name = after_marker.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let blanks = after_marker[name..].iter().take_while(|byte| space(byte)).count();
        let equals = name + blanks;
        if after_marker.get(equals) != Some(&b'=') {
            return None;
        }
        let from = start + equals + 1;
        let value = match line[from..].iter().position(|byte| !space(byte)) {
            Some(first) => {
                let last = line.iter().rposition(|byte| !space(byte))?;
                from + first..last + 1
            }
            // Only blanks: the last of them is the value.
            None => line.len().checked_sub(1).filter(|last| *last >= from)?..line.len(),
        };
        let name = String::from_utf8(after_marker[..name].to_ascii_lowercase()).ok()?;
        ["syntax", "escape", "check"].contains(&name.as_str()).then_some(Self { name, value })
    }
}

/// Refuses directives that Docker 20.10 and newer engines read differently: a `syntax` behind one that
/// is not known, which only the older engine obeys, and an `escape` behind another one, which only the
/// newer ones do.
pub(super) fn refuse_ambiguous(source: &[u8]) -> Result<(), DockerfileError> {
    let source = source.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(source);
    let mut seen: Vec<String> = Vec::new();
    for (number, line) in (1..).zip(source.split(|byte| *byte == b'\n')) {
        let Some(name) = any_directive(line) else {
            break;
        };
        let unknown = seen.iter().find(|name| !["syntax", "escape", "check"].contains(&&***name));
        let message = match name.as_str() {
            "syntax" => unknown.map(|unknown| {
                format!("# syntax= behind # {unknown}= is read by some engines and not by others")
            }),
            "escape"
                if seen.iter().any(|name| name != "escape")
                    && !seen.iter().any(|name| name == "syntax") =>
            {
                let message = "# escape= behind another directive is read by some engines and not \
                               by others: write it first";
                Some(message.to_owned())
            }
            _ => None,
        };
        if let Some(message) = message {
            let kind = DockerfileErrorKind::Unsupported(message);
            return Err(DockerfileError::new(number, kind));
        }
        seen.push(name);
    }
    Ok(())
}

/// The name in `# name = value`, whatever it is.
fn any_directive(line: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    let (name, value) = text.strip_prefix('#')?.split_once('=')?;
    let name = name.trim();
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|next| next.is_ascii_alphanumeric());
    (is_name && !value.trim().is_empty()).then(|| name.to_ascii_lowercase())
}

/// The frontend image that a Dockerfile asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frontend {
    /// The reference, as written.
    pub(super) reference: String,
    /// What follows the reference on the line; the frontend gets it as an option.
    pub(super) options: String,
    /// Where the reference stands in the source.
    pub(super) span: Range<usize>,
    /// 1-based.
    pub(super) line: u32,
}

impl Frontend {
    /// Finds `# syntax=`, else `// syntax=`, else `{"syntax": …}`. A first line `#!` is passed over.
    pub(super) fn detect(source: &[u8]) -> Option<Self> {
        let mut start = source.strip_prefix(b"\xEF\xBB\xBF").map_or(0, |_| 3);
        let mut line = 1;
        if source[start..].starts_with(b"#!") {
            let feed = source[start..].iter().position(|byte| *byte == b'\n');
            start = feed.map_or(source.len(), |feed| start + feed + 1);
            line = 2;
        }
        [b"#".as_slice(), b"//"]
            .into_iter()
            .find_map(|marker| Self::in_comments(source, start, line, marker))
            .or_else(|| Self::in_json(&source[start..], line))
    }

    /// Whether this is a frontend for Dockerfiles as this module understands them.
    pub(super) fn is_known(&self) -> bool {
        let name = self.reference.split('@').next().unwrap_or_default();
        let name = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => name,
            _ => name,
        };
        let name = name.strip_prefix("docker.io/").unwrap_or(name);
        matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream")
    }

    pub(super) fn unknown(&self) -> DockerfileError {
        let kind = DockerfileErrorKind::UnknownFrontend(self.reference.clone());
        DockerfileError::new(self.line, kind)
    }

    fn in_comments(source: &[u8], start: usize, line: u32, marker: &[u8]) -> Option<Self> {
        let mut at = start;
        let mut seen = Vec::new();
        for (number, bytes) in (line..).zip(source[start..].split_inclusive(|byte| *byte == b'\n'))
        {
            let content = bytes.strip_suffix(b"\n").unwrap_or(bytes);
            let content = content.strip_suffix(b"\r").unwrap_or(content);
            let directive = Directive::parse(content, marker)?;
            if seen.contains(&directive.name) {
                return None;
            }
            if directive.name == "syntax" {
                let value = &content[directive.value.clone()];
                let blank = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
                let begin = at + directive.value.start;
                return Some(Self {
                    reference: String::from_utf8_lossy(&value[..blank]).into_owned(),
                    options: String::from_utf8_lossy(&value[blank..]).trim().to_owned(),
                    span: begin..begin + blank,
                    line: number,
                });
            }
            seen.push(directive.name);
            at += bytes.len();
        }
        None
    }

    fn in_json(source: &[u8], line: u32) -> Option<Self> {
        if source.trim_ascii_start().first() != Some(&b'{') {
            return None;
        }
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(source).ok()?;
        let reference = object.get("syntax")?.as_str()?.to_owned();
        Some(Self { reference, options: String::new(), span: 0..0, line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frontend_is_found_in_every_form() {
        let table = [
            ("# syntax=docker/dockerfile:1\nFROM a", Some("docker/dockerfile:1")),
            ("#syntax = a/b\r\n", Some("a/b")),
            ("# SYNTAX=a/b extra words\n", Some("a/b")),
            ("\u{feff}# syntax=a/b", Some("a/b")),
            ("# escape=`\n# syntax=a/b", Some("a/b")),
            ("#!/usr/bin/env x\n# syntax=a/b", Some("a/b")),
            ("// syntax=a/b\n", Some("a/b")),
            ("#!x\n// syntax=a/b", Some("a/b")),
            ("{\"syntax\": \"a/b\"}", Some("a/b")),
            (" # syntax=a/b", None),
            ("\n# syntax=a/b", None),
            ("# a comment\n# syntax=a/b", None),
            ("FROM a\n# syntax=a/b", None),
            ("# syntax=", None),
            ("# other=1\n# syntax=a/b", None),
        ];
        for (source, expected) in table {
            let found = Frontend::detect(source.as_bytes());
            assert_eq!(
                found.as_ref().map(|found| found.reference.as_str()),
                expected,
                "{source:?}"
            );
            if let Some(found) = found.filter(|found| !found.span.is_empty()) {
                assert_eq!(Some(&source[found.span]), expected);
            }
        }
    }

    #[test]
    fn dockers_own_frontends_are_known_with_any_tag_and_digest() {
        for (reference, known) in [
            ("docker/dockerfile", true),
            ("docker/dockerfile:1.7-labs", true),
            ("docker.io/docker/dockerfile:1", true),
            ("docker/dockerfile-upstream:master", true),
            ("docker/dockerfile@sha256:aa", true),
            ("docker/dockerfile:1@sha256:aa", true),
            ("localhost:5000/docker/dockerfile", false),
            ("example/frontend", false),
            ("docker/dockerfile2", false),
        ] {
            let source = format!("# syntax={reference}\n");
            let frontend = Frontend::detect(source.as_bytes()).unwrap();
            assert_eq!(frontend.is_known(), known, "{reference}");
        }
    }
}
