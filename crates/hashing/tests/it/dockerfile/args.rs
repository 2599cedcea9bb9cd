use super::Options;

#[test]
fn values_come_from_the_caller_then_the_default_then_the_global_argument() {
    let text = "\
ARG GIVEN=global
ARG INHERITED=global
ARG BOTH=global
FROM a
ARG GIVEN=stage
ARG INHERITED
ARG BOTH=stage
ARG NONE
";
    let options = Options::args(&[("GIVEN", "given")]);
    assert_eq!(options.arg_list(text), ["BOTH=stage", "GIVEN=given", "INHERITED=global", "NONE"]);
}

#[test]
fn defaults_chain() {
    let text = "\
ARG A=1
ARG B=${A}2
FROM a
ARG B
ARG C=${B}3 D=${C}4
ENV E=${D}5
ARG F=$E
";
    let list = Options::args(&[("A", "x")]).arg_list(text);
    assert_eq!(list, ["B=x2", "C=x23", "D=x234", "F=x2345"]);
}

#[test]
fn only_arguments_that_reach_the_build_count() {
    let text = "\
ARG USED=1
ARG PLATFORM=linux/amd64
ARG UNUSED=2
ARG INDIRECT=3
ARG DIRECT=$INDIRECT
FROM --platform=$PLATFORM a:$USED-$DIRECT
ARG DECLARED
FROM b AS unreachable
ARG ELSEWHERE=4
FROM a:$USED
ARG UNREFERENCED=5
";
    assert_eq!(Options::default().arg_list(text), ["UNREFERENCED=5", "USED=1"]);
    let first = text.split("FROM b").next().unwrap();
    assert_eq!(
        Options::default().arg_list(first),
        ["DECLARED", "DIRECT=3", "PLATFORM=linux/amd64", "USED=1"]
    );
}

#[test]
fn undeclared_arguments_are_reported_by_name() {
    let text = "ARG UNUSED=1\nARG TAG=1\nFROM a:$TAG\nARG A\nFROM b:$TAG\n";
    let options = Options::args(&[
        ("A", "1"),
        ("BUILDKIT_INLINE_CACHE", "1"),
        ("HTTP_PROXY", "p"),
        ("TAG", "1"),
        ("UNUSED", "1"),
        ("no_proxy", "p"),
    ]);
    options.look(text, |resolved| {
        assert_eq!(resolved.undeclared_args(), ["A", "UNUSED"]);
        assert_eq!(
            resolved.build_args(),
            [
                ("BUILDKIT_INLINE_CACHE".to_owned(), "1".to_owned()),
                ("HTTP_PROXY".to_owned(), "p".to_owned()),
                ("TAG".to_owned(), "1".to_owned()),
                ("no_proxy".to_owned(), "p".to_owned()),
            ]
        );
    });
    assert_eq!(options.arg_list(text), ["BUILDKIT_INLINE_CACHE=1", "TAG=1"]);
}

#[test]
fn proxy_arguments_count_where_they_are_declared() {
    let options = Options::args(&[("HTTP_PROXY", "p"), ("https_proxy", "q")]);
    assert!(options.arg_list("FROM a").is_empty());
    assert_eq!(options.arg_list("FROM a\nARG HTTP_PROXY\n"), ["HTTP_PROXY=p"]);
}

#[test]
fn what_the_builder_obeys_counts_when_it_is_given() {
    let options = Options::args(&[("SOURCE_DATE_EPOCH", "0")]);
    assert_eq!(options.arg_list("FROM a"), ["SOURCE_DATE_EPOCH=0"]);
    assert!(Options::default().arg_list("FROM a").is_empty());
}

#[test]
fn platform_arguments_count_where_they_are_declared_or_used() {
    let platform = [("TARGETARCH", "arm64"), ("TARGETOS", "linux")];
    let options = Options::default().platform(&platform);
    assert!(options.arg_list("FROM a").is_empty());
    assert_eq!(options.arg_list("FROM a\nARG TARGETARCH\n"), ["TARGETARCH=arm64"]);
    assert_eq!(options.arg_list("FROM a-$TARGETOS"), ["TARGETOS=linux"]);
    // As in BuildKit a default in the stage wins over the platform.
    let default = "FROM a\nARG TARGETARCH=amd64\n";
    assert_eq!(options.arg_list(default), ["TARGETARCH=amd64"]);
    assert!(options.look(default, |resolved| resolved.build_args().is_empty()));
    let given = Options::args(&[("TARGETARCH", "mine")]).platform(&platform);
    assert_eq!(given.arg_list("FROM a-$TARGETARCH\nARG TARGETARCH\n"), ["TARGETARCH=mine"]);
}

#[test]
fn the_builder_is_told_what_the_caller_says_of_the_platform() {
    let options = Options::default().platform(&[("BUILDARCH", "arm64"), ("TARGETOS", "linux")]);
    options.look("FROM a-$BUILDARCH\nARG DEFAULT=1\n", |resolved| {
        assert_eq!(resolved.build_args(), [("BUILDARCH".to_owned(), "arm64".to_owned())]);
    });
}

#[test]
fn targetstage_is_the_target_as_given_or_the_last_stage() {
    let text =
        "FROM a AS One\nARG TARGETSTAGE\nFROM One AS Last\nFROM one AS last\nARG TARGETSTAGE\n";
    assert_eq!(Options::target("ONE").arg_list(text), ["TARGETSTAGE=ONE"]);
    assert_eq!(Options::default().arg_list(text), ["TARGETSTAGE=last"]);
    let unnamed = "FROM a\nARG TARGETSTAGE\n";
    assert_eq!(Options::default().arg_list(unnamed), ["TARGETSTAGE=default"]);
}

#[test]
fn a_name_with_several_values_keeps_each_in_order() {
    let text = "ARG A=2\nFROM a AS x\nARG A=1\nARG B=1\nFROM x\nARG A\nARG B=1\nARG A=1\n";
    assert_eq!(Options::default().arg_list(text), ["A=1", "A=2", "A=1", "B=1"]);
    assert_eq!(Options::args(&[("A", "9")]).arg_list(text), ["A=9", "B=1"]);
}

#[test]
fn the_later_of_env_and_arg_wins() {
    for (text, expected) in [
        ("FROM a\nENV X=env\nARG X=arg\nARG Y=$X\n", "Y=arg"),
        ("FROM a\nARG X=arg\nENV X=env\nARG Y=$X\n", "Y=env"),
        // All pairs of one ENV see what was before it.
        ("FROM a\nENV X=old\nENV X=new Z=$X\nARG Y=$Z\n", "Y=old"),
        // A stage inherits variables, but those of the image are set anew.
        ("FROM a AS b\nENV X=env\nARG X=arg\nFROM b\nARG Y=$X\n", "Y=env"),
        ("FROM scratch AS b\nARG X=arg\nFROM b\nARG Y=$X\n", "Y=arg"),
    ] {
        let list = Options::default().arg_list(text);
        assert_eq!(list.last().map(String::as_str), Some(expected), "{text}");
    }
}

#[test]
fn a_default_that_the_base_image_decides_has_no_value() {
    for text in [
        "FROM a\nARG Y=$PATH:/x\n",
        "FROM a\nARG Y=${Z:-w}\n",
        "FROM a AS b\nARG X=1\nFROM b\nARG Y=$X\n",
        "FROM a\nENV X=$Z\nARG Y=$X\n",
        "FROM scratch\nARG Y=$PATH\n",
    ] {
        let list = Options::default().arg_list(text);
        assert_eq!(list.last().map(String::as_str), Some("Y"), "{text}");
    }
    assert_eq!(Options::default().arg_list("FROM scratch\nARG Y=${Z:-w}\n"), ["Y=w"]);
}

#[test]
fn a_bad_default_is_an_error_where_it_is_used() {
    let text = "FROM a\nARG A=${B^}\nFROM b\n";
    assert!(Options::default().arg_list(text).is_empty());
    let error = Options::default().error("FROM a\nARG A=${B^}\n");
    assert_eq!(error.line(), 2);
    assert_eq!(error.message(), "unsupported modifier '^' in substitution in \"${B^}\"");
    // A given value takes its place.
    assert_eq!(Options::args(&[("A", "1")]).arg_list("FROM a\nARG A=${B^}\n"), ["A=1"]);
    let needed = "ARG TAG\nFROM a:${TAG:?needed}\n";
    assert_eq!(Options::default().error(needed).line(), 2);
    assert_eq!(Options::args(&[("TAG", "1")]).names(needed), ["a:1"]);
}
