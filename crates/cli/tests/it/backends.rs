//! Build backends on the command line, where none of them answers.

use crate::run::Project;

fn project(backends: &str) -> Project {
    Project::new(&[
        ("dockit.toml", &format!("{backends}[images.base]\n")),
        ("base/Dockerfile", "FROM scratch\nCOPY file /\n"),
        ("base/file", "1"),
    ])
}

const TWO: &str = "[backends.near]\ndocker = \"unix:///nonexistent/near.sock\"\n\
                   [backends.far]\ndocker = \"unix:///nonexistent/far.sock\"\n";

#[test]
fn a_backend_that_is_not_configured_is_named_with_those_that_are() {
    for (backends, hint) in [
        (TWO, "hint: there are near, far, engine, assemble"),
        ("", "hint: there are engine, assemble"),
    ] {
        let ran = project(backends).run(&["build", "--backend", "near", "--backend", "neer"]);
        assert_eq!(ran.code, 2, "{ran:?}");
        let unknown = if backends.is_empty() { "near" } else { "neer" };
        let message = format!(
            "error: no build backend is called \"{unknown}\"\n{hint}; [backends.NAME] in dockit.toml names others\n"
        );
        assert_eq!(ran.err, message);
    }
}

#[test]
fn the_doctor_looks_at_every_backend_and_at_the_engine_that_need_not_build() {
    let ran = project(TWO).run(&["doctor", "--format", "json"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    let json = ran.json();
    let checks = json["checks"].as_array().unwrap().iter();
    let checks: Vec<(&str, &str)> = checks
        .map(|check| (check["subject"].as_str().unwrap(), check["status"].as_str().unwrap()))
        .collect();
    let of_engines =
        [("engine", "warning"), ("backends.near", "failed"), ("backends.far", "failed")];
    assert_eq!(checks, of_engines);

    let ran = project("[backends.here]\ndocker = \"default\"\n").run(&["doctor"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains("failed") && !ran.out.contains("backends.here"), "{ran:?}");
}

#[test]
fn a_run_names_the_backend_that_does_not_answer() {
    // Without a push one engine does everything: the first, or the one that is named.
    for (more, socket) in [(&[][..], "near.sock"), (&["--backend", "far"], "far.sock")] {
        let ran = project(TWO).run(&[&["build"], more].concat());
        assert_eq!(ran.code, 4, "{ran:?}");
        assert!(ran.err.contains(socket), "{ran:?}");
    }
}
