//! Build arguments and variables, as far as they need no command.

use super::{Rows, scratch, tree};

pub(super) fn add(rows: &mut Rows) {
    let dockerfile = scratch(
        "ARG FILE=a.txt\nARG SPARE=1\nENV DIR=src\nCOPY $DIR/${FILE} /app/\nLABEL spare=1\n",
    );
    rows.group(
        "variable",
        tree(&dockerfile),
        &[
            ("chooses a source by default", |s| {
                s.replace("Dockerfile", "FILE=a.txt", "FILE=b.txt");
            }),
            ("chooses a source, given", |s| s.arg("FILE", "b.txt")),
            ("given as by default", |s| s.arg("FILE", "a.txt")),
            ("the source it chooses", |s| s.write("src/a.txt", "changed\n")),
            ("beside the source it chooses", |s| s.write("src/b.txt", "changed\n")),
            ("outside of it", |s| s.write("README.md", "changed\n")),
            ("environment changes the source", |s| s.replace("Dockerfile", "DIR=src", "DIR=./src")),
            ("declared before a copy, given", |s| s.arg("SPARE", "2")),
            ("declared before a copy, default", |s| s.replace("Dockerfile", "SPARE=1", "SPARE=2")),
            ("declaration removed", |s| s.replace("Dockerfile", "ARG SPARE=1\n", "")),
            ("not declared", |s| s.arg("OTHER", "1")),
            ("proxy", |s| s.arg("HTTP_PROXY", "http://proxy.example:3128")),
        ],
    );
    let later = scratch("COPY src/a.txt /app/\nARG LATER=1\nLABEL version=$LATER\n");
    rows.group(
        "argument in a label",
        tree(&later),
        &[
            ("given", |s| s.arg("LATER", "2")),
            ("given as by default", |s| s.arg("LATER", "1")),
            ("empty", |s| s.arg("LATER", "")),
        ],
    );
    let forms = scratch("ARG A\nARG B=b\nENV E=${A:-src}\nCOPY ${E}/${A:+$A/}${B}.txt /app/\n");
    rows.group(
        "expansion",
        tree(&forms),
        &[
            ("default in use", |s| s.write("src/b.txt", "changed\n")),
            ("default in use, beside", |s| s.write("src/a.txt", "changed\n")),
            ("other default", |s| s.replace("Dockerfile", "B=b", "B=a")),
            ("empty as absent", |s| s.arg("A", "")),
        ],
    );
    let platform = scratch("ARG TARGETARCH\nCOPY src/$TARGETARCH.txt /app/\n");
    let mut platform = tree(&platform);
    platform.write("src/amd64.txt", "amd64\n");
    platform.write("src/arm64.txt", "arm64\n");
    rows.group(
        "platform",
        platform,
        &[
            ("its file", |s| s.write("src/amd64.txt", "changed\n")),
            ("file of another", |s| s.write("src/arm64.txt", "changed\n")),
            ("another", |s| s.platform = "linux/arm64".to_owned()),
        ],
    );
    rows.group(
        "platform, only copied",
        tree(&scratch("COPY src/ /app/\n")),
        &[("another", |s| s.platform = "linux/arm64".to_owned())],
    );
}
