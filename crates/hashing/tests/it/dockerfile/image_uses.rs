use dockit_hashing::dockerfile::ImageUseKind::{CopyFrom, From, MountFrom, Syntax};

use super::{Options, names};

#[test]
fn every_mention_is_listed_in_order_with_its_line() {
    let text = "\
# syntax=docker/dockerfile:1
FROM a AS one
COPY --from=b /x /
RUN --mount=from=c,target=/c \\
    # a comment
    --mount=from=d,target=/d x
FROM scratch
COPY --from=one / /
COPY --from=b /y /
";
    let uses: Vec<_> = Options::default()
        .uses(text)
        .into_iter()
        .map(|used| (used.line, used.kind, used.name))
        .collect();
    let expected = [
        (1, Syntax, "docker/dockerfile:1"),
        (2, From, "a"),
        (3, CopyFrom, "b"),
        (4, MountFrom, "c"),
        (6, MountFrom, "d"),
        (9, CopyFrom, "b"),
    ];
    assert_eq!(uses, expected.map(|(line, kind, name)| (line, kind, name.to_owned())));
}

#[test]
fn scratch_is_no_image() {
    assert!(names("FROM scratch\nCOPY x /\n").is_empty());
    assert!(names("ARG B=scratch\nFROM $B\nCOPY --from=scratch x /\n").is_empty());
}

#[test]
fn a_stage_may_take_the_name_scratch() {
    let text = "FROM a AS scratch\nFROM b\nRUN --mount=type=cache,target=/c x\n";
    assert_eq!(names(text), ["a", "b"]);
    assert_eq!(names("FROM a AS scratch\nFROM scratch\n"), ["a"]);
}

#[test]
fn names_and_platforms_are_expanded_with_the_global_arguments() {
    let text = "\
ARG REGISTRY=example.org
ARG TAG=1
ARG NAME=\"${REGISTRY}/img:${TAG}\"
FROM --platform=$BUILDPLATFORM ${NAME}-${MISSING:-slim} AS build
FROM --platform=linux/${TARGETARCH} '$x'\"$REGISTRY/b\"
COPY --from=build / /
";
    let options = Options::args(&[("TAG", "2"), ("MISSING", "not declared")])
        .platform(&[("BUILDPLATFORM", "linux/amd64"), ("TARGETARCH", "arm64")]);
    let uses = options.uses(text);
    assert_eq!(uses[0].name, "example.org/img:2-slim");
    assert_eq!(uses[0].platform.as_deref(), Some("linux/amd64"));
    assert_eq!(uses[1].name, "$xexample.org/b");
    assert_eq!(uses[1].platform.as_deref(), Some("linux/arm64"));
}

#[test]
fn arguments_of_a_stage_are_not_seen_by_from() {
    let text = "FROM a AS x\nARG TAG=1\nENV TAG=2\nFROM b:${TAG:-none}\n";
    assert_eq!(names(text), ["b:none"]);
}

#[test]
fn quotes_around_flags_and_csv_fields_are_taken_away() {
    for text in [
        "FROM a\nCOPY --from=\"b\" /x /\n",
        "FROM a\nCOPY --\"from=b\" /x /\n",
        "FROM a\nRUN --mount='type=bind,\"from=b\",target=/x' y\n",
        "FROM a\nRUN --mount=type=bind,target=/x,\"from=b\" y\n",
    ] {
        assert_eq!(names(text), ["a", "b"], "{text}");
    }
    // Not a flag: it does not begin with dashes.
    assert_eq!(names("FROM a\nCOPY \"--from=b\" /x /\n"), ["a"]);
    assert_eq!(names("FROM a\nCOPY -- --from=b /x /\n"), ["a"]);
    assert_eq!(names("FROM a\nCOPY --from= /x /\n"), ["a"]);
}
