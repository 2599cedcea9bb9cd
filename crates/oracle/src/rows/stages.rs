//! Stages: which of them a build reaches, and what their names matter.

use super::{Rows, tree};

const DOCKERFILE: &str = "\
ARG GLOBAL=1
ARG CHOICE=one
FROM scratch AS unused
WORKDIR /@nonce@
ARG UNUSED=1
COPY other/ /other/
FROM scratch AS one
WORKDIR /@nonce@-one
COPY src/a.txt /x
FROM scratch AS two
WORKDIR /@nonce@-two
COPY src/b.txt /x
FROM scratch AS middle
WORKDIR /@nonce@-middle
COPY README.md /readme
FROM ${CHOICE} AS chosen
LABEL chosen=yes
FROM middle AS last
COPY --from=chosen /x /chosen
COPY notes.txt /notes
";

pub(super) fn add(rows: &mut Rows) {
    let state = tree(DOCKERFILE);
    rows.group(
        "stages",
        state.clone(),
        &[
            ("file of an unused stage", |s| s.write("other/o.txt", "changed\n")),
            ("file of a stage not chosen", |s| s.write("src/b.txt", "changed\n")),
            ("instruction of an unused stage", |s| {
                s.replace("Dockerfile", "/other/\n", "/others/\n");
            }),
            ("unused stage removed", |s| {
                let text = s.text("Dockerfile");
                let (start, end) = (
                    text.find("FROM scratch AS unused").unwrap(),
                    text.find("FROM scratch AS one").unwrap(),
                );
                s.write("Dockerfile", format!("{}{}", &text[..start], &text[end..]));
            }),
            ("file that a copied stage reads", |s| s.write("src/a.txt", "changed\n")),
            ("file that the base stage reads", |s| s.write("README.md", "changed\n")),
            ("file that the last stage reads", |s| s.write("notes.txt", "changed\n")),
            ("stage renamed", |s| s.replace("Dockerfile", "middle", "centre")),
            ("last stage renamed", |s| s.replace("Dockerfile", "AS last", "AS final")),
            ("copied stage by number", |s| s.replace("Dockerfile", "--from=chosen", "--from=4")),
            ("copied stage in capitals", |s| {
                s.replace("Dockerfile", "--from=chosen", "--from=CHOSEN");
            }),
            ("global argument unused", |s| s.replace("Dockerfile", "GLOBAL=1", "GLOBAL=2")),
            ("global argument unused, given", |s| s.arg("GLOBAL", "2")),
            ("argument of an unused stage", |s| s.arg("UNUSED", "2")),
            ("argument that chooses", |s| s.arg("CHOICE", "two")),
            ("argument that chooses the default", |s| s.arg("CHOICE", "one")),
            ("argument not declared", |s| s.arg("OTHER", "1")),
            ("stage added behind", |s| s.append("Dockerfile", "FROM scratch\nCOPY x.log /\n")),
            ("target is the last stage", |s| s.target = Some("last".to_owned())),
            ("target is another", |s| s.target = Some("middle".to_owned())),
            ("target in capitals", |s| s.target = Some("LAST".to_owned())),
        ],
    );
    let mut target = state;
    target.target = Some("middle".to_owned());
    rows.group(
        "target",
        target,
        &[
            ("file of a later stage", |s| s.write("notes.txt", "changed\n")),
            ("file of an earlier stage", |s| s.write("src/a.txt", "changed\n")),
            ("its own file", |s| s.write("README.md", "changed\n")),
            ("argument of a later stage", |s| s.arg("CHOICE", "two")),
        ],
    );
    let copied = tree(
        "FROM scratch AS tool\nWORKDIR /@nonce@\nCOPY src/ /src/\nFROM scratch\nWORKDIR /@nonce@\n\
         COPY --from=tool /src/a.txt /a\n",
    );
    rows.group(
        "part of a stage",
        copied,
        &[
            ("the part", |s| s.write("src/a.txt", "changed\n")),
            ("another part", |s| s.write("src/b.txt", "changed\n")),
        ],
    );
}
