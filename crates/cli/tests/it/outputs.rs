//! What CI services are told, and the report in a file.

use dockit_testkit::{Reply, ScriptedServer};
use serde_json::Value;

use crate::run::Project;
use crate::scratch;

/// A registry that holds everything.
fn full() -> ScriptedServer {
    ScriptedServer::start(|_| {
        Reply::new(200)
            .header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
            .header("Docker-Content-Digest", format!("sha256:{}", "ab".repeat(32)))
    })
}

/// What Podman says of itself.
pub(crate) const PODMAN: &str = r#"{"ApiVersion":"1.41","Version":"5.0.0","Components":[{"Name":"Podman Engine","Version":"5.0.0"}]}"#;

/// A registry that holds nothing.
fn empty() -> ScriptedServer {
    ScriptedServer::start(|_| Reply::new(404))
}

/// An engine whose builds fail with these words: Podman, whose API needs no more than HTTP.
fn failing(words: &'static str) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        let reply = Reply::new(200).header("Content-Type", "application/json");
        match request.path() {
            path if path.ends_with("/version") => reply.body(PODMAN),
            path if path.ends_with("/build") => {
                let body = serde_json::json!({"message": words}).to_string();
                Reply::new(500).header("Content-Type", "application/json").body(body)
            }
            _ => reply.body("{}"),
        }
    })
}

/// An engine that holds every image.
fn holding() -> ScriptedServer {
    ScriptedServer::start(|request| {
        let reply = Reply::new(200).header("Content-Type", "application/json");
        match request.path() {
            path if path.ends_with("/version") => reply.body(r#"{"ApiVersion":"1.41"}"#),
            _ => reply.body(format!(r#"{{"Id":"sha256:{}"}}"#, "cd".repeat(32))),
        }
    })
}

fn kept(project: &Project) -> Value {
    let text = std::fs::read_to_string(project.root().join(".dockit/run.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn on_github(project: &mut Project) -> [std::path::PathBuf; 2] {
    let files = ["output", "summary"].map(|name| project.root().join(name));
    project.variables = vec![
        ("CI", "true".to_owned()),
        ("GITHUB_OUTPUT", files[0].display().to_string()),
        ("GITHUB_STEP_SUMMARY", files[1].display().to_string()),
    ];
    files
}

#[test]
fn what_cannot_be_told_is_found_out_before_anything_is_asked() {
    let registry = full();
    let mut project = scratch(&registry.host());
    project.write("a.b/Dockerfile", "FROM scratch\nCOPY file /\n");
    project.write("a.b/file", "1");
    project.write("a-b/Dockerfile", "FROM scratch\nCOPY file /\n");
    project.write("a-b/file", "1");
    let config = format!("[project]\nregistry = \"{}\"\n[images.base]\n", registry.host());
    let cases: &[(&[&str], &str, &str)] = &[
        (&["github"], "", "GITHUB_OUTPUT is not set"),
        (&["azure"], "", "AGENT_TEMPDIRECTORY is not set"),
        (&["dotenv=no/where.env"], "", "there is no directory no"),
        (&["dotenv=base"], "", "it is a directory"),
        (&["dotenv", "gitlab"], "", "two outputs are written to dockit.env"),
        (&["dotenv", "gitlab=base/../dockit.env"], "", "two outputs are written to base/../"),
        (&["dotenv=./it", "--report", "it"], "", "two outputs are written to ./it"),
        (&["dotenv"], "[images.\"a.b\"]\n[images.a-b]\n", "would both be DOCKIT_A_B"),
        (&["jenkins"], "", "expected github, gitlab[=FILE], azure or dotenv[=FILE]"),
    ];
    for (outputs, more, words) in cases {
        project.write("dockit.toml", &format!("{config}{more}"));
        let mut arguments = vec!["build", "--push", "always"];
        for output in *outputs {
            match *output {
                "--report" => arguments.push("--report"),
                "it" => arguments.push("it"),
                output => arguments.extend(["--output", output]),
            }
        }
        project.variables = Vec::new();
        let ran = project.run(&arguments);
        assert_eq!(ran.code, 2, "{outputs:?}: {ran:?}");
        assert!(ran.err.contains(words), "{outputs:?}: {}", ran.err);
    }
    assert!(registry.log().is_empty(), "{:?}", registry.log());
    assert!(!project.root().join(".dockit/run.json").exists());
}

#[test]
fn github_gets_outputs_and_a_summary_behind_those_of_others() {
    let registry = full();
    let mut project = scratch(&registry.host());
    let [output, summary] = on_github(&mut project);
    std::fs::write(&output, "theirs=1").unwrap();
    std::fs::write(&summary, "# theirs\n").unwrap();
    let ran = project.run(&["build", "--output", "github", "--format", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let reference = format!("{}/p/base@sha256:{}", registry.host(), "ab".repeat(32));
    let text = std::fs::read_to_string(&output).unwrap();
    assert!(text.starts_with("theirs=1\nbase_reference<<dockit_"), "{text}");
    assert!(text.contains(&format!("\n{reference}\n")), "{text}");
    assert!(text.contains("\nchild_status<<") && text.contains("\nimages<<"), "{text}");
    let text = std::fs::read_to_string(&summary).unwrap();
    assert!(text.starts_with("# theirs\n### dockit: 0 built, 2 reused\n"), "{text}");
    assert!(text.contains(&format!("| `base` | reused | 0.0 | `{reference}` |")), "{text}");
    assert_eq!(ran.json()["schema"], "dockit.run/1", "standard output stays data");
}

#[test]
fn a_build_says_nothing_to_the_service() {
    let engine = failing(
        "no\n::set-output name=images::evil\n  ::error::evil\nx ##[set-output name=y]evil\n\
         ##vso[task.setvariable variable=z]evil\r::add-mask::x",
    );
    let registry = empty();
    let mut project = scratch(&registry.host());
    let [output, summary] = on_github(&mut project);
    project.docker_host = format!("tcp://{}", engine.host());
    for format in ["text", "json"] {
        let ran = project.run(&[
            "build",
            "--backend",
            "engine",
            "--push",
            "always",
            "--output",
            "github",
            "--format",
            format,
        ]);
        assert_eq!(ran.code, 1, "{ran:?}");
        let all = format!("{}\n{}", ran.out, ran.err);
        let commands: Vec<&str> = all
            .split(['\n', '\r'])
            .filter(|line| line.trim_start().starts_with("::") || line.contains("##"))
            .collect();
        let [one] = commands[..] else { panic!("{commands:#?}") };
        assert!(one.starts_with("::error title=base failed::build failed: no%0A"), "{one}");
        assert_eq!(ran.err.matches("base: failed: ").count(), 1, "{}", ran.err);
    }
    let text = std::fs::read_to_string(&output).unwrap();
    assert!(!text.contains("evil"), "{text}");
    assert!(text.contains("base_status<<") && !text.contains("base_reference"), "{text}");
    let text = std::fs::read_to_string(&summary).unwrap();
    assert!(text.contains("<summary><code>base</code> failed: build failed: no</summary>"));
    let report = kept(&project);
    assert_eq!(
        (&report["complete"], &report["images"][0]["status"]),
        (&true.into(), &"failed".into())
    );
    assert_eq!(report["images"][1]["status"], "skipped");
}

#[test]
fn the_log_of_a_job_shows_what_failed_at_its_end_too() {
    let (registry, engine) = (empty(), failing("the reason"));
    let mut project = scratch(&registry.host());
    project.docker_host = format!("tcp://{}", engine.host());
    for (variables, times) in [(vec![], 1), (vec![("CI", "true".to_owned())], 2)] {
        project.variables = variables;
        let ran = project.run(&["build", "--backend", "engine", "--push", "always"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert_eq!(ran.err.matches("base: failed: build failed: the reason").count(), times);
        assert_eq!(ran.err.trim_end().ends_with("the reason"), times == 2, "{}", ran.err);
    }
}

#[test]
fn a_run_that_is_refused_is_an_annotation_and_stands_in_the_report() {
    let registry = ScriptedServer::start(|_| Reply::new(401));
    let mut project = scratch(&registry.host());
    let [output, _] = on_github(&mut project);
    let ran = project.run(&["build", "--output", "github"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("::error title=dockit::image base: "), "{}", ran.err);
    assert!(!output.exists());
    let report = kept(&project);
    assert_eq!((&report["complete"], &report["images"]), (&true.into(), &Value::Array(vec![])));
    assert!(report["error"].as_str().unwrap().starts_with("image base: "), "{report}");
}

#[test]
fn gitlab_azure_and_dotenv_at_once() {
    let registry = full();
    let mut project = scratch(&registry.host());
    let temporary = project.root().join("agent");
    std::fs::create_dir(&temporary).unwrap();
    project.variables = vec![
        ("TF_BUILD", "True".to_owned()),
        ("AGENT_TEMPDIRECTORY", temporary.display().to_string()),
    ];
    project.write("dockit.env", "OLD=1\n");
    let ran = project.run(&[
        "build",
        "--output",
        "gitlab",
        "--output",
        "azure",
        "--output",
        "dotenv=all.env",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let reference = format!("{}/p/base@sha256:{}", registry.host(), "ab".repeat(32));
    let child = reference.replace("/base", "/child");
    assert_eq!(
        std::fs::read_to_string(project.root().join("dockit.env")).unwrap(),
        format!("DOCKIT_BASE_REFERENCE={reference}\nDOCKIT_CHILD_REFERENCE={child}\n")
    );
    let all = std::fs::read_to_string(project.root().join("all.env")).unwrap();
    assert!(all.contains("\nDOCKIT_BASE_STATUS=reused\n"), "{all}");
    let set = format!("##vso[task.setvariable variable=base_reference;isOutput=true]{reference}\n");
    assert!(ran.err.contains(&set), "{}", ran.err);
    let (_, file) = ran.err.split_once("##vso[task.uploadsummary]DIR/").unwrap();
    let summary = std::fs::read_to_string(project.root().join(file.trim_end())).unwrap();
    assert!(summary.starts_with("### dockit: 0 built, 2 reused\n"), "{summary}");
}

#[test]
fn gitlab_says_when_there_are_more_variables_than_it_takes() {
    let registry = full();
    let project = scratch(&registry.host());
    let mut config = format!("[project]\nregistry = \"{}\"\n", registry.host());
    for number in 0..25 {
        config.push_str(&format!("[images.i{number}]\ndockerfile = \"base/Dockerfile\"\n"));
    }
    project.write("dockit.toml", &config);
    let ran = project.run(&["build", "--push", "always", "--output", "gitlab"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("warning: dockit.env has ") && ran.err.contains("25 variables"));
}

#[test]
fn the_report_is_kept_and_written_where_it_is_wanted() {
    let registry = full();
    let project = scratch(&registry.host());
    let arguments = ["build", "--push", "always", "--format", "json", "--report", "run report"];
    let ran = project.run(&arguments);
    assert_eq!(ran.code, 0, "{ran:?}");
    let wanted = std::fs::read_to_string(project.root().join("run report")).unwrap();
    let wanted: Value = serde_json::from_str(&wanted).unwrap();
    assert_eq!(wanted, kept(&project));
    assert_eq!(wanted["images"], ran.json()["images"]);
    assert_eq!(
        (&wanted["complete"], &wanted["unfinished"]),
        (&true.into(), &serde_json::json!([]))
    );
    let started = wanted["started"].as_str().unwrap();
    assert!(started.ends_with('Z') && started.starts_with("20"), "{started}");
    let left: Vec<String> = std::fs::read_dir(project.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.') && name != ".dockit")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_report_that_cannot_be_written_is_a_warning() {
    let registry = full();
    let project = scratch(&registry.host());
    project.write(".dockit", "in the way");
    let ran = project.run(&["build", "--push", "always", "--report", "no/where.json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("warning: the report is not kept: "), "{}", ran.err);
    assert!(ran.err.contains("warning: the report cannot be written: no/where.json: "), "{ran:?}");
}

#[test]
fn of_runs_at_once_one_keeps_its_report_and_the_others_say_that_they_do_not() {
    let registry = full();
    let project = scratch(&registry.host());
    let arguments = ["build", "--push", "always", "--report", "mine"];
    assert_eq!(project.run(&arguments).code, 0);
    let before = kept(&project);
    let other = std::fs::File::create(project.root().join(".dockit/run.lock")).unwrap();
    other.lock().unwrap();
    let ran = project.run(&arguments);
    assert_eq!(ran.code, 0, "{ran:?}");
    let words = "warning: the report is not kept in DIR/.dockit: another run in this work tree";
    assert!(ran.err.contains(words), "{}", ran.err);
    assert_eq!(kept(&project), before);
    let mine = std::fs::read_to_string(project.root().join("mine")).unwrap();
    let mine: Value = serde_json::from_str(&mine).unwrap();
    assert_ne!(mine["started"], before["started"]);
    drop(other);
    assert!(!project.run(&arguments).err.contains("warning"));
}

#[test]
fn no_engine_is_told_to_the_service_as_well() {
    let registry = empty();
    let mut project = scratch(&registry.host());
    on_github(&mut project);
    let ran = project.run(&["build", "--backend", "engine", "--output", "github"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("::error title=base failed::engine unavailable: "), "{}", ran.err);
}

#[test]
fn prepare_and_tests_say_nothing_to_the_service() {
    let (registry, engine) = (full(), holding());
    let mut project = scratch(&registry.host());
    project.write(
        "dockit.toml",
        &format!(
            "[project]\nregistry = \"{}/p\"\ntest = [\"sh evil.sh project\"]\n\
             [images.base]\nprepare = {{ run = \"sh evil.sh prepare && touch base/made\", \
             outputs = [\"base/made\"] }}\n\
             test = [{{ run = \"sh evil.sh image\", on = \"host\" }}]\n",
            registry.host()
        ),
    );
    project.write(
        "evil.sh",
        "printf '##vso[task.setvariable variable=z]evil\\n::set-output name=images::evil\\n'\n\
         printf 'wrote by %s ##[error]evil\\r::add-mask::x' $1\nexit ${2:-0}\n",
    );
    project.docker_host = format!("tcp://{}", engine.host());
    project.variables = vec![("CI", "true".to_owned()), ("PATH", "/usr/bin:/bin".to_owned())];
    for (arguments, who) in [
        (&["test", "--prepare"][..], &["prepare", "image", "project"][..]),
        (&["build", "--push", "always"], &["prepare"]),
    ] {
        let ran = project.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        let all = format!("{}\n{}", ran.out, ran.err);
        let is_command = |line: &&str| line.trim_start().starts_with("::") || line.contains("##");
        let commands: Vec<&str> = all.split(['\n', '\r']).filter(is_command).collect();
        assert!(commands.is_empty(), "{arguments:?}: {commands:#?}");
        assert_eq!(ran.err.matches(" | #\\u{23}vso[task").count(), who.len(), "{}", ran.err);
        assert_eq!(ran.err.matches(" | ::add-mask::x\n").count(), who.len(), "{}", ran.err);
    }
}

#[test]
fn nothing_is_written_where_a_key_reads() {
    let registry = full();
    let mut project = scratch(&registry.host());
    project.write(
        "dockit.toml",
        &format!(
            "[project]\nregistry = \"{}/p\"\n[images.all]\ncontext = \".\"\n\
             dockerfile = \"all.Dockerfile\"\n[images.some]\ncontext = \".\"\n\
             dockerfile = \"some.Dockerfile\"\n[images.on]\ndockerfile = \"on.Dockerfile\"\n\
             context = \"base\"\n[images.more]\n\
             dockerfile = \"base/Dockerfile\"\ninputs = [\"child\"]\n",
            registry.host()
        ),
    );
    project.write("all.Dockerfile", "FROM scratch\nCOPY . /\n");
    project.write("some.Dockerfile", "FROM scratch\nCOPY base/* /\n");
    project.write("on.Dockerfile", "FROM all\nCOPY file /\n");
    let all = "run.json lies in the build context of image all, which reads it";
    let cases: &[(&[&str], &str, &str)] = &[
        (&["--report", "run.json"], all, "add the line `run.json` to DIR/.dockerignore"),
        (&["all", "--report", "base/../run.json"], "run.json lies in the build", "`run.json`"),
        (&["on", "--report", "run.json"], all, "another place"),
        (&["all", "--output", "dotenv"], "dockit.env lies in ", "`dockit.env`"),
        (&["all", "--output", "gitlab=base/a.env"], "base/a.env lies in ", "`base/a.env`"),
        (&["all", "--reports", "made/of"], "made/of lies in ", "the line `made/of`"),
        (&["some", "--report", "base/run.json"], "of image some", "`base/run.json`"),
        (&["more", "--report", "child/run.json"], "`inputs` of image more (child)", "another"),
    ];
    for (arguments, words, hint) in cases {
        let ran = project.run(&[&["build", "--push", "always"], *arguments].concat());
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(words) && ran.err.contains(hint), "{arguments:?}: {}", ran.err);
    }
    assert!(registry.log().is_empty(), "{:?}", registry.log());
    assert!(!project.root().join(".dockit").exists(), "nothing is written");
    // What no image of the run reads, what is ignored, and dockit's own directory.
    let good = |project: &Project, arguments: &[&str]| {
        let ran = project.run(&[&["build", "--push", "always"], arguments].concat());
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    };
    good(&project, &["some", "--report", "run.json", "--reports", "reports"]);
    good(&project, &["all", "--report", ".dockit/mine.json"]);
    good(&project, &["all", "--report", "../run.json"]);
    project.write(".dockerignore", "run.json\nreports\n*.env\n");
    let outputs = ["--output", "dotenv", "--report", "run.json", "--reports", "reports"];
    let key = |project: &Project| project.run(&["key", "all", "on"]).out;
    project.variables = vec![("CI", "true".to_owned())];
    std::fs::remove_dir_all(project.root().join("reports")).unwrap();
    std::fs::remove_file(project.root().join("run.json")).unwrap();
    let before = key(&project);
    good(&project, &[&["all", "on"], &outputs[..]].concat());
    assert!(project.root().join("reports/all.json").exists());
    assert_eq!(key(&project), before);
    // An ignore file beside the Dockerfile wins.
    project.write("all.Dockerfile.dockerignore", "none\n");
    let ran = project.run(&["build", "all", "--report", "run.json"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("to DIR/all.Dockerfile.dockerignore"), "{}", ran.err);
}

#[test]
fn what_an_earlier_run_told_is_not_left_for_later_steps() {
    let registry = ScriptedServer::start(|_| Reply::new(401));
    let mut project = scratch(&registry.host());
    on_github(&mut project);
    let config = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
    let broken = format!("{config}dockerfil = \"x\"\n");
    let outputs = ["--output", "gitlab", "--output", "dotenv=all.env", "--output", "github"];
    for (config, code, words) in [
        (config.as_str(), 3, "::error title=dockit::image base: "),
        (broken.as_str(), 2, "::error title=dockit::DIR/dockit.toml:5: unknown"),
    ] {
        project.write("dockit.toml", config);
        project.write("dockit.env", "OLD=1\n");
        project.write("all.env", "OLD=1\n");
        let ran = project.run(&[&["build"], &outputs[..]].concat());
        assert_eq!(ran.code, code, "{ran:?}");
        assert_eq!(ran.err.matches(words).count(), 1, "{}", ran.err);
        assert_eq!(ran.err.matches("::error").count(), 1, "{}", ran.err);
        for file in ["dockit.env", "all.env"] {
            assert!(!project.root().join(file).exists(), "{file}");
        }
    }
}

#[test]
fn a_test_of_the_project_that_fails_is_told_to_services() {
    let registry = ScriptedServer::start(|request| {
        if request.path().ends_with("/manifests/now") {
            return Reply::new(404);
        }
        Reply::new(200)
            .header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
            .header("Docker-Content-Digest", format!("sha256:{}", "ab".repeat(32)))
    });
    let mut project = scratch(&registry.host());
    project.write(
        "dockit.toml",
        &format!(
            "[project]\nregistry = \"{}/p\"\ntest = [\"echo the reason; exit 7\"]\n\
             [images.base]\ntags = [\"now\"]\n",
            registry.host()
        ),
    );
    let [_, summary] = on_github(&mut project);
    let temporary = project.root().display().to_string();
    project.variables.push(("AGENT_TEMPDIRECTORY", temporary));
    project.variables.push(("PATH", "/usr/bin:/bin".to_owned()));
    let outputs = ["--output", "github", "--output", "gitlab", "--output", "azure"];
    let build = ["build", "--push", "always", "--force-tags"];
    let ran = project.run(&[&build[..], &outputs].concat());
    assert_eq!(ran.code, 1, "{ran:?}");
    let words = "the project's test `echo the reason; exit 7` ended with exit code 7";
    for told in [
        format!("::error title=project tests failed::{words}%0A    the reason\n"),
        format!("##vso[task.logissue type=error]project tests: {}", words.replace(';', "%3B")),
        format!("project_tests\r\x1b[0Kproject tests failed\n{words}\n    the reason\n"),
    ] {
        assert_eq!(ran.err.matches(&told).count(), 1, "{told:?}: {}", ran.err);
    }
    let text = std::fs::read_to_string(&summary).unwrap();
    assert!(text.starts_with("### dockit: 0 built, 1 reused, project tests failed\n"), "{text}");
    assert!(text.contains("<summary><code>project tests</code> failed: the project's"), "{text}");
    assert!(text.contains("<pre>    the reason</pre>"), "{text}");
}

#[test]
fn of_several_things_that_went_wrong_all_are_said_and_the_worst_one_counts() {
    let registry = ScriptedServer::start(|request| {
        if request.path().contains("/child/") {
            return Reply::new(404);
        }
        Reply::new(200)
            .header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
            .header("Docker-Content-Digest", format!("sha256:{}", "ab".repeat(32)))
    });
    let project = scratch(&registry.host());
    project.write("file", "in the way");
    let engine = ["build", "--backend", "engine"];
    let ran =
        project.run(&[&engine[..], &["--push", "always", "--reports", "file/reports"]].concat());
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("error: cannot write file/reports/base.json: "), "{}", ran.err);
    assert!(ran.err.contains("hint: start Docker, or set DOCKER_HOST"), "{}", ran.err);
    let ran = project.run(&["build", "base", "--push", "always", "--reports", "file/reports"]);
    assert_eq!(ran.code, 1, "{ran:?}");
}
