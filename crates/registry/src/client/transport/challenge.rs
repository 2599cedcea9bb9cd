//! What a 401 asks for (RFC 9110, *WWW-Authenticate*).

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// One challenge: a scheme with parameters, both with names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The challenges of all `WWW-Authenticate` headers, in order.
    pub(super) fn all(headers: &HeaderMap) -> Vec<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter();
        values.filter_map(|value| value.to_str().ok()).flat_map(parse).collect()
    }

    pub(super) fn is(&self, scheme: &str) -> bool {
        self.scheme == scheme
    }

    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the token was good, but not for this (RFC 6750).
    pub(super) fn is_insufficient_scope(&self) -> bool {
        self.get("error") == Some("insufficient_scope")
    }
}

fn parse(text: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find(|character: char| !is_token(character)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return challenges;
        }
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        match (value, challenges.last_mut()) {
            (Some(value), Some(challenge)) => {
                let (value, after) = parameter(value.trim_start_matches([' ', '\t']));
                challenge.parameters.push((word.to_ascii_lowercase(), value));
                rest = after;
            }
            (Some(_), None) => return challenges,
            (None, _) => {
                let scheme = word.to_ascii_lowercase();
                challenges.push(Challenge { scheme, parameters: Vec::new() });
                rest = after;
            }
        }
    }
}

/// A token or a quoted string, and what comes after it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[position + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn challenges_are_split_as_http_says() {
        let text = r#"Bearer realm="https://a/t?x=1,2",service=s , scope="repository:a:pull repository:b:pull", error="insufficient_scope", Basic realm="a \"b\"""#;
        let challenges = parse(text);
        let [bearer, basic] = challenges.as_slice() else { panic!("{challenges:?}") };
        assert!(bearer.is("bearer") && basic.is("basic"));
        assert_eq!(bearer.get("realm"), Some("https://a/t?x=1,2"));
        assert_eq!(bearer.get("service"), Some("s"));
        assert_eq!(bearer.get("scope"), Some("repository:a:pull repository:b:pull"));
        assert!(bearer.is_insufficient_scope() && !basic.is_insufficient_scope());
        assert_eq!(basic.get("realm"), Some("a \"b\""));
    }

    #[test]
    fn odd_challenges_are_read_as_far_as_they_go() {
        assert!(parse("").is_empty());
        assert!(parse("=x").is_empty());
        assert_eq!(parse("Basic")[0].parameters, []);
        assert_eq!(parse("BEARER Realm = \"open")[0].get("realm"), Some("open"));
        assert_eq!(parse("Negotiate, Basic realm=x")[1].get("realm"), Some("x"));
    }

    proptest! {
        #[test]
        fn reading_ends_and_never_panics(text in "[a-zA-Z=\", \\\\é]{0,40}") {
            let _ = parse(&text);
        }
    }
}
