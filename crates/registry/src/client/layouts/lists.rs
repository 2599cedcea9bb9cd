//! What a layout holds, as lists.

use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

use super::{LayoutHost, LayoutRepository};
use crate::client::listing::{ListEntry, ListedTime, TimeSource};
use crate::error::Error;
use crate::layout::{Layout, RepositoryEntry};
use crate::manifest::{Manifest, media_type};
use crate::reference::{Repository, RepositoryName, Tag};

impl LayoutHost {
    /// The repositories, or those at and below a path.
    pub(in crate::client) fn repositories(
        self,
        below: Option<RepositoryName>,
    ) -> BoxStream<'static, Result<Repository, Error>> {
        let host = self.host.clone();
        let listed = async move {
            let names = self.read(Layout::repositories).await?.unwrap_or_default();
            Ok(stream::iter(names.into_iter().map(Ok)))
        };
        let listed = stream::once(listed).try_flatten();
        listed
            .try_filter_map(move |name: RepositoryName| {
                let wanted = below.as_ref().is_none_or(|path| {
                    let rest = name.as_str().strip_prefix(path.as_str());
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                });
                let repository = Repository::new(host.clone(), name).ok();
                std::future::ready(Ok(repository.filter(|_| wanted)))
            })
            .boxed()
    }
}

impl LayoutRepository {
    /// The tags, in the order in which they were put.
    pub(in crate::client) fn tags(self) -> BoxStream<'static, Result<Tag, Error>> {
        let listed = async move {
            let name = self.name.clone();
            let entries = self.host.read(move |layout| layout.entries(&name)).await?;
            let tags = entries.unwrap_or_default().into_iter().filter_map(|entry| entry.tag);
            Ok(stream::iter(tags.map(Ok)))
        };
        stream::once(listed).try_flatten().boxed()
    }

    /// Tags and manifests without one, with sizes and times. What refers to others is not listed.
    pub(in crate::client) fn entries(self) -> BoxStream<'static, Result<ListEntry, Error>> {
        let listed = async move {
            let name = self.name.clone();
            let entries = self.host.read(move |layout| {
                let mut entries = layout.entries(&name)?;
                entries.retain(|entry| entry.tag.is_some() || entry.subject.is_none());
                Ok(entries.into_iter().map(|entry| list_entry(layout, entry)).collect())
            });
            let entries: Vec<ListEntry> = entries.await?.unwrap_or_default();
            Ok(stream::iter(entries.into_iter().map(Ok)))
        };
        stream::once(listed).try_flatten().boxed()
    }
}

fn list_entry(layout: &Layout, entry: RepositoryEntry) -> ListEntry {
    let RepositoryEntry { tag, manifest, pushed, .. } = entry;
    let source = if tag.is_some() { TimeSource::TagPushed } else { TimeSource::ManifestPushed };
    let mut listed = ListEntry::new(tag, manifest.digest.clone());
    listed.time = pushed.map(|at| ListedTime { at, source });
    let is_known = media_type::ALL.contains(&manifest.media_type.as_str());
    listed.media_type = is_known.then(|| manifest.media_type.clone());
    // A manifest that is damaged has no size, which a list need not fail for.
    let content = layout.manifest(&manifest.digest).and_then(|raw| raw.parse());
    match content {
        Ok(content @ Manifest::Image(_)) => {
            listed.size = Some(content.blobs().map(|blob| blob.size).sum());
        }
        Ok(Manifest::Index(_)) => {}
        Err(error) => tracing::warn!(digest = %manifest.digest, %error, "listed without its size"),
    }
    listed
}
