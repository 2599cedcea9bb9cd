//! What instructions do, once everything is expanded.

use dockit_hashing::dockerfile::{
    CommandLine, CopySource, CopyStep, DockerfileError, Healthcheck, ImageConfig, StageBase, Step,
    StepKind,
};

use super::{Options, names};

/// Every stage's steps, in words. Images have this configuration.
fn stages(
    options: &Options,
    base: &ImageConfig,
    text: &str,
) -> Result<Vec<Vec<String>>, DockerfileError> {
    options.look(text, |resolved| {
        let mut evaluation = resolved.evaluation();
        (0..evaluation.stages().len())
            .map(|position| {
                let steps = evaluation.stage(position, base)?;
                Ok(steps.iter().map(words).collect())
            })
            .collect()
    })
}

fn base() -> ImageConfig {
    ImageConfig::from_oci(&["B=base".to_owned(), "PATH=/b".to_owned()], &[])
}

/// The steps of a single stage from nothing.
fn steps(instructions: &str) -> Vec<String> {
    let text = format!("FROM scratch\n{instructions}\n");
    let mut stages = stages(&Options::default(), &base(), &text).unwrap();
    stages.pop().unwrap()
}

fn error(instructions: &str) -> String {
    let text = format!("FROM scratch\n{instructions}\n");
    match stages(&Options::default(), &base(), &text) {
        Ok(steps) => panic!("nothing is wrong with {steps:?}"),
        Err(error) => error.to_string(),
    }
}

fn words(step: &Step) -> String {
    let kind = match &step.kind {
        StepKind::Add(step) => format!("ADD {}", copying(step)),
        StepKind::Copy(step) => format!("COPY {}", copying(step)),
        StepKind::Cmd(command) => format!("CMD {}", command_line(command)),
        StepKind::Entrypoint(command) => format!("ENTRYPOINT {}", command_line(command)),
        StepKind::Healthcheck(Healthcheck::None) => "HEALTHCHECK NONE".to_owned(),
        StepKind::Healthcheck(Healthcheck::Command {
            command,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        }) => format!(
            "HEALTHCHECK {interval} {timeout} {start_period} {start_interval} {retries} {}",
            command_line(command)
        ),
        other => format!("{other:?}"),
    };
    format!("{} {kind}", step.line)
}

fn copying(step: &CopyStep) -> String {
    let mut words = Vec::new();
    words.extend(step.from.map(|from| format!("from={from:?}")));
    for (name, value) in [("chown", &step.chown), ("chmod", &step.chmod)] {
        words.extend(value.as_ref().map(|value| format!("{name}={value}")));
    }
    for (name, set) in [("link", step.link), ("parents", step.parents)] {
        words.extend(set.then(|| name.to_owned()));
    }
    words.extend(step.exclude.iter().map(|pattern| format!("exclude={pattern}")));
    words.extend(step.unpack.map(|unpack| format!("unpack={unpack}")));
    words.extend(step.sources.iter().map(|source| match source {
        CopySource::Path(path) => format!("{path:?}"),
        CopySource::Heredoc { name, content } => {
            format!("<<{name}={:?}", String::from_utf8_lossy(content))
        }
    }));
    words.push(format!("{:?}", step.destination));
    words.join(" ")
}

fn command_line(command: &CommandLine) -> String {
    match command {
        CommandLine::Shell(text) => format!("shell {text:?}"),
        CommandLine::Exec(words) => format!("exec {words:?}"),
    }
}

#[test]
fn instructions_are_expanded_as_buildkit_expands_them() {
    for (instructions, expected) in [
        ("ENV A=1 B=$A\nENV C=$A$B", r#"3 Env([("C", "1")])"#),
        ("ENV A=x\nENV $A=1 \"b c\"='$A'", r#"3 Env([("x", "1"), ("b c", "$A")])"#),
        (
            "ENV A b $PATH",
            "2 Env([(\"A\", \"b /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\")])",
        ),
        ("ARG A=1\nLABEL \"l $A\"=${A:+yes}", r#"3 Label([("l 1", "yes")])"#),
        ("ARG A=1 B=$A C", r#"2 Arg([("A", Some("1")), ("B", Some("1")), ("C", None)])"#),
        ("ENV A=1\nMAINTAINER $A", r#"3 Maintainer("$A")"#),
        (
            "ENV P='9 8'\nEXPOSE 1-2 $P/udp 10",
            r#"3 Expose(["9/tcp", "8/udp", "1/tcp", "2/tcp", "10/tcp"])"#,
        ),
        ("ENV A=1\nVOLUME /$A /b", r#"3 Volume(["/1", "/b"])"#),
        ("ENV A=1\nVOLUME [\" /$A b\"]", r#"3 Volume(["/1 b"])"#),
        ("ENV A=1\nUSER $A:${G:-2}", r#"3 User("1:2")"#),
        ("ENV A=1\nWORKDIR \"/a b/\"$A", r#"3 Workdir("/a b/1")"#),
        ("ENV A=INT\nSTOPSIGNAL SIG$A", r#"3 StopSignal("SIGINT")"#),
        ("ENV A=1\nCMD echo $A  \"x\"", r#"3 CMD shell "echo $A  \"x\"""#),
        ("ENV A=1\nCMD [\"echo\", \"$A\"]", r#"3 CMD exec ["echo", "$A"]"#),
        ("ENTRYPOINT [\"a\"", r#"2 ENTRYPOINT shell "[\"a\"""#),
        ("SHELL [\"$A\", \"-c\"]", r#"2 Shell(["$A", "-c"])"#),
        ("RUN [\"a\", \"b c\"]", r#"2 Run("[\"a\",\"b c\"]")"#),
        ("RUN --network=none a  $b", r#"2 Run("a  $b")"#),
        ("ONBUILD  COPY  $A /", r#"2 Onbuild("COPY  $A /")"#),
        ("HEALTHCHECK none", "2 HEALTHCHECK NONE"),
        (
            "HEALTHCHECK --interval=1m --timeout=2s --start-period=3s --start-interval=4ms --retries=5 CMD $A b",
            r#"2 HEALTHCHECK 60000000000 2000000000 3000000000 4000000 5 shell "$A b""#,
        ),
        ("HEALTHCHECK CMD [\"a\"]", r#"2 HEALTHCHECK 0 0 0 0 0 exec ["a"]"#),
    ] {
        assert_eq!(steps(instructions).last().unwrap(), expected, "{instructions}");
    }
}

#[test]
fn copies_are_expanded_but_for_some_flags() {
    for (instruction, expected) in [
        ("COPY $A \"b\" d* /$A/", r#"COPY "1" "b" "d*" "/1/""#),
        ("COPY [\"$A b\", \"/c d\"]", r#"COPY "1 b" "/c d""#),
        ("COPY --chown=$A:2 --chmod=${M:-600} a /", r#"COPY chown=1:2 chmod=600 "a" "/""#),
        ("COPY --chown=$NONE a /", r#"COPY "a" "/""#),
        (
            "COPY --exclude=$A --exclude=*.md --parents a /",
            r#"COPY parents exclude=$A exclude=*.md "a" "/""#,
        ),
        ("COPY --link --parents=false a /", r#"COPY link "a" "/""#),
        ("COPY --link=TRUE a /", r#"COPY link "a" "/""#),
        ("ADD --unpack=false a /", r#"ADD unpack=false "a" "/""#),
        ("ADD --unpack a /", r#"ADD unpack=true "a" "/""#),
        ("COPY --from=scratch a /", r#"COPY from=Scratch "a" "/""#),
        ("COPY git@a /", r#"COPY "git@a" "/""#),
        ("COPY --from= a /", r#"COPY "a" "/""#),
        ("COPY <<x /d/\n$A 'q' \"$A\" \\$A \\n\nx", r#"COPY <<x="1 'q' \"1\" $A n\n" "/d/""#),
        ("COPY <<'x' /d/\n$A \\n\nx", r#"COPY <<x="$A \\n\n" "/d/""#),
        ("COPY <<-x /d/\n\t\ta\n\n \tb\n\tx", r#"COPY <<x="a\n\n \tb\n" "/d/""#),
        ("COPY <<x a <<y b /d/\nX\nx\nY\ny", r#"COPY "a" "b" <<x="X\n" <<y="Y\n" "/d/""#),
        ("COPY <<x <<x /d/\none\nx\ntwo\nx", r#"COPY <<x="two\n" <<x="two\n" "/d/""#),
        ("COPY <<x /d/\nx", r#"COPY <<x="" "/d/""#),
        ("ADD <<x /d/\r\na\r\nx\r\n", r#"ADD <<x="a\r\n" "/d/""#),
    ] {
        let steps = steps(&format!("ENV A=1\n{instruction}"));
        assert_eq!(steps[1], format!("3 {expected}"), "{instruction}");
    }
}

#[test]
fn bytes_in_a_heredoc_that_are_no_text_stay_unless_it_is_expanded() {
    let content = |text: &[u8]| {
        let dockerfile = dockit_hashing::dockerfile::Dockerfile::parse(text).unwrap();
        let options = Options::default();
        let resolved = options.resolve(&dockerfile).unwrap();
        let steps = resolved.evaluation().stage(0, &base()).unwrap();
        match &steps[0].kind {
            StepKind::Copy(CopyStep { sources, .. }) => match &sources[0] {
                CopySource::Heredoc { content, .. } => content.clone(),
                CopySource::Path(path) => panic!("{path}"),
            },
            other => panic!("{other:?}"),
        }
    };
    let quoted = content(b"FROM scratch\nCOPY <<'x' /d/\na\xff\xfeb\0\nx\n");
    assert_eq!(quoted, b"a\xff\xfeb\0\n");
    let expanded = content(b"FROM scratch\nCOPY <<x /d/\na\xff\xfeb\0\nx\n");
    assert_eq!(expanded, "a\u{fffd}\u{fffd}b\0\n".as_bytes());
}

#[test]
fn what_buildkit_refuses_is_an_error_of_its_line() {
    for (instructions, expected) in [
        ("EXPOSE http", "line 2: invalid port \"http\": \"http\" is no number from 0 to 65535"),
        ("EXPOSE 3-2", "line 2: invalid port \"3-2\": the range ends before it begins"),
        ("STOPSIGNAL SIGNOT", "line 2: STOPSIGNAL \"SIGNOT\" is no signal"),
        ("STOPSIGNAL $NONE", "line 2: STOPSIGNAL \"\" is no signal"),
        ("ENV A=1\nVOLUME $NONE", "line 3: VOLUME cannot be an empty string"),
        (
            "HEALTHCHECK --interval=5 CMD a",
            "line 2: --interval=5: this is no duration such as 30s or 1m30s",
        ),
        ("HEALTHCHECK --timeout=1us CMD a", "line 2: --timeout=1us: it cannot be less than 1ms"),
        ("HEALTHCHECK --retries=-1 CMD a", "line 2: --retries=-1: it cannot be negative"),
        ("HEALTHCHECK --retries=x CMD a", "line 2: --retries=x: this is no number"),
        ("COPY http://example.com/a /", "line 2: a source of COPY cannot be a URL"),
        ("COPY a git@example.com:b /", "line 2: a source of COPY cannot be a URL"),
        (
            "ADD --checksum=sha256:0 a /",
            "line 2: --checksum is for what ADD fetches from elsewhere",
        ),
        (
            "COPY [\"<<x\", \"/\"]",
            "line 2: \"<<x\" in a JSON array is a heredoc to some engines only",
        ),
        ("USER ${A:?who}", "line 2: A: who in \"${A:?who}\""),
        ("COPY <<x /\n${A:?what}\nx", "line 2: A: what in \"<<x\""),
    ] {
        assert_eq!(error(instructions), expected, "{instructions}");
    }
}

#[test]
fn a_stage_sees_what_its_base_leaves() {
    let text = "ARG G=global\nFROM base AS a\nARG G X=arg\nENV E=$B$X\nFROM a\nENV F=$E$X$G P=$PATH\nFROM scratch\nENV N=$E$X\nARG G\nCOPY --from=1 --from=a a b\n";
    let text = text.replace(" --from=a a b", " a b\nCOPY --from=a c d\nCOPY --from=img e f");
    let stages = stages(&Options::default(), &base(), &text).unwrap();
    assert_eq!(
        stages,
        [
            vec![
                "3 Arg([(\"G\", Some(\"global\")), (\"X\", Some(\"arg\"))])",
                "4 Env([(\"E\", \"basearg\")])",
            ],
            vec!["6 Env([(\"F\", \"baseargargglobal\"), (\"P\", \"/b\")])"],
            vec![
                "8 Env([(\"N\", \"\")])",
                "9 Arg([(\"G\", Some(\"global\"))])",
                "10 COPY from=Stage(1) \"a\" \"b\"",
                "11 COPY from=Stage(0) \"c\" \"d\"",
                "12 COPY from=Image(1) \"e\" \"f\"",
            ],
        ]
    );
    assert_eq!(names(&text), ["base", "img"]);
}

#[test]
fn triggers_come_first_with_the_lines_of_their_causes() {
    let base = ImageConfig::from_oci(
        &["B=base".to_owned()],
        &["ENV T=$B$PATH".to_owned(), "COPY <<x /$B/\nin $T\nx".to_owned()],
    );
    let text = "FROM base AS a\nONBUILD LABEL l=$T\nFROM a\nUSER $T\n";
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let stages = stages(&Options::default(), &base, text).unwrap();
    assert_eq!(
        stages[0],
        [
            format!("1 Env([(\"T\", \"base{path}\")])"),
            format!("1 COPY <<x=\"in base{path}\\n\" \"/base/\""),
            "2 Onbuild(\"LABEL l=$T\")".to_owned(),
        ]
    );
    assert_eq!(
        stages[1],
        [format!("2 Label([(\"l\", \"base{path}\")])"), format!("4 User(\"base{path}\")")]
    );
}

#[test]
fn what_a_base_decides_has_to_be_known() {
    let options = Options::default();
    let error = |base: &ImageConfig, text: &str| {
        stages(&options, base, text).map_err(|error| error.to_string()).unwrap_err()
    };
    let unknown = ImageConfig::unknown();
    assert_eq!(
        error(&unknown, "FROM scratch AS a\nFROM base\nCOPY --from=a a /\n"),
        "line 2: the configuration of base is not known"
    );
    for trigger in ["COPY --from=x a /", "NOTHING", "COPY a /\nCOPY b /"] {
        let base = ImageConfig::from_oci(&[], &[trigger.to_owned()]);
        let error = error(&base, "ARG A\nFROM base\n");
        assert!(error.starts_with("line 2: ONBUILD "), "{error}");
    }
    // It says nothing about other stages.
    assert!(stages(&options, &unknown, "FROM scratch\nENV A=$PATH\n").is_ok());
}

#[test]
fn arguments_that_are_given_win() {
    let options = Options::args(&[("A", "given"), ("U", "undeclared")]);
    let text = "FROM scratch\nARG A=default\nARG B=$A$U\n";
    let steps = stages(&options, &base(), text).unwrap();
    assert_eq!(
        steps[0],
        ["2 Arg([(\"A\", Some(\"given\"))])", "3 Arg([(\"B\", Some(\"given\"))])"]
    );
}

#[test]
fn other_escape_tokens_do_not_count_in_heredocs() {
    let text = "# escape=`\nFROM scratch\nENV A=1`$\nCOPY <<x c:\\d `\n  /\n\\$A `$A\nx\n";
    let steps = stages(&Options::default(), &base(), text).unwrap();
    assert_eq!(steps[0], ["3 Env([(\"A\", \"1$\")])", r#"4 COPY "c:\\d" <<x="$A `1$\n" "/""#]);
}

#[test]
fn the_first_command_is_found_without_expanding_anything() {
    let with_trigger = ImageConfig::from_oci(
        &[],
        &["NOTHING".to_owned(), "COPY a /".to_owned(), "RUN  trigger  $X".to_owned()],
    );
    let known = |_: usize| Some(with_trigger.clone());
    let unknown = |_: usize| None;
    let first = |text: &str, bases: &dyn Fn(usize) -> Option<ImageConfig>| {
        Options::default().look(text, |resolved| resolved.first_command(bases))
    };
    let found = |line: u32, text: &str| Some((line, text.to_owned()));
    for (text, expected) in [
        ("FROM scratch\nCOPY a /\n", None),
        ("FROM base\nENV A=${B:?}\nRUN make \\\n  all\n", found(3, "make   all")),
        ("FROM scratch\nRUN [\"a\"]\nRUN b\n", found(2, "[\"a\"]")),
        ("FROM scratch AS a\nRUN a\nFROM scratch\nRUN b\n", found(4, "b")),
        ("FROM scratch AS a\nRUN a\nFROM scratch\nCOPY --from=a b c\nRUN b\n", found(2, "a")),
        ("FROM scratch AS a\nONBUILD RUN t\nFROM a\nRUN b\n", found(2, "t")),
        ("FROM scratch AS a\nONBUILD RUN t\n", None),
        ("FROM scratch\nRUN <<x\na\nx\n", found(2, "<<x")),
    ] {
        assert_eq!(first(text, &unknown), expected, "{text}");
    }
    assert_eq!(first("ARG A\nFROM base\nRUN b\n", &known), found(2, "trigger  $X"));
    assert_eq!(first("FROM scratch\nCOPY --from=base a b\n", &known), None);
}

#[test]
fn stages_are_those_of_the_program() {
    let text = "FROM a AS one\nFROM b AS unused\nFROM --platform=linux/arm64 c AS two\nFROM one\nCOPY --from=two a b\n";
    Options::default().look(text, |resolved| {
        let evaluation = resolved.evaluation();
        assert_eq!(evaluation.stages(), resolved.program().stages);
        let bases: Vec<_> = evaluation.stages().iter().map(|stage| stage.base).collect();
        assert_eq!(bases, [StageBase::Image(0), StageBase::Image(1), StageBase::Stage(0)]);
    });
}
