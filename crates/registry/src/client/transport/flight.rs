//! Work that several tasks wait for and one does.

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};

use crate::error::Error;

/// A future whose result every waiting task gets, a failure too. Whichever task is polled drives it,
/// so that a cancelled task does not take the others with it.
pub(super) type Flight<T> = Shared<BoxFuture<'static, Result<T, Error>>>;

pub(super) fn start<T: Clone + Send + Sync>(
    future: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Flight<T> {
    future.boxed().shared()
}
