use dockit_hashing::dockerfile::{Dockerfile, DockerfileErrorKind};

use super::{Options, error, names, program};

#[test]
fn errors_name_the_line_and_say_what_is_wrong() {
    for (text, expected) in [
        ("", "line 1: the Dockerfile has no instructions"),
        ("# only a comment\n\n", "line 1: the Dockerfile has no instructions"),
        ("FORM a", "line 1: unknown instruction FORM (did you mean FROM?)"),
        ("FROM a\nRUN x\nXYZZY y", "line 3: unknown instruction XYZZY"),
        ("ARG A\n", "line 1: no build stage in current context: FROM must come first"),
        ("RUN x\nFROM a", "line 1: no build stage in current context: FROM must come first"),
        ("FROM", "line 1: FROM requires one or three arguments"),
        ("FROM a AS", "line 1: FROM requires one or three arguments"),
        ("FROM a FOR b", "line 1: FROM requires one or three arguments"),
        (
            "FROM a AS 1b",
            "line 1: invalid stage name \"1b\": a letter must come first, then letters, digits, '-', '_' and '.'",
        ),
        ("FROM --target=x a", "line 1: unknown flag --target of FROM"),
        (
            "FROM a\nCOPY --form=b /x /y",
            "line 2: unknown flag --form of COPY (did you mean --from?)",
        ),
        ("FROM a\nADD --from=b /x /y", "line 2: unknown flag --from of ADD"),
        ("FROM a\nCOPY --chown /x /y", "line 2: missing a value on flag --chown"),
        ("FROM a\nCOPY --link= /x /y", "line 2: missing a value on flag --link"),
        ("FROM a\nCOPY --link=maybe /x /y", "line 2: flag --link is true or false, not \"maybe\""),
        ("FROM a\nCOPY --from=b --from=c x y", "line 2: duplicate flag --from"),
        (
            "FROM a\nCOPY /x",
            "line 2: COPY requires at least two arguments: sources and a destination",
        ),
        ("FROM a\nCOPY x <<EOF\nEOF\n", "line 2: COPY cannot have a heredoc as destination"),
        ("FROM a\nRUN [\"x\", 1]", "line 2: a JSON array of arguments must hold strings only"),
        ("FROM a\nENV A", "line 2: ENV must have two arguments, or the form name=value"),
        ("FROM a\nENV", "line 2: ENV requires at least one argument"),
        ("FROM a\nENV =b", "line 2: ENV names can not be blank"),
        ("FROM a\nLABEL a=b c", "line 2: no '=' in \"c\": LABEL takes name=value"),
        ("FROM a\nARG", "line 2: ARG requires at least one argument"),
        ("FROM a\nARG =b", "line 2: ARG names can not be blank"),
        ("FROM a\nWORKDIR", "line 2: WORKDIR requires exactly one argument"),
        ("FROM a\nEXPOSE", "line 2: EXPOSE requires at least one argument"),
        ("FROM a\nVOLUME [\"\"]", "line 2: VOLUME cannot be an empty string"),
        ("FROM a\nSHELL sh -c", "line 2: SHELL requires the arguments to be a JSON array"),
        ("FROM a\nHEALTHCHECK PING x", "line 2: unknown type \"PING\" in HEALTHCHECK (try CMD)"),
        ("FROM a\nHEALTHCHECK CMD", "line 2: missing command after HEALTHCHECK CMD"),
        ("FROM a\nONBUILD", "line 2: ONBUILD requires at least one argument"),
        ("FROM a\nONBUILD FROM b", "line 2: FROM is not allowed as a trigger of ONBUILD"),
        ("FROM a\nONBUILD ONBUILD RUN x", "line 2: ONBUILD is not allowed as a trigger of ONBUILD"),
        ("FROM a\nRUN <<EOF\nx\n", "line 2: unterminated heredoc: no line \"EOF\" follows"),
        ("FROM a\nRUN --mount='a,\"b' x", "line 2: unterminated quotes in --mount"),
        ("FROM a\nRUN --mount='a\"b' x", "line 2: stray quote in --mount"),
        ("FROM a\nRUN --mount= x", "line 2: no fields in --mount"),
        ("# escape=x\nFROM a", "line 1: invalid escape token \"x\": neither ` nor \\"),
        ("# escape=`\n# escape=\\\nFROM a", "line 2: only one escape parser directive can be used"),
        ("FROM ${A", "line 1: missing '}' in \"${A\""),
        ("FROM a${A:=b}", "line 1: unsupported modifier \":=\" in substitution in \"a${A:=b}\""),
        ("ARG B\nFROM $B", "line 2: FROM \"$B\" expands to nothing: no value for ARG B"),
        (
            "FROM \"\"",
            "line 1: FROM \"\\\"\\\"\" expands to nothing: it names no ARG that is declared before the first FROM",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn an_instruction_that_is_not_utf8_is_refused_and_a_comment_or_heredoc_body_is_not() {
    assert!(Dockerfile::parse(b"# \xe4\nFROM a\nCOPY <<F /f\n\xe4\nF\n").is_ok());
    let error = Dockerfile::parse(b"FROM a\nLABEL b=\xe4\n").unwrap_err();
    assert_eq!(error.to_string(), "line 2: instruction is not UTF-8");
}

#[test]
fn a_line_number_counts_continuations_comments_and_heredocs() {
    let text = "# c\nFROM a\nRUN x \\\n # c\n y\nCOPY <<F /f\nb\nF\nWRONG\n";
    assert_eq!(Options::default().error(text).line(), 9);
}

#[test]
fn heredoc_bodies_are_no_instructions() {
    for text in [
        "FROM a\nRUN <<EOF\nCOPY --from=evil / /\nFROM evil\nEOF\n",
        "FROM a\nRUN cat <<EOF > /f && true\nFROM evil\nEOF\n",
        "FROM a\nRUN cat <<A && cat <<B\nFROM evil\nA\nFROM evil\nB\n",
        "FROM a\nRUN cat <<-EOF\n\tFROM evil\n\t\tEOF\n",
        "FROM a\nCOPY <<one <<\"two\" /d/\nFROM evil\none\nFROM evil\ntwo\n",
        "FROM a\nONBUILD RUN <<EOF\nFROM evil\nEOF\n",
        "FROM a\nRUN cat \\\n <<EOF\nFROM evil\nEOF\n",
        "FROM a\nRUN <<EOF\r\nFROM evil\r\nEOF\r\n",
    ] {
        assert_eq!(names(text), ["a"], "{text}");
    }
}

#[test]
fn what_only_looks_like_a_heredoc_does_not_swallow_instructions() {
    for text in [
        "FROM a\nRUN echo '<<EOF'\nFROM b\n",
        "FROM a\nRUN x=$((1<<EOF))\nFROM b\n",
        "FROM a\nRUN cat <<<EOF\nFROM b\n",
        "FROM a\nRUN [\"cat\", \"<<EOF\"]\nFROM b\n",
        "FROM a\nCMD cat <<EOF\nFROM b\n",
        "FROM a\nLABEL x=<<EOF\nFROM b\n",
        "FROM a\n# RUN <<EOF\nFROM b\n",
    ] {
        assert_eq!(names(text), ["b"], "{text}");
    }
}

#[test]
fn a_heredoc_terminator_stands_alone_and_unindented() {
    let text = "FROM a\nRUN <<EOF\n EOF\n\tEOF\nEOF x\nEOF\nRUN y\n";
    let without = "FROM a\nRUN <<EOF\nEOF\nRUN y\n";
    assert_ne!(program(text), program(without));
}

#[test]
fn a_file_in_another_frontends_language_is_an_unknown_frontend() {
    for text in [
        "# syntax=example/frontend\nsome: yaml\n",
        "// syntax=example/frontend\nlet x = 1\n",
        "{\"syntax\": \"example/frontend\"}",
        "#!/usr/bin/env tool\n# syntax=example/frontend\nFROM a\n",
        "# syntax=example/frontend\nFROM a\n",
    ] {
        let error = Options::default().error(text);
        let expected = DockerfileErrorKind::UnknownFrontend("example/frontend".to_owned());
        assert_eq!(error.kind(), &expected, "{text}");
    }
    let error = error("// syntax=docker/dockerfile\nFROM a\n");
    assert_eq!(error, "line 1: unknown instruction //");
}

#[test]
fn an_argument_cannot_choose_the_frontend() {
    let options = Options::args(&[("BUILDKIT_SYNTAX", "docker/dockerfile:1")]);
    assert!(matches!(options.error("FROM a").kind(), DockerfileErrorKind::Unsupported(_)));
}

#[test]
fn stage_names_are_in_lower_case() {
    let dockerfile = Dockerfile::parse(b"FROM a AS One\nFROM b\nFROM c as two\n").unwrap();
    let names: Vec<_> = dockerfile.stage_names().collect();
    assert_eq!(names, [Some("one"), None, Some("two")]);
}
