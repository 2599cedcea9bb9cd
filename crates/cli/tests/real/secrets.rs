//! Secrets reach the build, and nothing else: planted ones are looked for in all that is written.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use dockit_testkit::{Auth, RegistryProcess};

use crate::engine::{self, Cleanup};
use crate::run::{Project, Ran};
use crate::{base_image, nonce};

/// A project, and everything that must be found nowhere.
struct Planted {
    project: Project,
    registry: RegistryProcess,
    /// In a variable, in a file, and written by a command.
    values: [String; 3],
    /// A private key, and its public part in hexadecimal digits.
    key: PathBuf,
    public: String,
}

/// A value from the system's generator: what a test makes up from the time could be found by chance.
fn value() -> String {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    format!("planted-{}", hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn succeeds(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output.stdout
}

fn sum(text: &str) -> String {
    let mut child =
        Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

/// What asks the agent for its keys: Debian's base has no ssh.
const ASK_AGENT: &str = r#"#!/usr/bin/perl
use IO::Socket::UNIX;
my $agent = IO::Socket::UNIX->new(Peer => $ENV{SSH_AUTH_SOCK}) or die "no agent: $!";
print $agent pack("NC", 1, 11);
read($agent, my $length, 4) == 4 or die "no answer";
read($agent, my $answer, unpack("N", $length));
print unpack("H*", $answer), "\n";
"#;

impl Planted {
    /// `more` is run where all of them are mounted.
    fn new(more: &str) -> Self {
        let values = [value(), value(), value()];
        let registry = RegistryProcess::start(Auth::None);
        let mut project = Project::new(&[]);
        let [env, file, run] = &values;
        project.write("../outside/file", &format!("first line\n{file}\n"));
        project.write("../outside/run", run);
        let key = project.root().join("../outside/key");
        succeeds(
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "planted", "-f"])
                .arg(&key),
        );
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let public = public.split_whitespace().nth(1).unwrap();
        let public =
            succeeds(Command::new("sh").args(["-c", &format!("echo {public} | base64 -d")]));
        let config = format!(
            "[project]\nregistry = \"{}/ci\"\n[secrets]\nenv.env = \"PLANTED\"\n\
             file.file = \"../outside/file\"\nrun.run = \"cat ../outside/run; echo\"\n\
             [ssh.default]\nfile = \"../outside/key\"\n\
             [images.a]\nargs = {{ BASE = \"{}\", NONCE = \"{}\" }}\n\
             test = [{{ run = \"echo test $PLANTED\", on = \"host\" }}]\n",
            registry.host(),
            base_image(),
            nonce()
        );
        project.write("dockit.toml", &config);
        project.write("a/ask", ASK_AGENT);
        let public = hex(&public);
        let checks =
            [("env", env.clone()), ("file", format!("first line\n{file}\n")), ("run", run.clone())]
                .map(|(id, value)| {
                    format!(
                        "test $(sha256sum < /run/secrets/{id} | cut -c1-64) = {}; ",
                        sum(&value)
                    )
                })
                .concat();
        let mounts = "--mount=type=secret,id=env --mount=type=secret,id=file,required=true \
                      --mount=type=secret,id=run --mount=type=ssh,required=true";
        // Printed whole, and in two pieces that come one after the other.
        let print = "echo it is $(cat /run/secrets/env)!; cat /run/secrets/file >&2; \
                     head -c 20 /run/secrets/run; sleep 1; tail -c +21 /run/secrets/run; echo";
        project.write(
            "a/Dockerfile",
            &format!(
                "ARG BASE\nFROM $BASE\nARG NONCE\nCOPY ask /ask\n\
                 RUN {mounts} set -e; {checks}perl /ask | grep {public}; {print}; {more}\n\
                 RUN test ! -e /run/secrets/env\n"
            ),
        );
        project.docker_host = engine::endpoint();
        project.variables.push(("PLANTED", env.clone()));
        Self { project, registry, values, key, public }
    }

    /// What must be nowhere: the values, and each line of the key but its first and last.
    fn needles(&self) -> Vec<String> {
        let key = std::fs::read_to_string(&self.key).unwrap();
        let lines = key.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned);
        self.values.iter().cloned().chain(lines.filter(|line| line.len() > 30)).collect()
    }

    fn nowhere(&self, what: &str, bytes: &[u8]) {
        // What is no text is replaced; what is looked for is ASCII, and this search is a fast one.
        let text = String::from_utf8_lossy(bytes);
        for needle in self.needles() {
            assert_eq!(text.find(&needle), None, "{needle} is in {what}");
        }
    }

    /// All files of a directory, also what is compressed in them.
    fn not_in_files(&self, directory: &Path) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                self.not_in_files(&path);
            } else if kind.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                self.nowhere(&path.display().to_string(), &bytes);
                if bytes.starts_with(&[0x1f, 0x8b]) {
                    let inside = succeeds(Command::new("gzip").arg("-dc").arg(&path));
                    self.nowhere(&path.display().to_string(), &inside);
                }
            }
        }
    }

    /// Runs the command, and looks at the command lines of all processes meanwhile.
    fn run(&self, arguments: &[&str]) -> Ran {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watched = scope.spawn(|| {
                let mut seen = std::collections::BTreeSet::new();
                while !done.load(Ordering::Relaxed) {
                    for process in std::fs::read_dir("/proc").unwrap().flatten() {
                        let line =
                            std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                        seen.insert(line);
                    }
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                seen
            });
            let ran = self.project.run(arguments);
            done.store(true, Ordering::Relaxed);
            let seen = watched.join().unwrap();
            for line in &seen {
                self.nowhere("a command line", line);
            }
            // It did look: the agent has no other name for what it is started with.
            let of_agent = |line: &Vec<u8>| line.starts_with(b"ssh-agent\0-a\0");
            assert!(seen.iter().any(of_agent), "the agent was seen");
            ran
        })
    }

    /// No agent of a run is left, nor its directory.
    fn no_agent_is_left(&self) {
        let temporary = self.project.root().join("../tmp");
        assert_eq!(std::fs::read_dir(temporary).unwrap().count(), 0);
    }
}

/// With a directory for temporary files of its own.
fn planted(more: &str) -> Planted {
    let mut planted = Planted::new(more);
    planted.project.write("../tmp/x", "");
    let temporary = planted.project.root().join("../tmp");
    std::fs::remove_file(temporary.join("x")).unwrap();
    let temporary = temporary.canonicalize().unwrap();
    planted.project.variables.push(("TMPDIR", temporary.to_str().unwrap().to_owned()));
    planted
}

#[test]
fn planted_secrets_reach_the_build_and_are_nowhere_else() {
    let planted = planted("true");
    let ran = planted.run(&[
        "build",
        "-v",
        "--push",
        "always",
        "--pin",
        "--format",
        "json",
        "--reports",
        "reports",
        "--report",
        "run.json",
    ]);
    let _cleanup = (!ran.out.is_empty()).then(|| Cleanup::of(&ran.json()));
    assert_eq!(ran.code, 0, "{}", ran.err);
    planted.nowhere("standard output", ran.out.as_bytes());
    planted.nowhere("standard error", ran.err.as_bytes());
    // It was printed, and is masked.
    assert!(ran.err.contains("it is ***!"), "{}", ran.err);
    assert!(ran.err.matches("***").count() >= 4, "{}", ran.err);
    assert!(ran.err.contains(&planted.public) && ran.err.contains("test ***"), "{}", ran.err);
    let reference = ran.json()["images"][0]["reference"].as_str().unwrap().to_owned();
    planted.not_in_files(&planted.project.root());
    for written in ["run.json", "reports/a.json", "reports/a.md", "dockit.lock", ".dockit"] {
        assert!(planted.project.root().join(written).exists(), "{written}");
    }
    planted.not_in_files(planted.registry.directory());
    planted.nowhere("the image", engine::inspect(&reference).unwrap().to_string().as_bytes());
    planted.nowhere("its history", engine::history(&reference).to_string().as_bytes());
    planted.nowhere("its layers", &engine::saved(&reference));
    planted.no_agent_is_left();

    // Without any of them the image is there all the same.
    std::fs::remove_dir_all(planted.project.root().join("../outside")).unwrap();
    let again = planted.project.run(&["build", "--push", "always", "--format", "json"]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert_eq!(again.json()["images"][0]["status"], "reused");
}

#[test]
fn a_step_that_fails_and_has_printed_them_shows_none() {
    let planted = planted("exit 7");
    for more in [&["--format", "json"][..], &[]] {
        let arguments = [&["build", "--report", "run.json", "--reports", "reports"], more].concat();
        let ran = planted.run(&arguments);
        assert_eq!(ran.code, 1, "{}", ran.err);
        planted.nowhere("standard output", ran.out.as_bytes());
        planted.nowhere("standard error", ran.err.as_bytes());
        let said = format!("{}{}", ran.out, ran.err);
        assert!(said.contains("exit code: 7") && said.contains("it is ***!"), "{said}");
        planted.not_in_files(&planted.project.root());
        planted.no_agent_is_left();
    }
}

#[test]
fn what_is_missing_or_wrong_ends_the_run_before_it() {
    let planted = planted("true");
    std::fs::write(planted.key.with_file_name("key"), "no key\n").unwrap();
    std::fs::remove_file(planted.key.with_file_name("run")).unwrap();
    let ran = planted.project.run(&["build"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    for expected in [
        "error: image a: the secret \"run\" (the command `cat ../outside/run; echo`) is empty",
        "error: image a: the ssh agent \"default\" (the key of the file ",
        "outside/key) is no private key, or has a passphrase",
    ] {
        assert!(ran.err.contains(expected), "{expected} is not in {}", ran.err);
    }
    planted.nowhere("standard error", ran.err.as_bytes());
    planted.no_agent_is_left();
}
