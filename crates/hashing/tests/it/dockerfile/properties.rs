use dockit_hashing::dockerfile::{
    Dockerfile, ImageConfig, ResolvedDockerfile, StageBase, StepKind,
};
use proptest::prelude::*;

use super::Options;

/// Logical lines that make a Dockerfile in any order after the first; `{}` is a reference.
const LINES: &[&str] = &[
    "FROM image:${TAG} AS one",
    "FROM --platform=$P one AS two",
    "FROM scratch",
    "COPY --from=one --chown=1:1 a b /c/",
    "COPY --from='other/image:1' [\"a b\", \"/c/\"]",
    "COPY --from=0 x y",
    "RUN --mount=type=cache,target=/c --mount=from=img@sha256:aa,target=/t make \\\n  && x",
    "RUN --mount='type=bind,\"from=img\"',target=/t make",
    "RUN [\"a\", \"b\"]",
    "RUN cat <<EOF <<-'END' > /x\nFROM body\n# c\n\nEOF\n\tCOPY \\\n\tEND",
    "COPY <<\"f g\" /d/\n$X `y`\nf g",
    "ENV A=1 B=\"$A ${C:-d}\" \\\n    C='x y'",
    "ENV OLD style",
    "ARG TAG=1 P",
    "ARG Q=${TAG%.*}",
    "LABEL a=b \"c d\"=e",
    "ONBUILD COPY --from=one a b",
    "HEALTHCHECK --interval=1s CMD x || y",
    "CMD echo \"$A\" \\\\ ",
    "ENTRYPOINT []",
    "SHELL [\"/bin/bash\", \"-c\"]",
    "EXPOSE 80 443/udp",
    "VOLUME /a /b",
    "WORKDIR /a/\\ b",
    "USER 1:1",
];

fn dockerfile() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::collection::vec(proptest::sample::select(LINES), 0..12).prop_map(|mut lines| {
        lines.insert(0, "ARG TAG=1");
        lines.insert(1, "ARG P=linux/amd64");
        lines.insert(2, "FROM image AS one");
        lines
    })
}

/// Text with a few pieces replaced by others that mean something to the parser.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&str> = vec![
        "\n",
        "\r\n",
        "\\\n",
        "\\",
        "`",
        "\"",
        "'",
        "$",
        "${",
        "}",
        "<<",
        "<<-E",
        "=",
        ",",
        "--",
        "--from=",
        "--mount=",
        "#",
        "# escape=`\n",
        "[",
        "]",
        " ",
        "\t",
        "\u{85}",
        "\u{feff}",
        "ä",
        "\0",
        "FROM ",
        "ONBUILD ",
        "AS",
        ":-",
        "/",
        "%",
        "##",
    ];
    let edits = proptest::collection::vec(
        (any::<proptest::sample::Index>(), 0_usize..4, proptest::sample::select(pieces)),
        0..6,
    );
    (dockerfile(), edits).prop_map(|(lines, edits)| {
        let mut bytes = lines.join("\n").into_bytes();
        for (at, removed, piece) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, piece.bytes());
        }
        bytes
    })
}

/// Everything that can be asked of a Dockerfile.
fn exercise(bytes: &[u8]) {
    let Ok(dockerfile) = Dockerfile::parse(bytes) else {
        return;
    };
    let Ok(resolved) = Options::args(&[("TAG", "2")]).resolve(&dockerfile) else {
        return;
    };
    evaluate(&resolved);
    let program = resolved.program().hash();
    let unchanged = resolved.rewrite(&mut |_, _| None);
    assert_eq!(unchanged, bytes);
    for used in resolved.image_uses() {
        assert!(used.line >= 1);
    }
    let plain = |name: &str| {
        !name.is_empty()
            && name.chars().all(|ch| ch.is_ascii_alphanumeric() || "./:@-_".contains(ch))
    };
    if !resolved.image_uses().iter().all(|used| plain(&used.name)) {
        return;
    }
    let rewritten = resolved.rewrite(&mut |_, used| Some(used.name.clone()));
    let again = Dockerfile::parse(&rewritten).unwrap();
    let again = Options::args(&[("TAG", "2")]).resolve(&again).unwrap();
    assert_eq!(again.program().hash(), program, "{}", String::from_utf8_lossy(&rewritten));
    let names = |uses: &[dockit_hashing::dockerfile::ImageUse]| {
        uses.iter().map(|used| used.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(again.image_uses()), names(resolved.image_uses()));
}

/// Says what every stage does. Arguments have the values that are in the key, unless a base decides.
fn evaluate(resolved: &ResolvedDockerfile<'_>) {
    let env = ["BASE=1".to_owned(), "TAG=base".to_owned()];
    let triggers = ["ARG Q=$BASE".to_owned(), "COPY <<E /${TAG}\n$Q\nE".to_owned()];
    let base = ImageConfig::from_oci(&env, &triggers);
    resolved.first_command(&|_| Some(base.clone()));
    let mut evaluation = resolved.evaluation();
    for position in 0..evaluation.stages().len() {
        let of_image = matches!(evaluation.stages()[position].base, StageBase::Image(_));
        let Ok(steps) = evaluation.stage(position, &base) else { return };
        for step in steps.iter().skip(if of_image { triggers.len() } else { 0 }) {
            assert!(step.line >= 1);
            let StepKind::Arg(arguments) = &step.kind else { continue };
            for (name, value) in arguments {
                let mut known = resolved.args().iter().filter(|(known, _)| known == name);
                assert!(
                    known.any(|(_, known)| known == value || known.is_none()),
                    "{name}={value:?} is not in {:?}",
                    resolved.args()
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        exercise(&bytes);
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "(FROM|RUN|COPY|ARG|ENV|#|<<|\\$\\{|[\\PC\n]){0,40}") {
        exercise(text.as_bytes());
    }

    /// Also: a Dockerfile that is rewritten to the names that it has means the same as before.
    #[test]
    fn damaged_dockerfiles_are_parsed_or_refused(bytes in mutated()) {
        exercise(&bytes);
    }

    #[test]
    fn comments_blank_lines_and_line_endings_do_not_change_the_program(
        lines in dockerfile(),
        noise in proptest::collection::vec(
            proptest::sample::select(&["", "# c", " # c \\", "\n", "#FROM x", "# syntax=x/y"][..]),
            15,
        ),
        carriage_returns in any::<bool>(),
    ) {
        let plain = lines.join("\n");
        let mut noisy = String::new();
        for (line, noise) in lines.iter().zip(noise) {
            let has_heredoc = line.contains("<<");
            let line = if carriage_returns && !has_heredoc { line.replace('\n', "\r\n") } else { (*line).to_owned() };
            let end = if carriage_returns { "\r\n" } else { "\n" };
            // In a continuation, too.
            let line = if has_heredoc { line } else { line.replace("\\\n", &format!("\\\n{noise}\n")) };
            noisy.push_str(&line);
            noisy.push_str(end);
            noisy.push_str(noise);
            noisy.push_str(end);
        }
        let Ok(plain) = Dockerfile::parse(plain.as_bytes()) else { return Ok(()) };
        let noisy = Dockerfile::parse(noisy.as_bytes()).unwrap();
        let options = Options::default();
        match (options.resolve(&plain), options.resolve(&noisy)) {
            (Ok(plain), Ok(noisy)) => prop_assert_eq!(plain.program().hash(), noisy.program().hash()),
            (Err(plain), Err(noisy)) => prop_assert_eq!(plain.kind(), noisy.kind()),
            (plain, noisy) => prop_assert!(false, "{plain:?} {noisy:?}"),
        }
    }
}
