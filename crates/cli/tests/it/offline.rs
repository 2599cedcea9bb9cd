//! Commands that need no network.

use insta::assert_snapshot;

use crate::run::Project;
use crate::scratch;

#[test]
fn key_prints_keys() {
    let project = scratch("r.example");
    let ran = project.run(&["key", "--offline"]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    assert_snapshot!(ran.out, @r"
    base   k1:14d460eed02bae96c8bb15902f4da34571886bb8cb6e7ab816279bf71acd2f15
    child  k1:734ccd812adbb5a3f28426d2ba74a5e1eb94919f0dd88d73e3a3a16d10a45aa8
    ");
    let json = project.run(&["key", "child", "--format", "json"]).json();
    assert_eq!(json["schema"], "dockit.keys/1");
    let child = &json["images"][0];
    let key = child["key"].as_str().unwrap();
    assert_eq!(child["name"], "child");
    assert_eq!(child["tag"], key.replace(':', "-"));
    assert_eq!(child["reference"], format!("r.example/p/child:{}", key.replace(':', "-")));
    assert_eq!(child["dependencies"], serde_json::json!(["base"]));
    assert_eq!(child["inputs"], serde_json::json!({"files": 1, "bytes": 1}));
}

#[test]
fn keys_do_not_depend_on_where_one_stands() {
    let project = scratch("r.example");
    let here = project.run(&["key"]).out;
    let mut below = project.command(&["key"]);
    below.current_dir(project.root().join("base"));
    assert_eq!(String::from_utf8(below.output().unwrap().stdout).unwrap(), here);
    let root = project.root();
    let mut elsewhere = project.command(&["-C", root.to_str().unwrap(), "key"]);
    elsewhere.current_dir("/");
    assert_eq!(String::from_utf8(elsewhere.output().unwrap().stdout).unwrap(), here);
    let file = root.join("dockit.toml");
    let mut named = project.command(&["--config", file.to_str().unwrap(), "key"]);
    named.current_dir("/");
    assert_eq!(String::from_utf8(named.output().unwrap().stdout).unwrap(), here);
}

#[test]
fn list_shows_images_that_have_no_key_yet() {
    let project = Project::new(&[
        ("dockit.toml", "[images.a]\n[images.b]\n"),
        ("a/Dockerfile", "FROM debian:12\n"),
        ("b/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("b/f", ""),
    ]);
    let ran = project.run(&["list"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_snapshot!(ran.out, @r"
    NAME  KEY              STATE       REPOSITORY  NEEDS
    a     -                no key      a
    b     k1:e9fbdd4a5a8b  not pinned  b
    ");
    let json = project.run(&["list", "--format", "json"]).json();
    assert!(json["images"][0]["problem"].as_str().unwrap().contains("debian:12"));
    assert_eq!(json["images"][1]["state"], "not pinned");
}

#[test]
fn graph_has_four_notations() {
    let project = Project::new(&[
        ("dockit.toml", "[images.a]\n[images.b]\nneeds = [\"a\"]\n[images.c]\n"),
        ("a/Dockerfile", "FROM debian:12\n"),
        ("b/Dockerfile", "FROM scratch\n"),
        ("c/Dockerfile", "FROM b\nCOPY --from=a /x /x\n"),
    ]);
    assert_snapshot!(project.run(&["graph"]).out, @r"
    a
    └─ debian:12 (external)
    b
    └─ a (needs)
    c
    ├─ a (copy-from)
    └─ b (from)
    ");
    assert_snapshot!(project.run(&["graph", "--as", "dot"]).out, @r#"
    digraph images {
        rankdir = BT;
        "a";
        "b";
        "b" -> "a" [label = "needs"];
        "c";
        "c" -> "a" [label = "copy-from"];
        "c" -> "b" [label = "from"];
    }
    "#);
    assert_snapshot!(project.run(&["graph", "--as", "mermaid"]).out, @r#"
    graph BT
        n0["a"]
        n1["b"]
        n1 -->|needs| n0
        n2["c"]
        n2 -->|copy-from| n0
        n2 -->|from| n1
    "#);
    let json = project.run(&["graph", "--as", "json"]).json();
    assert_eq!(json, project.run(&["graph", "--format", "json"]).json());
    assert_eq!(json["images"][2]["dependencies"][1]["kind"], "from");
    assert_eq!(json["images"][0]["bases"][0], "debian:12");
}

#[test]
fn what_needs_the_network_says_so() {
    let project = scratch("r.example");
    for command in ["plan", "build"] {
        let ran = project.run(&[command, "--offline"]);
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("--offline forbids"), "{}", ran.err);
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let project = scratch("r.example");
    let mut child = project
        .command(&["graph", "--as", "dot"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn help_and_version_are_data_and_mistakes_are_not() {
    let project = scratch("r.example");
    let help = project.run(&["--help"]);
    assert_eq!((help.code, &*help.err), (0, ""));
    for command in ["list", "graph", "key", "plan", "build", "why", "tag", "pull", "copy"] {
        assert!(help.out.contains(command), "{}", help.out);
    }
    assert_eq!(project.run(&["--version"]).code, 0);
    let mistake = project.run(&["biuld"]);
    assert_eq!((mistake.code, &*mistake.out), (2, ""));
    assert!(mistake.err.contains("'build'"), "{}", mistake.err);
}
