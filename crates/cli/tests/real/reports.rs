//! Reports of images, compared with what engine and registry say.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use dockit_testkit::{Auth, RegistryProcess};
use serde_json::Value;

use crate::checks::project;
use crate::engine::{self, Cleanup};
use crate::nonce;
use crate::run::Project;

/// Four layers, one of them without a byte, and two commands that make none.
fn four_layers(table: &str) -> Project {
    let project = project(
        table,
        "test = [\"test -s /nonce\"]\n\
         info = { nonce = \"cat /nonce\", hostile = \"printf '```\\\\n# x\\\\n<b>|\\\\033[31m'\" }",
    );
    project.write(
        "checked/Dockerfile",
        "ARG BASE\nFROM $BASE\nENV A=b\nCOPY nonce /nonce\nRUN head -c 5000 /dev/zero > /zero\n\
         COPY empty /empty\nENTRYPOINT [\"false\"]\n",
    );
    project.write("checked/empty", "");
    project
}

fn report(project: &Project, directory: &str) -> (Value, String) {
    let read = |suffix: &str| {
        std::fs::read_to_string(project.root().join(directory).join(format!("checked.{suffix}")))
            .unwrap()
    };
    (serde_json::from_str(&read("json")).unwrap(), read("md"))
}

fn manifest(registry: &RegistryProcess, digest: &str) -> Value {
    let host = registry.host();
    let mut stream = TcpStream::connect(host).unwrap();
    let accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json";
    write!(
        stream,
        "GET /v2/ci/checked/manifests/{digest} HTTP/1.0\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n"
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn layers(report: &Value) -> Vec<Value> {
    let layers = report["layers"].as_array().unwrap().iter();
    layers.filter(|layer| layer["empty"] == false).cloned().collect()
}

/// Sizes of the engine's history, the oldest first.
fn history(image: &str) -> Vec<(String, u64)> {
    let history = engine::history(image);
    let entries = history.as_array().unwrap().iter().rev();
    entries
        .map(|one| (one["CreatedBy"].as_str().unwrap().to_owned(), one["Size"].as_u64().unwrap()))
        .collect()
}

/// The report's entries are the engine's, and its layers those of the image's file system.
fn agrees_with_engine(report: &Value, reference: &str) {
    let found: Vec<(String, u64)> = report["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| {
            let size = layer["size"]["unpacked"].as_u64().unwrap_or(0);
            (layer["command"].as_str().unwrap_or_default().to_owned(), size)
        })
        .collect();
    assert_eq!(found, history(reference));
    let inspected = engine::inspect(reference).unwrap();
    let expected = inspected["RootFS"]["Layers"].as_array().unwrap();
    let layers = layers(report);
    let diff_ids: Vec<Value> = layers.iter().map(|layer| layer["diff_id"].clone()).collect();
    assert_eq!((diff_ids.len(), &diff_ids), (4, expected));
    assert_eq!(report["size"]["unpacked"], inspected["Size"]);
    assert!(layers.iter().any(|layer| layer["size"]["unpacked"] == 0), "the empty one: {layers:?}");
}

#[test]
fn a_report_shows_all_four_layers_as_registry_and_engine_do() {
    let registry = RegistryProcess::start(Auth::None);
    let project = four_layers(&format!("registry = \"{}/ci\"", registry.host()));
    let build = |directory: &str| {
        let arguments = ["build", "--push", "always", "--reports", directory, "--format", "json"];
        let ran = project.run(&arguments);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()
    };
    let json = build("out/first");
    let _cleanup = Cleanup::of(&json);
    let image = &json["images"][0];
    let reference = image["reference"].as_str().unwrap();
    let (report, text) = report(&project, "out/first");
    assert_eq!(report["schema"], "dockit.image-report/1");
    assert_eq!((&report["digest"], &report["status"]), (&image["digest"], &"built".into()));
    agrees_with_engine(&report, reference);
    let manifest = manifest(&registry, image["digest"].as_str().unwrap());
    let expected: Vec<(Value, Value)> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| (layer["digest"].clone(), layer["size"].clone()))
        .collect();
    let found: Vec<(Value, Value)> = layers(&report)
        .iter()
        .map(|layer| (layer["digest"].clone(), layer["size"]["compressed"].clone()))
        .collect();
    assert_eq!(found, expected);
    let total: u64 = expected.iter().map(|(_, size)| size.as_u64().unwrap()).sum();
    assert_eq!(report["size"]["compressed"], total);
    let steps = report["steps"].as_array().unwrap();
    let run = steps.iter().find(|step| step["name"].as_str().unwrap().contains("RUN head"));
    assert_eq!(run.unwrap()["cached"], false);
    assert_eq!(report["tests"][0]["passed"], true);
    let nonce = std::fs::read_to_string(project.root().join("checked/nonce")).unwrap();
    assert_eq!(report["info"][1]["output"], nonce.as_str());
    assert!(text.contains("## 4 layers\n") && text.contains(&nonce), "{text}");
    assert!(text.contains("````text\n```\n# x\n<b>|\n````\n"), "{text}");

    // What is reused is in the engine still; then it is not.
    build("out/second");
    let (second, _) = self::report(&project, "out/second");
    assert_eq!((&second["status"], &second["steps"]), (&"reused".into(), &serde_json::json!([])));
    assert_eq!((&second["layers"], &second["info"]), (&report["layers"], &report["info"]));
    engine::remove(engine::inspect(reference).unwrap()["Id"].as_str().unwrap());
    build("out/third");
    let (third, _) = self::report(&project, "out/third");
    assert_eq!(third["info"][1]["error"], "not run: not in the engine");
    assert_eq!((layers(&third).len(), &third["size"]["compressed"]), (4, &total.into()));
    assert!(engine::inspect(reference).is_none(), "nothing was fetched");
}

#[test]
fn a_report_without_a_registry_shows_all_four_layers() {
    let project = four_layers("");
    let ran = project.run(&["build", "--reports", "out", "--format", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let json = ran.json();
    let _cleanup = Cleanup::of(&json);
    let (report, _) = report(&project, "out");
    agrees_with_engine(&report, json["images"][0]["reference"].as_str().unwrap());
    assert_eq!(report["size"]["compressed"], Value::Null);
}

#[test]
fn an_info_command_that_fails_is_a_warning() {
    let marker = nonce();
    let project = project("", &format!("info = {{ x = \"echo {marker}; exit 4\" }}"));
    let ran = project.run(&["build", "--reports", "out", "--format", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let _cleanup = Cleanup::of(&ran.json());
    assert!(ran.err.contains("checked: warning: the info command \"x\""), "{}", ran.err);
    let (report, _) = report(&project, "out");
    assert_eq!(report["info"][0]["error"], "ended with exit code 4");
    assert_eq!(report["info"][0]["output"], format!("{marker}\n").as_str());
    assert_eq!(engine::containers_with(&marker), 0);
}
