//! What `dockit list --remote` shows of an image.

use dockit_core::remote::{Answer, RemoteState};
use dockit_registry::Digest;
use serde::Serialize;

use crate::ui;

/// What the registry holds of an image, as JSON shows it.
#[derive(Serialize)]
pub(super) struct RemoteEntry {
    /// `present`, `absent`, `error`, `no key`, or `no registry`.
    pub(super) state: &'static str,
    pub(super) digest: Option<String>,
    error: Option<String>,
    tags: Vec<TagEntry>,
    locked: Option<LockedEntry>,
    /// How many tags the repository has.
    repository_tags: Option<usize>,
    /// Why they could not be counted.
    repository_tags_error: Option<String>,
}

#[derive(Serialize)]
struct TagEntry {
    tag: String,
    /// `here`, `elsewhere`, `absent` or `error`.
    state: &'static str,
    digest: Option<String>,
    error: Option<String>,
}

#[derive(Serialize)]
struct LockedEntry {
    key: String,
    digest: Option<String>,
    /// `present`, `absent` or `error`.
    state: &'static str,
    error: Option<String>,
}

impl RemoteEntry {
    /// The names of the columns that [`cells`](Self::cells) fills.
    pub(super) const HEADER: [&str; 5] = ["STATE", "DIGEST", "TAGS", "LOCKED", "ALL TAGS"];

    /// Of an image that is in no registry.
    pub(super) fn without_registry() -> Self {
        Self {
            state: "no registry",
            digest: None,
            error: None,
            tags: Vec::new(),
            locked: None,
            repository_tags: None,
            repository_tags_error: None,
        }
    }

    pub(super) fn new(remote: &RemoteState) -> Self {
        Self {
            state: remote.content.as_ref().map_or("no key", state),
            digest: remote.digest().map(ToString::to_string),
            error: remote.content.as_ref().and_then(error),
            tags: remote
                .tags
                .iter()
                .map(|(tag, answer)| TagEntry {
                    tag: tag.to_string(),
                    state: match answer {
                        Ok(Some(digest)) if Some(digest) == remote.digest() => "here",
                        Ok(Some(_)) => "elsewhere",
                        other => state(other),
                    },
                    digest: digest(answer),
                    error: error(answer),
                })
                .collect(),
            locked: remote.locked.as_ref().map(|locked| LockedEntry {
                key: locked.key.to_string(),
                digest: locked.reference.digest().map(ToString::to_string),
                state: state(&locked.held),
                error: error(&locked.held),
            }),
            repository_tags: remote.tag_count.as_ref().ok().copied(),
            repository_tags_error: remote.tag_count.as_ref().err().map(ToString::to_string),
        }
    }

    /// The same as cells of a table.
    pub(super) fn cells(&self) -> [String; 5] {
        let digest = self.digest.as_deref().and_then(|digest| digest.parse::<Digest>().ok());
        let tags: Vec<String> = self
            .tags
            .iter()
            .map(|tag| match tag.state {
                "here" => tag.tag.clone(),
                state => format!("{} ({state})", tag.tag),
            })
            .collect();
        let none = || "-".to_owned();
        [
            self.state.to_owned(),
            digest.as_ref().map_or_else(none, ui::short),
            if tags.is_empty() { none() } else { tags.join(", ") },
            self.locked.as_ref().map_or_else(none, |locked| locked.state.to_owned()),
            self.repository_tags.map_or_else(none, |count| count.to_string()),
        ]
    }
}

fn state(answer: &Answer) -> &'static str {
    match answer {
        Ok(Some(_)) => "present",
        Ok(None) => "absent",
        Err(_) => "error",
    }
}

fn digest(answer: &Answer) -> Option<String> {
    answer.as_ref().ok()?.as_ref().map(ToString::to_string)
}

fn error(answer: &Answer) -> Option<String> {
    answer.as_ref().err().map(ToString::to_string)
}
