//! Reading and resolving Dockerfiles.

use std::collections::BTreeMap;

use dockit_hashing::dockerfile::{Dockerfile, ImageUseKind, ResolveOptions};

pub(crate) fn args(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn platform() -> BTreeMap<String, String> {
    args(&[
        ("TARGETPLATFORM", "linux/amd64"),
        ("TARGETARCH", "amd64"),
        ("BUILDPLATFORM", "linux/amd64"),
    ])
}

fn uses(text: &str, given: &[(&str, &str)]) -> Vec<(ImageUseKind, String)> {
    uses_of(text, None, given)
}

fn uses_of(
    text: &str,
    target: Option<&str>,
    given: &[(&str, &str)],
) -> Vec<(ImageUseKind, String)> {
    let dockerfile = Dockerfile::parse(text.as_bytes()).unwrap();
    let (given, platform) = (args(given), platform());
    let options = ResolveOptions { target, args: &given, platform_args: &platform };
    let resolved = dockerfile.resolve(&options).unwrap();
    resolved.image_uses().iter().map(|used| (used.kind, used.name.clone())).collect()
}

fn error(text: &str) -> String {
    let none = BTreeMap::new();
    let options = ResolveOptions { target: None, args: &none, platform_args: &none };
    match Dockerfile::parse(text.as_bytes()) {
        Err(error) => error.to_string(),
        Ok(dockerfile) => dockerfile.resolve(&options).unwrap_err().to_string(),
    }
}

use ImageUseKind::{CopyFrom, From, MountFrom, Syntax};

fn one(kind: ImageUseKind, name: &str) -> Vec<(ImageUseKind, String)> {
    vec![(kind, name.to_owned())]
}

#[test]
fn arguments_choose_the_base_image() {
    let chained = "ARG TAG=12\nARG BASE=debian:${TAG}\nFROM $BASE\n";
    assert_eq!(uses(chained, &[]), one(From, "debian:12"));
    assert_eq!(uses(chained, &[("TAG", "11")]), one(From, "debian:11"));
    assert_eq!(uses(chained, &[("BASE", "alpine")]), one(From, "alpine"));
    assert_eq!(uses("ARG B\nFROM ${B:-debian}\n", &[]), one(From, "debian"));
    assert_eq!(uses("ARG B=\nFROM ${B:-debian}\n", &[]), one(From, "debian"));
    assert_eq!(uses("FROM base-$TARGETARCH\n", &[]), one(From, "base-amd64"));
    assert_eq!(uses("ARG A=\"x y\"\nFROM a${A:+b}\n", &[]), one(From, "ab"));
    assert_eq!(
        uses("FROM a\nARG B=debian\nRUN x\n", &[("B", "c")]),
        one(From, "a"),
        "an ARG of a stage is no global one"
    );
}

#[test]
fn only_reachable_stages_count() {
    let text = "FROM a AS one\nFROM b AS two\nRUN --mount=from=one,target=/x y\nFROM c AS three\n\
                COPY --from=TWO /x /x\nFROM d AS four\n";
    assert_eq!(uses(text, &[]), one(From, "d"));
    let names = |target| {
        uses_of(text, Some(target), &[]).into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    assert_eq!(names("three"), ["a", "b", "c"]);
    assert_eq!(names("TWO"), ["a", "b"]);
    assert_eq!(names("one"), ["a"]);
}

#[test]
fn names_of_stages_and_images_are_told_apart() {
    assert_eq!(uses("FROM a AS x\nFROM x\n", &[]), one(From, "a"));
    assert_eq!(uses("FROM a AS x\nFROM b AS x\nFROM x\n", &[]), one(From, "b"), "the latest");
    assert_eq!(uses("FROM a AS X\nFROM x\n", &[]), one(From, "a"), "stored in lower case");
    assert_eq!(
        uses("FROM later\nFROM a AS later\n", &[]),
        one(From, "a"),
        "the first stage is not reachable"
    );
    assert_eq!(uses_of("FROM later AS l\nFROM a AS later\n", Some("l"), &[]), one(From, "later"));
    assert_eq!(uses("FROM scratch\nCOPY --from=img:1 /x /x\n", &[]), one(CopyFrom, "img:1"));
    assert_eq!(uses("FROM a\nFROM scratch\nCOPY --from=0 /x /x\n", &[]), one(From, "a"));
    assert_eq!(
        uses("FROM a\nFROM scratch\nRUN --mount=type=bind,from=0,target=/x y\n", &[]),
        one(MountFrom, "0"),
        "a mount's number is an image's name"
    );
    assert_eq!(uses("FROM scratch\n", &[]), []);
    assert_eq!(uses("FROM scratch AS s\nFROM s\nRUN --mount=type=cache,target=/c x\n", &[]), []);
}

#[test]
fn the_frontend_is_an_image_use() {
    let text = "# syntax=docker/dockerfile:1.7\nFROM a\n";
    assert_eq!(
        uses(text, &[]),
        [(Syntax, "docker/dockerfile:1.7".to_owned()), (From, "a".to_owned())]
    );
    assert_eq!(uses("#syntax = docker.io/docker/dockerfile\nFROM scratch\n", &[]).len(), 1);
    assert_eq!(uses("# a comment\n# syntax=docker/dockerfile:1\nFROM scratch\n", &[]), []);
    assert!(
        error("# syntax=example/other:1\nFROM a\n")
            .contains("\"example/other:1\" is not supported")
    );
}

#[test]
fn platforms_are_expanded() {
    let text = "FROM --platform=$BUILDPLATFORM a\n";
    let dockerfile = Dockerfile::parse(text.as_bytes()).unwrap();
    let (none, platform) = (BTreeMap::new(), platform());
    let options = ResolveOptions { target: None, args: &none, platform_args: &platform };
    let resolved = dockerfile.resolve(&options).unwrap();
    assert_eq!(resolved.image_uses()[0].platform.as_deref(), Some("linux/amd64"));
    assert_eq!(resolved.args(), [("BUILDPLATFORM".to_owned(), Some("linux/amd64".to_owned()))]);
}

#[test]
fn arguments_are_listed_where_they_reach_the_build() {
    let list = |text: &str, given: &[(&str, &str)]| {
        let dockerfile = Dockerfile::parse(text.as_bytes()).unwrap();
        let (given, platform) = (args(given), platform());
        let options = ResolveOptions { target: None, args: &given, platform_args: &platform };
        let resolved = dockerfile.resolve(&options).unwrap();
        let listed: Vec<String> = resolved
            .args()
            .iter()
            .map(|(name, value)| match value {
                Some(value) => format!("{name}={value}"),
                None => name.clone(),
            })
            .collect();
        let undeclared: Vec<String> =
            resolved.undeclared_args().into_iter().map(str::to_owned).collect();
        (listed.join(" "), undeclared.join(" "))
    };
    for (text, given, listed, undeclared) in [
        ("FROM a\nARG X=1\n", &[][..], "X=1", ""),
        ("FROM a\nARG X=1\n", &[("X", "2")], "X=2", ""),
        ("FROM a\nARG X\n", &[], "X", ""),
        ("FROM a\nARG X Y=2 Z\n", &[("Z", "3")], "X Y=2 Z=3", ""),
        ("FROM a\n", &[("X", "2")], "", "X"),
        ("ARG X=1\nFROM a\n", &[("X", "2")], "", "X"),
        ("ARG X=1\nFROM a\nARG X\n", &[], "X=1", ""),
        ("ARG X=a\nFROM $X\n", &[], "X=a", ""),
        ("FROM a AS u\nARG X=1\nFROM b\n", &[("X", "2")], "", "X"),
        ("FROM a\nARG X=1\nFROM b\nARG X=2\n", &[], "X=2", ""),
        ("FROM a AS a\nARG X=1\nFROM a\nARG X=2\n", &[], "X=1 X=2", ""),
        ("FROM a\nARG X=1\nARG Y=${X}2\n", &[], "X=1 Y=12", ""),
        ("FROM a\nENV X=e\nARG Y=$X\n", &[], "Y=e", ""),
        ("FROM a\nENV X=e\nARG X=1\nARG Y=$X\n", &[], "X=1 Y=1", ""),
        ("FROM a\nENV X e f\nARG Y=$X\n", &[], "Y=e f", ""),
        ("FROM a\n", &[("http_proxy", "p")], "", ""),
        ("FROM a\nARG HTTP_PROXY\n", &[("HTTP_PROXY", "p")], "HTTP_PROXY=p", ""),
        ("FROM a\nARG TARGETARCH\n", &[], "TARGETARCH=amd64", ""),
        ("FROM a\nARG TARGETSTAGE\n", &[], "TARGETSTAGE=default", ""),
        ("FROM a\n", &[("SOURCE_DATE_EPOCH", "1")], "SOURCE_DATE_EPOCH=1", ""),
        ("FROM a\nARG E=\nARG Q=\"a  b\"\n", &[], "E= Q=a  b", ""),
    ] {
        assert_eq!(list(text, given), (listed.to_owned(), undeclared.to_owned()), "{text}");
    }
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (text, line, message) in [
        ("", 1, "no FROM"),
        ("# only a comment\n", 1, "no FROM"),
        ("RUN x\nFROM a\n", 1, "before the first FROM"),
        ("FROM a\nCOPPY x y\n", 2, "did you mean COPY?"),
        ("FROM a\n\n\nRUN\n", 4, "RUN requires at least one argument"),
        ("FROM\n", 1, "FROM requires"),
        ("FROM a b\n", 1, "FROM requires either one argument or three"),
        ("FROM a is b\n", 1, "FROM expects AS"),
        ("FROM a AS 1b\n", 1, "invalid stage name"),
        ("FROM a\nCOPY x\n", 2, "at least two arguments"),
        ("FROM a\nCOPY --form=b x y\n", 2, "no flag --form"),
        ("FROM a\nCOPY --from=b --from=c x y\n", 2, "there twice"),
        ("FROM a\nRUN [1]\n", 2, "strings only"),
        ("FROM a\nRUN <<EOF\nx\n", 2, "\"EOF\" has no end"),
        ("FROM a\nCOPY --from=$X a b\n", 2, "variables are not expanded"),
        ("FROM a\nCOPY --from=3 a b\n", 2, "0 stages before"),
        ("FROM $X\n", 1, "$X has no value"),
        ("FROM ${X\n", 1, "bad substitution"),
        ("FROM a\nARG X=${Y?required}\n", 2, "Y: required"),
        ("FROM a\nENV X\n", 2, "needs a value"),
        ("FROM a\nONBUILD ONBUILD RUN x\n", 2, "ONBUILD"),
        ("FROM a\nONBUILD FROM b\n", 2, "ONBUILD cannot hold FROM"),
        ("FROM a\nONBUILD COPY --from=b x y\n", 2, "not supported"),
        ("FROM a\nSHELL bash\n", 2, "JSON form"),
        ("# escape=x\nFROM a\n", 1, "invalid escape"),
        ("# syntax=docker/dockerfile\n# syntax=docker/dockerfile\nFROM a\n", 2, "only one syntax"),
    ] {
        let found = error(text);
        assert!(
            found.starts_with(&format!("line {line}: ")) && found.contains(message),
            "{text:?} gave {found:?}"
        );
    }
    assert!(Dockerfile::parse(b"FROM a\nRUN \xff\n").unwrap_err().to_string().contains("line 2"));
}

#[test]
fn rewriting_changes_the_names_and_nothing_else() {
    let rewritten = |text: &str| {
        let dockerfile = Dockerfile::parse(text.as_bytes()).unwrap();
        let (none, platform) = (BTreeMap::new(), platform());
        let options = ResolveOptions { target: None, args: &none, platform_args: &platform };
        let resolved = dockerfile.resolve(&options).unwrap();
        let bytes = resolved.rewrite(&mut |index, _| Some(format!("new{index}@sha256:0")));
        String::from_utf8(bytes).unwrap()
    };
    for (text, expected) in [
        ("FROM a", "FROM new0@sha256:0"),
        (
            "ARG B=a\r\nfrom  ${B}  AS x\r\n# FROM a\r\n",
            "ARG B=a\r\nfrom  new0@sha256:0  AS x\r\n# FROM a\r\n",
        ),
        (
            "FROM --platform=linux/amd64 \\\n  a:1 \\\n  AS x\n",
            "FROM --platform=linux/amd64 \\\n  new0@sha256:0 \\\n  AS x\n",
        ),
        ("FROM scratch\nCOPY --from=\"a\" x y\n", "FROM scratch\nCOPY --from=new0@sha256:0 x y\n"),
        (
            "FROM a\nRUN --mount=type=bind,from=b,target=/b --mount=from=c,target=/c x\n",
            "FROM new0@sha256:0\nRUN --mount=type=bind,from=new1@sha256:0,target=/b \
             --mount=from=new2@sha256:0,target=/c x\n",
        ),
        (
            "FROM scratch\nRUN --mount=type=bind,\"from=b\",target=/b x\n",
            "FROM scratch\nRUN --mount=type=bind,\"from=new0@sha256:0\",target=/b x\n",
        ),
        ("# syntax=docker/dockerfile:1\nFROM a\n", "# syntax=new0@sha256:0\nFROM new1@sha256:0\n"),
        (
            "FROM unused AS u\nFROM a AS b\nFROM b\nRUN echo FROM a\n",
            "FROM unused AS u\nFROM new0@sha256:0 AS b\nFROM b\nRUN echo FROM a\n",
        ),
        ("\u{feff}FROM a\n", "\u{feff}FROM new0@sha256:0\n"),
    ] {
        assert_eq!(rewritten(text), expected);
    }
}
