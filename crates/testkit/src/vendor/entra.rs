//! What Azure hands tokens out with: Entra's token endpoint, the metadata servers of machines and of App
//! Service, and what Azure Pipelines says of its jobs (Azure: *Microsoft identity platform and the OAuth
//! 2.0 client credentials flow*, *How to use managed identities*; Azure DevOps: *Oidctoken - Create*).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::scripted::{Reply, Request, ScriptedServer};
use crate::token_issuer::parameters;

/// The tenant of every identity.
pub(super) const TENANT: &str = EntraServer::TENANT;

/// What tokens for container registries are for.
const AUDIENCE: &str = "https://containerregistry.azure.net";

/// What stands where a signature would.
const SIGNATURE: &str = "ZW50cmE";

/// What an identity may do to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcrRole {
    /// AcrPull, AcrPush and AcrDelete.
    Everything,
    /// AcrPull.
    Pull,
    /// None on this registry.
    Nothing,
}

/// Entra, an instance's metadata server and that of App Service, all on one free port of 127.0.0.1.
pub struct EntraServer(ScriptedServer);

impl EntraServer {
    /// The tenant of its identities.
    pub const TENANT: &str = "11111111-2222-3333-4444-555555555555";
    /// The application that it knows.
    pub const CLIENT: &str = "66666666-7777-8888-9999-000000000000";
    /// The application's secret.
    pub const SECRET: &str = "testkit-client-secret";
    /// What another issuer that the application trusts says of it.
    pub const ASSERTION: &str = "testkit-assertion";
    /// What lets a job of Azure Pipelines ask for that, for its service connection `connection`.
    pub const JOB: &str = "testkit-job-token";
    /// What App Service wants to see in `X-IDENTITY-HEADER`.
    pub const HEADER: &str = "testkit-identity-header";

    /// Starts it. Whoever is known may do everything.
    pub fn start() -> Self {
        Self(ScriptedServer::start(answer))
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.0.host()
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.0.requests()
    }

    /// A token of an identity with this role, for container registries.
    pub fn token(role: AcrRole, lifetime: Duration) -> String {
        token(role, AUDIENCE, lifetime)
    }
}

/// The role of whom this token is, if it is good at a registry in this tenant.
pub(super) fn role(token: &str, tenant: &str) -> Option<AcrRole> {
    let mut parts = token.split('.');
    let (_, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let good = signature == SIGNATURE
        && claims["aud"] == AUDIENCE
        && claims["tid"] == tenant
        && claims["exp"].as_u64()? > now();
    let roles = [AcrRole::Everything, AcrRole::Pull, AcrRole::Nothing];
    good.then(|| roles.into_iter().find(|role| claims["role"] == format!("{role:?}")))?
}

fn token(role: AcrRole, audience: &str, lifetime: Duration) -> String {
    let (iat, exp) = (now(), now() + lifetime.as_secs());
    let role = format!("{role:?}");
    jwt(&json!({"aud": audience, "tid": TENANT, "iat": iat, "exp": exp, "role": role}))
}

pub(super) fn jwt(claims: &Value) -> String {
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    let header = json!({"typ": "JWT", "alg": "none"});
    format!("{}.{}.{SIGNATURE}", part(header.to_string()), part(claims.to_string()))
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn answer(request: &Request) -> Reply {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let resource = parameters(query, "resource").pop().unwrap_or_default();
    match (request.method.as_str(), request.path()) {
        ("POST", path) if path == format!("/{TENANT}/oauth2/v2.0/token") => entra(request),
        ("GET", "/metadata/identity/oauth2/token") => {
            if request.header("metadata") != Some("true") {
                let problem = "Required metadata header not specified";
                return error(400, "invalid_request", problem);
            }
            managed(&resource, "client_id", query)
        }
        ("GET", "/msi/token") => {
            if request.header("x-identity-header") != Some(EntraServer::HEADER) {
                return error(401, "unauthorized", "wrong header");
            }
            managed(&resource, "client_id", query)
        }
        ("POST", "/oidc") => {
            let job = format!("Bearer {}", EntraServer::JOB);
            let connection = parameters(query, "serviceConnectionId");
            if request.header("authorization") != Some(&job) || connection != ["connection"] {
                return json_reply(401, &json!({"message": "no such job or connection"}));
            }
            json_reply(200, &json!({"oidcToken": EntraServer::ASSERTION}))
        }
        _ => error(404, "not_found", "no such endpoint"),
    }
}

/// A token for the identity of a machine: the system's own, or the one that is assigned to it.
fn managed(resource: &str, parameter: &str, query: &str) -> Reply {
    let client = parameters(query, parameter).pop();
    if client.is_some_and(|client| client != EntraServer::CLIENT) {
        return error(400, "invalid_request", "Identity not found");
    }
    let lifetime = Duration::from_secs(86_400);
    let reply = json!({
        "access_token": token(AcrRole::Everything, resource, lifetime),
        "client_id": EntraServer::CLIENT,
        "expires_in": lifetime.as_secs().to_string(),
        "expires_on": (now() + lifetime.as_secs()).to_string(),
        "resource": resource,
        "token_type": "Bearer",
    });
    json_reply(200, &reply)
}

fn entra(request: &Request) -> Reply {
    let form = String::from_utf8_lossy(request.body()).into_owned();
    let field = |name: &str| parameters(&form, name).pop().unwrap_or_default();
    if field("grant_type") != "client_credentials" || field("client_id") != EntraServer::CLIENT {
        return error(400, "unauthorized_client", "AADSTS700016: the application was not found");
    }
    let asserted = field("client_assertion_type").ends_with(":jwt-bearer")
        && field("client_assertion") == EntraServer::ASSERTION;
    if field("client_secret") != EntraServer::SECRET && !asserted {
        return error(401, "invalid_client", "AADSTS7000215: invalid client secret provided");
    }
    let scope = field("scope");
    let Some(audience) = scope.strip_suffix("/.default") else {
        return error(400, "invalid_scope", "AADSTS70011: the scope is not valid");
    };
    let lifetime = Duration::from_secs(3599);
    let reply = json!({
        "token_type": "Bearer",
        "expires_in": lifetime.as_secs(),
        "ext_expires_in": lifetime.as_secs(),
        "access_token": token(AcrRole::Everything, audience, lifetime),
    });
    json_reply(200, &reply)
}

fn error(status: u16, code: &str, description: &str) -> Reply {
    let number: String = description.chars().filter(char::is_ascii_digit).collect();
    let codes: Vec<u32> = number.parse().into_iter().collect();
    let body = json!({"error": code, "error_description": description, "error_codes": codes});
    json_reply(status, &body)
}

pub(super) fn json_reply(status: u16, body: &Value) -> Reply {
    Reply::new(status).header("Content-Type", "application/json").body(body.to_string())
}
