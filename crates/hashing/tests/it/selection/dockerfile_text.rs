//! Whether a build can read the Dockerfile that its archive holds.

use dockit_hashing::dockerfile::ImageConfig;

use super::Build;
use crate::tree::Tree;

fn tree() -> Tree {
    Tree::default()
        .file("src/a", "")
        .link("root", ".")
        .link("src/up", "..")
        .link("src/text", "../.dockit.Dockerfile")
        .link("text", ".dockit.Dockerfile")
}

fn reads(build: &Build<'_>) -> bool {
    build.list(tree().plant().path()).reads_dockerfile()
}

#[test]
fn the_root_and_what_matches_the_name_read_it() {
    for (instruction, expected) in [
        ("COPY . /", true),
        ("COPY src/.. /", true),
        ("COPY * /", true),
        ("COPY .d* /", true),
        ("COPY ?dockit* /", true),
        ("COPY .dockit.Dockerfile /", true),
        ("COPY [^a]dockit.Dockerfile /", true),
        ("COPY --exclude=src . /", true),
        ("COPY --exclude=.dockit.* . /", false),
        ("COPY --parents **/.dockit.* /", true),
        ("COPY --parents src/** /", false),
        ("COPY --parents src/./.dockit.* /", false),
        ("RUN --mount=target=/x make", true),
        ("RUN --mount=source=src,target=/x make", false),
        ("COPY src /", false),
        ("COPY *.txt s* /", false),
        ("COPY Dockerfile* /", false),
        ("COPY [.]x /", false),
        ("RUN make", false),
        ("COPY [\"./\", \"/\"]", true),
        ("ADD * /", true),
        ("ARG D=src\nCOPY $D /", false),
        ("ARG D=.\nCOPY $D /", true),
        ("COPY --from=b . /", false),
        ("RUN --mount=type=Bind,target=/x y", true),
        ("RUN --mount=type=bind,source=src,source=.,target=/x y", true),
        ("RUN --mount=type=bind,from=b,target=/x y", false),
        ("RUN --mount=type=cache,target=/x y", false),
        ("ONBUILD COPY . /", false),
    ] {
        let text = format!("FROM a\n{instruction}\n");
        assert_eq!(reads(&Build::of(&text)), expected, "{instruction}");
    }
}

#[test]
fn so_do_links_that_are_followed_and_lead_there() {
    for (source, expected) in [
        ("root", true),
        ("ro*", true),
        ("src/up", true),
        ("root/src/a", false),
        // Nothing of this name is in the context: the build fails, or reads the archive's.
        ("text", true),
        ("src/te*", true),
        // Content, not followed.
        ("src", false),
        ("src/a", false),
    ] {
        let text = format!("FROM scratch\nCOPY {source} /\n");
        assert_eq!(reads(&Build::of(&text)), expected, "{source}");
    }
}

#[test]
fn and_triggers_of_a_base_image() {
    let with = |trigger: &str| Build {
        base: Some(ImageConfig::new([], vec![trigger.to_owned()])),
        ..Build::of("FROM a\n")
    };
    assert!(reads(&with("COPY . /")));
    assert!(!reads(&with("COPY src /")));
}
