//! The build sees what was keyed: no more, no less, with normalised modes, owners and times.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::engine::{self, Cleanup};
use crate::run::Project;
use crate::{base_image, nonce};

/// The commands run in the build: it fails where one of them does.
fn built_with(checks: &str, files: &[(&str, &str)], prepare: impl FnOnce(&Project)) {
    let dockerfile = format!(
        "ARG BASE\nFROM $BASE\nARG NONCE\nCOPY . /ctx\nWORKDIR /ctx\nRUN set -eux; {checks}\n"
    );
    let mut project = Project::new(&[
        (
            "dockit.toml",
            &format!(
                "[images.a]\nargs = {{ BASE = \"{}\", NONCE = \"{}\" }}\n",
                base_image(),
                nonce()
            ),
        ),
        ("a/Dockerfile", &dockerfile),
    ]);
    project.docker_host = engine::endpoint();
    for (path, content) in files {
        project.write(&format!("a/{path}"), content);
    }
    prepare(&project);
    let ran = project.run(&["build", "--format", "json"]);
    let _cleanup = (!ran.out.is_empty()).then(|| Cleanup::of(&ran.json()));
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn ignored_files_are_not_in_the_build_and_others_are() {
    built_with(
        "test -f a.txt; test ! -e b.log; test ! -e secret; test -f keep/x; test ! -e keep/y; \
         test -d empty; test -f Dockerfile; test \"$(find . | wc -l)\" = 7",
        &[
            ("a.txt", ""),
            ("b.log", ""),
            ("secret/key", ""),
            ("keep/x", ""),
            ("keep/y", ""),
            (".dockerignore", "*.log\nsecret\nkeep\n!keep/x\n"),
        ],
        |project| std::fs::create_dir(project.root().join("a/empty")).unwrap(),
    );
}

#[test]
fn modes_owners_and_times_are_normalised_and_links_kept() {
    built_with(
        "test \"$(stat -c '%a %u %g %Y' f)\" = '644 0 0 315619200'; \
         test \"$(stat -c '%a %Y' run)\" = '755 315619200'; \
         test \"$(stat -c %a suid)\" = 4755; \
         test \"$(stat -c '%a %Y' d)\" = '755 315619200'; \
         test \"$(readlink link)\" = ../nowhere; test \"$(readlink abs)\" = /etc/passwd; \
         test \"$(cat f)\" = content",
        &[("f", "content"), ("run", ""), ("suid", ""), ("d/x", "")],
        |project| {
            let root = project.root().join("a");
            let chmod = |name: &str, mode| {
                let permissions = std::fs::Permissions::from_mode(mode);
                std::fs::set_permissions(root.join(name), permissions).unwrap();
            };
            chmod("f", 0o660);
            chmod("run", 0o700);
            chmod("suid", 0o4711);
            chmod("d", 0o700);
            symlink("../nowhere", root.join("link")).unwrap();
            symlink("/etc/passwd", root.join("abs")).unwrap();
        },
    );
}

#[test]
fn odd_names_and_sizes_arrive_whole() {
    use std::os::unix::ffi::OsStrExt as _;
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    built_with(
        &format!(
            "test \"$(stat -c %s big)\" = 3000001; test \"$(tr -d '\\007' < big | wc -c)\" = 0; \
             test -f {long}; test \"$(find . -mindepth 1 -print0 | tr -cd '\\0' | wc -c)\" = 6"
        ),
        &[(&long, "x")],
        |project| {
            let root = project.root().join("a");
            std::fs::write(root.join("big"), vec![7; 3_000_001]).unwrap();
            std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xe9\n")), "").unwrap();
            std::fs::write(root.join("q"), "").unwrap();
        },
    );
}

#[test]
fn arguments_reach_the_build_as_they_are_keyed() {
    built_with("test \"$NONCE\" != ''", &[("f", "")], |project| {
        project.write(
                "a/Dockerfile",
                "ARG BASE\nFROM $BASE\nARG NONCE\nARG GIVEN=default\nARG EMPTY=default\nARG LEFT=default\n\
                 ARG UID\nARG TARGETARCH\nARG BUILDPLATFORM\n\
                 RUN set -eux; test \"$GIVEN\" = 'a b\"c$d'; test \"$EMPTY\" = ''; \
                 test \"$LEFT\" = default; test \"$UID\" = 1000; test \"$TARGETARCH\" = amd64; \
                 test \"$BUILDPLATFORM\" = linux/amd64\n",
            );
        let config = format!(
            "[images.a]\nargs = {{ BASE = \"{}\", NONCE = \"{}\", GIVEN = 'a b\"c$d', EMPTY = \"\", \
                 UNKNOWN = \"x\" }}\nunkeyed-args = {{ UID = \"1000\" }}\n",
            base_image(),
            nonce()
        );
        project.write("dockit.toml", &config);
    });
}

/// An engine without here-documents takes this body for instructions, and would use an image that the
/// key knows nothing of.
#[test]
fn a_heredoc_whose_lines_the_engine_would_execute_is_not_sent_to_it() {
    let base = base_image();
    let mut project = Project::new(&[
        ("dockit.toml", "[images.a]\n"),
        (
            "a/Dockerfile",
            &format!(
                "FROM scratch\nLABEL nonce={}\nRUN cat <<EOF\nCOPY --from={base} /etc /etc\n\
                 RUN echo \\\nEOF\n",
                nonce()
            ),
        ),
    ]);
    project.docker_host = engine::endpoint();
    let ran = project.run(&["build"]);
    // Docker 23 was the first to know here-documents without a `# syntax=` line; there it is the command
    // that fails, for want of a shell.
    let misread = engine::major_version() < 23;
    assert_eq!(ran.code, if misread { 4 } else { 1 }, "{}", ran.err);
    assert_eq!(ran.err.contains("the Dockerfile has a heredoc"), misread, "{}", ran.err);
}
