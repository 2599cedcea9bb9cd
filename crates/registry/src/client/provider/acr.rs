//! Azure Container Registry.
//!
//! Its own API is at the registry itself, below `/acr/v1/`, and takes the registry's own tokens (Azure:
//! *Azure Container Registry REST API*, version 2021-07-01). There is nothing that `api_url` could move.

use std::collections::{HashMap, hash_map};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::generic::parse_time;
use super::{At, Provider, confirmed_absent, nobody};
use crate::client::credential::{Credential, Issued, Secret};
use crate::client::deletion::{Deleted, delete};
use crate::client::identity::TokenIdentity;
use crate::client::listing::{ListEntry, ListedTime, TimeSource};
use crate::client::lists::{self, Page};
use crate::client::transport::{Api, ApiCall, Call, Claims, Transport};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::provider::ProviderKind;
use crate::reference::{RegistryHost, Repository, Tag};

/// What Entra is asked for a token for: the registries of this cloud, or where those have no name of their
/// own, all that the cloud manages (Azure: *ContainerRegistryAudience*).
fn scope(host: &RegistryHost) -> &'static str {
    if host.name().ends_with(".azurecr.cn") {
        "https://management.chinacloudapi.cn/.default"
    } else if host.name().ends_with(".azurecr.us") {
        "https://management.usgovcloudapi.net/.default"
    } else {
        "https://containerregistry.azure.net/.default"
    }
}

/// What stands for a user beside an identity token (Azure: *Authenticate with a registry*).
const TOKEN_USER: &str = "00000000-0000-0000-0000-000000000000";

/// Largest description of a repository that is read, in bytes.
const MAX_ATTRIBUTES_SIZE: u64 = 1024 * 1024;

/// Entries of a page of tags or manifests.
const PAGE_LENGTH: &str = "500";

pub(super) struct Acr {
    identity: Option<Arc<dyn TokenIdentity>>,
}

impl Acr {
    pub(super) fn new(identity: Option<Arc<dyn TokenIdentity>>) -> Self {
        Self { identity }
    }
}

#[async_trait]
impl Provider for Acr {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Acr
    }

    async fn credential(&self, api: &Api) -> Result<Issued, Error> {
        let Some(identity) = &self.identity else {
            return Ok(Credential::Anonymous.into());
        };
        let token = identity
            .access_token(scope(api.host()))
            .await
            .map_err(|error| error.without("token of Azure", api.host()))?;
        match token {
            Some(token) => exchange(api, &token.token).await,
            None => Ok(nobody()),
        }
    }

    fn entries<'a>(self: Arc<Self>, at: At<'a>) -> BoxStream<'a, Result<ListEntry, Error>> {
        entries(at)
    }

    fn repositories<'a>(
        self: Arc<Self>,
        transport: &'a Transport,
        host: &'a RegistryHost,
    ) -> BoxStream<'a, Result<Repository, Error>> {
        lists::repositories_by(transport, host, || {
            Call::of_vendor(Method::GET, host, "/acr/v1/_catalog", "registry:catalog:*")
        })
    }

    /// Only the tag. Deleting `/v2/NAME/manifests/TAG`, and `az acr repository delete --image`, mean the
    /// manifest with all its tags.
    async fn delete_tag(&self, at: At<'_>, tag: &Tag) -> Result<Deleted, Error> {
        let name = format!("_tags/{tag}");
        let call = call(Method::DELETE, at.repository, &name, "delete");
        match delete(at.transport, &call, &name).await? {
            // Whoever stands before a registry may pass on what is below `/v2/` alone.
            Deleted::Absent => confirmed_absent(at, tag).await,
            deleted => Ok(deleted),
        }
    }
}

/// A request below `/acr/v1/NAME/`, with a token for this action. The registry's challenge names what it
/// really wants, which is then asked for as well.
fn call<'a>(method: Method, repository: &'a Repository, path: &str, action: &str) -> Call<'a> {
    let name = repository.name();
    let (path, scope) = (format!("/acr/v1/{name}/{path}"), format!("repository:{name}:{action}"));
    Call::of_vendor(method, repository.host(), &path, &scope)
}

/// Has an Entra token exchanged for an identity token by the registry itself (Azure/acr: *AAD-OAuth*,
/// `POST /oauth2/exchange`).
async fn exchange(api: &Api, token: &Secret) -> Result<Issued, Error> {
    #[derive(Deserialize)]
    struct Exchanged {
        refresh_token: String,
    }

    // Behind a domain of one's own the registry still goes by its login server (Azure: *Custom domain*).
    let service = match ProviderKind::of_host(api.host()) {
        Some(ProviderKind::Acr) => None,
        _ => api.service().await?,
    };
    let service = service.as_deref().unwrap_or_else(|| api.host().api_host());
    let tenant = Claims::of(token.expose()).tid;
    let mut form = vec![("grant_type", "access_token"), ("service", service)];
    form.extend(tenant.as_deref().map(|tenant| ("tenant", tenant)));
    form.push(("access_token", token.expose()));
    let call = ApiCall::new(Method::POST, api.of_registry("/oauth2/exchange")?).form(&form);
    let Exchanged { refresh_token } = api.ask_json(&call).await.map_err(|error| refused(&error))?;
    let expires = Claims::of(&refresh_token).expires();
    let username = Some(TOKEN_USER.to_owned());
    let token = Secret::new(refresh_token);
    Ok(Issued { expires, ..Credential::IdentityToken { username, token }.into() })
}

/// The registry says neither which identity nor what it lacks.
fn refused(error: &Error) -> Error {
    let note = "the identity of this machine or job has to have the role AcrPull on this registry, \
                or AcrPush to push, in the registry's own tenant";
    match error.status() {
        Some(400 | 401) => error.with_kind(ErrorKind::Unauthorized).with_note(note),
        // A registry that lets in only some networks answers so as well.
        Some(403) => error.with_note(format_args!("if the registry lets this network in, {note}")),
        _ => error.clone(),
    }
}

/// The tags with their own times, and then the manifests without a tag.
///
/// Only the list of tags says when a tag was put where it is, and only that of manifests says sizes, so
/// that both are read: one request for each 500 manifests and one for each 500 tags. What is known of a
/// manifest is held until the end, which takes a few hundred bytes for each. The tags come last, as they
/// change more: a manifest that was without a tag before, and is not any more, is not listed as such.
///
/// The times are those of the last change, which a lock is as well; what they say is never older than
/// the tag's being there. A lock of the whole repository, for which there is a request of its own, is one
/// of each entry.
fn entries<'a>(at: At<'a>) -> BoxStream<'a, Result<ListEntry, Error>> {
    let entries = async move {
        let locked = is_repository_locked(at).await?;
        let of_manifests = move || call(Method::GET, at.repository, "_manifests", "metadata_read");
        let mut listed = lists::pages::<ManifestsPage>(at.transport, of_manifests).boxed();
        let mut manifests = HashMap::new();
        while let Some(manifest) = listed.try_next().await? {
            if let Some((digest, known)) = manifest.known() {
                manifests.insert(digest, known);
            } else {
                tracing::warn!(repository = %at.repository, "left out of the list: not a digest");
            }
        }
        let of_tags = move || call(Method::GET, at.repository, "_tags", "metadata_read");
        let tags = lists::pages::<TagsPage>(at.transport, of_tags).boxed();
        let entries = merged(at.repository, manifests, tags);
        Ok(entries.map_ok(move |mut entry| {
            entry.locked |= locked;
            entry
        }))
    };
    stream::once(entries).try_flatten().boxed()
}

/// Whether nothing in the repository may be deleted. Whether there is one at all, its lists tell.
async fn is_repository_locked(at: At<'_>) -> Result<bool, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct RepositorySchema {
        changeable_attributes: Option<Attributes>,
    }

    let (name, host) = (at.repository.name(), at.repository.host());
    let (path, scope) = (format!("/acr/v1/{name}"), format!("repository:{name}:metadata_read"));
    let call = Call::of_vendor(Method::GET, host, &path, &scope);
    at.transport
        .retrying(async || {
            let reply = at.transport.send(&call).await?;
            if reply.status() == StatusCode::NOT_FOUND {
                return Ok(false);
            }
            if !reply.status().is_success() {
                return Err(reply.into_error().await);
            }
            let reason = reply.reason();
            let bytes = reply.bytes(MAX_ATTRIBUTES_SIZE).await?;
            let repository: RepositorySchema = serde_json::from_slice(&bytes).map_err(|error| {
                let message = format!("not what is known of a repository: {error}");
                reason.error(ErrorKind::Invalid, message)
            })?;
            Ok(is_locked(repository.changeable_attributes))
        })
        .await
}

/// How far the lists were read.
enum Stage<'a> {
    Tags(HashMap<Digest, Known>, BoxStream<'a, Result<TagSchema, Error>>),
    Manifests(hash_map::IntoIter<Digest, Known>),
}

fn merged<'a>(
    repository: &'a Repository,
    manifests: HashMap<Digest, Known>,
    tags: BoxStream<'a, Result<TagSchema, Error>>,
) -> BoxStream<'a, Result<ListEntry, Error>> {
    stream::try_unfold(Stage::Tags(manifests, tags), move |mut stage| async move {
        if let Stage::Tags(mut manifests, mut tags) = stage {
            while let Some(tag) = tags.try_next().await? {
                let (Ok(name), Ok(digest)) = (tag.name.parse(), tag.digest.parse::<Digest>())
                else {
                    tracing::warn!(%repository, name = tag.name, "left out of the list: not a tag");
                    continue;
                };
                let known = manifests.get_mut(&digest);
                let entry = tag.entry(name, digest, known);
                return Ok(Some((entry, Stage::Tags(manifests, tags))));
            }
            stage = Stage::Manifests(manifests.into_iter());
        }
        let Stage::Manifests(rest) = &mut stage else { return Ok(None) };
        let untagged = rest.find(|(_, known)| !known.tagged);
        Ok(untagged.map(|(digest, known)| (known.entry(None, digest), stage)))
    })
    .boxed()
}

/// What a list says of a manifest.
struct Known {
    media_type: Option<String>,
    size: Option<u64>,
    updated: Option<SystemTime>,
    locked: bool,
    tagged: bool,
}

impl Known {
    fn entry(&self, tag: Option<Tag>, digest: Digest) -> ListEntry {
        let mut entry = ListEntry::new(tag, digest);
        entry.media_type.clone_from(&self.media_type);
        entry.size = self.size;
        entry.time = self.updated.map(|at| ListedTime { at, source: TimeSource::Updated });
        entry.locked = self.locked;
        entry
    }
}

#[derive(Deserialize)]
struct ManifestsPage {
    /// What does not say which repository it is of is no list.
    #[serde(rename = "imageName")]
    _repository: String,
    manifests: Option<Vec<ManifestSchema>>,
}

#[derive(Deserialize)]
struct TagsPage {
    #[serde(rename = "imageName")]
    _repository: String,
    tags: Option<Vec<TagSchema>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestSchema {
    digest: String,
    image_size: Option<u64>,
    last_update_time: Option<String>,
    media_type: Option<String>,
    tags: Option<Vec<String>>,
    changeable_attributes: Option<Attributes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TagSchema {
    name: String,
    digest: String,
    last_update_time: Option<String>,
    changeable_attributes: Option<Attributes>,
}

/// What may be done (Azure: *Lock a container image*).
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    delete_enabled: Option<bool>,
    write_enabled: Option<bool>,
}

impl Page for ManifestsPage {
    type Item = ManifestSchema;

    const PATH: &str = "_manifests";
    const LENGTH: &str = PAGE_LENGTH;

    fn items(self) -> Vec<ManifestSchema> {
        self.manifests.unwrap_or_default()
    }
}

impl Page for TagsPage {
    type Item = TagSchema;

    const PATH: &str = "_tags";
    const LENGTH: &str = PAGE_LENGTH;

    fn items(self) -> Vec<TagSchema> {
        self.tags.unwrap_or_default()
    }
}

impl ManifestSchema {
    fn known(self) -> Option<(Digest, Known)> {
        let known = Known {
            media_type: self.media_type,
            size: self.image_size,
            updated: time(self.last_update_time.as_deref()),
            locked: is_locked(self.changeable_attributes),
            tagged: self.tags.is_some_and(|tags| !tags.is_empty()),
        };
        Some((self.digest.parse().ok()?, known))
    }
}

impl TagSchema {
    fn entry(self, name: Tag, digest: Digest, manifest: Option<&mut Known>) -> ListEntry {
        let mut entry = match manifest {
            Some(known) => {
                known.tagged = true;
                known.entry(Some(name), digest)
            }
            // It was pushed after the manifests were listed.
            None => ListEntry::new(Some(name), digest),
        };
        let at = time(self.last_update_time.as_deref());
        entry.time = at.map(|at| ListedTime { at, source: TimeSource::Updated });
        entry.locked |= is_locked(self.changeable_attributes);
        entry
    }
}

fn time(text: Option<&str>) -> Option<SystemTime> {
    text.and_then(parse_time)
}

/// Either of the two keeps it from being deleted.
fn is_locked(attributes: Option<Attributes>) -> bool {
    attributes.is_some_and(|attributes| {
        attributes.delete_enabled == Some(false) || attributes.write_enabled == Some(false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    /// The entries of two lists, between which the repository may have changed.
    async fn listed(
        manifests: &str,
        tags: &str,
    ) -> Vec<(Option<String>, String, Option<u64>, bool)> {
        let repository: Repository = "r.azurecr.io/app".parse().unwrap();
        let manifests: Vec<ManifestSchema> = serde_json::from_str(manifests).unwrap();
        let manifests = manifests.into_iter().filter_map(ManifestSchema::known).collect();
        let tags: Vec<TagSchema> = serde_json::from_str(tags).unwrap();
        let tags = stream::iter(tags.into_iter().map(Ok)).boxed();
        let entries: Vec<ListEntry> =
            merged(&repository, manifests, tags).try_collect().await.unwrap();
        let entries = entries.into_iter().map(|entry| {
            let tag = entry.tag.map(|tag| tag.to_string());
            (tag, entry.digest.to_string(), entry.size, entry.locked)
        });
        let mut entries: Vec<_> = entries.collect();
        entries.sort();
        entries
    }

    #[tokio::test]
    async fn what_changes_between_the_lists_is_never_listed_as_untagged() {
        let [a, b, c, d] = ['a', 'b', 'c', 'd'].map(digest);
        let manifests = format!(
            r#"[{{"digest":"{a}","imageSize":1,"tags":["gone"]}},{{"digest":"{b}","imageSize":2}},
                {{"digest":"{c}","imageSize":3,"tags":null}},{{"digest":"what"}}]"#
        );
        // `gone` was moved to what nobody had seen, and `new` was put on what had no tag.
        let tags = format!(
            r#"[{{"name":"gone","digest":"{d}"}},{{"name":"new","digest":"{b}"}},
                {{"name":"-","digest":"{b}"}}]"#
        );
        let tag = |name: &str| Some(name.to_owned());
        let expected = [
            (None, c, Some(3), false),
            (tag("gone"), d, None, false),
            (tag("new"), b, Some(2), false),
        ];
        assert_eq!(listed(&manifests, &tags).await, expected);
    }

    #[tokio::test]
    async fn a_lock_of_either_kind_on_tag_or_manifest_is_one() {
        let [a, b] = ['a', 'b'].map(digest);
        let manifests = format!(
            r#"[{{"digest":"{a}","tags":["1"],"changeableAttributes":{{"writeEnabled":true}}}},
                {{"digest":"{b}","tags":["2"],"changeableAttributes":{{"deleteEnabled":false}}}}]"#
        );
        let tags = format!(
            r#"[{{"name":"1","digest":"{a}","changeableAttributes":{{"writeEnabled":false}}}},
                {{"name":"2","digest":"{b}"}},{{"name":"3","digest":"{a}"}}]"#
        );
        let locked: Vec<bool> =
            listed(&manifests, &tags).await.into_iter().map(|entry| entry.3).collect();
        assert_eq!(locked, [true, true, false]);
    }

    #[test]
    fn tokens_are_for_the_cloud_of_the_registry() {
        for (host, expected) in [
            ("team.azurecr.io", "https://containerregistry.azure.net/.default"),
            ("team.azurecr.cn", "https://management.chinacloudapi.cn/.default"),
            ("team.azurecr.us:443", "https://management.usgovcloudapi.net/.default"),
            ("azurecr.cn.example", "https://containerregistry.azure.net/.default"),
        ] {
            assert_eq!(scope(&host.parse().unwrap()), expected, "{host}");
        }
    }
}
