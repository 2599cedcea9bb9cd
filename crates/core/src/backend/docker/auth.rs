//! Credentials in the form that the engine's API takes.

use bollard::BollardRequest;
use bollard::auth::DockerCredentials;
use dockit_registry::{Credential, RegistryHost};

/// The engine's form of a credential; `None` is anonymous.
pub(super) fn docker_credentials(
    host: &RegistryHost,
    credential: &Credential,
) -> Option<DockerCredentials> {
    let mut credentials =
        DockerCredentials { serveraddress: Some(host.to_string()), ..DockerCredentials::default() };
    match credential {
        Credential::Basic { username, password } => {
            credentials.username = Some(username.clone());
            credentials.password = Some(password.expose().to_owned());
        }
        Credential::IdentityToken { token, .. } => {
            credentials.identitytoken = Some(token.expose().to_owned());
        }
        Credential::Bearer(token) => {
            credentials.registrytoken = Some(token.expose().to_owned());
        }
        _ => return None,
    }
    Some(credentials)
}

/// Respells `X-Registry-Auth` in the URL-safe base64 alphabet.
///
/// The engine decodes the header with that alphabet and takes what it cannot decode for anonymous
/// access; bollard encodes it with the standard one, so that a password with a `~`, `?` or `>` in
/// the wrong place would silently not be used.
pub(super) fn url_safe_header(mut request: BollardRequest) -> BollardRequest {
    let header = "x-registry-auth";
    let respelled = request.headers().get(header).and_then(|value| {
        let text: String = value
            .to_str()
            .ok()?
            .chars()
            .map(|character| match character {
                '+' => '-',
                '/' => '_',
                other => other,
            })
            .collect();
        let mut value: http::HeaderValue = text.parse().ok()?;
        value.set_sensitive(true);
        Some(value)
    });
    if let Some(value) = respelled {
        request.headers_mut().insert(header, value);
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_what_the_engine_can_decode() {
        let body = bollard::body_full(bytes::Bytes::new());
        let request = http::Request::builder()
            .header("X-Registry-Auth", "ab+/cd==")
            .header("Other", "a+/")
            .body(body)
            .unwrap();
        let request = url_safe_header(request);
        assert_eq!(request.headers()["x-registry-auth"], "ab-_cd==");
        assert_eq!(request.headers()["other"], "a+/");
    }
}
