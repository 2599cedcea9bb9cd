//! Verdicts of `.dockerignore`: a table, and an oracle that takes the rules literally.

use dockit_hashing::context::ContextPath;
use dockit_hashing::context::ignore::{IgnoreErrorKind, IgnoreRules};
use proptest::prelude::*;

use crate::tree::Tree;

fn path(bytes: &[u8]) -> ContextPath {
    ContextPath::new(bytes).expect("a path")
}

fn excludes(rules: &str, file: &str) -> bool {
    let parsed = IgnoreRules::parse(rules.as_bytes()).expect(rules);
    parsed.excludes(&path(file.as_bytes()))
}

#[test]
fn known_verdicts() {
    let table = [
        // Seen on engines.
        ("*.LOG", "x.log", false),
        ("/x.log", "x.log", true),
        ("x.log", "src/x.log", false),
        ("**/x.log", "a/b/x.log", true),
        ("other/", "other/x", true),
        ("x.log/", "x.log", true),
        ("!src", "src/a.txt", false),
        ("*\n!src", "src/a.txt", false),
        ("*\n!src", "other", true),
        ("src\n!src/a.txt", "src/a.txt", false),
        ("src\n!src/a.txt", "src/b.txt", true),
        ("src\n!src/a", "src/b", true),
        (" # foo", "# foo", true),
        ("#foo", "#foo", false),
        ("**foo", "src/foo", true),
        ("**foo", "foo", true),
        ("**foo", "src/barfoo", false),
        ("**foo", "barfoo/x", false),
        ("*\n!**foo", "barfoo", false),
        ("*\n!**foo", "bar", true),
        ("fo**", "foobar/x", true),
        ("src/../x.log", "x.log", true),
        ("\u{feff}x.log\r\n", "x.log", true),
        // Stars.
        ("*", "a", true),
        ("*", "a/b", true),
        ("**", "a/b", true),
        ("**", "a\nb", true),
        ("a/**", "a", false),
        ("a/**", "a/b", true),
        ("a/**", "a/b/c", true),
        ("a/**/**", "a/b", true),
        ("**/a", "a", true),
        ("**/a", "b/a", true),
        ("**/a", "ba", false),
        ("**/a", "b/a/c", true),
        ("**/a/b", "x/y/a/b", true),
        ("**/**/a", "x/a", true),
        ("**/*.txt", "a.txt", true),
        ("**/*.txt", "x/y/a.txt", true),
        ("**/*.txt", "x\ny/a.txt", false),
        ("***", "a", true),
        ("a**/*.txt", "a/b/c.txt", true),
        ("a**/*.txt", "ab/c.txt", true),
        ("a/**/b", "a/b", true),
        ("a/**/b", "a/x/y/b", true),
        ("a/**/b", "ab", false),
        ("a**b", "ab", true),
        ("a**b", "axb", false),
        ("a**b", "ax/b", true),
        ("a/*.txt", "a/b/c.txt", false),
        ("*/b", "a/b", true),
        ("*/b", "b", false),
        ("*/b", "x/a/b", false),
        // Single characters and brackets.
        ("a?", "ab", true),
        ("a?", "a", false),
        ("a?b", "a/b", false),
        ("?", "é", true),
        ("?", "\n", true),
        ("a[b-d]e", "ace", true),
        ("a[b-d]e", "aee", false),
        ("a[^b-d]e", "aze", true),
        ("a[^b-d]e", "a/e", true),
        ("[α-ω]", "β", true),
        ("[!a]", "b", false),
        ("[!a]", "!", true),
        ("[\\]]", "]", true),
        ("a]", "a]", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "axb", false),
        ("a\\\\", "a\\", true),
        // What is plain text here.
        ("{a,b}", "a", false),
        ("{a,b}", "{a,b}", true),
        ("{a,b}*", "{a,b}", true),
        ("a.b*", "axb", false),
        ("a+(b)c$?", "a+(b)c$x", true),
        ("a|b", "a|b", true),
        ("[|{]1", "|1", true),
        // Nothing in a build context has these names.
        (".", "a", false),
        ("/", "a", false),
        ("..", "a", false),
        // The last match wins, and nothing is inherited from a pattern that was skipped.
        ("a\n!a\na/b", "a/b", true),
        ("a\n!a/b\na/b/c", "a/b/c", true),
        ("!a/b\na", "a/b", true),
    ];
    for (rules, file, excluded) in table {
        assert_eq!(excludes(rules, file), excluded, "{file:?} by {rules:?}");
    }
}

#[test]
fn a_byte_that_is_not_utf_8_is_one_character() {
    let rules = IgnoreRules::parse(b"a?c\n").expect("rules");
    assert!(rules.excludes(&path(b"a\xffc")));
    assert!(!rules.excludes(&path(b"a\xe2\x82c")));
    let rules = IgnoreRules::parse(b"\xff\n").expect("rules");
    assert!(rules.excludes(&path(b"\xff")));
    assert!(!rules.excludes(&path(b"\xfe")));
}

#[test]
fn an_error_names_line_and_pattern() {
    let table: [(&[u8], IgnoreErrorKind, &str); 5] = [
        (
            b"a\n!\n",
            IgnoreErrorKind::Invalid,
            "line 2: pattern \"!\": nothing follows the exclamation mark",
        ),
        (
            b"# a\n\n  !/ \n",
            IgnoreErrorKind::Invalid,
            "line 3: pattern \"!\": nothing follows the exclamation mark",
        ),
        (b"a[", IgnoreErrorKind::Invalid, "line 1: pattern \"a[\": a bracket is not closed"),
        (
            b"*\\d",
            IgnoreErrorKind::Unsupported,
            "line 1: pattern \"*\\\\d\": a backslash before a letter or digit",
        ),
        (
            b"ok\n![b-a]",
            IgnoreErrorKind::Unsupported,
            "line 2: pattern \"![b-a]\": a range backwards in brackets",
        ),
    ];
    for (text, kind, message) in table {
        let error = IgnoreRules::parse(text).expect_err("an error");
        assert_eq!((error.kind(), &*error.to_string()), (kind, message));
    }
}

#[test]
fn a_long_pattern_is_matched_in_reasonable_time() {
    let rules = format!("{}b", "a*".repeat(500));
    assert!(!excludes(&rules, &"a".repeat(2000)));
    assert!(excludes(&rules, &format!("{}b", "a".repeat(2000))));
}

/// Interprets the pattern anew for every path, by trying every way to split it.
fn oracle_matches(pattern: &[char], path: &[char], docker20: bool) -> bool {
    let wild = |text: &[char]| text.iter().any(|character| "*?[]\\".contains(*character));
    match pattern {
        plain if !wild(plain) => plain == path,
        ['*', '*', rest @ ..] if !wild(rest) && !docker20 => {
            path.ends_with(rest) || rest.strip_prefix(&['/']) == Some(path)
        }
        [rest @ .., '*', '*'] if !wild(rest) => path.starts_with(rest),
        _ => oracle_expression(pattern, path),
    }
}

fn oracle_expression(pattern: &[char], path: &[char]) -> bool {
    match (pattern, path) {
        ([], _) => path.is_empty(),
        (['*', '*', rest @ ..], _) => {
            let rest = rest.strip_prefix(&['/']).unwrap_or(rest);
            rest.is_empty()
                || oracle_expression(rest, path)
                || (0..path.len())
                    .any(|at| path[at] == '/' && oracle_expression(rest, &path[at + 1..]))
        }
        (['*', rest @ ..], _) => {
            oracle_expression(rest, path)
                || matches!(path, [first, others @ ..]
                    if *first != '/' && oracle_expression(pattern, others))
        }
        (_, []) => false,
        (['?', rest @ ..], [first, others @ ..]) => {
            *first != '/' && oracle_expression(rest, others)
        }
        (['\\', literal, rest @ ..], [first, others @ ..]) => {
            literal == first && oracle_expression(rest, others)
        }
        (['[', '^', a, b, ']', rest @ ..], [first, others @ ..]) => {
            first != a && first != b && oracle_expression(rest, others)
        }
        (['[', a, b, ']', rest @ ..], [first, others @ ..]) => {
            (first == a || first == b) && oracle_expression(rest, others)
        }
        ([literal, rest @ ..], [first, others @ ..]) => {
            literal == first && oracle_expression(rest, others)
        }
    }
}

/// Whether the pattern at `index` counts for the path: by itself, or inherited.
fn oracle_counts(rules: &[(bool, Vec<char>)], index: usize, path: &[char], docker20: bool) -> bool {
    let parent = path.iter().rposition(|character| *character == '/').map(|end| &path[..end]);
    if parent.is_some_and(|parent| oracle_counts(rules, index, parent, docker20)) {
        return true;
    }
    let (exception, pattern) = &rules[index];
    *exception == oracle_verdict(&rules[..index], path, docker20)
        && oracle_matches(pattern, path, docker20)
}

fn oracle_verdict(rules: &[(bool, Vec<char>)], path: &[char], docker20: bool) -> bool {
    let last = (0..rules.len()).rev().find(|index| oracle_counts(rules, *index, path, docker20));
    last.is_some_and(|index| !rules[index].0)
}

fn pattern() -> impl Strategy<Value = (bool, String)> {
    let pieces = vec![
        "a", "b", "ab", "é", "*", "**", "?", "a*", "*b", "**a", "a**", "[ab]", "[^ab]", "\\*",
        "a?b", "***", "]", "*a*",
    ];
    let components = prop::collection::vec(prop::sample::select(pieces), 1..4);
    (any::<bool>(), components).prop_map(|(exception, pieces)| (exception, pieces.join("/")))
}

fn file() -> impl Strategy<Value = String> {
    let names = vec!["a", "b", "ab", "ba", "aab", "*", "é", "]", "cab"];
    prop::collection::vec(prop::sample::select(names), 1..5).prop_map(|names| names.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn every_verdict_is_the_oracles(
        patterns in prop::collection::vec(pattern(), 1..6),
        files in prop::collection::vec(file(), 1..8),
    ) {
        let lines: Vec<String> = patterns
            .iter()
            .map(|(exception, text)| format!("{}/{text}/", if *exception { "! " } else { " " }))
            .collect();
        let text = lines.join("\r\n");
        let rules = IgnoreRules::parse(text.as_bytes()).expect("rules");
        let oracle: Vec<(bool, Vec<char>)> =
            patterns.iter().map(|(exception, text)| (*exception, text.chars().collect())).collect();
        for file in files {
            let characters: Vec<char> = file.chars().collect();
            let expected = oracle_verdict(&oracle, &characters, false)
                && oracle_verdict(&oracle, &characters, true);
            prop_assert_eq!(
                rules.excludes(&path(file.as_bytes())), expected, "{:?} by {:?}", file, text
            );
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = IgnoreRules::parse(&text);
    }

    #[test]
    fn no_pattern_makes_the_matcher_panic(
        text in "[ab/*?!^\\[\\]\\\\\\-:é# \r\n\t]{0,40}",
        file in "[ab/*é]{1,12}",
    ) {
        if let (Ok(rules), Some(file)) =
            (IgnoreRules::parse(text.as_bytes()), ContextPath::new(file.as_bytes()))
        {
            let _ = rules.excludes(&file);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_walk_that_skips_directories_finds_what_one_that_does_not_would(
        patterns in prop::collection::vec(pattern(), 1..5),
        files in prop::collection::btree_set(file(), 1..6),
    ) {
        // Files and directories cannot share a path; the last component tells them apart.
        let mut files: Vec<String> = files.iter().map(|file| format!("{file}/f")).collect();
        files.sort();
        let text: String = patterns
            .iter()
            .map(|(exception, text)| format!("{}{text}\n", if *exception { "!" } else { "" }))
            .collect();
        let rules = IgnoreRules::parse(text.as_bytes()).expect("rules");
        let tree = files.iter().fold(Tree::default(), |tree, file| tree.file(file, ""));
        let mut expected = files.clone();
        expected.retain(|file| !rules.excludes(&path(file.as_bytes())));
        let listed = tree.file(".dockerignore", &text).paths();
        let found: Vec<String> = listed.into_iter().filter(|path| files.contains(path)).collect();
        prop_assert_eq!(found, expected);
    }
}
