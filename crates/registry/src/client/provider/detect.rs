//! Whose registry it is, by what it answers to who has not said who they are.

use reqwest::header::HeaderMap;
use url::Url;

use crate::provider::ProviderKind;

/// Whose registry names this token server and service in its challenge, with these headers beside it.
/// Only programs that teams run under names of their own have to be told apart so.
pub(in crate::client) fn detect(
    realm: Option<&str>,
    service: Option<&str>,
    headers: &HeaderMap,
) -> ProviderKind {
    let realm = realm.and_then(|realm| Url::parse(realm).ok());
    let path = realm.as_ref().map_or("", Url::path);
    // GitLab documents both; instances below a path have it before `/jwt/auth`.
    let gitlab = path.ends_with("/jwt/auth") && service == Some("container_registry");
    if gitlab || headers.contains_key("gitlab-container-registry-version") {
        return ProviderKind::Gitlab;
    }
    match (path, service) {
        ("/service/token", Some("harbor-registry")) => ProviderKind::Harbor,
        // Behind a domain of a team's own.
        ("/oauth2/token", Some(service)) if is_of_acr(service) => ProviderKind::Acr,
        ("/v2/auth", Some(_)) => ProviderKind::Quay,
        _ => ProviderKind::Generic,
    }
}

fn is_of_acr(service: &str) -> bool {
    let host = service.parse();
    host.is_ok_and(|host| ProviderKind::of_host(&host) == Some(ProviderKind::Acr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_under_own_names_are_known_by_their_token_servers() {
        for (realm, service, kind) in [
            ("https://git.example/jwt/auth", "container_registry", ProviderKind::Gitlab),
            ("https://example/gitlab/jwt/auth", "container_registry", ProviderKind::Gitlab),
            ("https://example/jwt/auth", "other", ProviderKind::Generic),
            ("https://h.example/service/token", "harbor-registry", ProviderKind::Harbor),
            ("https://images.example/oauth2/token", "team.azurecr.io", ProviderKind::Acr),
            ("https://images.example/oauth2/token", "images.example", ProviderKind::Generic),
            ("https://q.example/v2/auth", "q.example", ProviderKind::Quay),
            ("https://auth.example/token", "registry", ProviderKind::Generic),
            ("nonsense", "harbor-registry", ProviderKind::Generic),
        ] {
            let found = detect(Some(realm), Some(service), &HeaderMap::new());
            assert_eq!(found, kind, "{realm} {service}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(detect(None, None, &headers), ProviderKind::Generic);
        headers.insert("gitlab-container-registry-version", "4.0.0".parse().unwrap());
        assert_eq!(detect(None, None, &headers), ProviderKind::Gitlab);
    }
}
