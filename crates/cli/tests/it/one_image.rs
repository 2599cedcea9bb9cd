//! `--dockerfile`: one image without a `dockit.toml`.

use dockit_testkit::{Reply, ScriptedServer};
use insta::assert_snapshot;

use crate::run::Project;

/// A Dockerfile, and beside it a `dockit.toml` that nobody can read.
fn files() -> Project {
    Project::new(&[
        ("dockit.toml", "this is no configuration"),
        ("docker/Dockerfile", "FROM scratch\nARG A\nARG UID\nCOPY file /\n"),
        ("docker/file", "1"),
        ("sub/x", ""),
    ])
}

const IMAGE: [&str; 4] = ["--dockerfile", "docker/Dockerfile", "--repository", "team/image"];

#[test]
fn the_key_is_told_without_a_configuration_and_nothing_is_written() {
    let mut project = files();
    let run = |project: &Project, more: &[&str]| {
        let ran =
            project.run(&[&["key", "--format", "json", "--offline"], &IMAGE[..], more].concat());
        assert_eq!((ran.code, &*ran.err), (0, ""), "{ran:?}");
        ran.json()["images"][0].clone()
    };
    let plain = run(&project, &[]);
    assert_eq!(plain["name"], "team/image");
    let reference = run(&project, &["--registry", "r.example/ci"])["reference"].clone();
    let tag = plain["tag"].as_str().unwrap();
    assert_eq!(reference, format!("r.example/ci/team/image:{tag}"));
    // `A` has the value of the environment, and none where that has none.
    assert_eq!(run(&project, &["--build-arg", "A"])["key"], plain["key"]);
    project.variables.push(("A", "1".to_owned()));
    let given = run(&project, &["--build-arg", "A"])["key"].clone();
    assert_eq!(run(&project, &["--build-arg", "A=1"])["key"], given);
    assert_ne!(plain["key"], given);
    // From another directory, and from one that -C names.
    let elsewhere = ["key", "--format", "json", "--build-arg", "A"];
    for named in [
        &["-C", "docker", "--dockerfile", "Dockerfile", "--repository", "x"][..],
        &["-C", "sub", "--dockerfile", "../docker/Dockerfile", "--repository", "x"],
        &["--dockerfile", "docker/Dockerfile", "--context", "./docker/", "--repository", "x"],
    ] {
        let ran = project.run(&[&elsewhere[..], named].concat());
        assert_eq!(ran.json()["images"][0]["key"], given, "{named:?}");
    }
    let mut left: Vec<_> = std::fs::read_dir(project.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["docker", "dockit.toml", "sub"]);
    assert!(!project.root().join("docker/.dockit").exists());
}

#[test]
fn what_cannot_be_combined_is_told() {
    let project = files();
    for (arguments, expected) in [
        (&["build", "base"][..], "cannot be used with"),
        (&["plan", "base"], "cannot be used with"),
        (&["build", "--config", "x.toml"], "--config cannot be used with --dockerfile"),
        (&["build", "--with-dependents"], "--with-dependents cannot be used with --dockerfile"),
        (&["plan", "--prepare"], "--prepare cannot be used with --dockerfile"),
        (&["build", "--pin"], "--pin with --dockerfile needs --lockfile FILE"),
        (&["build", "--locked"], "--locked with --dockerfile needs --lockfile FILE"),
        (&["build", "--offline"], "asks registries, which --offline forbids"),
    ] {
        let ran = project.run(&[arguments, &IMAGE[..]].concat());
        assert_eq!((ran.code, &*ran.out), (2, ""), "{ran:?}");
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
    }
    for arguments in [&["build", "--repository", "x"][..], &["build", "--tag", "x"]] {
        let ran = project.run(arguments);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.err.contains("--dockerfile <FILE>"), "{}", ran.err);
    }
    let without = project.run(&["build", "--dockerfile", "docker/Dockerfile"]);
    assert!(without.err.contains("--repository <NAME>"), "{}", without.err);
}

#[test]
fn mistakes_are_told_by_their_options() {
    let ran = files().run(&[
        "build",
        "--dockerfile",
        "docker/Dockerfile",
        "--repository",
        "Team",
        "--platform",
        "x",
        "--registry",
        "https://r.example",
        "--build-arg",
        "1=a",
    ]);
    assert_eq!(ran.code, 2);
    assert_snapshot!(ran.err, @r#"
    error: --build-arg: "1" cannot be the name of a build argument
    error: --platform: "x" is no platform: expected "os/architecture" or "os/architecture/variant"
    error: --registry: a registry is written without "https"; did you mean "r.example"?
    error: --repository: invalid image name "Team": use lower-case letters, digits, `.`, `_`, `-` and `/`, beginning and ending with a letter or digit
    "#);
}

#[test]
fn external_images_need_a_registry_or_a_lockfile() {
    let project = files();
    project.write("docker/Dockerfile", "FROM debian:12\n");
    let ran = project.run(&[&["key", "--offline"], &IMAGE[..]].concat());
    assert_eq!(ran.code, 2);
    assert_snapshot!(ran.err, @"error: without --lockfile a registry is asked for the external images, which --offline forbids");
    let digest = format!("sha256:{}", "1".repeat(64));
    project.write(
        "locks/image.lock",
        &format!(
            "version = 1\n\n[[base]]\nreference = \"docker.io/library/debian:12\"\n\
             digest = \"{digest}\"\n\n[[base.platform]]\nname = \"linux/amd64\"\n\
             digest = \"{digest}\"\nenv = []\nonbuild = []\n"
        ),
    );
    let locked = ["key", "--offline", "--lockfile", "locks/image.lock"];
    let ran = project.run(&[&locked[..], &IMAGE[..]].concat());
    assert_eq!((ran.code, &*ran.err), (0, ""), "{ran:?}");
    assert!(ran.out.starts_with("team/image  k1:"), "{}", ran.out);
}

/// Hints name commands that could be typed, and files that are meant.
#[test]
fn hints_are_of_one_image() {
    let project = files();
    let key = format!("k1:{}", "0".repeat(64));
    let ran = project.run(&[&["key", "--offline", "--expect", &key], &IMAGE[..]].concat());
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(!ran.err.contains("hint: "), "{}", ran.err);
    project.write("docker/Dockerfile", "FROM debian:12\n");
    let without_entry = ["key", "--offline", "--lockfile", "locks/image.lock"];
    project.write("locks/image.lock", "version = 1\n");
    let ran = project.run(&[&without_entry[..], &IMAGE[..]].concat());
    assert_eq!(ran.code, 2, "{ran:?}");
    let hint = "hint: `dockit build` with the same options for the image resolves these images and \
                writes their digests to DIR/locks/image.lock\n";
    assert!(ran.err.ends_with(hint), "{}", ran.err);
    let ran = project.run(&[&["key", "--offline", "--tag", "{version}"], &IMAGE[..]].concat());
    assert_eq!(ran.code, 2, "{ran:?}");
    assert_eq!(
        ran.err,
        "error: --tag: tag \"{version}\" needs a version, which only a dockit.toml names\n"
    );
}

#[test]
fn an_absent_image_is_made_by_the_same_options() {
    let registry = ScriptedServer::start(|_| Reply::new(404));
    let mut project = files();
    project.docker_host = "unix:///nowhere.sock".to_owned();
    let host = registry.host();
    let absent = ["build", "--no-build", "--registry", &host];
    let ran = project.run(&[&absent[..], &IMAGE[..]].concat());
    assert_eq!(ran.code, 1, "{ran:?}");
    let hint = "hint: `dockit build --push always` with the same options for the image makes and pushes what is absent";
    assert!(ran.err.contains(hint), "{}", ran.err);
}
