//! `.dockerignore`: which file it is, how it is read, and what its patterns match.

use super::{Rows, State, scratch, tree};

/// Edits of an ignore file, with the whole of a context or a part of it copied.
fn edits(rows: &mut Rows) {
    let mut hidden = tree(&scratch("COPY . /app/\n"));
    hidden.write(
        ".dockerignore",
        "Dockerfile\n.dockerignore\n*.log\nother\nsrc/sub\n!src/sub/c.txt\n",
    );
    rows.group(
        "ignore file, hidden",
        hidden,
        &[
            ("add ignored", |s| s.write("new.log", "")),
            ("change ignored", |s| s.write("x.log", "changed\n")),
            ("remove ignored", |s| s.remove("x.log")),
            ("add below ignored", |s| s.write("other/new", "")),
            ("ignored directory removed", |s| s.remove("other")),
            ("ignored directory unreadable", |s| s.chmod("other", 0o000)),
            ("fifo ignored", |s| s.fifo("other/fifo")),
            ("add not ignored", |s| s.write("new.txt", "")),
            ("nested file of an ignored name", |s| s.write("src/x.log", "changed\n")),
            ("re-included changes", |s| s.write("src/sub/c.txt", "changed\n")),
            ("beside re-included", |s| s.write("src/sub/new", "")),
            ("chmod parent of re-included", |s| s.chmod("src/sub", 0o700)),
            ("directory of ignored files", |s| s.write("logs/other/x", "")),
            ("comment in the Dockerfile", |s| s.prepend("Dockerfile", "# comment\n")),
            ("comment", |s| s.prepend(".dockerignore", "# comment\n")),
            ("blank line", |s| s.append(".dockerignore", "\n \n")),
            ("no line feed at the end", |s| {
                s.write(".dockerignore", s.text(".dockerignore").trim_end());
            }),
            ("carriage returns", |s| s.replace(".dockerignore", "\n", "\r\n")),
            ("byte order mark", |s| s.prepend(".dockerignore", "\u{feff}")),
            ("pattern that matches nothing", |s| s.append(".dockerignore", "nothing\n")),
            ("pattern twice", |s| s.append(".dockerignore", "other\n")),
            ("pattern with blanks", |s| s.replace(".dockerignore", "other\n", "  other  \n")),
            ("pattern with a slash in front", |s| {
                s.replace(".dockerignore", "other\n", "/other\n");
            }),
            ("pattern with a slash behind", |s| s.replace(".dockerignore", "other\n", "other/\n")),
            ("pattern by its files", |s| s.replace(".dockerignore", "other\n", "other/*\n")),
            ("pattern with dots", |s| s.replace(".dockerignore", "other\n", "./src/../other\n")),
            ("another file excluded", |s| s.append(".dockerignore", "README.md\n")),
            ("all excluded", |s| s.append(".dockerignore", "*\n")),
            ("re-inclusion added", |s| s.append(".dockerignore", "!x.log\n")),
            ("re-inclusion before its exclusion", |s| s.prepend(".dockerignore", "!x.log\n")),
            ("re-inclusion removed", |s| s.replace(".dockerignore", "!src/sub/c.txt\n", "")),
            ("re-inclusion of what is not there", |s| s.append(".dockerignore", "!nothing\n")),
            ("exception without a pattern", |s| s.append(".dockerignore", "!\n")),
            ("bad pattern", |s| s.append(".dockerignore", "[\n")),
            ("removed", |s| s.remove(".dockerignore")),
        ],
    );

    let mut shown = tree(&scratch("COPY . /app/\n"));
    shown.write(".dockerignore", "*.log\n");
    rows.group(
        "ignore file, copied",
        shown,
        &[
            ("comment", |s| s.prepend(".dockerignore", "# comment\n")),
            ("carriage returns", |s| s.replace(".dockerignore", "\n", "\r\n")),
        ],
    );

    let mut beside = tree(&scratch("COPY src/ /app/\n"));
    beside.write(".dockerignore", "*.log\n");
    rows.group(
        "ignore file, not copied",
        beside,
        &[
            ("comment", |s| s.prepend(".dockerignore", "# comment\n")),
            ("pattern that matches nothing", |s| s.append(".dockerignore", "nothing\n")),
            ("pattern that matches outside", |s| s.append(".dockerignore", "README.md\n")),
            ("pattern that matches inside", |s| s.append(".dockerignore", "src/a.txt\n")),
            ("all excluded", |s| s.append(".dockerignore", "*\n")),
            ("all but the source excluded", |s| s.append(".dockerignore", "*\n!src\n")),
            ("removed", |s| s.remove(".dockerignore")),
        ],
    );
}

/// `<Dockerfile>.dockerignore` goes before `.dockerignore`.
fn own_ignore_file(rows: &mut Rows) {
    let mut plain = tree(&scratch("COPY src/ /app/\n"));
    plain.write(".dockerignore", "src/x.log\n");
    plain.rename("Dockerfile", "docker/app");
    plain.dockerfile = "docker/app".to_owned();
    rows.group(
        "own ignore file",
        plain.clone(),
        &[
            ("appears", |s| s.write("docker/app.dockerignore", "src/a.txt\n")),
            ("appears, empty", |s| s.write("docker/app.dockerignore", "")),
            ("appears, the same", |s| s.write("docker/app.dockerignore", "src/x.log\n")),
            ("appears at the root", |s| s.write("app.dockerignore", "src/a.txt\n")),
            ("of another Dockerfile", |s| s.write("Dockerfile.dockerignore", "src/a.txt\n")),
            (".dockerignore beside the Dockerfile", |s| {
                s.write("docker/.dockerignore", "src/a.txt\n");
            }),
        ],
    );
    plain.write("docker/app.dockerignore", "src/b.txt\n");
    rows.group(
        "own ignore file, there",
        plain,
        &[
            ("the other changes", |s| s.write(".dockerignore", "src/a.txt\n")),
            ("the other goes", |s| s.remove(".dockerignore")),
            ("what the other excluded", |s| s.write("src/x.log", "changed\n")),
            ("what it excludes", |s| s.write("src/b.txt", "changed\n")),
            ("goes", |s| s.remove("docker/app.dockerignore")),
        ],
    );
}

/// An ignore file, and a file that is changed: whether that counts is the pattern's meaning.
const PATTERNS: &[(&str, &str, &str)] = &[
    ("literal", "x.log", "x.log"),
    ("literal, nested file", "x.log", "src/x.log"),
    ("literal with a slash, nested file", "/x.log", "src/x.log"),
    ("literal in another case", "X.LOG", "x.log"),
    ("literal, prefix of the name", "x.lo", "x.log"),
    ("star", "*.log", "x.log"),
    ("star, nested file", "*.log", "src/x.log"),
    ("star in a directory", "src/*.log", "src/x.log"),
    ("star for a directory", "*/x.log", "src/x.log"),
    ("star for a directory, at the root", "*/x.log", "x.log"),
    ("star for a directory, deeper", "*/d.txt", "src/sub/deep/d.txt"),
    ("two stars in front", "**/x.log", "src/x.log"),
    ("two stars in front, at the root", "**/x.log", "x.log"),
    ("two stars in between", "src/**/d.txt", "src/sub/deep/d.txt"),
    ("two stars in between, none", "src/**/a.txt", "src/a.txt"),
    ("two stars behind", "src/**", "src/sub/deep/d.txt"),
    ("two stars alone", "**", "src/a.txt"),
    ("two stars behind a word", "sr**", "src/sub/deep/d.txt"),
    ("two stars before a word", "**log", "src/x.log"),
    ("two stars before a word in a directory", "src/**log", "src/x.log"),
    ("two stars and a star", "**/*.txt", "src/sub/deep/d.txt"),
    ("three stars", "***/x.log", "src/x.log"),
    ("question mark", "?.log", "x.log"),
    ("question mark for a slash", "src?a.txt", "src/a.txt"),
    ("class", "[wxy].log", "x.log"),
    ("class, range", "[a-z].log", "x.log"),
    ("class, negated", "[^a].log", "x.log"),
    ("class, negated, itself", "[^x].log", "x.log"),
    ("class, exclamation mark", "[!a].log", "x.log"),
    ("escaped star", "\\*.log", "x.log"),
    ("escaped dot", "x\\.log", "x.log"),
    ("braces", "{x,y}.log", "x.log"),
    ("plus", "x+.log", "x.log"),
    ("dot is a dot", "x?log", "x.log"),
    ("dot is no wildcard", "a.txt", "aXtxt"),
    ("directory", "src", "src/sub/deep/d.txt"),
    ("directory with a slash", "src/", "src/sub/deep/d.txt"),
    ("file with a slash behind", "x.log/", "x.log"),
    ("path that goes up", "src/../x.log", "x.log"),
    ("path above the root", "../x.log", "x.log"),
    ("dot", ".", "x.log"),
    ("slash", "/", "x.log"),
    ("all", "*", "src/a.txt"),
    ("all but a directory", "*\n!src", "src/a.txt"),
    ("all but a directory, outside", "*\n!src", "x.log"),
    ("all but a file", "*\n!src/a.txt", "src/a.txt"),
    ("all but a file, beside", "*\n!src/a.txt", "src/b.txt"),
    ("directory but a file", "src\n!src/a.txt", "src/a.txt"),
    ("directory but a file, beside", "src\n!src/a.txt", "src/b.txt"),
    ("directory but a deep file", "src\n!src/sub/deep/d.txt", "src/sub/deep/d.txt"),
    ("directory but by star", "src\n!**/*.txt", "src/sub/deep/d.txt"),
    ("directory but by star, beside", "src\n!**/*.txt", "src/x.log"),
    ("exception undone", "src\n!src/sub\nsrc/sub/deep", "src/sub/deep/d.txt"),
    ("exception undone, beside", "src\n!src/sub\nsrc/sub/deep", "src/sub/c.txt"),
    ("exception of the parent", "src/sub/c.txt\n!src", "src/sub/c.txt"),
    ("exception with blanks", "*.log\n! x.log", "x.log"),
    ("exception twice", "*.log\n!!x.log", "x.log"),
    ("exception alone", "!x.log", "src/a.txt"),
    ("comment after a blank", " # x.log", "x.log"),
    ("comment", "# comment\nx.log", "x.log"),
    ("comment behind a pattern", "x.log # comment", "x.log"),
    ("number sign escaped", "\\#x", "x.log"),
    ("blanks behind", "x.log \t", "x.log"),
    ("carriage returns", "x.log\r\n*.txt\r", "x.log"),
    ("byte order mark", "\u{feff}x.log", "x.log"),
    ("accent", "caf\u{e9}*", "caf\u{e9}.txt"),
    ("question mark for an accent", "caf?.txt", "caf\u{e9}.txt"),
    ("hidden by a star", "*", ".git/HEAD"),
    ("hidden by its name", ".git", ".git/HEAD"),
    ("link", "src/link", "src/link"),
    ("through a link", "src/link", "src/sub/c.txt"),
];

pub(super) fn add(rows: &mut Rows) {
    edits(rows);
    own_ignore_file(rows);
    for (name, patterns, path) in PATTERNS {
        let mut before = tree(&scratch("COPY . /app/\n"));
        before.write("caf\u{e9}.txt", "");
        before.write("aXtxt", "");
        before.write(".dockerignore", format!("{patterns}\n"));
        let mut after = before.clone();
        if *path == "src/link" {
            after.symlink(path, "a.txt");
        } else {
            after.append(path, "changed\n");
        }
        rows.row(format!("ignore pattern/{name}"), before, after);
    }
    appearing(rows);
}

/// Directories of which only a part is seen.
fn appearing(rows: &mut Rows) {
    let mut before = State::new(&scratch("COPY . /app/\n"), &[("dir/x.log", ""), ("keep", "")]);
    before.write(".dockerignore", "**/*.log\n!kept/k.log\n");
    rows.group(
        "ignored contents",
        before,
        &[
            ("another directory of ignored files", |s| s.write("more/x.log", "")),
            ("directory with an ignored file goes", |s| s.remove("dir")),
            ("ignored file goes, its directory stays", |s| {
                s.remove("dir/x.log");
                s.mkdir("dir");
            }),
            ("file beside an ignored one", |s| s.write("dir/y", "")),
            ("kept file appears", |s| s.write("kept/k.log", "")),
        ],
    );
}
