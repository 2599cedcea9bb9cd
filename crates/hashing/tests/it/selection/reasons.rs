//! Why the whole build context counts, and what flows from image to image.

use dockit_hashing::dockerfile::{Dockerfile, ImageConfig, ResolveOptions};

use super::Build;

fn reasons(build: &Build<'_>) -> Vec<String> {
    let inputs = build.inputs();
    let reasons: Vec<_> = inputs.whole_context().iter().map(ToString::to_string).collect();
    assert_eq!(inputs.selection().is_whole(), !reasons.is_empty(), "{}", build.text);
    reasons
}

#[test]
fn a_reason_has_a_line() {
    let table: &[(&str, &[&str])] = &[
        ("FROM a\nCOPY src /\n", &[]),
        ("FROM a\nCOPY --exclude=x . /\n", &[]),
        ("FROM a\n\nCOPY a ./ /\n", &["line 3: COPY ./ reads all of it"]),
        (
            "FROM a\nRUN --mount=type=bind,target=/x y\n",
            &["line 2: RUN --mount=type=bind reads all of it"],
        ),
        (
            "FROM a\nARG X=/\nRUN --mount=source=$X,target=/x y\nADD . /\n",
            &[
                "line 3: RUN --mount=type=bind,source=$X reads all of it",
                "line 4: ADD . reads all of it",
            ],
        ),
        ("FROM scratch AS a\nONBUILD COPY . /\nFROM a\n", &["line 2: COPY . reads all of it"]),
    ];
    for (text, expected) in table {
        assert_eq!(reasons(&Build::of(text)), *expected, "{text}");
    }
}

#[test]
fn what_is_not_known_of_a_base_image_is_a_reason() {
    let unknown = |text| Build { base: Some(ImageConfig::unknown()), ..Build::of(text) };
    assert_eq!(
        reasons(&unknown("FROM a:1\nCOPY $D/x /\nCOPY y /\n")),
        [
            "line 1: ONBUILD instructions of a:1 may read any of it: its configuration is not known",
            "line 2: COPY $D/x may read any of it: the value of a variable is not known",
        ],
    );
    assert_eq!(reasons(&unknown("FROM scratch\nCOPY y /\n")), [""; 0]);
    assert_eq!(reasons(&unknown("FROM scratch\nCOPY --from=a / /\nCOPY y /\n")), [""; 0]);
}

#[test]
fn a_trigger_that_is_not_clear_is_a_reason() {
    for (trigger, problem) in [
        ("NONSENSE x", "unknown instruction NONSENSE"),
        ("COPY --from=b / /", "it uses a stage or an image"),
        ("ONBUILD COPY . /", "it is itself an ONBUILD"),
        ("COPY ${ /", "missing"),
    ] {
        let config = ImageConfig::new([], vec![trigger.to_owned()]);
        let found = reasons(&Build { base: Some(config), ..Build::of("\nFROM a\n") });
        let [reason] = found.as_slice() else { panic!("{trigger}: {found:?}") };
        assert!(reason.starts_with(&format!("line 2: ONBUILD {trigger} may read")), "{reason}");
        assert!(reason.contains(problem), "{reason}");
    }
}

fn config(text: &str, base: &ImageConfig) -> ImageConfig {
    let build = Build { base: Some(base.clone()), ..Build::of(text) };
    build.look(|resolved, base| resolved.image_config(&|_| Some(base.clone())).expect(text))
}

#[test]
fn configurations_flow_along_from() {
    let first = config(
        "FROM scratch\nENV D=src E=\"$D x\"\nARG A=1\nENV B=${A}2\nONBUILD COPY $D \\\n  /\n\
         ONBUILD RUN <<EOF\nx\nEOF\n",
        &ImageConfig::unknown(),
    );
    let env: Vec<_> = first.env().collect();
    assert_eq!(env, [("B", Some("12")), ("D", Some("src")), ("E", Some(" x"))]);
    assert!(!first.may_set_more());
    assert_eq!(first.onbuild().expect("triggers"), ["COPY $D   /", "RUN <<EOF\nx\nEOF"]);

    let text = "FROM first\nCOPY $B /\n";
    let tree = crate::tree::Tree::default().file("src", "").file("12", "").file("x", "");
    let build = Build { base: Some(first.clone()), ..Build::of(text) };
    assert_eq!(build.paths(&tree), ["12", "src"]);

    let second = config(text, &first);
    assert_eq!(second.env().collect::<Vec<_>>(), env);
    assert_eq!(second.onbuild(), Some(&[][..]), "triggers run once");
}

#[test]
fn what_is_not_known_stays_unknown() {
    let found = config("FROM a\nENV A=1 B=$X\n", &ImageConfig::unknown());
    assert_eq!(found.env().collect::<Vec<_>>(), [("A", Some("1")), ("B", None)]);
    assert!(found.may_set_more());
    let build = Build { base: Some(found), ..Build::of("FROM b\nCOPY x$B /\nCOPY y$A /\n") };
    assert_eq!(
        reasons(&build),
        ["line 2: COPY x$B may read any of it: the value of a variable is not known"],
    );
}

#[test]
fn each_base_is_asked_for_by_its_use() {
    let text = "FROM a AS x\nCOPY $D /\nFROM b\nCOPY --from=x / /\nCOPY $D /\n";
    let dockerfile = Dockerfile::parse(text.as_bytes()).expect("a Dockerfile");
    let none = Default::default();
    let options = ResolveOptions { target: None, args: &none, platform_args: &none };
    let resolved = dockerfile.resolve(&options).expect("resolved");
    let base = |used: usize| {
        let name = &resolved.image_uses()[used].name;
        Some(ImageConfig::new([("D".to_owned(), format!("of-{name}"))], Vec::new()))
    };
    let inputs = resolved.context_inputs(&base).expect("inputs");
    let tree = crate::tree::Tree::default().file("of-a", "").file("of-b", "").file("of-c", "");
    let listing = super::listing(&tree, &inputs.selection());
    assert_eq!(crate::tree::paths(&listing), ["of-a", "of-b"]);
}
