//! What cannot be keyed at all.

use std::collections::BTreeMap;

use dockit_hashing::dockerfile::{Dockerfile, DockerfileError, ImageConfig, ResolveOptions};

fn resolve(text: &str) -> Result<(), DockerfileError> {
    let none = BTreeMap::new();
    let options = ResolveOptions { target: None, args: &none, platform_args: &none };
    Dockerfile::parse(text.as_bytes())?.resolve(&options).map(|_| ())
}

/// The same, with all that is known of the base image.
fn read(text: &str, base: &ImageConfig) -> Result<(), DockerfileError> {
    let none = BTreeMap::new();
    let options = ResolveOptions { target: None, args: &none, platform_args: &none };
    let dockerfile = Dockerfile::parse(text.as_bytes())?;
    dockerfile.resolve(&options)?.context_inputs(&|_| Some(base.clone())).map(|_| ())
}

#[test]
fn what_is_fetched_from_elsewhere_is_refused_with_its_line() {
    for text in [
        "FROM scratch\nADD https://example.com/x /x\n",
        "FROM scratch\nADD a HTTP://example.com/x /x\n",
        "FROM scratch\nADD git@example.com:a/b.git /x\n",
        "FROM scratch\nADD git://example.com/b /x\n",
        "FROM scratch\nARG U=https://example.com\nADD $U/x /x\n",
        "FROM a\nADD $FROM_THE_BASE /x\n",
        "FROM a\nADD \"$MIRROR/x\" /x\n",
        "FROM a\nADD h${X} /x\n",
        "FROM scratch\nADD deploy@git.example.com:team/repo.git /src\n",
        "FROM scratch\nONBUILD ADD https://example.com/x /x\n",
        "FROM scratch AS a\nONBUILD ADD https://example.com/x /x\nFROM a\n",
    ] {
        let error = read(text, &ImageConfig::unknown()).unwrap_err();
        assert!(error.message().contains("in no key"), "{text}: {error}");
        assert!(error.line() >= 2, "{text}: {error}");
    }
    for text in ["FROM scratch\nADD x.tar /\n", "FROM scratch\nCOPY https /x\n"] {
        assert!(resolve(text).is_ok(), "{text}");
    }
}

#[test]
fn what_a_base_image_sets_decides_whether_something_is_fetched() {
    let base = |value: &str| ImageConfig::new([("U".to_owned(), value.to_owned())], Vec::new());
    for text in ["FROM a\nADD $U/x /x\n", "FROM a\nARG V\nADD $U-$V.tar.gz /x\n"] {
        assert!(read(text, &base("dir")).is_ok(), "{text}");
        let error = read(text, &base("https://example.com")).unwrap_err();
        assert!(error.message().contains("in no key"), "{text}: {error}");
    }
    for trigger in ["ADD https://example.com/x /", "ADD $U /x"] {
        let url = ("U".to_owned(), "https://example.com/x".to_owned());
        let base = ImageConfig::new([url], vec![trigger.to_owned()]);
        let error = read("FROM a\n", &base).unwrap_err();
        assert!(error.message().contains("in no key"), "{trigger}: {error}");
    }
}

#[test]
fn a_trigger_of_the_target_may_name_no_stage_for_it_runs_in_another_file() {
    for text in [
        "FROM scratch AS tools\nFROM scratch\nONBUILD COPY --from=tools /a /a\n",
        "FROM scratch\nONBUILD COPY --from=image /a /a\n",
        "FROM scratch AS t\nFROM scratch\nONBUILD RUN --mount=from=t,target=/t x\n",
    ] {
        let error = resolve(text).unwrap_err();
        assert!(error.message().contains("ONBUILD with --from"), "{text}: {error}");
    }
    for text in [
        "FROM scratch AS t\nFROM scratch AS b\nONBUILD COPY --from=t /a /a\nFROM b\n",
        "FROM scratch\nONBUILD RUN --mount=type=cache,target=/c x\n",
    ] {
        assert!(resolve(text).is_ok(), "{text}");
    }
}

#[test]
fn directives_that_engines_read_differently_are_refused() {
    for text in [
        "# foo=bar\n# syntax=docker/dockerfile:1\nFROM a\n",
        "# check=skip=all\n# escape=`\nFROM a\n",
        "#foo = bar\n#escape=`\nFROM a\n",
    ] {
        let error = resolve(text).unwrap_err();
        assert_eq!(error.line(), 2, "{text}: {error}");
        assert!(error.message().contains("by some engines"), "{text}: {error}");
    }
    for text in [
        "# foo=bar\nFROM a\n",
        "# escape=`\n# check=skip=all\nFROM a\n",
        "# syntax=docker/dockerfile:1\n# escape=`\nFROM a\n",
        "# check=skip=all\n# syntax=docker/dockerfile:1\nFROM a\n",
        "# a comment\n# syntax=docker/dockerfile:1\nFROM a\n",
    ] {
        assert!(resolve(text).is_ok(), "{text}");
    }
}
