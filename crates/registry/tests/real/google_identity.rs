//! Identities of Google's where it takes more than a scripted server to show them: the key of a service
//! account, made and checked by openssl, and a machine that pushes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dockit_registry::{
    Access, Client, GoogleIdentity, GoogleMetadata, GoogleSettings, ProviderKind, Registries,
    Registry as _, RegistrySettings, Repository, TokenIdentity as _,
};
use dockit_testkit::{GoogleFront, Reply, ScriptedServer, TestImage};
use serde_json::{Value, json};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

fn openssl(arguments: &[&str]) -> bool {
    let mut openssl = Command::new("openssl");
    let status = openssl.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.expect("openssl is installed").success()
}

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).to_str().unwrap().to_owned()
}

fn identity(file: &str) -> GoogleIdentity {
    let _ = rustls::crypto::ring::default_provider().install_default();
    GoogleIdentity::new(GoogleSettings { file: Some(file.into()), ..GoogleSettings::default() })
}

#[tokio::test]
async fn the_key_of_a_service_account_signs_for_a_token_of_googles() {
    let directory = tempfile::tempdir().unwrap();
    let [private, public, file, signed, signature] =
        ["key.pem", "public.pem", "key.json", "signed", "signature"]
            .map(|name| path(directory.path(), name));
    assert!(openssl(&["genpkey", "-algorithm", "RSA", "-out", &private]));
    assert!(openssl(&["pkey", "-in", &private, "-pubout", "-out", &public]));
    let token = json!({"access_token": "ya29.real", "expires_in": 3599, "token_type": "Bearer"});
    let refusal = json!({"error": "invalid_grant", "error_description": "Invalid JWT Signature."});
    let server = ScriptedServer::script([
        Reply::new(503),
        Reply::new(400).body(refusal.to_string()),
        Reply::new(200).body(token.to_string()),
    ]);
    let server_url = format!("http://{}/token", server.host());
    let key = json!({
        "type": "service_account",
        "client_email": "ci@team.iam.gserviceaccount.com",
        "private_key_id": "0123456789",
        "private_key": std::fs::read_to_string(&private).unwrap(),
        "token_uri": server_url,
    });
    std::fs::write(&file, key.to_string()).unwrap();
    let identity = identity(&file);
    // What fails for a moment is asked again; what is refused is not.
    let error = identity.access_token(SCOPE).await.unwrap_err().to_string();
    assert!(error.contains("invalid_grant, Invalid JWT Signature."), "{error}");
    assert_eq!(server.requests().len(), 2);
    let token = identity.access_token(SCOPE).await.unwrap().unwrap();
    assert_eq!(token.token.expose(), "ya29.real");
    assert_eq!(identity.access_token(SCOPE).await.unwrap(), Some(token));

    let requests = server.requests();
    let form: Vec<(String, String)> =
        url::form_urlencoded::parse(requests[2].body()).into_owned().collect();
    assert_eq!(form[0].1, "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let (text, mark) = form[1].1.rsplit_once('.').unwrap();
    let part = |number: usize| -> Value {
        let part = text.split('.').nth(number).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(part(0), json!({"alg": "RS256", "typ": "JWT", "kid": "0123456789"}));
    let claims = part(1);
    assert_eq!(claims["iss"], "ci@team.iam.gserviceaccount.com");
    assert_eq!((&claims["scope"], &claims["aud"]), (&json!(SCOPE), &json!(server_url)));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
    std::fs::write(&signed, text).unwrap();
    std::fs::write(&signature, URL_SAFE_NO_PAD.decode(mark).unwrap()).unwrap();
    assert!(openssl(&["dgst", "-sha256", "-verify", &public, "-signature", &signature, &signed]));
}

#[tokio::test]
async fn a_machine_of_googles_pushes_with_nothing_configured() {
    let front = GoogleFront::start();
    front.create("team/images");
    let repository: Repository = format!("{}/team/images/app", front.host()).parse().unwrap();
    let settings = RegistrySettings {
        provider: Some(ProviderKind::Google),
        vouched: true,
        ..RegistrySettings::default()
    };
    let registries = Registries::from_iter([(repository.host().clone(), settings)]);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let metadata = GoogleMetadata::IfAt(front.host());
    let identity = GoogleIdentity::new(GoogleSettings { metadata, ..GoogleSettings::default() });
    let client = Client::builder().no_proxy(true).registries(registries);
    let client = client.google(Arc::new(identity)).build().unwrap();
    let at = repository.with_tag("1".parse().unwrap());
    let digest = crate::contract::push(&client, &at, &TestImage::new("machine")).await;
    let head = client.head_manifest(&at, Access::PullPush).await.unwrap().unwrap();
    assert_eq!(head.digest, digest);
    let log = front.proxy().log();
    let asked = log.iter().filter(|line| line.starts_with("GET /computeMetadata/v1/"));
    assert_eq!(asked.count(), 1, "{log:?}");
}
