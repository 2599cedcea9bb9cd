use dockit_hashing::dockerfile::DockerfileErrorKind;

use super::{Options, names};

const THREE: &str = "FROM a AS one\nFROM b AS Two\nFROM c AS one\nFROM d\n";

#[test]
fn the_target_is_the_last_stage_or_the_last_of_its_name_in_any_case() {
    assert_eq!(names(THREE), ["d"]);
    for (target, expected) in [("one", "c"), ("ONE", "c"), ("two", "b"), ("", "d")] {
        assert_eq!(Options::target(target).names(THREE), [expected], "{target}");
    }
}

#[test]
fn a_number_is_no_target() {
    let error = Options::target("0").error(THREE);
    assert_eq!(error.message(), "stage \"0\" not found: the Dockerfile has one, two, one");
    let unnamed = Options::target("x").error("FROM a");
    assert_eq!(unnamed.message(), "stage \"x\" not found: the Dockerfile has no named stage");
}

#[test]
fn only_stages_that_the_target_needs_count() {
    let text = "\
FROM a AS base
FROM b AS tools
FROM c AS mounted
FROM d AS unused
COPY --from=e /x /
FROM base AS mid
RUN --mount=type=bind,from=mounted,target=/m x
FROM mid
COPY --from=tools /x /
";
    assert_eq!(names(text), ["a", "b", "c"]);
    assert_eq!(Options::target("mid").names(text), ["a", "c"]);
    assert_eq!(Options::target("unused").names(text), ["d", "e"]);
}

#[test]
fn from_means_the_latest_earlier_stage_of_exactly_this_name() {
    for (text, expected) in [
        ("FROM a AS x\nFROM b AS x\nFROM x\n", &["b"][..]),
        ("FROM x\nFROM a AS x\n", &["a"]),
        ("FROM a AS X\nFROM x\n", &["a"]),
        // The name of a stage is in lower case, and this is not.
        ("FROM a AS x\nFROM X\n", &["X"]),
        ("FROM later AS x\nFROM a AS later\nFROM x\n", &["later"]),
        ("FROM x AS x\nFROM x\n", &["x"]),
        ("ARG S=x\nFROM a AS x\nFROM $S\n", &["a"]),
    ] {
        assert_eq!(names(text), expected, "{text}");
    }
}

#[test]
fn copy_from_is_an_index_or_a_name_in_any_case() {
    for (from, expected) in [
        ("0", &["a", "c"][..]),
        ("+1", &["b", "c"]),
        ("ONE", &["a", "c"]),
        ("scratch", &["c"]),
        ("99999999999999999999", &["c", "99999999999999999999"]),
        ("other:1", &["c", "other:1"]),
    ] {
        let text = format!("FROM a AS one\nFROM b\nFROM c\nCOPY --from={from} /x /\n");
        assert_eq!(names(&text), expected, "{from}");
    }
    let error = Options::default().error("FROM a\nCOPY --from=7 /x /\n");
    assert_eq!(error.message(), "there is no stage of index 7");
}

#[test]
fn a_mount_never_takes_a_number_as_index() {
    let text = "FROM a\nFROM b\nRUN --mount=from=0,target=/x y\n";
    assert_eq!(names(text), ["b", "0"]);
}

#[test]
fn every_type_of_mount_may_name_an_image() {
    let text = "FROM a\nRUN --mount=type=cache,from=b,target=/c --mount=target=/d,FROM=c,rw x\n";
    assert_eq!(names(text), ["a", "b", "c"]);
}

#[test]
fn the_last_from_of_a_mount_counts() {
    assert_eq!(names("FROM a\nRUN --mount=from=b,from=c,target=/x y\n"), ["a", "c"]);
    assert_eq!(names("FROM a\nRUN --mount=from=b,from=,target=/x y\n"), ["a"]);
}

#[test]
fn a_stage_must_be_defined_before_a_reachable_stage_uses_it() {
    for text in [
        "FROM a AS start\nCOPY --from=later /x /\nFROM b AS later\n",
        "FROM a AS start\nCOPY --from=1 /x /\nFROM b\n",
        "FROM a AS start\nRUN --mount=from=later,target=/x y\nFROM b AS later\n",
        // A name means its last stage in the whole file.
        "FROM a AS x\nFROM b AS start\nCOPY --from=x /x /\nFROM c AS x\n",
    ] {
        let error = Options::target("start").error(text);
        assert!(matches!(error.kind(), DockerfileErrorKind::StageOrder(_)), "{text}{error}");
        assert_eq!(names(text).len(), 1, "{text}");
    }
}

#[test]
fn a_stage_that_uses_itself_is_circular_wherever_it_is() {
    for text in [
        "FROM a AS x\nCOPY --from=x /x /\n",
        "FROM a\nCOPY --from=0 /x /\nFROM b\n",
        "FROM a AS p\nONBUILD COPY --from=x /x /\nFROM p AS x\nFROM b\n",
    ] {
        let error = Options::default().error(text);
        assert!(matches!(error.kind(), DockerfileErrorKind::StageOrder(_)), "{text}{error}");
    }
}

#[test]
fn from_flags_do_not_expand_variables() {
    for text in [
        "FROM a\nARG S=b\nCOPY --from=$S /x /\n",
        "FROM a\nARG S=b\nRUN --mount=from=${S},target=/x y\n",
    ] {
        let error = Options::default().error(text);
        assert_eq!(error.line(), 3);
        assert!(error.message().contains("does not expand variables"), "{error}");
    }
}

#[test]
fn onbuild_triggers_run_in_the_stages_based_on_theirs() {
    let text = "\
FROM a AS parent
ONBUILD COPY --from=tools /x /
ONBUILD ARG LATE=1
FROM b AS tools
FROM parent AS child
FROM child
";
    // As a target it would carry the trigger into other files, where `tools` means something else.
    assert_eq!(Options::target("parent").error(text).line(), 2);
    assert_eq!(Options::target("child").names(text), ["a", "b"]);
    assert_eq!(Options::target("child").arg_list(text), ["LATE=1"]);
    assert_eq!(names(text), ["a", "b"]);
}

#[test]
fn onbuild_from_an_image_is_refused_where_it_is_reachable() {
    let text = "FROM a AS x\nONBUILD COPY --from=img /x /\nFROM b\n";
    assert_eq!(names(text), ["b"]);
    for target in ["x", "y"] {
        let text = format!("{text}FROM x AS y\n");
        let error = Options::target(target).error(&text);
        assert_eq!(error.line(), 2);
        assert_eq!(
            error.message(),
            "ONBUILD with --from is not supported: \"img\" is no stage of this file"
        );
    }
    let mount = "FROM a\nONBUILD RUN --mount=from=img,target=/x y\n";
    assert_eq!(Options::default().error(mount).line(), 2);
}

#[test]
fn what_is_wrong_in_an_unreachable_stage_fails_too_as_it_fails_the_build() {
    for text in [
        "FROM a\nCOPY --wrong x y\nFROM b\n",
        "ARG NONE\nFROM $NONE\nFROM b\n",
        "FROM a\nCOPY --from=9 x y\nFROM b\n",
    ] {
        Options::default().error(text);
    }
}
