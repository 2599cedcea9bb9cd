//! Sources of `COPY` and `ADD`: wildcards, links, archives, and how a path is written.

use super::{Rows, State, scratch, tree};

pub(super) fn add(rows: &mut Rows) {
    wildcards(rows);
    links(rows);
    archives(rows);
    spelling(rows);
}

fn wildcards(rows: &mut Rows) {
    rows.group(
        "star",
        tree(&scratch("COPY *.txt /app/\n")),
        &[
            ("match changes", |s| s.write("notes.txt", "changed\n")),
            ("match added", |s| s.write("more.txt", "")),
            ("hidden match added", |s| s.write(".more.txt", "")),
            ("match removed", |s| s.remove("notes.txt")),
            ("match renamed", |s| s.rename("notes.txt", "other.txt")),
            ("directory that matches", |s| s.write("dir.txt/x", "")),
            ("other added", |s| s.write("more.md", "")),
            ("nested one changes", |s| s.write("src/a.txt", "changed\n")),
            ("case differs", |s| s.write("more.TXT", "")),
            ("match excluded", |s| s.write(".dockerignore", "notes.txt\n")),
        ],
    );
    rows.group(
        "star for a directory",
        tree(&scratch("COPY s*c /app/\n")),
        &[
            ("nested one changes", |s| s.write("src/sub/deep/d.txt", "changed\n")),
            ("another match", |s| s.write("sic/x", "")),
            ("other changes", |s| s.write("other/o.txt", "changed\n")),
        ],
    );
    rows.group(
        "star in the middle",
        tree(&scratch("COPY */sub/*.txt /app/\n")),
        &[
            ("match changes", |s| s.write("src/sub/c.txt", "changed\n")),
            ("match in another directory", |s| s.write("other/sub/x.txt", "")),
            ("deeper one changes", |s| s.write("src/sub/deep/d.txt", "changed\n")),
            ("higher one changes", |s| s.write("src/a.txt", "changed\n")),
        ],
    );
    rows.group(
        "two stars",
        tree(&scratch("COPY **/*.txt /app/\n")),
        &[
            ("one level down", |s| s.write("src/a.txt", "changed\n")),
            ("at the root", |s| s.write("notes.txt", "changed\n")),
            ("two levels down", |s| s.write("src/sub/c.txt", "changed\n")),
        ],
    );
    rows.group(
        "class",
        tree(&scratch("COPY src/[a-b].txt src/run.?? /app/\n")),
        &[
            ("first changes", |s| s.write("src/a.txt", "changed\n")),
            ("out of range", |s| s.write("src/c.txt", "")),
            ("question marks", |s| s.chmod("src/run.sh", 0o644)),
            ("longer name", |s| s.write("src/run.bash", "")),
        ],
    );
    rows.group(
        "negated class",
        tree(&scratch("COPY src/[^b].txt /app/\n")),
        &[
            ("match changes", |s| s.write("src/a.txt", "changed\n")),
            ("other changes", |s| s.write("src/b.txt", "changed\n")),
        ],
    );
    let mut brackets = tree(&scratch("COPY src/[[]x].txt /app/\n"));
    brackets.write("src/[x].txt", "");
    rows.group(
        "bracket in a name",
        brackets,
        &[
            ("changes", |s| s.write("src/[x].txt", "changed\n")),
            ("other changes", |s| s.write("src/a.txt", "changed\n")),
        ],
    );
    rows.group(
        "star without a match",
        tree(&scratch("COPY *.none README.md /app/\n")),
        &[("gains one", |s| s.write("new.none", "")), ("other added", |s| s.write("none", ""))],
    );
    rows.group(
        "star alone",
        tree(&scratch("COPY * /app/\n")),
        &[
            ("hidden file added", |s| s.write(".hidden", "")),
            ("nested file changes", |s| s.write("src/sub/c.txt", "changed\n")),
            ("empty directory added", |s| s.mkdir("empty")),
        ],
    );
}

fn links(rows: &mut Rows) {
    let linked = |copy: &str| {
        let mut state = tree(&scratch(copy));
        state.symlink("to-file", "src/a.txt");
        state.symlink("to-directory", "src/sub");
        state.symlink("absolute", "/src/a.txt");
        state.symlink("outward", "../src/a.txt");
        state.symlink("twice", "to-file");
        state
    };
    rows.group(
        "link to a file",
        linked("COPY to-file /app/\n"),
        &[
            ("content", |s| s.write("src/a.txt", "changed\n")),
            ("retargeted", |s| s.symlink("to-file", "src/b.txt")),
            ("retargeted to equal content", |s| {
                s.write("src/copy", "a\n");
                s.symlink("to-file", "src/copy");
            }),
            ("spelled otherwise", |s| s.symlink("to-file", "./src/a.txt")),
            ("beside its target", |s| s.write("src/b.txt", "changed\n")),
            ("becomes the file", |s| {
                s.remove("to-file");
                s.write("to-file", "a\n");
            }),
            ("dangling", |s| s.remove("src/a.txt")),
            ("target excluded", |s| s.write(".dockerignore", "src/a.txt\n")),
            ("out of the context", |s| s.symlink("to-file", "/etc/passwd")),
            ("to itself", |s| s.symlink("to-file", "to-file")),
        ],
    );
    rows.group(
        "link to a directory",
        linked("COPY to-directory /app/\n"),
        &[
            ("content", |s| s.write("src/sub/c.txt", "changed\n")),
            ("added", |s| s.write("src/sub/new", "")),
            ("beside", |s| s.write("src/a.txt", "changed\n")),
        ],
    );
    rows.group(
        "below a link",
        linked("COPY to-directory/c.txt /app/\n"),
        &[
            ("content", |s| s.write("src/sub/c.txt", "changed\n")),
            ("beside", |s| s.write("src/sub/deep/d.txt", "changed\n")),
            ("retargeted", |s| {
                s.write("other/c.txt", "other\n");
                s.symlink("to-directory", "other");
            }),
        ],
    );
    rows.group(
        "absolute link",
        linked("COPY absolute /app/\n"),
        &[
            ("content", |s| s.write("src/a.txt", "changed\n")),
            ("beside", |s| s.write("src/b.txt", "changed\n")),
        ],
    );
    rows.group(
        "link above the context",
        linked("COPY outward /app/\n"),
        &[
            ("content", |s| s.write("src/a.txt", "changed\n")),
            ("beside", |s| s.write("src/b.txt", "changed\n")),
        ],
    );
    rows.group(
        "link to a link",
        linked("COPY twice /app/\n"),
        &[
            ("content", |s| s.write("src/a.txt", "changed\n")),
            ("between", |s| s.symlink("to-file", "src/b.txt")),
            ("beside", |s| s.write("src/b.txt", "changed\n")),
        ],
    );
    rows.group(
        "star that matches links",
        linked("COPY to-* /app/\n"),
        &[
            ("content of the file", |s| s.write("src/a.txt", "changed\n")),
            ("content of the directory", |s| s.write("src/sub/c.txt", "changed\n")),
            ("another link", |s| s.symlink("to-other", "other")),
            ("beside", |s| s.write("src/b.txt", "changed\n")),
        ],
    );
    rows.group(
        "star below a link",
        linked("COPY to-dir*/*.txt README.md /app/\n"),
        &[
            ("content", |s| s.write("src/sub/c.txt", "changed\n")),
            ("beside", |s| s.write("src/a.txt", "changed\n")),
        ],
    );
    let mut copied = linked("COPY src/ /app/\n");
    copied.symlink("src/to-other", "../other");
    rows.group(
        "link in a copied directory",
        copied,
        &[
            ("content behind", |s| s.write("other/o.txt", "changed\n")),
            ("retargeted", |s| s.symlink("src/to-other", "../x.log")),
            ("retargeted to equal text", |s| s.touch("other")),
        ],
    );
}

fn archives(rows: &mut Rows) {
    let mut state = tree(&scratch("ADD data.tar /app/\n"));
    state.write("data.tar", archive("x\n", 1));
    rows.group(
        "archive",
        state,
        &[
            ("time of a member", |s| s.write("data.tar", archive("x\n", 2))),
            ("content of a member", |s| s.write("data.tar", archive("y\n", 1))),
            ("touch", |s| s.touch("data.tar")),
            ("other file", |s| s.write("README.md", "changed\n")),
            ("no archive any more", |s| s.write("data.tar", "text\n")),
            ("copied instead of added", |s| s.replace("Dockerfile", "ADD", "COPY")),
        ],
    );
}

fn archive(content: &str, time: u64) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mtime(time);
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "member", content.as_bytes()).unwrap();
    archive.into_inner().unwrap()
}

fn spelling(rows: &mut Rows) {
    rows.group(
        "source",
        tree(&scratch("COPY src/a.txt src/b.txt /app/\n")),
        &[
            ("order", |s| s.replace("Dockerfile", "src/a.txt src/b.txt", "src/b.txt src/a.txt")),
            ("spelled with dots", |s| s.replace("Dockerfile", " src/a.txt", " ./src/sub/../a.txt")),
            ("spelled above the root", |s| s.replace("Dockerfile", " src/a.txt", " ../src/a.txt")),
            ("spelled with a slash", |s| s.replace("Dockerfile", " src/a.txt", " /src/a.txt")),
            ("in JSON", |s| {
                let json = "[\"src/a.txt\", \"src/b.txt\", \"/app/\"]";
                s.replace("Dockerfile", "src/a.txt src/b.txt /app/", json);
            }),
            ("more blanks", |s| s.replace("Dockerfile", "COPY src/a.txt ", "COPY   src/a.txt\t ")),
            ("destination", |s| s.replace("Dockerfile", "/app/", "/opt/")),
            ("added instead of copied", |s| s.replace("Dockerfile", "COPY", "ADD")),
            ("owner", |s| s.replace("Dockerfile", "COPY", "COPY --chown=1:2")),
            ("same content elsewhere", |s| {
                s.write("other/a.txt", "a\n");
                s.replace("Dockerfile", " src/a.txt", " other/a.txt");
            }),
            ("same content under another name", |s| {
                s.write("src/z.txt", "a\n");
                s.replace("Dockerfile", " src/a.txt", " src/z.txt");
            }),
            ("missing", |s| s.replace("Dockerfile", " src/a.txt", " src/none.txt")),
        ],
    );
    rows.group(
        "source directory",
        tree(&scratch("COPY src /app/\n")),
        &[
            ("with a slash", |s| s.replace("Dockerfile", "src ", "src/ ")),
            ("with a dot", |s| s.replace("Dockerfile", "src ", "src/. ")),
        ],
    );
    let empty = State::new(
        &scratch("COPY dir /app/\nCOPY --chmod=644 file /app/file\n"),
        &[("dir/x", ""), ("file", "")],
    );
    rows.group(
        "mode given",
        empty,
        &[
            ("chmod 664", |s| s.chmod("file", 0o664)),
            ("chmod +x", |s| s.chmod("file", 0o755)),
            ("content", |s| s.write("file", "changed\n")),
            ("another mode", |s| s.replace("Dockerfile", "644", "600")),
        ],
    );
}
