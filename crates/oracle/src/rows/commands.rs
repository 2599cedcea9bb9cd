//! Commands: their text, their environment, and what they mount.

use super::{Change, Rows, shell, tree};

pub(super) fn add(rows: &mut Rows) {
    let dockerfile = shell(
        "ARG DECLARED=1\nCOPY src/a.txt /app/\nRUN echo \"$DECLARED\"  x \\\n  > /out\nARG LATER=1\nCMD [\"x\"]\n",
    );
    rows.group(
        "command",
        tree(&dockerfile),
        &[
            ("text", |s| s.replace("Dockerfile", "/out", "/output")),
            ("blanks inside", |s| s.replace("Dockerfile", "  x ", " x ")),
            ("blanks of a continuation", |s| s.replace("Dockerfile", "\n  > /out", "\n > /out")),
            ("comment in a continuation", |s| {
                s.replace("Dockerfile", "\n  > /out", "\n# comment\n  > /out");
            }),
            ("keyword in lower case", |s| s.replace("Dockerfile", "RUN", "run")),
            ("blanks behind the keyword", |s| s.replace("Dockerfile", "RUN echo", "RUN   echo")),
            ("as JSON", |s| {
                s.replace(
                    "Dockerfile",
                    "RUN echo \"$DECLARED\"  x \\\n  > /out",
                    "RUN [\"/bin/sh\", \"-c\", \"echo x\"]",
                );
            }),
            ("file copied before", |s| s.write("src/a.txt", "changed\n")),
            ("file beside", |s| s.write("src/b.txt", "changed\n")),
            ("argument given", |s| s.arg("DECLARED", "2")),
            ("argument given as by default", |s| s.arg("DECLARED", "1")),
            ("default of an argument", |s| s.replace("Dockerfile", "DECLARED=1", "DECLARED=2")),
            ("argument that nothing mentions", |s| {
                s.replace("Dockerfile", "ARG DECLARED", "ARG SPARE=1\nARG DECLARED");
            }),
            ("argument declared later", |s| s.arg("LATER", "2")),
            ("argument not declared", |s| s.arg("OTHER", "2")),
            ("proxy", |s| s.arg("HTTP_PROXY", "http://proxy.example:3128")),
            ("proxy declared", |s| {
                s.replace("Dockerfile", "ARG DECLARED", "ARG HTTP_PROXY\nARG DECLARED");
                s.arg("HTTP_PROXY", "http://proxy.example:3128");
            }),
            ("environment before", |s| s.replace("Dockerfile", "RUN", "ENV E=1\nRUN")),
            ("environment after", |s| s.append("Dockerfile", "ENV E=1\n")),
            ("user before", |s| s.replace("Dockerfile", "RUN", "USER 0:1\nRUN")),
            ("directory before", |s| s.replace("Dockerfile", "RUN", "WORKDIR /tmp\nRUN")),
            ("label before", |s| s.replace("Dockerfile", "RUN", "LABEL l=1\nRUN")),
            ("shell before", |s| {
                s.replace("Dockerfile", "RUN", "SHELL [\"/bin/sh\", \"-ec\"]\nRUN");
            }),
            ("command of the image", |s| s.replace("Dockerfile", "CMD [\"x\"]", "CMD [\"y\"]")),
            ("network", |s| s.replace("Dockerfile", "RUN", "RUN --network=none")),
            ("security", |s| s.replace("Dockerfile", "RUN echo", "RUN --security=sandbox echo")),
            ("cache mount", |s| s.replace("Dockerfile", "RUN", "RUN --mount=type=cache,target=/c")),
        ],
    );
    rows.group(
        "same bytes again",
        tree(&shell("COPY src/ /in/\nRUN wc -l /in/a.txt > /out\n")),
        &[("what the command reads", |s| s.append("src/a.txt", "more\n"))],
    );
    let mounts =
        |mount: &str| tree(&shell(&format!("RUN --mount={mount} cat /m/*.txt > /out; true\n")));
    let changes: &[Change] = &[
        ("file", |s| s.write("src/a.txt", "changed\n")),
        ("file added", |s| s.write("src/new.txt", "")),
        ("file deep down", |s| s.write("src/sub/deep/d.txt", "changed\n")),
        ("file outside", |s| s.write("README.md", "changed\n")),
        ("touch", |s| s.touch("src/a.txt")),
    ];
    rows.group("mount of the context", mounts("type=bind,target=/m"), changes);
    rows.group("mount of a directory", mounts("type=bind,source=src,target=/m"), changes);
    rows.group("mount without a type", mounts("source=src,target=/m"), changes);
    rows.group("mount, writable", mounts("type=bind,source=src,target=/m,rw"), changes);
    rows.group("mount of a file", mounts("source=src/a.txt,target=/m/a.txt"), changes);
    rows.group("mount in memory", mounts("type=tmpfs,target=/m"), changes);
    rows.group(
        "cache",
        mounts("type=cache,id=one,target=/m"),
        &[
            ("file", |s| s.write("src/a.txt", "changed\n")),
            ("another one", |s| s.replace("Dockerfile", "id=one", "id=two")),
            ("another place", |s| s.replace("Dockerfile", "target=/m", "target=/n")),
        ],
    );
    let from = tree(
        "FROM scratch AS tool\nWORKDIR /@nonce@\nCOPY src/ /src/\nFROM @base@\nWORKDIR /@nonce@\n\
         RUN --mount=from=tool,source=/src,target=/m cat /m/*.txt > /out\n",
    );
    rows.group("mount of a stage", from, changes);
}
