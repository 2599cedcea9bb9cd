//! One image without a configuration, and names in the engine, with a real engine and registry.

use crate::engine::{self, Cleanup};
use crate::run::Project;
use crate::{base_image, nonce};

fn registry() -> String {
    base_image().split('/').next().unwrap().to_owned()
}

#[test]
fn one_command_builds_pushes_and_loads_and_the_next_one_only_loads() {
    let nonce = nonce();
    let mut project = Project::new(&[
        (
            "docker/Dockerfile",
            "ARG BASE\nFROM $BASE\nARG UID=0\nARG V\nCOPY nonce /\nRUN echo \"$V\" > /v\n",
        ),
        ("docker/nonce", &nonce),
    ]);
    project.docker_host = engine::endpoint();
    let repository = format!("one-{nonce}");
    let base = format!("BASE={}", base_image());
    let registry = registry();
    let run = |command: &str, more: &[&str]| {
        let image = ["--dockerfile", "docker/Dockerfile", "--repository", &repository];
        let arguments = ["--format", "json", "--build-arg", &base, "--registry", &registry];
        let ran = project.run(&[&[command], &image[..], &arguments, more].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.json()
    };
    let push = ["--push", "always", "--load", "--build-arg", "V=1"];
    let first = run("build", &[&push[..], &["--unkeyed-build-arg", "UID=1"]].concat());
    let name = format!("{repository}:latest");
    let mut cleanup = Cleanup::of(&first);
    cleanup.0.push(name.clone());
    assert_eq!(
        (&first["images"][0]["status"], &first["images"][0]["pushed"]),
        (&"built".into(), &true.into())
    );
    let id = engine::inspect(&name).unwrap()["Id"].clone();
    // Another agent: another user id, and nothing of it in the engine.
    for name in &cleanup.0 {
        engine::remove(name);
    }
    let second = run("build", &[&push[..], &["--unkeyed-build-arg", "UID=2"]].concat());
    assert_eq!(second["images"][0]["status"], "reused");
    assert_eq!(second["images"][0]["digest"], first["images"][0]["digest"]);
    assert_eq!(engine::inspect(&name).unwrap()["Id"], id);
    let key = run("key", &["--build-arg", "V=1", "--unkeyed-build-arg", "UID"]);
    assert_eq!(key["images"][0]["key"], first["images"][0]["key"]);
    let left: Vec<_> = std::fs::read_dir(project.root()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(std::fs::read_dir(project.root().join("docker")).unwrap().count(), 2);
}

#[test]
fn variants_of_one_dockerfile_are_built_with_their_arguments_and_called_by_their_aliases() {
    let nonce = nonce();
    let mut project = Project::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\nregistry = \"{}/v-{nonce}\"\nargs = {{ BASE = \"{}\" }}\n\
                 [images.base]\n[images.base.variants.gpu]\nargs = {{ V = \"gpu\" }}\n\
                 [images.app]\nrepository = \"all\"\naliases = [\"alias-{nonce}\"]\n\
                 [images.app.variants.gpu]\naliases = [\"alias-{nonce}:gpu\"]\n",
                registry(),
                base_image()
            ),
        ),
        ("base/Dockerfile", "ARG BASE\nFROM $BASE\nARG V=cpu\nCOPY nonce /\nRUN echo $V > /v\n"),
        ("base/nonce", &nonce),
        (
            "app/Dockerfile",
            "FROM base\nARG WANTED=cpu\nRUN test \"$(cat /v)\" = $WANTED && touch /app\n",
        ),
    ]);
    project.docker_host = engine::endpoint();
    // The variant's Dockerfile is that of its image, and its base is the base's variant.
    let ran = project.run(&["build", "app", "--push", "always", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let mut cleanup = Cleanup::of(&ran.json());
    let failed = project.run(&["build", "app-*", "--push", "always", "--format", "json"]);
    cleanup.0.append(&mut Cleanup::of(&failed.json()).0);
    assert_eq!(failed.code, 1, "{}", failed.err);
    let config = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
    project.write("dockit.toml", &format!("{config}args = {{ WANTED = \"gpu\" }}\n"));
    let ran = project.run(&["build", "app-*", "--push", "always", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    cleanup.0.append(&mut Cleanup::of(&ran.json()).0);
    let aliases = [format!("alias-{nonce}:latest"), format!("alias-{nonce}:gpu")];
    cleanup.0.extend(aliases.clone());
    let [plain, gpu] = aliases.map(|alias| engine::inspect(&alias).unwrap()["Id"].clone());
    assert_ne!(plain, gpu);
    let reference = ran.json()["images"][1]["reference"].as_str().unwrap().to_owned();
    assert!(reference.contains(&format!("v-{nonce}/all:k1-")), "one repository: {reference}");
    assert_eq!(engine::inspect(&reference).unwrap()["Id"], gpu);
    // Pulled, an image has its aliases as well.
    for name in &cleanup.0 {
        engine::remove(name);
    }
    let pulled = project.run(&["pull", "app-g*"]);
    assert_eq!(pulled.code, 0, "{}", pulled.err);
    assert_eq!(engine::inspect(&format!("alias-{nonce}:gpu")).unwrap()["Id"], gpu);
    assert!(engine::inspect(&format!("alias-{nonce}:latest")).is_none());
    engine::remove("app-gpu:latest");
}
