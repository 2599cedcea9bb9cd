//! The Dockerfile's text: what is formatting, and what only changes the image's configuration.

use super::{Rows, scratch, tree};

pub(super) fn add(rows: &mut Rows) {
    let dockerfile =
        scratch("COPY src/ \\\n    /app/\nENV A=1 \\\n    B=2\nCMD [\"/app/run.sh\"]\n");
    rows.group(
        "formatting",
        tree(&dockerfile),
        &[
            ("comment in front", |s| s.prepend("Dockerfile", "# comment\n")),
            ("comment at the end", |s| s.append("Dockerfile", "# comment\n")),
            ("comment in between", |s| {
                s.replace("Dockerfile", "ENV A", "# comment\n  # more\nENV A");
            }),
            ("comment in a continuation", |s| {
                s.replace("Dockerfile", "A=1 \\\n", "A=1 \\\n# comment\n");
            }),
            ("blank line in a continuation", |s| s.replace("Dockerfile", "A=1 \\\n", "A=1 \\\n\n")),
            ("blank lines", |s| s.replace("Dockerfile", "\nENV", "\n\n\nENV")),
            ("no line feed at the end", |s| s.write("Dockerfile", s.text("Dockerfile").trim_end())),
            ("carriage returns", |s| s.replace("Dockerfile", "\n", "\r\n")),
            ("byte order mark", |s| s.prepend("Dockerfile", "\u{feff}")),
            ("keywords in lower case", |s| {
                s.replace("Dockerfile", "COPY", "copy");
                s.replace("Dockerfile", "FROM", "from");
                s.replace("Dockerfile", "ENV", "Env");
            }),
            ("indentation", |s| s.replace("Dockerfile", "COPY", "  COPY")),
            ("blanks between words", |s| s.replace("Dockerfile", "src/ \\", "src/    \\")),
            ("continuation joined", |s| {
                s.replace("Dockerfile", "src/ \\\n    /app/", "src/ /app/");
            }),
            ("blanks at the end", |s| s.replace("Dockerfile", "B=2\n", "B=2  \n")),
            ("escape directive, unused", |s| s.prepend("Dockerfile", "# escape=\\\n")),
            ("escape character", |s| {
                s.replace("Dockerfile", "\\\n", "`\n");
                s.prepend("Dockerfile", "# escape=`\n");
            }),
            ("blanks in JSON", |s| {
                s.replace("Dockerfile", "[\"/app/run.sh\"]", "[ \"/app/run.sh\" ]");
            }),
            ("value quoted", |s| s.replace("Dockerfile", "A=1", "A=\"1\"")),
            ("name of the Dockerfile", |s| {
                s.rename("Dockerfile", "other.Dockerfile");
                s.dockerfile = "other.Dockerfile".to_owned();
            }),
            ("unknown instruction", |s| s.append("Dockerfile", "NONSENSE x\n")),
            ("nothing left", |s| s.write("Dockerfile", "# only a comment\n")),
        ],
    );
    rows.group(
        "configuration",
        tree(&scratch("COPY src/a.txt /app/\nENV A=1\nLABEL l=1\n")),
        &[
            ("LABEL", |s| s.append("Dockerfile", "LABEL x=1\n")),
            ("LABEL changed", |s| s.replace("Dockerfile", "l=1", "l=2")),
            ("ENV", |s| s.append("Dockerfile", "ENV B=1\n")),
            ("ENV changed", |s| s.replace("Dockerfile", "A=1", "A=2")),
            ("ENV in the old form", |s| s.replace("Dockerfile", "A=1", "A 1")),
            ("ENV before a copy", |s| s.replace("Dockerfile", "COPY", "ENV C=1\nCOPY")),
            ("CMD", |s| s.append("Dockerfile", "CMD [\"x\"]\n")),
            ("CMD for a shell", |s| s.append("Dockerfile", "CMD x\n")),
            ("ENTRYPOINT", |s| s.append("Dockerfile", "ENTRYPOINT [\"x\"]\n")),
            ("USER", |s| s.append("Dockerfile", "USER 1000\n")),
            ("EXPOSE", |s| s.append("Dockerfile", "EXPOSE 80\n")),
            ("VOLUME", |s| s.append("Dockerfile", "VOLUME /data\n")),
            ("STOPSIGNAL", |s| s.append("Dockerfile", "STOPSIGNAL SIGINT\n")),
            ("HEALTHCHECK", |s| s.append("Dockerfile", "HEALTHCHECK CMD x\n")),
            ("SHELL", |s| s.append("Dockerfile", "SHELL [\"/bin/x\", \"-c\"]\n")),
            ("ONBUILD", |s| s.append("Dockerfile", "ONBUILD LABEL y=1\n")),
            ("MAINTAINER", |s| s.append("Dockerfile", "MAINTAINER someone\n")),
            ("WORKDIR", |s| s.append("Dockerfile", "WORKDIR /work\n")),
            ("order of LABEL and ENV", |s| {
                s.replace("Dockerfile", "ENV A=1\nLABEL l=1\n", "LABEL l=1\nENV A=1\n");
            }),
        ],
    );
}
