//! The format of Docker's `config.json`, as far as it is about credentials.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use crate::client::credential::{Credential, CredentialError, Secret};
use crate::reference::RegistryHost;

/// The key of Docker Hub, from the days of its first API.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The user name that marks a password as an identity token.
pub(super) const TOKEN_USER: &str = "<token>";

/// The user name beside an identity token of Azure Container Registry, as `az acr login` stores it (Azure:
/// *Authenticate with a registry*, `--expose-token`).
const AZURE_TOKEN_USER: &str = "00000000-0000-0000-0000-000000000000";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A configuration, and where it came from.
pub(super) struct ConfigFile {
    name: String,
    schema: ConfigSchema,
}

/// Where a configuration keeps the credential for a host.
pub(super) enum Stored<'a> {
    /// With a helper for this host.
    InHelper(&'a str),
    /// With the general helper, or else here.
    InStore(&'a str, Credential),
    /// In the configuration itself, or nowhere.
    Here(Credential),
}

impl ConfigFile {
    pub(super) fn parse(name: String, json: &[u8]) -> Result<Self, CredentialError> {
        // What serde says could quote a password.
        let schema = serde_json::from_slice(json).map_err(|error| {
            CredentialError::new(format!(
                "{name}: line {}, column {}: not in the format of Docker's config.json",
                error.line(),
                error.column()
            ))
        })?;
        Ok(Self { name, schema })
    }

    pub(super) fn stored(&self, host: &RegistryHost) -> Result<Stored<'_>, CredentialError> {
        if let Some(name) = self.special_helper(host) {
            return Ok(Stored::InHelper(name));
        }
        let here = self.here(host)?;
        Ok(match self.general_helper() {
            Some(name) => Stored::InStore(name, here),
            None => Stored::Here(here),
        })
    }

    /// The helper for this host (`credHelpers`).
    pub(super) fn special_helper(&self, host: &RegistryHost) -> Option<&str> {
        let helpers = self.schema.cred_helpers.as_ref()?;
        entry(helpers, host).map(String::as_str)
    }

    /// The helper for every host (`credsStore`).
    pub(super) fn general_helper(&self) -> Option<&str> {
        self.schema.creds_store.as_deref().filter(|name| !name.is_empty())
    }

    /// Whether there is an entry for this host, which may be empty.
    pub(super) fn has_entry(&self, host: &RegistryHost) -> bool {
        self.schema.auths.as_ref().is_some_and(|auths| entry(auths, host).is_some())
    }

    /// What the file itself holds for this host.
    pub(super) fn here(&self, host: &RegistryHost) -> Result<Credential, CredentialError> {
        match self.schema.auths.as_ref().and_then(|auths| entry(auths, host)) {
            Some(Some(auth)) => auth.credential().map_err(|problem| {
                CredentialError::new(format!("{}: the entry for {host} {problem}", self.name))
            }),
            _ => Ok(Credential::Anonymous),
        }
    }
}

/// What a helper calls this registry.
pub(super) fn server_name(host: &RegistryHost) -> &str {
    if host.is_docker_hub() { DOCKER_HUB_KEY } else { host.as_str() }
}

/// A credential from a user name and a password, as helpers and files spell it.
pub(in crate::client) fn login(username: String, password: String) -> Credential {
    match (username.as_str(), password.is_empty()) {
        ("", true) => Credential::Anonymous,
        (TOKEN_USER, false) => {
            Credential::IdentityToken { username: None, token: Secret::new(password) }
        }
        (AZURE_TOKEN_USER, false) => {
            Credential::IdentityToken { username: Some(username), token: Secret::new(password) }
        }
        _ => Credential::Basic { username, password: Secret::new(password) },
    }
}

/// The entry for a host. Keys are hosts; older tools write them as URLs.
fn entry<'a, T>(entries: &'a BTreeMap<String, T>, host: &RegistryHost) -> Option<&'a T> {
    entries
        .get(server_name(host))
        .or_else(|| entries.iter().find(|(key, _)| is_key_of(key, host)).map(|(_, value)| value))
}

pub(super) fn is_key_of(key: &str, host: &RegistryHost) -> bool {
    let key = key.to_ascii_lowercase();
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(&key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    if host.is_docker_hub() {
        matches!(key, "docker.io" | "index.docker.io" | "registry-1.docker.io")
    } else {
        key == host.as_str()
    }
}

#[derive(Default, Deserialize)]
struct ConfigSchema {
    auths: Option<BTreeMap<String, Option<AuthSchema>>>,
    #[serde(rename = "credHelpers")]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(rename = "credsStore")]
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
struct AuthSchema {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl AuthSchema {
    fn credential(&self) -> Result<Credential, &'static str> {
        let set = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        if let Some(token) = set(&self.registrytoken) {
            return Ok(Credential::Bearer(Secret::new(token)));
        }
        let (username, password) = match set(&self.auth) {
            Some(auth) => decode(&auth)?,
            None => (
                self.username.clone().unwrap_or_default(),
                self.password.clone().unwrap_or_default(),
            ),
        };
        if let Some(token) = set(&self.identitytoken) {
            let username = Some(username).filter(|name| !name.is_empty() && name != TOKEN_USER);
            return Ok(Credential::IdentityToken { username, token: Secret::new(token) });
        }
        Ok(login(username, password))
    }
}

fn decode(auth: &str) -> Result<(String, String), &'static str> {
    let problem = "is not the base64 of user:password";
    let bytes = BASE64.decode(auth.trim()).map_err(|_| problem)?;
    let text = String::from_utf8(bytes).map_err(|_| problem)?;
    let (username, password) = text.split_once(':').ok_or(problem)?;
    // Docker pads some passwords with NUL bytes.
    Ok((username.to_owned(), password.trim_end_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(json: &str, host: &str) -> Credential {
        let file = ConfigFile::parse("config".into(), json.as_bytes()).unwrap();
        match file.stored(&host.parse().unwrap()).unwrap() {
            Stored::Here(credential) => credential,
            _ => panic!("in a helper"),
        }
    }

    fn basic(username: &str, password: &str) -> Credential {
        Credential::Basic { username: username.into(), password: Secret::new(password) }
    }

    #[test]
    fn every_form_of_an_entry_is_read() {
        let identity = |username: Option<&str>| Credential::IdentityToken {
            username: username.map(ToOwned::to_owned),
            token: Secret::new("t"),
        };
        for (entry, credential) in [
            ("{}", Credential::Anonymous),
            ("null", Credential::Anonymous),
            (r#"{"auth":""}"#, Credential::Anonymous),
            (r#"{"auth":"dTpw"}"#, basic("u", "p")),
            (r#"{"auth":"dTpwOnE="}"#, basic("u", "p:q")),
            (r#"{"auth":"dTpwOnE"}"#, basic("u", "p:q")),
            (r#"{"auth":"dTpwAAA="}"#, basic("u", "p")),
            (r#"{"username":"u","password":"p"}"#, basic("u", "p")),
            (r#"{"identitytoken":"t"}"#, identity(None)),
            (r#"{"auth":"dTo=","identitytoken":"t"}"#, identity(Some("u"))),
            (r#"{"username":"<token>","password":"t"}"#, identity(None)),
            (
                r#"{"username":"00000000-0000-0000-0000-000000000000","password":"t"}"#,
                identity(Some("00000000-0000-0000-0000-000000000000")),
            ),
            (r#"{"auth":"dTpw","registrytoken":"t"}"#, Credential::Bearer(Secret::new("t"))),
        ] {
            let json = format!(r#"{{"auths":{{"r.example":{entry}}}}}"#);
            assert_eq!(here(&json, "r.example"), credential, "{entry}");
        }
    }

    #[test]
    fn entries_are_found_under_every_spelling_of_a_host_and_under_no_other() {
        for (key, host, found) in [
            ("r.example", "r.example", true),
            ("https://r.example", "r.example", true),
            ("https://R.example/v2/", "r.example", true),
            ("http://r.example/v1/", "r.example", true),
            ("https://index.docker.io/v1/", "docker.io", true),
            ("docker.io", "docker.io", true),
            ("registry-1.docker.io", "docker.io", true),
            ("r.example/team", "r.example", false),
            ("r.example:5000", "r.example", false),
            ("r.example", "r.example:5000", false),
            ("sub.r.example", "r.example", false),
        ] {
            let json = format!(r#"{{"auths":{{"{key}":{{"auth":"dTpw"}}}}}}"#);
            assert_eq!(here(&json, host) != Credential::Anonymous, found, "{key} {host}");
        }
    }

    #[test]
    fn helpers_go_before_what_is_stored_here() {
        let json = r#"{"auths":{"a.example":{"auth":"dTpw"}},"credsStore":"general",
            "credHelpers":{"a.example":"special"}}"#;
        let file = ConfigFile::parse("config".into(), json.as_bytes()).unwrap();
        let stored = |host: &str| file.stored(&host.parse().unwrap()).unwrap();
        assert!(matches!(stored("a.example"), Stored::InHelper("special")));
        assert!(matches!(stored("b.example"), Stored::InStore("general", Credential::Anonymous)));
    }

    #[test]
    fn damage_is_an_error_that_quotes_nothing() {
        for json in [
            "",
            "[]",
            r#"{"auths":"hunter2"}"#,
            r#"{"auths":{"r.example":{"auth":["hunter2"]}}}"#,
            r#"{"auths":{"r.example":"hunter2"}}"#,
        ] {
            let error = ConfigFile::parse("config".into(), json.as_bytes()).err().unwrap();
            assert!(error.to_string().starts_with("config: line 1"), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        for auth in ["%%%", "aHVudGVyMg==", "/w=="] {
            let json = format!(r#"{{"auths":{{"r.example":{{"auth":"{auth}"}}}}}}"#);
            let file = ConfigFile::parse("config".into(), json.as_bytes()).unwrap();
            let error = file.stored(&"r.example".parse().unwrap()).err().unwrap().to_string();
            assert_eq!(error, "config: the entry for r.example is not the base64 of user:password");
        }
    }
}
