//! What is changed in the tree below a directory that is copied, and beside it.

use super::{Rows, scratch, tree};

pub(super) fn add(rows: &mut Rows) {
    rows.group(
        "directory",
        tree(&scratch("COPY src/ /app/\n")),
        &[
            ("touch", |s| s.touch("src/a.txt")),
            ("touch directory", |s| s.touch("src/sub")),
            ("chmod 664", |s| s.chmod("src/a.txt", 0o664)),
            ("chmod 600", |s| s.chmod("src/a.txt", 0o600)),
            ("chmod +x", |s| s.chmod("src/a.txt", 0o755)),
            ("chmod -x", |s| s.chmod("src/run.sh", 0o644)),
            ("chmod g+x only", |s| s.chmod("src/a.txt", 0o654)),
            ("chmod set-uid", |s| s.chmod("src/run.sh", 0o4755)),
            ("chmod set-gid", |s| s.chmod("src/run.sh", 0o2755)),
            ("chmod sticky", |s| s.chmod("src/a.txt", 0o1644)),
            ("chmod subdirectory", |s| s.chmod("src/sub", 0o700)),
            ("chmod directory", |s| s.chmod("src", 0o775)),
            ("chmod set-gid subdirectory", |s| s.chmod("src/sub", 0o2755)),
            ("chmod root", |s| s.chmod(".", 0o700)),
            ("chmod outside", |s| s.chmod("README.md", 0o755)),
            ("chown", |s| s.chown("src/a.txt", 1000)),
            ("content", |s| s.write("src/a.txt", "changed\n")),
            ("content of the same size", |s| s.write("src/a.txt", "b\n")),
            ("content deep down", |s| s.write("src/sub/deep/d.txt", "changed\n")),
            ("content emptied", |s| s.write("src/a.txt", "")),
            ("content outside", |s| s.write("README.md", "changed\n")),
            ("content of two files swapped", |s| {
                s.write("src/a.txt", "b\n");
                s.write("src/b.txt", "a\n");
            }),
            ("line moved to the next file", |s| {
                s.write("src/a.txt", "");
                s.write("src/b.txt", "a\nb\n");
            }),
            ("large file's last byte", |s| s.write("src/a.txt", vec![b'x'; 1_100_000])),
            ("add", |s| s.write("src/new", "new\n")),
            ("add empty", |s| s.write("src/new", "")),
            ("add hidden", |s| s.write("src/.hidden", "")),
            ("add below", |s| s.write("src/sub/deep/new", "new\n")),
            ("add outside", |s| s.write("new", "new\n")),
            ("add to another directory", |s| s.write("other/new", "new\n")),
            ("add beside with the same prefix", |s| s.write("srcs/new", "new\n")),
            ("remove", |s| s.remove("src/b.txt")),
            ("remove directory", |s| s.remove("src/sub/deep")),
            ("remove outside", |s| s.remove("other")),
            ("rename", |s| s.rename("src/b.txt", "src/c.txt")),
            ("rename to another case", |s| s.rename("src/b.txt", "src/B.txt")),
            ("rename directory", |s| s.rename("src/sub/deep", "src/sub/low")),
            ("rename outside", |s| s.rename("other/o.txt", "other/p.txt")),
            ("move up", |s| s.rename("src/sub/c.txt", "src/c.txt")),
            ("move in", |s| s.rename("other/o.txt", "src/o.txt")),
            ("empty directory", |s| s.mkdir("src/empty")),
            ("empty directory outside", |s| s.mkdir("empty")),
            ("file becomes directory", |s| {
                s.remove("src/b.txt");
                s.mkdir("src/b.txt");
            }),
            ("link retargeted", |s| s.symlink("src/link", "a.txt")),
            ("link spelled otherwise", |s| s.symlink("src/link", "./sub/c.txt")),
            ("link made absolute", |s| s.symlink("src/link", "/src/sub/c.txt")),
            ("link becomes file", |s| {
                s.remove("src/link");
                s.write("src/link", "c\n");
            }),
            ("link added", |s| s.symlink("src/new", "a.txt")),
            ("link dangling", |s| s.symlink("src/new", "nowhere")),
            ("link out of the context", |s| s.symlink("src/new", "../../../etc/passwd")),
            ("link to itself", |s| s.symlink("src/new", "new")),
            ("link to the directory above", |s| s.symlink("src/sub/up", "..")),
            ("link outside", |s| s.symlink("new", "nowhere")),
            ("hard link", |s| s.hardlink("src/new", "src/a.txt")),
            ("attribute", |s| s.set_attribute("src/a.txt", "user.colour", "red")),
            ("security attribute", |s| s.set_attribute("src/a.txt", "security.colour", "red")),
            ("fifo", |s| s.fifo("src/new")),
            ("fifo outside", |s| s.fifo("new")),
            ("socket", |s| s.socket("src/new")),
            ("socket outside", |s| s.socket("new")),
            ("device", |s| s.device("src/new")),
            ("device outside", |s| s.device("new")),
            ("name not in UTF-8", |s| s.write(b"src/caf\xe9", "")),
            ("name not in UTF-8 outside", |s| s.write(b"caf\xe9", "")),
            ("name with a line feed", |s| s.write("src/a\nb", "")),
            ("name of 255 bytes", |s| s.write(format!("src/{}", "n".repeat(255)), "")),
            ("path of 800 bytes", |s| {
                s.write(format!("src/{}f", format!("{}/", "d".repeat(99)).repeat(8)), "");
            }),
            ("repository moved on", |s| s.write(".git/HEAD", "ref: refs/heads/x\n")),
            ("Dockerfile outside", |s| s.write("src/Dockerfile", "FROM scratch\n")),
        ],
    );

    let mut hard_links = tree(&scratch("COPY src/ /app/\n"));
    hard_links.hardlink("src/linked", "src/a.txt");
    let mut large = tree(&scratch("COPY src/ /app/\n"));
    large.write("src/large", vec![b'x'; 1_100_000]);
    let mut odd_names = tree(&scratch("COPY src/ /app/\n"));
    odd_names.write(b"src/caf\xe9", "");
    rows.group("hard link", hard_links, &[("becomes a copy", |s| s.write("src/linked", "a\n"))]);
    rows.group(
        "large file",
        large,
        &[
            ("touch", |s| s.touch("src/large")),
            ("last byte", |s| {
                let mut content = vec![b'x'; 1_100_000];
                content[1_099_999] = b'y';
                s.write("src/large", content);
            }),
            ("a byte less", |s| s.write("src/large", vec![b'x'; 1_099_999])),
        ],
    );
    rows.group(
        "odd name",
        odd_names,
        &[
            ("other bytes", |s| s.rename(b"src/caf\xe9", b"src/caf\xe8")),
            ("as UTF-8", |s| s.rename(b"src/caf\xe9", "src/caf\u{e9}")),
        ],
    );

    rows.group(
        "file",
        tree(&scratch("COPY src/a.txt /app/\n")),
        &[
            ("touch", |s| s.touch("src/a.txt")),
            ("chmod 664", |s| s.chmod("src/a.txt", 0o664)),
            ("chmod +x", |s| s.chmod("src/a.txt", 0o755)),
            ("content", |s| s.write("src/a.txt", "b\n")),
            ("sibling", |s| s.write("src/b.txt", "changed\n")),
            ("sibling added", |s| s.write("src/new", "new\n")),
            ("chmod parent", |s| s.chmod("src", 0o700)),
            ("removed", |s| s.remove("src/a.txt")),
            ("becomes a link", |s| s.symlink("src/a.txt", "b.txt")),
            ("becomes a link to equal content", |s| {
                s.write("src/copy", "a\n");
                s.symlink("src/a.txt", "copy");
            }),
            ("becomes a directory", |s| {
                s.remove("src/a.txt");
                s.write("src/a.txt/x", "");
            }),
        ],
    );

    rows.group(
        "whole context",
        tree(&scratch("COPY . /app/\n")),
        &[
            ("touch", |s| s.touch("README.md")),
            ("add", |s| s.write("new", "new\n")),
            ("content deep down", |s| s.write("src/sub/deep/d.txt", "changed\n")),
            ("empty directory", |s| s.mkdir("empty")),
            ("chmod root", |s| s.chmod(".", 0o700)),
            ("comment in the Dockerfile", |s| s.prepend("Dockerfile", "# comment\n")),
            ("repository moved on", |s| s.write(".git/HEAD", "ref: refs/heads/x\n")),
            (".dockerignore appears, empty", |s| s.write(".dockerignore", "")),
            (".dockerignore hides itself", |s| s.write(".dockerignore", ".dockerignore\n")),
            (".dockerignore hides a file", |s| s.write(".dockerignore", "x.log\n")),
            ("lone .dockerignore elsewhere", |s| s.write("src/.dockerignore", "*\n")),
        ],
    );
}
