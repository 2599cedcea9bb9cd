//! Properties over generated trees and texts.

use std::collections::BTreeMap;
use std::fs;

use dockit_hashing::context::IgnoreRules;
use dockit_hashing::dockerfile::{Dockerfile, ResolveOptions};
use proptest::prelude::*;

use crate::context::list;

/// A small tree: contents and names that look like framing are likely.
fn small_tree() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    let name = prop_oneof![Just("a"), Just("b"), Just("ab"), Just("\u{1}"), Just("a\u{1}b")];
    let content = prop_oneof![
        Just(vec![]),
        Just(b"a".to_vec()),
        Just(b"ab".to_vec()),
        Just(1_u64.to_le_bytes().to_vec()),
        Just([&1_u64.to_le_bytes()[..], b"a"].concat()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::btree_map(name.prop_map(str::to_owned), content, 0..4)
}

fn write(tree: &BTreeMap<String, Vec<u8>>) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in tree {
        fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

/// What a pattern without wildcards, and its exceptions, mean: the last rule that covers the path
/// or a directory above it.
fn naive(rules: &[(bool, String)], path: &str) -> bool {
    let mut excluded = false;
    for (negated, pattern) in rules {
        let below = path.strip_prefix(pattern.as_str()).is_some_and(|rest| rest.starts_with('/'));
        if path == pattern || below {
            excluded = !negated;
        }
    }
    excluded
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn two_trees_share_a_hash_only_if_they_are_equal(one in small_tree(), two in small_tree()) {
        let (first, second) = (write(&one), write(&two));
        let equal = list(first.path()).unwrap().hash() == list(second.path()).unwrap().hash();
        prop_assert_eq!(equal, one == two);
    }

    #[test]
    fn plain_patterns_agree_with_their_naive_meaning(
        rules in proptest::collection::vec((any::<bool>(), "[ab](/[ab]){0,2}"), 0..5),
        path in "[ab](/[ab]){0,3}",
    ) {
        let text: String = rules
            .iter()
            .map(|(negated, pattern)| format!("{}{pattern}\n", if *negated { "!" } else { "" }))
            .collect();
        let parsed = IgnoreRules::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(parsed.excludes(path.as_bytes()), naive(&rules, &path), "{}", text);
    }

    #[test]
    fn reading_an_ignore_file_never_panics(text in proptest::collection::vec(any::<u8>(), 0..60), path in "[a-c*/]{0,12}") {
        if let Ok(rules) = IgnoreRules::parse(&text) {
            rules.excludes(path.as_bytes());
        }
    }

    #[test]
    fn reading_a_dockerfile_never_panics(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("FROM a AS b".to_owned()),
                Just("ARG X=${Y:-z}".to_owned()),
                Just("FROM ${X} ".to_owned()),
                Just("RUN <<EOF cat \\".to_owned()),
                Just("EOF".to_owned()),
                Just("COPY --from=b --chown=\"x y\" [\"a\", \"b\"]".to_owned()),
                Just("RUN --mount=type=bind,from=b,\"target=/x\" y".to_owned()),
                Just("# syntax=docker/dockerfile:1".to_owned()),
                "[ -~\\t]{0,30}",
                "\\PC{0,12}",
            ],
            0..8,
        )
    ) {
        let text = lines.join("\n");
        if let Ok(dockerfile) = Dockerfile::parse(text.as_bytes()) {
            let none = BTreeMap::new();
            let options = ResolveOptions { target: None, args: &none, platform_args: &none };
            if let Ok(resolved) = dockerfile.resolve(&options) {
                let same = resolved.rewrite(&mut |_, _| None);
                prop_assert_eq!(same, text.as_bytes());
                resolved.program();
            }
        }
    }

    #[test]
    fn comments_blank_lines_and_line_ends_are_not_in_the_program(
        gaps in proptest::collection::vec(prop_oneof![Just(""), Just("\n"), Just("# why\n"), Just("   \n")], 5),
        crlf in any::<bool>(),
    ) {
        let lines = ["FROM debian AS one", "RUN a && \\\n  b", "COPY x  y /z/", "ENV A=1 B=\"2 3\""];
        let program = |text: &str| {
            let dockerfile = Dockerfile::parse(text.as_bytes()).unwrap();
            let none = BTreeMap::new();
            let options = ResolveOptions { target: None, args: &none, platform_args: &none };
            dockerfile.resolve(&options).unwrap().program()
        };
        let mut text = String::new();
        for (line, gap) in lines.iter().zip(&gaps) {
            text.push_str(gap);
            text.push_str(line);
            text.push('\n');
        }
        let text = if crlf { text.replace('\n', "\r\n") } else { text };
        prop_assert_eq!(program(&text), program(&lines.join("\n")));
    }
}
