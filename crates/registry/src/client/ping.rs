//! Whether a registry takes a credential (distribution spec, *Determining Support*; Docker's tools log in
//! in the same way).

use reqwest::StatusCode;

use super::credential::Credential;
use super::transport::{Call, Transport};
use crate::error::{Error, ErrorKind};
use crate::reference::RegistryHost;

/// What a registry that answered is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ping {
    /// It asked who is asking, and was told with a credential, and not as anybody.
    pub authenticated: bool,
}

pub(super) async fn ping(transport: &Transport, host: &RegistryHost) -> Result<Ping, Error> {
    let asks = transport.asks_who(host).await?;
    let reply = transport
        .retrying(async || {
            let reply = transport.send(&Call::ping(host)).await?;
            let page = reply.media_type().as_deref() == Some("text/html");
            match reply.status() {
                StatusCode::OK if !page => Ok(()),
                // Some answer 404 to whoever is in; but who asked nobody is in no way a registry.
                StatusCode::NOT_FOUND if asks && !page => Ok(()),
                StatusCode::OK | StatusCode::NOT_FOUND => {
                    let message = "this is no registry: it does not answer as one";
                    Err(reply.reason().error(ErrorKind::Invalid, message))
                }
                _ => Err(reply.into_error().await),
            }
        })
        .await;
    reply?;
    let authenticated = asks && transport.credential(host).await? != Credential::Anonymous;
    Ok(Ping { authenticated })
}
