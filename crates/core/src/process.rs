//! Running other programs. The one place of this crate that starts a process.

mod pipe;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio_util::sync::CancellationToken;

use crate::secrets::SecretValue;

pub use pipe::Pipe;

/// How long the output of a program that has ended is still read: something that it left behind may
/// hold its streams for ever.
const GRACE: Duration = Duration::from_millis(500);

/// A program to run, with what it gets and what it may take.
///
/// It runs in a process group of its own, without standard input unless it is given [`input`](Self::input). It inherits the environment of
/// this process, with [`env`](Self::env) added and [`without_env`](Self::without_env) taken away.
/// Whatever ends the run early (its time limit, a cancellation, a caller that drops the future) ends
/// the whole group.
#[derive(Clone, Debug)]
pub struct Process {
    program: OsString,
    arguments: Vec<OsString>,
    directory: PathBuf,
    environment: Vec<(OsString, OsString)>,
    input: Option<SecretValue>,
    removed: Vec<OsString>,
    time_limit: Duration,
    output_limit: usize,
}

/// How a program ended, and what it wrote.
#[derive(Clone, Debug)]
pub struct ProcessOutput {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Captured,
    /// Standard error.
    pub stderr: Captured,
}

/// What a program wrote to one stream, up to a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// The last bytes: the end says what went wrong.
    pub bytes: Vec<u8>,
    /// Whether there was more before them.
    pub truncated: bool,
}

/// Why a program has no [`ProcessOutput`].
#[derive(Debug, thiserror::Error)]
#[error("{program}: {kind}")]
pub struct ProcessError {
    /// The program.
    pub program: String,
    /// What happened.
    #[source]
    pub kind: ProcessErrorKind,
}

/// Kinds of [`ProcessError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessErrorKind {
    /// There is no such program.
    #[error("not found")]
    NotFound,
    /// It could not be started, or its output not be read.
    #[error("{0}")]
    Io(std::io::Error),
    /// It took longer than its time limit.
    #[error("not done within {} seconds", .0.as_secs_f64())]
    TimedOut(Duration),
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Process {
    /// A program, by path or by name in the search path, that runs in this directory for at most ten
    /// minutes, and of whose output at most 1 MiB is kept for each stream.
    pub fn new(program: impl AsRef<OsStr>, directory: impl Into<PathBuf>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            directory: directory.into(),
            environment: Vec::new(),
            input: None,
            removed: Vec::new(),
            time_limit: Duration::from_secs(600),
            output_limit: 1024 * 1024,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Takes a variable out of the environment that it inherits.
    #[must_use]
    pub fn without_env(mut self, name: impl AsRef<OsStr>) -> Self {
        self.removed.push(name.as_ref().to_owned());
        self
    }

    /// Gives it this as standard input. What must not stand among arguments goes this way.
    #[must_use]
    pub fn input(mut self, input: SecretValue) -> Self {
        self.input = Some(input);
        self
    }

    /// How long it may run.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// How many bytes of each stream are kept.
    #[must_use]
    pub fn output_limit(mut self, limit: usize) -> Self {
        self.output_limit = limit;
        self
    }

    /// The directory that it runs in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs it to its end, whatever its exit code.
    ///
    /// # Errors
    ///
    /// It could not be started, took too long, or was cancelled.
    pub async fn run(&self, cancel: &CancellationToken) -> Result<ProcessOutput, ProcessError> {
        self.run_observed(cancel, &|_| {}).await
    }

    /// Runs it to its end as [`run`](Self::run) does, and hands over what it writes to either stream
    /// as it comes.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_observed(
        &self,
        cancel: &CancellationToken,
        output: &(dyn Fn(&[u8]) + Sync),
    ) -> Result<ProcessOutput, ProcessError> {
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(ProcessErrorKind::Cancelled),
            () = tokio::time::sleep(self.time_limit) => {
                Err(ProcessErrorKind::TimedOut(self.time_limit))
            }
            result = self.run_unbounded(output) => result,
        };
        result.map_err(|kind| ProcessError {
            program: self.program.to_string_lossy().into_owned(),
            kind,
        })
    }

    /// Everything but its standard input.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for name in &self.removed {
            command.env_remove(name);
        }
        command
            .args(&self.arguments)
            .current_dir(&self.directory)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        command
    }

    fn spawn(&self, mut command: Command) -> Result<Group, ProcessErrorKind> {
        let child = command.spawn().map_err(|error| match error.kind() {
            // A missing directory is reported in the same way.
            std::io::ErrorKind::NotFound if self.directory.is_dir() => ProcessErrorKind::NotFound,
            _ => ProcessErrorKind::Io(error),
        })?;
        Ok(Group(child))
    }

    async fn run_unbounded(
        &self,
        output: &(dyn Fn(&[u8]) + Sync),
    ) -> Result<ProcessOutput, ProcessErrorKind> {
        let mut command = self.command();
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut group = self.spawn(command)?;
        let feed = feed(group.0.stdin.take(), self.input.as_ref());
        let mut stdout = Tail::new(group.0.stdout.take(), self.output_limit);
        let mut stderr = Tail::new(group.0.stderr.take(), self.output_limit);
        let status = {
            let streams = async { tokio::join!(feed, stdout.read(output), stderr.read(output)) };
            tokio::pin!(streams);
            let mut open = true;
            let status = loop {
                tokio::select! {
                    _ = &mut streams, if open => open = false,
                    status = group.0.wait() => break status.map_err(ProcessErrorKind::Io)?,
                }
            };
            if open {
                let _ = tokio::time::timeout(GRACE, &mut streams).await;
            }
            status
        };
        Ok(ProcessOutput {
            code: status.code(),
            stdout: stdout.captured(),
            stderr: stderr.captured(),
        })
    }
}

impl ProcessOutput {
    /// Whether the exit code is 0.
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }
}

impl Captured {
    /// As text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Writes a program's standard input. One that ends without reading it all is none the worse.
async fn feed(stdin: Option<ChildStdin>, input: Option<&SecretValue>) {
    if let Some((mut stdin, input)) = stdin.zip(input) {
        let _ = stdin.write_all(input.reveal()).await;
    }
}

/// Ends the whole process group, unless its leader has ended by itself.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // As long as the leader has not been waited for, its id is nobody else's.
        #[cfg(unix)]
        if let Some(group) =
            self.0.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?))
        {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// The end of a stream. What was read stays when reading is given up.
struct Tail<R> {
    stream: Option<R>,
    captured: Captured,
    limit: usize,
}

impl<R: AsyncRead + Unpin> Tail<R> {
    fn new(stream: Option<R>, limit: usize) -> Self {
        Self { stream, captured: Captured::default(), limit }
    }

    async fn read(&mut self, output: &(dyn Fn(&[u8]) + Sync)) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let mut buffer = vec![0; 16 * 1024];
        // An error ends the stream as its end does; what was read until then is all there is.
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            output(&buffer[..count]);
            self.captured.append(&buffer[..count], self.limit);
        }
    }

    fn captured(mut self) -> Captured {
        self.captured.shorten(self.limit);
        self.captured
    }
}

impl Captured {
    /// Adds what came next, and keeps at most twice the limit, so that the start is not moved away for
    /// every piece; [`shorten`](Self::shorten) at the end.
    pub(crate) fn append(&mut self, bytes: &[u8], limit: usize) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > 2 * limit {
            self.shorten(limit);
        }
    }

    /// Keeps the last bytes up to the limit.
    pub(crate) fn shorten(&mut self, limit: usize) {
        let excess = self.bytes.len().saturating_sub(limit);
        if excess > 0 {
            self.bytes.drain(..excess);
            self.truncated = true;
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Process {
        Process::new("sh", "/").args(["-c", script])
    }

    async fn run(process: &Process) -> Result<ProcessOutput, ProcessError> {
        process.run(&CancellationToken::new()).await
    }

    #[tokio::test]
    async fn output_code_directory_and_environment_are_as_asked() {
        let directory = tempfile::tempdir().unwrap();
        let process = Process::new("sh", directory.path())
            .args(["-c", "pwd; echo $GIVEN >&2; test -n \"$HOME\" || exit 4; read line || exit 3"])
            .env("GIVEN", "a  b");
        let output = run(&process.clone().env("HOME", "/")).await.unwrap();
        assert_eq!((output.code, output.succeeded()), (Some(3), false), "there is no input");
        let expected = directory.path().canonicalize().unwrap();
        assert_eq!(output.stdout.text().trim_end(), expected.to_str().unwrap());
        assert_eq!(output.stderr.text(), "a b\n");
        let output = run(&process.without_env("HOME")).await.unwrap();
        assert_eq!(output.code, Some(4));
    }

    #[tokio::test]
    async fn what_it_is_given_it_reads_to_its_end() {
        let text = "0123456789\n".repeat(20_000);
        let process = shell("cat; echo end").input(SecretValue::new(text.as_str()));
        assert!(!format!("{process:?}").contains("0123"));
        let output = run(&process).await.unwrap();
        assert_eq!(output.stdout.text(), text + "end\n");
        let output =
            run(&shell("exit 3").input(SecretValue::new("x".repeat(200_000)))).await.unwrap();
        assert_eq!(output.code, Some(3), "it read nothing");
    }

    #[tokio::test]
    async fn of_long_output_the_end_is_kept() {
        let process = shell("for i in 1 2 3 4 5; do printf '%50000s' $i; done").output_limit(3);
        let output = run(&process).await.unwrap();
        assert_eq!(output.stdout, Captured { bytes: b"  5".to_vec(), truncated: true });
        assert_eq!(output.stderr, Captured::default());
    }

    #[tokio::test]
    async fn output_can_be_seen_before_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let go = directory.path().join("go");
        let process = Process::new("sh", directory.path())
            .args(["-c", "echo one; while [ ! -e go ]; do sleep 0.01; done; echo two >&2"]);
        let seen = std::sync::Mutex::new(Vec::new());
        let output = process
            .run_observed(&CancellationToken::new(), &|bytes| {
                seen.lock().unwrap().extend_from_slice(bytes);
                // Without having been seen, it would wait for ever.
                std::fs::write(&go, "").unwrap();
            })
            .await
            .unwrap();
        assert_eq!((output.stdout.text(), output.stderr.text()), ("one\n".into(), "two\n".into()));
        assert_eq!(*seen.lock().unwrap(), b"one\ntwo\n");
    }

    #[tokio::test]
    async fn what_cannot_run_says_why() {
        let missing = run(&Process::new("no-such-program-here", "/")).await.unwrap_err();
        assert!(matches!(missing.kind, ProcessErrorKind::NotFound), "{missing}");
        let nowhere = run(&Process::new("sh", "/no/such/directory")).await.unwrap_err();
        assert!(matches!(nowhere.kind, ProcessErrorKind::Io(_)), "{nowhere}");
    }

    /// The process that the script wrote to a file is gone, children of children included.
    async fn ends_the_group(end: impl AsyncFnOnce(Process)) {
        let directory = tempfile::tempdir().unwrap();
        let script = "sh -c 'echo $$ > pid.new; mv pid.new pid; exec sleep 60' & wait";
        let start = Instant::now();
        end(Process::new("sh", directory.path()).args(["-c", script])).await;
        let pid = std::fs::read_to_string(directory.path().join("pid")).unwrap();
        let status = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        // A zombie that nobody waits for is as dead as one that is gone.
        while status().is_ok_and(|status| !status.contains(") Z")) {
            assert!(start.elapsed() < Duration::from_secs(20), "it still runs");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_time_limit_ends_the_whole_group() {
        ends_the_group(async |process| {
            let limit = Duration::from_millis(700);
            let error = run(&process.time_limit(limit)).await.unwrap_err();
            assert!(matches!(error.kind, ProcessErrorKind::TimedOut(_)), "{error}");
            assert_eq!(error.to_string(), "sh: not done within 0.7 seconds");
        })
        .await;
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_cancellation_ends_the_whole_group() {
        ends_the_group(async |process| {
            let cancel = CancellationToken::new();
            let pid = process.directory().join("pid");
            let (result, ()) = tokio::join!(process.run(&cancel), async {
                while !pid.exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                cancel.cancel();
            });
            assert!(matches!(result.unwrap_err().kind, ProcessErrorKind::Cancelled));
        })
        .await;
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_is_not_waited_for() {
        let start = Instant::now();
        let output = run(&shell("echo done; sleep 30 & exit 0")).await.unwrap();
        assert_eq!(output.stdout.text(), "done\n");
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
