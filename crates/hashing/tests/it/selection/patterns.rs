//! Wildcards, `--exclude` and `--parents` in the experiments.

use super::Build;
use super::oracle::{EDIT_DOC, EDIT_OTHER, EDIT_SRC, check_text, relink, write};
use crate::tree::Tree;

#[test]
fn wildcards_match_as_in_go() {
    check_text(
        "FROM scratch\nCOPY *.txt /\n",
        &[
            ("26a no match", &|root| write(root, "new.md", ""), false),
            ("26b match", &|root| write(root, "new.txt", ""), true),
            ("26 match further down", &|root| write(root, "docs/new.txt", ""), false),
            ("26f hidden match", &|root| write(root, ".txt", ""), true),
        ],
    );
    check_text(
        "FROM scratch\nCOPY s*c /\n",
        &[
            ("26c nested change", &|root| write(root, "src/sub/new", ""), true),
            ("26c elsewhere", EDIT_OTHER, false),
        ],
    );
    check_text(
        "FROM scratch\nCOPY docs/**/*.md /\n",
        &[
            ("26d one level down", &|root| write(root, "docs/deep/new.md", ""), true),
            ("26d not at the top", &|root| write(root, "docs/new.md", ""), false),
            ("26d not two levels down", &|root| write(root, "docs/deep/er/new.md", ""), false),
        ],
    );
    check_text(
        "FROM scratch\nCOPY *.none other/x.txt /\n",
        &[
            ("26e match that was missing", &|root| write(root, "x.none", ""), true),
            ("26e none", &|root| write(root, "x.some", ""), false),
        ],
    );
    check_text(
        "FROM scratch\nCOPY */a.txt /\n",
        &[
            ("55 behind a linked directory", &|root| write(root, "docs/deep/a.txt", ""), false),
            ("55 linked directory leads elsewhere", &|root| relink(root, "linked", "other"), false),
        ],
    );
    check_text(
        "FROM scratch\nCOPY [or]* /\n",
        &[("class", EDIT_OTHER, true), ("no member", EDIT_SRC, false)],
    );
    check_text(
        "FROM scratch\nCOPY a.tx\\\\[t] /\n",
        &[
            (
                "a backslash is literal where there is no wildcard",
                &|root| write(root, "a.txt", ""),
                false,
            ),
            ("the very name", &|root| write(root, "a.tx\\[t]", ""), true),
        ],
    );
}

#[test]
fn a_directory_that_a_pattern_starts_from_has_to_be_there() {
    let tree = Tree::default().file("empty/x.md", "").file("y", "");
    assert_eq!(Build::of("FROM scratch\nCOPY empty/*.txt /\n").paths(&tree), ["empty"]);
}

#[test]
fn excludes_are_relative_to_each_source() {
    check_text(
        "FROM scratch\nCOPY --exclude=*.md docs /\n",
        &[
            ("41a top", &|root| write(root, "docs/note.md", "x"), false),
            ("41b nested", &|root| write(root, "docs/deep/note.md", "x"), true),
            ("another file", EDIT_DOC, true),
        ],
    );
    check_text(
        "FROM scratch\nCOPY --exclude=**/*.md --exclude=!deep/note.md docs /\n",
        &[
            ("excluded", &|root| write(root, "docs/note.md", "x"), false),
            ("brought back", &|root| write(root, "docs/deep/note.md", "x"), true),
        ],
    );
    check_text(
        "FROM scratch\nCOPY --exclude=deep d*s *.md /\n",
        &[
            ("excluded below a match", &|root| write(root, "docs/deep/b.txt", "x"), false),
            ("below a match", &|root| write(root, "docs/note.md", "x"), true),
            ("match", &|root| write(root, "README.md", "x"), true),
        ],
    );
    // A source is copied whatever the patterns say.
    check_text(
        "FROM scratch\nCOPY --exclude=*.md README.md /\n",
        &[("source", &|root| write(root, "README.md", "x"), true)],
    );
    check_text(
        "FROM scratch\nCOPY --exclude=docs . /\n",
        &[("excluded from the root", EDIT_DOC, false), ("in the root", EDIT_OTHER, true)],
    );
}

#[test]
fn parents_take_a_pattern() {
    check_text(
        "FROM scratch\nCOPY --parents docs/**/*.txt /\n",
        &[
            ("42b deep match", &|root| write(root, "docs/deep/er/new.txt", ""), true),
            ("42b no match", &|root| write(root, "docs/deep/new.md", ""), false),
            ("42 match at the top", EDIT_DOC, true),
            ("42 elsewhere", &|root| write(root, "other/new.txt", ""), false),
        ],
    );
    check_text(
        "FROM scratch\nCOPY --parents docs/./deep/*.txt /\n",
        &[
            ("below the pivot", &|root| write(root, "docs/deep/new.txt", ""), true),
            ("beside it", EDIT_DOC, false),
            ("the same elsewhere", &|root| write(root, "deep/new.txt", ""), false),
        ],
    );
    check_text(
        "FROM scratch\nCOPY --parents d*/./deep /\n",
        &[
            ("wildcard before the pivot", &|root| write(root, "docs/deep/new", ""), true),
            ("beside it", EDIT_DOC, false),
        ],
    );
    check_text("FROM scratch\nCOPY --parents=false s*c /\n", &[("no parents", EDIT_SRC, true)]);
    let tree = Tree::default().file("a/b/c.txt", "").file("a/b/d.md", "").file("a/x", "");
    let build = Build::of("FROM scratch\nCOPY --parents a/**/*.txt /\n");
    assert_eq!(build.paths(&tree), ["a", "a/b", "a/b/c.txt"]);
}
