//! Commands that move images and tags, with a real registry, judged by skopeo.

use std::process::Command;

use dockit_testkit::{Auth, PASSWORD, RegistryProcess, TestImage, USERNAME};
use serde_json::{Value, json};

use crate::run::{Project, Ran};
use crate::{engine, nonce};

fn skopeo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo").arg("--insecure-policy").args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo {arguments:?}: {errors}");
    output.stdout
}

/// The digest of what skopeo reads there.
fn digest(place: &str) -> String {
    let tls = place.starts_with("docker:").then_some("--tls-verify=false");
    let arguments: Vec<&str> = ["inspect", "--raw"].into_iter().chain(tls).chain([place]).collect();
    dockit_registry::Digest::of(&skopeo(&arguments)).to_string()
}

/// A project of two images in this registry, without anything that has to be resolved or built.
fn project(host: &str) -> Project {
    Project::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\nregistry = \"{host}/p\"\n[images.base]\ntags = [\"latest\", \"stable\"]\n\
                 [images.child]\n"
            ),
        ),
        ("base/Dockerfile", "FROM scratch\nCOPY file /\n"),
        ("base/file", "1"),
        ("child/Dockerfile", "FROM base\n"),
    ])
}

/// The content tag of an image.
fn content_tag(project: &Project, image: &str) -> String {
    let json = project.run(&["key", image, "--format", "json"]).json();
    json["images"][0]["tag"].as_str().unwrap().to_owned()
}

fn ok(ran: Ran) -> Value {
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.json()
}

/// Two images for two platforms, as one.
fn push_index(host: &str, repository: &str, tag: &str, seed: &str) -> (String, TestImage) {
    let amd64 = TestImage::for_platform(&format!("{seed} amd64"), "linux", "amd64");
    let arm64 = TestImage::for_platform(&format!("{seed} arm64"), "linux", "arm64");
    amd64.push(host, repository, "amd64", None);
    arm64.push(host, repository, "arm64", None);
    let index = TestImage::index(&[(&amd64, "linux", "amd64"), (&arm64, "linux", "arm64")]);
    (TestImage::push_index(&index, host, repository, tag, None), arm64)
}

#[test]
fn a_list_tells_what_the_registry_holds() {
    let registry = RegistryProcess::start(Auth::None);
    let (host, project) = (registry.host(), project(registry.host()));
    let list = || ok(project.run(&["list", "--remote", "--format", "json"]))["images"].take();
    let empty = list();
    assert_eq!(empty[0]["remote"]["state"], "absent");
    assert_eq!(empty[0]["remote"]["repository_tags"], 0);

    let (image, other) = (TestImage::new("base"), TestImage::new("other"));
    image.push(host, "p/base", &content_tag(&project, "base"), None);
    image.push(host, "p/base", "latest", None);
    other.push(host, "p/base", "stable", None);
    let key = project.run(&["key", "base", "--format", "json"]).json()["images"][0]["key"].take();
    let locked = format!(
        "version = 1\n\n[[image]]\nname = \"base\"\nkey = {key}\nreference = \"{host}/p/base:{}@{}\"\n",
        content_tag(&project, "base"),
        image.digest()
    );
    project.write("dockit.lock", &locked);
    let held = list();
    let base = &held[0]["remote"];
    assert_eq!((&base["state"], &base["digest"]), (&"present".into(), &image.digest().into()));
    assert_eq!(base["repository_tags"], 3);
    let tags: Vec<_> = base["tags"].as_array().unwrap().iter().map(|tag| &tag["state"]).collect();
    assert_eq!(tags, ["here", "elsewhere"]);
    assert_eq!((&base["locked"]["state"], &base["locked"]["key"]), (&"present".into(), &key));
    assert_eq!(held[1]["remote"]["state"], "absent");

    drop(registry);
    let gone = project.run(&["list", "--remote", "base", "--format", "json"]);
    assert_eq!(gone.code, 3, "{gone:?}");
    assert_eq!(gone.json()["images"][0]["remote"]["state"], "error");
}

#[test]
fn tags_are_put_on_the_same_bytes() {
    let registry = RegistryProcess::start(Auth::None);
    let (host, project) = (registry.host(), project(registry.host()));
    let image = TestImage::new("base");
    image.push(host, "p/base", &content_tag(&project, "base"), None);
    TestImage::new("old").push(host, "p/base", "latest", None);
    let tag = |more: &[&str]| {
        let arguments = [&["tag", "base", "1.0", "latest", "--format", "json"], more].concat();
        let json = ok(project.run(&arguments));
        let tags = json["tags"].as_array().unwrap().iter().map(|tag| tag["status"].clone());
        (json["digest"].clone(), tags.collect::<Vec<_>>())
    };
    let moves = (json!(image.digest()), vec![json!("created"), json!("moved")]);
    assert_eq!(tag(&["--dry-run"]), moves);
    assert_eq!(tag(&[]), moves);
    assert_eq!(tag(&[]).1, ["unchanged", "unchanged"]);
    for tag in ["1.0", "latest"] {
        assert_eq!(digest(&format!("docker://{host}/p/base:{tag}")), image.digest());
    }
    // By reference and without a project, too.
    let elsewhere = Project::new(&[("file", "")]);
    let source = format!("{host}/p/base@{}", image.digest());
    let json = ok(elsewhere.run(&["tag", &source, "2.0", "--format", "json"]));
    assert_eq!(json["tags"][0]["status"], "created");
    let absent = elsewhere.run(&["tag", &format!("{host}/p/base:none"), "3.0"]);
    assert_eq!(absent.code, 3, "{absent:?}");
}

#[test]
fn an_image_goes_from_a_registry_to_a_layout_and_back_with_its_digests() {
    let registry = RegistryProcess::start(Auth::None);
    let (host, place) = (registry.host(), Project::new(&[("file", "")]));
    let (index, arm64) = push_index(host, "team/app", "1.0", "round trip");
    let copy = |source: &str, destination: &str, more: &[&str]| {
        ok(place.run(&[&["copy", source, destination, "--format", "json"], more].concat()))
    };
    let source = format!("{host}/team/app:1.0");
    let out = copy(&source, "oci:layout", &[]);
    assert_eq!(
        (&out["digest"], &out["destination"]),
        (&json!(index), &json!("oci:layout:app:1.0"))
    );
    assert_eq!((&out["manifests"]["written"], &out["blobs"]["written"]), (&json!(3), &json!(4)));
    let layout = format!("oci:{}", place.root().join("layout").display());
    assert_eq!(digest(&format!("{layout}:app:1.0")), index);

    let back = copy("oci:layout", &format!("{host}/other/app"), &[]);
    assert_eq!(back["destination"], format!("{host}/other/app:1.0"));
    assert_eq!(digest(&format!("docker://{host}/other/app:1.0")), index);
    let again = copy("oci:layout:app:1.0", &format!("{host}/other/app"), &[]);
    assert_eq!(
        (&again["blobs"]["written"], &again["manifests"]["written"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(again["previous"], json!(index));

    // Within a registry nothing is moved at all.
    let within = copy(&source, &format!("{host}/third/app:2.0"), &[]);
    assert_eq!((&within["blobs"]["mounted"], &within["blobs"]["written"]), (&json!(4), &json!(0)));
    assert_eq!(digest(&format!("docker://{host}/third/app:2.0")), index);

    let one = copy(&source, &format!("{host}/fourth/app"), &["--platform", "linux/arm64"]);
    assert_eq!(one["digest"], arm64.digest());
    assert_eq!(digest(&format!("docker://{host}/fourth/app:1.0")), arm64.digest());
    let none = place.run(&["copy", &source, "oci:none", "--platform", "linux/s390x"]);
    assert_eq!(none.code, 3, "{none:?}");
    assert!(none.err.contains("linux/amd64, linux/arm64"), "{}", none.err);
}

#[test]
fn images_of_a_project_are_pulled_into_a_layout() {
    let registry = RegistryProcess::start(Auth::None);
    let (host, project) = (registry.host(), project(registry.host()));
    let (base, other) = (TestImage::new("base"), TestImage::new("other"));
    let tag = content_tag(&project, "base");
    base.push(host, "p/base", &tag, None);
    other.push(host, "x/other", "7", None);
    let other_name = format!("{host}/x/other:7");
    let ran = project.run(&["pull", "base", &other_name, "--to", "oci:out", "--format", "json"]);
    let json = ok(ran);
    assert_eq!(json["images"][0]["destinations"], json!([format!("oci:out:base:{tag}")]));
    assert_eq!(
        (&json["images"][1]["status"], &json["images"][1]["digest"]),
        (&json!("pulled"), &json!(other.digest()))
    );
    let layout = format!("oci:{}", project.root().join("out").display());
    assert_eq!(digest(&format!("{layout}:base:{tag}")), base.digest());
    assert_eq!(digest(&format!("{layout}:other:7")), other.digest());
    let all = project.run(&["pull", "--to", "oci:out"]);
    assert_eq!(all.code, 3, "{all:?}");
    assert!(all.err.contains("child is not in its registry"), "{}", all.err);
    assert!(all.out.contains(&base.digest()), "{}", all.out);
}

#[test]
fn a_password_is_used_and_missed() {
    let registry = RegistryProcess::start(Auth::Htpasswd);
    let (host, mut place) = (registry.host(), Project::new(&[("file", "")]));
    let image = TestImage::new("private");
    image.push(host, "a/b", "1", Some(&RegistryProcess::basic_authorization()));
    let source = format!("{host}/a/b:1");
    let refused = place.run(&["copy", &source, "oci:out"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.err.contains("dockit login"), "{}", refused.err);
    let config = json!({"auths": {host: {"username": USERNAME, "password": PASSWORD}}});
    place.write("../docker/config.json", &config.to_string());
    let directory = place.root().join("../docker");
    place.variables.push(("DOCKER_CONFIG", directory.to_str().unwrap().to_owned()));
    let json = ok(place.run(&["copy", &source, &format!("{host}/c/d"), "--format", "json"]));
    assert_eq!(json["digest"], image.digest());
    let tagged = place.run(&["tag", &format!("{host}/c/d:1"), "2"]);
    assert_eq!(tagged.code, 0, "{tagged:?}");
}

#[test]
fn an_image_of_a_project_is_pulled_into_the_engine() {
    let registry = RegistryProcess::start(Auth::None);
    let (host, name) = (registry.host(), format!("pulled-{}", nonce()));
    let mut project = Project::new(&[
        ("dockit.toml", &format!("[project]\nregistry = \"{host}/p\"\n[images.{name}]\n")),
        (&format!("{name}/Dockerfile"), "FROM scratch\n"),
    ]);
    project.docker_host = engine::endpoint();
    let (image, tag) = (TestImage::new(&name), content_tag(&project, &name));
    image.push(host, &format!("p/{name}"), &tag, None);
    let json = ok(project.run(&["pull", "--format", "json"]));
    assert_eq!(json["images"][0]["digest"], image.digest());
    let names = [format!("{host}/p/{name}:{tag}"), format!("{name}:latest")];
    assert_eq!(json["images"][0]["destinations"], json!(names));
    for name in &names {
        let found = engine::inspect(name).unwrap();
        assert_eq!(found["Id"], image.config_digest());
        engine::remove(name);
    }
    project.docker_host = "unix:///nonexistent.sock".to_owned();
    assert_eq!(project.run(&["pull"]).code, 4);
}
