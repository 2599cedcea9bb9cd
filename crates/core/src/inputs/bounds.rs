//! How much there may be in a document, told before anything is made of it.

use super::packed::DocumentError;

/// Most entries of all lists together, and what encloses them.
const MAX_ENTRIES: usize = 1_000_000;

/// Most separators: five for each entry, as a file has them.
const MAX_SEPARATORS: usize = 5 * MAX_ENTRIES;

/// Longest text, in bytes of JSON.
const MAX_TEXT: usize = 1 << 20;

/// Refuses JSON that is small as text and large in memory. Whether it is JSON at all is not looked at.
pub(super) fn check(json: &[u8]) -> Result<(), DocumentError> {
    let refused = |what: String| Err(DocumentError::Invalid(what));
    let (mut entries, mut separators) = (0, 0);
    let mut rest = json.iter().enumerate();
    while let Some((start, byte)) = rest.next() {
        match byte {
            b'{' | b'[' => entries += 1,
            b',' => separators += 1,
            b'"' => {
                let end = text_end(&mut rest).unwrap_or(json.len());
                if end - start > MAX_TEXT {
                    return refused(format!("a text of more than {MAX_TEXT} bytes"));
                }
            }
            _ => {}
        }
        if entries > MAX_ENTRIES || separators > MAX_SEPARATORS {
            return refused(format!("more than {MAX_ENTRIES} entries"));
        }
    }
    Ok(())
}

/// Where the text ends that began before `rest`.
fn text_end<'a>(rest: &mut impl Iterator<Item = (usize, &'a u8)>) -> Option<usize> {
    loop {
        match rest.next()? {
            (end, b'"') => return Some(end),
            (_, b'\\') => {
                rest.next()?;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> Option<String> {
        check(json.as_bytes()).err().map(|error| error.to_string())
    }

    #[test]
    fn what_becomes_large_is_refused_and_texts_are_not_taken_for_entries() {
        let many = |entry: &str, count: usize| format!("[{}]", vec![entry; count].join(","));
        let entries = Some("not a list of inputs: more than 1000000 entries".to_owned());
        assert_eq!(refused(&many("{}", MAX_ENTRIES)), entries);
        assert_eq!(refused(&many("{}", MAX_ENTRIES - 1)), None);
        assert_eq!(refused(&many("0", MAX_SEPARATORS + 2)), entries);
        assert_eq!(refused(&format!("[{}]", "[".repeat(MAX_ENTRIES))), entries);
        let quoted = format!(r#"["\"{}"]"#, "{[,".repeat(300_000));
        assert_eq!(refused(&quoted), None);
        let after = format!(r#"["\\",{}]"#, many("{}", MAX_ENTRIES));
        assert_eq!(refused(&after), entries, "an escaped backslash ends no escape of a quote");
        let long = Some("not a list of inputs: a text of more than 1048576 bytes".to_owned());
        assert_eq!(refused(&format!("\"{}\"", "a".repeat(MAX_TEXT))), long);
        assert_eq!(refused(&format!("\"{}", "a".repeat(MAX_TEXT))), long, "without an end");
        assert_eq!(refused(&format!("\"{}\"", "a".repeat(MAX_TEXT - 1))), None);
    }
}
