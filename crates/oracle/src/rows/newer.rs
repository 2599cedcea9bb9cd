//! Syntax that came after the BuildKit of Docker 20.10.

use super::{Change, Rows, scratch, shell, tree};

pub(super) fn add(rows: &mut Rows) {
    here_documents(rows);
    flags(rows);
    rows.group("triggers", tree(
        "FROM scratch AS parent\nWORKDIR /@nonce@\nONBUILD COPY src/a.txt /app/\nFROM parent\nLABEL l=1\n",
    ), &[
        ("what they copy", |s| s.write("src/a.txt", "changed\n")),
        ("beside", |s| s.write("src/b.txt", "changed\n")),
        ("outside", |s| s.write("README.md", "changed\n")),
        ("their text", |s| s.replace("Dockerfile", "/app/", "/opt/")),
        ("another one", |s| s.replace("Dockerfile", "FROM parent", "ONBUILD LABEL x=1\nFROM parent")),
    ]);
    rows.group(
        "directives",
        tree(&scratch("COPY src/ /app/\n")),
        &[
            ("check", |s| s.prepend("Dockerfile", "# check=skip=all\n")),
            ("syntax too late", |s| {
                s.replace("Dockerfile", "COPY", "# syntax=docker/dockerfile:1\nCOPY");
            }),
            ("epoch of the sources", |s| s.arg("SOURCE_DATE_EPOCH", "1000000000")),
        ],
    );
}

fn here_documents(rows: &mut Rows) {
    let dockerfile = scratch(
        "ARG V=1\nCOPY <<file <<\"raw\" src/a.txt /app/\nv $V\n# no comment\nfile\nraw $V\nraw\nLABEL l=1\n",
    );
    rows.group(
        "here-document",
        tree(&dockerfile),
        &[
            ("body", |s| s.replace("Dockerfile", "v $V\n", "w $V\n")),
            ("blank line in the body", |s| s.replace("Dockerfile", "v $V\n", "v $V\n\n")),
            ("line that looks like a comment", |s| s.replace("Dockerfile", "# no comment\n", "")),
            ("variable in the body", |s| s.arg("V", "2")),
            ("raw body", |s| s.replace("Dockerfile", "raw $V\n", "raw ${V}\n")),
            ("delimiter", |s| s.replace("Dockerfile", "file", "name")),
            ("delimiter quoted", |s| s.replace("Dockerfile", "<<file", "<<'file'")),
            ("delimiter quoted otherwise", |s| s.replace("Dockerfile", "\"raw\"", "'raw'")),
            ("tabs stripped", |s| s.replace("Dockerfile", "<<file", "<<-file")),
            ("file beside", |s| s.write("src/a.txt", "changed\n")),
            ("other file", |s| s.write("src/b.txt", "changed\n")),
            ("comment behind", |s| s.replace("Dockerfile", "LABEL", "# comment\nLABEL")),
            ("body that names a file", |s| s.replace("Dockerfile", "v $V\n", "COPY src/b.txt /\n")),
        ],
    );
    let run = shell(
        "RUN <<EOF\ncat > /x\n# comment\nEOF\nRUN cat <<one - <<two > /out\n1\none\n2\ntwo\nLABEL l=1\n",
    );
    rows.group(
        "here-document of a command",
        tree(&run),
        &[
            ("body", |s| s.replace("Dockerfile", "cat > /x\n", "cat > /y\n")),
            ("comment", |s| s.replace("Dockerfile", "# comment\n", "# another\n")),
            ("second one's body", |s| s.replace("Dockerfile", "2\n", "3\n")),
            ("delimiter", |s| s.replace("Dockerfile", "EOF", "END")),
            ("comment in front", |s| s.prepend("Dockerfile", "# comment\n")),
            ("file", |s| s.write("src/a.txt", "changed\n")),
        ],
    );
}

fn flags(rows: &mut Rows) {
    let nested: &[Change] = &[
        ("a.txt", |s| s.write("src/a.txt", "changed\n")),
        ("x.log", |s| s.write("src/x.log", "changed\n")),
        ("deep", |s| s.write("src/sub/deep/d.txt", "changed\n")),
        ("deep log added", |s| s.write("src/sub/deep/y.log", "")),
        ("outside", |s| s.write("README.md", "changed\n")),
        ("chmod parent", |s| s.chmod("src/sub", 0o2755)),
        ("empty directory", |s| s.mkdir("src/empty")),
    ];
    rows.group("exclude", tree(&scratch("COPY --exclude=*.log src/ /app/\n")), nested);
    rows.group(
        "exclude deep",
        tree(&scratch("COPY --exclude=**/*.log --exclude=sub/deep/d.txt src/ /app/\n")),
        nested,
    );
    rows.group(
        "exclude but",
        tree(&scratch("COPY --exclude=sub --exclude=!sub/deep src/ /app/\n")),
        nested,
    );
    rows.group("exclude, star", tree(&scratch("COPY --exclude=*.log src/* /app/\n")), nested);
    rows.group(
        "exclude of a file",
        tree(&scratch("COPY --exclude=*.log src/a.txt src/x.log /app/\n")),
        nested,
    );
    rows.group(
        "exclude, changed",
        tree(&scratch("COPY --exclude=*.log src/ /app/\n")),
        &[
            ("pattern", |s| s.replace("Dockerfile", "*.log", "*.txt")),
            ("order", |s| s.replace("Dockerfile", "=*.log", "=*.log --exclude=*.none")),
            ("link", |s| s.replace("Dockerfile", "COPY", "COPY --link")),
        ],
    );
    rows.group("parents", tree(&scratch("COPY --parents src/sub/c.txt /app/\n")), nested);
    rows.group("parents, star", tree(&scratch("COPY --parents src/*.txt /app/\n")), nested);
    rows.group("parents, two stars", tree(&scratch("COPY --parents **/*.txt /app/\n")), nested);
    rows.group("parents, pivot", tree(&scratch("COPY --parents src/./sub/deep /app/\n")), nested);
    rows.group("parents, directory", tree(&scratch("COPY --parents src/sub /app/\n")), nested);
    rows.group(
        "parents, exclude",
        tree(&scratch("COPY --parents --exclude=**/*.log src /app/\n")),
        nested,
    );
    rows.group(
        "parents, more",
        tree(&scratch("COPY --parents src/*.txt README.md /app/\n")),
        &[
            ("match added", |s| s.write("src/z.txt", "")),
            ("other added", |s| s.write("src/z.md", "")),
            ("named file", |s| s.write("README.md", "changed\n")),
            ("chmod parent 700", |s| s.chmod("src", 0o700)),
            ("excluded by .dockerignore", |s| s.write(".dockerignore", "src/a.txt\n")),
        ],
    );
    rows.group(
        "link flag",
        tree(&scratch("COPY --link src/a.txt /app/\n")),
        &[
            ("removed", |s| s.replace("Dockerfile", "--link ", "")),
            ("false", |s| s.replace("Dockerfile", "--link ", "--link=false ")),
            ("true", |s| s.replace("Dockerfile", "--link ", "--link=true ")),
            ("content", |s| s.write("src/a.txt", "changed\n")),
            ("beside", |s| s.write("src/b.txt", "changed\n")),
        ],
    );
    rows.group(
        "mode by letters",
        tree(&scratch("COPY --chmod=u=rwX,go=rX src/ /app/\n")),
        &[
            ("chmod +x", |s| s.chmod("src/a.txt", 0o755)),
            ("chmod 664", |s| s.chmod("src/a.txt", 0o664)),
            ("letters", |s| s.replace("Dockerfile", "go=rX", "go=")),
            ("content", |s| s.write("src/a.txt", "changed\n")),
            ("outside", |s| s.write("README.md", "changed\n")),
        ],
    );
    let mut unpack = tree(&scratch("ADD --unpack=false data.tar /app/\n"));
    unpack.write("data.tar", "no archive\n");
    rows.group(
        "unpack",
        unpack,
        &[
            ("content", |s| s.write("data.tar", "changed\n")),
            ("other", |s| s.write("README.md", "changed\n")),
        ],
    );
    let patterns: &[(&str, &str, &str)] = &[
        ("suffix", "**og", "src/x.log"),
        ("suffix, at the root", "**og", "x.log"),
        ("suffix, no match", "**og", "src/a.txt"),
        ("suffix of a directory", "**eep", "src/sub/deep/d.txt"),
        ("prefix", "src/s**", "src/sub/deep/d.txt"),
        ("prefix, no match", "src/s**", "src/a.txt"),
    ];
    for (name, pattern, path) in patterns {
        let mut before = tree(&scratch("COPY . /app/\n"));
        before.write(".dockerignore", format!("{pattern}\n"));
        let mut after = before.clone();
        after.append(path, "changed\n");
        rows.row(format!("later ignore pattern/{name}"), before, after);
    }
}
