//! How arguments fall into words: at blanks, around quotes, or as a JSON array.

/// Splits at blanks. Nothing is quoted.
pub(super) fn split_blanks(text: &str) -> Vec<String> {
    text.split(['\t', '\u{b}', '\u{c}', '\r', ' '])
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Splits at white space outside quotes. Quotes and escapes stay in the words.
pub(super) fn split_quoted(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(ch) = chars.next() {
        if quote.is_none() && ch.is_whitespace() {
            words.extend(word.take().filter(|word| !word.is_empty()));
            continue;
        }
        let word = word.get_or_insert_default();
        if quote == Some(ch) {
            quote = None;
        } else if quote.is_none() && matches!(ch, '\'' | '"') {
            quote = Some(ch);
        }
        if ch == escape && quote != Some('\'') {
            // An escape token at the end of the line vanishes.
            let Some(escaped) = chars.next() else { break };
            word.push(ch);
            word.push(escaped);
        } else {
            word.push(ch);
        }
    }
    words.extend(word.filter(|word| !word.is_empty()));
    words
}

/// The pairs of `ENV` and `LABEL`: `name=value …`, or in the old form `name value`.
pub(super) fn name_values(
    keyword: &str,
    text: &str,
    escape: char,
) -> Result<Vec<(String, String)>, String> {
    let words = split_quoted(text, escape);
    let Some(first) = words.first() else {
        return Ok(Vec::new());
    };
    if !first.contains('=') {
        let blank = |ch: char| matches!(ch, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ');
        let (name, rest) = text
            .split_once(blank)
            .ok_or_else(|| format!("{keyword} must have two arguments, or the form name=value"))?;
        return Ok(vec![(name.to_owned(), rest.trim_start_matches(blank).to_owned())]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(format!("{keyword} names can not be blank")),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(format!("no '=' in {word:?}: {keyword} takes name=value")),
        })
        .collect()
}

/// The strings of a JSON array; `None` if the text is no JSON array at all.
pub(super) fn json_strings(text: &str) -> Result<Option<Vec<String>>, String> {
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return Ok(None);
    };
    values
        .into_iter()
        .map(|value| match value {
            serde_json::Value::String(text) => Ok(text),
            _ => Err("a JSON array of arguments must hold strings only".to_owned()),
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_keep_their_quotes() {
        let table: &[(&str, &[&str])] = &[
            ("a b", &["a", "b"]),
            ("a='b c' d", &["a='b c'", "d"]),
            ("a=\"b \\\" c\" d", &["a=\"b \\\" c\"", "d"]),
            ("a='b\\' c", &["a='b\\'", "c"]),
            ("a=b\\ c", &["a=b\\ c"]),
            ("a\\", &["a"]),
            ("\"\" a", &["\"\"", "a"]),
            ("", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(split_quoted(text, '\\'), *expected, "{text}");
        }
    }

    #[test]
    fn pairs_have_an_old_and_a_new_form() {
        let pairs = |text| name_values("ENV", text, '\\');
        let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs("a b  c"), Ok(vec![owned("a", "b  c")]));
        assert_eq!(pairs("a=b c='d e'"), Ok(vec![owned("a", "b"), owned("c", "'d e'")]));
        assert_eq!(pairs("a= b=x=y"), Ok(vec![owned("a", ""), owned("b", "x=y")]));
        assert!(pairs("a").is_err());
        assert!(pairs("a=b c").is_err());
        assert!(pairs("=b").is_err());
    }

    #[test]
    fn only_an_array_of_strings_is_the_json_form() {
        assert_eq!(json_strings("[]"), Ok(Some(vec![])));
        assert_eq!(json_strings(r#"["a", "\u00e4"]"#).unwrap().unwrap(), ["a", "ä"]);
        assert_eq!(json_strings("[a]"), Ok(None));
        assert_eq!(json_strings("['a']"), Ok(None));
        assert_eq!(json_strings(r#"["a"] b"#), Ok(None));
        assert!(json_strings(r#"["a", 1]"#).is_err());
    }
}
