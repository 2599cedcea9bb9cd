//! What Amazon puts in front of its registries (*Amazon ECR API Reference*, *Amazon ECR Public API
//! Reference*; refusals below `/v2/` as clients' users report them).

mod api;
mod signature;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Behind, ControlPlane, Login, VendorFront};
use crate::fault_proxy::FaultProxy;
use crate::scripted::{Reply, Request};
use crate::token_issuer::parameters;

/// Entries of a page of tags, if nobody says.
const TAGS_PAGE: usize = 100;

/// Most entries of a page that may be asked for.
const MAX_PAGE: usize = 1000;

/// ECR on a free port of 127.0.0.1: the registry, and its API below `/`.
///
/// Keys are checked by their signatures, and passwords for whether they were issued and have not expired.
pub struct EcrFront {
    front: VendorFront,
    plane: Arc<Plane>,
}

/// Whose front it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Private,
    Public,
}

struct Plane {
    service: Service,
    /// `host:port`.
    own: String,
    behind: Arc<Behind>,
    /// The repositories that were made.
    repositories: Mutex<BTreeSet<String>>,
    /// Those whose tags cannot be moved.
    immutable: Mutex<BTreeSet<String>>,
    /// Passwords, and whether each has expired.
    passwords: Mutex<BTreeMap<String, bool>>,
    lifetime: Mutex<Duration>,
    /// How many of the next requests to the API are refused as too many.
    throttled: AtomicU32,
    /// Entries of a page of the API, whatever was asked for.
    page: AtomicU32,
    closed: AtomicBool,
}

impl EcrFront {
    /// The access key that may do everything.
    pub const ACCESS_KEY: &'static str = "AKIATESTKITTESTKIT01";
    /// What belongs to it.
    pub const SECRET_KEY: &'static str = "testkit/secret+access/key";
    /// The region that it is in; public registries are in another.
    pub const REGION: &'static str = "eu-central-1";
    /// What the names of its public repositories begin with.
    pub const ALIAS: &'static str = "contract";

    /// A private registry.
    pub fn private() -> Self {
        Self::start(Service::Private, Login::Front)
    }

    /// A public registry.
    pub fn public() -> Self {
        Self::start(Service::Public, Login::Token)
    }

    fn start(service: Service, login: Login) -> Self {
        let mut made = None;
        let front = VendorFront::start(login, |own, behind| {
            let plane = Arc::new(Plane {
                service,
                own: own.to_owned(),
                behind,
                repositories: Mutex::default(),
                immutable: Mutex::default(),
                passwords: Mutex::default(),
                lifetime: Mutex::new(Duration::from_secs(12 * 3600)),
                throttled: AtomicU32::new(0),
                page: AtomicU32::new(20),
                closed: AtomicBool::new(false),
            });
            made = Some(Arc::clone(&plane));
            Shared(plane)
        });
        Self { front, plane: made.expect("the front makes its plane at once") }
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.front.host()
    }

    /// Where the API is.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// What passes, and what is to go wrong.
    pub fn proxy(&self) -> &FaultProxy {
        self.front.proxy()
    }

    /// The registry behind it.
    pub fn behind(&self) -> &Behind {
        self.front.behind()
    }

    /// Makes a repository, if it is not there.
    pub fn create(&self, repository: &str) {
        lock(&self.plane.repositories).insert(repository.to_owned());
    }

    /// From now on the repository's tags cannot be moved.
    pub fn make_immutable(&self, repository: &str) {
        lock(&self.plane.immutable).insert(repository.to_owned());
    }

    /// A password that the registry takes.
    pub fn password(&self) -> String {
        self.plane.issue()
    }

    /// From now on passwords are said to be good for this long.
    pub fn set_lifetime(&self, lifetime: Duration) {
        *lock(&self.plane.lifetime) = lifetime;
    }

    /// No password that was issued so far is good any more.
    pub fn expire_passwords(&self) {
        for expired in lock(&self.plane.passwords).values_mut() {
            *expired = true;
        }
    }

    /// How many passwords were issued so far.
    pub fn issued(&self) -> usize {
        lock(&self.plane.passwords).len()
    }

    /// The next requests to the API are refused as too many.
    pub fn throttle(&self, requests: u32) {
        self.plane.throttled.store(requests, Ordering::SeqCst);
    }

    /// From now on the key may do nothing.
    pub fn close(&self) {
        self.plane.closed.store(true, Ordering::SeqCst);
    }

    /// The actions that were asked of the API so far.
    pub fn actions(&self) -> Vec<String> {
        let exchanges = self.proxy().exchanges();
        let targets = exchanges.iter().filter_map(|exchange| exchange.header("x-amz-target"));
        targets.filter_map(|target| target.split_once('.')).map(|(_, name)| name.into()).collect()
    }
}

struct Shared(Arc<Plane>);

impl ControlPlane for Shared {
    fn answer(&self, request: &Request) -> Option<Reply> {
        if request.header("x-amz-target").is_some() {
            return Some(self.0.api(request));
        }
        match self.0.service {
            Service::Private => self.0.private(request),
            Service::Public => self.0.public(request),
        }
    }

    fn edit(&self, request: &Request, status: u16, headers: &mut Vec<(String, String)>) {
        let is = |name: &str, known: &str| name.eq_ignore_ascii_case(known);
        // A manifest that was put has no address.
        if request.method == "PUT" && request.path().contains("/manifests/") {
            headers.retain(|(name, _)| !is(name, "location"));
        }
        if self.0.service == Service::Public && status == 401 {
            for (_, value) in headers.iter_mut().filter(|(name, _)| is(name, "www-authenticate")) {
                let error = value.find(",error=").map_or("", |start| &value[start..]).to_owned();
                let own = &self.0.own;
                *value = format!(
                    "Bearer realm=\"http://{own}/token/\",service=\"public.ecr.aws\",scope=\"aws\"\
                     {error}"
                );
            }
        }
    }
}

/// What a login is worth.
enum Known {
    Good,
    Expired,
    No,
}

impl Plane {
    fn issue(&self) -> String {
        let mut passwords = lock(&self.passwords);
        let password = format!("ecr-password-{}", passwords.len());
        passwords.insert(password.clone(), false);
        password
    }

    fn login(&self, request: &Request) -> Known {
        let basic = request.header("authorization").and_then(|value| value.strip_prefix("Basic "));
        let pair = basic.and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        let pair = String::from_utf8_lossy(&pair).into_owned();
        let password = pair.strip_prefix("AWS:").unwrap_or_default();
        match lock(&self.passwords).get(password) {
            Some(false) => Known::Good,
            Some(true) => Known::Expired,
            None => Known::No,
        }
    }

    /// Below `/v2/` of a private registry.
    fn private(&self, request: &Request) -> Option<Reply> {
        match self.login(request) {
            Known::Good => self.spec(request),
            Known::Expired => {
                let message = "Your authorization token has expired. Reauthenticate and try again.";
                Some(refusal(403, "DENIED", message))
            }
            Known::No => {
                let realm = format!("Basic realm=\"http://{}/\"", self.own);
                let challenge = format!("{realm},service=\"ecr.amazonaws.com\"");
                let reply = refusal(401, "UNAUTHORIZED", "Not Authorized");
                Some(reply.header("WWW-Authenticate", challenge))
            }
        }
    }

    /// A public registry's token server, and what is below `/v2/`.
    fn public(&self, request: &Request) -> Option<Reply> {
        if request.path() != "/token/" {
            // Whoever has no token is sent for one by the registry itself.
            return request.header("authorization").and_then(|_| self.spec(request));
        }
        let writes = match (request.header("authorization"), self.login(request)) {
            (None, _) => false,
            (Some(_), Known::Good) => true,
            (Some(_), _) => return Some(Reply::new(401)),
        };
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        let mut scopes = parameters(query, "scope");
        // One scope stands for everything.
        let made = lock(&self.repositories);
        scopes.extend(made.iter().map(|name| format!("repository:{name}:pull,push,delete")));
        let lifetime = Duration::from_secs(300);
        let issuer = self.behind.issuer();
        let token = issuer.issue(&scopes, lifetime, |_, action| writes || action == "pull");
        let body = json!({"token": token});
        Some(Reply::new(200).header("Content-Type", "application/json").body(body.to_string()))
    }

    /// What is not as the spec, or the registry behind, has it.
    fn spec(&self, request: &Request) -> Option<Reply> {
        let rest = request.path().strip_prefix("/v2/").filter(|rest| !rest.is_empty())?;
        if rest == "_catalog" {
            return None;
        }
        let parts = ["/manifests/", "/blobs/", "/tags/", "/referrers/"];
        let (repository, name) = parts.iter().find_map(|part| rest.rsplit_once(part))?;
        if !lock(&self.repositories).contains(repository) {
            let message = format!("The repository with name '{repository}' does not exist");
            return Some(refusal(404, "NAME_UNKNOWN", &message));
        }
        if request.path().ends_with("/tags/list") {
            return self.tags(request, repository);
        }
        match request.method.as_str() {
            "POST" if !request.query("mount").is_empty() => {
                // Unless the account wants it, nothing is taken from other repositories.
                let target = format!("/v2/{repository}/blobs/uploads/");
                let begun = self.behind.exchange(repository, "POST", &target);
                let location = begun.header("location").unwrap_or_default();
                let location = location.replace(self.behind.host(), &self.own);
                let reply = Reply::new(begun.status()).header("Location", location);
                Some(reply.header("Range", "0-0"))
            }
            "PUT" if request.path().contains("/manifests/") => {
                let held = self.behind.held(repository).unwrap_or_default();
                let there = held.values().any(|held| held.tags.contains_key(name));
                if !there || !lock(&self.immutable).contains(repository) {
                    return None;
                }
                let message = format!(
                    "The image tag '{name}' already exists in the '{repository}' repository and \
                     cannot be overwritten because the tag is immutable."
                );
                Some(refusal(400, "TAG_INVALID", &message))
            }
            _ => None,
        }
    }

    /// A page of tags.
    fn tags(&self, request: &Request, repository: &str) -> Option<Reply> {
        let length = request.query("n").first().and_then(|n| n.parse().ok()).unwrap_or(TAGS_PAGE);
        if length > MAX_PAGE {
            let message = "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member \
                           must have value less than or equal to 1000'";
            return Some(refusal(405, "UNSUPPORTED", message));
        }
        let held = self.behind.held(repository).unwrap_or_default();
        let tags: BTreeSet<String> =
            held.into_values().flat_map(|held| held.tags.into_keys()).collect();
        let last = request.query("last").first().map(|last| (*last).to_owned());
        let after = last.unwrap_or_default();
        let rest: Vec<String> = tags.into_iter().filter(|tag| *tag > after).collect();
        let page = &rest[..rest.len().min(length)];
        let body = json!({"name": repository, "tags": page}).to_string();
        let reply = Reply::new(200).header("Content-Type", "application/json").body(body);
        Some(match page.last() {
            Some(last) if page.len() < rest.len() => {
                let next = format!("</v2/{repository}/tags/list?last={last}&n={length}>");
                reply.header("Link", format!("{next}; rel=\"next\""))
            }
            _ => reply,
        })
    }
}

fn refusal(status: u16, code: &str, message: &str) -> Reply {
    let body = json!({"errors": [{"code": code, "message": message}]});
    Reply::new(status).header("Content-Type", "application/json").body(body.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
