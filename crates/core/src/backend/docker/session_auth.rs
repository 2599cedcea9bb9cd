//! Credentials for a build's session.

use std::collections::BTreeMap;

use async_trait::async_trait;
use dockit_buildkit::{Login, RegistryAuth, SecretBytes};
use dockit_registry::{Credential, Reference};

/// What registries take, by the hosts that are connected to. Only those are told of whose images the build
/// uses.
pub(super) struct SessionAuth(BTreeMap<String, Login>);

impl SessionAuth {
    /// Of these images. `None`: there is nothing to tell.
    pub(super) fn new<'a>(
        images: impl IntoIterator<Item = (&'a Reference, &'a Credential)>,
    ) -> Option<Self> {
        let mut logins = BTreeMap::new();
        for (image, credential) in images {
            if let Some(login) = login(credential) {
                let host = image.repository().host().api_host();
                logins.entry(host.to_owned()).or_insert(login);
            }
        }
        (!logins.is_empty()).then_some(Self(logins))
    }
}

/// Whether BuildKit can be told this credential: it has no word for a token that the registry itself takes.
pub(super) fn can_tell(credential: &Credential) -> bool {
    login(credential).is_some()
}

/// A credential as BuildKit is told it, where it has a form for it.
pub(in crate::backend) fn login(credential: &Credential) -> Option<Login> {
    let (user, secret) = match credential {
        Credential::Basic { username, password } => (username.clone(), password),
        // Without a user it is taken for an identity token.
        Credential::IdentityToken { token, .. } => (String::new(), token),
        _ => return None,
    };
    Some(Login { user, secret: SecretBytes::new(secret.expose()) })
}

#[async_trait]
impl RegistryAuth for SessionAuth {
    async fn login(&self, host: &str) -> Result<Option<Login>, String> {
        Ok(self.0.get(host).cloned())
    }
}

#[cfg(test)]
mod tests {
    use dockit_registry::Secret;

    use super::*;

    #[tokio::test]
    async fn a_host_is_told_its_own_credential_by_the_name_that_is_connected_to() {
        let basic = |name: &str| Credential::Basic {
            username: name.to_owned(),
            password: Secret::new(format!("of {name}")),
        };
        let token = Credential::IdentityToken { username: None, token: Secret::new("t") };
        let bearer = Credential::Bearer(Secret::new("b"));
        let images: Vec<(Reference, Credential)> = vec![
            ("debian:12".parse().unwrap(), basic("hub")),
            ("r.example:5000/a".parse().unwrap(), basic("r")),
            ("t.example/a".parse().unwrap(), token),
            ("b.example/a".parse().unwrap(), bearer.clone()),
            ("open.example/a".parse().unwrap(), Credential::Anonymous),
        ];
        let pairs = images.iter().map(|(image, credential)| (image, credential));
        let auth = SessionAuth::new(pairs).unwrap();
        let ask = async |host: &str| {
            let login = auth.login(host).await.unwrap()?;
            Some((login.user, String::from_utf8(login.secret.reveal().to_vec()).unwrap()))
        };
        let pair = |user: &str, secret: &str| Some((user.to_owned(), secret.to_owned()));
        assert_eq!(ask("registry-1.docker.io").await, pair("hub", "of hub"));
        assert_eq!(ask("r.example:5000").await, pair("r", "of r"));
        assert_eq!(ask("t.example").await, pair("", "t"));
        for host in ["docker.io", "r.example", "b.example", "open.example", "other.example"] {
            assert_eq!(ask(host).await, None, "{host}");
        }
        assert!(!can_tell(&bearer) && !can_tell(&Credential::Anonymous));
        assert!(SessionAuth::new([(&images[3].0, &bearer)]).is_none());
    }
}
