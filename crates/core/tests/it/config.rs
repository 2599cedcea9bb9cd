//! Reading `dockit.toml`.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use dockit_core::CommandLine;
use dockit_core::config::{LoadOptions, Problems};
use dockit_core::{ImageName, Project, PushPolicy, Refresh, config};
use dockit_registry::{ProviderKind, RegistrySettings};

fn name(text: &str) -> ImageName {
    text.parse().unwrap()
}

fn parse(text: &str) -> Result<Project, Problems> {
    config::parse(Path::new("/p/dockit.toml"), text, &LoadOptions::default())
}

fn problems(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn defaults_follow_from_the_name() {
    let text = "[project]\nregistry = \"gcr.io/iree-oss\"\n[images.base]\n[images.\"ci/lint\"]\n";
    let project = parse(text).unwrap();
    let base = &project.images[&name("base")];
    assert_eq!(base.repository.to_string(), "gcr.io/iree-oss/base");
    assert!(base.has_registry);
    assert_eq!(base.dockerfile, Path::new("/p/base/Dockerfile"));
    assert_eq!(base.context, Path::new("/p/base"));
    assert_eq!(base.platform.to_string(), "linux/amd64");
    let lint = &project.images[&name("ci/lint")];
    assert_eq!(lint.repository.to_string(), "gcr.io/iree-oss/ci/lint");
    assert_eq!(lint.dockerfile, Path::new("/p/ci/lint/Dockerfile"));
    assert_eq!(project.push, PushPolicy::Auto);
    assert_eq!(project.lockfile, Path::new("/p/dockit.lock"));
}

#[test]
fn everything_that_can_be_written_is_read() {
    let text = r#"
[project]
registry = "registry.example:5000/team/"
push = "always"
lockfile = "locks/images.lock"
insecure-registries = ["registry.example:5000"]

[images.base]
repository = "sub/base-image"
dockerfile = "docker/Dockerfile.base"
context = ".."
target = "runtime"
platforms = ["linux/arm64"]
args = { PYTHON = "3.11", EMPTY = "" }
unkeyed-args = { BUILD_UID = "1000" }
tags = ["latest", "stable"]

[registries."registry.ci.example"]
provider = "gitlab"
api-url = "https://git.ci.example/api/v4"
create-repositories = true
questions = 4
downloads = 5
uploads = 6
requests-per-second = 7

[images.elsewhere]
repository = "ghcr.io/org/tool"
needs = ["base"]
"#;
    let project = parse(text).unwrap();
    let expected = RegistrySettings {
        provider: Some(ProviderKind::Gitlab),
        api_url: Some("https://git.ci.example/api/v4".to_owned()),
        create_repositories: true,
        questions: Some(4),
        downloads: Some(5),
        uploads: Some(6),
        requests_per_second: NonZeroU32::new(7),
        ..RegistrySettings::default()
    };
    assert_eq!(project.registries.of(&"registry.ci.example".parse().unwrap()), Some(&expected));
    assert_eq!(project.push, PushPolicy::Always);
    assert_eq!(project.lockfile, Path::new("/p/locks/images.lock"));
    assert_eq!(project.insecure_registries[0].to_string(), "registry.example:5000");
    let base = &project.images[&name("base")];
    assert_eq!(base.repository.to_string(), "registry.example:5000/team/sub/base-image");
    assert_eq!(base.dockerfile, Path::new("/p/docker/Dockerfile.base"));
    assert_eq!(base.context, Path::new("/p/.."));
    assert_eq!(base.target.as_deref(), Some("runtime"));
    assert_eq!(base.platform.to_string(), "linux/arm64");
    assert_eq!(base.args["PYTHON"], "3.11");
    assert_eq!(base.args["EMPTY"], "");
    assert_eq!(base.unkeyed_args["BUILD_UID"], "1000");
    assert_eq!(base.tags.len(), 2);
    let elsewhere = &project.images[&name("elsewhere")];
    assert_eq!(elsewhere.repository.to_string(), "ghcr.io/org/tool");
    assert_eq!(elsewhere.needs, [name("base")]);
}

#[test]
fn without_a_registry_images_are_names_in_the_engine() {
    let project = parse("[images.base]\n").unwrap();
    let base = &project.images[&name("base")];
    assert!(!base.has_registry);
    assert_eq!(base.repository.familiar(), "base");
}

#[test]
fn ten_mistakes_are_ten_errors_each_with_its_line() {
    let text = r#"[project]
registry = "https://gcr.io/x"
pusch = "auto"
push = "allways"
[images.base]
dockerfil = "Dockerfile"
args = { N = 3, "1X" = "a" }
tags = ["latest", "latest", "not a tag"]
[images.Bad]
[images.child]
needs = ["bse", "child"]
platforms = ["linux/amd64", "linux/x86_64"]
context = 7
[imagse]
"#;
    let found = problems(text);
    let expected = [
        ":2: a registry is written without \"https\"; did you mean \"gcr.io/x\"?",
        ":3: unknown key \"pusch\" in [project]; did you mean \"push\"?",
        ":4: push must be \"never\", \"auto\" or \"always\", not \"allways\"; did you mean \"always\"?",
        ":6: unknown key \"dockerfil\" in [images.base]; did you mean \"dockerfile\"?",
        ":7: \"N\" in [images.base] args must be a string, not an integer: write it in quotes",
        ":7: \"1X\" cannot be the name of a build argument",
        ":8: tag \"latest\" is there twice",
        ":9: invalid image name \"Bad\"",
        ":11: needs names the unknown image \"bse\"; did you mean \"base\"?",
        ":11: image \"child\" cannot need itself",
        ":12: the platform linux/amd64 is there twice",
        ":13: \"context\" in [images.child] must be a string, not an integer",
        ":14: unknown key \"imagse\" in the file; did you mean \"images\"?",
    ];
    for line in expected {
        assert!(found.contains(&format!("/p/dockit.toml{line}")), "{line}\nnot in:\n{found}");
    }
    assert_eq!(found.lines().count(), expected.len() + 1, "{found}");
}

#[test]
fn syntax_errors_have_lines_and_do_not_hide_other_mistakes() {
    let found = problems("[images.base]\ndockerfile = \ncontxt = \".\"\n");
    assert!(found.contains("/p/dockit.toml:2:"), "{found}");
    assert!(found.contains(":3: unknown key \"contxt\""), "{found}");
}

#[test]
fn a_project_has_an_image() {
    assert!(problems("[project]\n").contains("no image is declared"));
}

#[test]
fn a_moving_tag_cannot_look_like_a_content_tag() {
    let text = format!("[images.a]\ntags = [\"k1-{}\"]\n", "0".repeat(64));
    assert!(problems(&text).contains("has the form of a content tag"));
}

#[test]
fn a_file_that_is_not_utf8_or_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dockit.toml");
    let missing = config::load(&file, &LoadOptions::default()).unwrap_err().to_string();
    assert!(missing.contains("dockit.toml") && missing.contains("cannot read"), "{missing}");
    std::fs::write(&file, b"[images.a]\n# \xff\n").unwrap();
    assert!(
        config::load(&file, &LoadOptions::default())
            .unwrap_err()
            .to_string()
            .contains("line 2 is not UTF-8")
    );
}

#[test]
fn the_file_is_found_upwards() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("a/b");
    std::fs::create_dir_all(&deep).unwrap();
    assert_eq!(config::find(&deep), None);
    let file = directory.path().join("dockit.toml");
    std::fs::write(&file, "").unwrap();
    assert_eq!(config::find(&deep), Some(file));
}

#[test]
fn everything_that_a_key_reads_is_read() {
    let text = r#"
[project]
publish-inputs = "none"
publish-args = ["PYTHON"]

[images.a]
env-args = ["PIP_INDEX", "PIP_INDEX"]
inputs = ["scripts/", "./scripts", "../pyproject.toml"]
refresh = "weekly"
strict-modes = true
prepare = { run = "make wheels", outputs = ["a/wheels", "a//wheels"], timeout = "1h30m" }
publish-inputs = "listing"
publish-args = ["TORCH"]
[images.a.declared-key]
torch = { file = "./a/../requirements.txt", pattern = '^torch==(\S+)$' }

[images.b]
prepare = { run = ["python", "make.py", "a b"], outputs = ["b/x"] }
"#;
    let project = parse(text).unwrap();
    let a = &project.images[&name("a")];
    assert_eq!(a.env_args.iter().collect::<Vec<_>>(), ["PIP_INDEX"]);
    assert!(a.args.is_empty(), "no variable is set");
    let inputs: Vec<&str> = a.inputs.iter().map(|path| path.as_str()).collect();
    assert_eq!(inputs, ["../pyproject.toml", "scripts"]);
    assert_eq!(a.refresh, Some(Refresh::Weekly));
    assert!(a.strict_modes && a.publish_inputs);
    assert_eq!(a.publish_args.iter().collect::<Vec<_>>(), ["PYTHON", "TORCH"]);
    let prepare = a.prepare.as_ref().unwrap();
    assert_eq!(prepare.run, CommandLine::Shell("make wheels".to_owned()));
    assert_eq!(prepare.timeout, Some(Duration::from_secs(5400)));
    assert_eq!(prepare.outputs.len(), 1);
    assert_eq!(prepare.outputs[0].location(), Path::new("/p/a/wheels"));
    assert_eq!(a.declared_key[0].name(), "torch");
    assert_eq!(a.declared_key[0].file().as_str(), "requirements.txt");

    let b = &project.images[&name("b")];
    let words = ["python", "make.py", "a b"].map(str::to_owned).to_vec();
    assert_eq!(b.prepare.as_ref().unwrap().run, CommandLine::Program(words));
    assert_eq!(b.refresh, None);
    assert!(!b.strict_modes && !b.publish_inputs);
    assert_eq!(b.publish_args.iter().collect::<Vec<_>>(), ["PYTHON"]);
    assert!(b.declared_key.is_empty());
}

#[test]
fn mistakes_in_what_a_key_reads_have_their_lines() {
    let text = r#"[project]
publish-inputs = "lisitng"
publish-args = ["A-B"]
[images.a]
args = { V = "1" }
unkeyed-args = { U = "1" }
env-args = ["V", "U", "1X"]
inputs = ["", "/etc/passwd"]
refresh = "weekley"
strict-modes = "yes"
[images.a.prepare]
run = " "
timeout = "1 day"
[images.a.declared-key]
none = { }
no-file = { pattern = "x" }
both = { file = "f", pattern = "x", field = "y" }
regex = { file = "f", pattern = "(" }
notation = { file = "f.txt", field = "y" }
field = { file = "f.toml", field = "a..b", pat = "x" }
string = "x"
[images.b]
prepare = { run = [], outputs = ["x"] }
declared-key = {}
"#;
    let found = problems(text);
    let expected = [
        ":2: publish-inputs must be \"listing\" or \"none\", not \"lisitng\"; did you mean \"listing\"?",
        ":3: \"A-B\" cannot be the name of a build argument",
        ":7: argument \"V\" is both in env-args and in args",
        ":7: argument \"U\" is both in env-args and in unkeyed-args",
        ":7: \"1X\" cannot be the name of a build argument",
        ":8: \"\": a path must not be empty",
        ":8: \"/etc/passwd\": a path must be relative to the configuration file",
        ":9: refresh must be \"daily\", \"weekly\" or \"monthly\", not \"weekley\"; did you mean \"weekly\"?",
        ":10: \"strict-modes\" in [images.a] must be true or false, not a string",
        ":11: prepare needs a command to run",
        ":11: prepare needs outputs: what has to be there after it has run",
        ":13: \"1 day\" is no time limit such as 90s or 1h30m",
        ":15: declared key \"none\" names no file",
        ":16: declared key \"no-file\" names no file",
        ":17: declared key \"both\" needs a pattern or a field, and has both",
        ":18: \"(\" is no regular expression: unclosed group",
        ":19: f.txt is neither .toml nor .json, so declared key \"notation\" needs a pattern instead of a field",
        ":20: \"a..b\" is no field: a key is empty",
        ":20: unknown key \"pat\" in [images.a.declared-key.field]",
        ":21: \"string\" in [images.a.declared-key] must be a table, not a string",
        ":23: prepare needs a command to run",
        ":24: declared-key names no value, so no file would count",
    ];
    for line in expected {
        assert!(found.contains(&format!("/p/dockit.toml{line}")), "{line}\nnot in:\n{found}");
    }
    assert_eq!(found.lines().count(), expected.len(), "{found}");
}

#[test]
fn an_argument_named_like_a_secret_is_a_warning_unless_it_is_said_to_be_none() {
    let text = "[images.a]\nargs = { V = \"1\", API_KEY = \"x\" }\n\
                env-args = [\"NPM_TOKEN\", \"CACHE_KEY\"]\npublish-args = [\"CACHE_KEY\"]\n";
    let project = parse(text).unwrap();
    let warnings: Vec<String> = project.warnings.iter().map(ToString::to_string).collect();
    let said = |line: usize, name: &str| {
        format!(
            "/p/dockit.toml:{line}: argument {name:?} is named like a secret, and the values of \
             build arguments stand in the image's history; if it is none, publish-args may name it"
        )
    };
    assert_eq!(warnings, [said(2, "API_KEY"), said(3, "NPM_TOKEN")]);
}

#[test]
fn a_value_with_credentials_is_a_warning_unless_it_is_said_to_be_none() {
    let lookup = |_: &str| Some(OsString::from("https://user:pw@host/simple"));
    let options = LoadOptions { environment: Some(&lookup) };
    let text = "[images.a]\nargs = { V = \"http://h\", DATABASE_URL = \"postgres://u:pw@h/d\" }\n\
                env-args = [\"PIP_INDEX_URL\", \"OPEN\"]\npublish-args = [\"OPEN\"]\n";
    let project = config::parse(Path::new("/p/dockit.toml"), text, &options).unwrap();
    let warnings: Vec<String> = project.warnings.iter().map(ToString::to_string).collect();
    let said = |line: usize, name: &str| {
        format!(
            "/p/dockit.toml:{line}: the value of argument {name:?} is a URL with credentials, and \
             the values of build arguments stand in the image's history; if they are none, \
             publish-args may name it"
        )
    };
    assert_eq!(warnings, [said(2, "DATABASE_URL"), said(3, "PIP_INDEX_URL")]);
}

#[cfg(unix)]
#[test]
fn a_value_of_the_environment_that_is_no_text_is_an_error() {
    use std::os::unix::ffi::OsStringExt as _;
    let lookup = |_: &str| Some(OsString::from_vec(vec![0xff]));
    let options = LoadOptions { environment: Some(&lookup) };
    let text = "[images.a]\nenv-args = [\"V\"]\n";
    let error = config::parse(Path::new("/p/dockit.toml"), text, &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/p/dockit.toml:2: the value of V in the environment is not UTF-8"
    );
}

/// What the documentation shows is valid.
#[test]
fn the_examples_of_the_documentation_are_valid() {
    let documents = [
        ("docs/configuration.md", include_str!("../../../../docs/configuration.md")),
        ("docs/secrets.md", include_str!("../../../../docs/secrets.md")),
        ("README.md", include_str!("../../../../README.md")),
    ];
    for (file, text) in documents {
        let blocks: Vec<&str> = text
            .split("```toml\n")
            .skip(1)
            .map(|rest| rest.split_once("```").expect("the block ends").0)
            .collect();
        assert!(!blocks.is_empty(), "{file} has examples");
        for block in blocks {
            if let Err(problems) = parse(block) {
                panic!("{file}: {problems}\n{block}");
            }
        }
    }
}

#[test]
fn a_declared_value_has_a_name_that_can_be_shown() {
    for name in [r#""""#, r#""a\u001b[31m""#, r#""a\nb""#] {
        let text =
            format!("[images.a.declared-key]\n{name} = {{ file = \"f\", pattern = \"x\" }}\n");
        let file = Path::new("/p/dockit.toml");
        let problems = config::parse(file, &text, &config::LoadOptions::default()).unwrap_err();
        assert!(problems.to_string().contains("cannot be the name"), "{problems}");
    }
}

#[test]
fn what_is_wrong_with_a_registry_is_told_with_its_line() {
    let text = r#"
[images.a]
[registries."r.example.com"]
provider = "gitlap"
api-url = "https://gitlab.example.org"
questions = 0
uploads = "4"
rate = 3
[registries."team.azurecr.io"]
provider = "gitlab"
api-url = "http://team.azurecr.io"
[registries."not a host"]
[registries."x.example"]
api-url = "gitlab.example.com"
create-repositories = "yes"
[registries."y.example"]
provider = "ghcr"
[project]
insecure-registries = ["europe-docker.pkg.dev"]
"#;
    let found = problems(text);
    for expected in [
        ":4: provider must be one of google, ecr, ecr-public, acr, gitlab, docker-hub, ghcr, quay, \
         harbor, generic, not \"gitlap\"; did you mean \"gitlab\"?",
        ":5: api-url: gitlab.example.org would get the credentials for r.example.com",
        ":6: \"questions\" in [registries.\"r.example.com\"] must be a whole number above zero",
        ":7: \"uploads\" in [registries.\"r.example.com\"] must be a whole number above zero",
        ":8: unknown key \"rate\" in [registries.\"r.example.com\"]",
        ":10: team.azurecr.io is a registry of acr",
        ":11: api-url must begin with https://",
        ":12: ",
        ":14: api-url must be a URL",
        ":17: y.example is no host of ghcr, whose API would get the credentials for it",
        ":19: europe-docker.pkg.dev is a registry of google, which speaks TLS",
        ":15: \"create-repositories\" in [registries.\"x.example\"] must be true or false",
    ] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
}

#[test]
fn a_registry_for_layers_is_one_of_its_own() {
    let with = |cache: &str| {
        let text = format!(
            "[project]\nregistry = \"r.example/p\"\ncache-registry = \"{cache}\"\n[images.a]\n[images.\"l/a\"]\n"
        );
        parse(&text)
    };
    let project = with("r.example/layers/").unwrap();
    let cache = project.images[&name("a")].cache_repository.as_ref();
    assert_eq!(cache.unwrap().to_string(), "r.example/layers/a");
    for (cache, problem) in [
        ("r.example/p", "would be in the repository r.example/p/a of image \"a\""),
        ("r.example/p/l", "would be in the repository r.example/p/l/a of image \"l/a\""),
        ("layers", "must begin with a registry's host"),
        ("oci:layers", "not an OCI layout"),
        ("https://r.example/layers", "is written without \"https\""),
        ("r.example/Layers", "invalid cache-registry"),
    ] {
        let problems = with(cache).unwrap_err().to_string();
        assert!(problems.contains(problem), "{cache}: {problems}");
    }
}

#[test]
fn images_do_not_lie_in_what_dockit_keeps_for_itself() {
    for (layout, refused) in [
        ("oci:.dockit", true),
        ("oci:.dockit/images", true),
        ("oci:./sub/../.dockit/x", true),
        ("oci:../.dockit/images", true),
        ("oci:/p/.dockit/images", true),
        ("oci:out", false),
        ("oci:.dockit-images", false),
        ("oci:/elsewhere/.dockit/images", false),
    ] {
        let text = format!("[project]\nregistry = \"{layout}\"\n[images.base]\n");
        let found = parse(&text).is_err();
        assert_eq!(found, refused, "{layout}");
        if refused {
            assert!(problems(&text).contains("dockit's own"), "{}", problems(&text));
        }
    }
}
