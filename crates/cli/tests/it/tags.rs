//! What is said about moving tags, without an engine.

use dockit_testkit::{Reply, ScriptedServer};
use serde_json::json;

use crate::run::Project;
use crate::why::git;

fn absent() -> ScriptedServer {
    ScriptedServer::start(|_| {
        Reply::new(404)
            .header("Content-Type", "application/json")
            .body(r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#)
    })
}

fn project(host: &str, tags: &str) -> Project {
    let project = Project::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\nregistry = \"{host}/p\"\n[images.base]\ntags = {tags}\n[images.child]\n\
                 tags = {tags}\n"
            ),
        ),
        ("base/Dockerfile", "FROM scratch\nCOPY file /\n"),
        ("base/file", "1"),
        ("child/Dockerfile", "FROM base\n"),
    ]);
    git(&project, &["init", "--quiet", "--initial-branch", "feature/x"]);
    git(&project, &["add", "--all"]);
    git(&project, &["commit", "--quiet", "--message", "first"]);
    project
}

#[test]
fn a_plan_names_the_tags_that_would_move_and_those_that_would_not() {
    let registry = absent();
    let mut project = project(&registry.host(), "[\"latest\", \"{branch}\"]");
    let plan = project.run(&["plan", "--push", "always", "--format", "json"]).json();
    assert_eq!(plan["steps"][0]["tags"], json!(["feature-x"]));
    let reason = "it moves on the default branch only, nothing says which one that is, and this is \
                  feature/x";
    assert_eq!(
        plan["steps"][0]["held_tags"],
        json!([{"tag": "latest", "kind": "other-branch", "reason": reason}])
    );
    let text = project.run(&["plan", "--push", "always"]).out;
    assert!(text.contains(&format!("latest is not moved (base, child): {reason}\n")), "{text}");
    let forced = ["plan", "--push", "always", "--force-tags", "--format", "json"];
    let plan = project.run(&forced).json();
    assert_eq!(plan["steps"][0]["tags"], json!(["latest", "feature-x"]));
    assert_eq!(plan["steps"][0]["held_tags"], json!([]));
    // A run that does not push moves no tags.
    let engine = crate::failures::idle_engine(Default::default());
    project.docker_host = format!("tcp://{}", engine.host());
    let plan = project.run(&["plan", "--format", "json"]).json();
    assert_eq!(
        (&plan["steps"][0]["tags"], &plan["steps"][0]["held_tags"]),
        (&json!([]), &json!([]))
    );
}

#[test]
fn github_says_the_branch_in_variables_and_the_default_branch_in_a_file() {
    let registry = absent();
    let mut project = project(&registry.host(), "[\"latest\", \"{branch}-{run}\"]");
    git(&project, &["checkout", "--quiet", "--detach"]);
    let event = project.root().join("../event.json");
    std::fs::write(&event, r#"{"repository": {"default_branch": "trunk"}}"#).unwrap();
    project.variables = [
        ("CI", "true"),
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_REF", "refs/heads/trunk"),
        ("GITHUB_RUN_ID", "77"),
        ("GITHUB_EVENT_PATH", event.to_str().unwrap()),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec();
    let plan = project.run(&["plan", "--format", "json"]).json();
    assert_eq!(plan["steps"][0]["tags"], json!(["latest", "trunk-77"]));
    std::fs::write(&event, r#"{"repository": {"default_branch": "main"}}"#).unwrap();
    let plan = project.run(&["plan", "--format", "json"]).json();
    let reason = "it moves on main only, and this is trunk";
    assert_eq!(plan["steps"][0]["held_tags"][0]["reason"], reason);
}

#[test]
fn templates_that_can_be_no_tags_are_errors_with_their_lines() {
    let project = Project::new(&[
        (
            "dockit.toml",
            "[project]\ndefault-branch = \"refs/heads/x\"\n[images.a]\ntags = [\n\"{brunch}\",\n\
             \"{version}\",\n\"{prefix}\",\n\"-{date}\",\n\"k1-{run}\",\n]\n[images.b]\n\
             tag-prefix = \"k1-x\"\n[images.c]\ntag-prefix = \"-\"\n",
        ),
        ("a/Dockerfile", "FROM scratch\n"),
    ]);
    let ran = project.run(&["plan"]);
    insta::assert_snapshot!(ran.err, @r#"
    error: DIR/dockit.toml:2: default-branch is written without "refs/heads/"; did you mean "x"?
    error: DIR/dockit.toml:5: tag "{brunch}" has the unknown placeholder {brunch}; there are {branch} {commit} {version} {prefix} {run} {date}; did you mean "{branch}"?
    error: DIR/dockit.toml:6: tag "{version}" needs a version: [project] has none, such as version = { file = "pyproject.toml" }
    error: DIR/dockit.toml:7: tag "{prefix}" needs a tag-prefix of the image
    error: DIR/dockit.toml:8: "-{date}" can never be a tag: no tag begins with '-'
    error: DIR/dockit.toml:9: tag "k1-{run}" has the form of a content tag
    error: DIR/dockit.toml:12: invalid tag-prefix "k1-x": no moving tag begins so; use up to 128 letters, digits, `_`, `.` and `-`, beginning with none of the last two, nor with k1-
    error: DIR/dockit.toml:14: invalid tag-prefix "-": no moving tag begins so; use up to 128 letters, digits, `_`, `.` and `-`, beginning with none of the last two, nor with k1-
    "#);
    assert_eq!(ran.code, 2);
}

#[test]
fn a_version_that_is_not_there_is_exit_2() {
    let registry = absent();
    let project = project(&registry.host(), "[\"{version}-{branch}\"]");
    let text = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
    let version = "[project]\nversion = { file = \"pyproject.toml\" }\n";
    project.write(
        "dockit.toml",
        &text
            .replace("[project]\n", version)
            .replace("[images.child]\ntags = [\"{version}-{branch}\"]\n", "[images.child]\n"),
    );
    project.write("pyproject.toml", "[project]\nname = \"x\"\n");
    let ran = project.run(&["build", "--push", "always"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("pyproject.toml has neither of project.version"), "{}", ran.err);
    project.write("pyproject.toml", "[project]\nversion = \"1.2\"\n");
    let plan = project.run(&["plan", "--push", "always", "--format", "json"]).json();
    assert_eq!(plan["steps"][0]["tags"], json!(["1.2-feature-x"]));
}
