//! Text that a terminal shows, and does not obey.
//!
//! Names, paths and messages may come from others: from a Dockerfile, a registry, a published list of
//! inputs. A control character in them could rewrite what was printed before, and one that turns the
//! direction of writing could show it in another order.
//!
//! The log of a CI job is read by a machine as well: GitHub's runner obeys a line that begins with
//! `::command::`, and, as Azure's agent does, `##[command]` and `##vso[command]` anywhere in one, also
//! where they are only repeated from the log of a build.

use std::borrow::Cow;

/// The text in any number of lines: its line feeds stay.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    without_commands(escaped(text, |character| character != '\n' && is_obeyed(character)))
}

/// The text with nothing in it that the log of a CI job obeys; colours and all else stay.
pub(crate) fn without_commands(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains("##") && !text.contains("::") {
        return text;
    }
    let mut result = String::with_capacity(text.len() + 16);
    for line in text.split_inclusive('\n') {
        let (margin, rest) = line.split_at(line.len() - line.trim_start().len());
        result.push_str(margin);
        // A command has a name and a second pair of colons.
        let is_command = rest.strip_prefix("::").is_some_and(|rest| {
            rest.starts_with(|first: char| first.is_ascii_alphabetic()) && rest.contains("::")
        });
        push_without_brackets(
            &mut result,
            rest,
            if is_command { "\\u{3a}" } else { "" },
            "\\u{23}",
        );
    }
    Cow::Owned(result)
}

/// Adds a line in which no `##[` or `##vso[` is left. `colon` takes the place of its first character,
/// if it is not empty, and `hash` that of each second hash sign of these.
fn push_without_brackets(result: &mut String, line: &str, colon: &str, hash: &str) {
    let mut rest = line;
    if !colon.is_empty() {
        result.push_str(colon);
        rest = &rest[1..];
    }
    while let Some(at) = rest.find("##") {
        let (before, after) = (&rest[..=at], &rest[at + 2..]);
        result.push_str(before);
        let named = after.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("vso["));
        if named || after.starts_with('[') {
            result.push_str(hash);
            rest = after;
        } else {
            // The second one may be the first one of the next two.
            rest = &rest[at + 1..];
        }
    }
    result.push_str(rest);
}

/// The text in one line.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_obeyed)
}

/// JSON with nothing in its strings that JSON allows and a terminal obeys; the values are the same.
pub(crate) fn json(text: String) -> String {
    let text = if text.contains("##") {
        let mut result = String::with_capacity(text.len() + 16);
        // Hash signs are nowhere but in strings.
        push_without_brackets(&mut result, &text, "", "\\u0023");
        result
    } else {
        text
    };
    if !text.chars().any(|character| character != '\n' && is_obeyed(character)) {
        return text;
    }
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        if character != '\n' && is_obeyed(character) {
            // All of them are in the basic plane: one escape is enough.
            result.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            result.push(character);
        }
    }
    result
}

/// Escapes are those of Rust, which have no such characters: a text that was escaped stays as it is.
fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut result = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_escaped(character) {
            result.extend(character.escape_default());
        } else {
            result.push(character);
        }
    }
    Cow::Owned(result)
}

/// Whether a terminal does something else than to show it: control characters (C0, DEL, C1), line and
/// paragraph separators, and the controls of Unicode's bidirectional algorithm (UAX 9, section 2).
pub(super) fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBEYED: &str = "a\x1b]0;x\x07\tb\r\u{9b}2J\u{7f}\u{202e}c\u{2067}\u{200f}";

    #[test]
    fn what_a_terminal_would_obey_is_escaped_once() {
        let shown = "a\\u{1b}]0;x\\u{7}\\tb\\r\\u{9b}2J\\u{7f}\\u{202e}c\\u{2067}\\u{200f}";
        assert_eq!(one_line(OBEYED), shown);
        assert_eq!(one_line(shown), shown);
        assert_eq!(lines(&format!("{OBEYED}\nnext")), format!("{shown}\nnext"));
        assert_eq!(one_line("a\nb"), "a\\nb");
        assert_eq!(one_line("é → \\n …"), "é → \\n …");
    }

    #[test]
    fn what_the_log_of_a_job_would_obey_is_escaped() {
        for (text, shown) in [
            ("::error::x", "\\u{3a}:error::x"),
            ("  ::set-output name=a::b\n:: note\n", "  \\u{3a}:set-output name=a::b\n:: note\n"),
            ("a ::error::x, std::fmt::Write", "a ::error::x, std::fmt::Write"),
            ("a ##[add-mask]b", "a #\\u{23}[add-mask]b"),
            ("###[x] ##vso[y] ##VSO[z] ##", "##\\u{23}[x] #\\u{23}vso[y] #\\u{23}VSO[z] ##"),
            ("## heading, ####[a], #[derive]", "## heading, ###\\u{23}[a], #[derive]"),
        ] {
            assert_eq!(lines(text), shown);
            assert_eq!(lines(shown), shown);
        }
    }

    #[test]
    fn json_means_the_same() {
        let commands = ["##[x] ###vso[y]", "::error::x"];
        let shown = json(serde_json::to_string_pretty(&commands).unwrap());
        assert!(!shown.contains("##[") && !shown.contains("##vso["), "{shown}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), commands);
        let written = serde_json::to_string_pretty(&[OBEYED]).unwrap();
        let shown = json(written.clone());
        assert_ne!(shown, written);
        assert!(!shown.replace('\n', "").chars().any(is_obeyed), "{shown}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), [OBEYED]);
    }
}
