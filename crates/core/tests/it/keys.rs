//! What changes a key and what does not.

use std::collections::BTreeMap;

use dockit_core::key::{ImageKey, ImageUseInput};
use dockit_core::lockfile::{LockedPlatform, Lockfile};
use dockit_core::{ImageGraph, KeyOptions, compute_keys};

use crate::support::{TestProject, all, diamond, image};

fn all_keys(project: &TestProject) -> BTreeMap<String, String> {
    project.keys().iter().map(|(name, keyed)| (name.to_string(), keyed.key.to_string())).collect()
}

fn changed(project: &TestProject, change: impl FnOnce()) -> Vec<String> {
    let before = all_keys(project);
    change();
    let after = all_keys(project);
    before.keys().filter(|name| before[*name] != after[*name]).cloned().collect()
}

#[test]
fn a_change_flows_to_all_dependents_and_no_sibling() {
    let project = diamond("r.example/p");
    assert_eq!(
        changed(&project, || project.write("base/file", "2")),
        ["base", "left", "right", "top"]
    );
    assert_eq!(changed(&project, || project.write("right/file", "2")), ["right", "top"]);
    assert_eq!(changed(&project, || project.write("alone/file", "2")), ["alone"]);
    assert_eq!(changed(&project, || project.write("top/new", "2")), [""; 0], "nothing reads it");
}

#[test]
fn two_checkouts_have_equal_keys() {
    let one = diamond("r.example/p");
    let two = diamond("r.example/p");
    assert_ne!(one.root(), two.root());
    assert_eq!(all_keys(&one), all_keys(&two));
}

#[test]
fn names_repositories_and_tags_are_not_in_the_key() {
    let one = TestProject::new(&[
        ("dockit.toml", "[project]\nregistry = \"r.example/p\"\n[images.a]\n"),
        ("a/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("a/f", "x"),
    ]);
    let two = TestProject::new(&[
        (
            "dockit.toml",
            "[project]\nregistry = \"other.example\"\npush = \"never\"\n\
             [images.b]\nrepository = \"c\"\ntags = [\"latest\"]\n",
        ),
        ("b/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("b/f", "x"),
    ]);
    assert_eq!(one.key("a"), two.key("b"));
}

fn one_image(config: &str, dockerfile: &str) -> TestProject {
    TestProject::new(&[
        ("dockit.toml", &format!("[images.a]\ncontext = \"src\"\n{config}\n")),
        ("a/Dockerfile", dockerfile),
        ("src/f", "x"),
    ])
}

const WITH_ARG: &str = "FROM scratch AS first\nARG V=1\nFROM scratch AS second\nCOPY f /\n";

#[test]
fn what_determines_the_image_is_in_the_key() {
    let dockerfile = "FROM scratch AS one\nARG V=1\nCOPY f /\nFROM scratch AS two\nCOPY f /f2\n";
    let base = one_image("", dockerfile).key("a");
    let target = one_image("target = \"one\"", dockerfile).key("a");
    let platform = one_image("platforms = [\"linux/arm64\"]", dockerfile).key("a");
    let arg = one_image("target = \"one\"\nargs = { V = \"2\" }", dockerfile).key("a");
    let same_arg = one_image("target = \"one\"\nargs = { V = \"1\" }", dockerfile).key("a");
    let keys = [&base, &target, &platform, &arg];
    for (index, key) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(key), "{index}");
    }
    assert_eq!(target, same_arg, "a default that is said aloud is the same value");
}

#[test]
fn unkeyed_and_undeclared_arguments_are_not_in_the_key() {
    let plain = one_image("", WITH_ARG);
    let undeclared = one_image("args = { W = \"2\" }", WITH_ARG);
    let unreachable = one_image("args = { V = \"2\" }", WITH_ARG);
    assert_eq!(plain.key("a"), undeclared.key("a"));
    assert_eq!(plain.key("a"), unreachable.key("a"));
    let keys = undeclared.keys();
    assert_eq!(keys.get(&image("a")).unwrap().undeclared_args, ["W"]);
    let [warning] = keys.warnings() else { panic!("{:?}", keys.warnings()) };
    assert_eq!(
        (warning.image(), &*warning.to_string()),
        (&image("a"), "its Dockerfile declares no ARG W")
    );
    assert_eq!(plain.keys().warnings(), []);

    let declared = "FROM scratch\nARG U\nCOPY f /\n";
    let one = one_image("unkeyed-args = { U = \"1000\" }", declared).key("a");
    let two = one_image("unkeyed-args = { U = \"1001\" }", declared).key("a");
    assert_eq!(one, two);
    let keyed = one_image("args = { U = \"1000\" }", declared).key("a");
    let empty = one_image("args = { U = \"\" }", declared).key("a");
    assert_ne!(one, keyed);
    assert_ne!(empty, keyed);
    assert_ne!(empty, one_image("", declared).key("a"), "empty is not undefined");

    let derived = "FROM scratch\nARG U=0\nARG H=/home/u$U\nCOPY f /\n";
    let one = one_image("unkeyed-args = { U = \"1000\" }", derived).key("a");
    let two = one_image("unkeyed-args = { U = \"1001\" }", derived).key("a");
    assert_eq!(one, two, "not through another argument's default either");
}

#[test]
fn a_given_global_argument_reaches_the_build_through_the_one_that_uses_it() {
    let dockerfile = "ARG VERSION=1\nARG FULL=v$VERSION\nFROM scratch\nARG FULL\nCOPY f /\n";
    let project = one_image("args = { VERSION = \"2\" }", dockerfile);
    let keys = project.keys();
    let keyed = keys.get(&image("a")).unwrap();
    assert_eq!(keyed.args["VERSION"], "2");
    assert!(keyed.undeclared_args.is_empty());
    assert_ne!(project.key("a"), one_image("", dockerfile).key("a"));
}

#[test]
fn proxies_reach_the_build_and_no_key() {
    let with =
        one_image("unkeyed-args = { HTTP_PROXY = \"http://p\" }", "FROM scratch\nCOPY f /\n");
    let without = one_image("", "FROM scratch\nCOPY f /\n");
    assert_eq!(with.key("a"), without.key("a"));
    assert_eq!(with.keys().get(&image("a")).unwrap().args["HTTP_PROXY"], "http://p");
}

#[test]
fn an_unkeyed_argument_that_chooses_a_stage_hides_no_keyed_one() {
    let dockerfile = "ARG U=stage1\nFROM scratch AS stage1\nARG X1\nFROM scratch AS stage2\nARG X2=d\n\
                      LABEL x=$X2\nFROM ${U}\nLABEL y=1\n";
    let key = |value: &str| {
        let config = format!("unkeyed-args = {{ U = \"stage2\" }}\nargs = {{ X2 = \"{value}\" }}");
        one_image(&config, dockerfile).key("a")
    };
    assert_ne!(key("one"), key("two"));
}

#[test]
fn what_a_bases_triggers_may_declare_or_copy_is_in_the_key() {
    let project = |trigger: &str, comment: &str, value: &str| {
        TestProject::new(&[
            (
                "dockit.toml",
                &format!("[images.base]\n[images.child]\nargs = {{ V = \"{value}\" }}\n"),
            ),
            ("base/Dockerfile", &format!("FROM scratch\n{trigger}\n")),
            ("child/Dockerfile", &format!("# {comment}\nFROM base\nCOPY f /\n")),
            ("child/.dockerignore", "Dockerfile\n"),
            ("child/f", ""),
        ])
    };
    let key = |trigger, comment, value| project(trigger, comment, value).key("child");
    let copies = "ONBUILD COPY . /app";
    assert_ne!(key(copies, "one", "1"), key(copies, "two", "1"));
    assert_ne!(key(copies, "one", "1"), key(copies, "one", "2"));
    assert_eq!(key("LABEL x=1", "one", "1"), key("LABEL x=1", "two", "2"));
    let with = project("ONBUILD ARG V", "one", "1");
    let keys = with.keys();
    let child = keys.get(&image("child")).unwrap();
    assert_eq!(child.args["V"], "1");
    assert!(child.undeclared_args.is_empty());
}

/// An `ARG` without default finds what is declared before the first `FROM`, and the stage's name.
#[test]
fn what_a_bases_triggers_find_before_the_first_from_is_in_the_key() {
    let key = |global: &str, stage: &str| {
        TestProject::new(&[
            ("dockit.toml", "[images.base]\n[images.child]\n"),
            (
                "base/Dockerfile",
                "FROM scratch\nONBUILD ARG FOO TARGETSTAGE\nONBUILD COPY $FOO* /\n",
            ),
            ("child/Dockerfile", &format!("ARG FOO={global}\nFROM base AS {stage}\nCOPY g /\n")),
            ("child/g", ""),
        ])
        .key("child")
    };
    assert_ne!(key("1", "s"), key("2", "s"));
    assert_ne!(key("1", "s"), key("1", "t"));
    assert_eq!(key("1", "s"), key("1", "s"));
}

/// What a base was built with is not known from the configuration of today.
#[test]
fn an_unkeyed_argument_decides_neither_what_is_read_nor_what_a_base_sets() {
    let project = |value: &str| {
        TestProject::new(&[
            (
                "dockit.toml",
                &format!(
                    "[images.base]\nunkeyed-args = {{ U = \"{value}\" }}\n[images.app]\n\
                     [images.own]\nunkeyed-args = {{ U = \"{value}\" }}\n"
                ),
            ),
            ("base/Dockerfile", "ARG U\nARG W=x$U\nFROM scratch\nARG W\nENV D=$W\n"),
            ("app/Dockerfile", "FROM base\nCOPY ${D}* /one/\n"),
            ("app/xa", ""),
            ("app/xb", ""),
            ("own/Dockerfile", "FROM scratch\nARG U\nCOPY $U* /one/\n"),
            ("own/a", ""),
            ("own/b", ""),
        ])
    };
    for name in ["app", "own"] {
        assert_eq!(project("a").key(name), project("b").key(name), "{name}");
        let keys = project("a").keys();
        let keyed = keys.get(&image(name)).unwrap();
        assert_eq!(keyed.context.files(), 3, "{name}: everything may be read");
        assert!(!keyed.whole_context.is_empty(), "{name}");
    }
}

#[test]
fn a_stat_cache_among_the_extra_inputs_is_not_used() {
    let project = TestProject::new(&[
        ("dockit.toml", "[images.a]\ninputs = [\"extra\"]\n"),
        ("a/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("a/f", ""),
        ("extra/x", ""),
    ]);
    let loaded = project.load();
    let graph = ImageGraph::new(&loaded).unwrap();
    let cache = project.root().join("extra/cache");
    let options = KeyOptions { stat_cache: Some(cache.clone()), ..KeyOptions::default() };
    compute_keys(&loaded, &graph, &all(&graph), &Lockfile::default(), &options).unwrap();
    assert!(!cache.exists());
}

#[test]
fn triggers_of_an_external_base_that_reach_elsewhere_are_refused() {
    let project =
        TestProject::new(&[("dockit.toml", "[images.a]\n"), ("a/Dockerfile", "FROM debian:12\n")]);
    let name: dockit_registry::Reference = "debian:12".parse().unwrap();
    let error = |trigger: &str| {
        let digest: dockit_registry::Digest =
            format!("sha256:{}", "aa".repeat(32)).parse().unwrap();
        let mut lockfile = Lockfile::default();
        let entry = LockedPlatform {
            digest: digest.clone(),
            env: vec!["URL=https://example.com/x".to_owned()],
            onbuild: vec![trigger.to_owned()],
        };
        lockfile.lock_base(name.clone(), digest, "linux/amd64".parse().unwrap(), entry);
        let loaded = project.load();
        let graph = ImageGraph::new(&loaded).unwrap();
        compute_keys(&loaded, &graph, &all(&graph), &lockfile, &KeyOptions::default())
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    for trigger in [
        "COPY --from=alpine /a /a",
        "RUN --mount=type=bind,FROM=alpine,target=/x y",
        "ADD https://example.com/x /x",
        "ADD $URL /x",
        "NONSENSE",
    ] {
        let text = error(trigger).unwrap_err();
        assert!(
            text.contains("no key covers") || text.contains("is in no key"),
            "{trigger}: {text}"
        );
    }
    for trigger in ["COPY . /app", "RUN curl https://example.com/?from=y", "ARG V"] {
        assert_eq!(error(trigger), Ok(()), "{trigger}");
    }
}

#[test]
fn a_link_that_may_lead_to_the_archives_dockerfile_makes_its_text_count() {
    let key = |comment: &str, link: bool| {
        let project = one_image("", &format!("# {comment}\nFROM scratch\nCOPY self /app\n"));
        if link {
            std::os::unix::fs::symlink(".", project.root().join("src/self")).unwrap();
        }
        project.key("a")
    };
    assert_eq!(key("one", false), key("two", false));
    assert_ne!(key("one", true), key("two", true));
}

#[test]
fn comments_count_only_where_the_archive_shows_the_dockerfile() {
    let keys = |copy: &str, comment: &str| {
        one_image("", &format!("# {comment}\nFROM scratch\n{copy}\n")).key("a")
    };
    assert_eq!(keys("COPY f /", "one"), keys("COPY f /", "two"));
    for copy in ["COPY . /", "COPY ./ /x/", "COPY * /x/", "ADD . /", "COPY .d* /x/"] {
        assert_ne!(keys(copy, "one"), keys(copy, "two"), "{copy}");
    }
}

#[test]
fn the_lockfile_and_the_state_directory_are_never_in_a_context() {
    let project = TestProject::new(&[
        ("dockit.toml", "[images.a]\ncontext = \".\"\n[images.b]\ncontext = \"sub/..\"\n"),
        ("a/Dockerfile", "FROM scratch\nCOPY . /\n"),
        ("b/Dockerfile", "FROM scratch\nCOPY . /\n"),
        ("sub/f", "x"),
    ]);
    let none = changed(&project, || {
        project.write("dockit.lock", "version = 1\n");
        project.write(".dockit/images/index.json", "{}");
    });
    assert_eq!(none, Vec::<String>::new());
    let elsewhere = changed(&project, || project.write("sub/dockit.lock", "mine"));
    assert_eq!(elsewhere, ["a", "b"], "a file of that name elsewhere is an ordinary file");
}

#[test]
fn needs_flow_into_the_key_without_a_word_in_the_dockerfile() {
    let project = TestProject::new(&[
        ("dockit.toml", "[images.a]\n[images.b]\nneeds = [\"a\"]\n[images.c]\n"),
        ("a/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("a/f", "1"),
        ("b/Dockerfile", "FROM scratch\n"),
        ("c/Dockerfile", "FROM scratch\n"),
    ]);
    assert_ne!(project.key("b"), project.key("c"));
    assert_eq!(changed(&project, || project.write("a/f", "2")), ["a", "b"]);
}

fn locked(reference: &str, index: &str, manifest: &str) -> Lockfile {
    let digest = |byte: &str| format!("sha256:{}", byte.repeat(32)).parse().unwrap();
    let mut lockfile = Lockfile::default();
    lockfile.lock_base(
        reference.parse().unwrap(),
        digest(index),
        "linux/amd64".parse().unwrap(),
        LockedPlatform { digest: digest(manifest), env: vec![], onbuild: vec![] },
    );
    lockfile
}

#[test]
fn an_external_base_counts_by_the_digest_of_its_platform() {
    let project = TestProject::new(&[
        ("dockit.toml", "[images.a]\n"),
        ("a/Dockerfile", "FROM debian:bookworm-slim\n"),
    ]);
    let name = "docker.io/library/debian:bookworm-slim";
    let key =
        |lockfile: &Lockfile| project.keys_with(lockfile).get(&image("a")).unwrap().key.to_string();
    let first = key(&locked(name, "aa", "bb"));
    assert_eq!(first, key(&locked(name, "cc", "bb")), "another platform moved");
    assert_ne!(first, key(&locked(name, "aa", "dd")), "a moved base is another image");
    let keys = project.keys_with(&locked(name, "aa", "bb"));
    let uses = &keys.get(&image("a")).unwrap().inputs.uses;
    assert!(matches!(&uses[..], [ImageUseInput::Base { digest, .. }]
        if digest.as_str() == format!("sha256:{}", "bb".repeat(32))));
}

#[test]
fn without_entries_there_is_no_key_but_one_list_of_what_is_missing() {
    let project = TestProject::new(&[
        ("dockit.toml", "[images.a]\n[images.b]\n[images.c]\n[images.free]\n"),
        ("a/Dockerfile", "FROM debian:12\n"),
        ("b/Dockerfile", "FROM a\nCOPY --from=alpine:3 /bin/sh /sh\n"),
        ("c/Dockerfile", "FROM debian:12\n"),
        ("free/Dockerfile", "FROM scratch\n"),
    ]);
    let loaded = project.load();
    let graph = ImageGraph::new(&loaded).unwrap();
    let error =
        compute_keys(&loaded, &graph, &all(&graph), &Lockfile::default(), &KeyOptions::default())
            .unwrap_err();
    let text = error.to_string();
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "no entry in the lockfile for docker.io/library/alpine:3 (linux/amd64), read by b",
            "no entry in the lockfile for docker.io/library/debian:12 (linux/amd64), read by a, c",
        ]
    );
    let only = [image("free")].into();
    assert!(
        compute_keys(&loaded, &graph, &only, &Lockfile::default(), &KeyOptions::default()).is_ok()
    );
}

#[test]
fn keys_and_content_tags_are_spelled_as_documented() {
    let hex = "0123456789abcdef".repeat(4);
    let key: ImageKey = format!("k1:{hex}").parse().unwrap();
    assert_eq!(key.to_string(), format!("k1:{hex}"));
    assert_eq!(key.tag().as_str(), format!("k1-{hex}"));
    assert!(key.tag().as_str().len() <= 128);
    assert!(ImageKey::is_content_tag(&key.tag()));
    assert!(!ImageKey::is_content_tag(&"k1-short".parse().unwrap()));
    for bad in ["", "k1:", "k2:00", &format!("k1-{hex}"), &format!("k1:{}", hex.to_uppercase())] {
        assert!(bad.parse::<ImageKey>().is_err(), "{bad}");
    }
}

/// The vectors of `docs/key-format.md`.
#[test]
fn keys_are_as_documented() {
    let project = TestProject::new(&[
        ("dockit.toml", "[images.a]\n[images.b]\nargs = { V = \"2\" }\n"),
        ("a/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("a/f", "hello\n"),
        ("b/Dockerfile", "FROM a\nARG V=1\nCOPY --from=a /f /g\n"),
    ]);
    let documented = include_str!("../../../../docs/key-format.md");
    for (name, key) in all_keys(&project) {
        assert!(documented.contains(&key), "{name}: {key} is not in docs/key-format.md");
    }
}

#[test]
fn of_many_dockerfiles_in_one_context_an_edited_one_rekeys_one_image() {
    let project = TestProject::new(&[
        (
            "dockit.toml",
            "[images.a]\ncontext = \".\"\ndockerfile = \"docker/a.Dockerfile\"\n\
             [images.b]\ncontext = \".\"\ndockerfile = \"docker/b.Dockerfile\"\n\
             [images.c]\ncontext = \".\"\ndockerfile = \"docker/c.Dockerfile\"\n",
        ),
        ("docker/a.Dockerfile", "FROM scratch\nCOPY src/ /\n"),
        ("docker/b.Dockerfile", "FROM scratch\nCOPY src/ /\nLABEL b=1\n"),
        ("docker/c.Dockerfile", "FROM scratch\nCOPY src/f /\n"),
        ("src/f", ""),
    ]);
    let before = ["a", "b", "c"].map(|name| project.key(name));
    project.write("docker/b.Dockerfile", "FROM scratch\nCOPY src/ /\nLABEL b=2\n");
    let after = ["a", "b", "c"].map(|name| project.key(name));
    assert_eq!((&after[0], &after[2]), (&before[0], &before[2]));
    assert_ne!(after[1], before[1]);
}

#[cfg(unix)]
#[test]
fn trees_made_under_any_umask_have_one_key() {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    // What `mkdir`, and files without and with the right to run, get under each umask.
    let made = |umask: u32| {
        let project = TestProject::new(&[
            ("dockit.toml", "[images.a]\n"),
            ("a/Dockerfile", "FROM scratch\nCOPY src/ /\n"),
            ("a/src/sub/f", "f"),
            ("a/src/run", "#!"),
        ]);
        for (path, mode) in [
            ("a/src/sub/f", 0o666),
            ("a/src/run", 0o777),
            ("a/src/sub", 0o777),
            ("a/src", 0o777),
            ("a", 0o777),
        ] {
            let permissions = Permissions::from_mode(mode & !umask);
            std::fs::set_permissions(project.root().join(path), permissions).unwrap();
        }
        project
    };
    let expected = made(0o022).key("a");
    for umask in [0o000, 0o002, 0o027, 0o077] {
        assert_eq!(made(umask).key("a"), expected, "{umask:03o}");
    }
    let project = made(0o022);
    let file = project.root().join("a/src/sub/f");
    std::fs::set_permissions(file, Permissions::from_mode(0o755)).unwrap();
    assert_ne!(project.key("a"), expected);
}
