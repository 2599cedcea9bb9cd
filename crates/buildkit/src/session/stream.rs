//! A session inside a call: how buildkitd, which has no HTTP/1.1 to leave, gets it
//! (<https://github.com/moby/buildkit/blob/master/session/grpchijack/dial.go>).

use bollard_buildkit_proto::moby::buildkit::v1::BytesMessage;
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use futures_util::stream;
use http::HeaderName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};

use crate::connection::{Calls, Io};
use crate::error::{Error, ErrorKind};

/// Bytes in one message; what BuildKit itself has.
const PIECE: usize = 32 * 1024;

/// Opens a session, and returns the stream in it.
pub(crate) async fn over_stream(
    control: &mut ControlClient<Calls>,
    headers: &[(HeaderName, String)],
    tasks: &mut JoinSet<()>,
) -> Result<impl Io + use<>, Error> {
    let (near, far) = tokio::io::duplex(2 * PIECE);
    let (from_near, mut to_near) = tokio::io::split(far);
    let outgoing = stream::unfold(from_near, |mut from_near| async move {
        let mut data = Vec::with_capacity(PIECE);
        match from_near.read_buf(&mut data).await {
            Ok(1..) => Some((BytesMessage { data }, from_near)),
            Ok(0) | Err(_) => None,
        }
    });
    let mut request = Request::new(outgoing);
    for (name, value) in headers {
        let broken = |_| Error::new(ErrorKind::Protocol, "a header of the session is no text");
        let name = MetadataKey::<Ascii>::from_bytes(name.as_str().as_bytes())
            .map_err(|_| Error::new(ErrorKind::Protocol, format!("{name} cannot be a header")))?;
        let value = MetadataValue::try_from(value.as_str()).map_err(broken)?;
        request.metadata_mut().append(name, value);
    }
    let answer = control.session(request).await;
    let mut incoming =
        answer.map_err(|status| Error::answered(&status, ErrorKind::Unavailable))?.into_inner();
    tasks.spawn(async move {
        while let Ok(Some(message)) = incoming.message().await {
            if to_near.write_all(&message.data).await.is_err() {
                return;
            }
        }
        // The other end has ended it.
        drop(to_near.shutdown().await);
    });
    Ok(near)
}
