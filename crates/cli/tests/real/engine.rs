//! The engine's API, as far as tests look behind the command's back.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

/// Where the engine listens.
pub(crate) fn endpoint() -> String {
    #[expect(clippy::disallowed_methods, reason = "tests are told what to use")]
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned())
}

/// One request without a body: status and body.
fn request(method: &str, path: &str) -> (u16, String) {
    request_with(method, path, "")
}

/// One request with a JSON document, or with none.
fn request_with(method: &str, path: &str, json: &str) -> (u16, String) {
    let endpoint = endpoint();
    let socket = endpoint.strip_prefix("unix://").expect("these tests use the engine's socket");
    let mut stream = UnixStream::connect(socket).expect("an engine listens: run scripts/setup");
    let length = json.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: engine\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{json}"
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let status = reply.split_whitespace().nth(1).unwrap().parse().unwrap();
    let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}

/// What the engine knows about an image.
pub(crate) fn inspect(image: &str) -> Option<serde_json::Value> {
    let (status, body) = request("GET", &format!("/images/{image}/json"));
    match status {
        200 => Some(serde_json::from_str(&body).unwrap()),
        404 => None,
        other => panic!("{image}: {other} {body}"),
    }
}

/// Forgets a name of an image; one that is not there is fine.
pub(crate) fn remove(image: &str) {
    let (status, body) = request("DELETE", &format!("/images/{image}?force=1"));
    assert!(matches!(status, 200 | 404 | 409), "{image}: {status} {body}");
}

/// Forgets the names that a run's report mentions, so that tests leave nothing behind.
pub(crate) struct Cleanup(pub(crate) Vec<String>);

impl Cleanup {
    pub(crate) fn of(report: &serde_json::Value) -> Self {
        let images = report["images"].as_array().unwrap();
        Self(images.iter().map(|image| image["reference"].as_str().unwrap().to_owned()).collect())
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        for image in &self.0 {
            remove(image);
        }
    }
}

/// Gives an image another name.
pub(crate) fn tag(image: &str, repository: &str, tag: &str) {
    let (status, body) =
        request("POST", &format!("/images/{image}/tag?repo={repository}&tag={tag}"));
    assert_eq!(status, 201, "{body}");
}

/// How the engine keeps layers.
pub(crate) fn storage_driver() -> String {
    let (status, body) = request("GET", "/info");
    assert_eq!(status, 200, "{body}");
    let info: serde_json::Value = serde_json::from_str(&body).unwrap();
    info["Driver"].as_str().unwrap().to_owned()
}

/// The engine's version up to the first dot.
pub(crate) fn major_version() -> u32 {
    let (status, body) = request("GET", "/version");
    assert_eq!(status, 200, "{body}");
    let version: serde_json::Value = serde_json::from_str(&body).unwrap();
    let version = version["Version"].as_str().unwrap();
    version.split('.').next().unwrap().parse().unwrap()
}

/// How many containers there are, running or not, in whose command this text is.
pub(crate) fn containers_with(text: &str) -> usize {
    let (status, body) = request("GET", "/containers/json?all=1");
    assert_eq!(status, 200, "{body}");
    let containers: serde_json::Value = serde_json::from_str(&body).unwrap();
    let containers = containers.as_array().unwrap().iter();
    containers.filter(|one| one["Command"].as_str().unwrap().contains(text)).count()
}

/// An image with its layers, as the engine writes it to a file: neither is compressed.
pub(crate) fn saved(image: &str) -> Vec<u8> {
    let endpoint = endpoint();
    let socket = endpoint.strip_prefix("unix://").expect("these tests use the engine's socket");
    let mut stream = UnixStream::connect(socket).expect("an engine listens: run scripts/setup");
    write!(stream, "GET /images/{image}/get HTTP/1.0\r\nHost: engine\r\n\r\n").unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert!(reply.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&reply[..100]));
    reply
}

/// The engine's history of an image, the newest first.
pub(crate) fn history(image: &str) -> serde_json::Value {
    let (status, body) = request("GET", &format!("/images/{image}/history"));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Removes what was built with this key, also what has no name.
pub(crate) fn remove_built(key: &str) {
    let filters = format!("%7B%22label%22%3A%5B%22dev.dockit.key%3D{key}%22%5D%7D");
    let (status, body) = request("GET", &format!("/images/json?filters={filters}"));
    assert_eq!(status, 200, "{body}");
    let images: serde_json::Value = serde_json::from_str(&body).unwrap();
    for image in images.as_array().unwrap() {
        remove(image["Id"].as_str().unwrap());
    }
}

/// The names and labels of the containers, running or not, in whose command this text is.
pub(crate) fn names_and_labels(text: &str) -> Vec<(String, serde_json::Value)> {
    let (status, body) = request("GET", "/containers/json?all=1");
    assert_eq!(status, 200, "{body}");
    let containers: serde_json::Value = serde_json::from_str(&body).unwrap();
    let containers = containers.as_array().unwrap().iter();
    containers
        .filter(|one| one["Command"].as_str().unwrap().contains(text))
        .map(|one| {
            let name = one["Names"][0].as_str().unwrap().trim_start_matches('/');
            (name.to_owned(), one["Labels"].clone())
        })
        .collect()
}

/// Makes and starts a container with this name, and returns its identifier.
pub(crate) fn start_container(name: &str, json: &serde_json::Value) -> String {
    let (status, body) =
        request_with("POST", &format!("/containers/create?name={name}"), &json.to_string());
    assert_eq!(status, 201, "{body}");
    let made: serde_json::Value = serde_json::from_str(&body).unwrap();
    let id = made["Id"].as_str().unwrap().to_owned();
    let (status, body) = request("POST", &format!("/containers/{id}/start"));
    assert_eq!(status, 204, "{body}");
    id
}

/// Removes a container, running or not; whether it was there.
pub(crate) fn remove_container(id: &str) -> bool {
    request("DELETE", &format!("/containers/{id}?force=1&v=1")).0 == 204
}

/// Pulls an image for a platform.
pub(crate) fn pull(repository: &str, tag: &str, platform: &str) {
    let query = format!("fromImage={repository}&tag={tag}&platform={platform}");
    let (status, body) = request("POST", &format!("/images/create?{query}"));
    assert!(status == 200 && !body.contains("\"error\""), "{status} {body}");
}
