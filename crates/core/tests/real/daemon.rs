//! A buildkitd of the test's own, empty at the start.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Runs until standard input ends, as it does when the test process dies.
const SUPERVISOR: &str = r#"
buildkitd --addr "unix://$1/buildkitd.sock" --root "$1/root" --config "$1/buildkitd.toml" \
    --oci-worker-net=host --containerd-worker=false </dev/null >"$1/log" 2>&1 &
child=$!
read -r _
kill "$child"
wait "$child"
"#;

/// A running buildkitd. Dropping it ends it, and waits until it has ended.
pub(crate) struct Daemon {
    supervisor: Child,
    address: String,
    // Goes after the daemon has ended.
    _directory: TempDir,
}

impl Daemon {
    /// Starts the `buildkitd` that is on the path, and waits until it answers or has ended.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::write(path.join("buildkitd.toml"), "").unwrap();
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("every system has a shell");
        while !answers(path) {
            let log = std::fs::read_to_string(path.join("log")).unwrap_or_default();
            let ended = supervisor.try_wait().unwrap().is_some() || has_ended(&log);
            assert!(!ended, "buildkitd, which has to be on the path, does not start: {log}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let address = format!("unix://{}/buildkitd.sock", path.display());
        Self { supervisor, address, _directory: directory }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

fn answers(directory: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(directory.join("buildkitd.sock")).is_ok()
}

/// What the shell, or the daemon, says last.
fn has_ended(log: &str) -> bool {
    log.contains("not found")
        || log.lines().last().is_some_and(|line| line.starts_with("buildkitd: "))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}
