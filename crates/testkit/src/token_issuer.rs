//! A token server that a registry process trusts.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use crate::registry_process::{PASSWORD, READER, USERNAME};
use crate::scripted::{Reply, Request, ScriptedServer};

pub(crate) const ISSUER: &str = "testkit";
pub(crate) const SERVICE: &str = "testkit-registry";

/// How long the tokens of its own server are good.
const LIFETIME: Duration = Duration::from_secs(300);

/// A password that the issuer takes as an OAuth2 refresh token.
const IDENTITY_TOKEN: &str = "testkit-identity-token";

/// Issues ES256 tokens for [`Auth::Token`](crate::Auth::Token).
///
/// [`USERNAME`] with [`PASSWORD`] gets what it asks for; [`READER`] with the same password, and who has
/// no credentials, gets only `pull`; other credentials are refused. OAuth2 requests with [`identity_token`](Self::identity_token) get
/// what they ask for.
pub struct TokenIssuer {
    server: ScriptedServer,
    signer: Arc<Signer>,
    certificate: PathBuf,
    _directory: tempfile::TempDir,
}

struct Signer {
    key: EcdsaKeyPair,
    certificate: String,
    random: SystemRandom,
    issued: Mutex<u64>,
}

impl TokenIssuer {
    /// Starts on a free port.
    pub fn start() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key can be made");
        let certificate = CertificateParams::new(vec![ISSUER.to_owned()])
            .and_then(|params| params.self_signed(&pair))
            .expect("a certificate can be made");
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &pair.serialize_der(),
            &random,
        )
        .expect("ring reads what rcgen made with it");
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let file = directory.path().join("certificate.pem");
        std::fs::write(&file, certificate.pem()).expect("a temporary file can be written");
        let signer = Arc::new(Signer {
            key,
            certificate: STANDARD.encode(certificate.der()),
            random,
            issued: Mutex::new(0),
        });
        let server = {
            let signer = Arc::clone(&signer);
            ScriptedServer::start(move |request| answer(&signer, request))
        };
        Self { server, signer, certificate: file, _directory: directory }
    }

    /// The token endpoint.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.server.host())
    }

    /// What a registry that trusts this issuer asks for in `WWW-Authenticate`; `error` says what is wrong
    /// with the token that it was sent.
    pub fn challenge(&self, scope: &str, error: &str) -> String {
        let realm = self.realm();
        format!("Bearer realm={realm:?},service={SERVICE:?},scope={scope:?},error={error:?}")
    }

    /// The token that OAuth2 requests may present.
    pub fn identity_token(&self) -> &'static str {
        IDENTITY_TOKEN
    }

    /// A token for what `allows` grants of these scopes, each of the form `type:name:action,action`;
    /// it is told resource (`type:name`) and action.
    pub fn issue(
        &self,
        scopes: &[String],
        lifetime: Duration,
        allows: impl Fn(&str, &str) -> bool,
    ) -> String {
        self.signer.token(&access(scopes, allows), lifetime)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    pub(crate) fn certificate(&self) -> &std::path::Path {
        &self.certificate
    }

    /// An `Authorization` value for these scopes, with everything granted.
    pub fn authorization(&self, scope: &str) -> String {
        let login = login(USERNAME);
        let target = format!("/token?service={SERVICE}&scope={scope}");
        let headers = [("Authorization", login.as_str())];
        let reply = crate::http::exchange(&self.server.host(), "GET", &target, &headers, b"");
        let reply = reply.expect("the issuer answers");
        let reply: Value = serde_json::from_slice(&reply.body).expect("the issuer answers in JSON");
        format!("Bearer {}", reply["token"].as_str().expect("the issuer issues a token"))
    }
}

fn answer(signer: &Signer, request: &Request) -> Reply {
    if request.path() != "/token" {
        return Reply::new(404);
    }
    let form = String::from_utf8_lossy(request.body()).into_owned();
    let (scopes, writes) = if request.method == "POST" {
        let token = parameters(&form, "refresh_token");
        if token != [IDENTITY_TOKEN] {
            return Reply::new(401);
        }
        (parameters(&form, "scope"), true)
    } else {
        let writes = match request.header("authorization") {
            None => false,
            Some(value) if value == login(USERNAME) => true,
            Some(value) if value == login(READER) => false,
            Some(_) => return Reply::new(401),
        };
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        (parameters(query, "scope"), writes)
    };
    let access = access(&scopes, |_, action| writes || action == "pull");
    let token = signer.token(&access, LIFETIME);
    let reply = json!({"token": token, "access_token": token, "expires_in": 300});
    Reply::new(200).header("Content-Type", "application/json").body(reply.to_string())
}

fn login(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{PASSWORD}")))
}

/// What is granted of the scopes that were asked for.
fn access(scopes: &[String], allows: impl Fn(&str, &str) -> bool) -> Value {
    let scopes = scopes.iter().flat_map(|scope| scope.split_whitespace());
    let granted = scopes.filter_map(|scope| {
        let (resource, actions) = scope.rsplit_once(':')?;
        let (kind, name) = resource.split_once(':')?;
        let actions: Vec<&str> =
            actions.split(',').filter(|action| allows(resource, action)).collect();
        Some(json!({"type": kind, "name": name, "actions": actions}))
    });
    granted.collect()
}

impl Signer {
    fn token(&self, access: &Value, lifetime: Duration) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let number = {
            let mut issued = self.issued.lock().expect("no thread panics with the lock");
            *issued += 1;
            *issued
        };
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [self.certificate]});
        let claims = json!({
            "iss": ISSUER,
            "sub": USERNAME,
            "aud": SERVICE,
            "exp": now + lifetime.as_secs(),
            "nbf": now - 10,
            "iat": now,
            "jti": number.to_string(),
            "access": access,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).expect("a key can sign");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The decoded values of a parameter.
pub(crate) fn parameters(query: &str, name: &str) -> Vec<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(known, _)| *known == name).map(|(_, value)| decoded(value)).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).expect("clients encode as they should")
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
