//! The registry behind a vendor's front, and what was pushed to it when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::http::{Message, exchange};
use crate::registry_process::{Auth, RegistryProcess};
use crate::scripted::Request;
use crate::token_issuer::TokenIssuer;

/// How the registry behind a front finds out who is asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// It does not: the front does.
    Front,
    /// By tokens that the front issues in the name of [`Behind::issuer`].
    Token,
}

/// A registry, and what was pushed to it through its front.
pub struct Behind {
    registry: RegistryProcess,
    issuer: TokenIssuer,
    login: Login,
    repositories: Mutex<BTreeMap<String, BTreeMap<String, Held>>>,
}

/// A manifest that the registry holds.
#[derive(Clone, Debug)]
pub struct Held {
    /// The bytes.
    pub manifest: Vec<u8>,
    /// The media type.
    pub media_type: String,
    /// When it was pushed first.
    pub pushed: SystemTime,
    /// The tags that are on it, and when each was put there.
    pub tags: BTreeMap<String, SystemTime>,
}

impl Held {
    /// The manifest as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.manifest).expect("registries take only manifests in JSON")
    }

    /// The digests of the manifests that an index holds.
    pub fn children(&self) -> BTreeSet<String> {
        let json = self.json();
        let children = json["manifests"].as_array().into_iter().flatten();
        children.filter_map(|child| child["digest"].as_str().map(ToOwned::to_owned)).collect()
    }

    /// Bytes of config and layers.
    pub fn size(&self) -> u64 {
        let json = self.json();
        let layers = json["layers"].as_array().into_iter().flatten();
        layers.chain([&json["config"]]).filter_map(|blob| blob["size"].as_u64()).sum()
    }
}

impl Behind {
    pub(super) fn start(login: Login) -> Self {
        let issuer = TokenIssuer::start();
        let registry = RegistryProcess::start(match login {
            Login::Front => Auth::None,
            Login::Token => Auth::Token(&issuer),
        });
        Self { registry, issuer, login, repositories: Mutex::default() }
    }

    /// `127.0.0.1:port` of the registry itself.
    pub fn host(&self) -> &str {
        self.registry.host()
    }

    /// Signs the tokens that the registry takes.
    pub fn issuer(&self) -> &TokenIssuer {
        &self.issuer
    }

    /// The manifests of a repository by their digests; `None` if nothing was ever pushed to it.
    pub fn held(&self, repository: &str) -> Option<BTreeMap<String, Held>> {
        self.repositories().get(repository).cloned()
    }

    /// The names of all repositories.
    pub fn names(&self) -> Vec<String> {
        self.repositories().keys().cloned().collect()
    }

    /// Makes it look as if a manifest, and all its tags, had been pushed earlier.
    pub fn age(&self, repository: &str, digest: &str, by: Duration) {
        let mut repositories = self.repositories();
        let held = repositories.get_mut(repository).and_then(|held| held.get_mut(digest));
        let held = held.expect("only what was pushed can be older");
        held.pushed -= by;
        for time in held.tags.values_mut() {
            *time -= by;
        }
    }

    /// Takes a tag away and leaves its manifest. Tells whether it was there.
    pub fn untag(&self, repository: &str, tag: &str) -> bool {
        let mut repositories = self.repositories();
        for held in repositories.get_mut(repository).into_iter().flat_map(BTreeMap::values_mut) {
            held.tags.remove(tag);
        }
        self.registry.remove_tag(repository, tag)
    }

    /// Deletes a manifest with all its tags. Tells whether it was there.
    pub fn delete(&self, repository: &str, digest: &str) -> bool {
        let target = format!("/v2/{repository}/manifests/{digest}");
        let deleted = self.exchange(repository, "DELETE", &target).status() == 202;
        if let Some(held) = self.repositories().get_mut(repository) {
            held.remove(digest);
        }
        deleted
    }

    /// Asks the registry itself, as somebody who may do everything to this repository.
    pub fn exchange(&self, repository: &str, method: &str, target: &str) -> Message {
        let scope = format!("repository:{repository}:delete,pull,push");
        let authorization = match self.login {
            Login::Front => None,
            Login::Token => Some(self.issuer.authorization(&scope)),
        };
        let headers: Vec<(&str, &str)> =
            authorization.iter().map(|value| ("Authorization", value.as_str())).collect();
        exchange(self.host(), method, target, &headers, b"").expect("the registry answers")
    }

    /// Takes note of what the registry did for this request.
    pub(super) fn note(&self, request: &Request, status: u16) {
        let Some((repository, name)) = manifest_of(request.path()) else { return };
        match (request.method.as_str(), status) {
            ("PUT", 201) => self.note_put(repository, name, request),
            ("DELETE", 202) => {
                if let Some(held) = self.repositories().get_mut(repository) {
                    held.remove(name);
                }
            }
            _ => {}
        }
    }

    fn note_put(&self, repository: &str, name: &str, request: &Request) {
        let hash = digest(&SHA256, request.body());
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:{hash}");
        let now = SystemTime::now();
        let mut repositories = self.repositories();
        let manifests = repositories.entry(repository.to_owned()).or_default();
        if !name.contains(':') {
            for held in manifests.values_mut() {
                held.tags.remove(name);
            }
        }
        let held = manifests.entry(digest).or_insert_with(|| Held {
            manifest: request.body().to_vec(),
            media_type: request.header("content-type").unwrap_or_default().to_owned(),
            pushed: now,
            tags: BTreeMap::new(),
        });
        if !name.contains(':') {
            held.tags.insert(name.to_owned(), now);
        }
    }

    fn repositories(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, Held>>> {
        self.repositories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Repository and tag or digest of `/v2/NAME/manifests/REFERENCE`.
pub(crate) fn manifest_of(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("/v2/")?.rsplit_once("/manifests/")
}
