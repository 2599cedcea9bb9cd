//! A buildkitd among the build backends of a project. What it does is shown in `dockit-core`'s tests.

use dockit_testkit::{Auth, RegistryProcess};

use crate::debian;

#[expect(clippy::disallowed_methods, reason = "tests are told what to use")]
fn buildkitd() -> String {
    std::env::var("DOCKIT_BUILDKIT").expect("DOCKIT_BUILDKIT is a buildkitd's address")
}

#[test]
#[ignore = "needs DOCKIT_BUILDKIT"]
fn a_project_is_built_where_its_configuration_says() {
    let registry = RegistryProcess::start(Auth::None);
    let mut project = debian(&format!("registry = \"{}/ci\"", registry.host()));
    // Nothing of this needs the engine.
    project.docker_host = "unix:///nonexistent/docker.sock".to_owned();
    let config = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
    let backend = format!("[backends.remote]\nbuildkit = \"{}\"\n", buildkitd());
    project.write("dockit.toml", &format!("{config}{backend}"));
    let build =
        |arguments: &[&str]| project.run(&[&["build", "--format", "json"], arguments].concat());
    let refused = build(&["--push", "never"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("base, tool, child would be built and not pushed"), "{refused:?}");
    let refused = build(&["--push", "always", "--load"]);
    assert_eq!(refused.code, 4, "{refused:?}");

    let ran = build(&["--push", "always"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let statuses = |ran: &crate::run::Ran| {
        let report = ran.json();
        let images = report["images"].as_array().unwrap().iter();
        images.map(|image| image["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(statuses(&ran), ["built", "built", "built"]);
    let again = build(&["--push", "always"]);
    assert_eq!(statuses(&again), ["reused", "reused", "reused"]);

    let doctor = project.run(&["doctor"]);
    let line = doctor.out.lines().find(|line| line.contains("backends.remote"));
    assert!(line.is_some_and(|line| line.contains(" BuildKit v")), "{doctor:?}");
}
