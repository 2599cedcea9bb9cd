use dockit_hashing::content_hash::ContentHash;

use super::{Options, program};

const PLAIN: &str = "\
FROM a AS build
ARG V=1
RUN make  all && \\
    make install
COPY --chown=1:1 src/ lib/ /dst/
FROM b
ENV A=1 B=2
COPY --from=build /out /
CMD [\"x\", \"y\"]
";

#[test]
fn what_buildkit_does_not_see_does_not_change_the_program() {
    let base = program(PLAIN);
    let edits: &[(&str, &str, &str)] = &[
        ("comment", "RUN make", "# why\nRUN make"),
        ("blank line", "RUN make", "\n\nRUN make"),
        ("indentation", "RUN make", "  \tRUN make"),
        ("keyword case", "RUN make", "run make"),
        ("keyword case of FROM", "FROM a AS", "from a as"),
        ("comment in a continuation", "&& \\\n", "&& \\\n# why\n"),
        ("blank line in a continuation", "&& \\\n", "&& \\\n\n"),
        ("blanks after a continuation", "&& \\\n", "&& \\ \t\n"),
        ("blanks between words", "src/ lib/ /dst/", "src/   lib/\t/dst/"),
        ("blanks after the keyword", "COPY --chown", "COPY    --chown"),
        ("quotes around a flag's value", "--chown=1:1", "--chown=\"1:1\""),
        ("check directive", "FROM a AS", "# check=skip=all\nFROM a AS"),
        (
            "escape directive that changes nothing",
            "FROM a AS build",
            "# escape=\\\nFROM a AS build",
        ),
        ("late syntax directive", "FROM b", "# syntax=example/frontend\nFROM b"),
        ("unreachable stage", "FROM b\n", "FROM c\nRUN d\nFROM b\n"),
        ("unused global argument", "FROM a AS", "ARG UNUSED=1\nFROM a AS"),
        ("index for a name", "--from=build", "--from=0"),
        ("case of a stage's name", "--from=build", "--from=BUILD"),
    ];
    for (what, from, to) in edits {
        assert!(PLAIN.contains(from), "{what}");
        assert_eq!(program(&PLAIN.replacen(from, to, 1)), base, "{what}");
    }
    assert_eq!(program(&PLAIN.replace('\n', "\r\n")), base, "line endings");
    assert_eq!(program(&PLAIN.replace("build", "other")), base, "name of a stage");
    assert_eq!(program(&format!("\u{feff}{PLAIN}")), base, "byte order mark");
    let lower = PLAIN.lines().map(|line| {
        let (word, rest) = line.split_once(' ').unwrap();
        let line = if line.starts_with(' ') {
            line.to_owned()
        } else {
            format!("{} {rest}", word.to_lowercase())
        };
        line + "\n"
    });
    assert_eq!(program(&lower.collect::<String>()), base, "lower case");
}

#[test]
fn what_buildkit_sees_changes_the_program() {
    let edits: &[(&str, &str, &str)] = &[
        ("inner blanks of RUN", "make  all", "make all"),
        ("indentation within RUN", "    make install", "  make install"),
        ("shell or exec form", "CMD [\"x\", \"y\"]", "CMD x y"),
        ("order of sources", "src/ lib/", "lib/ src/"),
        ("destination", "/dst/", "/dst2/"),
        ("ADD for COPY", "COPY --chown", "ADD --chown"),
        ("flag", "--chown=1:1", "--chown=1:2"),
        ("further flag", "--chown=1:1", "--chown=1:1 --link"),
        ("ENV", "A=1", "A=2"),
        ("ENV boundary", "A=1 B=2", "A=\"1 B=2\""),
        ("default", "V=1", "V=2"),
        ("no default", "ARG V=1", "ARG V"),
        ("instruction", "ENV A", "LABEL x=y\nENV A"),
        ("unreferenced argument", "RUN make", "ARG X\nRUN make"),
        ("base is a stage", "FROM b", "FROM build"),
        ("source is an image", "--from=build", "--from=image"),
        ("platform", "FROM b", "FROM --platform=linux/arm64 b"),
        ("frontend", "FROM a AS", "# syntax=docker/dockerfile:1\nFROM a AS"),
    ];
    let base = program(PLAIN);
    let mut programs = vec![base];
    for (what, from, to) in edits {
        assert!(PLAIN.contains(from), "{what}");
        let changed = program(&PLAIN.replacen(from, to, 1));
        assert!(!programs.contains(&changed), "{what}");
        programs.push(changed);
    }
}

/// An image-config instruction changes the image though no step runs again.
#[test]
fn instructions_that_only_configure_the_image_count() {
    let mut programs = vec![program("FROM a\n")];
    for line in [
        "LABEL a=b",
        "LABEL a=c",
        "CMD x",
        "ENTRYPOINT x",
        "ENTRYPOINT []",
        "ENTRYPOINT [\"x\"]",
        "EXPOSE 80",
        "USER x",
        "VOLUME /x",
        "VOLUME [\"/x\"]",
        "WORKDIR /x",
        "STOPSIGNAL TERM",
        "SHELL [\"x\"]",
        "ONBUILD RUN x",
        "ONBUILD COPY x y",
        "HEALTHCHECK NONE",
        "HEALTHCHECK CMD x",
        "HEALTHCHECK CMD [\"x\"]",
        "HEALTHCHECK --interval=1s CMD x",
        "MAINTAINER x",
        "ENV a=b",
        "ENV a b",
    ] {
        let changed = program(&format!("FROM a\n{line}\n"));
        let same = line == "ENV a b";
        assert_eq!(programs.contains(&changed), same, "{line}");
        programs.push(changed);
    }
}

#[test]
fn the_target_decides_what_counts() {
    let mid = Options::target("mid");
    let text = "FROM a AS mid\nRUN x\nFROM mid\nCOPY src /\n";
    let later = text.replace("src", "other");
    assert_eq!(mid.program(text), mid.program(&later));
    assert_ne!(program(text), program(&later));
    assert_ne!(program(text), mid.program(text));
}

#[test]
fn heredocs_count_to_the_byte() {
    let text = "FROM a\nCOPY <<EOF /dst\nline\n# not a comment\nEOF\n";
    let mut programs = vec![program(text)];
    for (what, changed) in [
        ("body", text.replace("line", "Line")),
        ("comment line in a body", text.replace("# not a comment\n", "")),
        ("delimiter, which is the file's name", text.replace("EOF", "END")),
        ("quoted delimiter", text.replacen("<<EOF", "<<'EOF'", 1)),
        ("stripped tabs", text.replacen("<<EOF", "<<-EOF", 1)),
        ("line endings of a body", text.replace("line\n", "line\r\n")),
        ("blank line in a body", text.replace("line\n", "line\n\n")),
    ] {
        let changed = program(&changed);
        assert!(!programs.contains(&changed), "{what}");
        programs.push(changed);
    }
}

#[test]
fn the_escape_token_counts_where_it_is_used() {
    let with = |line: &str| format!("# escape=`\nFROM a\n{line}\n");
    let without = |line: &str| format!("FROM a\n{line}\n");
    for (line, same) in [
        ("ENV A=b", true),
        ("RUN dir c:\\x", true),
        ("CMD echo `x` y", true),
        ("ENV A=c:\\x", false),
        ("COPY a`b /", false),
        ("WORKDIR c:\\x", false),
        ("ONBUILD ENV A=c:\\x", false),
    ] {
        assert_eq!(program(&with(line)) == program(&without(line)), same, "{line}");
    }
}

#[test]
fn names_of_images_and_values_of_arguments_are_not_in_the_program() {
    let text =
        "ARG TAG=1\nFROM a:$TAG\nARG V\nCOPY --from=b /x /\nRUN --mount=from=c,target=/c x\n";
    let other = text.replace("a:", "z:").replace("=b ", "=y ").replace("=c,", "=x,");
    assert_eq!(program(text), program(&other));
    let given = Options::args(&[("TAG", "2"), ("V", "3")]);
    assert_eq!(given.program(text), program(text));
}

#[test]
fn an_argument_that_chooses_a_stage_or_a_platform_changes_the_program() {
    let text = "ARG S=one\nFROM a AS one\nFROM a AS two\nRUN x\nFROM $S\n";
    assert_ne!(Options::args(&[("S", "two")]).program(text), program(text));
    // The reachable stage is alike, but for its name.
    let alike = "ARG S=one\nFROM a AS one\nFROM a AS two\nFROM $S\n";
    assert_eq!(Options::args(&[("S", "two")]).program(alike), program(alike));
    let platform = "ARG P=linux/amd64\nFROM --platform=$P a\n";
    assert_ne!(Options::args(&[("P", "linux/arm64")]).program(platform), program(platform));
}

/// The text of the trigger is the same, but not the stage that it means.
#[test]
fn a_trigger_counts_with_the_stage_that_it_means() {
    let text = |one: &str, two: &str| {
        format!(
            "FROM a AS parent\nONBUILD COPY --from=x /f /\nFROM a AS {one}\nRUN 1\nFROM a AS {two}\nRUN 2\n\
             FROM parent\nCOPY --from=1 /g /\nCOPY --from=2 /g /\n"
        )
    };
    assert_ne!(program(&text("x", "y")), program(&text("y", "x")));
}

/// The image's configuration holds the text, not its meaning.
#[test]
fn a_trigger_counts_as_it_is_written() {
    let key = |trigger: &str| program(&format!("FROM a\nONBUILD {trigger}\n"));
    for (one, other) in [
        ("RUN  x", "RUN x"),
        ("run x", "RUN x"),
        ("COPY   a   b", "COPY a b"),
        ("ENV a b", "ENV a=b"),
        ("COPY --chown=\"1\" a b", "COPY --chown=1 a b"),
    ] {
        assert_ne!(key(one), key(other), "{one}");
    }
}

#[test]
fn mounts_count_with_their_fields_and_the_stage_they_mean() {
    let text = "FROM a AS x\nRUN 1\nFROM a AS y\nRUN 2\nFROM b\nRUN --mount=from=x,target=/t --mount=from=y,target=/u z\n";
    let swapped =
        text.replace("from=x", "from=?").replace("from=y", "from=x").replace("from=?", "from=y");
    let id = text.replace("target=/t", "target=/t,id=1");
    assert_ne!(program(text), program(&swapped));
    assert_ne!(program(text), program(&id));
}

/// The documented format, written out by hand.
#[test]
fn the_format_is_as_documented() {
    fn number(out: &mut Vec<u8>, number: u64) {
        out.extend_from_slice(&number.to_le_bytes());
    }
    fn string(out: &mut Vec<u8>, text: &str) {
        number(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    fn step(keyword: &str) -> Vec<u8> {
        let mut out = Vec::new();
        string(&mut out, "dockit-instruction-1");
        string(&mut out, keyword);
        out.push(0); // the usual escape token
        out
    }
    let mut arg = step("arg");
    number(&mut arg, 0);
    arg.push(4);
    number(&mut arg, 2);
    string(&mut arg, "A");
    arg.push(0);
    string(&mut arg, "B");
    arg.push(1);
    string(&mut arg, "1");
    number(&mut arg, 0);

    let mut run = step("run");
    number(&mut run, 1);
    run.push(2); // --mount
    number(&mut run, 2);
    string(&mut run, "");
    string(&mut run, "target=/m");
    run.push(1);
    number(&mut run, 0);
    run.push(2);
    number(&mut run, 2);
    run.push(0);
    string(&mut run, "cat <<E");
    number(&mut run, 1);
    string(&mut run, "E");
    run.extend([1, 0]);
    string(&mut run, "x\n");

    let mut copy = step("copy");
    number(&mut copy, 2);
    copy.push(1); // --from
    copy.push(1);
    number(&mut copy, 0);
    copy.push(0);
    string(&mut copy, "--link");
    copy.push(1);
    number(&mut copy, 2);
    string(&mut copy, "/f");
    string(&mut copy, "/");
    number(&mut copy, 0);

    let mut out = Vec::new();
    string(&mut out, "dockit-program-1");
    number(&mut out, 1); // a frontend
    string(&mut out, "");
    number(&mut out, 2); // stages
    number(&mut out, 2); // on an image
    number(&mut out, 1);
    number(&mut out, 0); // no platform
    number(&mut out, 0); // no triggers
    number(&mut out, 2);
    out.extend(ContentHash::of(&arg).as_bytes());
    out.extend(ContentHash::of(&run).as_bytes());
    number(&mut out, 0); // second stage, on scratch
    number(&mut out, 1);
    string(&mut out, "linux/amd64");
    number(&mut out, 0);
    number(&mut out, 1);
    out.extend(ContentHash::of(&copy).as_bytes());

    let text = "# syntax=docker/dockerfile:1\nFROM a AS s\nARG A B=1\n\
                RUN --mount=from=c,target=/m cat <<E\nx\nE\n\
                FROM --platform=linux/amd64 scratch\nCOPY --from=s --link /f /\n";
    assert_eq!(program(text), ContentHash::of(&out));
}
