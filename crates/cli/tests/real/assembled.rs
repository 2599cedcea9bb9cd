//! Images that need no engine, mixed with an engine's: each is based on the other, they run, and they go to
//! a layout, a registry and the engine's store alike.

use std::process::Command;

use dockit_testkit::{Auth, RegistryProcess};
use serde_json::Value;

use crate::engine::{self, Cleanup};
use crate::run::Project;
use crate::{base_image, nonce};

/// `below`, which is assembled on Debian, ← `made`, which the engine builds, ← `above`, which is assembled.
/// What is tested runs in containers.
fn mixed(project_table: &str) -> Project {
    let nonce = nonce();
    let mut project = Project::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\n{project_table}\n\
                 [images.below]\nargs = {{ BASE = \"{}\" }}\ntest = [\"grep -q n /below\"]\n\
                 [images.made]\ntest = [\"cmp /below /made\"]\n\
                 [images.above]\ntest = [\"cmp /below /above && test $(id -u) = 7 && test $A = 1\"]\n\
                 aliases = [\"dockit-above:tested\"]\n",
                base_image()
            ),
        ),
        ("below/Dockerfile", "ARG BASE\nFROM $BASE\nENV A=1\nCOPY below /below\n"),
        ("below/below", &nonce),
        ("made/Dockerfile", "FROM below\nRUN cp /below /made\n"),
        ("above/Dockerfile", "FROM made\nCOPY --from=made --chmod=644 /made /above\nUSER 7\n"),
    ]);
    project.docker_host = engine::endpoint();
    project
}

fn build(project: &Project, more: &[&str]) -> Value {
    let ran = project.run(&[&["build", "--format", "json"], more].concat());
    assert_eq!(ran.code, 0, "{}\n{}", ran.err, ran.out);
    ran.json()
}

fn of<'a>(report: &'a Value, name: &str) -> &'a Value {
    let mut images = report["images"].as_array().unwrap().iter();
    images.find(|image| image["name"] == name).unwrap()
}

/// The first run of a mixed project, and one with nothing to do.
fn story(project: &Project, more: &[&str], pushed: bool) -> Value {
    let first = build(project, more);
    for (name, backend) in [("below", "assemble"), ("made", "engine"), ("above", "assemble")] {
        let image = of(&first, name);
        assert_eq!((&image["status"], &image["backend"]), (&"built".into(), &backend.into()));
        assert_eq!(image["pushed"], pushed, "{image}");
        assert!(image["tests"].as_array().unwrap().iter().all(|test| test["passed"] == true));
    }
    let second = build(project, more);
    assert!(second["images"].as_array().unwrap().iter().all(|image| image["status"] == "reused"));
    first
}

#[test]
fn both_kinds_are_based_on_one_another_in_a_layout() {
    for compression in ["gzip", "zstd"] {
        let table = format!("registry = \"oci:out\"\ncompression = \"{compression}\"");
        let project = mixed(&table);
        let first = story(&project, &[], true);
        let above = of(&first, "above");
        let tag = above["reference"].as_str().unwrap().strip_prefix("oci:out:above:").unwrap();
        let loaded = format!("localhost/above:{tag}");
        let mut names = vec![loaded.clone(), "above:latest".into(), "dockit-above:tested".into()];
        for name in ["below", "made", "above"] {
            let digest = of(&first, name)["digest"].as_str().unwrap().replace(':', "-");
            names.push(format!("localhost/{name}:{digest}"));
            let reference = of(&first, name)["reference"].as_str().unwrap();
            names.push(reference.replace("oci:out:", "localhost/"));
        }
        let _cleanup = Cleanup(names);
        build(&project, &["above", "--load"]);
        for name in [&*loaded, "above:latest", "dockit-above:tested"] {
            let found = engine::inspect(name).expect(name);
            assert_eq!(found["Config"]["Labels"]["dev.dockit.key"], above["key"], "{name}");
        }
        let tested = project.run(&["test"]);
        assert_eq!(tested.code, 0, "{tested:?}");
    }
}

#[test]
fn both_kinds_are_based_on_one_another_in_a_registry() {
    let registry = RegistryProcess::start(Auth::None);
    let project = mixed(&format!("registry = \"{}/mixed\"", registry.host()));
    let first = story(&project, &["--push", "always"], true);
    let _cleanup = Cleanup::of(&first);
    let _loaded = Cleanup(vec!["above:latest".into(), "dockit-above:tested".into()]);
    build(&project, &["above", "--load", "--push", "always"]);
    let found = engine::inspect("above:latest").unwrap();
    assert_eq!(found["Config"]["Labels"]["dev.dockit.key"], of(&first, "above")["key"]);
}

#[test]
fn both_kinds_are_based_on_one_another_in_the_engine() {
    let project = mixed("");
    let first = story(&project, &[], false);
    let _cleanup = Cleanup::of(&first);
    let _alias = Cleanup(vec!["dockit-above:tested".into()]);
    for name in ["below", "made", "above"] {
        let reference = of(&first, name)["reference"].as_str().unwrap();
        let found = engine::inspect(reference).expect(reference);
        assert_eq!(found["Config"]["Labels"]["dev.dockit.key"], of(&first, name)["key"]);
    }
    // What earlier runs have left in the engine alone is a base as well.
    std::fs::remove_dir_all(project.root().join(".dockit/images")).unwrap();
    project.write(
        "above/Dockerfile",
        "FROM made\nCOPY --from=made --chmod=644 /made /above\nUSER 7:7\n",
    );
    let changed = build(&project, &[]);
    let _changed = Cleanup::of(&changed);
    assert_eq!(of(&changed, "above")["status"], "built");
    assert_eq!(of(&changed, "made")["status"], "reused");
}

/// Runs a program that has to succeed, in the project, and tells what it wrote.
fn run(project: &Project, program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(project.root()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    told
}

#[test]
fn skopeo_copies_and_podman_runs_what_was_assembled() {
    for compression in ["gzip", "zstd"] {
        let project = Project::new(&[
            (
                "dockit.toml",
                &format!(
                    "[project]\nregistry = \"oci:out\"\ncompression = \"{compression}\"\n[images.app]\n"
                ),
            ),
            (
                "app/Dockerfile",
                &format!(
                    "FROM {}\nCOPY --chmod=755 hello /usr/local/bin/\nWORKDIR /srv\nENV NAME=there\nCMD [\"hello\"]\n",
                    base_image()
                ),
            ),
            ("app/hello", "#!/bin/sh\necho \"hello $NAME in $(pwd)\"\n"),
        ]);
        let report = build(&project, &["--backend", "assemble"]);
        let app = of(&report, "app");
        let tag = app["key"].as_str().unwrap().replace(':', "-");
        // Podman takes no directory with capital letters.
        let out = format!("oci:out:app:{tag}");
        run(&project, "skopeo", &["copy", "--quiet", &out, "oci:copy:app:1"]);
        let inspect = ["inspect", "--format", "{{.Digest}}", "oci:copy:app:1"];
        let digest = run(&project, "skopeo", &inspect);
        assert_eq!(Some(&*digest), app["digest"].as_str());

        let path = |name: &str| project.root().join(name).display().to_string();
        let (root, runroot) = (path("podman"), path("podman-run"));
        let podman = |arguments: &[&str]| {
            let store = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs"];
            let runs = ["--runtime", "runc", "--cgroup-manager", "cgroupfs"];
            run(&project, "podman", &[&store[..], &runs, arguments].concat())
        };
        let id = podman(&["pull", "--quiet", &out]);
        // What it would ask for otherwise can be more than this machine allows.
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
        let run = [&["run", "--rm", "--network", "none"], &limits[..], &[&id]].concat();
        let said = podman(&run);
        assert_eq!(said, "hello there in /srv");
        podman(&["image", "rm", "--force", &id]);
    }
}
