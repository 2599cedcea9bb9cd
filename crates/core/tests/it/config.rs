//! Reading `dockit.toml`.

use std::path::Path;

use dockit_core::{ImageName, PushPolicy, config};

fn name(text: &str) -> ImageName {
    text.parse().unwrap()
}

fn problems(text: &str) -> String {
    config::parse(Path::new("/p/dockit.toml"), text).unwrap_err().to_string()
}

#[test]
fn defaults_follow_from_the_name() {
    let text = "[project]\nregistry = \"gcr.io/iree-oss\"\n[images.base]\n[images.\"ci/lint\"]\n";
    let project = config::parse(Path::new("/p/dockit.toml"), text).unwrap();
    let base = &project.images[&name("base")];
    assert_eq!(base.repository.to_string(), "gcr.io/iree-oss/base");
    assert!(base.has_registry);
    assert_eq!(base.dockerfile, Path::new("/p/base/Dockerfile"));
    assert_eq!(base.context, Path::new("/p/base"));
    assert_eq!(base.platform.to_string(), "linux/amd64");
    let lint = &project.images[&name("ci/lint")];
    assert_eq!(lint.repository.to_string(), "gcr.io/iree-oss/ci/lint");
    assert_eq!(lint.dockerfile, Path::new("/p/ci/lint/Dockerfile"));
    assert_eq!(project.push, PushPolicy::Auto);
    assert_eq!(project.lockfile, Path::new("/p/dockit.lock"));
}

#[test]
fn everything_that_can_be_written_is_read() {
    let text = r#"
[project]
registry = "registry.example:5000/team/"
push = "always"
lockfile = "locks/images.lock"
insecure-registries = ["registry.example:5000"]

[images.base]
repository = "sub/base-image"
dockerfile = "docker/Dockerfile.base"
context = ".."
target = "runtime"
platforms = ["linux/arm64"]
args = { PYTHON = "3.11", EMPTY = "" }
unkeyed-args = { BUILD_UID = "1000" }
tags = ["latest", "stable"]

[images.elsewhere]
repository = "ghcr.io/org/tool"
needs = ["base"]
"#;
    let project = config::parse(Path::new("/p/dockit.toml"), text).unwrap();
    assert_eq!(project.push, PushPolicy::Always);
    assert_eq!(project.lockfile, Path::new("/p/locks/images.lock"));
    assert_eq!(project.insecure_registries[0].to_string(), "registry.example:5000");
    let base = &project.images[&name("base")];
    assert_eq!(base.repository.to_string(), "registry.example:5000/team/sub/base-image");
    assert_eq!(base.dockerfile, Path::new("/p/docker/Dockerfile.base"));
    assert_eq!(base.context, Path::new("/p/.."));
    assert_eq!(base.target.as_deref(), Some("runtime"));
    assert_eq!(base.platform.to_string(), "linux/arm64");
    assert_eq!(base.args["PYTHON"], "3.11");
    assert_eq!(base.args["EMPTY"], "");
    assert_eq!(base.unkeyed_args["BUILD_UID"], "1000");
    assert_eq!(base.tags.len(), 2);
    let elsewhere = &project.images[&name("elsewhere")];
    assert_eq!(elsewhere.repository.to_string(), "ghcr.io/org/tool");
    assert_eq!(elsewhere.needs, [name("base")]);
}

#[test]
fn without_a_registry_images_are_names_in_the_engine() {
    let project = config::parse(Path::new("/p/dockit.toml"), "[images.base]\n").unwrap();
    let base = &project.images[&name("base")];
    assert!(!base.has_registry);
    assert_eq!(base.repository.familiar(), "base");
}

#[test]
fn ten_mistakes_are_ten_errors_each_with_its_line() {
    let text = r#"[project]
registry = "https://gcr.io/x"
pusch = "auto"
push = "allways"
[images.base]
dockerfil = "Dockerfile"
args = { N = 3, "1X" = "a" }
tags = ["latest", "latest", "not a tag"]
[images.Bad]
[images.child]
needs = ["bse", "child"]
platforms = ["linux/amd64", "linux/arm64"]
context = 7
[imagse]
"#;
    let found = problems(text);
    let expected = [
        ":2: a registry is written without \"https\"; did you mean \"gcr.io/x\"?",
        ":3: unknown key \"pusch\" in [project]; did you mean \"push\"?",
        ":4: push must be \"never\", \"auto\" or \"always\", not \"allways\"; did you mean \"always\"?",
        ":6: unknown key \"dockerfil\" in [images.base]; did you mean \"dockerfile\"?",
        ":7: \"N\" in [images.base] args must be a string, not an integer: write it in quotes",
        ":7: \"1X\" cannot be the name of a build argument",
        ":8: tag \"latest\" is there twice",
        ":9: invalid image name \"Bad\"",
        ":11: needs names the unknown image \"bse\"; did you mean \"base\"?",
        ":11: image \"child\" cannot need itself",
        ":12: several platforms",
        ":13: \"context\" in [images.child] must be a string, not an integer",
        ":14: unknown key \"imagse\" in the file; did you mean \"images\"?",
    ];
    for line in expected {
        assert!(found.contains(&format!("/p/dockit.toml{line}")), "{line}\nnot in:\n{found}");
    }
    assert_eq!(found.lines().count(), expected.len() + 1, "{found}");
}

#[test]
fn syntax_errors_have_lines_and_do_not_hide_other_mistakes() {
    let found = problems("[images.base]\ndockerfile = \ncontxt = \".\"\n");
    assert!(found.contains("/p/dockit.toml:2:"), "{found}");
    assert!(found.contains(":3: unknown key \"contxt\""), "{found}");
}

#[test]
fn one_table_needs_one_image_and_each_image_its_own_repository() {
    assert!(problems("[project]\n").contains("no image is declared"));
    let twice = "[images.a]\nrepository = \"x\"\n[images.b]\nrepository = \"x\"\n";
    assert!(problems(twice).contains("images \"a\" and \"b\" have the same repository"));
}

#[test]
fn a_moving_tag_cannot_look_like_a_content_tag() {
    let text = format!("[images.a]\ntags = [\"k1-{}\"]\n", "0".repeat(64));
    assert!(problems(&text).contains("has the form of a content tag"));
}

#[test]
fn a_file_that_is_not_utf8_or_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dockit.toml");
    let missing = config::load(&file).unwrap_err().to_string();
    assert!(missing.contains("dockit.toml") && missing.contains("cannot read"), "{missing}");
    std::fs::write(&file, b"[images.a]\n# \xff\n").unwrap();
    assert!(config::load(&file).unwrap_err().to_string().contains("line 2 is not UTF-8"));
}

#[test]
fn the_file_is_found_upwards() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("a/b");
    std::fs::create_dir_all(&deep).unwrap();
    assert_eq!(config::find(&deep), None);
    let file = directory.path().join("dockit.toml");
    std::fs::write(&file, "").unwrap();
    assert_eq!(config::find(&deep), Some(file));
}
