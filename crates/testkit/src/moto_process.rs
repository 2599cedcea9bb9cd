//! moto, an imitation of AWS, as a child process.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http::exchange;

/// Longest that it may take to start: it is a large Python program.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The port is free when it is picked, but another process may be faster.
const START_ATTEMPTS: u32 = 3;

/// How many requests make a user who can sign.
const MAKE_USER: usize = 3;

/// Runs it until standard input ends, as it does when the test process dies.
const SUPERVISOR: &str = r#"
"$1" -H 127.0.0.1 -p "$2" </dev/null >"$3" 2>&1 &
child=$!
read -r _
kill -9 "$child"
wait "$child"
"#;

/// What the user may do.
const POLICY: &str = r#"{
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}]
}"#;

/// moto on a free port of 127.0.0.1, empty but for a user who may do everything with ECR. It verifies the
/// signatures of all requests.
pub struct MotoProcess {
    host: String,
    supervisor: Child,
    directory: tempfile::TempDir,
    keys: (String, String),
}

impl MotoProcess {
    /// The region that it is asked about.
    pub const REGION: &'static str = "eu-west-1";

    /// Starts moto, and makes a user with an access key. Before anybody has to sign, ECR's API is asked for
    /// these actions.
    ///
    /// # Panics
    ///
    /// moto is not installed, or does not start.
    pub fn start(actions: &[(&str, serde_json::Value)]) -> Self {
        let program = program();
        assert!(
            program.is_file(),
            "moto is missing at {}: run scripts/setup, and source target/dockit-setup/env if its \
             state is elsewhere",
            program.display()
        );
        for _ in 1..START_ATTEMPTS {
            if let Ok(moto) = Self::try_start(&program, actions) {
                return moto;
            }
        }
        Self::try_start(&program, actions)
            .unwrap_or_else(|log| panic!("moto does not start: {log}"))
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The name of the user's access key.
    pub fn access_key(&self) -> &str {
        &self.keys.0
    }

    /// What signs the user's requests.
    pub fn secret_key(&self) -> &str {
        &self.keys.1
    }

    fn try_start(program: &Path, actions: &[(&str, serde_json::Value)]) -> Result<Self, String> {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.expect("loopback has a free port").port();
        let log = directory.path().join("log");
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(program)
            .arg(port.to_string())
            .arg(&log)
            .env("INITIAL_NO_AUTH_ACTION_COUNT", (MAKE_USER + actions.len()).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("every system has a shell");
        let host = format!("127.0.0.1:{port}");
        let keys = (String::new(), String::new());
        let mut moto = Self { host, supervisor, directory, keys };
        let start = Instant::now();
        // This page is nobody's service.
        while exchange(&moto.host, "GET", "/moto-api/", &[], b"").is_err() {
            if start.elapsed() > START_TIMEOUT {
                return Err(moto.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        for (action, body) in actions {
            let target = format!("AmazonEC2ContainerRegistry_V20150921.{action}");
            let body = body.to_string();
            moto.ask(
                "ecr",
                Self::REGION,
                &body,
                &[("Content-Type", "application/x-amz-json-1.1"), ("X-Amz-Target", &target)],
            )?;
        }
        moto.ask_iam("Action=CreateUser&UserName=ci")?;
        let policy: String = POLICY.bytes().map(|byte| format!("%{byte:02X}")).collect();
        moto.ask_iam(&format!(
            "Action=PutUserPolicy&UserName=ci&PolicyName=ecr&PolicyDocument={policy}"
        ))?;
        let reply = moto.ask_iam("Action=CreateAccessKey&UserName=ci")?;
        let element = |name: &str| {
            let (_, rest) = reply.split_once(&format!("<{name}>"))?;
            Some(rest.split_once('<')?.0.to_owned())
        };
        let keys = element("AccessKeyId").zip(element("SecretAccessKey"));
        moto.keys = keys.ok_or_else(|| format!("no access key: {reply}"))?;
        Ok(moto)
    }

    fn ask_iam(&self, form: &str) -> Result<String, String> {
        let form = format!("{form}&Version=2010-05-08");
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        self.ask("iam", "us-east-1", &form, &headers)
    }

    /// Asks a service, which is told by what should be the signature.
    fn ask(
        &self,
        service: &str,
        region: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Result<String, String> {
        let scope = format!("Credential=nobody/20260101/{region}/{service}/aws4_request");
        let authorization = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=none");
        let mut headers = headers.to_vec();
        headers.push(("Authorization", &authorization));
        let reply = exchange(&self.host, "POST", "/", &headers, body.as_bytes());
        let reply = reply.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        if reply.status() == 200 { Ok(text) } else { Err(format!("{text}\n{}", self.log())) }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for MotoProcess {
    fn drop(&mut self) {
        // The end of its input is the supervisor's sign to end it.
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// Where `scripts/setup` says that it is, or where it puts it in this checkout.
#[expect(clippy::disallowed_methods, reason = "scripts/setup has its state where it is told to")]
fn program() -> PathBuf {
    let usual = || {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        checkout.join("target/dockit-setup/moto/bin/moto_server")
    };
    std::env::var_os("DOCKIT_MOTO_SERVER").map_or_else(usual, PathBuf::from)
}
