//! Names and globs on the command line.

use insta::assert_snapshot;

use crate::run::Project;

fn project() -> Project {
    let dockerfile = "FROM scratch\nCOPY file /\n";
    Project::new(&[
        (
            "dockit.toml",
            "[project]\nregistry = \"r.example/p\"\n[images.app]\n[images.app.variants.x]\n\
             [images.app.variants.y]\n[images.only]\nonly-variants = true\n\
             [images.only.variants.z]\n",
        ),
        ("app/Dockerfile", dockerfile),
        ("app/file", "1"),
        ("only/Dockerfile", "FROM app\n"),
    ])
}

fn names(project: &Project, arguments: &[&str]) -> Vec<String> {
    let ran = project.run(&[arguments, &["--format", "json"]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let images = ran.json()["images"].clone();
    let names = images.as_array().unwrap().iter();
    names.map(|image| image["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn images_are_named_by_globs() {
    let project = project();
    for command in ["list", "key"] {
        assert_eq!(names(&project, &[command, "app-*"]), ["app-x", "app-y"]);
        assert_eq!(names(&project, &[command, "app"]), ["app"]);
        assert_eq!(names(&project, &[command, "*-[xz]"]), ["app-x", "only-z"]);
        assert_eq!(names(&project, &[command]), ["app", "app-x", "app-y", "only-z"]);
    }
}

#[test]
fn what_means_no_image_says_what_would() {
    let project = project();
    let error = |arguments: &[&str]| {
        let ran = project.run(arguments);
        assert_eq!((ran.code, &*ran.out), (2, ""), "{ran:?}");
        ran.err
    };
    assert_snapshot!(error(&["build", "nothing-*"]), @r#"
    error: no image matches "nothing-*"
    hint: `dockit list` names the images
    "#);
    assert_snapshot!(error(&["key", "only"]), @r#"
    error: no image is called "only": there are only its variants only-z
    hint: 'only-*' names them all
    "#);
    assert_snapshot!(error(&["plan", "app["]), @r#"
    error: "app[" is no glob: a `[` begins a set such as [a-z], which has to be closed and whose ranges go upwards
    hint: `dockit list` names the images
    "#);
    assert_snapshot!(error(&["pull", "nothing-*"]), @r#"
    error: no image matches "nothing-*"
    hint: `dockit list` names the images
    "#);
    // One image is meant.
    assert_snapshot!(error(&["why", "app-*"]), @r#"
    error: no image is called "app-*"
    hint: did you mean "app-x"?
    "#);
}
