//! What Azure Pipelines says of a job, for an application that trusts it (Azure DevOps: *Oidctoken -
//! Create*).

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::ClientMethodOptions;
use azure_identity::ClientAssertion;
use serde::Deserialize;
use url::Url;

use super::door::{Door, ask};
use crate::client::credential::Secret;

const WHAT: &str = "SYSTEM_OIDCREQUESTURI";

pub(super) struct PipelinesAssertion {
    address: String,
    connection: String,
    token: Secret,
    door: Option<Arc<Door>>,
}

impl PipelinesAssertion {
    pub(super) fn new(address: String, connection: String, token: Secret) -> Self {
        Self { address, connection, token, door: None }
    }

    pub(super) fn through(&self, door: Arc<Door>) -> Self {
        let Self { address, connection, token, .. } = self;
        let (address, connection) = (address.clone(), connection.clone());
        Self { address, connection, token: token.clone(), door: Some(door) }
    }

    async fn get(&self) -> Result<String, String> {
        #[derive(Deserialize)]
        struct Reply {
            #[serde(rename = "oidcToken")]
            token: String,
        }

        let mut url = Url::parse(&self.address).map_err(|_| format!("{WHAT} is no URL"))?;
        url.query_pairs_mut()
            .append_pair("api-version", "7.1")
            .append_pair("serviceConnectionId", &self.connection);
        let door = self.door.as_ref().ok_or("no connections")?;
        let client = door.remote(&url);
        let request = client
            .post(url)
            .bearer_auth(self.token.expose())
            .header("X-TFS-FedAuthRedirect", "Suppress")
            .header("Content-Length", "0");
        match ask::<Reply>(WHAT, request).await.map_err(|error| error.to_string())? {
            Ok(reply) => Ok(reply.token),
            Err(refused) => Err(format!("{WHAT}: {} {}", refused.status, refused.description)),
        }
    }
}

#[async_trait]
impl ClientAssertion for PipelinesAssertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let failed = |problem| azure_core::Error::with_message(ErrorKind::Credential, problem);
        self.get().await.map_err(failed)
    }
}

impl fmt::Debug for PipelinesAssertion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PipelinesAssertion")
    }
}
