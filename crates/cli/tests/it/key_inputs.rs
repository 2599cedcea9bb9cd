//! What the command says about inputs that are no files of a build context.

use insta::assert_snapshot;

use crate::failures::idle_engine;
use crate::run::Project;

#[test]
fn the_environment_gives_arguments_and_secrets_are_warned_about() {
    let mut project = Project::new(&[
        ("dockit.toml", "[images.a]\nenv-args = [\"V\", \"NPM_TOKEN\"]\n"),
        ("a/Dockerfile", "FROM scratch\nARG V\n"),
    ]);
    let without = project.run(&["key"]);
    assert_snapshot!(without.err, @r#"warning: DIR/dockit.toml:2: argument "NPM_TOKEN" is named like a secret, and the values of build arguments stand in the image's history; if it is none, publish-args may name it"#);
    project.variables = vec![("V", String::new())];
    let empty = project.run(&["key"]);
    project.variables = vec![("V", "1".to_owned())];
    let one = project.run(&["key"]);
    assert!(without.out != empty.out && empty.out != one.out && without.out != one.out);
}

#[test]
fn a_coarse_key_is_shown_wherever_the_image_stands() {
    let project = Project::new(&[
        (
            "dockit.toml",
            "[images.a.declared-key]\ntorch = { file = \"a/requirements.txt\", pattern = '^torch==(.*)$' }\n\
             python = { file = \"pyproject.toml\", field = \"project.requires-python\" }\n[images.b]\n",
        ),
        ("a/Dockerfile", "FROM scratch\nCOPY . /\n"),
        ("a/requirements.txt", "numpy==1.26\ntorch==2.1.0\n"),
        ("b/Dockerfile", "FROM a\n"),
        ("pyproject.toml", "[project]\nrequires-python = \">=3.9\"\n"),
    ]);
    assert_snapshot!(project.run(&["list"]).out, @r"
    NAME  KEY              STATE       REPOSITORY  NEEDS  NOTE
    a     k1:a0b247ee06bd  not pinned  a                  declared key: python=>=3.9 torch=2.1.0
    b     k1:c189312ff031  not pinned  b           a
    ");
    assert_snapshot!(project.run(&["key"]).out, @r"
    a  k1:a0b247ee06bdc0d465de8c8b343c2f0b1541edd31895a7d490dad012b09be192  declared key: python=>=3.9 torch=2.1.0
    b  k1:c189312ff031d8f02945deed0426da7c69c47861d90dfe362a06a04e6a41c065
    ");
    for command in ["list", "key"] {
        let json = project.run(&[command, "--format", "json"]).json();
        let declared = serde_json::json!({"python": ">=3.9", "torch": "2.1.0"});
        assert_eq!(json["images"][0]["declared"], declared, "{command}");
        assert!(json["images"][1].get("declared").is_none(), "{command}");
    }
    project.write("a/requirements.txt", "torch==1\ntorch==2\n");
    let ran = project.run(&["key"]);
    assert_eq!(ran.code, 2);
    assert_snapshot!(ran.err, @r#"error: DIR/dockit.toml:2: declared key "torch": a/requirements.txt has several values for the pattern "^torch==(.*)$": "1", "2""#);
}

#[test]
fn missing_inputs_have_their_lines() {
    let project = Project::new(&[
        ("dockit.toml", "[images.a]\ninputs = [\n  \"../scripts\",\n  \"dockit.lock\",\n]\n"),
        ("dockit.lock", "version = 1\n"),
        ("a/Dockerfile", "FROM scratch\n"),
    ]);
    let ran = project.run(&["key"]);
    assert_eq!((ran.code, &*ran.out), (2, ""));
    assert_snapshot!(ran.err, @r"
    error: DIR/dockit.toml:3: inputs: there is no ../scripts
    error: DIR/dockit.toml:4: inputs: dockit.lock is dockit's own and never counts
    ");
}

#[test]
fn an_expired_epoch_is_a_warning() {
    let project = Project::new(&[
        ("dockit.toml", "[images.a]\nrefresh = \"weekly\"\n[images.b]\nrefresh = \"daily\"\n"),
        (
            "dockit.lock",
            "version = 1\n\n[[epoch]]\nimage = \"a\"\nepoch = \"2020-W01\"\n\n\
             [[epoch]]\nimage = \"b\"\nepoch = \"2020-W01\"\n",
        ),
        ("a/Dockerfile", "FROM scratch\n"),
        ("b/Dockerfile", "FROM scratch\n"),
    ]);
    let ran = project.run(&["key"]);
    assert_eq!(ran.code, 0);
    assert_snapshot!(ran.err, @r#"
    a: warning: the lockfile's epoch 2020-W01 expired on 2020-01-06
    b: warning: the lockfile's epoch 2020-W01 is ignored, because refresh is "daily" now
    "#);
    assert_eq!(project.run(&["list"]).err, ran.err);
}

fn prepared(run: &str) -> Project {
    Project::new(&[
        (
            "dockit.toml",
            &format!(
                "[images.a]\nprepare = {{ run = \"{run}\", outputs = [\"a/made\"] }}\n[images.b]\n"
            ),
        ),
        ("a/Dockerfile", "FROM scratch\nCOPY made /\n"),
        ("b/Dockerfile", "FROM scratch\n"),
    ])
}

#[test]
fn what_only_reads_runs_nothing_unless_it_is_told_to() {
    let project = prepared("echo making; echo $WORD > a/made");
    let ran = project.run(&["key"]);
    assert_eq!((ran.code, &*ran.out), (2, ""));
    assert_snapshot!(ran.err, @r"
    error: DIR/dockit.toml:2: there is no a/made, which prepare makes
    hint: `dockit build` runs the prepare commands; other commands do so with --prepare
    ");
    assert!(!project.root().join("a/made").exists());
    let ran = project.run(&["list"]);
    assert_eq!(ran.code, 0);
    assert_snapshot!(ran.err, @r"a: DIR/dockit.toml:2: there is no a/made, which prepare makes");

    let mut project = project;
    project.variables = vec![("WORD", "hello".to_owned())];
    let ran = project.run(&["key", "--prepare"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_snapshot!(ran.err, @r"
    a: preparing: echo making; echo $WORD > a/made
    a | making
    ");
    let made = std::fs::read_to_string(project.root().join("a/made")).unwrap();
    assert_eq!(made, "hello\n", "the environment is that of the run");
    assert_eq!(project.run(&["key"]).out, ran.out);
    assert_eq!(project.run(&["list", "--prepare", "b"]).err, "", "b needs no preparation");
}

#[test]
fn a_command_that_fails_is_exit_1_with_what_it_wrote() {
    let project = prepared("echo because >&2; exit 7");
    let ran = project.run(&["key", "--prepare"]);
    assert_eq!((ran.code, &*ran.out), (1, ""));
    assert_snapshot!(ran.err, @r"
    a: preparing: echo because >&2; exit 7
    a | because
    error: image a: the prepare command `echo because >&2; exit 7` ended with exit code 7
    ");
    assert_eq!(project.run(&["build"]).err, ran.err);
    let quiet = project.run(&["key", "--prepare", "--quiet"]);
    assert_snapshot!(quiet.err, @r"
    a | because
    error: image a: the prepare command `echo because >&2; exit 7` ended with exit code 7
    ");
    assert_eq!(prepared("true").run(&["list", "--prepare"]).code, 1, "it made no output");
}

#[test]
fn a_plan_shows_when_keys_expire_and_what_is_declared() {
    let mut project = Project::new(&[
        (
            "dockit.toml",
            "[images.a]\nrefresh = \"monthly\"\n\
             declared-key.v = { file = \"a/v\", pattern = \".+\" }\n[images.b]\n[images.c]\n",
        ),
        ("dockit.lock", "version = 1\n\n[[epoch]]\nimage = \"a\"\nepoch = \"2020-12\"\n"),
        ("a/Dockerfile", "FROM scratch\n"),
        ("a/v", "1.0\n"),
        ("b/Dockerfile", "FROM a\n"),
        ("c/Dockerfile", "FROM scratch\n"),
    ]);
    let engine = idle_engine(Default::default());
    project.docker_host = format!("tcp://{}", engine.host());
    let ran = project.run(&["plan"]);
    assert_snapshot!(ran.out, @r"
    build  a  k1:69293f581ffb  no image has this key                                 expires 2021-01-01; declared key: v=1.0
    build  c  k1:7b392297f985  no image has this key
    build  b  k1:7860dd33ff0d  no image has this key; built after a, which it needs  expires 2021-01-01
    3 to build, 0 to retag, 0 to reuse, 0 to skip
    ");
    assert_snapshot!(ran.err, @"a: warning: the lockfile's epoch 2020-12 expired on 2021-01-01");
    let json = project.run(&["plan", "--format", "json"]).json();
    let steps = json["steps"].as_array().unwrap();
    let expires: Vec<_> = steps.iter().map(|step| step["expires"].as_str()).collect();
    let january = Some("2021-01-01T00:00:00Z");
    assert_eq!(expires, [january, None, january], "a dependent expires with its dependency");
    assert_eq!(steps[0]["declared"], serde_json::json!({"v": "1.0"}));
}

#[test]
fn an_argument_that_nothing_declares_is_said_once() {
    let project = Project::new(&[
        ("dockit.toml", "[images.a]\nargs = { W = \"1\" }\n[images.b]\n"),
        ("a/Dockerfile", "FROM scratch\n"),
        ("b/Dockerfile", "FROM a\n"),
    ]);
    for command in ["key", "list"] {
        let said = project.run(&[command]).err;
        assert_eq!(said.trim_end(), "a: warning: its Dockerfile declares no ARG W", "{command}");
    }
}
