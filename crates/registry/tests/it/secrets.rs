//! Nothing secret in errors, in `Debug`, or in what is traced.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, OnceLock};

use dockit_registry::{Access, Credential, Digest, ListEntry, ProviderKind, Registry as _, Secret};
use dockit_testkit::{Reply, ScriptedServer, TestImage};
use futures_util::TryStreamExt as _;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::support::{
    challenge, client_with, host_of, password, present, reference, vendor_client,
};

/// Writes down every span, event and record of every level.
#[derive(Clone, Default)]
pub(crate) struct Everything(Arc<Mutex<String>>);

impl Everything {
    #[cfg(feature = "aws")]
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

/// Some crates write records of `log`.
impl log::Log for Everything {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let _ = writeln!(self.0.lock().unwrap(), "{} {}", record.target(), record.args());
    }

    fn flush(&self) {}
}

impl Visit for Everything {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0.lock().unwrap(), "{}={value:?} ", field.name());
    }
}

impl Subscriber for Everything {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
        self.0.lock().unwrap().push('\n');
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What all crates trace and log in this process, from the first call on.
///
/// For the whole process: what the other tests trace has to be as free of secrets.
pub(crate) fn traced() -> impl Fn() -> String {
    static TRACED: OnceLock<Everything> = OnceLock::new();
    let traced = TRACED.get_or_init(|| {
        let traced = Everything::default();
        tracing::subscriber::set_global_default(traced.clone()).unwrap();
        log::set_boxed_logger(Box::new(traced.clone())).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        traced
    });
    || traced.0.lock().unwrap().clone()
}

/// All that an error tells anybody.
pub(crate) fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error} {error:?} {error:#?}\n");
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!("{error} {error:?}\n"));
        source = error.source();
    }
    text
}

const SECRET: &str = "hunter2";

/// The secret as it is, and as Basic spells it behind user names of any length.
fn assert_free_of_secrets(text: &str) {
    for secret in
        [SECRET, "aHVudGVyMg", "dXNlcjpodW50ZXIy", "Omh1bnRlcjI", "odW50ZXIy", "aHVudGVyM"]
    {
        if let Some(at) = text.find(secret) {
            let start = text[..at].rfind('\n').map_or(0, |line| line + 1);
            panic!("{secret} in: {}", text[start..].lines().next().unwrap_or_default());
        }
    }
}

/// A registry that wants a token, and sends for blobs to a signed URL.
fn registry(token_status: u16, blob_status: u16) -> ScriptedServer {
    let image = TestImage::new("secret");
    ScriptedServer::start(move |request| {
        if request.path() == "/token" {
            let body = r#"{"token":"hunter2-token","refresh_token":"hunter2-refresh"}"#;
            return Reply::new(token_status).body(body);
        }
        if request.path() == "/signed" {
            return Reply::new(blob_status).body("blob");
        }
        match request.header("authorization") {
            Some("Bearer hunter2-token") if request.path().contains("/blobs/") => {
                Reply::new(307).header("Location", "/signed?X-Amz-Signature=hunter2&opaque-hunter2")
            }
            Some("Bearer hunter2-token") => present(&image),
            _ => challenge(&host_of(request), "repository:team/app:pull", ""),
        }
    })
}

#[tokio::test]
async fn secrets_are_in_no_error_and_no_trace() {
    let traced = traced();
    let credentials = [
        Credential::Basic { username: "user".into(), password: Secret::new(SECRET) },
        Credential::IdentityToken { username: None, token: Secret::new(SECRET) },
        Credential::Bearer(Secret::new(SECRET)),
        Credential::Bearer(Secret::new("hunter2\n")),
    ];
    let mut texts = String::new();
    let mut failures = 0;
    for credential in credentials {
        for (token_status, blob_status) in
            [(200, 200), (200, 403), (200, 500), (401, 200), (500, 200)]
        {
            let server = registry(token_status, blob_status);
            let client = client_with(credential.clone());
            let reference = reference(&server);
            let digest = Digest::of(b"blob");
            let head = client.head_manifest(&reference, Access::Pull).await.err();
            let blob = client.blob(reference.repository(), &digest, 100).await.err();
            for error in [head, blob].into_iter().flatten() {
                failures += 1;
                texts.push_str(&told(&error));
            }
            texts.push_str(&format!("{client:?} {credential:?}\n"));
        }
    }
    assert!(failures >= 10, "{failures}");
    let traced = traced();
    assert!(traced.contains("/signed?X-Amz-Signature=***"), "{traced}");
    assert_free_of_secrets(&texts);
    assert_free_of_secrets(&traced);
}

/// A vendor's registry and API, which answer this to whoever has logged in.
fn vendor(status: u16, body: &'static str) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        let authorized = request.header("authorization").is_some();
        match request.path() {
            "/jwt/auth" => Reply::new(200).body(r#"{"token":"hunter2-token"}"#),
            "/api/auth/token" => Reply::new(200).body(r#"{"access_token":"hunter2-jwt"}"#),
            path if path.starts_with("/v2/") && !authorized => {
                let realm = format!("http://{}/jwt/auth", host_of(request));
                let challenge = format!("Bearer realm={realm:?},service=\"container_registry\"");
                Reply::new(401).header("WWW-Authenticate", challenge)
            }
            "/gitlab/v1/" => Reply::new(404),
            _ => Reply::new(status).header("Link", "</x?token=hunter2>; rel=\"next\"").body(body),
        }
    })
}

#[tokio::test]
async fn secrets_for_vendors_apis_are_in_no_error_and_no_trace() {
    let traced = traced();
    let mut texts = String::new();
    let mut asked = std::collections::BTreeSet::new();
    let kinds = [
        (ProviderKind::Gitlab, "user"),
        (ProviderKind::Gitlab, "gitlab-ci-token"),
        (ProviderKind::DockerHub, "user"),
        (ProviderKind::Ghcr, "user"),
        (ProviderKind::Quay, "$oauthtoken"),
        (ProviderKind::Harbor, "user"),
    ];
    for (kind, user) in kinds {
        for (status, body) in [(200, "[]"), (200, "hunter2"), (401, "{}"), (403, "{}"), (500, "")] {
            let server = vendor(status, body);
            let client = vendor_client(&server, kind, "/api", password(user, SECRET));
            let repository = reference(&server).repository().clone();
            let listed: Result<Vec<ListEntry>, _> = client.entries(&repository).try_collect().await;
            let tag = client.delete_tag(&repository, &"1".parse().unwrap()).await;
            let manifest = client.delete_manifest(&repository, &Digest::of(b"x")).await;
            for error in [listed.err(), tag.err(), manifest.err()].into_iter().flatten() {
                texts.push_str(&told(&error));
            }
            for request in server.requests() {
                let sent = ["authorization", "private-token", "job-token"]
                    .into_iter()
                    .filter(|name| request.header(name).is_some_and(|value| !value.is_empty()));
                asked.extend(sent);
            }
        }
    }
    assert_eq!(asked.len(), 3, "{asked:?}");
    let traced = traced();
    assert!(traced.contains("/api/projects/team%2Fapp/"), "the APIs are in the trace");
    assert_free_of_secrets(&texts);
    assert_free_of_secrets(&traced);
}
