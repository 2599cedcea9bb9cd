//! A program as one end of a connection: what is written goes to its standard input, what is read
//! comes from its standard output.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::task::JoinHandle;

use super::{GRACE, Group, Process, ProcessError};

/// Bytes of standard error that are kept for the message of a failure.
const TAIL: usize = 4 * 1024;

/// How long a program may take to end after it closed its output.
const END: Duration = Duration::from_secs(5);

/// How long a program may take to end by itself after nobody uses its pipe any more.
const PARTING: Duration = Duration::from_secs(1);

/// A running program as a stream of bytes in both directions. Dropping it closes its streams; what has
/// not ended by itself a second later is ended, with all that it has started. Where the runtime ends
/// before, that is at once.
///
/// Where the program ends with another exit code than 0, reading ends with an error that holds the
/// end of its standard error.
pub struct Pipe {
    input: Option<ChildStdin>,
    output: ChildStdout,
    state: State,
}

enum State {
    Running(Box<Running>),
    Ending(Pin<Box<dyn Future<Output = Result<(), String>> + Send>>),
    Ended(Result<(), String>),
}

struct Running {
    group: Group,
    program: String,
    errors: Errors,
}

impl Process {
    /// Starts it as a [`Pipe`]. Its time limit and output limit do not apply.
    ///
    /// # Errors
    ///
    /// It could not be started.
    pub fn open(&self) -> Result<Pipe, ProcessError> {
        let program = self.program.to_string_lossy().into_owned();
        let mut command = self.command();
        command.stdin(Stdio::piped());
        let mut group =
            self.spawn(command).map_err(|kind| ProcessError { program: program.clone(), kind })?;
        let child = &mut group.0;
        let input = child.stdin.take();
        let output = child.stdout.take().expect("it was given a pipe");
        let errors = Errors::new(child.stderr.take().expect("it was given a pipe"));
        let running = Running { group, program, errors };
        Ok(Pipe { input, output, state: State::Running(Box::new(running)) })
    }
}

impl Pipe {
    /// Waits for the program's end, once its output has ended.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.state = match &mut self.state {
                State::Running(_) => {
                    // Whoever reads its input would wait for more.
                    self.input = None;
                    let running = std::mem::replace(&mut self.state, State::Ended(Ok(())));
                    let State::Running(running) = running else { unreachable!("it was matched") };
                    State::Ending(Box::pin(running.end()))
                }
                State::Ending(end) => State::Ended(ready!(end.as_mut().poll(context))),
                State::Ended(end) => return Poll::Ready(end.clone().map_err(io::Error::other)),
            };
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.input = None;
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        // Whichever of these futures is dropped takes the whole group with it.
        match std::mem::replace(&mut self.state, State::Ended(Ok(()))) {
            State::Running(mut running) => {
                runtime.spawn(async move {
                    let _ = tokio::time::timeout(PARTING, running.group.0.wait()).await;
                });
            }
            State::Ending(end) => {
                runtime.spawn(async move {
                    let _ = tokio::time::timeout(PARTING, end).await;
                });
            }
            State::Ended(_) => {}
        }
    }
}

impl Running {
    async fn end(mut self: Box<Self>) -> Result<(), String> {
        let Ok(status) = tokio::time::timeout(END, self.group.0.wait()).await else {
            return Err(format!("{}: it closed its output and did not end", self.program));
        };
        if status.as_ref().is_ok_and(std::process::ExitStatus::success) {
            return Ok(());
        }
        // Something that it left behind may hold the stream for ever.
        let _ = tokio::time::timeout(GRACE, &mut self.errors.reader).await;
        let text = self.errors.text();
        Err(match (text.is_empty(), status) {
            (false, _) if text.starts_with(&format!("{}: ", self.program)) => text,
            (false, _) => format!("{}: {text}", self.program),
            (true, Ok(status)) => format!("{}: {status}", self.program),
            (true, Err(error)) => format!("{}: {error}", self.program),
        })
    }
}

/// The end of standard error, read by a task of its own so that the program never waits for it.
struct Errors {
    reader: JoinHandle<()>,
    tail: Arc<Mutex<Vec<u8>>>,
}

impl Errors {
    fn new(mut stream: ChildStderr) -> Self {
        let tail = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&tail);
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&buffer[..count]);
                let excess = kept.len().saturating_sub(TAIL);
                kept.drain(..excess);
            }
        });
        Self { reader, tail }
    }

    /// In one line.
    fn text(&self) -> String {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&tail);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(self.state, State::Running(_)) {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.output).poll_read(context, buffer))?;
            if buffer.filled().len() > before || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_end(context)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(input) = &mut self.input {
            match ready!(Pin::new(input).poll_write(context, bytes)) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                result => return Poll::Ready(result),
            }
        }
        // Its own words say more than that it does not listen any more.
        ready!(self.poll_end(context))?;
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.input {
            Some(input) => Pin::new(input).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(input) = &mut self.input {
            ready!(Pin::new(input).poll_shutdown(context))?;
        }
        // Only closing the pipe tells the program.
        self.input = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    fn shell(script: &str) -> Pipe {
        Process::new("sh", "/").args(["-c", script]).open().unwrap()
    }

    #[tokio::test]
    async fn bytes_go_through_a_program_in_both_directions() {
        let mut pipe = shell("cat; echo end");
        pipe.write_all(b"there and back ").await.unwrap();
        let mut start = [0; 15];
        pipe.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"there and back ");
        pipe.shutdown().await.unwrap();
        let mut rest = String::new();
        pipe.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "end\n");
    }

    #[tokio::test]
    async fn a_program_that_fails_says_why() {
        let mut pipe = shell("echo some; echo first >&2; echo '  last  ' >&2; exit 3");
        let mut text = Vec::new();
        let error = pipe.read_to_end(&mut text).await.unwrap_err();
        assert_eq!(
            (text.as_slice(), error.to_string().as_str()),
            (&b"some\n"[..], "sh: first; last")
        );
        let error = shell("exit 3").read_to_end(&mut text).await.unwrap_err();
        assert_eq!(error.to_string(), "sh: exit status: 3");
    }

    #[tokio::test]
    async fn a_program_that_does_not_listen_says_why() {
        let mut pipe = shell("exec <&-; echo no key >&2; exit 255");
        let error = loop {
            if let Err(error) = pipe.write_all(&[0; 65536]).await {
                break error;
            }
        };
        assert_eq!(error.to_string(), "sh: no key");
    }

    #[tokio::test]
    async fn dropping_it_lets_the_program_end_by_itself() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("ended");
        // Killed at once, it would write nothing.
        let mut pipe = shell(&format!("echo there; cat; echo x > '{}'", mark.display()));
        pipe.read_exact(&mut [0; 6]).await.unwrap();
        drop(pipe);
        let start = std::time::Instant::now();
        while !mark.exists() {
            assert!(start.elapsed() < Duration::from_secs(20), "it was killed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn dropping_it_ends_the_program() {
        let mut pipe = shell("echo $$; exec sleep 60");
        let mut id = [0; 32];
        let count = pipe.read(&mut id).await.unwrap();
        let id = String::from_utf8(id[..count].to_vec()).unwrap();
        drop(pipe);
        let start = std::time::Instant::now();
        let status = || std::fs::read_to_string(format!("/proc/{}/stat", id.trim()));
        while status().is_ok_and(|status| !status.contains(") Z")) {
            assert!(start.elapsed() < Duration::from_secs(20), "it still runs");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
