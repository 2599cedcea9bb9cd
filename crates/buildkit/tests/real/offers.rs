//! What a session offers besides files.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use dockit_buildkit::{ErrorKind, Login, NoFiles, Output, RegistryAuth, SecretBytes};
use dockit_testkit::{Auth, PASSWORD, RegistryProcess, USERNAME};

use crate::outputs::docker;
use crate::run::{build, nonce, run, succeed};

#[tokio::test]
async fn a_secret_is_mounted_and_one_that_is_not_offered_is_not() {
    let secret = nonce();
    let step = "RUN --mount=type=secret,id=token,required=true base64 -w0 /run/secrets/token";
    let mut build = build(step, NoFiles);
    build.secrets =
        BTreeMap::from([("token".to_owned(), SecretBytes::new(format!("{secret}\n\0\u{fe}")))]);
    let seen = succeed(&build).await;
    assert_eq!(seen.text(), base64(format!("{secret}\n\0\u{fe}").as_bytes()));
    assert!(!format!("{build:?}").contains(&secret));

    build.dockerfile.extend_from_slice(b"RUN --mount=type=secret,id=other,required=true true\n");
    let (failed, _) = run(&build).await;
    let error = failed.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Build);
    assert!(
        error.message().contains("secret other") && !error.message().contains(&secret),
        "{error}"
    );
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for piece in bytes.chunks(3) {
        let group = piece.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte));
        let group = group << (8 * (3 - piece.len()));
        for digit in 0..4 {
            let sextet = (group >> (18 - 6 * digit)) & 63;
            let is_there = digit <= piece.len();
            text.push(if is_there { DIGITS[sextet as usize].into() } else { '=' });
        }
    }
    text
}

/// One registry, and who is let in.
struct Known(String);

#[async_trait]
impl RegistryAuth for Known {
    async fn login(&self, host: &str) -> Result<Option<Login>, String> {
        let login = Login { user: USERNAME.to_owned(), secret: SecretBytes::new(PASSWORD) };
        Ok((host == self.0).then_some(login))
    }
}

#[tokio::test]
async fn a_private_base_image_is_fetched_with_the_credentials_of_the_session() {
    let registry = RegistryProcess::start(Auth::Htpasswd);
    let host = registry.host();
    let name = format!("{host}/private/base:{}", nonce());
    let mut base = build("RUN echo private > /is", NoFiles);
    base.output = Output::EngineStore { names: vec![name.clone()] };
    succeed(&base).await;
    let config = tempfile::tempdir().unwrap();
    let user = base64(format!("{USERNAME}:{PASSWORD}").as_bytes());
    let logins = format!(r#"{{"auths":{{"{host}":{{"auth":"{user}"}}}}}}"#);
    std::fs::write(config.path().join("config.json"), logins).unwrap();
    docker(&["--config", config.path().to_str().unwrap(), "push", "--quiet", &name]);
    let named = docker(&["image", "inspect", "--format", "{{index .RepoDigests 0}}", &name]);
    docker(&["image", "rm", &name]);

    let mut build = build("RUN cat /is", NoFiles);
    build.dockerfile = format!("FROM {named}\nENV NONCE={}\nRUN cat /is\n", nonce()).into_bytes();
    let (failed, _) = run(&build).await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Build);
    build.registry_auth = Some(Arc::new(Known(host.to_owned())));
    assert_eq!(succeed(&build).await.text(), "private\n");
}

/// An ssh agent with one key, that ends with the test.
struct Agent {
    directory: tempfile::TempDir,
    process: std::process::Child,
}

impl Agent {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let process = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let agent = Self { directory, process };
        let key = agent.directory.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "of the test", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        // The agent may be listening only in a moment.
        while !socket.exists() {
            std::thread::yield_now();
        }
        assert!(agent.command("ssh-add").arg("-q").arg(&key).status().unwrap().success());
        agent
    }

    fn socket(&self) -> std::path::PathBuf {
        self.directory.path().join("agent.sock")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SSH_AUTH_SOCK", self.socket());
        command
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The agent's protocol by hand: the base image has no ssh. Perl is in every Debian.
fn ask(kind: u8) -> String {
    format!(
        "RUN --mount=type=ssh perl -e 'use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); \
         connect(S, sockaddr_un($ENV{{SSH_AUTH_SOCK}})) or die $!; \
         syswrite(S, pack(\"NC\", 1, {kind})); sysread(S, $l, 4); sysread(S, $d, unpack(\"N\", $l)); \
         print \"kind \", ord($d), \" \", index($d, \"of the test\") > 0 ? \"with\" : \"without\", \" key\\n\"'"
    )
}

#[tokio::test]
async fn an_ssh_agent_is_asked_for_its_keys_and_keeps_them() {
    let agent = Agent::start();
    // Keys; remove all keys; keys again.
    let mut build = build(&[ask(11), ask(19), ask(11)].join("\n"), NoFiles);
    build.ssh_agents = BTreeMap::from([("default".to_owned(), agent.socket())]);
    let seen = succeed(&build).await;
    let mut lines: Vec<_> = seen.text().lines().map(str::to_owned).collect();
    lines.sort();
    // The third step is the first one again.
    assert_eq!(lines, ["kind 12 with key", "kind 12 with key", "kind 5 without key"]);
    let keys = agent.command("ssh-add").arg("-l").output().unwrap();
    assert!(String::from_utf8_lossy(&keys.stdout).contains("of the test"));
}

#[tokio::test]
async fn an_ssh_agent_that_is_not_offered_fails_the_step() {
    let (failed, _) = run(&build("RUN --mount=type=ssh,required=true true", NoFiles)).await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Build);
}
