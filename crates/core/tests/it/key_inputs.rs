//! What enters a key besides the build's own files: the environment, extra inputs, epochs, declared
//! keys.

use std::collections::BTreeMap;
use std::ffi::OsString;

use dockit_core::config::{self, LoadOptions};
use dockit_core::key::{DeclaredValue, Files, KeyedImage, Keys, KeysError};
use dockit_core::{ImageGraph, KeyOptions, Lockfile, compute_keys};
use time::macros::date;

use crate::support::{TestProject, all, image};

fn on(day: time::Date) -> KeyOptions {
    KeyOptions { today: day, ..KeyOptions::default() }
}

fn compute(
    project: &TestProject,
    lockfile: &Lockfile,
    today: time::Date,
) -> Result<Keys, KeysError> {
    let loaded = project.load();
    let graph = ImageGraph::new(&loaded).unwrap();
    compute_keys(&loaded, &graph, &all(&graph), lockfile, &on(today))
}

fn problems(project: &TestProject) -> String {
    let error = compute(project, &Lockfile::default(), date!(2026 - 11 - 21)).unwrap_err();
    let root = project.root().canonicalize().unwrap();
    error.to_string().replace(root.to_str().unwrap(), "DIR")
}

fn keyed(keys: &Keys, name: &str) -> KeyedImage {
    keys.get(&image(name)).unwrap().clone()
}

mod environment {
    use super::*;

    fn key(config: &str, variables: &[(&str, &str)]) -> KeyedImage {
        let project = TestProject::new(&[
            ("dockit.toml", config),
            ("a/Dockerfile", "FROM scratch\nARG V=default\nLABEL v=$V\n"),
        ]);
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        let lookup = |name: &str| variables.get(name).map(OsString::from);
        let options = LoadOptions { environment: Some(&lookup) };
        let loaded = config::load(&project.root().join("dockit.toml"), &options).unwrap();
        let graph = ImageGraph::new(&loaded).unwrap();
        let keys =
            compute_keys(&loaded, &graph, &all(&graph), &Lockfile::default(), &Default::default());
        keyed(&keys.unwrap(), "a")
    }

    #[test]
    fn an_argument_from_the_environment_counts_as_a_written_one() {
        let written = key("[images.a]\nargs = { V = \"2\" }\n", &[]);
        let env = "[images.a]\nenv-args = [\"V\"]\n";
        let taken = key(env, &[("V", "2"), ("W", "3")]);
        assert_eq!(taken.key, written.key);
        assert_eq!(taken.args["V"], "2");
        assert_ne!(key(env, &[("V", "3")]).key, written.key);
        let empty = key("[images.a]\nargs = { V = \"\" }\n", &[]);
        assert_eq!(key(env, &[("V", "")]).key, empty.key, "empty is a value");
        let absent = key(env, &[("W", "2")]);
        assert_eq!(absent.key, key("[images.a]\n", &[("V", "2")]).key, "absent is not given");
        assert!(!absent.args.contains_key("V"));
    }

    #[test]
    fn one_that_nothing_declares_is_reported_and_does_not_count() {
        let env = "[images.a]\nenv-args = [\"W\"]\n";
        let taken = key(env, &[("W", "1")]);
        assert_eq!(taken.key, key(env, &[("W", "2")]).key);
        assert_eq!(taken.undeclared_args, ["W"]);
    }
}

mod extra {
    use super::*;

    fn project(inputs: &str) -> TestProject {
        TestProject::new(&[
            ("p/dockit.toml", &format!("[images.a]\ninputs = {inputs}\n[images.b]\n")),
            ("p/a/Dockerfile", "FROM scratch\nCOPY f /\n"),
            ("p/a/f", ""),
            ("p/b/Dockerfile", "FROM scratch\nCOPY f /\n"),
            ("p/b/f", ""),
            ("p/scripts/one", "1"),
            ("p/scripts/.dockerignore", "one\n"),
            ("p/scripts/sub/two", "2"),
            ("pyproject.toml", "[project]\n"),
            ("other", "1"),
        ])
    }

    /// As [`TestProject::key`], one directory below.
    fn try_keys(project: &TestProject) -> Result<Keys, String> {
        let file = project.root().join("p/dockit.toml");
        let loaded = config::load(&file, &LoadOptions::default()).unwrap();
        let graph = ImageGraph::new(&loaded).unwrap();
        let options = KeyOptions::default();
        compute_keys(&loaded, &graph, &all(&graph), &Lockfile::default(), &options).map_err(
            |error| {
                let root = project.root().canonicalize().unwrap();
                error.to_string().replace(root.to_str().unwrap(), "DIR")
            },
        )
    }

    fn key(project: &TestProject) -> String {
        keyed(&try_keys(project).unwrap(), "a").key.to_string()
    }

    #[test]
    fn files_outside_of_the_context_count_though_no_build_gets_them() {
        let project = project("[\"../pyproject.toml\", \"scripts/\"]");
        let before = try_keys(&project).unwrap();
        let changes = [
            ("pyproject.toml", "[project]\nname = \"x\"\n"),
            ("p/scripts/one", "2"),
            ("p/scripts/sub/two", "3"),
            ("p/scripts/new", ""),
            ("p/scripts/.dockerignore", ""),
        ];
        let mut last = keyed(&before, "a").key;
        for (path, content) in changes {
            project.write(path, content);
            let after = keyed(&try_keys(&project).unwrap(), "a");
            assert_ne!(after.key, last, "{path}");
            last = after.key;
            let entries = after.context.entries();
            let names: Vec<String> = entries.iter().map(|entry| entry.path().to_string()).collect();
            assert!(!names.iter().any(|name| name.contains("one")), "{names:?}");
        }
        project.write("other", "2");
        project.write("p/dockit.lock", "version = 1\n");
        let after = try_keys(&project).unwrap();
        assert_eq!(keyed(&after, "a").key, last);
        assert_eq!(keyed(&after, "b").key, keyed(&before, "b").key);
    }

    #[test]
    fn order_spelling_and_place_do_not_count() {
        let expected = key(&project("[\"../pyproject.toml\", \"scripts\"]"));
        for inputs in [
            "[\"scripts/\", \"../pyproject.toml\"]",
            "[\"./scripts\", \"a/../scripts\", \"x/../../pyproject.toml\"]",
        ] {
            assert_eq!(key(&project(inputs)), expected, "{inputs}");
        }
        assert_ne!(key(&project("[\"scripts\"]")), expected);
        assert_ne!(key(&project("[\"scripts/one\"]")), key(&project("[\"scripts/sub/two\"]")));
    }

    #[test]
    fn a_file_is_no_directory_with_a_file_of_its_name() {
        let (file, directory) = (project("[\"x\"]"), project("[\"x\"]"));
        file.write("p/x", "1");
        directory.write("p/x/x", "1");
        assert_ne!(key(&file), key(&directory));
        let paths = |project: &TestProject| {
            let extra = keyed(&try_keys(project).unwrap(), "a").inputs.extra;
            extra.into_iter().map(|input| input.path).collect::<Vec<_>>()
        };
        assert_eq!((paths(&file), paths(&directory)), (vec!["x".into()], vec!["x/".into()]));
        let sorted = project("[\"x\", \"x.y\", \".\", \"..\"]");
        sorted.write("p/x/f", "");
        sorted.write("p/x.y", "");
        assert_eq!(paths(&sorted), ["../", "./", "x.y", "x/"]);
        let extra = keyed(&try_keys(&sorted).unwrap(), "a").inputs.extra;
        let names = |input: usize| {
            let entries = extra[input].listing.entries().iter();
            entries.map(|entry| extra[input].path_of(entry)).collect::<Vec<_>>()
        };
        assert_eq!((names(2), names(3)), (vec!["x.y".to_owned()], vec!["x/f".to_owned()]));
        assert_eq!(names(0)[0], "../other");
        assert_eq!(names(1)[0], "a");
    }

    #[test]
    fn what_cannot_count_is_refused_with_its_line() {
        let error = |inputs: &str| try_keys(&project(inputs)).unwrap_err();
        assert_eq!(
            error("[\n\"scripts\",\n\"gone\", \"../gone\"]"),
            "DIR/p/dockit.toml:4: inputs: there is no ../gone\n\
             DIR/p/dockit.toml:4: inputs: there is no gone"
        );
        let locked = project("[\"dockit.lock\"]");
        locked.write("p/dockit.lock", "version = 1\n");
        assert!(try_keys(&locked).unwrap_err().contains("dockit.lock is dockit's own"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_where_it_is_named_and_is_text_below() {
        use std::os::unix::fs::symlink;
        let project = project("[\"link\", \"scripts\"]");
        let path = |path: &str| project.root().join("p").join(path);
        symlink("../other", path("link")).unwrap();
        symlink("../../other", path("scripts/inner")).unwrap();
        let before = try_keys(&project).unwrap();
        project.write("other", "2");
        let after = try_keys(&project).unwrap();
        let listings = |keys: &Keys| keyed(keys, "a").inputs.extra.clone();
        let (one, two) = (listings(&before), listings(&after));
        assert_eq!(one[0].path, "link");
        assert_ne!(one[0].listing, two[0].listing, "followed");
        assert_eq!(one[1].listing, two[1].listing, "text");

        std::fs::remove_file(path("link")).unwrap();
        symlink("nowhere", path("link")).unwrap();
        assert!(try_keys(&project).unwrap_err().contains("there is no link"));
        std::fs::remove_file(path("link")).unwrap();
        std::os::unix::net::UnixListener::bind(path("scripts/socket")).unwrap();
        project.write("p/link", "");
        assert!(try_keys(&project).unwrap_err().contains("a socket has no content"));
    }

    #[test]
    fn dockits_own_files_never_count() {
        let project = project("[\".\"]");
        let before = key(&project);
        project.write("p/dockit.lock", "version = 1\n");
        project.write("p/.dockit/state", "1");
        assert_eq!(key(&project), before);
        project.write("p/new", "1");
        assert_ne!(key(&project), before);
    }
}

mod refresh {
    use dockit_core::{Epoch, Refresh};

    use super::*;

    fn project(refresh: &str) -> TestProject {
        TestProject::new(&[
            (
                "dockit.toml",
                &format!("[images.a]\nrefresh = \"{refresh}\"\n[images.b]\n[images.c]\n"),
            ),
            ("a/Dockerfile", "FROM scratch\n"),
            ("b/Dockerfile", "FROM a\n"),
            ("c/Dockerfile", "FROM scratch\n"),
        ])
    }

    #[test]
    fn a_new_period_is_a_new_key_for_the_image_and_its_dependents() {
        let table = [
            ("daily", date!(2026 - 11 - 21), date!(2026 - 11 - 21), date!(2026 - 11 - 22)),
            ("weekly", date!(2026 - 11 - 21), date!(2026 - 11 - 22), date!(2026 - 11 - 23)),
            ("weekly", date!(2026 - 12 - 28), date!(2027 - 01 - 03), date!(2027 - 01 - 04)),
            ("monthly", date!(2026 - 11 - 21), date!(2026 - 11 - 30), date!(2026 - 12 - 01)),
        ];
        for (refresh, first, last, next) in table {
            let project = project(refresh);
            let keys = |day| compute(&project, &Lockfile::default(), day).unwrap();
            let (first, last, after) = (keys(first), keys(last), keys(next));
            for (name, changes) in [("a", true), ("b", true), ("c", false)] {
                assert_eq!(keyed(&first, name).key, keyed(&last, name).key, "{refresh} {name}");
                let changed = keyed(&last, name).key != keyed(&after, name).key;
                assert_eq!(changed, changes, "{refresh} {name}");
                assert_eq!(keyed(&last, name).expires, changes.then_some(next), "{refresh} {name}");
            }
            assert_eq!(first.warnings(), []);
        }
    }

    #[test]
    fn the_lockfile_holds_an_epoch_until_it_is_moved() {
        let project = project("weekly");
        let epoch: Epoch = "2026-W47".parse().unwrap();
        let mut lockfile = Lockfile::default();
        lockfile.set_epoch(image("a"), epoch);
        assert_eq!(lockfile.epoch(&image("a")), Some(epoch));
        let now = compute(&project, &lockfile, date!(2026 - 11 - 22)).unwrap();
        let later = compute(&project, &lockfile, date!(2026 - 11 - 23)).unwrap();
        assert_eq!(keyed(&now, "a").inputs.epoch.as_deref(), Some("2026-W47"));
        assert_eq!(keyed(&now, "a").key, keyed(&later, "a").key);
        assert_eq!(now.warnings(), []);
        let warnings: Vec<String> =
            later.warnings().iter().map(|it| format!("{}: {it}", it.image())).collect();
        assert_eq!(warnings, ["a: the lockfile's epoch 2026-W47 expired on 2026-11-23"]);
    }

    #[test]
    fn a_record_of_another_refresh_does_not_count() {
        let project = project("daily");
        let mut lockfile = Lockfile::default();
        lockfile.set_epoch(image("a"), Refresh::Monthly.epoch(date!(2026 - 10 - 01)));
        let day = date!(2026 - 11 - 21);
        let keys = compute(&project, &lockfile, day).unwrap();
        let without = compute(&project, &Lockfile::default(), day).unwrap();
        assert_eq!(keyed(&keys, "a").key, keyed(&without, "a").key);
        assert_eq!(
            keys.warnings()[0].to_string(),
            "the lockfile's epoch 2026-10 is ignored, because refresh is \"daily\" now"
        );
    }
}

mod declared {
    use super::*;

    fn project(extra: &str) -> TestProject {
        let config = format!(
            "[images.a]\n[images.a.declared-key]\n\
             torch = {{ file = \"a/requirements.txt\", pattern = '^torch==(\\S+)$' }}\n\
             python = {{ file = \"pyproject.toml\", field = \"project.requires-python\" }}\n{extra}"
        );
        TestProject::new(&[
            ("dockit.toml", &config),
            ("a/Dockerfile", "FROM scratch\nARG V=1\nCOPY . /\n"),
            ("a/requirements.txt", "numpy==1.26\ntorch==2.1.0\n"),
            ("pyproject.toml", "[project]\nrequires-python = \">=3.9\"\n"),
        ])
    }

    #[test]
    fn bumping_numpy_keeps_the_key_and_bumping_torch_changes_it() {
        let project = project("");
        let first = project.key("a");
        project.write("a/requirements.txt", "numpy==2.0\ntorch==2.1.0\n");
        project.write("a/new", "");
        project.write("a/Dockerfile", "# why\nFROM scratch\nARG V=1\nCOPY . /\n");
        assert_eq!(project.key("a"), first);
        project.write("a/requirements.txt", "numpy==2.0\ntorch==2.2.0\n");
        let second = project.key("a");
        assert_ne!(second, first);
        project.write("pyproject.toml", "[project]\nrequires-python = \">=3.10\"\n");
        let third = project.key("a");
        assert_ne!(third, second);
        project.write("a/Dockerfile", "FROM scratch\nARG V=2\nCOPY . /\n");
        assert_ne!(project.key("a"), third, "the program counts as ever");
    }

    #[test]
    fn the_build_still_gets_the_whole_context() {
        let keys = project("").keys();
        let keyed = keyed(&keys, "a");
        let value =
            |name: &str, value: &str| DeclaredValue { name: name.into(), value: value.into() };
        let values = vec![value("python", ">=3.9"), value("torch", "2.1.0")];
        assert_eq!(keyed.inputs.files, Files::Declared(values));
        assert_eq!(keyed.context.files(), 2);
        assert_eq!(keyed.whole_context, []);
    }

    #[test]
    fn values_that_are_not_to_be_had_are_named_with_their_lines() {
        let project = project(
            "x = { file = \"gone\", pattern = 'x' }\ny = { file = \"pyproject.toml\", field = \"project\" }\n",
        );
        project.write("a/requirements.txt", "torch==1\ntorch==2\n");
        assert_eq!(
            problems(&project),
            "DIR/dockit.toml:3: declared key \"torch\": a/requirements.txt has several values for \
             the pattern \"^torch==(\\\\S+)$\": \"1\", \"2\"\n\
             DIR/dockit.toml:5: declared key \"x\": gone cannot be read: No such file or directory \
             (os error 2)\n\
             DIR/dockit.toml:6: declared key \"y\": pyproject.toml has a table as the field \
             \"project\", not a single value"
        );
    }
}

#[test]
fn what_prepare_makes_has_to_be_there() {
    let project = TestProject::new(&[
        (
            "dockit.toml",
            "[images.a]\nprepare = { run = \"exit 1\", outputs = [\"a/made\"] }\n[images.b]\n",
        ),
        ("a/Dockerfile", "FROM scratch\nCOPY made /\n"),
        ("b/Dockerfile", "FROM scratch\n"),
    ]);
    assert_eq!(problems(&project), "DIR/dockit.toml:2: there is no a/made, which prepare makes");
    project.write("a/made", "1");
    let one = project.key("a");
    project.write("a/made", "2");
    assert_ne!(project.key("a"), one, "an output is a file like any other");
}

#[test]
fn what_an_engine_cannot_see_is_built_without_its_layer_cache() {
    let hidden = |config: &str| {
        let project = TestProject::new(&[
            ("dockit.toml", &format!("[images.a]\n{config}\n[images.b]\n")),
            ("a/Dockerfile", "FROM scratch\nARG V=1\n"),
            ("b/Dockerfile", "FROM scratch\n"),
        ]);
        keyed(&project.keys(), "a").inputs.hidden_from_engine()
    };
    assert!(!hidden("args = { V = \"2\" }"));
    assert!(hidden("refresh = \"daily\""));
    assert!(hidden("inputs = [\"b\"]"));
    assert!(hidden("needs = [\"b\"]"));
    assert!(hidden("declared-key.v = { file = \"a/Dockerfile\", pattern = 'V=.' }"));
}

/// The vector of `docs/key-format.md` with everything that is no file of a build.
#[test]
fn a_key_with_all_other_inputs_is_as_documented() {
    let project = TestProject::new(&[
        (
            "dockit.toml",
            "[images.c]\ninputs = [\"version\", \"scripts/\"]\nrefresh = \"weekly\"\n\
             declared-key.v = { file = \"version\", pattern = \"^.$\" }\n",
        ),
        ("c/Dockerfile", "FROM scratch\n"),
        ("scripts/run", "x\n"),
        ("version", "1\n"),
    ]);
    let keys = compute(&project, &Lockfile::default(), date!(2026 - 11 - 21)).unwrap();
    let key = keyed(&keys, "c").key.to_string();
    let documented = include_str!("../../../../docs/key-format.md");
    assert!(documented.contains(&key), "{key} is not in docs/key-format.md");
}
