//! Looking up what a list only names, several items at a time.

use std::collections::VecDeque;

use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use tokio::task::JoinHandle;

use crate::error::Error;

/// A lookup that goes on whether or not anybody waits for it, and ends when nobody can any more.
struct Lookup<T>(JoinHandle<Result<T, Error>>);

impl<T> Drop for Lookup<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the items of a list are found to be, in the order of the list, this many at a time.
///
/// A request has a permit of its host, or waits in line for one. Whoever takes an item and asks the same
/// host for something else before the next one would wait for ever behind requests that nobody drives; so
/// each lookup is a task, and the list itself is not under way while an item is out.
pub(super) fn looked_up<'a, I, T, F>(
    items: BoxStream<'a, Result<I, Error>>,
    at_a_time: usize,
    lookup: impl Fn(I) -> F + Send + 'a,
) -> BoxStream<'a, Result<T, Error>>
where
    I: Send + 'a,
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let start = (Some(items), VecDeque::<Result<Lookup<T>, Error>>::new(), lookup);
    stream::try_unfold(start, move |(mut items, mut begun, lookup)| async move {
        while begun.len() < at_a_time
            && let Some(list) = &mut items
        {
            match list.try_next().await {
                Ok(Some(item)) => begun.push_back(Ok(Lookup(tokio::spawn(lookup(item))))),
                Ok(None) => items = None,
                // What was listed before is still to be had.
                Err(error) => {
                    begun.push_back(Err(error));
                    items = None;
                }
            }
        }
        let Some(first) = begun.pop_front() else { return Ok(None) };
        let found = match (&mut first?.0).await {
            Ok(found) => found?,
            // Nobody aborts a lookup that is waited for.
            Err(failure) => std::panic::resume_unwind(failure.into_panic()),
        };
        Ok(Some((found, (items, begun, lookup))))
    })
    .boxed()
}
