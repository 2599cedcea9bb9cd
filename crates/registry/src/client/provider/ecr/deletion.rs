//! `BatchDeleteImage`: a reply of success that names what was not deleted.

use serde::Deserialize;
use serde_json::{Value, json};

use super::asking::Asking;
use super::has;
use crate::client::deletion::Deleted;
use crate::client::provider::Deletion;
use crate::client::transport::one_line;
use crate::error::{Details, Error, ErrorKind};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    #[serde(default)]
    image_ids: Vec<ImageId>,
    #[serde(default)]
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageId {
    image_tag: Option<String>,
    image_digest: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    /// `None`: of whatever else the reply does not mention.
    image_id: Option<ImageId>,
    #[serde(default)]
    failure_code: String,
    #[serde(default)]
    failure_reason: String,
}

/// Deletes at most a hundred items, which is what one request takes.
pub(super) async fn batch(
    asking: &Asking,
    repository: &str,
    items: &[Deletion],
) -> Vec<Result<Deleted, Error>> {
    let ids: Vec<Value> = items
        .iter()
        .map(|item| match item {
            Deletion::Tag(tag) => json!({"imageTag": tag.as_str()}),
            Deletion::Manifest(digest) => json!({"imageDigest": digest.as_str()}),
        })
        .collect();
    let body = asking.about(json!({"repositoryName": repository, "imageIds": ids}));
    match asking.ask::<Outcome>("BatchDeleteImage", body).await {
        Ok(outcome) => items.iter().map(|item| outcome.of(item, asking)).collect(),
        Err(error) if has(&error, "RepositoryNotFoundException") => {
            items.iter().map(|_| Ok(Deleted::Absent)).collect()
        }
        Err(error) => items.iter().map(|_| Err(error.clone())).collect(),
    }
}

pub(super) async fn one(
    asking: &Asking,
    repository: &str,
    item: Deletion,
) -> Result<Deleted, Error> {
    let mut results = batch(asking, repository, &[item]).await;
    results.pop().unwrap_or_else(|| Err(unmentioned()))
}

impl Outcome {
    fn of(&self, item: &Deletion, asking: &Asking) -> Result<Deleted, Error> {
        // What is deleted by its digest is named once for each of its tags.
        if self.image_ids.iter().any(|id| id.is(item)) {
            return Ok(Deleted::Done);
        }
        let is_of = |failure: &&Failure| failure.image_id.as_ref().is_some_and(|id| id.is(item));
        let of_all = || self.failures.iter().find(|failure| failure.image_id.is_none());
        let failure = self.failures.iter().find(is_of).or_else(of_all).ok_or_else(unmentioned)?;
        let kind = match failure.failure_code.as_str() {
            "ImageNotFound" => return Ok(Deleted::Absent),
            "ImageReferencedByManifestList" => ErrorKind::StillReferenced,
            "UpstreamAccessDenied" => ErrorKind::Denied,
            "UpstreamTooManyRequests" | "UpstreamUnavailable" => ErrorKind::Transient,
            _ => ErrorKind::Invalid,
        };
        let code = one_line(&failure.failure_code);
        let message = one_line(&format!("not deleted ({code}: {})", failure.failure_reason));
        let details = Details {
            host: Some(asking.api.host().clone()),
            codes: vec![code],
            ..Details::default()
        };
        Err(Error::with_details(kind, message, details))
    }
}

impl ImageId {
    fn is(&self, item: &Deletion) -> bool {
        match item {
            Deletion::Tag(tag) => self.image_tag.as_deref() == Some(tag.as_str()),
            Deletion::Manifest(digest) => self.image_digest.as_deref() == Some(digest.as_str()),
        }
    }
}

fn unmentioned() -> Error {
    Error::new(ErrorKind::Invalid, "the registry's answer does not mention it")
}
