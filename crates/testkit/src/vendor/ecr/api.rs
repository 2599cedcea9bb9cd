//! ECR's own API.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{EcrFront, MAX_PAGE, Plane, Service, lock, signature};
use crate::scripted::{Reply, Request};
use crate::vendor::Held;

/// The account whose registry it is.
const ACCOUNT: &str = "123456789012";

/// Most items of a request for deletion.
const MAX_BATCH: usize = 100;

/// A refusal: its code and message.
struct Refused(&'static str, String);

impl Plane {
    pub(super) fn api(&self, request: &Request) -> Reply {
        match self.act(request) {
            Ok(body) => reply(200, &body),
            Err(Refused(code, message)) => {
                let body = json!({"__type": code, "message": message});
                reply(if code.starts_with("Server") { 500 } else { 400 }, &body)
            }
        }
    }

    fn act(&self, request: &Request) -> Result<Value, Refused> {
        let (region, name, prefix) = match self.service {
            Service::Private => (EcrFront::REGION, "ecr", "AmazonEC2ContainerRegistry_V20150921."),
            Service::Public => ("us-east-1", "ecr-public", "SpencerFrontendService."),
        };
        let unknown = || Refused("UnknownOperationException", String::new());
        let target = request.header("x-amz-target").unwrap_or_default();
        let action = target.strip_prefix(prefix).ok_or_else(unknown)?;
        if request.header("content-type") != Some("application/x-amz-json-1.1") {
            return Err(unknown());
        }
        let keys = (EcrFront::ACCESS_KEY, EcrFront::SECRET_KEY);
        signature::check(request, keys, region, name)
            .map_err(|code| Refused(code, "The security token is invalid.".to_owned()))?;
        if self.closed.load(Ordering::SeqCst) {
            let message = format!("User is not authorized to perform: {name}:{action}");
            return Err(Refused("AccessDeniedException", message));
        }
        let fewer = |left: u32| left.checked_sub(1);
        if self.throttled.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok() {
            return Err(Refused("ThrottlingException", "Rate exceeded".to_owned()));
        }
        let body: Value = serde_json::from_slice(request.body())
            .map_err(|_| Refused("SerializationException", String::new()))?;
        match (action, self.service) {
            ("GetAuthorizationToken", _) => Ok(self.authorization()),
            ("DescribeImages", _) => self.images(&body),
            ("DescribeImageTags", Service::Public) => self.image_tags(&body),
            ("DescribeRepositories", _) => self.listed(&body),
            ("DescribeRegistries", Service::Public) => Ok(json!({"registries": [{
                "registryId": ACCOUNT,
                "aliases": [{"name": EcrFront::ALIAS, "status": "ACTIVE"}],
            }]})),
            ("CreateRepository", _) => self.made(&body),
            ("BatchDeleteImage", _) => self.deleted(&body),
            _ => Err(unknown()),
        }
    }

    fn authorization(&self) -> Value {
        let token = STANDARD.encode(format!("AWS:{}", self.issue()));
        let expires = seconds(SystemTime::now() + *lock(&self.lifetime));
        let data = json!({"authorizationToken": token, "expiresAt": expires});
        match self.service {
            Service::Private => json!({"authorizationData": [data]}),
            Service::Public => json!({"authorizationData": data}),
        }
    }

    /// The name that clients of the registry know, of the repository that a request is about.
    fn repository(&self, body: &Value) -> Result<String, Refused> {
        if body["registryId"].as_str().is_some_and(|account| account != ACCOUNT) {
            return Err(Refused("AccessDeniedException", "another account".to_owned()));
        }
        let name = body["repositoryName"].as_str();
        let name = name.ok_or_else(|| invalid("repositoryName is missing"))?;
        Ok(match self.service {
            Service::Private => name.to_owned(),
            Service::Public => format!("{}/{name}", EcrFront::ALIAS),
        })
    }

    fn existing(&self, body: &Value) -> Result<String, Refused> {
        let repository = self.repository(body)?;
        if lock(&self.repositories).contains(&repository) {
            return Ok(repository);
        }
        let message = format!("The repository with name '{repository}' does not exist");
        Err(Refused("RepositoryNotFoundException", message))
    }

    /// The part of a list that was asked for, under this name.
    fn page(&self, body: &Value, name: &str, all: &[Value]) -> Result<Value, Refused> {
        let asked = match &body["maxResults"] {
            Value::Null => 100,
            number => number.as_u64().unwrap_or(0) as usize,
        };
        if !(1..=MAX_PAGE).contains(&asked) {
            return Err(invalid("maxResults must be between 1 and 1000"));
        }
        let length = asked.min(self.page.load(Ordering::SeqCst) as usize);
        let start = match body["nextToken"].as_str() {
            None => 0,
            Some(token) => {
                let number = token.strip_prefix("from-").and_then(|number| number.parse().ok());
                number.ok_or_else(|| invalid("nextToken is not one of ours"))?
            }
        };
        let end = all.len().min(start + length);
        let mut page = json!({name: all.get(start..end).unwrap_or_default()});
        if end < all.len() {
            page["nextToken"] = json!(format!("from-{end}"));
        }
        Ok(page)
    }

    fn images(&self, body: &Value) -> Result<Value, Refused> {
        let repository = self.existing(body)?;
        let held = self.behind.held(&repository).unwrap_or_default();
        let images: Vec<Value> = held
            .iter()
            .map(|(digest, held)| {
                let mut image = detail(digest, held);
                if !held.tags.is_empty() {
                    image["imageTags"] = json!(held.tags.keys().collect::<Vec<_>>());
                }
                if self.service == Service::Private {
                    image["lastRecordedPullTime"] = json!(seconds(held.pushed));
                }
                image
            })
            .collect();
        self.page(body, "imageDetails", &images)
    }

    fn image_tags(&self, body: &Value) -> Result<Value, Refused> {
        let repository = self.existing(body)?;
        let held = self.behind.held(&repository).unwrap_or_default();
        let tags = held.iter().flat_map(|(digest, held)| {
            held.tags.iter().map(move |(tag, time)| {
                let image = detail(digest, held);
                json!({"imageTag": tag, "createdAt": seconds(*time), "imageDetail": image})
            })
        });
        self.page(body, "imageTagDetails", &tags.collect::<Vec<_>>())
    }

    fn listed(&self, body: &Value) -> Result<Value, Refused> {
        let repositories: Vec<Value> = lock(&self.repositories)
            .iter()
            .map(|name| match self.service {
                Service::Private => json!({"repositoryName": name}),
                Service::Public => {
                    let own = name.split_once('/').map_or("", |(_, name)| name);
                    let uri = format!("public.ecr.aws/{name}");
                    json!({"repositoryName": own, "repositoryUri": uri})
                }
            })
            .collect();
        self.page(body, "repositories", &repositories)
    }

    fn made(&self, body: &Value) -> Result<Value, Refused> {
        let repository = self.repository(body)?;
        if lock(&self.repositories).insert(repository.clone()) {
            return Ok(json!({"repository": {"repositoryName": body["repositoryName"]}}));
        }
        let message = format!("The repository with name '{repository}' already exists");
        Err(Refused("RepositoryAlreadyExistsException", message))
    }

    fn deleted(&self, body: &Value) -> Result<Value, Refused> {
        let repository = self.existing(body)?;
        let ids = body["imageIds"].as_array().ok_or_else(|| invalid("imageIds is missing"))?;
        if !(1..=MAX_BATCH).contains(&ids.len()) {
            return Err(invalid("imageIds must have between 1 and 100 members"));
        }
        let (mut gone, mut failures) = (Vec::new(), Vec::new());
        for id in ids {
            match self.delete(&repository, id) {
                Ok(mut images) => gone.append(&mut images),
                Err((code, reason)) => failures.push(json!({
                    "imageId": id, "failureCode": code, "failureReason": reason,
                })),
            }
        }
        Ok(json!({"imageIds": gone, "failures": failures}))
    }

    /// Deletes one image or tag; names what went.
    fn delete(
        &self,
        repository: &str,
        id: &Value,
    ) -> Result<Vec<Value>, (&'static str, &'static str)> {
        let all = self.behind.held(repository).unwrap_or_default();
        let (tag, digest) = (id["imageTag"].as_str(), id["imageDigest"].as_str());
        let found = match (tag, digest) {
            (Some(tag), None) => all.iter().find(|(_, held)| held.tags.contains_key(tag)),
            (None, Some(digest)) => all.get_key_value(digest),
            _ => return Err(("MissingDigestAndTag", "one of both is needed")),
        };
        let absent = ("ImageNotFound", "Requested image not found");
        let (digest, held) = found.ok_or(absent)?;
        if let Some(tag) = tag
            && held.tags.len() > 1
        {
            self.behind.untag(repository, tag);
            return Ok(vec![json!({"imageTag": tag, "imageDigest": digest})]);
        }
        if all.values().any(|other| other.children().contains(digest)) {
            let reason = "Requested image referenced by manifest list";
            return Err(("ImageReferencedByManifestList", reason));
        }
        self.behind.delete(repository, digest);
        if held.tags.is_empty() {
            return Ok(vec![json!({"imageDigest": digest})]);
        }
        let tags = held.tags.keys();
        Ok(tags.map(|tag| json!({"imageTag": tag, "imageDigest": digest})).collect())
    }
}

fn detail(digest: &str, held: &Held) -> Value {
    json!({
        "registryId": ACCOUNT,
        "imageDigest": digest,
        "imageSizeInBytes": held.size(),
        "imagePushedAt": seconds(held.pushed),
        "imageManifestMediaType": held.media_type,
    })
}

fn invalid(message: &str) -> Refused {
    Refused("InvalidParameterException", message.to_owned())
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn reply(status: u16, body: &Value) -> Reply {
    Reply::new(status).header("Content-Type", "application/x-amz-json-1.1").body(body.to_string())
}
