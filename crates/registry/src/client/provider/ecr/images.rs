//! Lists of images: `DescribeImages`, and `DescribeImageTags` of public registries.

use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use serde_json::json;

use super::asking::{Asking, Page, pages, time};
use super::endpoint::Service;
use crate::client::listing::{ListEntry, ListedTime, TimeSource};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};

/// Tags with their images, and images without a tag.
///
/// A private registry says of an image when it was pushed first; another tag, and a tag that is moved
/// back, change nothing about that. A public one also says of a tag when it was put on its image.
pub(super) fn entries(
    asking: Arc<Asking>,
    repository: String,
) -> BoxStream<'static, Result<ListEntry, Error>> {
    let of_tags = asking.endpoint.service == Service::Public;
    let body = json!({"repositoryName": repository});
    let images = pages::<ImagesPage>(Arc::clone(&asking), body.clone())
        .map_ok(move |image| {
            let mut entries = image.entries();
            if of_tags {
                entries.retain(|entry| entry.as_ref().map_or(true, |entry| entry.tag.is_none()));
            }
            stream::iter(entries)
        })
        .try_flatten();
    if !of_tags {
        return images.boxed();
    }
    let tags = pages::<TagsPage>(asking, body).try_filter_map(|tag| async move { tag.entry() });
    images.chain(tags).boxed()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImagesPage {
    image_details: Vec<Image>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    image_digest: String,
    image_tags: Option<Vec<String>>,
    image_size_in_bytes: Option<u64>,
    image_pushed_at: Option<f64>,
    image_manifest_media_type: Option<String>,
    last_recorded_pull_time: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TagsPage {
    image_tag_details: Vec<TagOfImage>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TagOfImage {
    image_tag: String,
    created_at: Option<f64>,
    image_detail: Image,
}

impl Page for ImagesPage {
    type Item = Image;
    const ACTION: &str = "DescribeImages";

    fn parts(self) -> (Vec<Image>, Option<String>) {
        (self.image_details, self.next_token)
    }
}

impl Page for TagsPage {
    type Item = TagOfImage;
    const ACTION: &str = "DescribeImageTags";

    fn parts(self) -> (Vec<TagOfImage>, Option<String>) {
        (self.image_tag_details, self.next_token)
    }
}

impl Image {
    /// An entry for each tag, or one if there is none.
    fn entries(mut self) -> Vec<Result<ListEntry, Error>> {
        let tags = self.image_tags.take().unwrap_or_default();
        let entry = match self.entry() {
            Ok(entry) => entry,
            Err(error) => return vec![Err(error)],
        };
        if tags.is_empty() {
            return vec![Ok(entry)];
        }
        let tagged = tags.into_iter().filter_map(|tag| tagged(&entry, &tag));
        tagged.map(Ok).collect()
    }

    fn entry(self) -> Result<ListEntry, Error> {
        let digest: Digest = self.image_digest.parse().map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("an image of the list: {error}"))
        })?;
        let mut entry = ListEntry::new(None, digest);
        entry.media_type = self.image_manifest_media_type;
        entry.size = self.image_size_in_bytes;
        let pushed = self.image_pushed_at.and_then(time);
        entry.time = pushed.map(|at| ListedTime { at, source: TimeSource::ManifestPushed });
        entry.last_pulled = self.last_recorded_pull_time.and_then(time);
        Ok(entry)
    }
}

impl TagOfImage {
    fn entry(self) -> Result<Option<ListEntry>, Error> {
        let Some(mut entry) = tagged(&self.image_detail.entry()?, &self.image_tag) else {
            return Ok(None);
        };
        if let Some(at) = self.created_at.and_then(time) {
            entry.time = Some(ListedTime { at, source: TimeSource::TagPushed });
        }
        Ok(Some(entry))
    }
}

/// The entry with a tag. One odd name must not hide the others.
fn tagged(entry: &ListEntry, tag: &str) -> Option<ListEntry> {
    let Ok(tag) = tag.parse() else {
        tracing::warn!(tag, "left out of the list: not a tag");
        return None;
    };
    Some(ListEntry { tag: Some(tag), ..entry.clone() })
}
