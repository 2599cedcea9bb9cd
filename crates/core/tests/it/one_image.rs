//! One image that options describe: the same rules and the same key as with a file.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use dockit_core::backend::NamedBackend;
use dockit_core::config::{LoadOptions, OneImage, Problems, one_image};
use dockit_core::events::Silent;
use dockit_core::execute::Status;
use dockit_core::story::{self, Request, Services};
use dockit_core::{Error, ImageGraph, KeyOptions, Lockfile, Project, PushPolicy, compute_keys};
use tokio_util::sync::CancellationToken;

use crate::support::{FakeEngine, MemoryRegistry, TestProject, all, image};

const FILES: [(&str, &str); 5] = [
    (
        "docker/Dockerfile",
        "FROM scratch AS first\nARG A\nARG B=b\nARG PROXY\nCOPY . /all/\nFROM first\nCOPY run.sh /\n",
    ),
    ("docker/run.sh", "echo"),
    ("docker/.dockerignore", "*.log\n"),
    ("docker/build.log", "one"),
    ("other/x", ""),
];

fn options(directory: &Path) -> OneImage {
    OneImage {
        directory: directory.to_owned(),
        dockerfile: "docker/Dockerfile".to_owned(),
        repository: "team/image".to_owned(),
        ..OneImage::default()
    }
}

fn project(options: &OneImage) -> Result<Project, Problems> {
    let lookup = |name: &str| match name {
        "A" => Some(OsString::from("from the environment")),
        "EMPTY" => Some(OsString::new()),
        _ => None,
    };
    one_image(options, &LoadOptions { environment: Some(&lookup) })
}

fn key(options: &OneImage) -> String {
    let project = project(options).unwrap();
    let graph = ImageGraph::new(&project).unwrap();
    let lockfile = Lockfile::of(&project).unwrap();
    let options = KeyOptions::default();
    let keys = compute_keys(&project, &graph, &all(&graph), &lockfile, &options).unwrap();
    keys.get(project.images.keys().next().unwrap()).unwrap().key.to_string()
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[test]
fn the_options_say_what_a_file_says() {
    let files = TestProject::new(&FILES);
    let project = project(&OneImage {
        context: Some("other".to_owned()),
        build_args: texts(&["A", "B=1", "NOT_SET", "C=x=y", "B=2"]),
        unkeyed_build_args: texts(&["PROXY=p", "EMPTY", "NOT_SET_EITHER"]),
        target: Some("first".to_owned()),
        platforms: vec!["linux/arm64".to_owned()],
        registry: Some("r.example/ci".to_owned()),
        tags: texts(&["latest", "x"]),
        ..options(files.root())
    })
    .unwrap();
    let image = &project.images[&image("team/image")];
    assert_eq!(image.repository.to_string(), "r.example/ci/team/image");
    assert_eq!(image.dockerfile, files.root().join("docker/Dockerfile"));
    assert_eq!(image.context, files.root().join("other"));
    let args: Vec<(&str, &str)> =
        image.args.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(args, [("A", "from the environment"), ("B", "2"), ("C", "x=y")]);
    assert_eq!(image.env_args.iter().collect::<Vec<_>>(), ["A", "NOT_SET"]);
    let unkeyed: Vec<(&str, &str)> =
        image.unkeyed_args.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(unkeyed, [("EMPTY", ""), ("PROXY", "p")]);
    assert_eq!(image.target.as_deref(), Some("first"));
    assert_eq!(image.platform.to_string(), "linux/arm64");
    assert_eq!(image.tags.len(), 2);
    assert!(project.in_memory);
}

#[test]
fn the_name_is_the_repository_without_its_host() {
    let files = TestProject::new(&FILES);
    for (registry, repository, name, full) in [
        (None, "team/image", "team/image", "docker.io/team/image"),
        (Some("r.example"), "image", "image", "r.example/image"),
        (None, "r.example:5000/team/image", "team/image", "r.example:5000/team/image"),
        (Some("r.example"), "ghcr.io/team/image", "team/image", "ghcr.io/team/image"),
    ] {
        let options = OneImage {
            registry: registry.map(str::to_owned),
            repository: repository.to_owned(),
            ..options(files.root())
        };
        let project = project(&options).unwrap();
        let found = &project.images[&image(name)];
        assert_eq!(found.repository.to_string(), full, "{repository}");
        assert_eq!(found.has_registry, full != "docker.io/team/image", "{repository}");
    }
}

#[test]
fn mistakes_name_their_options() {
    let files = TestProject::new(&FILES);
    let wrong = OneImage {
        build_args: texts(&["1X=a", "P=1"]),
        unkeyed_build_args: texts(&["P=2"]),
        target: Some(String::new()),
        platforms: vec!["linux/".to_owned()],
        registry: Some("https://r.example".to_owned()),
        repository: "Team/x".to_owned(),
        tags: texts(&["a b"]),
        ..options(files.root())
    };
    let found = project(&wrong).unwrap_err().to_string();
    for expected in [
        "--build-arg: \"1X\" cannot be the name of a build argument",
        "--unkeyed-build-arg: argument \"P\" is also given with --build-arg",
        "--target: target must name a stage",
        "--platform: ",
        "--registry: a registry is written without \"https\"; did you mean \"r.example\"?",
        "--repository: invalid image name \"Team/x\"",
        "--tag: tag \"a b\"",
    ] {
        assert!(found.lines().any(|line| line.starts_with(expected)), "{expected}\n{found}");
    }
    assert_eq!(found.lines().count(), 7, "{found}");
    let missing = OneImage {
        dockerfile: "none/Dockerfile".to_owned(),
        context: Some("docker/Dockerfile".to_owned()),
        ..options(files.root())
    };
    let found = project(&missing).unwrap_err().to_string();
    let root = files.root().display();
    assert_eq!(
        found,
        format!(
            "--context: there is no build context directory {root}/docker/Dockerfile\n\
             --dockerfile: there is no Dockerfile {root}/none/Dockerfile"
        )
    );
}

#[test]
fn an_argument_that_looks_like_a_secret_is_a_warning() {
    let files = TestProject::new(&FILES);
    let options = OneImage { build_args: texts(&["NPM_TOKEN=x"]), ..options(files.root()) };
    let warnings = project(&options).unwrap().warnings;
    assert_eq!(
        warnings[0].to_string(),
        "--build-arg: argument \"NPM_TOKEN\" is named like a secret, and the values of build \
         arguments stand in the image's history"
    );
}

#[test]
fn the_key_is_that_of_the_same_image_in_a_file() {
    let files = TestProject::new(&FILES);
    files.write(
        "dockit.toml",
        "[images.x]\ndockerfile = \"docker/Dockerfile\"\nargs = { B = \"1\" }\n\
         unkeyed-args = { PROXY = \"p\" }\n",
    );
    let options = OneImage {
        build_args: texts(&["B=1"]),
        unkeyed_build_args: texts(&["PROXY=q"]),
        ..options(files.root())
    };
    assert_eq!(key(&options), files.key("x"));
}

/// What changed the tags of scripts that hash a directory, and must not.
#[test]
fn where_and_how_the_image_is_named_is_not_in_the_key() {
    let files = TestProject::new(&FILES);
    let plain = OneImage { build_args: texts(&["A=1", "B=2"]), ..options(files.root()) };
    let expected = key(&plain);
    // Another checkout, another directory to call from, absolute paths, another order of arguments.
    let elsewhere = TestProject::new(&FILES);
    assert_eq!(
        key(&OneImage { directory: elsewhere.root().to_owned(), ..plain.clone() }),
        expected
    );
    let root = files.root();
    let from = |directory: &str, dockerfile: &str, context: &str| OneImage {
        directory: root.join(directory),
        dockerfile: dockerfile.to_owned(),
        context: Some(context.to_owned()),
        ..plain.clone()
    };
    assert_eq!(key(&from("docker", "Dockerfile", ".")), expected);
    assert_eq!(key(&from("docker", "./Dockerfile", "../docker/")), expected);
    assert_eq!(key(&from("other", "../docker/Dockerfile", "../docker")), expected);
    let absolute = root.join("docker");
    let absolute = absolute.to_str().unwrap();
    assert_eq!(key(&from("other", &format!("{absolute}/Dockerfile"), absolute)), expected);
    assert_eq!(key(&OneImage { build_args: texts(&["B=2", "A=1"]), ..plain.clone() }), expected);
    let named = OneImage {
        registry: Some("r.example".to_owned()),
        repository: "other".to_owned(),
        tags: texts(&["latest"]),
        unkeyed_build_args: texts(&["PROXY=x"]),
        ..plain.clone()
    };
    let unkeyed = OneImage { unkeyed_build_args: texts(&["PROXY=y"]), ..plain.clone() };
    assert_eq!(key(&named), key(&unkeyed));
    // Ignored files, and those of dockit itself, which are none of the build context.
    files.write("docker/build.log", "two");
    files.write("docker/.dockit/inputs/x", "");
    files.write("docker/dockit.lock", "");
    assert_eq!(key(&plain), expected);
    assert_eq!(key(&from("other", "../docker/Dockerfile", "../docker")), expected);
    files.write("docker/run.sh", "echo 2");
    assert_ne!(key(&plain), expected);
}

#[cfg(unix)]
#[test]
fn a_umask_is_not_in_the_key_and_an_execute_bit_is() {
    let files = TestProject::new(&FILES);
    let chmod = |mode: &str| {
        let file = files.root().join("docker/run.sh");
        assert!(Command::new("chmod").arg(mode).arg(file).status().unwrap().success());
        key(&options(files.root()))
    };
    let plain = chmod("644");
    assert_eq!(chmod("600"), plain);
    assert_eq!(chmod("664"), plain);
    assert_ne!(chmod("755"), plain);
}

#[test]
fn the_environment_is_in_the_key_where_an_argument_is_taken_from_it() {
    let files = TestProject::new(&FILES);
    let with = |args: &[&str]| key(&OneImage { build_args: texts(args), ..options(files.root()) });
    assert_eq!(with(&["A"]), with(&["A=from the environment"]));
    assert_ne!(with(&["A"]), with(&[]));
    assert_eq!(with(&["NOT_SET"]), with(&[]), "what is not set is not given");
}

/// A user id that only some agents set gave each of them its own key.
#[test]
fn an_unkeyed_argument_is_not_in_the_key_whether_the_environment_has_it_or_not() {
    let files = TestProject::new(&FILES);
    files.write("docker/Dockerfile", "FROM scratch\nARG A=0\nARG NOT_SET=0\nCOPY run.sh /\n");
    let with =
        |args: &[&str]| key(&OneImage { unkeyed_build_args: texts(args), ..options(files.root()) });
    for wrong in ["A B", "1", "", "A B=1"] {
        let image = OneImage { unkeyed_build_args: texts(&[wrong]), ..options(files.root()) };
        let problems = project(&image).unwrap_err().to_string();
        assert!(problems.starts_with("--unkeyed-build-arg: \""), "{wrong:?}: {problems}");
        assert!(problems.contains("cannot be the name of a build argument"), "{problems}");
        assert_eq!(problems.lines().count(), 1, "{problems}");
    }
    assert_eq!(with(&["A", "NOT_SET"]), with(&["A=1", "NOT_SET=2"]));
    assert_eq!(with(&["A", "NOT_SET"]), with(&["NOT_SET", "A=0"]));
    assert_ne!(with(&["A"]), with(&["NOT_SET"]));
}

#[test]
fn a_lockfile_that_lies_in_the_build_context_is_not_in_the_key() {
    let files = TestProject::new(&[("Dockerfile", "FROM scratch\nCOPY . /\n"), ("file", "1")]);
    let locks = tempfile::tempdir().unwrap();
    let lockfile = locks.path().join("image.lock").to_str().unwrap().to_owned();
    let keys = || {
        let base = OneImage { dockerfile: "Dockerfile".to_owned(), ..options(files.root()) };
        let with = OneImage { lockfile: Some(lockfile.clone()), ..base.clone() };
        let inside = OneImage { lockfile: Some("dockit.lock".to_owned()), ..base.clone() };
        [key(&base), key(&with), key(&inside)]
    };
    let without = keys();
    assert!(without.iter().all(|key| *key == without[0]), "{without:?}");
    std::fs::write(files.root().join("dockit.lock"), "version = 1\n").unwrap();
    assert_eq!(keys(), without);
    std::fs::write(files.root().join("file"), "2").unwrap();
    assert_ne!(keys(), without);
}

fn files_below(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// An image on an external one, which the registry holds.
fn on_a_base(registry: &MemoryRegistry) -> TestProject {
    let config = br#"{"os":"linux","architecture":"amd64","config":{"Env":["X=1"]}}"#;
    registry.push(&"r.example/ext/debian:12".parse().unwrap(), config);
    TestProject::new(&[
        ("docker/Dockerfile", "FROM r.example/ext/debian:12\nCOPY run.sh /\n"),
        ("docker/run.sh", "echo"),
    ])
}

async fn build(
    project: &Project,
    registry: &MemoryRegistry,
    request: &Request,
) -> Result<(Status, String, Vec<String>), Error> {
    let engine = FakeEngine { registry: Some(registry), ..FakeEngine::default() };
    let services = Services {
        registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    let built = story::build(project, request, &services, &CancellationToken::new()).await?;
    let [report] = &built.report.images[..] else {
        panic!("{:?}", built.report);
    };
    let froms: Vec<String> = engine
        .built
        .lock()
        .unwrap()
        .iter()
        .map(|request| String::from_utf8(request.dockerfile.clone()).unwrap())
        .collect();
    Ok((report.status, report.key.to_string(), froms))
}

#[tokio::test(start_paused = true)]
async fn without_a_lockfile_bases_are_resolved_in_each_run_and_nothing_is_written() {
    let registry = MemoryRegistry::default();
    let files = on_a_base(&registry);
    let before = files_below(files.root());
    let options = OneImage { registry: Some("r.example".to_owned()), ..options(files.root()) };
    let request = Request { push: Some(PushPolicy::Always), ..Request::default() };
    let project = project(&options).unwrap();
    let (status, first, dockerfiles) = build(&project, &registry, &request).await.unwrap();
    assert_eq!(status, Status::Built);
    let digest = registry.digest_of("r.example/ext/debian:12").unwrap();
    assert!(dockerfiles[0].contains(&format!("debian@{digest}")), "{}", dockerfiles[0]);
    let (status, again, _) = build(&project, &registry, &request).await.unwrap();
    assert_eq!((status, &again), (Status::Reused, &first));
    // A base that was put under its tag anew is another key.
    let config = br#"{"os":"linux","architecture":"amd64","config":{"Env":["X=2"]}}"#;
    registry.push(&"r.example/ext/debian:12".parse().unwrap(), config);
    let (status, other, _) = build(&project, &registry, &request).await.unwrap();
    assert_eq!(status, Status::Built);
    assert_ne!(other, first);
    // A plan resolves it as well, and says the same key.
    let engine = FakeEngine { registry: Some(&registry), ..FakeEngine::default() };
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    let planned = story::plan(&project, &request, &services).await.unwrap();
    assert_eq!(planned.plan.steps[0].key.to_string(), other);
    assert_eq!(files_below(files.root()), before);
    for wrong in
        [Request { pin: true, ..request.clone() }, Request { locked: true, ..request.clone() }]
    {
        let error = build(&project, &registry, &wrong).await.unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_lockfile_bases_stay_and_all_that_is_written_lies_beside_it() {
    let registry = MemoryRegistry::default();
    let files = on_a_base(&registry);
    let locks = tempfile::tempdir().unwrap();
    let options = OneImage {
        registry: Some("r.example".to_owned()),
        lockfile: Some(locks.path().join("image.lock").to_str().unwrap().to_owned()),
        ..options(files.root())
    };
    let before = files_below(files.root());
    let request = Request { push: Some(PushPolicy::Always), ..Request::default() };
    let project = project(&options).unwrap();
    assert!(!project.in_memory);
    let (_, first, _) = build(&project, &registry, &request).await.unwrap();
    assert!(locks.path().join("image.lock").is_file());
    let config = br#"{"os":"linux","architecture":"amd64","config":{"Env":["X=2"]}}"#;
    registry.push(&"r.example/ext/debian:12".parse().unwrap(), config);
    let (status, again, _) = build(&project, &registry, &request).await.unwrap();
    assert_eq!((status, again), (Status::Reused, first));
    assert_eq!(files_below(files.root()), before);
    let pin = Request { pin: true, ..request };
    build(&project, &registry, &pin).await.unwrap();
    let locked = Lockfile::load(&locks.path().join("image.lock")).unwrap();
    assert!(locked.image(&image("team/image")).is_some());
}
