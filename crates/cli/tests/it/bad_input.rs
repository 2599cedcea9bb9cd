//! Bad input: one clear error for each mistake, exit 2, and nothing touched.

use insta::assert_snapshot;

use crate::run::Project;
use crate::scratch;

fn error(files: &[(&str, &str)], arguments: &[&str]) -> String {
    let project = Project::new(files);
    let ran = project.run(arguments);
    assert_eq!((ran.code, &*ran.out), (2, ""), "{ran:?}");
    assert!(!project.root().join("dockit.lock").exists());
    ran.err
}

#[test]
fn ten_mistakes_in_one_file() {
    let config = r#"[project]
registry = "https://gcr.io/x"
pusch = "auto"
push = "allways"
[images.base]
dockerfil = "Dockerfile"
args = { N = 3 }
tags = ["latest", "latest", "not a tag"]
[images.Bad]
[images.child]
needs = ["bse"]
context = 7
"#;
    assert_snapshot!(error(&[("dockit.toml", config)], &["build"]), @r#"
    error: DIR/dockit.toml:2: a registry is written without "https"; did you mean "gcr.io/x"?
    error: DIR/dockit.toml:3: unknown key "pusch" in [project]; did you mean "push"?
    error: DIR/dockit.toml:4: push must be "never", "auto" or "always", not "allways"; did you mean "always"?
    error: DIR/dockit.toml:6: unknown key "dockerfil" in [images.base]; did you mean "dockerfile"?
    error: DIR/dockit.toml:7: "N" in [images.base] args must be a string, not an integer: write it in quotes
    error: DIR/dockit.toml:8: tag "latest" is there twice
    error: DIR/dockit.toml:8: tag "not a tag" must be 1 to 128 letters, digits, "_", "." and "-", and begin with none of the last two
    error: DIR/dockit.toml:9: invalid image name "Bad": use lower-case letters, digits, `.`, `_`, `-` and `/`, beginning and ending with a letter or digit
    error: DIR/dockit.toml:11: needs names the unknown image "bse"; did you mean "base"?
    error: DIR/dockit.toml:12: "context" in [images.child] must be a string, not an integer
    "#);
}

#[test]
fn broken_dockerfiles_and_missing_files() {
    let files = [
        (
            "dockit.toml",
            "[images.gone]\n[images.bad]\n[images.far]\ndockerfile = \"bad/ok\"\ncontext = \"nowhere\"\n",
        ),
        ("bad/Dockerfile", "FROM scratch\n\nCOPPY a b\n"),
        ("bad/ok", "FROM scratch\n"),
    ];
    assert_snapshot!(error(&files, &["plan"]), @r#"
    error: DIR/bad/Dockerfile:3: unknown instruction COPPY (did you mean COPY?)
    error: DIR/dockit.toml:1: image "gone": there is no Dockerfile DIR/gone/Dockerfile
    error: DIR/dockit.toml:3: image "far": there is no build context directory DIR/nowhere
    "#);
}

#[test]
fn a_cycle() {
    let files = [
        ("dockit.toml", "[images.a]\n[images.b]\n"),
        ("a/Dockerfile", "FROM b\n"),
        ("b/Dockerfile", "FROM scratch\nCOPY --from=a /x /x\n"),
    ];
    assert_snapshot!(error(&files, &["graph"]), @"error: DIR/dockit.toml:2: images depend on each other in a cycle: b -copy-from-> a -from-> b");
}

#[test]
fn no_configuration() {
    let project = Project::new(&[("x", "")]);
    let ran = project.run(&["list"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("no dockit.toml in DIR or above it"), "{}", ran.err);
    let ran = project.run(&["-C", "nowhere", "list"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("there is no directory"), "{}", ran.err);
    let ran = project.run(&["--config", "other.toml", "list"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("other.toml"), "{}", ran.err);
}

#[test]
fn an_unknown_image() {
    let ran = scratch("r.example").run(&["build", "chidl"]);
    assert_eq!(ran.code, 2);
    assert_snapshot!(ran.err, @r#"
    error: no image is called "chidl"
    hint: did you mean "child"?
    "#);
}

#[test]
fn options_that_cannot_be() {
    let local = [("dockit.toml", "[images.a]\n"), ("a/Dockerfile", "FROM scratch\n")];
    assert_snapshot!(error(&local, &["build", "--push", "always"]), @"error: nowhere to push a: the project has no registry");
    assert_snapshot!(error(&local, &["build", "--pin"]), @"error: only pushed images can be pinned: pin together with a push");
    assert!(error(&local, &["build", "--jobs", "0"]).contains("--jobs"));
    assert!(error(&local, &["build", "--push", "sometimes"]).contains("always"));
}

#[test]
fn a_damaged_lockfile() {
    let files = [
        ("dockit.toml", "[images.a]\n"),
        ("a/Dockerfile", "FROM scratch\n"),
        ("dockit.lock", "version = 1\n<<<<<<< HEAD\n"),
    ];
    let project = Project::new(&files);
    for command in ["list", "key", "plan", "build"] {
        let ran = project.run(&[command]);
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("DIR/dockit.lock: line 2"), "{}", ran.err);
    }
}

#[test]
fn a_context_that_cannot_be_keyed() {
    let files = [
        ("dockit.toml", "[images.a]\n"),
        ("a/Dockerfile", "FROM scratch\nCOPY . /\n"),
        ("a/.dockerignore", "ok\nb[\n"),
    ];
    let message = error(&files, &["key"]);
    assert!(message.contains("DIR/a/.dockerignore: line 2: "), "{message}");
}
