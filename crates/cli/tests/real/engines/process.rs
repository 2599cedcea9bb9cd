//! A program that runs as long as a test does.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest that a program may take to be ready.
const START: Duration = Duration::from_secs(60);

/// Runs what follows its first two arguments until standard input ends, as it does when the test
/// process dies. Before it and after it runs the scripts that these two are.
const SUPERVISOR: &str = r#"
before=$1 after=$2 log=$3
shift 3
sh -ec "$before" >"$log" 2>&1 || exit 1
"$@" </dev/null >>"$log" 2>&1 &
child=$!
read -r _
kill "$child"
wait "$child"
sh -c "$after"
"#;

/// A running program. Dropping it ends it, and waits until it has ended.
pub(super) struct Running {
    supervisor: Child,
}

impl Running {
    /// Starts a command and waits until it is ready. It writes to `log`.
    pub(super) fn start(
        command: &mut Command,
        (before, after): (&str, &str),
        log: &Path,
        ready: impl Fn() -> bool,
    ) -> Self {
        let mut supervisor = Command::new("sh");
        supervisor
            .args(["-c", SUPERVISOR, "sh", before, after])
            .arg(log)
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for (name, value) in command.get_envs() {
            supervisor.env(name, value.expect("nothing is taken away"));
        }
        let mut running =
            Self { supervisor: supervisor.spawn().expect("every system has a shell") };
        let start = Instant::now();
        while !ready() {
            let ended = running.supervisor.try_wait().unwrap().is_some();
            if ended || start.elapsed() > START {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                panic!("{:?} is not ready: {text}", command.get_program());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}
