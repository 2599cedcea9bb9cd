//! Debian's `docker-registry` as a child process.

use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::http::exchange;
use crate::token_issuer::{ISSUER, SERVICE, TokenIssuer};

/// The user that registries and token servers of this crate know.
pub const USERNAME: &str = "ci";

/// A user that token servers of this crate let read, and nothing else.
pub const READER: &str = "reader";

/// The users' password.
pub const PASSWORD: &str = "correct horse";

/// bcrypt of [`PASSWORD`], of the lowest cost.
const HTPASSWD: &str = "ci:$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n";

/// Longest that a registry may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The port is free when it is picked, but another process may be faster.
const START_ATTEMPTS: u32 = 5;

/// Runs the registry until standard input ends, as it does when the test process dies.
const SUPERVISOR: &str = r#"
docker-registry serve "$1" </dev/null >"$2" 2>&1 &
child=$!
read -r _
kill -9 "$child"
wait "$child"
"#;

/// How a registry finds out who is asking.
pub enum Auth<'a> {
    /// It does not ask.
    None,
    /// Basic, with [`USERNAME`] and [`PASSWORD`].
    Htpasswd,
    /// Bearer tokens of this issuer.
    Token(&'a TokenIssuer),
}

/// A registry on a free port of 127.0.0.1, empty at the start, with deletion enabled.
pub struct RegistryProcess {
    host: String,
    supervisor: Child,
    directory: tempfile::TempDir,
}

impl RegistryProcess {
    /// Starts a registry and waits until it answers.
    ///
    /// # Panics
    ///
    /// `docker-registry` is not installed, or does not start.
    pub fn start(auth: Auth<'_>) -> Self {
        assert!(
            Command::new("docker-registry").arg("--version").output().is_ok(),
            "docker-registry is missing: `apt-get install docker-registry`, or run scripts/setup"
        );
        for _ in 1..START_ATTEMPTS {
            if let Ok(registry) = Self::try_start(&auth) {
                return registry;
            }
        }
        Self::try_start(&auth).unwrap_or_else(|log| panic!("docker-registry does not start: {log}"))
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where everything lies that was pushed, and the registry's log.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Puts more tags on the manifest that has `tag`, as if each had been pushed; but so that tens of
    /// thousands take no time.
    ///
    /// # Panics
    ///
    /// There is no such tag.
    pub fn multiply_tag(&self, repository: &str, tag: &str, more: impl Iterator<Item = String>) {
        let tags = storage(self.directory.path())
            .join("docker/registry/v2/repositories")
            .join(repository)
            .join("_manifests/tags");
        let link = std::fs::read(tags.join(tag).join("current/link")).expect("the tag is there");
        for tag in more {
            let current = tags.join(tag).join("current");
            std::fs::create_dir_all(&current).expect("the registry's directory can be written");
            std::fs::write(current.join("link"), &link)
                .expect("the registry's directory can be written");
        }
    }

    /// Takes a tag off its manifest, as registries do that delete tags.
    ///
    /// Tells whether it was there.
    pub fn remove_tag(&self, repository: &str, tag: &str) -> bool {
        let tags = storage(self.directory.path())
            .join("docker/registry/v2/repositories")
            .join(repository)
            .join("_manifests/tags");
        std::fs::remove_dir_all(tags.join(tag)).is_ok()
    }

    /// The `Authorization` value of [`USERNAME`] for [`Auth::Htpasswd`].
    pub fn basic_authorization() -> String {
        format!("Basic {}", STANDARD.encode(format!("{USERNAME}:{PASSWORD}")))
    }

    /// The registry, or what it wrote.
    fn try_start(auth: &Auth<'_>) -> Result<Self, String> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.expect("loopback has a free port").port();
        // Tells this registry from another that got the port first.
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{number}", std::process::id());
        let config = directory.path().join("config.yml");
        let log = directory.path().join("log");
        std::fs::write(&config, configuration(directory.path(), port, &mark, auth))
            .expect("a temporary file can be written");
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .args([&config, &log])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("every system has a shell");
        let registry = Self { host: format!("127.0.0.1:{port}"), supervisor, directory };
        let start = Instant::now();
        loop {
            if let Ok(reply) = exchange(&registry.host, "GET", "/v2/", &[], b"") {
                if reply.header("x-testkit") == Some(&mark) {
                    return Ok(registry);
                }
                return Err("another registry has the port".to_owned());
            }
            let text = read(&log);
            if text.contains("level=fatal") || start.elapsed() > START_TIMEOUT {
                return Err(text);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for RegistryProcess {
    fn drop(&mut self) {
        // The end of its input is the supervisor's sign to end the registry.
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

fn read(log: &Path) -> String {
    let mut text = String::new();
    if let Ok(mut file) = std::fs::File::open(log) {
        let _ = file.read_to_string(&mut text);
    }
    text
}

/// Where a registry in this directory keeps everything.
fn storage(directory: &Path) -> PathBuf {
    directory.join("storage")
}

fn configuration(directory: &Path, port: u16, mark: &str, auth: &Auth<'_>) -> String {
    let auth = match auth {
        Auth::None => String::new(),
        Auth::Htpasswd => {
            let file = directory.join("htpasswd");
            std::fs::write(&file, HTPASSWD).expect("a temporary file can be written");
            format!("auth: {{htpasswd: {{realm: testkit, path: {file:?}}}}}\n")
        }
        Auth::Token(issuer) => format!(
            "auth: {{token: {{realm: {:?}, service: {SERVICE}, issuer: {ISSUER}, \
             rootcertbundle: {:?}}}}}\n",
            issuer.realm(),
            issuer.certificate()
        ),
    };
    let storage = storage(directory);
    format!(
        "version: 0.1\n\
         log: {{level: error}}\n\
         storage: {{filesystem: {{rootdirectory: {storage:?}}}, delete: {{enabled: true}}}}\n\
         http: {{addr: 127.0.0.1:{port}, secret: testkit, headers: {{X-Testkit: [\"{mark}\"]}}}}\n\
         {auth}"
    )
}
