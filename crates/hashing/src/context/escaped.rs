//! Raw bytes as text, without loss.

use std::fmt;

use super::path::write_escaped;

/// Bytes as text: UTF-8 as it is, but the backslash and control characters escaped like every byte that
/// is no UTF-8. [`unescape`] reads it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(formatter, self.0)
    }
}

/// The bytes that [`Escaped`], or a [`ContextPath`](super::ContextPath), is written as; none for a text
/// that is written so for no bytes.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let mut characters = escape.chars();
        match characters.next()? {
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            '\\' => bytes.push(b'\\'),
            'x' => {
                let digits = escape.get(1..3)?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                characters = escape[3..].chars();
            }
            'u' => {
                let (digits, after) = escape.get(1..)?.strip_prefix('{')?.split_once('}')?;
                let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                characters = after.chars();
            }
            _ => return None,
        }
        rest = characters.as_str();
    }
    bytes.extend_from_slice(rest.as_bytes());
    // Each byte string has one text: what only means the same is not it.
    (Escaped(&bytes).to_string() == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_one_spelling_is_read() {
        for text in [
            "\\",
            "\\q",
            "\\x",
            "\\x4",
            "\\xzz",
            "\\x41",
            "\\xFF",
            "\\xc3\\xa9",
            "\\u",
            "\\u{41}",
            "\\u{d800}",
            "\\u{7f",
            "a\nb",
            "\\x+1",
            "\\u{+7f}",
            "\\xé",
        ] {
            assert_eq!(unescape(text), None, "{text}");
        }
        assert_eq!(unescape("a\\n\\xff\\\\é\\u{7f}"), Some(b"a\n\xff\\\xc3\xa9\x7f".to_vec()));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes: Vec<u8>) {
            prop_assert_eq!(unescape(&Escaped(&bytes).to_string()), Some(bytes));
        }

        #[test]
        fn text_is_read_to_bytes_that_are_written_so(text in "(\\PC|\\\\x[0-9a-f]{2}|\\\\[nrtu{}\\\\]){0,20}") {
            if let Some(bytes) = unescape(&text) {
                prop_assert_eq!(Escaped(&bytes).to_string(), text);
            }
        }
    }
}
