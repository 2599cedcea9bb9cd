//! The ways into a Docker Engine: `POST /grpc` and `POST /session`, which leave HTTP/1.1 for a raw stream
//! (<https://docs.docker.com/reference/api/engine/>, "Initialize interactive session").

use bytes::Bytes;
use http::header::{CONNECTION, HOST, UPGRADE};
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use super::dial::Io;
use crate::error::{Error, ErrorKind};

/// The most of an error's body that is read.
const MOST_ERROR: usize = 16 * 1024;

/// Has the engine take `io` for a raw stream of what `path` stands for.
pub(crate) async fn upgrade(
    io: Box<dyn Io>,
    path: &str,
    headers: &[(HeaderName, String)],
    tasks: &mut JoinSet<()>,
) -> Result<impl Io + use<>, Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(Error::lost)?;
    tasks.spawn(async move {
        // Whoever waits for the answer is told.
        drop(connection.with_upgrades().await);
    });
    let mut request = Request::post(path)
        // Nobody looks it up; an engine wants some name.
        .header(HOST, "localhost")
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "h2c");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| Error::new(ErrorKind::Protocol, error.to_string()))?;
    let response = sender.send_request(request).await.map_err(Error::lost)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(path, response).await);
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(Error::lost)?;
    Ok(TokioIo::new(upgraded))
}

async fn refusal(path: &str, response: Response<Incoming>) -> Error {
    let status = response.status();
    let kind = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Refused,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
            ErrorKind::Unsupported
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            ErrorKind::Unavailable
        }
        _ => ErrorKind::Protocol,
    };
    let body = Limited::new(response.into_body(), MOST_ERROR).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let said = serde_json::from_slice::<serde_json::Value>(&body).ok();
    let said = said.as_ref().and_then(|value| value["message"].as_str()).unwrap_or_default();
    Error::new(kind, format!("POST {path}: {status} {said}").trim_end())
}
