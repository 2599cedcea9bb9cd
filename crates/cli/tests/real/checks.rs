//! Tests of images in real containers and on the host.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use dockit_testkit::{Auth, RegistryProcess};
use serde_json::Value;

use crate::engine::{self, Cleanup};
use crate::run::{Project, Ran};
use crate::{base_image, nonce};

/// A project with one image on Debian whose entrypoint always fails, and with these settings.
pub(crate) fn project(table: &str, image: &str) -> Project {
    let mut project = Project::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\n{table}\n[images.checked]\nargs = {{ BASE = \"{}\" }}\n{image}\n",
                base_image()
            ),
        ),
        ("checked/Dockerfile", "ARG BASE\nFROM $BASE\nCOPY nonce /nonce\nENTRYPOINT [\"false\"]\n"),
        ("checked/nonce", &nonce()),
    ]);
    project.docker_host = engine::endpoint();
    project
}

fn tags(registry: &RegistryProcess, repository: &str) -> String {
    let mut stream = TcpStream::connect(registry.host()).unwrap();
    let host = registry.host();
    write!(stream, "GET /v2/{repository}/tags/list HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

/// Removes the images of a run that have no name, because they failed.
struct Nameless(Value);

impl Drop for Nameless {
    fn drop(&mut self) {
        for image in self.0["images"].as_array().unwrap() {
            engine::remove_built(image["key"].as_str().unwrap());
        }
    }
}

fn built(ran: Ran) -> (Value, Cleanup) {
    assert_eq!(ran.code, 0, "{ran:?}");
    let json = ran.json();
    let cleanup = Cleanup::of(&json);
    (json, cleanup)
}

#[test]
fn commands_run_in_the_image_without_its_entrypoint_before_the_push() {
    let registry = RegistryProcess::start(Auth::None);
    let project = project(
        &format!("registry = \"{}/ci\"", registry.host()),
        "test = [\"test -s /nonce && echo out; echo err >&2; echo $DOCKIT_IMAGE_NAME\", \
         { run = [\"cat\", \"/nonce\"] }]",
    );
    let ran = project.run(&["build", "--push", "always", "--format", "json"]);
    assert!(ran.err.contains("checked | out\n") && ran.err.contains("checked | err\n"), "{ran:?}");
    let (json, _cleanup) = built(ran);
    let tests = &json["images"][0]["tests"];
    assert_eq!((&tests[0]["passed"], &tests[0]["exit_code"]), (&true.into(), &0.into()));
    let output = tests[0]["output"].as_str().unwrap();
    assert!(["out\n", "err\n", "checked\n"].iter().all(|line| output.contains(line)), "{output}");
    let nonce = std::fs::read_to_string(project.root().join("checked/nonce")).unwrap();
    assert_eq!(tests[1]["output"], nonce.as_str());
    assert!(tags(&registry, "ci/checked").contains("k1-"));
    assert_eq!(engine::containers_with("DOCKIT_IMAGE_NAME"), 0);

    // What is present is tested by `dockit test` alone.
    let again = project.run(&["build", "--push", "always", "--format", "json"]).json();
    assert!(again["images"][0].get("tests").is_none(), "{again}");
    let tested = project.run(&["test", "--format", "json"]);
    assert_eq!(tested.code, 0, "{tested:?}");
    let tested = tested.json();
    assert_eq!(tested["schema"], "dockit.test/1");
    assert_eq!(tested["images"][0]["digest"], json["images"][0]["digest"]);
    assert_eq!(tested["images"][0]["tests"][1]["output"], nonce.as_str());
}

#[test]
fn nothing_is_pushed_when_a_test_fails_and_the_next_run_tests_again() {
    let registry = RegistryProcess::start(Auth::None);
    let project = project(
        &format!("registry = \"{}/ci\"", registry.host()),
        "tags = [\"latest\"]\ntest = [\"echo the-reason; exit 3\"]",
    );
    for _ in 0..2 {
        let ran = project.run(&["build", "--push", "always", "--format", "json"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        let json = Nameless(ran.json());
        let image = &json.0["images"][0];
        assert_eq!((&image["status"], &image["pushed"]), (&"failed".into(), &false.into()));
        let error = image["error"].as_str().unwrap();
        assert!(error.contains("exit code 3\n    the-reason"), "{error}");
        assert_eq!(image["tests"][0]["exit_code"], 3);
        let reply = tags(&registry, "ci/checked");
        assert!(reply.contains(" 404 ") || !reply.contains("k1-"), "{reply}");
        assert!(engine::inspect(image["reference"].as_str().unwrap()).is_none());
    }
    let tested = project.run(&["test"]);
    assert_eq!(tested.code, 1, "{tested:?}");
    assert!(tested.err.contains("hint: `dockit build checked`"), "{}", tested.err);
}

#[test]
fn a_failed_image_is_not_present_in_the_engine_alone() {
    let project = project("", "test = [\"exit 1\"]");
    for _ in 0..2 {
        let ran = project.run(&["build", "--format", "json"]);
        let json = Nameless(ran.json());
        assert_eq!((ran.code, &json.0["images"][0]["status"]), (1, &"failed".into()));
    }
    let plan = project.run(&["plan", "--format", "json"]).json();
    assert_eq!(plan["steps"][0]["action"], "build");
    let text = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
    project.write("dockit.toml", &text.replace("exit 1", "exit 0"));
    let (json, _cleanup) = built(project.run(&["build", "--format", "json"]));
    assert_eq!(json["images"][0]["status"], "built");
    assert!(engine::inspect(json["images"][0]["reference"].as_str().unwrap()).is_some());
    project.write("dockit.toml", &text);
    let tested = project.run(&["test", "--format", "json"]);
    assert_eq!((tested.code, &tested.json()["images"][0]["status"]), (1, &"failed".into()));
}

#[test]
fn what_takes_too_long_or_cannot_start_fails_and_leaves_no_container() {
    let marker = nonce();
    let slow = format!("test = [{{ run = \"echo {marker}; sleep 600\", timeout = \"2s\" }}]");
    let ran = project("", &slow).run(&["build", "--format", "json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let Nameless(json) = &Nameless(ran.json());
    let error = json["images"][0]["error"].as_str().unwrap();
    assert!(error.contains("not done within 2 seconds") && error.contains(&marker), "{error}");
    assert_eq!(engine::containers_with(&marker), 0);

    let none = format!("test = [{{ run = [\"/no/{marker}\"] }}]");
    let ran = project("", &none).run(&["build", "--format", "json"]);
    assert_eq!(ran.code, 1, "a missing program is no missing engine: {ran:?}");
    let Nameless(json) = &Nameless(ran.json());
    let error = json["images"][0]["error"].as_str().unwrap();
    assert!(error.contains("could not be started") && error.contains("no such file"), "{error}");
    assert_eq!(engine::containers_with(&marker), 0);
}

#[test]
fn an_interrupt_leaves_no_container() {
    let marker = nonce();
    let project = project("", &format!("test = [\"echo {marker}; sleep 600\"]"));
    let child = project
        .command(&["build", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while engine::containers_with(&marker) == 0 {
        assert!(start.elapsed() < Duration::from_secs(120), "the test never began");
        std::thread::sleep(Duration::from_millis(100));
    }
    let interrupt = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupt.success());
    let ran = Ran::of(child.wait_with_output().unwrap(), &project.root());
    assert_eq!(ran.code, 130, "{ran:?}");
    let Nameless(json) = &Nameless(ran.json());
    assert_eq!(json["images"][0]["status"], "cancelled");
    assert_eq!(engine::containers_with(&marker), 0, "it is gone when the command ends");
}

#[test]
fn what_a_killed_run_left_behind_is_removed_when_its_time_is_up_and_nothing_else() {
    let marker = nonce();
    let project = project("", &format!("test = [\"echo {marker}; sleep 600\"]"));
    let mut child =
        project.command(&["build"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    let (name, labels) = loop {
        if let Some(found) = engine::names_and_labels(&marker).pop() {
            break found;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "the test never began");
        std::thread::sleep(Duration::from_millis(100));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    let keys = project.run(&["key", "--format", "json"]).json();
    let until = labels["dev.dockit.container"].as_str().unwrap();
    assert!(name.ends_with(&format!("-until-{until}")), "{name} {labels}");

    // As dockit makes them, but for the time, which is not to be waited for.
    let past = "1700000000";
    let old_name = name.replace(until, past);
    project.write(
        "dockit.toml",
        &format!("[images.checked]\nargs = {{ BASE = \"{}\" }}\ntest = [\"true\"]\n", base_image()),
    );
    // Containers of this image have the label from it.
    project.write(
        "checked/Dockerfile",
        &format!("ARG BASE\nFROM $BASE\nCOPY nonce /nonce\nLABEL dev.dockit.container={past}\n"),
    );
    let (json, _cleanup) = built(project.run(&["build", "--push", "never", "--format", "json"]));
    let run = |name: &str, labels: Value| {
        engine::start_container(
            name,
            &serde_json::json!({
                "Image": json["images"][0]["reference"],
                "Entrypoint": ["sleep", "600"],
                "Labels": labels,
            }),
        )
    };
    let foreign = run(&format!("foreign-{marker}"), serde_json::json!({}));
    let similar = run(&format!("dockit-{marker}"), serde_json::json!({}));
    let old = run(&old_name, serde_json::json!({ "dev.dockit.container": past }));
    let tested = project.run(&["test"]);
    let there = [&old, &foreign, &similar, &name].map(|one| engine::remove_container(one));
    engine::remove_built(keys["images"][0]["key"].as_str().unwrap());
    assert_eq!(tested.code, 0, "{tested:?}");
    let [old, foreign, similar, killed] = there;
    assert!(!old, "its time was up");
    assert!(foreign && similar, "dockit did not make them");
    assert!(killed, "its time is not up");
}

#[test]
fn a_test_on_the_host_can_run_the_image() {
    let project = project(
        "test = [\"cp $DOCKIT_IMAGES images.json\"]",
        "test = [{ run = [\"sh\", \"run-it\"], on = \"host\" }]",
    );
    project.write(
        "run-it",
        r#"set -eu
api() { curl -sf --unix-socket "${DOCKER_HOST#unix://}" -H 'Content-Type: application/json' "$@"; }
body="{\"Image\":\"$DOCKIT_IMAGE\",\"Entrypoint\":[\"sh\",\"-c\",\"exit 42\"]}"
id=$(api -d "$body" http://engine/containers/create | sed 's/.*"Id":"\([0-9a-f]*\)".*/\1/')
api -X POST "http://engine/containers/$id/start"
api -X POST "http://engine/containers/$id/wait"
api -X DELETE "http://engine/containers/$id"
echo "$DOCKIT_IMAGE_NAME $DOCKIT_IMAGE_KEY"
"#,
    );
    let (json, _cleanup) = built(project.run(&["build", "--format", "json"]));
    let image = &json["images"][0];
    let output = image["tests"][0]["output"].as_str().unwrap();
    assert!(output.contains("\"StatusCode\":42"), "{output}");
    assert!(output.contains(&format!("checked {}", image["key"].as_str().unwrap())), "{output}");
    assert_eq!(json["project_tests"]["status"], "passed");
    let images = std::fs::read_to_string(project.root().join("images.json")).unwrap();
    let images: Value = serde_json::from_str(&images).unwrap();
    assert_eq!(images["images"][0]["reference"], image["reference"]);
}

#[test]
fn a_failing_test_of_the_project_ends_with_exit_1_and_every_image_keeps_its_status() {
    let project = project("test = [\"echo the-reason; exit 5\"]", "");
    let ran = project.run(&["build", "--format", "json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let json = ran.json();
    let _cleanup = Cleanup::of(&json);
    assert_eq!(json["images"][0]["status"], "built");
    assert_eq!(json["project_tests"]["status"], "failed");
    assert!(ran.err.contains("exit code 5\n    the-reason"), "{}", ran.err);
}
