//! Requests to ECR's API: JSON in the body, the action in a header, and a signature.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::endpoint::Endpoint;
use crate::client::identity::AwsKeys;
use crate::client::transport::Api;
use crate::error::{Error, ErrorKind};

/// Entries of a page, the most that the API takes.
const PAGE_LENGTH: u32 = 1000;

/// Longest list, in pages: one whose pages never end is wrong.
const MAX_PAGES: usize = 10_000;

/// Who asks which API.
pub(super) struct Asking {
    pub(super) api: Api,
    pub(super) endpoint: Endpoint,
    pub(super) keys: AwsKeys,
}

impl Asking {
    /// The reply to an action, again where that may help.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        action: &str,
        body: Value,
    ) -> Result<T, Error> {
        // Signed for each try: a signature is good for some minutes, and tries may last longer.
        let body = body.to_string();
        self.api.ask_json_anew(|| self.call(action, body.clone())).await
    }

    /// The parameters, with the account whose registry is meant, if its name says it.
    ///
    /// Otherwise it is that of the identity. The API of public registries is only ever asked about that.
    pub(super) fn about(&self, mut body: Value) -> Value {
        if let Some(account) = &self.endpoint.account {
            body["registryId"] = json!(account);
        }
        body
    }

    #[cfg(feature = "aws")]
    fn call(&self, action: &str, body: String) -> Result<crate::client::transport::ApiCall, Error> {
        super::signature::signed(&self.endpoint, &self.keys, action, body)
    }

    #[cfg(not(feature = "aws"))]
    #[expect(clippy::unused_self, reason = "the keys sign where there is the feature")]
    fn call(&self, _: &str, _: String) -> Result<crate::client::transport::ApiCall, Error> {
        Err(Error::new(ErrorKind::Unsupported, super::NOBODY_ASKS))
    }
}

/// A page of a list.
pub(super) trait Page: DeserializeOwned + Send {
    type Item: Send;
    const ACTION: &str;

    /// Its items, and what the next page is asked for with.
    fn parts(self) -> (Vec<Self::Item>, Option<String>);
}

/// The items of all pages. A page is asked for when all before it were taken.
pub(super) fn pages<P: Page>(
    asking: Arc<Asking>,
    body: Value,
) -> impl stream::Stream<Item = Result<P::Item, Error>> + Send + 'static
where
    P::Item: 'static,
{
    let mut body = asking.about(body);
    body["maxResults"] = json!(PAGE_LENGTH);
    stream::try_unfold((Some(body), 0), move |(body, number)| {
        let asking = Arc::clone(&asking);
        async move {
            let Some(mut body) = body else { return Ok(None) };
            if number == MAX_PAGES {
                return Err(Error::new(ErrorKind::Invalid, "the list goes on for ever"));
            }
            let page: P = asking.ask(P::ACTION, body.clone()).await?;
            let (items, next) = page.parts();
            let next = match next {
                Some(token) if body["nextToken"] == *token => {
                    return Err(Error::new(ErrorKind::Invalid, "the list goes on for ever"));
                }
                Some(token) => {
                    body["nextToken"] = json!(token);
                    Some(body)
                }
                None => None,
            };
            let items = stream::iter(items.into_iter().map(Ok));
            Ok::<_, Error>(Some((items, (next, number + 1))))
        }
    })
    .try_flatten()
    .boxed()
}

/// A time in seconds since 1970, as the API writes them.
pub(super) fn time(seconds: f64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}
