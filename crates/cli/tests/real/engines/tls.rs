//! The engine behind TLS.

use dockit_testkit::TlsFront;

use crate::debian;
use crate::engine::{self, Cleanup};

#[test]
fn a_build_goes_through_tls() {
    let front = TlsFront::start(&engine::endpoint());
    let mut project = debian("");
    project.docker_host = format!("tcp://127.0.0.1:{}", front.port());
    project.variables.push(("DOCKER_TLS_VERIFY", "1".to_owned()));
    let certificates = front.certificates().display().to_string();
    project.variables.push(("DOCKER_CERT_PATH", certificates));
    let ran = project.run(&["build", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report = ran.json();
    let _cleanup = Cleanup::of(&report);
    let image = report["images"][2]["reference"].as_str().unwrap();
    assert!(engine::inspect(image).is_some(), "it is in the engine behind it");
}
