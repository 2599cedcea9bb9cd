//! Azure Container Registry: its token endpoints, its lists, its locks and its soft deletion (Azure/acr:
//! *AAD-OAuth*, *Token-BasicAuth*; Azure: *Azure Container Registry REST API*, *Lock a container image*,
//! *Soft delete policy*).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::behind::{Behind, Held, Login, manifest_of};
use super::entra::{self, AcrRole, TENANT, json_reply};
use super::{ControlPlane, VendorFront};
use crate::image::sha256;
use crate::registry_process::{PASSWORD, USERNAME};
use crate::scripted::{Reply, Request};
use crate::token_issuer::parameters;

/// The login server, which is what tokens are for under every other name as well.
const SERVICE: &str = "testkit.azurecr.io";

/// Entries of a page, however many are asked for.
const PAGE_LENGTH: usize = 10;

/// Azure Container Registry in front of a real registry. It takes tokens of
/// [`EntraServer`](super::entra::EntraServer), and [`USERNAME`] with [`PASSWORD`] as admin user. Everybody
/// may pull. It looks like a registry behind a domain of one's own: its login server is another.
pub struct AcrFront {
    front: VendorFront,
    state: Arc<Mutex<State>>,
}

struct State {
    /// Whose the tokens are that were exchanged, and until when they are good.
    refresh_tokens: HashMap<String, (AcrRole, SystemTime)>,
    refresh_lifetime: Duration,
    access_lifetime: Duration,
    /// Scopes of the tokens that were issued.
    granted: HashMap<String, Vec<String>>,
    /// Repository with tag or digest.
    locked: BTreeSet<(String, String)>,
    deletes_softly: bool,
    /// Repository and digest of what was deleted softly.
    deleted: BTreeSet<(String, String)>,
}

struct Plane {
    own: String,
    behind: Arc<Behind>,
    state: Arc<Mutex<State>>,
}

impl AcrFront {
    /// Starts it.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            refresh_tokens: HashMap::new(),
            refresh_lifetime: Duration::from_secs(3 * 3600),
            access_lifetime: Duration::from_secs(4500),
            granted: HashMap::new(),
            locked: BTreeSet::new(),
            deletes_softly: false,
            deleted: BTreeSet::new(),
        }));
        let shared = Arc::clone(&state);
        let front = VendorFront::start(Login::Token, move |own, behind| Plane {
            own: own.to_owned(),
            behind,
            state: shared,
        });
        Self { front, state }
    }

    /// What its tokens are for.
    pub const SERVICE: &str = SERVICE;

    /// The front itself.
    pub fn front(&self) -> &VendorFront {
        &self.front
    }

    /// How long tokens are good from now on: those of `/oauth2/exchange` and those of `/oauth2/token`.
    pub fn set_lifetimes(&self, refresh: Duration, access: Duration) {
        let mut state = lock(&self.state);
        state.refresh_lifetime = refresh;
        state.access_lifetime = access;
    }

    /// No token of `/oauth2/exchange` is good any more.
    pub fn revoke(&self) {
        lock(&self.state).refresh_tokens.clear();
    }

    /// Neither written nor deleted from now on: a tag, or a manifest by its digest.
    pub fn lock(&self, repository: &str, name: &str) {
        lock(&self.state).locked.insert((repository.to_owned(), name.to_owned()));
    }

    /// Nothing in a repository is written or deleted from now on. Its tags and manifests do not say so.
    pub fn lock_repository(&self, repository: &str) {
        self.lock(repository, "");
    }

    /// Manifests that are deleted from now on are kept aside, and not taken again.
    pub fn delete_softly(&self) {
        lock(&self.state).deletes_softly = true;
    }
}

impl ControlPlane for Plane {
    fn answer(&self, request: &Request) -> Option<Reply> {
        match (request.method.as_str(), request.path()) {
            ("POST", "/oauth2/exchange") => Some(self.exchange(request)),
            ("GET" | "POST", "/oauth2/token") => Some(self.token(request)),
            (_, path) if path.starts_with("/acr/v1/") => Some(self.own_api(request)),
            ("PUT" | "DELETE", path) => {
                let (repository, name) = manifest_of(path)?;
                self.may_not_change(request, repository, name)
            }
            _ => None,
        }
    }

    fn edit(&self, request: &Request, status: u16, headers: &mut Vec<(String, String)>) {
        if let (202, "DELETE", Some((repository, digest))) =
            (status, request.method.as_str(), manifest_of(request.path()))
        {
            let mut state = lock(&self.state);
            if state.deletes_softly {
                state.deleted.insert((repository.to_owned(), digest.to_owned()));
            }
        }
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("www-authenticate") {
                let rest = value.split_once("scope=").map(|(_, rest)| rest.to_owned());
                *value = self.challenge();
                if let Some(rest) = rest {
                    value.push_str(",scope=");
                    value.push_str(&rest);
                }
            }
        }
    }
}

impl Plane {
    fn challenge(&self) -> String {
        let own = &self.own;
        format!("Bearer realm=\"http://{own}/oauth2/token\",service=\"{SERVICE}\"")
    }

    /// An Entra token for one that only this registry's token endpoint takes.
    fn exchange(&self, request: &Request) -> Reply {
        let form = String::from_utf8_lossy(request.body()).into_owned();
        let field = |name: &str| parameters(&form, name).pop().unwrap_or_default();
        if field("grant_type") != "access_token" || field("service") != SERVICE {
            return refusal(400, "BAD_REQUEST", "grant_type or service is wrong");
        }
        let role = entra::role(&field("access_token"), TENANT);
        let role = role.filter(|role| *role != AcrRole::Nothing && field("tenant") == TENANT);
        let Some(role) = role else {
            return refusal(401, "UNAUTHORIZED", "authentication required");
        };
        let mut state = lock(&self.state);
        let now = entra::now();
        let exp = now + state.refresh_lifetime.as_secs();
        let number = state.refresh_tokens.len();
        let token = entra::jwt(&json!({"iat": now, "exp": exp, "jti": number, "aud": SERVICE}));
        let until = SystemTime::now() + state.refresh_lifetime;
        state.refresh_tokens.insert(token.clone(), (role, until));
        json_reply(200, &json!({"refresh_token": token}))
    }

    /// The reply does not say how long the token is good.
    fn token(&self, request: &Request) -> Reply {
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        let form = String::from_utf8_lossy(request.body()).into_owned();
        let fields = if request.method == "POST" { form.as_str() } else { query };
        let field = |name: &str| parameters(fields, name).pop().unwrap_or_default();
        if field("service") != SERVICE {
            return refusal(400, "BAD_REQUEST", "service is wrong");
        }
        let role = match (request.method.as_str(), field("grant_type").as_str()) {
            ("POST", "refresh_token") => {
                let state = lock(&self.state);
                let known = state.refresh_tokens.get(&field("refresh_token"));
                known.filter(|(_, until)| *until > SystemTime::now()).map(|(role, _)| Some(*role))
            }
            ("POST", "password") => match (field("username"), field("password")) {
                (user, password) if user.is_empty() && password.is_empty() => Some(None),
                (user, password) => admin(&user, &password),
            },
            ("GET", _) => match request.header("authorization") {
                None => Some(None),
                Some(value) => basic(value).and_then(|(user, password)| admin(&user, &password)),
            },
            _ => return refusal(400, "BAD_REQUEST", "grant_type is wrong"),
        };
        let Some(role) = role else {
            return refusal(401, "UNAUTHORIZED", "authentication required");
        };
        let scopes = parameters(fields, "scope");
        let scopes: Vec<String> =
            scopes.iter().flat_map(|scope| scope.split(' ')).map(ToOwned::to_owned).collect();
        let mut state = lock(&self.state);
        let lifetime = state.access_lifetime;
        let token = self.behind.issuer().issue(&scopes, lifetime, |_, action| may(role, action));
        let granted = scopes.iter().filter_map(|scope| scope.rsplit_once(':'));
        let granted = granted.flat_map(|(resource, actions)| {
            let actions = actions.split(',').filter(|action| may(role, action));
            actions.map(move |action| format!("{resource}:{action}"))
        });
        state.granted.insert(token.clone(), granted.collect());
        json_reply(200, &json!({"access_token": token}))
    }

    fn own_api(&self, request: &Request) -> Reply {
        let path = request.path().trim_start_matches("/acr/v1/");
        let method = request.method.as_str();
        if (method, path) == ("GET", "_catalog") {
            return self.allowed(request, "registry:catalog:*").unwrap_or_else(|| {
                let names = self.behind.names().into_iter();
                let names = names.map(|name| (name.clone(), Value::String(name))).collect();
                page(request, &mut json!({}), "repositories", names)
            });
        }
        let listed = |list: &'static str| path.strip_suffix(list).filter(|_| method == "GET");
        if let Some(name) = listed("/_tags") {
            return self.list(request, name, "tags", |state, digest, held| {
                let tags = held.tags.iter().map(|(tag, time)| {
                    let attributes = attributes(state, name, tag);
                    let entry = json!({
                        "name": tag, "digest": digest, "createdTime": iso(*time),
                        "lastUpdateTime": iso(*time), "signed": false,
                        "changeableAttributes": attributes,
                    });
                    (tag.clone(), entry)
                });
                tags.collect()
            });
        }
        if let Some(name) = listed("/_manifests") {
            return self.list(request, name, "manifests", |state, digest, held| {
                let attributes = attributes(state, name, digest);
                let last = held.tags.values().max().copied().unwrap_or(held.pushed);
                let mut entry = json!({
                    "digest": digest, "imageSize": held.size(), "mediaType": held.media_type,
                    "createdTime": iso(held.pushed), "lastUpdateTime": iso(last.max(held.pushed)),
                    "changeableAttributes": attributes,
                });
                if !held.tags.is_empty() {
                    entry["tags"] = held.tags.keys().cloned().collect();
                }
                vec![(digest.to_owned(), entry)]
            });
        }
        match path.rsplit_once("/_tags/") {
            Some((name, tag)) if method == "DELETE" => self.untag(request, name, tag),
            None if method == "GET" => self.describe(request, path),
            _ => refusal(404, "NOT_FOUND", "no such endpoint"),
        }
    }

    fn list(
        &self,
        request: &Request,
        name: &str,
        list: &str,
        entries: impl Fn(&State, &str, &Held) -> Vec<(String, Value)>,
    ) -> Reply {
        if let Some(refusal) = self.allowed(request, &format!("repository:{name}:metadata_read")) {
            return refusal;
        }
        let Some(held) = self.behind.held(name) else {
            return refusal(404, "NAME_UNKNOWN", "repository name not known to registry");
        };
        let state = lock(&self.state);
        let listed = held.iter().flat_map(|(digest, held)| entries(&state, digest, held)).collect();
        let mut body = json!({"registry": SERVICE, "imageName": name});
        page(request, &mut body, list, listed)
    }

    fn describe(&self, request: &Request, name: &str) -> Reply {
        if let Some(refusal) = self.allowed(request, &format!("repository:{name}:metadata_read")) {
            return refusal;
        }
        let Some(held) = self.behind.held(name) else {
            return refusal(404, "NAME_UNKNOWN", "repository name not known to registry");
        };
        let body = json!({
            "registry": SERVICE, "imageName": name, "manifestCount": held.len(),
            "tagCount": held.values().map(|held| held.tags.len()).sum::<usize>(),
            "changeableAttributes": attributes(&lock(&self.state), name, ""),
        });
        json_reply(200, &body)
    }

    fn untag(&self, request: &Request, name: &str, tag: &str) -> Reply {
        if let Some(refusal) = self.allowed(request, &format!("repository:{name}:delete")) {
            return refusal;
        }
        if lock(&self.state).is_locked(name, tag) {
            return disallowed("it is locked");
        }
        if self.behind.held(name).is_none() {
            return refusal(404, "NAME_UNKNOWN", "repository name not known to registry");
        }
        match self.behind.untag(name, tag) {
            true => Reply::new(202),
            false => refusal(404, "TAG_UNKNOWN", "the specified tag does not exist"),
        }
    }

    /// What locks and soft deletion keep from being written or deleted. Who is asking is left to the
    /// registry if it is nobody that is known here.
    fn may_not_change(&self, request: &Request, repository: &str, name: &str) -> Option<Reply> {
        let state = lock(&self.state);
        state.granted.get(bearer(request)?)?;
        if state.is_locked(repository, name) {
            return Some(disallowed("it is locked"));
        }
        let held = self.behind.held(repository).unwrap_or_default();
        if request.method == "DELETE" {
            let tags = held.get(name).map(|held| held.tags.keys()).into_iter().flatten();
            let mut locked = tags.filter(|tag| state.is_locked(repository, tag));
            return locked.next().map(|_| disallowed("a tag on it is locked"));
        }
        let digest = sha256(request.body());
        let deleted = state.deleted.contains(&(repository.to_owned(), digest));
        deleted.then(|| disallowed("the manifest is soft deleted"))
    }

    /// The refusal, if the request's token does not allow this.
    fn allowed(&self, request: &Request, wanted: &str) -> Option<Reply> {
        let state = lock(&self.state);
        let granted = bearer(request).and_then(|token| state.granted.get(token));
        if granted.is_some_and(|granted| granted.iter().any(|scope| scope == wanted)) {
            return None;
        }
        let error = if granted.is_some() { ",error=\"insufficient_scope\"" } else { "" };
        let challenge = format!("{},scope=\"{wanted}\"{error}", self.challenge());
        let reply = refusal(401, "UNAUTHORIZED", "authentication required");
        Some(reply.header("WWW-Authenticate", challenge))
    }
}

impl State {
    fn is_locked(&self, repository: &str, name: &str) -> bool {
        self.has_lock(repository, name) || self.has_lock(repository, "")
    }

    fn has_lock(&self, repository: &str, name: &str) -> bool {
        self.locked.contains(&(repository.to_owned(), name.to_owned()))
    }
}

/// Whether whoever has this role, or nobody, may do this.
fn may(role: Option<AcrRole>, action: &str) -> bool {
    match role {
        Some(AcrRole::Everything) => true,
        Some(AcrRole::Pull) => matches!(action, "pull" | "metadata_read" | "*"),
        Some(AcrRole::Nothing) => false,
        None => matches!(action, "pull" | "metadata_read"),
    }
}

fn admin(user: &str, password: &str) -> Option<Option<AcrRole>> {
    (user == USERNAME && password == PASSWORD).then_some(Some(AcrRole::Everything))
}

fn basic(header: &str) -> Option<(String, String)> {
    use base64::Engine as _;
    let pair = header.strip_prefix("Basic ")?;
    let pair = base64::engine::general_purpose::STANDARD.decode(pair).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    pair.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

fn bearer(request: &Request) -> Option<&str> {
    request.header("authorization")?.strip_prefix("Bearer ")
}

fn attributes(state: &State, repository: &str, name: &str) -> Value {
    let free = !state.has_lock(repository, name);
    json!({"deleteEnabled": free, "writeEnabled": free, "readEnabled": true, "listEnabled": true})
}

/// One page of what is listed, after `last` and in its order, and where the next one is: an address
/// without a host.
fn page(
    request: &Request,
    body: &mut Value,
    list: &str,
    entries: BTreeMap<String, Value>,
) -> Reply {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let asked = parameters(query, "n").pop().and_then(|number| number.parse().ok());
    let length = PAGE_LENGTH.min(asked.unwrap_or(100));
    let last = parameters(query, "last").pop().unwrap_or_default();
    let mut rest = entries.into_iter().filter(|(name, _)| *name > last);
    let page: Vec<(String, Value)> = rest.by_ref().take(length).collect();
    // A list without entries is left out.
    if !page.is_empty() {
        body[list] = page.iter().map(|(_, entry)| entry.clone()).collect();
    }
    let reply = json_reply(200, body);
    match (rest.next(), page.last()) {
        (Some(_), Some((last, _))) => {
            let (path, last) = (request.path(), last.replace(':', "%3A").replace('/', "%2F"));
            let link = format!("<{path}?last={last}&n={length}&orderby=>; rel=\"next\"");
            reply.header("Link", link)
        }
        _ => reply,
    }
}

fn refusal(status: u16, code: &str, message: &str) -> Reply {
    json_reply(status, &json!({"errors": [{"code": code, "message": message}]}))
}

fn disallowed(why: &str) -> Reply {
    let message =
        format!("The operation is disallowed on this registry, repository or image: {why}");
    refusal(405, "REGISTRY_DISALLOWED_OPERATION", &message)
}

fn iso(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(&Rfc3339).expect("times of tests are after year 0")
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
