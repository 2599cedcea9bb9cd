//! From a change to a lockfile and references that are true, in one run over a real registry.

use dockit_testkit::{Auth, RegistryProcess};
use serde_json::Value;

use crate::run::{Project, Ran};

fn scene() -> (RegistryProcess, Project) {
    let registry = RegistryProcess::start(Auth::None);
    let zero = "0".repeat(64);
    let list =
        format!("image: {host}/ci/app@sha256:{zero} # of the job\r\n", host = registry.host());
    let project = Project::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\nregistry = \"{}/ci\"\n[images.base]\n[images.app]\n\
                 [pin]\nfiles = [\"jobs\"]\nrun = \"cp jobs/ci.yml generated\"\n",
                registry.host()
            ),
        ),
        ("base/Dockerfile", "FROM scratch\nCOPY file /\n"),
        ("base/file", "1"),
        ("app/Dockerfile", "FROM base\nCOPY file /app\n"),
        ("app/file", "1"),
        ("jobs/ci.yml", &list),
    ]);
    (registry, project)
}

fn code(project: &Project, arguments: &[&str], expected: i32) -> Ran {
    let ran = project.run(arguments);
    assert_eq!(ran.code, expected, "{arguments:?}: {ran:?}");
    ran
}

fn digest(report: &Value, name: &str) -> String {
    let images = report["images"].as_array().unwrap();
    let image = images.iter().find(|image| image["name"] == name).unwrap();
    image["digest"].as_str().unwrap().to_owned()
}

#[test]
fn a_build_that_pins_leaves_everything_true_and_checks_find_what_is_not() {
    let (registry, mut project) = scene();
    project.variables.push(("PATH", "/usr/bin:/bin".to_owned()));
    let list = || std::fs::read_to_string(project.root().join("jobs/ci.yml")).unwrap();
    let check = code(&project, &["pin", "--check"], 5);
    assert!(check.out.contains("jobs/ci.yml:1: app not-recorded"), "{check:?}");
    let verify = code(&project, &["verify", "--format", "json"], 5).json();
    let kinds: Vec<&str> = verify["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|difference| difference["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["absent", "absent", "pin"]);

    let build = ["build", "--push", "always", "--pin", "--format", "json"];
    let first = code(&project, &build, 0).json();
    let pinned = |report: &Value| {
        format!("image: {}/ci/app@{} # of the job\r\n", registry.host(), digest(report, "app"))
    };
    assert_eq!(list(), pinned(&first));
    assert_eq!(std::fs::read_to_string(project.root().join("generated")).unwrap(), list());
    code(&project, &["pin", "--check"], 0);
    code(&project, &["verify"], 0);

    // A change: the lockfile is behind, and the reference is what the lockfile says.
    project.write("base/file", "2");
    code(&project, &["pin", "--check"], 0);
    let verify = code(&project, &["verify"], 5);
    assert!(verify.out.contains("app: the lockfile records another key"), "{verify:?}");
    // A build that fails writes nothing.
    project.write("app/Dockerfile", "FROM base\nCOPY nowhere /app\n");
    let (before, lockfile) = (list(), project.root().join("dockit.lock"));
    let locked = std::fs::read_to_string(&lockfile).unwrap();
    assert_ne!(project.run(&build).code, 0);
    assert_eq!((list(), std::fs::read_to_string(&lockfile).unwrap()), (before, locked));
    project.write("app/Dockerfile", "FROM base\nCOPY file /app\n");
    let second = code(&project, &build, 0).json();
    assert_eq!(list(), pinned(&second));
    assert_ne!(digest(&first, "app"), digest(&second, "app"));
    code(&project, &["verify"], 0);

    // A merge that took a wrong side.
    project.write("jobs/ci.yml", &pinned(&first));
    let verify = code(&project, &["verify"], 5);
    assert!(verify.out.contains(&digest(&second, "app")), "{verify:?}");
    code(&project, &["pin"], 0);
    code(&project, &["verify"], 0);
}
