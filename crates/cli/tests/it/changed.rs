//! `dockit changed`

use std::process::Command;

use crate::run::Project;
use crate::scratch;

fn git(project: &Project, arguments: &[&str]) {
    let status = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
        .args(["-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always"])
        .args(arguments)
        .current_dir(project.root())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", "/nonexistent")
        .status()
        .unwrap();
    assert!(status.success(), "{arguments:?}");
}

fn repository() -> Project {
    let mut project = scratch("r.example");
    let path = "/usr/bin:/bin".to_owned();
    project.variables.push(("PATH", path));
    git(&project, &["init", "--quiet"]);
    commit(&project);
    project
}

fn commit(project: &Project) {
    git(project, &["add", "--all"]);
    git(project, &["commit", "--quiet", "--allow-empty", "--message", "x"]);
}

#[test]
fn names_are_data_and_the_rest_is_talk() {
    let project = repository();
    let none = project.run(&["changed", "--since", "HEAD", "--exit-code"]);
    assert_eq!((none.code, &*none.out), (0, ""), "{none:?}");
    project.write("base/file", "2");
    let ran = project.run(&["changed", "--since", "HEAD", "--exit-code", "--offline"]);
    assert_eq!((ran.code, &*ran.out), (5, "base\nchild\n"), "{ran:?}");
    assert!(ran.err.contains("this informs, and keys decide"), "{}", ran.err);
    let quiet = project.run(&["changed", "--since", "HEAD", "child", "--quiet"]);
    assert_eq!((quiet.code, &*quiet.out, &*quiet.err), (0, "child\n", ""));
    let verbose = project.run(&["changed", "--since", "HEAD", "-v"]);
    assert!(verbose.err.contains("base: file base/file changed\n"), "{}", verbose.err);
    assert!(verbose.err.contains("child: because of base\n"), "{}", verbose.err);
    commit(&project);
    let json =
        project.run(&["changed", "--since", "HEAD~1", "--until", "HEAD", "--format", "json"]);
    let json = json.json();
    assert_eq!(json["schema"], "dockit.changed/1");
    assert_eq!(json["informational"], true);
    assert_eq!(json["images"][0]["changes"][0]["name"], "base/file");
    assert_eq!(json["images"][1]["direct"], false);
    assert_eq!(json["files"], 1);
}

#[test]
fn a_shallow_clone_is_told_how_to_fetch() {
    let mut project = repository();
    commit(&project);
    let url = format!("file://{}", project.root().display());
    git(&project, &["clone", "--quiet", "--depth=1", &url, "../clone"]);
    let clone = project.root().join("../clone");
    project.variables.push(("CI", "1".to_owned()));
    let ran = project.run(&["-C", clone.to_str().unwrap(), "changed", "--since", "HEAD~1"]);
    assert_eq!((ran.code, &*ran.out), (2, ""), "{ran:?}");
    assert!(ran.err.contains("the clone is shallow"), "{}", ran.err);
    assert!(ran.err.contains("git fetch --unshallow"), "{}", ran.err);
    let none = project.run(&["changed", "--since", "nope"]);
    assert_eq!(none.code, 2, "{none:?}");
    assert!(!none.err.contains("shallow"), "{}", none.err);
}

#[test]
fn globs_of_the_configuration_are_checked() {
    let project = repository();
    let path = project.root().join("dockit.toml");
    let config = std::fs::read_to_string(path).unwrap();
    project.write("dockit.toml", &format!("{config}[changed]\nignore = [\"\", \"[\"]\nal = []\n"));
    let ran = project.run(&["changed", "--since", "HEAD"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    for part in ["ignore: \"\" is no pattern", "ignore: \"[\"", "\"al\""] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    // Only a comment has changed.
    project.write("dockit.toml", &format!("{config}# x\n[changed]\nall = [\"dockit.toml\"]\n"));
    let ran = project.run(&["changed", "--since", "HEAD", "-v"]);
    assert_eq!(ran.out, "base\nchild\n", "{ran:?}");
    assert!(ran.err.contains("dockit.toml changed, which affects all images"), "{}", ran.err);
}
