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
    let endpoint = endpoint();
    let socket = endpoint.strip_prefix("unix://").expect("these tests use the engine's socket");
    let mut stream = UnixStream::connect(socket).expect("an engine listens: run scripts/setup");
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: engine\r\n\r\n").unwrap();
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

/// The engine's version up to the first dot.
pub(crate) fn major_version() -> u32 {
    let (status, body) = request("GET", "/version");
    assert_eq!(status, 200, "{body}");
    let version: serde_json::Value = serde_json::from_str(&body).unwrap();
    let version = version["Version"].as_str().unwrap();
    version.split('.').next().unwrap().parse().unwrap()
}
