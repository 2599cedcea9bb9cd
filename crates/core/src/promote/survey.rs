//! What registries hold of a promotion, and whether it may be written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dockit_registry::copy::{self, CopyOptions, RemoteImage};
use dockit_registry::{
    Access, Client, Digest, Error, ErrorKind, RawManifest, Reference, Registry as _, Repository,
};
use futures_util::{StreamExt as _, stream};

use super::journal::Move;
use super::removal::obstacle;
use super::wanted::Wanted;
use super::{AT_A_TIME, PromoteError};

/// Manifests by their digests.
pub(super) type Manifests = BTreeMap<Digest, RawManifest>;

/// Asks about each of these, a few at a time.
async fn each<T: Clone, R>(
    items: impl IntoIterator<Item = T>,
    ask: impl AsyncFn(T) -> R,
) -> Vec<(T, R)> {
    let ask = &ask;
    stream::iter(items)
        .map(|item| async move {
            let answer = ask(item.clone()).await;
            (item, answer)
        })
        .buffered(AT_A_TIME)
        .collect()
        .await
}

/// Reads the manifest of each source.
pub(super) async fn sources(
    client: &Client,
    wanted: &[Wanted<'_>],
) -> Result<BTreeMap<Reference, RawManifest>, PromoteError> {
    let sources: BTreeSet<Reference> = wanted.iter().map(|one| one.source.clone()).collect();
    // What is recorded is known by its digest: the tag may be elsewhere by now.
    let by_digest = |source: &Reference| match source.digest() {
        Some(digest) => source.repository().with_digest(digest.clone()),
        None => source.clone(),
    };
    let read = each(sources, async |source| client.manifest(&by_digest(&source)).await).await;
    let (mut found, mut absent, mut failures) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (source, manifest) in read {
        match manifest {
            Ok(manifest) => {
                found.insert(source, manifest);
            }
            Err(error) if *error.kind() == ErrorKind::NotFound => absent.push(source),
            Err(error) => failures.push((source, error)),
        }
    }
    if !failures.is_empty() {
        return Err(PromoteError::Registry { failures });
    }
    if absent.is_empty() { Ok(found) } else { Err(PromoteError::Absent { sources: absent }) }
}

/// Reads what each tag is on now.
pub(super) async fn targets(
    client: &Client,
    targets: Vec<Reference>,
) -> Result<Vec<Option<RawManifest>>, PromoteError> {
    let read = each(targets, async |target: Reference| {
        // As a writer, to whom what is absent is not denied; and by its digest, so that it is what was
        // there at one moment.
        let Some(head) = client.head_manifest(&target, Access::PullPush).await? else {
            return Ok(None);
        };
        client.manifest(&target.repository().with_digest(head.digest)).await.map(Some)
    });
    let mut failures = Vec::new();
    let mut found = Vec::new();
    for (target, manifest) in read.await {
        match manifest {
            Ok(manifest) => found.push(manifest),
            Err(error) => failures.push((target, error)),
        }
    }
    if failures.is_empty() { Ok(found) } else { Err(PromoteError::Registry { failures }) }
}

/// Checks the right to write to each repository that something changes in.
pub(super) async fn rights(client: &Client, moves: &[Move]) -> Result<(), PromoteError> {
    let checked = each(changed(moves, |_| true), async |repository: Repository| {
        client.check_push(&repository).await
    });
    let failed = |(repository, result): (Repository, Result<(), Error>)| {
        let reference = repository.with_digest(Digest::of(b""));
        let tag = moves.iter().find(|one| one.repository == repository).map(Move::target);
        Some((tag.unwrap_or(reference), result.err()?))
    };
    let failures: Vec<_> = checked.await.into_iter().filter_map(failed).collect();
    if failures.is_empty() { Ok(()) } else { Err(PromoteError::Registry { failures }) }
}

/// Checks that the tags which the promotion makes could be removed again.
pub(super) async fn removals(client: &Client, moves: &[Move]) -> Result<(), PromoteError> {
    let checked = each(changed(moves, |one| one.old.is_none()), async |repository: Repository| {
        obstacle(client, &repository).await
    });
    let reasons: Vec<String> = checked
        .await
        .into_iter()
        .filter_map(|(repository, obstacle)| Some(format!("    {repository}: {}", obstacle?)))
        .collect();
    if reasons.is_empty() { Ok(()) } else { Err(PromoteError::NotRemovable { reasons }) }
}

fn changed(moves: &[Move], is_meant: impl Fn(&Move) -> bool) -> BTreeSet<Repository> {
    let meant = moves.iter().filter(|one| one.changes() && is_meant(one));
    meant.map(|one| one.repository.clone()).collect()
}

/// Copies what is to be tagged in another repository than it is in, with what refers to it, and without
/// a tag.
pub(super) async fn copies(client: &Client, moves: &[Move]) -> Result<(), PromoteError> {
    let wanted: BTreeSet<(Reference, Reference)> = moves
        .iter()
        .filter(|one| one.repository != *one.source.repository())
        .map(|one| {
            let at_digest = |place: &Repository| place.with_digest(one.new.clone());
            (at_digest(one.source.repository()), at_digest(&one.repository))
        })
        .collect();
    let copied = each(wanted, async |(from, to): (Reference, Reference)| {
        let from = RemoteImage::new(client.clone(), from);
        let to = RemoteImage::to_write(client.clone(), to);
        copy::copy(&from, &to, &CopyOptions::default(), Arc::new(())).await
    });
    let failed =
        |((_, to), result): ((Reference, Reference), Result<_, Error>)| Some((to, result.err()?));
    let failures: Vec<_> = copied.await.into_iter().filter_map(failed).collect();
    if failures.is_empty() { Ok(()) } else { Err(PromoteError::Registry { failures }) }
}

/// Reads again what an interrupted promotion puts.
pub(super) async fn manifests(client: &Client, moves: &[Move]) -> Result<Manifests, PromoteError> {
    let places: BTreeMap<Digest, Repository> =
        moves.iter().map(|one| (one.new.clone(), one.repository.clone())).collect();
    let places = places.into_iter().map(|(digest, repository)| repository.with_digest(digest));
    let read = each(places, async |place: Reference| client.manifest(&place).await).await;
    let mut failures = Vec::new();
    let mut found = Manifests::new();
    for (place, manifest) in read {
        match manifest {
            Ok(manifest) => {
                found.insert(manifest.digest().clone(), manifest);
            }
            Err(error) => failures.push((place, error)),
        }
    }
    if failures.is_empty() { Ok(found) } else { Err(PromoteError::Registry { failures }) }
}
