//! Images for several platforms, as commands show and choose them.

use insta::assert_snapshot;

use crate::run::Project;

fn project() -> Project {
    Project::new(&[
        (
            "dockit.toml",
            "[project]\nregistry = \"r.example/p\"\n[images.app]\n\
             platforms = [\"linux/amd64\", \"linux/arm64\"]\n[images.single]\n",
        ),
        ("app/Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY file-${TARGETARCH} /file\n"),
        ("app/file-amd64", "1"),
        ("app/file-arm64", "2"),
        ("single/Dockerfile", "FROM app\n"),
    ])
}

#[test]
fn an_index_and_its_parts_are_shown_with_their_platforms() {
    let project = project();
    let ran = project.run(&["key", "--format", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let json = ran.json();
    let lines: Vec<String> = json["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| {
            format!(
                "{} {} {} {} {}",
                image["name"],
                image["platform"],
                image["platforms"],
                image["dependencies"],
                image["inputs"]["files"]
            )
        })
        .collect();
    assert_snapshot!(lines.join("\n"), @r#"
    "app@linux/amd64" "linux/amd64" null [] 1
    "app@linux/arm64" "linux/arm64" null [] 1
    "app" null ["linux/amd64","linux/arm64"] ["app@linux/amd64","app@linux/arm64"] 0
    "single" null null ["app@linux/amd64"] 0
    "#);
    let list = project.run(&["list", "app", "--format", "json"]).json();
    let states: Vec<&str> = list["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["part", "part", "not pinned"]);
}

#[test]
fn a_platform_chooses_parts_and_says_what_is_left_out() {
    let project = project();
    let ran = project.run(&["key", "--platform", "linux/arm64"]);
    let names: Vec<&str> =
        ran.out.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["app@linux/arm64", "app"]);
    assert_snapshot!(ran.err, @"single: left out: it is for linux/amd64");
    let ran = project.run(&["key", "--platform", "linux/s390x"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("no selected image is for linux/s390x"), "{ran:?}");
    let ran = project.run(&["key", "--platform", "arm"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--platform: \"arm\" is no platform"), "{ran:?}");
}

#[test]
fn the_key_that_is_expected_of_an_image_is_its_indexs() {
    let project = project();
    let keys = project.run(&["key", "app", "--format", "json"]).json();
    let of = |name: &str| {
        let images = keys["images"].as_array().unwrap().iter();
        let mut named = images.filter(|image| image["name"] == name);
        named.next().unwrap()["key"].as_str().unwrap().to_owned()
    };
    assert_eq!(project.run(&["key", "app", "--expect", &of("app")]).code, 0);
    assert_eq!(project.run(&["key", "app", "--expect", &of("app@linux/amd64")]).code, 5);
    let part = ["key", "app@linux/amd64", "--expect", &of("app@linux/amd64")];
    assert_eq!(project.run(&part).code, 0);
}

#[test]
fn why_is_asked_of_a_platform() {
    let ran = project().run(&["why", "app", "--key", &format!("k1:{}", "0".repeat(64))]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.err.contains("name one of its images, app@linux/amd64, app@linux/arm64"),
        "{ran:?}"
    );
}

#[test]
fn the_graph_leads_from_index_to_parts() {
    let ran = project().run(&["graph", "--as", "mermaid"]);
    assert_snapshot!(ran.out, @r#"
    graph BT
        n0["app@linux/amd64"]
        n1["app@linux/arm64"]
        n2["app"]
        n2 -->|part| n0
        n2 -->|part| n1
        n3["single"]
        n3 -->|from| n0
    "#);
}

#[test]
fn one_image_without_a_file_can_be_for_several_platforms() {
    let project = project();
    let one =
        ["key", "--dockerfile", "app/Dockerfile", "--repository", "x", "--registry", "r.example"];
    let both = ["--platform", "linux/amd64", "--platform", "linux/arm64"];
    let ran = project.run(&[&one[..], &both].concat());
    let names: Vec<&str> =
        ran.out.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["x@linux/amd64", "x@linux/arm64", "x"], "{ran:?}");
    let ran = project.run(&[&one[..5], &both].concat());
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("is for several platforms, which needs a registry"), "{ran:?}");
}
