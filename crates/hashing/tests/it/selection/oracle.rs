//! What BuildKit was seen to do after a change, and what the listing does: the numbers are those of
//! the experiments.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use dockit_hashing::dockerfile::ImageConfig;

use super::Build;
use crate::tree::{Tree, chmod};

fn base() -> Tree {
    Tree::default()
        .file("Dockerfile", "FROM scratch\n")
        .file("README.md", "read me\n")
        .file("a.txt", "a\n")
        .file("docs/a.txt", "a\n")
        .file("docs/deep/b.txt", "b\n")
        .file("docs/deep/note.md", "note\n")
        .file("docs/note.md", "note\n")
        .file("other/x.txt", "x\n")
        .file("src/a.txt", "one\n")
        .file("src/sub/b.txt", "two\n")
        .file("bin_amd64/tool", "amd64\n")
        .file("bin_arm64/tool", "arm64\n")
        .link("link", "src/a.txt")
        .link("linked", "docs")
        .link("absolute", "/src/a.txt")
        .link("docs/out", "../other/x.txt")
}

pub(super) fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a parent")).expect("the parent");
    fs::write(path, content).expect("the file");
}

pub(super) fn relink(root: &Path, path: &str, target: &str) {
    fs::remove_file(root.join(path)).expect("the old link");
    symlink(target, root.join(path)).expect("the new link");
}

pub(super) type Change<'a> = &'a dyn Fn(&Path);

pub(super) const EDIT_SRC: Change<'_> = &|root| write(root, "src/a.txt", "uno\n");
pub(super) const EDIT_OTHER: Change<'_> = &|root| write(root, "other/x.txt", "changed\n");
pub(super) const EDIT_DOC: Change<'_> = &|root| write(root, "docs/a.txt", "changed\n");
const EDIT_DOCKERFILE: Change<'_> = &|root| write(root, "Dockerfile", "# new\nFROM scratch\n");

/// Changes a tree, and says whether the listing changes.
fn check(build: &Build<'_>, rows: &[(&str, Change<'_>, bool)]) {
    for (what, change, changes) in rows {
        let (before, after) = (base().plant(), base().plant());
        change(after.path());
        let (before, after) = (build.list(before.path()), build.list(after.path()));
        assert_eq!(before.hash() != after.hash(), *changes, "{what} with\n{}", build.text);
        assert_eq!(before.entries() != after.entries(), *changes, "{what} with\n{}", build.text);
    }
}

pub(super) fn check_text(text: &str, rows: &[(&str, Change<'_>, bool)]) {
    check(&Build::of(text), rows);
}

#[test]
fn a_directory_counts_with_everything_below_and_nothing_beside() {
    check_text(
        "FROM scratch\nCOPY src/ /\n",
        &[
            ("01 nothing", &|_| {}, false),
            ("03a mode 664", &|root| chmod(&root.join("src/a.txt"), 0o664), false),
            ("03b +x", &|root| chmod(&root.join("src/a.txt"), 0o744), true),
            ("03c set-uid", &|root| chmod(&root.join("src/a.txt"), 0o4644), true),
            ("04a mode of a directory in it", &|root| chmod(&root.join("src/sub"), 0o700), false),
            ("04b mode of the directory", &|root| chmod(&root.join("src"), 0o700), false),
            ("04c mode of the root", &|root| chmod(root, 0o700), false),
            ("05b file in it", &|root| write(root, "src/new", ""), true),
            ("06 file beside it", &|root| write(root, "new", ""), false),
            ("06 file in another directory", &|root| write(root, "other/new", ""), false),
            ("06 similar name", &|root| write(root, "src2/new", ""), false),
            ("07 content", EDIT_SRC, true),
            ("07 content of another file", EDIT_OTHER, false),
            ("09a comment in the Dockerfile", EDIT_DOCKERFILE, false),
            ("11a link in it", &|root| symlink("a.txt", root.join("src/l")).unwrap(), true),
            (
                "12a empty directory in it",
                &|root| fs::create_dir(root.join("src/e")).unwrap(),
                true,
            ),
            (
                "12b empty directory beside it",
                &|root| fs::create_dir(root.join("e")).unwrap(),
                false,
            ),
            (
                "13a rename in it",
                &|root| {
                    fs::rename(root.join("src/a.txt"), root.join("src/c.txt")).unwrap();
                },
                true,
            ),
            ("18a ignore comment", &|root| write(root, ".dockerignore", "# x\n"), false),
            (
                "18d ignore pattern without effect",
                &|root| write(root, ".dockerignore", "no\n"),
                false,
            ),
            ("18e newly excluded", &|root| write(root, ".dockerignore", "src/a.txt\n"), true),
            (
                "19 Dockerfile's own ignore file",
                &|root| {
                    write(root, "Dockerfile.dockerignore", "src/a.txt\n");
                },
                true,
            ),
            (
                "23a named pipe beside it",
                &|root| {
                    assert!(
                        std::process::Command::new("mkfifo")
                            .arg(root.join("pipe"))
                            .status()
                            .unwrap()
                            .success()
                    );
                },
                false,
            ),
            (
                "24 name that is not UTF-8",
                &|root| {
                    use std::os::unix::ffi::OsStrExt;
                    let name = std::ffi::OsStr::from_bytes(b"src/\xff\n");
                    fs::write(root.join(name), "").unwrap();
                },
                true,
            ),
        ],
    );
}

#[test]
fn spellings_of_a_path_read_the_same() {
    let plain = Build::of("FROM scratch\nCOPY src /\n").paths(&base());
    assert_eq!(plain, ["src", "src/a.txt", "src/sub", "src/sub/b.txt"]);
    for source in
        ["56 ./docs/../src", "57 ../src", "57 /../../src", "60 src/", "/src", "./src/.", "src//"]
    {
        let source = source.rsplit(' ').next().expect("a source");
        let text = format!("FROM scratch\nCOPY {source} /\n");
        assert_eq!(Build::of(&text).paths(&base()), plain, "{source}");
    }
    for text in [
        "FROM scratch\nCOPY [\"src\", \"/\"]\n",
        "FROM scratch\nADD src /\n",
        "FROM scratch\nCOPY --link --chmod=644 --chown=1:1 src /elsewhere/\n",
        "FROM scratch\nARG D=src\nCOPY $D /\n",
        "FROM scratch\nENV D=sr\nCOPY ${D}c /\n",
        "FROM scratch\nCOPY src src /\nCOPY src/a.txt /\n",
        "FROM a\nRUN --mount=type=bind,source=src,target=/x y\n",
        "FROM a\nARG T=bind\nRUN --mount=type=$T,src=/src/,target=/x y\n",
    ] {
        assert_eq!(Build::of(text).paths(&base()), plain, "{text}");
    }
}

#[test]
fn the_whole_context_counts_where_it_is_copied() {
    check_text(
        "FROM scratch\nCOPY . /\n",
        &[
            ("05b new file", &|root| write(root, "new", ""), true),
            ("09b Dockerfile", EDIT_DOCKERFILE, true),
            ("18b ignore file", &|root| write(root, ".dockerignore", "# x\n"), true),
            ("25 git", &|root| write(root, ".git/HEAD", "ref\n"), true),
        ],
    );
    let ignoring = |root: &Path, more: &str| {
        write(root, ".dockerignore", &format!("*.log\nDockerfile\n.dockerignore\n{more}"));
    };
    let build = Build::of("FROM scratch\nCOPY . /\n");
    let changes = |change: Change<'_>| {
        let (before, after) = (base().plant(), base().plant());
        ignoring(before.path(), "");
        ignoring(after.path(), "");
        change(after.path());
        build.list(before.path()).hash() != build.list(after.path()).hash()
    };
    assert!(!changes(&|root| write(root, "x.log", "")), "05a ignored file");
    assert!(!changes(EDIT_DOCKERFILE), "09c ignored Dockerfile");
    assert!(!changes(&|root| ignoring(root, "# comment\n")), "18c ignored ignore file");
    assert!(changes(&|root| write(root, "only/x.log", "")), "12c directory of ignored files");
    assert!(changes(&|root| write(root, "Dockerfile.dockerignore", "")), "19c empty, and it wins");
}

#[test]
fn an_ignore_file_that_is_not_in_use_counts_for_nothing() {
    let build = Build::of("FROM scratch\nCOPY src /\n");
    let (before, after) = (base().plant(), base().plant());
    for root in [&before, &after] {
        write(root.path(), "Dockerfile.dockerignore", "x\n");
    }
    write(after.path(), ".dockerignore", "src/a.txt\n");
    assert_eq!(build.list(before.path()).hash(), build.list(after.path()).hash(), "19b");
}

#[test]
fn only_reachable_stages_count() {
    let text = "FROM scratch AS unused\nCOPY other /\nFROM scratch AS mid\nCOPY src /\n\
                FROM scratch\nCOPY --from=mid / /\nCOPY docs/a.txt /\n";
    let rows: &[(&str, Change<'_>, bool)] = &[
        ("08a source of an unreachable stage", EDIT_OTHER, false),
        ("08c source of a stage that is copied from", EDIT_SRC, true),
        ("own source", EDIT_DOC, true),
    ];
    check_text(text, rows);
    check(
        &Build { target: Some("mid"), ..Build::of(text) },
        &[("08d source of a later stage", EDIT_DOC, false), ("own source", EDIT_SRC, true)],
    );
}

#[test]
fn a_variable_decides_what_counts() {
    let platform = |arch| Build {
        platform: if arch == "amd64" {
            &[("TARGETARCH", "amd64")]
        } else {
            &[("TARGETARCH", "arm64")]
        },
        ..Build::of("FROM scratch\nARG TARGETARCH\nCOPY bin_${TARGETARCH} /\n")
    };
    assert_eq!(platform("amd64").paths(&base()), ["bin_amd64", "bin_amd64/tool"]);
    assert_eq!(platform("arm64").paths(&base()), ["bin_arm64", "bin_arm64/tool"]);
    let text = "FROM scratch\nARG D=docs\nCOPY $D/a.txt /\n";
    check_text(
        text,
        &[
            ("63 sibling", &|root| write(root, "docs/note.md", "x"), false),
            ("63 the file", EDIT_DOC, true),
        ],
    );
    let given = Build { args: &[("D", "src")], ..Build::of(text) };
    assert_eq!(given.paths(&base()), ["src", "src/a.txt"], "10i");
    let config = ImageConfig::from_oci(&["D=other".to_owned(), "E".to_owned()], &[]);
    let inherited = Build { base: Some(config), ..Build::of("FROM a\nCOPY $D/x.txt$E /\n") };
    assert_eq!(inherited.paths(&base()), ["other", "other/x.txt"]);
}

#[test]
fn a_bind_mount_exposes_its_source() {
    for options in ["", ",rw"] {
        let text =
            format!("FROM a\nRUN --mount=type=bind,source=docs/deep,target=/x{options} make\n");
        check_text(
            &text,
            &[
                ("20c inside", &|root| write(root, "docs/deep/new", ""), true),
                ("20b,d outside", EDIT_DOC, false),
            ],
        );
    }
    check_text(
        "FROM a\nRUN --mount=target=/x make\n",
        &[("20a whole context", &|root| write(root, "new", ""), true)],
    );
    for kind in ["tmpfs", "cache", "Tmpfs"] {
        check_text(
            &format!("FROM a\nRUN --mount=type={kind},target=/x make\n"),
            &[("20e nothing of it", &|root| write(root, "new", ""), false)],
        );
    }
    check_text(
        "FROM a\nRUN --mount=type=secret,id=a,source=/src/a.txt make\n",
        &[("a secret is no file of the context", EDIT_SRC, false)],
    );
    let engines = Build::of("FROM a\nARG D=src\nRUN --mount=source=$D/sub,target=/x make\n");
    let tree = base().file("$D/sub", "for engines that do not expand it");
    assert_eq!(engines.paths(&tree), ["$D", "$D/sub", "src", "src/sub", "src/sub/b.txt"]);
    let file = Build::of("FROM a\nRUN --mount=source=docs/a.txt,target=/x make\n");
    assert_eq!(file.paths(&base()), ["docs", "docs/a.txt"]);
}

#[test]
fn what_is_no_file_of_the_context_selects_nothing() {
    for text in [
        "FROM scratch\nCOPY <<EOF /x\nsrc\nEOF\n",
        "FROM a AS b\nFROM scratch\nCOPY --from=b /src /\n",
        "FROM a\nRUN --mount=from=b,target=/x,source=/src make\n",
        "FROM a\nRUN make\n",
        "FROM scratch\nCOPY missing none/*.x /\n",
    ] {
        assert_eq!(Build::of(text).paths(&base()), [""; 0], "{text}");
    }
    let mixed = Build::of("FROM scratch\nCOPY a.txt <<EOF /x/\nsrc\nEOF\n");
    assert_eq!(mixed.paths(&base()), ["a.txt"]);
}

#[test]
fn triggers_read_where_they_run() {
    let text = "FROM scratch AS parent\nARG D=src\nONBUILD ARG E=docs\nONBUILD COPY $E/a.txt /\n\
                FROM parent\nARG D\nCOPY $E/note.md /\n";
    check_text(
        text,
        &[
            ("44 source of a trigger", EDIT_DOC, true),
            ("variable of a trigger", &|root| write(root, "docs/note.md", "x"), true),
            ("elsewhere", EDIT_SRC, false),
        ],
    );
    check_text(
        "FROM scratch\nONBUILD COPY . /\nCOPY a.txt /\n",
        &[("of one that does not run here", EDIT_SRC, false)],
    );
    let triggers = ["ENV D=src", "COPY ${D}/a.txt /", "RUN --mount=source=other,target=/o make"];
    let config = ImageConfig::new([], triggers.map(str::to_owned).to_vec());
    let build = Build { base: Some(config), ..Build::of("FROM a\nCOPY $D/sub /\n") };
    check(
        &build,
        &[
            ("source of a base's trigger", EDIT_SRC, true),
            ("mount of a base's trigger", EDIT_OTHER, true),
            ("variable of a base's trigger", &|root| write(root, "src/sub/b.txt", ""), true),
            ("elsewhere", EDIT_DOC, false),
        ],
    );
}

#[test]
fn what_is_not_selected_is_not_looked_at() {
    let root = base().plant();
    let pipe = root.path().join("docs/pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    write(root.path(), ".dockit.Dockerfile", "");
    assert!(Build::of("FROM scratch\nCOPY src /\n").try_list(root.path()).is_ok());
    for text in ["FROM scratch\nCOPY docs /\n", "FROM scratch\nCOPY .dockit.Dockerfile /\n"] {
        assert!(Build::of(text).try_list(root.path()).is_err(), "{text}");
    }
}
