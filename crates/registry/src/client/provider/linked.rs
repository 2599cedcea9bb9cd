//! Lists of vendors' APIs whose pages name the next one in a `Link` header (RFC 8288).

use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use serde::de::DeserializeOwned;

use crate::client::link::next_page;
use crate::client::transport::{Api, ApiCall};
use crate::error::{Error, ErrorKind};

/// Longest list, in pages: one whose pages never end is wrong.
const MAX_PAGES: usize = 10_000;

/// The pages, each of which is asked for when those before it were taken.
pub(super) fn pages<T: DeserializeOwned + Send + 'static>(
    api: Api,
    first: ApiCall,
) -> BoxStream<'static, Result<Vec<T>, Error>> {
    stream::try_unfold(Some((first, 1)), move |next| {
        let api = api.clone();
        async move {
            let Some((call, number)) = next else {
                return Ok(None);
            };
            let (page, links) = api.ask_page::<Vec<T>>(&call).await?;
            let next = match next_page(links.iter().map(String::as_str)) {
                None => None,
                Some(_) if number == MAX_PAGES => {
                    let message = format!("a list of {} goes on for ever", api.host());
                    return Err(Error::new(ErrorKind::Invalid, message));
                }
                Some(link) => Some((call.following(link)?, number + 1)),
            };
            Ok(Some((page, next)))
        }
    })
    .boxed()
}

/// The items of all pages.
pub(super) fn items<T: DeserializeOwned + Send + 'static>(
    api: Api,
    first: ApiCall,
) -> BoxStream<'static, Result<T, Error>> {
    let items = |page: Vec<T>| stream::iter(page.into_iter().map(Ok));
    pages(api, first).map_ok(items).try_flatten().boxed()
}
