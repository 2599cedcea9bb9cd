//! Two engines with stores of their own build one project.

use std::process::Stdio;

use dockit_testkit::{Auth, RegistryProcess, exchange};
use serde_json::Value;

use crate::engine::{self, Cleanup};
use crate::engines::SecondEngine;
use crate::run::{Project, Ran};
use crate::{base_image, nonce};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Three images that need one, and one that needs all of them. `more` is in the commands of the three.
fn project(host: &str, second: &SecondEngine, more: &str) -> Project {
    let (base, nonce) = (base_image(), nonce());
    let toml = format!(
        "[project]\nregistry = \"{host}/several\"\n\
         [backends.first]\ndocker = \"default\"\njobs = 1\n\
         [backends.second]\ndocker = \"{}\"\njobs = 1\n\
         [images.root]\n[images.a]\n[images.b]\n[images.c]\n[images.top]\n",
        second.endpoint()
    );
    let part = |name: &str| {
        format!("FROM root\nRUN {more}grep {nonce} /root-file && echo {name} > /{name}\n")
    };
    let mut project = Project::new(&[
        ("dockit.toml", &toml),
        ("root/Dockerfile", &format!("FROM {base}\nRUN echo {nonce} > /root-file\n")),
        ("a/Dockerfile", &part("a")),
        ("b/Dockerfile", &part("b")),
        ("c/Dockerfile", &part("c")),
        (
            "top/Dockerfile",
            "FROM a\nCOPY --from=b /b /b\nCOPY --from=c /c /c\nRUN cat /root-file /a /b /c\n",
        ),
    ]);
    project.docker_host = engine::endpoint();
    project
}

/// A command that comes to no end where the second engine runs it, which has a network of its own.
fn hanging_on_the_second() -> String {
    let network = SecondEngine::NETWORK.replace('.', "[.]");
    format!("if grep -q {network} /proc/net/fib_trie; then sleep 600; fi; ")
}

fn images(report: &Value) -> &Vec<Value> {
    report["images"].as_array().unwrap()
}

fn backend(image: &Value) -> &str {
    image["backend"].as_str().unwrap()
}

/// Whether every image is in the registry under its content tag as the report says.
fn assert_published(host: &str, report: &Value) {
    for image in images(report) {
        let tag = image["key"].as_str().unwrap().replace(':', "-");
        let path = format!("/v2/several/{}/manifests/{tag}", image["name"].as_str().unwrap());
        let reply = exchange(host, "GET", &path, &[("Accept", MANIFEST)], b"").unwrap();
        assert_eq!(reply.header("Docker-Content-Digest"), image["digest"].as_str(), "{image}");
    }
}

#[test]
fn builds_are_spread_over_two_engines_and_one_is_enough_when_the_other_is_lost() {
    let registry = RegistryProcess::start(Auth::None);
    let host = registry.host();
    let mut second = SecondEngine::start();
    let spread = project(host, &second, "");
    let arguments = ["build", "--push", "always", "--format", "json"];
    let ran = spread.run(&arguments);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report = ran.json();
    let _cleanup = Cleanup::of(&report);
    assert!(images(&report).iter().all(|image| image["status"] == "built"), "{report:#}");
    for name in ["first", "second"] {
        assert!(images(&report).iter().any(|image| backend(image) == name), "{report:#}");
        assert!(ran.err.contains(&format!(" on {name}\n")), "{}", ran.err);
    }
    assert_published(host, &report);
    // Each engine has what it built and, of the rest, no more than was pulled by digest.
    for image in images(&report) {
        let here = engine::inspect(image["reference"].as_str().unwrap()).is_some();
        assert_eq!(here, backend(image) == "first", "{image}");
    }
    let again = spread.run(&arguments);
    assert_eq!(again.code, 0, "{}", again.err);
    let report = again.json();
    assert!(images(&report).iter().all(|image| image["status"] == "reused"), "{report:#}");

    let doctor = spread.run(&["doctor"]);
    assert_eq!(doctor.code, 0, "{doctor:?}");
    assert!(doctor.out.contains("backends.second"), "{doctor:?}");
    let only = spread.run(&["build", "--push", "never", "--backend", "third"]);
    assert_eq!(only.code, 2, "{only:?}");
    let only =
        spread.run(&["build", "root", "--push", "always", "--rebuild", "--backend", "second"]);
    assert_eq!(only.code, 0, "{only:?}");

    // One is ended while it builds.
    let lost = project(host, &second, &hanging_on_the_second());
    let mut child = lost
        .command(&["build", "--push", "always", "--format", "json", "-v"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(std::fs::File::create(lost.root().join("../said")).unwrap()))
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(lost.root().join("../said")).unwrap();
    while !said().contains(" on second\n") {
        assert!(child.try_wait().unwrap().is_none(), "{}", said());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    second.end();
    let ran = Ran::of(child.wait_with_output().unwrap(), &lost.root());
    assert_eq!(ran.code, 0, "{}", said());
    let report = ran.json();
    let _more = Cleanup::of(&report);
    assert!(images(&report).iter().all(|image| image["status"] == "built"), "{report:#}");
    assert!(images(&report).iter().all(|image| backend(image) == "first"), "{report:#}");
    assert!(
        said().contains("warning: the build backend second is not used any more"),
        "{}",
        said()
    );
    assert_published(host, &report);

    // Without it, and then without any.
    let unaware = project(host, &second, "");
    let ran = unaware.run(&["build", "root", "--push", "always", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let _last = Cleanup::of(&ran.json());
    let ran = unaware.run(&["build", "a", "--push", "always", "--backend", "second"]);
    assert_eq!(ran.code, 4, "{}", ran.err);
}
