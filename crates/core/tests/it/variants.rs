//! Variants: which images there are, what they take over, what names mean in them.

use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::Ordering;

use dockit_core::backend::NamedBackend;
use dockit_core::config::{LoadOptions, Problems};
use dockit_core::events::Silent;
use dockit_core::execute::Status;
use dockit_core::graph::Use;
use dockit_core::key::KeyWarning;
use dockit_core::story::{self, Request, Services};
use dockit_core::{Image, ImageGraph, Project, PushPolicy, config};
use tokio_util::sync::CancellationToken;

use crate::support::{FakeEngine, MemoryRegistry, TestProject, image};

fn parse(text: &str) -> Result<Project, Problems> {
    config::parse(Path::new("/p/dockit.toml"), text, &LoadOptions::default())
}

fn problems(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn names(project: &Project) -> Vec<&str> {
    project.images.keys().map(|name| name.as_str()).collect()
}

fn of<'a>(project: &'a Project, name: &str) -> &'a Image {
    &project.images[&image(name)]
}

fn args(image: &Image) -> Vec<String> {
    let shown = |(name, value): (&String, &String)| format!("{name}={value}");
    let unkeyed = image.unkeyed_args.iter().map(|arg| format!("unkeyed {}", shown(arg)));
    image.args.iter().map(shown).chain(unkeyed).collect()
}

#[test]
fn a_variant_is_an_image_with_the_dockerfile_of_its_image() {
    let project = parse(
        "[project]\nregistry = \"r.example/p\"\n\
         [images.\"ci/app\"]\ntarget = \"run\"\ntags = [\"latest\"]\n\
         [images.\"ci/app\".variants.gpu]\ntarget = \"gpu\"\ntag-prefix = \"gpu\"\n",
    )
    .unwrap();
    assert_eq!(names(&project), ["ci/app", "ci/app-gpu"]);
    let (plain, gpu) = (of(&project, "ci/app"), of(&project, "ci/app-gpu"));
    assert_eq!(gpu.dockerfile, Path::new("/p/ci/app/Dockerfile"));
    assert_eq!((&gpu.dockerfile, &gpu.context), (&plain.dockerfile, &plain.context));
    assert_eq!(gpu.repository.to_string(), "r.example/p/ci/app-gpu");
    assert_eq!((plain.target.as_deref(), gpu.target.as_deref()), (Some("run"), Some("gpu")));
    assert_eq!(gpu.tags, plain.tags);
    assert_eq!(gpu.tag_prefix.as_ref().unwrap().as_str(), "gpu");
    let variant = gpu.variant.as_ref().unwrap();
    assert_eq!((variant.image.as_str(), variant.variant.as_str()), ("ci/app", "gpu"));
    assert_eq!((plain.variant.as_ref(), plain.tag_prefix.as_ref()), (None, None));
    assert_eq!((gpu.line, plain.line), (6, 3));
}

#[test]
fn what_is_more_specific_wins_and_maps_are_merged() {
    let project = parse(
        r#"
[project]
args = { A = "project", B = "project", C = "project", D = "project", E = "project" }
unkeyed-args = { PROXY = "project" }

[images.app]
args = { B = "image", C = "image", D = "image" }
env-args = ["HOME_OF_APP"]
inputs = ["a", "b"]
tags = ["latest"]
declared-key = { one = { file = "a.toml", field = "x" }, two = { file = "a.toml", field = "y" } }

[variants.gpu]
args = { C = "variant", D = "variant" }
strict-modes = true

[images.app.variants.gpu]
args = { D = "own" }
inputs = ["c"]
tags = []
declared-key = { two = { file = "b.toml", field = "z" } }
"#,
    )
    .unwrap();
    assert_eq!(names(&project), ["app", "app-gpu"]);
    let (plain, gpu) = (of(&project, "app"), of(&project, "app-gpu"));
    let proxy = "unkeyed PROXY=project";
    assert_eq!(args(plain), ["A=project", "B=image", "C=image", "D=image", "E=project", proxy]);
    assert_eq!(args(gpu), ["A=project", "B=image", "C=variant", "D=own", "E=project", proxy]);
    let inputs =
        |image: &Image| -> Vec<String> { image.inputs.iter().map(ToString::to_string).collect() };
    assert_eq!((inputs(plain), inputs(gpu)), (vec!["a".into(), "b".into()], vec!["c".into()]));
    assert_eq!((plain.tags.len(), gpu.tags.len()), (1, 0), "an empty list replaces");
    assert_eq!((plain.strict_modes, gpu.strict_modes), (false, true));
    assert!(gpu.env_args.contains("HOME_OF_APP"));
    let declared: Vec<String> = gpu
        .declared_key
        .iter()
        .map(|source| format!("{} in {}", source.name(), source.file()))
        .collect();
    assert_eq!(declared, ["one in a.toml", "two in b.toml"]);
    let common = |image: &Image| image.common_args.iter().cloned().collect::<Vec<_>>();
    assert_eq!(common(plain), ["A", "E", "PROXY"]);
    assert_eq!(common(gpu), ["A", "C", "E", "PROXY"]);
}

#[test]
fn an_argument_is_of_the_class_that_the_most_specific_place_gives_it() {
    let lookup = |name: &str| (name == "UID").then(|| OsString::from("1000"));
    let text = r#"
[project]
args = { MIRROR = "a", UID = "0" }
unkeyed-args = { CACHE = "x" }
[images.app]
unkeyed-args = { MIRROR = "b" }
[images.app.variants.keyed]
args = { MIRROR = "c", CACHE = "y" }
[images.app.variants.env]
env-args = ["UID", "CACHE"]
[images.app.variants.env-unkeyed]
unkeyed-args = { UID = "7" }
"#;
    let options = LoadOptions { environment: Some(&lookup) };
    let project = config::parse(Path::new("/p/dockit.toml"), text, &options).unwrap();
    assert_eq!(args(of(&project, "app")), ["UID=0", "unkeyed CACHE=x", "unkeyed MIRROR=b"]);
    assert_eq!(args(of(&project, "app-keyed")), ["CACHE=y", "MIRROR=c", "UID=0"]);
    let env = of(&project, "app-env");
    assert_eq!(args(env), ["UID=1000", "unkeyed MIRROR=b"]);
    assert_eq!(env.env_args.iter().collect::<Vec<_>>(), ["CACHE", "UID"]);
    let unkeyed = of(&project, "app-env-unkeyed");
    assert_eq!(args(unkeyed), ["unkeyed CACHE=x", "unkeyed MIRROR=b", "unkeyed UID=7"]);
    let both =
        "[images.a]\n[images.a.variants.v]\nargs = { X = \"1\" }\nunkeyed-args = { X = \"2\" }\n";
    let found = problems(both);
    assert!(found.contains(":4: argument \"X\" is both in args and in unkeyed-args"), "{found}");
}

#[test]
fn every_image_has_the_common_variants_that_it_does_not_exclude() {
    let project = parse(
        "[variants.cpu]\n[variants.gpu]\n[images.a]\n\
         [images.b]\nexclude-variants = [\"gpu\"]\n\
         [images.c]\nexclude-variants = [\"*\"]\n[images.c.variants.own]\n\
         [images.d]\nonly-variants = true\n\
         [images.e]\nexclude-variants = [\"*\"]\n[images.e.variants.gpu]\n",
    )
    .unwrap();
    assert_eq!(
        names(&project),
        ["a", "a-cpu", "a-gpu", "b", "b-cpu", "c", "c-own", "d-cpu", "d-gpu", "e", "e-gpu"]
    );
}

#[test]
fn mistakes_have_their_lines() {
    for (text, message) in [
        (
            "[images.a]\n[images.a.variants.b-c]\n[images.a-b]\n[images.a-b.variants.c]\n",
            ":4: \"a-b-c\" is both variant \"b-c\" of image \"a\" (line 2) and variant \"c\" of \
             image \"a-b\"",
        ),
        (
            "[images.a]\n[images.a.variants.b]\n[images.a-b]\n",
            ":3: \"a-b\" is both variant \"b\" of image \"a\" (line 2) and an image",
        ),
        (
            "[variants.gpu]\n[images.a]\nexclude-variants = [\"gup\"]\n",
            ":3: exclude-variants names the unknown variant \"gup\"; did you mean \"gpu\"?",
        ),
        (
            "[images.a]\nexclude-variants = [\"b\"]\n[images.a.variants.b]\n",
            ":2: variant \"b\" is both excluded and the image's own",
        ),
        (
            "[variants.v]\n[images.a]\nonly-variants = true\nexclude-variants = [\"*\"]\n",
            ":3: only-variants leaves no image",
        ),
        ("[images.a]\n[images.a.variants.\"x/y\"]\n", ":2: invalid variant name \"x/y\""),
        ("[images.a]\n[variants.Gpu]\n", ":2: invalid variant name \"Gpu\""),
        (
            "[images.a]\n[images.a.variants.b]\ndockerfile = \"x\"\n",
            ":3: \"dockerfile\" cannot stand in [images.a.variants.b]: a variant has the Dockerfile",
        ),
        (
            "[images.a]\n[variants.b]\nexclude-variants = []\n",
            ":3: \"exclude-variants\" cannot stand in [variants.b]",
        ),
        (
            "[images.a]\n[images.a.variants.b]\ntargt = \"x\"\n",
            ":3: unknown key \"targt\" in [images.a.variants.b]; did you mean \"target\"?",
        ),
        ("[images.a]\ntag-prefix = \"-x\"\n", ":2: invalid tag-prefix \"-x\""),
        (
            "[images.a]\nonly-variants = true\n[images.a.variants.v]\n[images.b]\nneeds = [\"a\"]\n",
            ":5: needs names \"a\", which exists only as its variants a-v",
        ),
        (
            "[images.a]\nneeds = [\"a-v\"]\n[images.a.variants.v]\n",
            ":2: variant \"v\" of image \"a\" cannot need itself; without `needs` of its own it takes \
             over the image's",
        ),
        ("[images.a]\nneeds = [\"a\"]\n", ":2: image \"a\" cannot need itself"),
    ] {
        let found = problems(text);
        assert!(found.contains(message), "{text}\n{found}");
        assert_eq!(found.lines().count(), 1, "{text}\n{found}");
    }
}

#[test]
fn a_mistake_that_variants_take_over_is_told_once() {
    let found = problems("[variants.a]\n[variants.b]\n[images.x]\ntags = [\"a b\"]\n");
    assert_eq!(found.lines().count(), 1, "{found}");
    let project = parse("[variants.a]\n[images.x]\nargs = { NPM_TOKEN = \"1\" }\n").unwrap();
    assert_eq!(project.warnings.len(), 1, "{:?}", project.warnings);
}

#[test]
fn a_common_variant_of_no_image_is_a_warning() {
    let project = parse("[variants.gpu]\n[images.x]\nexclude-variants = [\"*\"]\n").unwrap();
    assert_eq!(
        project.warnings[0].to_string(),
        "/p/dockit.toml:1: no image has the variant \"gpu\""
    );
}

#[test]
fn images_may_share_a_repository_but_no_moving_tag() {
    let shared = "[project]\nregistry = \"r.example\"\n\
                  [images.app]\nrepository = \"team/app\"\ntags = [\"latest\"]\n\
                  [images.app.variants.gpu]\n";
    assert_eq!(
        problems(shared),
        "/p/dockit.toml:6: images \"app\" and \"app-gpu\" have the same tag \"latest\" in the \
         repository r.example/team/app: give them tags or repositories of their own"
    );
    let project = parse(&format!("{shared}tags = [\"latest-gpu\"]\n")).unwrap();
    let repository = |name: &str| of(&project, name).repository.to_string();
    assert_eq!(repository("app"), "r.example/team/app");
    assert_eq!(repository("app-gpu"), "r.example/team/app");
    // Two images that say so themselves, and the engine's own store.
    let two = "[images.a]\nrepository = \"x\"\ntags = [\"t\"]\n\
               [images.b]\nrepository = \"x\"\ntags = [\"t\"]\n";
    assert!(problems(two).contains(":4: images \"a\" and \"b\" have the same tag \"t\""));
}

/// `base` and `tool` have the variant `gpu`, `app` has `gpu` and `arm`.
fn layered(app_dockerfile: &str) -> TestProject {
    TestProject::new(&[
        (
            "dockit.toml",
            "[project]\nregistry = \"r.example/p\"\n\
             [images.base]\n[images.base.variants.gpu]\nargs = { V = \"gpu\" }\n\
             [images.tool]\nonly-variants = true\n[images.tool.variants.gpu]\n\
             [images.app]\nneeds = [\"base\"]\n[images.app.variants.gpu]\n[images.app.variants.arm]\n",
        ),
        ("base/Dockerfile", "FROM scratch\nARG V\nCOPY f /\n"),
        ("base/f", "base"),
        ("tool/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("tool/f", "tool"),
        ("app/Dockerfile", app_dockerfile),
    ])
}

fn used(project: &TestProject, name: &str) -> Vec<String> {
    let graph = ImageGraph::new(&project.load()).unwrap();
    let uses = graph.node(&image(name)).unwrap().uses().iter();
    uses.map(|used| match used {
        Use::Image(name) => name.to_string(),
        Use::Base(base) => base.reference.to_string(),
    })
    .collect()
}

#[test]
fn a_short_name_in_a_variant_means_the_same_variant() {
    let project = layered("FROM base:3\n");
    assert_eq!(used(&project, "app"), ["base"]);
    assert_eq!(used(&project, "app-gpu"), ["base-gpu"]);
    assert_eq!(used(&project, "app-arm"), ["base"]);
    let graph = ImageGraph::new(&project.load()).unwrap();
    let needs = |name: &str| graph.node(&image(name)).unwrap().image().needs.clone();
    assert_eq!(needs("app-gpu"), [image("base-gpu")]);
    assert_eq!(needs("app-arm"), [image("base")]);
    // Full repositories, and the full name of a variant, say which one is meant.
    for dockerfile in ["FROM r.example/p/base\n", "FROM r.example/p/base:x\n"] {
        assert_eq!(used(&layered(dockerfile), "app-gpu"), ["base"], "{dockerfile}");
    }
    assert_eq!(used(&layered("FROM base-gpu\n"), "app"), ["base-gpu"]);
    // Its own image, in whatever variant, is the external one of that name.
    let own = layered("FROM app:1\n");
    for name in ["app", "app-gpu", "app-arm"] {
        assert_eq!(used(&own, name), ["docker.io/library/app:1"], "{name}");
    }
}

/// All variants have one Dockerfile; which of them reads a line is a matter of the target.
#[test]
fn in_the_dockerfile_of_variants_a_sibling_is_its_image_and_the_own_name_is_an_error() {
    let project = |dockerfile: &str| {
        TestProject::new(&[
            (
                "dockit.toml",
                "[project]\nregistry = \"r.example/p\"\n[images.app]\ntarget = \"plain\"\n\
                 [images.app.variants.run]\ntarget = \"run\"\n\
                 [images.app.variants.debug]\ntarget = \"debug\"\n",
            ),
            ("app/Dockerfile", dockerfile),
        ])
    };
    let plain = "FROM scratch AS plain\nFROM app:1 AS run\nFROM app-run AS debug\n";
    let siblings = project(plain);
    assert_eq!(used(&siblings, "app-debug"), ["app-run"]);
    assert_eq!(used(&siblings, "app-run"), ["docker.io/library/app:1"]);
    let under = project("FROM app-run AS plain\nFROM scratch AS run\nFROM scratch AS debug\n");
    assert_eq!(used(&under, "app"), ["app-run"]);
    for (dockerfile, line) in [
        ("FROM scratch AS plain\nFROM app-run AS run\nFROM scratch AS debug\n", 2),
        ("FROM scratch AS plain\nFROM scratch AS run\nFROM app-debug:2 AS debug\n", 3),
    ] {
        let error = ImageGraph::new(&project(dockerfile).load()).unwrap_err().to_string();
        assert!(error.contains(&format!("app/Dockerfile:{line}: \"app-")), "{error}");
        assert!(error.contains(" is the image itself: name another one, or write the"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let external =
        "FROM scratch AS plain\nFROM r.example/other/app-run AS run\nFROM scratch AS debug\n";
    assert_eq!(used(&project(external), "app-run"), ["r.example/other/app-run:latest"]);
}

#[test]
fn a_variant_may_need_its_own_image() {
    let text = "[images.app]\n[images.app.variants.debug]\nneeds = [\"app\"]\n";
    assert_eq!(of(&parse(text).unwrap(), "app-debug").needs, [image("app")]);
}

#[test]
fn an_image_without_the_variant_and_without_a_plain_form_is_an_error() {
    let error = ImageGraph::new(&layered("FROM tool\n").load()).unwrap_err().to_string();
    let line = "app/Dockerfile:1: \"tool\" exists only as its variants tool-gpu: name one of them, or \
                write the registry of an external image";
    assert!(error.ends_with(line), "{error}");
    // Once for the plain image and the variant without it: the same line of the same file.
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn the_repository_of_several_images_names_none_of_them() {
    let project = TestProject::new(&[
        (
            "dockit.toml",
            "[project]\nregistry = \"r.example/p\"\n[images.base]\nrepository = \"all\"\n\
             [images.tool]\nrepository = \"all\"\n[images.app]\n",
        ),
        ("base/Dockerfile", "FROM scratch\n"),
        ("tool/Dockerfile", "FROM scratch\n"),
        ("app/Dockerfile", "FROM tool\nCOPY --from=r.example/p/all:x /a /a\n"),
    ]);
    let error = ImageGraph::new(&project.load()).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "app/Dockerfile:2: r.example/p/all is the repository of several images (base, tool): \
             write the short name of the one that is meant"
        ),
        "{error}"
    );
    project.write("app/Dockerfile", "FROM tool\n");
    assert_eq!(used(&project, "app"), ["tool"]);
}

#[test]
fn variants_have_keys_of_their_arguments_and_common_ones_need_no_declaration() {
    let project = TestProject::new(&[
        (
            "dockit.toml",
            "[project]\nargs = { COMMON = \"1\" }\n\
             [images.app]\nunkeyed-args = { UID = \"1\" }\n\
             [images.app.variants.v]\nargs = { V = \"2\" }\n\
             [images.app.variants.user]\nunkeyed-args = { UID = \"2\" }\n\
             [images.app.variants.typo]\nargs = { VV = \"2\" }\n",
        ),
        ("app/Dockerfile", "FROM scratch\nARG V=1\nARG UID\nCOPY f /\n"),
        ("app/f", "app"),
    ]);
    let plain = project.key("app");
    assert_ne!(project.key("app-v"), plain);
    assert_eq!(project.key("app-user"), plain, "unkeyed");
    let keys = project.keys();
    let [KeyWarning::UndeclaredArguments { image: warned, arguments }] = keys.warnings() else {
        panic!("{:?}", keys.warnings());
    };
    assert_eq!((warned.as_str(), &arguments[..]), ("app-typo", &["VV".to_owned()][..]));
}

#[tokio::test(start_paused = true)]
async fn variants_with_one_key_in_one_repository_are_built_once() {
    let project = TestProject::new(&[
        (
            "dockit.toml",
            "[project]\nregistry = \"r.example/p\"\n[images.app]\nrepository = \"app\"\n\
             unkeyed-args = { UID = \"1\" }\n[images.app.variants.x]\nunkeyed-args = { UID = \"7\" }\ntags = [\"x\"]\n\
             [images.top]\n[images.top.variants.x]\n",
        ),
        ("app/Dockerfile", "FROM scratch\nARG UID\nCOPY f /\n"),
        ("app/f", "app"),
        ("top/Dockerfile", "FROM app\nCOPY f /top\n"),
        ("top/f", "top"),
    ]);
    for (push, rebuild) in [(PushPolicy::Always, false), (PushPolicy::Never, true)] {
        let registry = MemoryRegistry::default();
        let engine = FakeEngine {
            registry: Some(&registry),
            build_time: std::time::Duration::from_secs(5),
            ..FakeEngine::default()
        };
        let services = Services {
            registry: &registry,
            engine: &engine,
            backends: &[NamedBackend::only(&engine)],
            observer: &Silent,
        };
        let request = Request { push: Some(push), rebuild, force_tags: true, ..Request::default() };
        let cancel = CancellationToken::new();
        let built = story::build(&project.load(), &request, &services, &cancel).await.unwrap();
        let report = built.report;
        let app = report.image(&image("app")).unwrap();
        let x = report.image(&image("app-x")).unwrap();
        // The tag of the second one is put on what the first one has built.
        let taken = if push == PushPolicy::Always { Status::Retagged } else { Status::Reused };
        assert_eq!((app.status, x.status), (Status::Built, taken), "{report:?}");
        assert_eq!((app.key, &app.reference, &app.digest), (x.key, &x.reference, &x.digest));
        let names = engine.built_names();
        assert_eq!(names.iter().filter(|name| *name == "app").count(), 1, "{names:?}");
        // What is built on either is built on the same image.
        let top = report.image(&image("top-x")).unwrap();
        assert_eq!(top.status, Status::Built, "{report:?}");
        if push == PushPolicy::Always {
            assert!(app.digest.is_some() && app.pushed && !x.pushed);
            assert_eq!(registry.digest_of("r.example/p/app:x"), app.digest);
            // The next run asks once for the key that two images have, and for the tag of one.
            registry.heads.store(0, Ordering::Relaxed);
            let again = story::build(&project.load(), &request, &services, &cancel).await.unwrap();
            assert_eq!(again.report.count(Status::Reused), 4, "{:?}", again.report);
            assert_eq!(registry.heads.load(Ordering::Relaxed), 4, "app, its tag x, top, top-x");
        }
    }
}
