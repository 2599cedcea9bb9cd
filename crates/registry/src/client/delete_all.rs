//! Deleting many things from a repository, as few requests as the vendor takes, with a result for each.

use super::deletion::Deleted;
use super::provider::{At, Deletion, Provider};
use crate::error::{Error, ErrorKind};

/// What became of one thing that was to be deleted.
#[derive(Clone, Debug)]
pub struct DeletionResult {
    /// What was to be deleted.
    pub item: Deletion,
    /// What was done, or why it could not be.
    pub result: Result<Deleted, Error>,
}

/// Deletes tags first, then manifests in the given order. What an index held is tried again when the others
/// are gone, as long as something more goes, and so is what a batch left out for a reason that may pass. An
/// item that is refused keeps no other from being deleted. The results are in the order of the items.
pub(super) async fn delete_all(
    provider: &dyn Provider,
    at: At<'_>,
    items: Vec<Deletion>,
) -> Vec<DeletionResult> {
    let batch = provider.kind().capabilities().delete_batch.max(1);
    // Where a request takes one item, several requests run at a time.
    let batch = if batch == 1 { SINGLES } else { batch };
    let mut results: Vec<Option<Result<Deleted, Error>>> = vec![None; items.len()];
    let tags = |item: &Deletion| matches!(item, Deletion::Tag(_));
    for wanted in [true, false] {
        let of_kind: Vec<usize> =
            (0..items.len()).filter(|index| tags(&items[*index]) == wanted).collect();
        delete(provider, at, &items, &of_kind, batch, &mut results).await;
    }
    let held =
        |error: &Error| matches!(error.kind(), ErrorKind::StillReferenced | ErrorKind::StillTagged);
    // A request that failed itself has been tried again; here one succeeded, but not for this item.
    let left_out = |error: &Error| error.is_retryable() && error.request().is_none();
    let error = |result: &Option<Result<Deleted, Error>>| result.as_ref()?.as_ref().err().cloned();
    let some_left_out = results.iter().filter_map(error).any(|error| left_out(&error));
    // Where everything is held, nothing that held it has gone.
    let mut left = if some_left_out { usize::MAX } else { items.len() };
    let mut first = true;
    loop {
        let again: Vec<usize> = (0..items.len())
            .filter(|index| {
                let error = error(&results[*index]);
                error.is_some_and(|error| held(&error) || (first && left_out(&error)))
            })
            .collect();
        if again.is_empty() || again.len() >= left {
            break;
        }
        // An index of indexes takes several rounds; each has to get further than the one before.
        left = again.len();
        first = false;
        for wanted in [true, false] {
            let of_kind: Vec<usize> =
                again.iter().copied().filter(|index| tags(&items[*index]) == wanted).collect();
            delete(provider, at, &items, &of_kind, batch, &mut results).await;
        }
    }
    let results = items.into_iter().zip(results);
    results
        .map(|(item, result)| {
            let result = result.unwrap_or_else(|| {
                Err(Error::new(ErrorKind::Invalid, "the registry's answer does not mention it"))
            });
            DeletionResult { item, result }
        })
        .collect()
}

/// Items of a batch for vendors that take one with each request.
const SINGLES: usize = 16;

async fn delete(
    provider: &dyn Provider,
    at: At<'_>,
    items: &[Deletion],
    indices: &[usize],
    batch: usize,
    results: &mut [Option<Result<Deleted, Error>>],
) {
    for indices in indices.chunks(batch) {
        let batch: Vec<Deletion> = indices.iter().map(|index| items[*index].clone()).collect();
        let done = provider.delete_batch(at, &batch).await;
        for (index, result) in indices.iter().zip(done) {
            results[*index] = Some(result);
        }
    }
}
