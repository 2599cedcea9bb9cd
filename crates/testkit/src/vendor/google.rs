//! Google Artifact Registry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::behind::{Behind, Held, Login, manifest_of};
use super::{ControlPlane, VendorFront};
use crate::fault_proxy::FaultProxy;
use crate::scripted::{Reply, Request};
use crate::token_issuer::parameters;

/// The location of everything in the front, which the host of the real service says.
const LOCATION: &str = "europe-west1";

/// Most images or tags that a list of the registry holds (*Quotas and limits*).
const LIST_LIMIT: usize = 10_000;

/// The project that everybody may read.
const PUBLIC: &str = "public";

/// Artifact Registry's control plane: the logins, the longer list of tags, deletions in two steps, no
/// uploads in pieces, repositories that have to be made by the REST API, and a metadata server.
///
/// Repositories are named `PROJECT/REPOSITORY/IMAGE`. Whoever has [`access_token`](Self::access_token) or
/// [`json_key`](Self::json_key) may do everything, [`reader_token`](Self::reader_token) may read, and
/// everybody may read what is in the project `public`.
pub struct GoogleFront {
    front: VendorFront,
    state: Arc<Mutex<State>>,
}

struct State {
    /// How many access tokens were replaced.
    rotated: u32,
    /// The registry's own tokens, and whose they are.
    issued: BTreeMap<String, Who>,
    /// `PROJECT/REPOSITORY`.
    repositories: BTreeSet<String>,
    /// Operations under way: what they make, and how often they were asked for.
    operations: Vec<(String, u32)>,
    /// How many images a list of tags holds at most.
    list_limit: usize,
    /// Repositories whose tags are immutable.
    immutable: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Owner,
    Reader,
    Anybody,
}

struct Google {
    host: String,
    behind: Arc<Behind>,
    state: Arc<Mutex<State>>,
}

impl GoogleFront {
    /// Starts without any repository.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            rotated: 0,
            issued: BTreeMap::new(),
            repositories: BTreeSet::new(),
            operations: Vec::new(),
            list_limit: LIST_LIMIT,
            immutable: BTreeSet::new(),
        }));
        let front = VendorFront::start(Login::Token, |host, behind| Google {
            host: host.to_owned(),
            behind,
            state: Arc::clone(&state),
        });
        Self { front, state }
    }

    /// `127.0.0.1:port`: of the registry, of the metadata server, and of the REST API.
    pub fn host(&self) -> String {
        self.front.host()
    }

    /// Where the REST API is, with the location that the host does not say.
    pub fn api_url(&self) -> String {
        format!("http://{}/locations/{LOCATION}", self.host())
    }

    /// What passes, and what is to go wrong.
    pub fn proxy(&self) -> &FaultProxy {
        self.front.proxy()
    }

    /// The registry behind it.
    pub fn behind(&self) -> &Behind {
        self.front.behind()
    }

    /// The access token of somebody who may do everything.
    pub fn access_token(&self) -> String {
        self.state().access_token()
    }

    /// The access token of somebody who may read.
    pub fn reader_token(&self) -> &'static str {
        READER_TOKEN
    }

    /// The key of a service account that may do everything.
    pub fn json_key(&self) -> &'static str {
        JSON_KEY
    }

    /// From now on there is another [`access_token`](Self::access_token), and those of the registry have
    /// expired too.
    pub fn rotate(&self) {
        let mut state = self.state();
        state.rotated += 1;
        state.issued.clear();
    }

    /// Makes `PROJECT/REPOSITORY`.
    pub fn create(&self, repository: &str) {
        self.state().repositories.insert(repository.to_owned());
    }

    /// Lists of tags hold only this many of the images that are there, and others up to the limit, as if
    /// there were more than that.
    pub fn overflow(&self, images: usize) {
        self.state().list_limit = images;
    }

    /// Tags of `PROJECT/REPOSITORY` can be neither moved nor deleted from now on.
    pub fn make_immutable(&self, repository: &str) {
        self.state().immutable.insert(repository.to_owned());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

const READER_TOKEN: &str = "ya29.testkit-reader";
const JSON_KEY: &str = r#"{"type":"service_account","client_email":"ci@testkit"}"#;

impl State {
    fn access_token(&self) -> String {
        format!("ya29.testkit-owner-{}", self.rotated)
    }

    /// Whose this access token is.
    fn owner_of(&self, token: &str) -> Option<Who> {
        match token {
            READER_TOKEN => Some(Who::Reader),
            token if token == self.access_token() => Some(Who::Owner),
            _ => None,
        }
    }
}

impl ControlPlane for Google {
    fn answer(&self, request: &Request) -> Option<Reply> {
        let path = request.path();
        if path == "/v2/token" {
            return Some(self.token(request));
        }
        if path == "/" || path.starts_with("/computeMetadata/") {
            return Some(self.metadata(request, path));
        }
        if let Some(path) = path.strip_prefix("/v1/") {
            return Some(self.api(request, path).unwrap_or_else(|refusal| refusal));
        }
        self.registry(request)
    }

    fn edit(&self, _: &Request, status: u16, headers: &mut Vec<(String, String)>) {
        let challenges = headers
            .iter_mut()
            .filter(|(name, _)| status == 401 && name.eq_ignore_ascii_case("www-authenticate"));
        for (_, value) in challenges {
            let scope = value.split_once(",scope=").map(|(_, scope)| scope.to_owned());
            *value = format!("Bearer realm=\"http://{0}/v2/token\",service=\"{0}\"", self.host);
            if let Some(scope) = scope {
                value.push_str(&format!(",scope={scope}"));
            }
        }
    }
}

impl Google {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Who asks for a token of the registry; nobody whom it would let in.
    fn login(&self, request: &Request) -> Option<Who> {
        let Some(header) = request.header("authorization") else { return Some(Who::Anybody) };
        let pair = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
        let pair = String::from_utf8(pair).ok()?;
        let (user, password) = pair.split_once(':')?;
        match user {
            "oauth2accesstoken" | "_token" | "_dcgcloud_token" => self.state().owner_of(password),
            "_json_key" => (password == JSON_KEY).then_some(Who::Owner),
            "_json_key_base64" => (password == STANDARD.encode(JSON_KEY)).then_some(Who::Owner),
            _ => None,
        }
    }

    fn token(&self, request: &Request) -> Reply {
        let Some(who) = self.login(request) else {
            return refusal(401, "UNAUTHORIZED", "failed authentication");
        };
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        let scopes = parameters(query, "scope");
        let lifetime = Duration::from_secs(300);
        let token = self.behind.issuer().issue(&scopes, lifetime, |resource, action| match who {
            Who::Owner => true,
            Who::Reader => action == "pull",
            Who::Anybody => {
                action == "pull" && is_public(resource.trim_start_matches("repository:"))
            }
        });
        self.state().issued.insert(token.clone(), who);
        answer(&json!({"token": token, "expires_in": lifetime.as_secs()}))
    }

    fn metadata(&self, request: &Request, path: &str) -> Reply {
        if request.header("metadata-flavor") != Some("Google") {
            return Reply::new(403);
        }
        let reply = match path {
            "/" => Reply::new(200),
            "/computeMetadata/v1/instance/service-accounts/default/token" => answer(&json!({
                "access_token": self.state().access_token(),
                "expires_in": 3599,
                "token_type": "Bearer",
            })),
            _ => Reply::new(404),
        };
        reply.header("Metadata-Flavor", "Google")
    }

    /// What is below `/v2/`, as far as the registry behind would do it in another way.
    fn registry(&self, request: &Request) -> Option<Reply> {
        let path = request.path().strip_prefix("/v2/")?;
        // Whoever did not say who they are is asked by the registry.
        let token = request.header("authorization")?.strip_prefix("Bearer ")?;
        let known = self.state().issued.get(token).copied();
        let Some(who) = known else {
            let challenge = format!(
                "Bearer realm=\"http://{0}/v2/token\",service=\"{0}\",error=\"invalid_token\"",
                self.host
            );
            return Some(Reply::new(401).header("WWW-Authenticate", challenge));
        };
        if path == "_catalog" {
            return Some(answer(&json!({"repositories": []})));
        }
        let name = name_of(path)?;
        let reads = matches!(request.method.as_str(), "GET" | "HEAD");
        let allowed = match who {
            Who::Owner => true,
            Who::Reader => reads,
            Who::Anybody => reads && is_public(name),
        };
        if !allowed {
            return Some(refusal(
                403,
                "DENIED",
                "Permission denied on resource, or it may not exist",
            ));
        }
        let repository: Vec<&str> = name.split('/').take(2).collect();
        let repository = repository.join("/");
        let (exists, immutable) = {
            let state = self.state();
            let exists = state.repositories.contains(&repository) || !name.contains('/');
            (exists, state.immutable.contains(&repository))
        };
        if !exists {
            let message = format!("Repository \"{repository}\" not found");
            return Some(refusal(404, "NAME_UNKNOWN", &message));
        }
        if path.ends_with("/tags/list") {
            return Some(self.list(name));
        }
        if request.method == "PATCH" && request.header("content-range").is_some() {
            let message = "Chunked uploads are not supported";
            return Some(refusal(400, "UNSUPPORTED", message));
        }
        let (_, reference) = manifest_of(request.path())?;
        let by_digest = reference.contains(':');
        match request.method.as_str() {
            "DELETE" if by_digest => self.refuse_deletion(name, reference),
            "DELETE" if immutable => Some(immutable_tag(reference)),
            "DELETE" if self.behind.untag(name, reference) => Some(Reply::new(202)),
            "DELETE" => {
                Some(refusal(404, "MANIFEST_UNKNOWN", "Failed to fetch the manifest of this tag"))
            }
            "PUT" if !by_digest && immutable && self.is_tagged(name, reference) => {
                Some(immutable_tag(reference))
            }
            _ => None,
        }
    }

    /// Why a manifest cannot be deleted.
    fn refuse_deletion(&self, name: &str, digest: &str) -> Option<Reply> {
        let held = self.behind.held(name)?;
        let tags = &held.get(digest)?.tags;
        if !tags.is_empty() {
            let message = format!("Manifest is still referenced by tag: {:?}", tags.keys());
            return Some(refusal(400, "GOOGLE_MANIFEST_DANGLING_TAG", &message));
        }
        let parent = held.iter().find(|(_, held)| held.children().contains(digest));
        parent.map(|(parent, _)| {
            let message = format!("Manifest is still referenced by parent image: {parent}");
            refusal(400, "GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE", &message)
        })
    }

    fn is_tagged(&self, name: &str, tag: &str) -> bool {
        let held = self.behind.held(name).unwrap_or_default();
        held.values().any(|held| held.tags.contains_key(tag))
    }

    /// The list of tags with what Google adds to it.
    fn list(&self, name: &str) -> Reply {
        let limit = self.state().list_limit;
        let held = self.behind.held(name).unwrap_or_default();
        let mut manifests: BTreeMap<String, Value> = held
            .iter()
            .take(limit)
            .map(|(digest, held)| {
                let about = json!({
                    "imageSizeBytes": held.size().to_string(),
                    "layerId": "",
                    "mediaType": held.media_type,
                    "tag": held.tags.keys().collect::<Vec<_>>(),
                    // Reproducible images say so.
                    "timeCreatedMs": "0",
                    "timeUploadedMs": milliseconds(held.pushed).to_string(),
                });
                (digest.clone(), about)
            })
            .collect();
        let tags: Vec<&String> =
            held.values().take(limit).flat_map(|held| held.tags.keys()).collect();
        if limit < LIST_LIMIT {
            for number in manifests.len()..LIST_LIMIT {
                let about = json!({
                    "imageSizeBytes": "1", "mediaType": "", "tag": [], "timeUploadedMs": "1",
                });
                manifests.insert(format!("sha256:{number:064x}"), about);
            }
        }
        let names = self.behind.names();
        let made = self.state().repositories.clone();
        let below = format!("{name}/");
        let children: BTreeSet<&str> = names
            .iter()
            .chain(&made)
            .filter_map(|other| other.strip_prefix(&below)?.split('/').next())
            .collect();
        answer(&json!({"child": children, "manifest": manifests, "name": name, "tags": tags}))
    }

    /// The REST API of Artifact Registry, below `/v1/`.
    fn api(&self, request: &Request, path: &str) -> Result<Reply, Reply> {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let who = token.and_then(|token| self.state().owner_of(token));
        let who = who.ok_or_else(|| api_refusal(401, "UNAUTHENTICATED", "invalid credentials"))?;
        let missing = || api_refusal(404, "NOT_FOUND", "Requested entity was not found.");
        let rest = path.strip_prefix("projects/").ok_or_else(missing)?;
        let (project, rest) = rest.split_once("/locations/").ok_or_else(missing)?;
        let (location, rest) = rest.split_once('/').ok_or_else(missing)?;
        if location != LOCATION {
            return Err(missing());
        }
        match (request.method.as_str(), rest) {
            ("POST", "repositories") if who == Who::Owner => self.make(request, project),
            ("POST", _) => Err(api_refusal(403, "PERMISSION_DENIED", "Permission denied")),
            ("GET", rest) => {
                if let Some(operation) = rest.strip_prefix("operations/") {
                    return self.operation(operation).ok_or_else(missing);
                }
                let repository = rest.strip_prefix("repositories/").ok_or_else(missing)?;
                let repository = repository.strip_suffix("/dockerImages").ok_or_else(missing)?;
                self.images(request, project, repository).ok_or_else(missing)
            }
            _ => Err(missing()),
        }
    }

    fn make(&self, request: &Request, project: &str) -> Result<Reply, Reply> {
        let invalid = |message| api_refusal(400, "INVALID_ARGUMENT", message);
        let [id] = request.query("repositoryId")[..] else {
            return Err(invalid("repositoryId is required"));
        };
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        if body["format"] != "DOCKER" {
            return Err(invalid("invalid format"));
        }
        let mut state = self.state();
        let repository = format!("{project}/{id}");
        if state.repositories.contains(&repository) {
            return Err(api_refusal(409, "ALREADY_EXISTS", "the repository already exists"));
        }
        state.operations.push((repository, 0));
        let name = format!(
            "projects/{project}/locations/{LOCATION}/operations/{}",
            state.operations.len() - 1
        );
        Ok(answer(&json!({"name": name, "metadata": {}})))
    }

    /// An operation is done when it is asked for the second time.
    fn operation(&self, number: &str) -> Option<Reply> {
        let mut state = self.state();
        let (repository, asked) = state.operations.get_mut(number.parse::<usize>().ok()?)?;
        *asked += 1;
        if *asked < 2 {
            return Some(answer(&json!({"name": number, "done": false})));
        }
        let repository = repository.clone();
        state.repositories.insert(repository);
        Some(answer(&json!({"name": number, "done": true, "response": {"format": "DOCKER"}})))
    }

    /// A page of the images of a repository, of all names.
    fn images(&self, request: &Request, project: &str, repository: &str) -> Option<Reply> {
        let whole = format!("{project}/{repository}");
        if !self.state().repositories.contains(&whole) {
            return None;
        }
        let number = |name: &str| request.query(name).first().and_then(|text| text.parse().ok());
        // The documented maximum is a thousand; small pages show that the others are asked for.
        let size = number("pageSize").unwrap_or(100_usize).min(3);
        let start = number("pageToken").unwrap_or(0_usize);
        let below = format!("{whole}/");
        let mut all = Vec::new();
        for name in self.behind.names() {
            let Some(image) = name.strip_prefix(&below) else { continue };
            for (digest, held) in self.behind.held(&name).unwrap_or_default() {
                all.push(self.image(&whole, image, &digest, &held));
            }
        }
        let page: Vec<&Value> = all.iter().skip(start).take(size).collect();
        let mut reply = json!({"dockerImages": page});
        if start + size < all.len() {
            reply["nextPageToken"] = json!((start + size).to_string());
        }
        Some(answer(&reply))
    }

    fn image(&self, repository: &str, image: &str, digest: &str, held: &Held) -> Value {
        let (project, id) = repository.split_once('/').expect("it was split before");
        let parent = format!("projects/{project}/locations/{LOCATION}/repositories/{id}");
        json!({
            "name": format!("{parent}/dockerImages/{}@{digest}", image.replace('/', "%2F")),
            "uri": format!("{}/{repository}/{image}@{digest}", self.host),
            "tags": held.tags.keys().collect::<Vec<_>>(),
            "imageSizeBytes": held.size().to_string(),
            "uploadTime": rfc3339(held.pushed),
            "mediaType": held.media_type,
        })
    }
}

fn is_public(name: &str) -> bool {
    name.split('/').next() == Some(PUBLIC)
}

/// The name in `NAME/manifests/…` and its like.
fn name_of(path: &str) -> Option<&str> {
    let ends = ["/manifests/", "/blobs/", "/tags/", "/referrers/"];
    ends.iter().find_map(|end| path.rsplit_once(end)).map(|(name, _)| name)
}

fn answer(body: &Value) -> Reply {
    Reply::new(200).header("Content-Type", "application/json").body(body.to_string())
}

fn refusal(status: u16, code: &str, message: &str) -> Reply {
    let body = json!({"errors": [{"code": code, "message": message}]});
    Reply::new(status).header("Content-Type", "application/json").body(body.to_string())
}

fn api_refusal(status: u16, code: &str, message: &str) -> Reply {
    let body = json!({"error": {"code": status, "message": message, "status": code}});
    Reply::new(status).header("Content-Type", "application/json").body(body.to_string())
}

/// Its words are those of *Troubleshoot Docker image issues*.
fn immutable_tag(tag: &str) -> Reply {
    let message = format!("cannot update tag {tag}. The repository has enabled tag immutability");
    refusal(400, "MANIFEST_INVALID", &message)
}

fn milliseconds(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// A time as Google's APIs write it: the days of the civil calendar by counting years and months.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= months[month] {
        days -= months[month];
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let (month, day, micros) = (month + 1, days + 1, since.subsec_micros());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_827_696, "2000-02-29T12:34:56.000000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000000Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
