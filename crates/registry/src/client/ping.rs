//! Whether a registry takes a credential (distribution spec, *Determining Support*; Docker's tools log in
//! in the same way).

use reqwest::StatusCode;

use super::credential::Credential;
use super::transport::{Call, Transport};
use crate::error::Error;
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
            match reply.status() {
                // Some answer 404 to whoever is in.
                StatusCode::OK | StatusCode::NOT_FOUND => Ok(()),
                _ => Err(reply.into_error().await),
            }
        })
        .await;
    reply?;
    let authenticated = asks && transport.credential(host).await? != Credential::Anonymous;
    Ok(Ping { authenticated })
}
