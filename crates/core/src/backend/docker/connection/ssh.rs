//! An engine behind ssh: `ssh … docker system dial-stdio`, as `docker` connects to it
//! (<https://github.com/docker/cli/tree/master/cli/connhelper>). Keys, hosts that are known and
//! everything else are ssh's own configuration.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use crate::backend::endpoint::SshAddress;
use crate::process::{Pipe, Process, ProcessError};

/// Makes each connection with a process of its own.
#[derive(Clone)]
pub(super) struct Connector(Process);

impl Connector {
    pub(super) fn new(address: &SshAddress) -> Self {
        Self(to_engine(address))
    }
}

/// What connects to an engine: `docker system dial-stdio` over there.
pub(in crate::backend) fn to_engine(address: &SshAddress) -> Process {
    Process::new("ssh", "/").args(arguments(address))
}

/// What connects to a buildkitd: `buildctl dial-stdio` over there, as `buildctl` does it
/// (<https://github.com/moby/buildkit/tree/master/client/connhelper/ssh>).
pub(in crate::backend) fn to_buildkit(address: &SshAddress) -> Process {
    Process::new("ssh", "/").args(buildkit_arguments(address))
}

fn buildkit_arguments(address: &SshAddress) -> Vec<String> {
    let mut arguments = up_to_the_command(address);
    arguments.push("buildctl".to_owned());
    if let Some(socket) = &address.socket {
        arguments.push(format!("--addr=unix://{socket}"));
    }
    arguments.push("dial-stdio".to_owned());
    arguments
}

fn arguments(address: &SshAddress) -> Vec<String> {
    let mut arguments = up_to_the_command(address);
    arguments.push("docker".to_owned());
    if let Some(socket) = &address.socket {
        arguments.push(format!("--host=unix://{socket}"));
    }
    arguments.extend(["system".to_owned(), "dial-stdio".to_owned()]);
    arguments
}

/// The address was checked to hold nothing that a shell over there would take for more than a word.
fn up_to_the_command(address: &SshAddress) -> Vec<String> {
    // Nobody can be asked for a password: where ssh would ask, it says that it may not. A master that is
    // there already is used, but none of these becomes one: its end would be that of all connections
    // through it, also of other runs.
    let always = ["-o", "ConnectTimeout=30", "-o", "BatchMode=yes", "-o", "ControlMaster=no", "-T"];
    let mut arguments: Vec<String> = always.map(str::to_owned).into();
    if let Some(user) = &address.user {
        arguments.extend(["-l".to_owned(), user.clone()]);
    }
    if let Some(port) = address.port {
        arguments.extend(["-p".to_owned(), port.to_string()]);
    }
    arguments.extend(["--".to_owned(), address.host.clone()]);
    arguments
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = ProcessError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, ProcessError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ProcessError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let process = self.0.clone();
        Box::pin(async move { Ok(Stream(TokioIo::new(process.open()?))) })
    }
}

/// A connection.
pub(super) struct Stream(TokioIo<Pipe>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_that_of_docker() {
        let address = |text: &str| match text.parse() {
            Ok(crate::backend::endpoint::EngineAddress::Ssh(address)) => address,
            other => panic!("{other:?}"),
        };
        let words = |text: &str| arguments(&address(text)).join(" ");
        let buildkit = |text: &str| buildkit_arguments(&address(text)).join(" ");
        let always = "-o ConnectTimeout=30 -o BatchMode=yes -o ControlMaster=no -T";
        assert_eq!(words("ssh://box"), format!("{always} -- box docker system dial-stdio"));
        assert_eq!(
            words("ssh://me@box:2222/run/d.sock"),
            format!(
                "{always} -l me -p 2222 -- box docker --host=unix:///run/d.sock system dial-stdio"
            )
        );
        assert_eq!(buildkit("ssh://box"), format!("{always} -- box buildctl dial-stdio"));
        assert_eq!(
            buildkit("ssh://box/run/b.sock"),
            format!("{always} -- box buildctl --addr=unix:///run/b.sock dial-stdio")
        );
    }
}
