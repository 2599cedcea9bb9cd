//! `RUN --mount=type=ssh`: `moby.sshforward.v1.SSH`
//! (<https://github.com/moby/buildkit/blob/master/session/sshforward/ssh.proto>).
//!
//! A build may ask an agent which keys it has, and to sign with them. It may not add, remove or lock keys:
//! those requests do not reach the agent (<https://datatracker.ietf.org/doc/html/draft-ietf-sshm-ssh-agent>).

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bollard_buildkit_proto::moby::sshforward::v1::ssh_server::Ssh;
use bollard_buildkit_proto::moby::sshforward::v1::{
    BytesMessage, CheckAgentRequest, CheckAgentResponse,
};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tonic::{Request, Response, Status, Streaming};

/// The identifier of a mount that names none.
const DEFAULT: &str = "default";

/// The longest message of an agent; OpenSSH's own limit.
const LONGEST: usize = 256 * 1024;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;

#[derive(Clone)]
pub(super) struct Agents(pub(super) Arc<BTreeMap<String, PathBuf>>);

impl Agents {
    pub(super) const METHODS: &[&str] = &["CheckAgent", "ForwardAgent"];

    fn socket(&self, id: &str) -> Result<&PathBuf, Status> {
        let id = if id.is_empty() { DEFAULT } else { id };
        self.0.get(id).ok_or_else(|| Status::not_found(format!("no ssh agent {id} is offered")))
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<BytesMessage, Status>> + Send>>;

#[async_trait]
impl Ssh for Agents {
    type ForwardAgentStream = Messages;

    async fn check_agent(
        &self,
        request: Request<CheckAgentRequest>,
    ) -> Result<Response<CheckAgentResponse>, Status> {
        self.socket(&request.into_inner().id)?;
        Ok(Response::new(CheckAgentResponse {}))
    }

    async fn forward_agent(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Messages>, Status> {
        let id = request.metadata().get("buildkit.ssh.id").and_then(|id| id.to_str().ok());
        let path = self.socket(id.unwrap_or_default())?;
        let agent = connect(path).await.map_err(|error| {
            Status::unavailable(format!("the ssh agent at {}: {error}", path.display()))
        })?;
        Ok(Response::new(Box::pin(answers(agent, request.into_inner()))))
    }
}

#[cfg(unix)]
async fn connect(path: &std::path::Path) -> io::Result<tokio::net::UnixStream> {
    tokio::net::UnixStream::connect(path).await
}

#[cfg(not(unix))]
async fn connect(_: &std::path::Path) -> io::Result<tokio::io::DuplexStream> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// What an agent answers to the requests in a stream of bytes. One request is answered before the next.
fn answers<A>(
    agent: A,
    requests: impl Stream<Item = Result<BytesMessage, Status>> + Send + Unpin + 'static,
) -> impl Stream<Item = Result<BytesMessage, Status>> + Send
where
    A: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let state = Some((agent, requests, Vec::new()));
    stream::unfold(state, |state| async move {
        let (mut agent, mut requests, mut bytes) = state?;
        match next_answer(&mut agent, &mut requests, &mut bytes).await {
            Ok(Some(data)) => Some((Ok(BytesMessage { data }), Some((agent, requests, bytes)))),
            Ok(None) => None,
            Err(error) => Some((Err(Status::aborted(format!("the ssh agent: {error}"))), None)),
        }
    })
}

async fn next_answer<A, R>(
    agent: &mut A,
    requests: &mut R,
    bytes: &mut Vec<u8>,
) -> io::Result<Option<Vec<u8>>>
where
    A: AsyncRead + AsyncWrite + Unpin,
    R: Stream<Item = Result<BytesMessage, Status>> + Unpin,
{
    let request = loop {
        if let Some(length) = message_length(bytes)?
            && bytes.len() >= length
        {
            let rest = bytes.split_off(length);
            break std::mem::replace(bytes, rest);
        }
        match requests.next().await {
            Some(Ok(message)) => bytes.extend_from_slice(&message.data),
            Some(Err(_)) | None => return Ok(None),
        }
    };
    if !matches!(request.get(4), Some(&(REQUEST_IDENTITIES | SIGN_REQUEST))) {
        return Ok(Some(vec![0, 0, 0, 1, FAILURE]));
    }
    agent.write_all(&request).await?;
    let mut answer = vec![0; 4];
    agent.read_exact(&mut answer).await?;
    if let Some(length) = message_length(&answer)? {
        answer.resize(length, 0);
        agent.read_exact(&mut answer[4..]).await?;
    }
    Ok(Some(answer))
}

/// How long the message is that begins here, with its own length in front.
fn message_length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(&length) = bytes.first_chunk::<4>() else {
        return Ok(None);
    };
    match usize::try_from(u32::from_be_bytes(length)) {
        Ok(length) if (1..=LONGEST).contains(&length) => Ok(Some(4 + length)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a message has no sensible length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(1 + body.len()).unwrap();
        [&length.to_be_bytes()[..], &[kind], body].concat()
    }

    #[tokio::test]
    async fn an_agent_is_asked_for_keys_and_signatures_only() {
        let (near, mut far) = tokio::io::duplex(1024);
        let agent = tokio::spawn(async move {
            let mut seen = Vec::new();
            let mut request = [0; 5];
            while far.read_exact(&mut request).await.is_ok() {
                seen.push(request[4]);
                far.write_all(&message(request[4] + 1, b"yes")).await.unwrap();
            }
            seen
        });
        // Remove all, lock, an extension: not for a build.
        let all = [
            message(11, b""),
            message(19, b""),
            message(22, b""),
            message(27, b""),
            message(13, b""),
        ];
        // Bytes come in whatever pieces.
        let pieces: Vec<_> =
            all.concat().chunks(3).map(|piece| Ok(BytesMessage { data: piece.to_vec() })).collect();
        let answers: Vec<_> = answers(near, stream::iter(pieces)).collect().await;
        let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().data).collect();
        let refused = message(FAILURE, b"");
        let wanted =
            [message(12, b"yes"), refused.clone(), refused.clone(), refused, message(14, b"yes")];
        assert_eq!(answers, wanted);
        assert_eq!(agent.await.unwrap(), [11, 13]);
    }

    #[tokio::test]
    async fn a_message_without_sensible_length_ends_it() {
        let (near, _far) = tokio::io::duplex(1024);
        let endless = Ok(BytesMessage { data: vec![255; 5] });
        let answers: Vec<_> = answers(near, stream::iter([endless])).collect().await;
        assert!(matches!(answers.as_slice(), [Err(_)]), "{answers:?}");
    }
}
