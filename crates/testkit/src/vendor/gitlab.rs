//! GitLab in front of its registry: logins, the REST API, and what the registry itself has besides the
//! distribution spec.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::behind::{Behind, Held, Login, manifest_of};
use super::{ControlPlane, VendorFront};
use crate::http::exchange;
use crate::registry_process::{PASSWORD, READER, USERNAME};
use crate::scripted::{Reply, Request};
use crate::token_issuer::parameters;

/// The name of the registry for the token server.
const SERVICE: &str = "container_registry";

/// Failed logins, after which every further one gets the address banned (*Rate limits*).
const MAX_FAILURES: usize = 30;

/// Entries of a page of the REST API.
const REST_PAGE: usize = 20;

/// A digest that nothing has.
const NOTHING: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A job's token, which is the password of `gitlab-ci-token`.
pub const JOB_TOKEN: &str = "glcbt-job-token";

/// The user of a deploy token, which the registry takes and the REST API does not.
pub const DEPLOY_USER: &str = "gitlab+deploy-token-1";

/// A deploy token.
pub const DEPLOY_TOKEN: &str = "gldt-deploy-token";

/// What kind of server it is.
#[derive(Clone, Debug)]
pub struct GitlabSetup {
    /// How long tokens for the registry are good.
    pub token_lifetime: Duration,
    /// Whether tokens for deletion alone are issued, and not only those for everything (`*`).
    pub grants_delete: bool,
    /// Whether the registry has an API below `/gitlab/v1/`.
    pub own_api: bool,
    /// Most entries of a page of that API.
    pub page_limit: usize,
    /// How the registry removes a tag.
    pub tag_deletion: GitlabTagDeletion,
    /// The beginning of the names of protected tags.
    pub protected: Option<String>,
}

/// How a registry of GitLab removes a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitlabTagDeletion {
    /// As the distribution spec says, since GitLab 16.4.
    Native,
    /// At an address of its own, before that.
    Reference,
    /// Not at all: only GitLab's REST API does.
    Rest,
}

impl Default for GitlabSetup {
    /// A server of today.
    fn default() -> Self {
        Self {
            token_lifetime: Duration::from_secs(300),
            grants_delete: true,
            own_api: true,
            page_limit: 1000,
            tag_deletion: GitlabTagDeletion::Native,
            protected: None,
        }
    }
}

/// GitLab with its registry, on one port.
///
/// [`USERNAME`] may do everything with [`PASSWORD`], which is a personal access token as well; [`READER`]
/// may read with it; `gitlab-ci-token` may do everything with [`JOB_TOKEN`], which the REST API takes as
/// a job's token alone; [`DEPLOY_USER`] may do everything with [`DEPLOY_TOKEN`], but not by the REST API.
/// Every path of two parts is a project, but for those below `nobody`.
pub struct GitlabFront {
    front: VendorFront,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    failures: Mutex<usize>,
    /// Tokens issued so far, and those of them that are not taken any more.
    tokens: Mutex<(Vec<String>, Vec<String>)>,
    /// Repositories have the number of their place here.
    numbered: Mutex<Vec<String>>,
}

impl GitlabFront {
    /// Starts a server of this kind.
    pub fn start(setup: GitlabSetup) -> Self {
        let shared = Arc::new(Shared::default());
        let front = VendorFront::start(Login::Token, |own, behind| Plane {
            own: own.to_owned(),
            behind,
            setup,
            shared: Arc::clone(&shared),
        });
        Self { front, shared }
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.front.host()
    }

    /// The server's front.
    pub fn front(&self) -> &VendorFront {
        &self.front
    }

    /// From now on, the registry takes none of the tokens that were issued before.
    pub fn expire_tokens(&self) {
        let mut tokens = lock(&self.shared.tokens);
        let (issued, expired) = &mut *tokens;
        expired.append(issued);
    }

    /// Failed logins since the last good one.
    pub fn failures(&self) -> usize {
        *lock(&self.shared.failures)
    }
}

struct Plane {
    own: String,
    behind: Arc<Behind>,
    setup: GitlabSetup,
    shared: Arc<Shared>,
}

/// What somebody may do in every project.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rights {
    None,
    Read,
    Everything,
}

impl ControlPlane for Plane {
    fn answer(&self, request: &Request) -> Option<Reply> {
        let path = request.path();
        if path == "/jwt/auth" {
            return Some(self.issue(request));
        }
        if let Some(path) = path.strip_prefix("/api/v4/projects/") {
            return Some(self.rest(request, path));
        }
        if path == "/gitlab/v1/" || path.starts_with("/gitlab/v1/repositories/") {
            return Some(self.own_api(request, path));
        }
        if self.is_expired(request) {
            return Some(self.challenge("", "invalid_token"));
        }
        self.change(request)
    }

    fn edit(&self, request: &Request, status: u16, headers: &mut Vec<(String, String)>) {
        if request.path().starts_with("/v2/") {
            headers.push(("Gitlab-Container-Registry-Version".to_owned(), "v4.0.0".to_owned()));
        }
        for (name, value) in headers {
            if status == 401 && name.eq_ignore_ascii_case("www-authenticate") {
                *value = self.own_challenge(value);
            }
        }
    }
}

impl Plane {
    /// The challenge of the registry behind, with GitLab's token server in it.
    fn own_challenge(&self, challenge: &str) -> String {
        let realm = format!("http://{}/jwt/auth", self.own);
        let mut own = challenge.to_owned();
        for (field, value) in [("realm=\"", realm.as_str()), ("service=\"", SERVICE)] {
            if let Some((_, rest)) = challenge.split_once(field)
                && let Some((old, _)) = rest.split_once('"')
            {
                own = own.replace(&format!("{field}{old}\""), &format!("{field}{value}\""));
            }
        }
        own
    }

    fn challenge(&self, scope: &str, error: &str) -> Reply {
        let challenge = self.behind.issuer().challenge(scope, error);
        let body = errors("UNAUTHORIZED", "authentication required");
        json_reply(401, &body).header("WWW-Authenticate", self.own_challenge(&challenge))
    }

    /// Whether the request brings a token that was good once.
    fn is_expired(&self, request: &Request) -> bool {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let claims = token.and_then(|token| token.split('.').nth(1));
        let claims = claims.and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims = claims.and_then(|json| serde_json::from_slice::<Value>(&json).ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if lock(&self.shared.tokens).1.iter().any(|expired| token == Some(expired)) {
            return true;
        }
        claims.is_some_and(|claims| claims["exp"].as_u64().is_some_and(|expires| expires <= now))
    }

    /// `GET /jwt/auth`.
    fn issue(&self, request: &Request) -> Reply {
        let mut failures = lock(&self.shared.failures);
        if *failures > MAX_FAILURES {
            return Reply::new(403).body("Forbidden\n");
        }
        let login = |user: &str, password: &str| {
            format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
        };
        let rights = match request.header("authorization") {
            None => Rights::None,
            Some(value) if value == login(USERNAME, PASSWORD) => Rights::Everything,
            Some(value) if value == login("gitlab-ci-token", JOB_TOKEN) => Rights::Everything,
            Some(value) if value == login(DEPLOY_USER, DEPLOY_TOKEN) => Rights::Everything,
            Some(value) if value == login(READER, PASSWORD) => Rights::Read,
            Some(_) => {
                *failures += 1;
                if *failures > MAX_FAILURES {
                    return Reply::new(403).body("Forbidden\n");
                }
                return json_reply(401, &errors("UNAUTHORIZED", "HTTP Basic: Access denied."));
            }
        };
        if rights != Rights::None {
            *failures = 0;
        }
        if request.query("service") != [SERVICE] {
            return Reply::new(404);
        }
        if rights == Rights::None {
            return json_reply(403, &errors("DENIED", "access forbidden"));
        }
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        let scopes = parameters(query, "scope");
        let allows = |resource: &str, action: &str| {
            let project = resource.strip_prefix("repository:").and_then(project_of);
            match action {
                "pull" => project.is_some(),
                "push" => project.is_some() && rights == Rights::Everything,
                "delete" => {
                    project.is_some() && rights == Rights::Everything && self.setup.grants_delete
                }
                // Of an administrator.
                "*" => rights == Rights::Everything,
                _ => false,
            }
        };
        let token = self.behind.issuer().issue(&scopes, self.setup.token_lifetime, allows);
        lock(&self.shared.tokens).0.push(token.clone());
        json_reply(200, &json!({"token": token}))
    }

    /// What the registry behind says to whoever asks this, if it does not let them.
    fn refusal(&self, request: &Request, method: &str, target: &str) -> Option<Reply> {
        if self.is_expired(request) {
            return Some(self.challenge("", "invalid_token"));
        }
        let headers: Vec<(&str, &str)> = request
            .header("authorization")
            .map(|value| ("Authorization", value))
            .into_iter()
            .collect();
        let reply = exchange(self.behind.host(), method, target, &headers, b"");
        let reply = reply.expect("the registry answers");
        if reply.status() != 401 {
            return None;
        }
        let challenge = reply.header("www-authenticate").unwrap_or_default();
        Some(Reply::new(401).header("WWW-Authenticate", self.own_challenge(challenge)))
    }

    fn is_protected(&self, tag: &str) -> bool {
        self.setup.protected.as_ref().is_some_and(|protected| tag.starts_with(protected.as_str()))
    }

    /// What the registry changes otherwise than the one behind.
    fn change(&self, request: &Request) -> Option<Reply> {
        let protected = || json_reply(401, &errors("PROTECTED_TAG", "insufficient permissions"));
        let removes = |repository: &str, tag: &str| {
            let target = format!("/v2/{repository}/manifests/{NOTHING}");
            self.refusal(request, "DELETE", &target).unwrap_or_else(|| {
                if self.is_protected(tag) {
                    protected()
                } else if self.behind.untag(repository, tag) {
                    Reply::new(202)
                } else {
                    json_reply(404, &errors("MANIFEST_UNKNOWN", "manifest unknown"))
                }
            })
        };
        let reference = request.path().strip_prefix("/v2/").and_then(|path| {
            let (repository, tag) = path.rsplit_once("/tags/reference/")?;
            (self.setup.tag_deletion == GitlabTagDeletion::Reference).then_some((repository, tag))
        });
        if let Some((repository, tag)) = reference {
            return match request.method.as_str() {
                "OPTIONS" => {
                    let target = format!("/v2/{repository}/manifests/{NOTHING}");
                    let refusal = self.refusal(request, "GET", &target);
                    Some(refusal.unwrap_or_else(|| Reply::new(200).header("Allow", "DELETE")))
                }
                "DELETE" => Some(removes(repository, tag)),
                _ => None,
            };
        }
        let (repository, tag) =
            manifest_of(request.path()).filter(|(_, name)| !name.contains(':'))?;
        match request.method.as_str() {
            "PUT" if self.is_protected(tag) => {
                let target = format!("/v2/{repository}/blobs/uploads/");
                Some(self.refusal(request, "POST", &target).unwrap_or_else(protected))
            }
            "DELETE" if self.setup.tag_deletion == GitlabTagDeletion::Native => {
                Some(removes(repository, tag))
            }
            _ => None,
        }
    }

    /// Below `/gitlab/v1/`.
    fn own_api(&self, request: &Request, path: &str) -> Reply {
        if !self.setup.own_api {
            return Reply::new(404)
                .header("Content-Type", "text/plain")
                .body("404 page not found\n");
        }
        if path == "/gitlab/v1/" {
            return self.refusal(request, "GET", "/v2/").unwrap_or_else(|| Reply::new(200));
        }
        let repository = path.trim_start_matches("/gitlab/v1/repositories/");
        let Some(repository) = repository.strip_suffix("/tags/list/") else {
            return Reply::new(301).header("Location", format!("{path}/"));
        };
        let target = format!("/v2/{repository}/manifests/{NOTHING}");
        if let Some(refusal) = self.refusal(request, "GET", &target) {
            return refusal;
        }
        let Some(tags) = self.tags(repository) else {
            return json_reply(
                404,
                &errors("NAME_UNKNOWN", "repository name not known to registry"),
            );
        };
        let limit = request.query("n").first().map_or(Some(100), |n| n.parse().ok());
        let Some(limit) = limit.filter(|limit| (1..=1000).contains(limit)) else {
            let message = "the value of a query parameter is invalid";
            return json_reply(400, &errors("INVALID_QUERY_PARAMETER_VALUE", message));
        };
        let after = request.query("last").first().copied().unwrap_or_default().to_owned();
        let mut left = tags.into_iter().filter(|(tag, _)| *tag > after).peekable();
        let page: Vec<_> = left.by_ref().take(limit.min(self.setup.page_limit)).collect();
        let next = left.peek().and(page.last()).map(|(last, _)| {
            format!("<http://{}{path}?n={limit}&last={last}>; rel=\"next\"", self.own)
        });
        let page: Vec<Value> = page.into_iter().map(|(tag, held)| listed(&tag, &held)).collect();
        let reply = json_reply(200, &Value::Array(page));
        match next {
            Some(next) => reply.header("Link", next),
            None => reply,
        }
    }

    /// The tags of a repository with the manifests that they are on.
    fn tags(&self, repository: &str) -> Option<BTreeMap<String, (String, Held)>> {
        let held = self.behind.held(repository)?.into_iter();
        let tags = held.flat_map(|(digest, held)| {
            let names: Vec<String> = held.tags.keys().cloned().collect();
            names.into_iter().map(move |tag| (tag, (digest.clone(), held.clone())))
        });
        Some(tags.collect())
    }

    /// Below `/api/v4/projects/`.
    fn rest(&self, request: &Request, path: &str) -> Reply {
        let rights = match (request.header("private-token"), request.header("job-token")) {
            (Some(PASSWORD), None) | (None, Some(JOB_TOKEN)) => Rights::Everything,
            (None, None) => Rights::None,
            _ => return message(401, "401 Unauthorized"),
        };
        let (project, rest) = path.split_once('/').unwrap_or((path, ""));
        let project = project.replace("%2F", "/");
        let known = rights != Rights::None && project_of(&project) == Some(&*project);
        let Some(rest) = rest.strip_prefix("registry/repositories").filter(|_| known) else {
            return message(404, "404 Project Not Found");
        };
        let base = format!("http://{}{}", self.own, request.path());
        let query = |name: &str| request.query(name).first().map(|value| (*value).to_owned());
        if rest.is_empty() {
            let repositories: Vec<Value> = self
                .repositories(&project)
                .into_iter()
                .map(|(id, path)| json!({"id": id, "path": path, "project_id": 1, "name": ""}))
                .collect();
            let number: usize = query("page").and_then(|page| page.parse().ok()).unwrap_or(1);
            let reply = |page: &[Value]| json_reply(200, &Value::Array(page.to_vec()));
            let mut pages = repositories.chunks(REST_PAGE).skip(number - 1);
            let page = reply(pages.next().unwrap_or_default());
            return match pages.next() {
                None => page,
                Some(_) => {
                    page.header("Link", format!("<{base}?page={}>; rel=\"next\"", number + 1))
                }
            };
        }
        let parts: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
        let repositories = self.repositories(&project);
        let number = parts[0].parse::<usize>().ok();
        let found = repositories.into_iter().find(|(id, _)| Some(*id) == number);
        let Some((_, repository)) = found else {
            return message(404, "404 Not found");
        };
        let tags = self.tags(&repository).unwrap_or_default();
        match (request.method.as_str(), &parts[1..]) {
            ("GET", ["tags"]) => {
                let after = query("last").unwrap_or_default();
                let mut left = tags.into_keys().filter(|tag| *tag > after).peekable();
                let page: Vec<String> = left.by_ref().take(REST_PAGE).collect();
                let listed =
                    page.iter().map(|tag| json!({"name": tag, "path": "", "location": ""}));
                let reply = json_reply(200, &listed.collect());
                match left.peek().and(page.last()) {
                    None => reply,
                    Some(last) => {
                        let next = format!("{base}?pagination=keyset&last={last}&sort=asc");
                        reply.header("Link", format!("<{next}>; rel=\"next\""))
                    }
                }
            }
            ("GET", ["tags", tag]) => match tags.get(*tag) {
                None => message(404, "404 Tag Not Found"),
                Some((digest, held)) => {
                    json_reply(200, &self.detail(&repository, tag, digest, held))
                }
            },
            ("DELETE", ["tags", tag]) if self.is_protected(tag) => {
                message(403, "403 Forbidden - Protected tag")
            }
            ("DELETE", ["tags", tag]) if self.behind.untag(&repository, tag) => {
                Reply::new(200).body("200")
            }
            ("DELETE", ["tags", _]) => message(404, "404 Tag Not Found"),
            _ => message(404, "404 Not found"),
        }
    }

    /// The repositories of a project, with their numbers.
    fn repositories(&self, project: &str) -> Vec<(usize, String)> {
        let mut numbered = lock(&self.shared.numbered);
        for name in self.behind.names() {
            if !numbered.contains(&name) {
                numbered.push(name);
            }
        }
        let all = numbered.iter().enumerate().map(|(index, name)| (index + 1, name.clone()));
        all.filter(|(_, name)| project_of(name) == Some(project)).collect()
    }

    /// What the REST API says of a tag, most of which it reads in the image's config.
    fn detail(&self, repository: &str, tag: &str, digest: &str, held: &Held) -> Value {
        let manifest = held.json();
        let config = manifest["config"]["digest"].as_str().map(|config| {
            let target = format!("/v2/{repository}/blobs/{config}");
            let reply = self.behind.exchange(repository, "GET", &target);
            serde_json::from_slice::<Value>(&reply.body).unwrap_or_default()
        });
        let layers = manifest["layers"].as_array();
        let size = layers
            .map(|layers| layers.iter().filter_map(|layer| layer["size"].as_u64()).sum::<u64>());
        json!({
            "name": tag,
            "path": format!("{repository}:{tag}"),
            "digest": digest,
            "revision": config.as_ref().map(|_| "0"),
            "created_at": config.map(|config| config["created"].clone()),
            "total_size": size,
        })
    }
}

/// A tag in the list of the registry's own API.
fn listed(tag: &str, (digest, held): &(String, Held)) -> Value {
    let pushed = rfc3339(held.tags.get(tag).copied().unwrap_or(held.pushed));
    let mut listed = json!({
        "name": tag,
        "digest": digest,
        "media_type": held.media_type,
        "size_bytes": held.size(),
        "created_at": pushed,
        "published_at": pushed,
    });
    if let Some(config) = held.json()["config"]["digest"].as_str() {
        listed["config_digest"] = config.into();
    }
    listed
}

/// The project that a repository belongs to: the first two parts of its name.
fn project_of(name: &str) -> Option<&str> {
    let mut slashes = name.match_indices('/').map(|(at, _)| at);
    let namespace = &name[..slashes.next()?];
    let end = slashes.next().unwrap_or(name.len());
    (namespace != "nobody").then_some(&name[..end])
}

fn errors(code: &str, message: &str) -> Value {
    json!({"errors": [{"code": code, "message": message}]})
}

/// A refusal of the REST API.
fn message(status: u16, text: &str) -> Reply {
    json_reply(status, &json!({"message": text}))
}

fn json_reply(status: u16, body: &Value) -> Reply {
    Reply::new(status).header("Content-Type", "application/json").body(body.to_string())
}

/// With milliseconds, as GitLab writes times.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Counted in eras of 400 years that begin in March, so that leap days come last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + carry;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let millisecond = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_gitlab_writes_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000Z"),
            (1_767_323_045, "2026-01-02T03:04:05.000Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
