//! Build options: read, merged, keyed, and handed to the engine.

use std::path::Path;

use dockit_core::backend::NamedBackend;
use dockit_core::build_options::{BuildOptions, Network, Ulimit};
use dockit_core::config::{self, LoadOptions};
use dockit_core::events::Silent;
use dockit_core::story::{self, Request, Services};
use tokio_util::sync::CancellationToken;

use crate::support::{FakeEngine, MemoryRegistry, TestProject, image};

const ALL: &str = r#"
network = "none"
hosts = { "pypi.example" = "10.0.0.1", mirror = "fd00::1" }
shm-size = "2g"
ulimits = { nofile = "1024:2048", nproc = 512 }
"#;

fn project(options: &str) -> TestProject {
    TestProject::new(&[
        ("dockit.toml", &format!("[images.a]\n{options}")),
        ("a/Dockerfile", "FROM scratch\n"),
    ])
}

#[test]
fn options_are_read_and_a_variant_changes_some() {
    let text = format!(
        "[images.a]\n{ALL}\n[images.a.variants.v]\nnetwork = \"host\"\n\
         hosts = {{ mirror = \"10.0.0.2\" }}\nulimits = {{ nofile = -1 }}\n"
    );
    let project =
        config::parse(Path::new("/p/dockit.toml"), &text, &LoadOptions::default()).unwrap();
    let options = |name: &str| &project.images[&image(name)].options;
    let address = |text: &str| text.parse().unwrap();
    let hosts = |mirror: &str| {
        [("pypi.example", "10.0.0.1"), ("mirror", mirror)]
            .map(|(name, ip)| (name.to_owned(), address(ip)))
    };
    let limits = |nofile| {
        let nproc = Ulimit { soft: 512, hard: 512 };
        [("nofile".to_owned(), nofile), ("nproc".to_owned(), nproc)].into()
    };
    let expected = BuildOptions {
        network: Network::None,
        hosts: hosts("fd00::1").into(),
        shm_size: Some(1 << 31),
        ulimits: limits(Ulimit { soft: 1024, hard: 2048 }),
    };
    assert_eq!(*options("a"), expected);
    let expected = BuildOptions {
        network: Network::Host,
        hosts: hosts("10.0.0.2").into(),
        shm_size: Some(1 << 31),
        ulimits: limits(Ulimit { soft: -1, hard: -1 }),
    };
    assert_eq!(*options("a-v"), expected);
}

#[test]
fn mistakes_have_their_lines() {
    let text = "[images.a]\nnetwork = \"hots\"\nhosts = { \"a b\" = \"10.0.0.1\", b = \"10.0.0\" }\n\
                shm-size = \"much\"\nulimits = { nofiles = 1, nproc = \"2:1\", core = 1.5 }\n";
    let problems =
        config::parse(Path::new("/p/dockit.toml"), text, &LoadOptions::default()).unwrap_err();
    let said = problems.to_string();
    for expected in [
        ":2: network must be \"default\", \"none\" or \"host\", not \"hots\"; did you mean \"host\"?",
        ":3: \"a b\" cannot be the name of a host",
        ":3: hosts: \"b\" needs an IP address, and \"10.0.0\" is none",
        ":4: shm-size must be a size above zero such as \"512m\" or \"2g\", not \"much\"",
        ":5: ulimits: there is no limit \"nofiles\"; did you mean \"nofile\"?",
        ":5: ulimits: \"nproc\" must be SOFT:HARD or one number for both",
        ":5: \"core\" in [images.a] ulimits must be a string or a whole number, not a float",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
}

#[test]
fn each_option_changes_the_key_and_what_is_the_default_does_not() {
    let plain = project("").key("a");
    // Nor is it set, which not every engine can.
    let usual = project("shm-size = \"64m\"").load();
    assert_eq!(usual.images[&image("a")].options, BuildOptions::default());
    let same = ["network = \"default\"", "shm-size = \"64m\"", "hosts = {}\nulimits = {}"];
    for same in same {
        assert_eq!(project(same).key("a"), plain, "{same}");
    }
    let mut keys = vec![plain];
    for other in [
        "network = \"none\"",
        "network = \"host\"",
        "hosts = { a = \"10.0.0.1\" }",
        "hosts = { a = \"10.0.0.2\" }",
        "hosts = { b = \"10.0.0.1\" }",
        "shm-size = \"65m\"",
        "ulimits = { nofile = 1 }",
        "ulimits = { nofile = \"1:2\" }",
        "ulimits = { nproc = 1 }",
    ] {
        let key = project(other).key("a");
        assert!(!keys.contains(&key), "{other}");
        keys.push(key);
    }
    assert_eq!(
        project("ulimits = { nofile = 1 }").key("a"),
        project("ulimits.nofile = \"1:1\"").key("a")
    );
}

/// The vector of `docs/key-format.md` with build options.
#[test]
fn a_key_with_build_options_is_as_documented() {
    let key = project(ALL).key("a");
    let documented = include_str!("../../../../docs/key-format.md");
    assert!(documented.contains(&key), "{key} is not in docs/key-format.md");
}

#[tokio::test]
async fn the_engine_gets_them_and_no_layer_cache_where_it_would_not_see_them() {
    for (options, layer_cache) in [("network = \"none\"", true), (ALL, false)] {
        let project = project(options);
        let loaded = project.load();
        let (registry, engine) = (MemoryRegistry::default(), FakeEngine::default());
        let backends = &[NamedBackend::only(&engine)];
        let services =
            Services { registry: &registry, engine: &engine, backends, observer: &Silent };
        let request = Request::default();
        story::build(&loaded, &request, &services, &CancellationToken::new()).await.unwrap();
        let built = engine.built.lock().unwrap();
        assert_eq!(built[0].options, loaded.images[&image("a")].options);
        assert_eq!(built[0].layer_cache, layer_cache, "{options}");
    }
}
