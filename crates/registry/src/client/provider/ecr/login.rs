//! Logging in: `GetAuthorizationToken` gives a password for the registry itself, or for its token server
//! where the registry is public.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::asking::{Asking, time};
use super::endpoint::Service;
use crate::client::credential::{Credential, Issued, Secret};
use crate::error::{Error, ErrorKind};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authorization {
    authorization_token: String,
    expires_at: Option<f64>,
}

/// The reply about private registries.
#[derive(Deserialize)]
struct Several {
    #[serde(rename = "authorizationData")]
    data: Vec<Authorization>,
}

/// The reply about public registries.
#[derive(Deserialize)]
struct One {
    #[serde(rename = "authorizationData")]
    data: Authorization,
}

/// A user and a password, which are good for twelve hours.
pub(super) async fn issue(asking: &Asking) -> Result<Issued, Error> {
    const ACTION: &str = "GetAuthorizationToken";
    let authorization = match asking.endpoint.service {
        Service::Private => {
            let reply: Several = asking.ask(ACTION, json!({})).await?;
            reply.data.into_iter().next()
        }
        Service::Public => {
            let reply: One = asking.ask(ACTION, json!({})).await?;
            Some(reply.data)
        }
    };
    let invalid = || {
        let message = format!("the reply to {ACTION} holds no user and password");
        Error::new(ErrorKind::Invalid, message)
    };
    let Authorization { authorization_token, expires_at } = authorization.ok_or_else(invalid)?;
    let decoded = STANDARD.decode(authorization_token).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(invalid)?;
    let (username, password) = decoded.split_once(':').ok_or_else(invalid)?;
    let password = Secret::new(password);
    let credential = Credential::Basic { username: username.to_owned(), password };
    // Who gets what has expired already has another clock, and would ask again for every request.
    let expires = expires_at.and_then(time).filter(|expires| *expires > SystemTime::now());
    Ok(Issued { expires, ..credential.into() })
}
