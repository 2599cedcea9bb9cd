//! What arrives of a build context.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dockit_buildkit::{Build, ErrorKind, NoFiles, Transfer};

use crate::run::{build, nonce, run, succeed};
use crate::tree::{Node, TIME, Tree};

const LIST: &str = "RUN find /ctx -mindepth 1 -printf 'path=%P kind=%y mode=%m size=%s owner=%U:%G time=%T@ link=%l\\n' \
                    | LC_ALL=C sort";

fn links_and_names() -> Tree {
    let file = |content: &[u8]| Node::File(content.to_vec());
    Tree::new([
        (&b"plain"[..], 0o644, file(b"plain")),
        (b"script", 0o755, file(b"#!/bin/sh\n")),
        (b"empty", 0o644, file(b"")),
        (b"private", 0o600, file(b"private")),
        (b"setuid", 0o4755, file(b"setuid")),
        (b"dir", 0o755, Node::Directory),
        (b"dir/nested", 0o700, Node::Directory),
        (b"dir/nested/file", 0o644, file(b"nested")),
        (b"dir.d", 0o755, Node::Directory),
        (b"dir.d/x", 0o644, file(b"x")),
        (b"dir-", 0o644, file(b"between")),
        (b"hollow", 0o755, Node::Directory),
        (b"sticky", 0o1777, Node::Directory),
        (b"link", 0o777, Node::Symlink(b"dir/nested/file".to_vec())),
        (b"dangling", 0o777, Node::Symlink(b"/nowhere/at all".to_vec())),
        (b"not\xff\xfeUTF-8", 0o644, file(b"odd")),
        (b"a space", 0o644, file(b"space")),
        (b"new\nline", 0o644, file(b"line")),
        ("schön".as_bytes(), 0o644, file(b"umlaut")),
        (b"*?[", 0o644, file(b"pattern")),
        (b"Dockerfile", 0o644, file(b"another one")),
        (b".dockerignore", 0o644, file(b"*\n")),
        (b"Dockerfile.dockerignore", 0o644, file(b"**\n")),
    ])
}

#[tokio::test]
async fn a_tree_arrives_as_it_is_listed_and_nothing_beside_it() {
    arrives(Transfer::Files).await;
}

#[tokio::test]
async fn it_does_so_as_an_archive_and_there_directories_have_their_times() {
    arrives(Transfer::Archive).await;
}

async fn arrives(transfer: Transfer) {
    let build = build(&format!("COPY . /ctx\n{LIST}"), links_and_names());
    let seen = succeed(&Build { transfer, ..build }).await;
    let entry = |path: &str, kind: &str, mode: &str, size: usize, link: &str| {
        format!(
            "path={path} kind={kind} mode={mode} size={size} owner=0:0 time={TIME}.0000000000 link={link}\n"
        )
    };
    let file = |path: &str, mode: &str, size| entry(path, "f", mode, size, "").into_bytes();
    let mut wanted = vec![
        file("plain", "644", 5),
        file("script", "755", 10),
        file("empty", "644", 0),
        file("private", "600", 7),
        file("setuid", "4755", 6),
        file("dir/nested/file", "644", 6),
        file("dir.d/x", "644", 1),
        file("dir-", "644", 7),
        file("a space", "644", 5),
        file("schön", "644", 6),
        file("*?[", "644", 7),
        file("Dockerfile", "644", 11),
        file(".dockerignore", "644", 2),
        file("Dockerfile.dockerignore", "644", 3),
        entry("link", "l", "777", 15, "dir/nested/file").into_bytes(),
        entry("dangling", "l", "777", 15, "/nowhere/at all").into_bytes(),
    ];
    // `sort` takes the name with the line break apart.
    let broken = file("new\nline", "644", 4);
    wanted.extend(broken.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec));
    wanted.push([&b"path=not\xff\xfeUTF-8"[..], &file("", "644", 3)[b"path=".len()..]].concat());
    let lines: Vec<&[u8]> = seen.output.split_inclusive(|byte| *byte == b'\n').collect();
    for line in &wanted {
        assert!(lines.contains(&line.as_slice()), "{}\n{}", line.escape_ascii(), seen.text());
    }
    // Sizes of directories are the file system's, and BuildKit before 0.11 leaves their times to it too.
    for (path, mode) in [
        ("dir", "755"),
        ("dir/nested", "700"),
        ("dir.d", "755"),
        ("hollow", "755"),
        ("sticky", "1777"),
    ] {
        let start = format!("path={path} kind=d mode={mode} size=");
        let is = |line: &&[u8]| {
            line.starts_with(start.as_bytes())
                && line.windows(11).any(|part| part == b" owner=0:0 ")
        };
        assert!(lines.iter().any(is), "{path}\n{}", seen.text());
    }
    assert_eq!(lines.len(), wanted.len() + 5, "{}", seen.text());
}

#[tokio::test]
async fn the_dockerfile_is_not_in_the_context_and_its_ignore_list_does_not_count() {
    let seen =
        succeed(&build("COPY . /ctx\nRUN ls -A /ctx | sed 's/^/here /'", Tree::file("x", "")))
            .await;
    assert_eq!(seen.text(), "here x\n");
    // An instruction that copies the list alone asks for it as a frontend does that obeys it.
    let list = Tree::file(".dockerignore", "**\n");
    let seen = succeed(&build("COPY .dockerignore /x\nRUN cat /x", list)).await;
    assert_eq!(seen.text(), "**\n");
    let (failed, _) = run(&build("COPY Dockerfile /x", Tree::default())).await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Build);
}

#[tokio::test]
async fn a_change_of_one_byte_is_seen_with_the_layer_cache_and_equal_files_are_cached() {
    let mut build = build("COPY . /ctx\nRUN cat /ctx/file", Tree::file("file", "one"));
    let seen = succeed(&build).await;
    assert_eq!(seen.text(), "one");
    build.context = Arc::new(Tree::file("file", "two"));
    build.context_id = nonce();
    assert_eq!(succeed(&build).await.text(), "two");
    // The same bytes again: nothing runs, and nothing is sent.
    let same = Arc::new(Tree::file("file", "two"));
    build.context = same.clone();
    let seen = succeed(&build).await;
    assert_eq!(seen.text(), "");
    assert!(seen.cached.iter().any(|step| step.contains("RUN cat")), "{seen:?}");
    assert_eq!(same.written.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn of_an_archive_the_content_counts() {
    let mut build = build("COPY . /ctx\nRUN cat /ctx/file", Tree::file("file", "one"));
    build.transfer = Transfer::Archive;
    for (content, seen) in [("one", "one"), ("two", "two"), ("two", "")] {
        build.context = Arc::new(Tree::file("file", content));
        assert_eq!(succeed(&build).await.text(), seen);
    }
}

#[tokio::test]
async fn a_dockerfile_that_differs_in_one_byte_is_another_one() {
    let mut build = build("RUN echo one", NoFiles);
    assert_eq!(succeed(&build).await.text(), "one\n");
    let text = String::from_utf8(build.dockerfile).unwrap().replace("echo one", "echo two");
    build.dockerfile = text.into_bytes();
    assert_eq!(succeed(&build).await.text(), "two\n");
}

#[tokio::test]
async fn a_file_that_changed_fails_the_build_whatever_the_daemon_says() {
    for (node, words, transfer) in [
        (Node::Changed(300_000), "changed changed since it was listed"),
        (Node::Resized(5000), "changed: its size is another"),
    ]
    .into_iter()
    .flat_map(|(node, words)| {
        [Transfer::Files, Transfer::Archive].map(|transfer| (node.clone(), words, transfer))
    }) {
        let many =
            (0..100).map(|number| (format!("f{number}"), 0o644, Node::File(vec![b'x'; 1000])));
        let changed = [("changed".to_owned(), 0o644, node)];
        let build = build("COPY . /ctx", Tree::new(many.chain(changed)));
        let (failed, _) = run(&Build { transfer, ..build }).await;
        let error = failed.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Context, words));
    }
}

#[tokio::test]
async fn many_files_and_a_large_one_arrive() {
    const FILES: usize = 20_000;
    const LARGE: u64 = 300_000_000;
    let directories = (0..100).map(|number| (format!("d{number}"), 0o755, Node::Directory));
    let files = (0..FILES).map(|number| {
        (format!("d{}/f{number}", number % 100), 0o644, Node::File(number.to_string().into_bytes()))
    });
    let large = [("large".to_owned(), 0o644, Node::Zeros(LARGE))];
    let tree = Tree::new(directories.chain(files).chain(large));
    let check = "RUN find /ctx -type f | wc -l; stat -c %s /ctx/large; \
                 find /ctx -name 'f*' -exec cat {} + | wc -c";
    let seen = succeed(&build(&format!("COPY . /ctx\n{check}"), tree)).await;
    let digits: usize = (0..FILES).map(|number| number.to_string().len()).sum();
    assert_eq!(seen.text(), format!("{}\n{LARGE}\n{digits}\n", FILES + 1));
}
