//! Secrets: where they come from, who gets them, and that nobody else sees them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Mutex;

use dockit_core::backend::{BackendErrorKind, NamedBackend};
use dockit_core::config::{self, LoadOptions};
use dockit_core::events::{Event, Observer};
use dockit_core::execute::{RunReport, Status};
use dockit_core::key::KeyOptions;
use dockit_core::secrets::{SecretOptions, SecretSource, SshSource};
use dockit_core::story::{self, Request, Services};
use dockit_core::testing::{self, TestRequest};
use dockit_core::{Error, Project};
use tokio_util::sync::CancellationToken;

use crate::support::{FakeContainers, FakeEngine, MemoryRegistry, TestProject, image};

const TOKEN: &str = "t0ken-of-the-environment";

fn environment(name: &str) -> Option<OsString> {
    match name {
        "TOKEN" => Some(TOKEN.into()),
        "EMPTY" => Some("".into()),
        _ => None,
    }
}

/// Keeps everything that was told, as text.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    /// What was told of secrets themselves.
    fn of_secrets(&self) -> Vec<String> {
        let told = self.0.lock().unwrap();
        told.iter().filter(|told| told.starts_with("Secret")).cloned().collect()
    }
}

impl Observer for Told {
    fn event(&self, event: Event) {
        let mut told = self.0.lock().unwrap();
        match event {
            Event::Build {
                event: dockit_core::backend::BuildEvent::Output { bytes, .. }, ..
            }
            | Event::CheckOutput { bytes, .. } => told.push(String::from_utf8(bytes).unwrap()),
            event => told.push(format!("{event:?}")),
        }
    }
}

fn secret_options(project: &TestProject) -> SecretOptions {
    SecretOptions {
        environment: Some(environment),
        home: Some(project.root().join("home")),
        temporary: std::env::temp_dir(),
    }
}

async fn build(
    project: &TestProject,
    engine: &FakeEngine<'_>,
    told: &Told,
) -> Result<RunReport, Error> {
    let registry = MemoryRegistry::default();
    let backends = &[NamedBackend::only(engine)];
    let services = Services { registry: &registry, engine, backends, observer: told };
    let request = Request { secrets: secret_options(project), ..Request::default() };
    let cancel = CancellationToken::new();
    Ok(story::build(&project.load(), &request, &services, &cancel).await?.report)
}

fn parse(text: &str) -> Result<Project, config::Problems> {
    config::parse(Path::new("/p/dockit.toml"), text, &LoadOptions::default())
}

#[test]
fn what_is_said_for_all_images_holds_for_each_unless_it_says_otherwise() {
    let project = parse(
        "[secrets]\nnpm = { env = \"NPM\" }\npip.file = \"~/pip.conf\"\n[ssh.default]\nagent = true\n\
         [images.a]\n[images.b.secrets.npm]\nrun = [\"pass\", \"npm\"]\n\
         [images.b.ssh.default]\nfile = \"key\"\n\
         [images.b.variants.v.secrets.npm]\nrun = \"pass npm\"\n\
         [images.b.variants.v.ssh.default]\nagent = \"run/agent\"\n",
    )
    .unwrap();
    let shown = |name: &str| -> Vec<String> {
        let image = &project.images[&image(name)];
        let secrets = image.secrets.iter().map(|(id, it)| format!("{id}: {}", it.source));
        let ssh = image.ssh.iter().map(|(id, it)| format!("ssh {id}: {}", it.source));
        secrets.chain(ssh).collect()
    };
    let pip = "pip: the file ~/pip.conf";
    assert_eq!(
        shown("a"),
        ["npm: the variable NPM", pip, "ssh default: the agent of SSH_AUTH_SOCK"]
    );
    assert_eq!(
        shown("b"),
        ["npm: the command `pass npm`", pip, "ssh default: the key of the file /p/key"]
    );
    assert_eq!(
        shown("b-v"),
        ["npm: the command `pass npm`", pip, "ssh default: the agent at /p/run/agent"]
    );
    let b = &project.images[&image("b")];
    assert!(matches!(&b.secrets["npm"].source, SecretSource::Run(_)));
    assert!(matches!(&b.ssh["default"].source, SshSource::Key(SecretSource::File(_))));
}

#[test]
fn mistakes_have_their_lines() {
    let said = parse(
        "[images.a]\n[secrets.one]\n[secrets.two]\nfile = \"x\"\nenv = \"X\"\n[secrets.\"a b\"]\nenv = \"X\"\n\
         [secrets.e]\nenv = \"A=B\"\n[secrets.f]\nfile = \"\"\n[secrets.r]\nrun = []\n\
         [ssh.a]\nagent = false\n[ssh.b]\nagent = true\nfile = \"k\"\n[ssh.c]\nagents = true\n\
         [secrets.u]\nfile = \"~user/x\"\n[ssh.u]\nagent = \"~user/x\"\n",
    )
    .unwrap_err()
    .to_string();
    for expected in [
        ":2: secret \"one\" needs one of file, env and run\n",
        ":3: secret \"two\" needs one of file, env and run, not several",
        ":6: \"a b\" cannot be the id of a mount",
        ":9: secret \"e\": \"A=B\" cannot be the name of a variable",
        ":11: secret \"f\": the file needs a path",
        ":22: secret \"u\": \"~user/x\" is in nobody's home that is known: only ~/ is",
        ":24: ssh \"u\": \"~user/x\" is in nobody's home that is known: only ~/ is",
        ": secret \"r\": run needs a command",
        ":15: ssh \"a\": agent is true or the path of a socket",
        ":16: ssh \"b\" needs one of agent, file, env and run, not several",
        ":20: unknown key \"agents\" in [ssh.c]; did you mean \"agent\"?",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in\n{said}");
    }
    assert_eq!(said.lines().count(), 12, "each is told once:\n{said}");
}

const SOURCES: &str = "[secrets]\nenv.env = \"TOKEN\"\nfile.file = \"secret/file\"\n\
                       home.file = \"~/token\"\nrun.run = \"cat secret/file; echo $PWD >&2\"\n";

fn project(config: &str, dockerfile: &str) -> TestProject {
    TestProject::new(&[
        ("dockit.toml", config),
        ("a/Dockerfile", dockerfile),
        ("b/Dockerfile", "FROM scratch\nRUN x\n"),
        ("secret/file", "first line\r\nlast line\n\n"),
        ("home/token", "t0ken-at-home"),
    ])
}

#[tokio::test]
async fn a_build_gets_what_it_mounts_and_no_other_does() {
    let mounts = ["env", "file", "home", "run"].map(|id| format!("--mount=type=secret,id={id} "));
    let dockerfile = format!("FROM scratch\nRUN {}x\n", mounts.concat());
    let project = project(&format!("{SOURCES}[images.a]\n[images.b]\n"), &dockerfile);
    let (engine, told) = (FakeEngine::default(), Told::default());
    let report = build(&project, &engine, &told).await.unwrap();
    assert_eq!(report.count(Status::Built), 2);
    assert_eq!(told.of_secrets(), [""; 0]);
    let built = engine.built.lock().unwrap();
    let of = |name: &str| {
        let request = built.iter().find(|it| it.name.to_string().contains(&format!("/{name}:")));
        let secrets = &request.unwrap().secrets;
        assert!(!format!("{request:?}").contains("t0ken"));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        secrets
            .secrets
            .iter()
            .map(|(id, value)| (id.clone(), text(value.reveal())))
            .collect::<BTreeMap<_, _>>()
    };
    let expected = [
        ("env", TOKEN),
        ("file", "first line\r\nlast line\n\n"),
        ("home", "t0ken-at-home"),
        ("run", "first line\r\nlast line\n"),
    ];
    let expected = expected.map(|(id, value)| (id.to_owned(), value.to_owned()));
    assert_eq!(of("a"), expected.into());
    assert_eq!(of("b"), BTreeMap::new());
}

#[tokio::test]
async fn what_cannot_be_had_is_told_at_once_and_nothing_is_built() {
    let config = "[secrets]\nunset.env = \"UNSET\"\nempty.env = \"EMPTY\"\nfile.file = \"no/such\"\n\
                  run.run = \"echo t0ken; echo t0ken >&2; exit 3\"\nunused.env = \"UNSET\"\n\
                  device.file = \"/dev/null\"\n\
                  large.run = \"head -c 512001 /dev/zero\"\n[ssh]\nagent.agent = \"secret/file\"\n\
                  [images.a]\n[images.b]\n";
    let ids = ["unset", "empty", "file", "run", "large", "device"];
    let mounts = ids.map(|id| format!("--mount=type=secret,id={id} ")).concat();
    let dockerfile = format!(
        "FROM scratch\nRUN {mounts}--mount=type=ssh,id=agent --mount=type=ssh,required \
         --mount=type=secret,id=wanted,required=true x\n"
    );
    let project = project(config, &dockerfile);
    let (engine, told) = (FakeEngine::default(), Told::default());
    let error = build(&project, &engine, &told).await.unwrap_err();
    let root = project.root().display();
    let expected = format!(
        "image a: the secret \"device\" (the file /dev/null) cannot be had: it is no regular file
image a: the secret \"empty\" (the variable EMPTY) is empty
image a: the secret \"file\" (the file {root}/no/such) cannot be had: No such file or directory (os error 2)
image a: the secret \"large\" (the command `head -c 512001 /dev/zero`) is larger than 500 KiB
image a: the secret \"run\" (the command `echo t0ken; echo t0ken >&2; exit 3`) cannot be had: it ended with exit code 3
image a: the secret \"unset\" (the variable UNSET) cannot be had: it is not set
image a: the ssh agent \"agent\" (the agent at {root}/secret/file) cannot be had: {root}/secret/file is no socket
image a: the ssh agent \"default\" is required by the Dockerfile, and not configured
image a: the secret \"wanted\" is required by the Dockerfile, and not configured"
    );
    assert_eq!(error.to_string(), expected);
    assert!(engine.built.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_mounted_and_not_said_or_said_and_not_mounted_is_a_warning() {
    let config = "[secrets.unused]\nenv = \"UNSET\"\n[images.a.secrets.mine]\nenv = \"UNSET\"\n\
                  [images.b]\n";
    let dockerfile = "FROM scratch\nRUN --mount=type=secret,id=wanted --mount=type=ssh x\n";
    let project = project(config, dockerfile);
    let (engine, told) = (FakeEngine::default(), Told::default());
    build(&project, &engine, &told).await.unwrap();
    let expected = [
        "SecretNotMounted { image: ImageName(\"a\"), kind: Secret, id: \"unused\" }",
        "SecretNotMounted { image: ImageName(\"a\"), kind: Secret, id: \"mine\" }",
        "SecretNotConfigured { image: ImageName(\"a\"), kind: Secret, id: \"wanted\" }",
        "SecretNotConfigured { image: ImageName(\"a\"), kind: Ssh, id: \"default\" }",
    ];
    assert_eq!(told.of_secrets(), expected);
}

#[tokio::test]
async fn an_image_that_is_there_needs_no_secrets() {
    let project = project(
        "[secrets.it]\nfile = \"secret/file\"\n[images.a]\n",
        "FROM scratch\nRUN --mount=type=secret,id=it,required x\n",
    );
    let (engine, told) = (FakeEngine::default(), Told::default());
    let key = project.key("a");
    build(&project, &engine, &told).await.unwrap();
    std::fs::remove_file(project.root().join("secret/file")).unwrap();
    let report = build(&project, &engine, &told).await.unwrap();
    assert_eq!(report.count(Status::Reused), 1);
    assert_eq!(project.key("a"), key, "what is in a secret does not count");
}

#[tokio::test]
async fn a_file_that_the_build_context_holds_is_refused() {
    let config = "[secrets.it]\nfile = \"a/token\"\n[images.a]\n";
    let mount = "RUN --mount=type=secret,id=it x\n";
    let project = project(config, &format!("FROM scratch\nCOPY . /\n{mount}"));
    project.write("a/token", "t0ken-in-context");
    let (engine, told) = (FakeEngine::default(), Told::default());
    let error = build(&project, &engine, &told).await.unwrap_err().to_string();
    assert!(error.contains("would be copied with the build context, as token"), "{error}");
    project.write("a/.dockerignore", "token\n");
    build(&project, &engine, &told).await.unwrap();
}

#[tokio::test]
async fn a_file_that_another_images_build_context_holds_is_refused() {
    let mount = "FROM scratch\nRUN --mount=type=secret,id=it --mount=type=ssh x\n";
    for config in [
        "[secrets.it]\nfile = \"b/token\"\n[images.a]\n[images.b]\n",
        "[images.a.secrets.it]\nfile = \"b/token\"\n[images.b]\n",
        "[images.a.ssh.default]\nfile = \"b/token\"\n[images.b]\n",
    ] {
        let project = project(config, mount);
        project.write("b/Dockerfile", "FROM scratch\nCOPY . /\n");
        project.write("b/token", "t0ken-in-context");
        let (engine, told) = (FakeEngine::default(), Told::default());
        let error = build(&project, &engine, &told).await.unwrap_err().to_string();
        assert!(error.contains("image b: the "), "{error}");
        assert!(error.contains("would be copied with the build context, as token"), "{error}");
        assert!(engine.built.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_a_step_prints_of_a_secret_is_masked_wherever_it_goes() {
    let (config, dockerfile) = (
        format!("{SOURCES}[images.a]\ntest = [\"print\"]\n[images.b]\n"),
        "FROM scratch\nRUN --mount=type=secret,id=env --mount=type=secret,id=file x\n",
    );
    let project = project(&config, dockerfile);
    let says = ["\n  it is t0ken-of-", "the-environment, ", "last li", "ne, end t0ken\n"];
    let containers = FakeContainers {
        output: format!("test {TOKEN}\n").into_bytes(),
        ..FakeContainers::default()
    };
    let engine = FakeEngine {
        says: says.iter().map(|it| it.as_bytes().to_vec()).collect(),
        broken: BTreeMap::from([("b".to_owned(), BackendErrorKind::Build)]),
        containers: Some(containers),
        ..FakeEngine::default()
    };
    let told = Told::default();
    let report = build(&project, &engine, &told).await.unwrap();
    let failed = report.image(&image("b")).unwrap().error.as_ref().unwrap();
    assert!(failed.message.ends_with("  it is ***, ***, end t0ken\n"), "{}", failed.message);
    let test = &report.image(&image("a")).unwrap().tests[0];
    assert_eq!(test.output.text(), "test ***\n");
    let told = told.0.lock().unwrap().concat();
    assert_eq!(told.matches("it is ***, ***, end t0ken").count(), 3, "{told}");
    assert!(told.contains("test ***\n"));
    for secret in ["t0ken-of", "environment", "last line"] {
        assert!(!told.contains(secret), "{secret} is in {told}");
        assert!(!format!("{report:?}").contains(secret));
    }
}

#[tokio::test]
async fn what_a_test_prints_of_a_secret_is_masked_where_nothing_is_built() {
    let config = format!("{SOURCES}[images.a]\ntest = [\"print\"]\n[images.b]\n");
    let project = project(&config, "FROM scratch\nRUN x\n");
    let output = format!("test {TOKEN} t0ken-at-home last line\n").into_bytes();
    let containers = FakeContainers { output, ..FakeContainers::default() };
    let engine = FakeEngine { containers: Some(containers), ..FakeEngine::default() };
    build(&project, &engine, &Told::default()).await.unwrap();
    let (registry, told) = (MemoryRegistry::default(), Told::default());
    let backends = &[NamedBackend::only(&engine)];
    let services = Services { registry: &registry, engine: &engine, backends, observer: &told };
    let request = TestRequest {
        images: Vec::new(),
        jobs: NonZeroUsize::MIN,
        fail_fast: false,
        keys: KeyOptions::default(),
        secrets: secret_options(&project),
    };
    let cancel = CancellationToken::new();
    let report = testing::test(&project.load(), &request, &services, &cancel).await.unwrap();
    let tested = report.images.iter().find(|tested| tested.image == image("a")).unwrap();
    assert_eq!(tested.tests[0].output.text(), "test *** *** ***\n");
    let told = told.0.lock().unwrap().concat();
    assert!(told.contains("test *** *** ***\n"), "{told}");
    assert!(!told.contains("t0ken"), "{told}");
}
