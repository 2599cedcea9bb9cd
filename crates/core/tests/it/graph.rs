//! Edges, order, and what is wrong with a graph.

use dockit_core::graph::{EdgeKind, Use};
use dockit_core::{ImageGraph, config};

use crate::support::{TestProject, diamond, image};

fn edges(project: &TestProject, name: &str) -> Vec<(String, EdgeKind)> {
    let graph = ImageGraph::new(&project.load()).unwrap();
    let node = graph.node(&image(name)).unwrap();
    node.edges().iter().map(|edge| (edge.dependency.to_string(), edge.kind)).collect()
}

fn problems(project: &TestProject) -> String {
    ImageGraph::new(&project.load()).unwrap_err().to_string()
}

fn two_images(dockerfile: &str, extra_config: &str) -> TestProject {
    TestProject::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\nregistry = \"r.example/p\"\n[images.base]\n[images.child]\n{extra_config}"
            ),
        ),
        ("base/Dockerfile", "FROM scratch\n"),
        ("child/Dockerfile", dockerfile),
    ])
}

#[test]
fn every_way_to_name_an_image_of_the_project_is_an_edge() {
    use EdgeKind::{CopyFrom, From, MountFrom, Needs};
    let digest = format!("sha256:{}", "a".repeat(64));
    let cases: &[(&str, &str, &[EdgeKind])] = &[
        ("FROM base\n", "", &[From]),
        ("FROM base:3.11\n", "", &[From]),
        (&format!("FROM base@{digest}\n"), "", &[From]),
        ("FROM r.example/p/base\n", "", &[From]),
        ("FROM r.example/p/base:stable\n", "", &[From]),
        (&format!("FROM r.example/p/base:stable@{digest}\n"), "", &[From]),
        ("ARG B=base\nFROM $B\n", "", &[From]),
        ("ARG B\nFROM ${B:-base}:latest\n", "", &[From]),
        ("ARG B=other\nFROM ${B}\n", "args = { B = \"base\" }\n", &[From]),
        ("ARG B=other\nFROM ${B}\n", "unkeyed-args = { B = \"base\" }\n", &[From]),
        ("ARG R=r.example\nARG B=$R/p/base\nFROM $B\n", "", &[From]),
        ("FROM scratch\nCOPY --from=base /a /a\n", "", &[CopyFrom]),
        ("FROM debian\nRUN --mount=type=bind,from=base,target=/b true\n", "", &[MountFrom]),
        ("FROM base\nCOPY --from=base /a /a\n", "", &[From, CopyFrom]),
        ("FROM scratch\n", "needs = [\"base\"]\n", &[Needs]),
    ];
    for (dockerfile, extra, kinds) in cases {
        let project = two_images(dockerfile, extra);
        let expected: Vec<_> = kinds.iter().map(|kind| ("base".to_owned(), *kind)).collect();
        assert_eq!(edges(&project, "child"), expected, "{dockerfile}");
    }
}

#[test]
fn what_only_looks_like_an_image_of_the_project_is_none() {
    for dockerfile in [
        // A stage of this name comes first.
        "FROM scratch AS base\nFROM base\n",
        "FROM scratch AS base\nFROM scratch\nCOPY --from=base /a /a\n",
        // Another registry, another path, another name.
        "FROM eu.r.example/p/base\n",
        "FROM r.example/p/base2\n",
        "FROM r.example/base\n",
        "FROM docker.io/library/base\n",
        // A host with a port.
        "FROM base:5000/team/x:1\n",
        // A stage that the target does not need.
        "FROM base AS unused\nFROM scratch\n",
    ] {
        let project = two_images(dockerfile, "");
        assert_eq!(edges(&project, "child"), [], "{dockerfile}");
    }
}

#[test]
fn an_image_may_be_built_from_the_external_image_of_its_own_name() {
    let project = TestProject::new(&[
        ("dockit.toml", "[images.python]\n[images.app]\n"),
        ("python/Dockerfile", "FROM python:3.12\n"),
        ("app/Dockerfile", "FROM python:3.12\n"),
    ]);
    let graph = ImageGraph::new(&project.load()).unwrap();
    let uses = graph.node(&image("python")).unwrap().uses().to_vec();
    assert!(
        matches!(&uses[..], [Use::Base(base)]
            if base.reference.to_string() == "docker.io/library/python:3.12"),
        "{uses:?}"
    );
    assert_eq!(edges(&project, "app"), [("python".to_owned(), EdgeKind::From)]);
}

#[test]
fn dependencies_come_first_and_names_decide_among_equals() {
    let project = diamond("r.example/p");
    let graph = ImageGraph::new(&project.load()).unwrap();
    let order: Vec<&str> = graph.order().iter().map(|name| name.as_str()).collect();
    assert_eq!(order, ["alone", "base", "left", "right", "top"]);
    let wanted = [image("left")].into();
    let needed: Vec<&str> = graph
        .with_dependencies(&wanted)
        .into_iter()
        .map(|node| node.image().name.as_str())
        .collect();
    assert_eq!(needed, ["base", "left"]);
    let dependents: Vec<&str> =
        graph.dependents(&image("base")).into_iter().map(|name| name.as_str()).collect();
    assert_eq!(dependents, ["left", "right"]);
}

#[test]
fn a_cycle_names_its_path_and_what_makes_each_edge() {
    let project = TestProject::new(&[
        ("dockit.toml", "[images.a]\n[images.b]\nneeds = [\"c\"]\n[images.c]\n[images.d]\n"),
        ("a/Dockerfile", "FROM b\n"),
        ("b/Dockerfile", "FROM scratch\n"),
        ("c/Dockerfile", "FROM scratch\nCOPY --from=a /x /x\n"),
        ("d/Dockerfile", "FROM a\n"),
    ]);
    let found = problems(&project);
    let cycles = [
        "a -from-> b -needs-> c -copy-from-> a",
        "b -needs-> c -copy-from-> a -from-> b",
        "c -copy-from-> a -from-> b -needs-> c",
    ];
    assert!(cycles.iter().any(|cycle| found.ends_with(cycle)), "{found}");
}

#[test]
fn several_broken_images_are_all_reported() {
    let project = TestProject::new(&[
        (
            "dockit.toml",
            "[images.gone]\n[images.bad]\n[images.lost]\ndockerfile = \"bad/ok\"\ncontext = \"nowhere\"\n\
             [images.reference]\n[images.target]\ntarget = \"relase\"\n",
        ),
        ("bad/Dockerfile", "FROM scratch\n\nCOPPY a b\n"),
        ("bad/ok", "FROM scratch\n"),
        ("reference/Dockerfile", "FROM scratch\nCOPY --from=UPPER/Case:x /a /a\n"),
        ("target/Dockerfile", "FROM scratch AS release\n"),
    ]);
    let found = problems(&project);
    for expected in [
        "dockit.toml:1: image \"gone\": there is no Dockerfile",
        "bad/Dockerfile:3: ",
        "dockit.toml:3: image \"lost\": there is no build context directory",
        "reference/Dockerfile:2: \"UPPER/Case:x\" is no image reference",
        "target/Dockerfile:",
    ] {
        assert!(found.contains(expected), "{expected}\nnot in:\n{found}");
    }
}

#[test]
fn a_dockerfile_may_lie_outside_its_context() {
    let project = TestProject::new(&[
        ("dockit.toml", "[images.a]\ndockerfile = \"docker/a.Dockerfile\"\ncontext = \"src\"\n"),
        ("docker/a.Dockerfile", "FROM scratch\nCOPY file /\n"),
        ("src/file", "x"),
    ]);
    let keys = project.keys();
    assert_eq!(keys.get(&image("a")).unwrap().context.files(), 1);
}

#[test]
fn unknown_names_are_told_with_the_nearest() {
    let project = diamond("r.example/p");
    let graph = ImageGraph::new(&project.load()).unwrap();
    let error = graph.select(&["rihgt".to_owned()]).unwrap_err();
    assert_eq!(error.nearest.as_deref(), Some("right"));
    assert_eq!(graph.select(&[]).unwrap().len(), 5);
    assert!(config::find(project.root()).is_some());
}

#[test]
fn a_build_argument_that_the_machine_would_decide_is_refused() {
    let dockerfile = "FROM scratch AS s\nARG BUILDARCH=x\nLABEL s=$BUILDARCH\nFROM s\nARG BUILDARCH\n\
                      LABEL b=$BUILDARCH\n";
    let project = two_images(dockerfile, "");
    assert!(problems(&project).contains("ARG BUILDARCH has a default in one place"));
    for fine in ["FROM scratch\nARG BUILDARCH\n", "FROM scratch\nARG BUILDARCH=x\n"] {
        assert!(ImageGraph::new(&two_images(fine, "").load()).is_ok(), "{fine}");
    }
}
