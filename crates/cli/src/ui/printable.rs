//! Text that a terminal shows, and does not obey.
//!
//! Names, paths and messages may come from others: from a Dockerfile, a registry, a published list of
//! inputs. A control character in them could rewrite what was printed before, and one that turns the
//! direction of writing could show it in another order.

use std::borrow::Cow;

/// The text in any number of lines: its line feeds stay.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| character != '\n' && is_obeyed(character))
}

/// The text in one line.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_obeyed)
}

/// JSON with nothing in its strings that JSON allows and a terminal obeys; the values are the same.
pub(crate) fn json(text: String) -> String {
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
fn is_obeyed(character: char) -> bool {
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
    fn json_means_the_same() {
        let written = serde_json::to_string_pretty(&[OBEYED]).unwrap();
        let shown = json(written.clone());
        assert_ne!(shown, written);
        assert!(!shown.replace('\n', "").chars().any(is_obeyed), "{shown}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), [OBEYED]);
    }
}
