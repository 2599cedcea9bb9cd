//! Who this machine is to AWS, found in an environment; and that nothing of it is shown.
//!
//! What is read is the environment of a process, so each test starts one: this binary again, with the
//! test `child` alone.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dockit_registry::{
    Access, AwsEnvironment, AwsIdentity, AwsKeys, Credential, CredentialError, Deletion, Digest,
    Error, ListEntry, ProviderKind, Registries, Registry as _, RegistryHost, RegistrySettings,
    Repository,
};
use dockit_testkit::{Reply, Request, ScriptedServer};
use futures_util::TryStreamExt as _;
use serde_json::json;

use crate::secrets::Everything;
use crate::support::{Fixed, basic, builder, json as json_reply};

/// The registry that the child shall ask, with its API.
const REGISTRY: &str = "DOCKIT_TEST_ECR";
/// Milliseconds that pass before the child asks for keys again.
const PAUSE: &str = "DOCKIT_TEST_PAUSE";

const ROLE: &str = "arn:aws:iam::123456789012:role/ci";

/// Every secret in these tests holds this.
const MARK: &str = "hunter2";
const SECRET: &str = "hunter2/secret+key";
const SESSION: &str = "hunter2-session";

/// What the child said.
struct Said {
    /// The keys, as it got them twice: `name secret session`, `none` or `error: ...`.
    keys: [String; 2],
    region: String,
    /// How long it took to get them the first time, and the second.
    took: [Duration; 2],
    /// All that it, and whatever it is made of, wrote down.
    everything: String,
}

#[test]
#[ignore = "the other tests start it in processes of its own"]
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "so it is asked and answers")]
fn child() {
    let traced = Everything::default();
    tracing::subscriber::set_global_default(traced.clone()).unwrap();
    log::set_boxed_logger(Box::new(traced.clone())).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pause = std::env::var(PAUSE).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let said = runtime.block_on(async {
        let mut said = String::new();
        let identity = AwsEnvironment::from_environment();
        for _ in 0..2 {
            let start = Instant::now();
            let keys = identity.keys().await;
            let took = start.elapsed().as_millis();
            writeln!(said, "\n@ {took} {}", spelled(keys)).unwrap();
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let region = identity.region().await;
        writeln!(said, "@ 0 {}", region.as_deref().unwrap_or("none")).unwrap();
        if let Ok(host) = std::env::var(REGISTRY) {
            said.push_str(&ask(&host.parse().unwrap(), identity).await);
        }
        said
    });
    println!("{said}\ntraced: {}", traced.text());
}

/// The keys, turned so that none of them is shown.
fn spelled(keys: Result<Option<AwsKeys>, CredentialError>) -> String {
    let turned = |text: &str| text.chars().rev().collect::<String>();
    match keys {
        Ok(None) => "none".to_owned(),
        Ok(Some(keys)) => {
            let session = keys.session_token.as_ref().map_or("-", |token| token.expose());
            let secret = turned(keys.secret_access_key.expose());
            format!("{} {secret} {} {keys:?}", keys.access_key_id, turned(session))
        }
        Err(error) => format!("error: {error} {error:?}"),
    }
}

/// Logs in, lists and deletes, and tells what went wrong in every way that errors have.
async fn ask(host: &RegistryHost, identity: AwsEnvironment) -> String {
    let settings = RegistrySettings {
        provider: Some(ProviderKind::Ecr),
        api_url: Some(format!("http://{host}/")),
        vouched: true,
        ..RegistrySettings::default()
    };
    let client = builder()
        .registries(Registries::from_iter([(host.clone(), settings)]))
        .aws(Arc::new(identity))
        .build()
        .unwrap();
    let repository: Repository = format!("{host}/team/app").parse().unwrap();
    let at = repository.with_tag("1".parse().unwrap());
    let mut errors: Vec<Error> = Vec::new();
    errors.extend(client.ping(host).await.err());
    errors.extend(client.head_manifest(&at, Access::Pull).await.err());
    let listed: Result<Vec<ListEntry>, Error> = client.entries(&repository).try_collect().await;
    let mut said = format!("{client:?} {listed:?} {:?}\n", client.credential(host).await);
    errors.extend(listed.err());
    let items = vec![Deletion::Tag("1".parse().unwrap()), Deletion::Manifest(Digest::of(b"held"))];
    for result in client.delete_all(&repository, items).await.unwrap() {
        errors.extend(result.result.err());
    }
    for error in errors {
        writeln!(said, "failed: {error} {error:?} {error:#?}").unwrap();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            writeln!(said, "{error} {error:?}").unwrap();
            source = error.source();
        }
    }
    said
}

/// Starts the child with these variables and nothing else of this process's environment.
fn run(home: &Path, variables: &[(&str, &str)]) -> Said {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["aws::child", "--exact", "--ignored", "--nocapture"])
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let everything = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{everything}");
    let line = |number: usize| {
        let line = everything.lines().filter_map(|line| line.strip_prefix("@ ")).nth(number);
        let (took, text) = line.and_then(|line| line.split_once(' ')).expect("three lines");
        (Duration::from_millis(took.parse().unwrap()), text.to_owned())
    };
    let ((one, first), (two, second), (_, region)) = (line(0), line(1), line(2));
    Said { keys: [first, second], region, took: [one, two], everything }
}

/// The same, where there is no metadata service, and nothing secret may be shown.
fn run_alone(home: &Path, variables: &[(&str, &str)]) -> Said {
    let mut all = vec![("AWS_EC2_METADATA_DISABLED", "true")];
    all.extend(variables);
    let said = run(home, &all);
    assert_silent(&said);
    said
}

fn assert_silent(said: &Said) {
    let turned: String = MARK.chars().rev().collect();
    for line in said.everything.lines().filter(|line| !line.contains(&turned)) {
        assert!(!line.contains(MARK), "{line}");
    }
}

fn assert_keys(said: &Said, name: &str, session: Option<&str>) {
    let turned = |text: &str| text.chars().rev().collect::<String>();
    let expected = format!("{name} {} {} ", turned(SECRET), turned(session.unwrap_or("-")));
    for keys in &said.keys {
        assert!(keys.starts_with(&expected), "{keys}");
    }
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn seconds_from_now(seconds: u64) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let then = time::OffsetDateTime::from_unix_timestamp((since.as_secs() + seconds) as i64);
    then.unwrap().format(&time::format_description::well_known::Rfc3339).unwrap()
}

/// STS, which gives keys to whoever shows this in the request.
fn sts(action: &'static str, shows: &'static str) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        let body = String::from_utf8_lossy(request.body()).into_owned();
        if !body.contains(&format!("Action={action}&")) || !body.contains(shows) {
            let body = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code>\
                        <Message>not this one</Message></Error></ErrorResponse>";
            return Reply::new(400).header("Content-Type", "text/xml").body(body);
        }
        let expires = seconds_from_now(3600);
        let body = format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
             <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/ci/s</Arn>\
             <AssumedRoleId>AROA:s</AssumedRoleId></AssumedRoleUser><Credentials>\
             <AccessKeyId>ASIASTS</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>\
             <SessionToken>{SESSION}</SessionToken><Expiration>{expires}</Expiration>\
             </Credentials></{action}Result></{action}Response>"
        );
        Reply::new(200).header("Content-Type", "text/xml").body(body)
    })
}

/// The metadata service, version 2, whose keys expire after these seconds.
fn metadata(lifetime: u64) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        if request.method == "PUT" && request.path() == "/latest/api/token" {
            let lifetime = request.header("x-aws-ec2-metadata-token-ttl-seconds");
            let lifetime = lifetime.expect("version 2 wants a lifetime").to_owned();
            let reply = Reply::new(200).header("x-aws-ec2-metadata-token-ttl-seconds", lifetime);
            return reply.body("hunter2-metadata");
        }
        if request.header("x-aws-ec2-metadata-token") != Some("hunter2-metadata") {
            return Reply::new(401);
        }
        match request.path() {
            "/latest/meta-data/placement/region" => Reply::new(200).body("eu-north-1"),
            "/latest/meta-data/iam/security-credentials/" => Reply::new(200).body("ci"),
            "/latest/meta-data/iam/security-credentials/ci" => Reply::new(200).body(
                json!({
                    "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": seconds_from_now(0),
                    "AccessKeyId": "ASIAMACHINE", "SecretAccessKey": SECRET, "Token": SESSION,
                    "Expiration": seconds_from_now(lifetime),
                })
                .to_string(),
            ),
            _ => Reply::new(404),
        }
    })
}

fn count(server: &ScriptedServer, path: &str) -> usize {
    server.requests().iter().filter(|request| request.path() == path).count()
}

#[test]
fn keys_and_region_of_variables_come_first() {
    let home = home();
    let said = run_alone(
        home.path(),
        &[
            ("AWS_ACCESS_KEY_ID", "AKIAENV"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_SESSION_TOKEN", SESSION),
            ("AWS_REGION", "eu-west-3"),
        ],
    );
    assert_keys(&said, "AKIAENV", Some(SESSION));
    assert_eq!(said.region, "eu-west-3");
}

#[test]
fn a_profile_has_keys_or_a_program_that_knows_them_or_a_role() {
    let home = home();
    let aws = home.path().join(".aws");
    std::fs::create_dir(&aws).unwrap();
    let sts = sts("AssumeRole", "RoleArn=arn");
    let program = home.path().join("keys.sh");
    let answer = json!({"Version": 1, "AccessKeyId": "AKIAPROGRAM", "SecretAccessKey": SECRET});
    std::fs::write(&program, format!("echo '{answer}'\n")).unwrap();
    let config = format!(
        "[default]\nregion = eu-south-1\n\
         [profile asks]\ncredential_process = sh {}\n\
         [profile role]\nrole_arn = {ROLE}\nsource_profile = default\nregion = us-west-2\n\
         [profile sso]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n\
         [sso-session s]\nsso_region = eu-west-1\nsso_start_url = https://sso.example/start\n",
        program.display()
    );
    std::fs::write(aws.join("config"), config).unwrap();
    let keys =
        format!("[default]\naws_access_key_id = AKIAFILE\naws_secret_access_key = {SECRET}\n");
    std::fs::write(aws.join("credentials"), keys).unwrap();

    let said = run_alone(home.path(), &[]);
    assert_keys(&said, "AKIAFILE", None);
    assert_eq!(said.region, "eu-south-1");
    assert_keys(&run_alone(home.path(), &[("AWS_PROFILE", "asks")]), "AKIAPROGRAM", None);
    let url = format!("http://{}", sts.host());
    let said = run_alone(home.path(), &[("AWS_PROFILE", "role"), ("AWS_ENDPOINT_URL_STS", &url)]);
    assert_keys(&said, "ASIASTS", Some(SESSION));
    assert_eq!((said.region.as_str(), sts.requests().len()), ("us-west-2", 1));
    // That is what AWS's crate makes of it.
    assert_eq!(run_alone(home.path(), &[("AWS_PROFILE", "absent")]).keys, ["none", "none"]);
    let said = run_alone(home.path(), &[("AWS_PROFILE", "sso")]);
    for keys in &said.keys {
        assert!(keys.starts_with("error: ") && keys.contains("sso"), "{keys}");
    }
}

#[test]
fn a_program_whose_answer_is_none_is_an_error_that_does_not_quote_it() {
    let home = home();
    let aws = home.path().join(".aws");
    std::fs::create_dir(&aws).unwrap();
    let program = home.path().join("keys.sh");
    let config = format!("[default]\ncredential_process = sh {}\n", program.display());
    std::fs::write(aws.join("config"), config).unwrap();
    for script in [
        "echo hunter2; echo hunter2 >&2; exit 1",
        "echo hunter2",
        "echo '{\"Version\": 1, \"AccessKeyId\": \"A\", \"SecretAccessKey\": [\"hunter2\"]}'",
    ] {
        std::fs::write(&program, script).unwrap();
        let said = run_alone(home.path(), &[("AWS_REGION", "eu-west-1")]);
        assert!(said.keys[0].starts_with("error: "), "{}", said.keys[0]);
    }
}

#[test]
fn a_web_identity_gets_the_keys_of_its_role() {
    let home = home();
    let token = home.path().join("token");
    std::fs::write(&token, "hunter2-web").unwrap();
    let sts = sts("AssumeRoleWithWebIdentity", "WebIdentityToken=hunter2-web");
    let url = format!("http://{}", sts.host());
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_ROLE_SESSION_NAME", "job-17"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL_STS", &url),
    ];
    let said = run_alone(home.path(), &variables);
    assert_keys(&said, "ASIASTS", Some(SESSION));
    let requests = sts.requests();
    assert_eq!(requests.len(), 1, "keys that are good for an hour are asked for once");
    let body = String::from_utf8_lossy(requests[0].body());
    assert!(body.contains("RoleSessionName=job-17"), "{body}");
    assert_eq!(requests[0].header("authorization"), None);

    std::fs::write(&token, "hunter2-other").unwrap();
    let said = run_alone(home.path(), &variables);
    assert!(said.keys[0].starts_with("error: "), "{}", said.keys[0]);
    assert!(said.keys[0].contains("not this one"), "{}", said.keys[0]);
    assert_eq!(said.keys[0], said.keys[1]);
}

#[test]
fn a_container_gets_the_keys_of_its_role() {
    let home = home();
    let token = home.path().join("token");
    std::fs::write(&token, "hunter2-container").unwrap();
    let server = ScriptedServer::start(|request| {
        if request.header("authorization") != Some("hunter2-container") {
            return Reply::new(401);
        }
        let body = json!({
            "AccessKeyId": "ASIACONTAINER", "SecretAccessKey": SECRET, "Token": SESSION,
            "Expiration": seconds_from_now(3600),
        });
        Reply::new(200).header("Content-Type", "application/json").body(body.to_string())
    });
    let url = format!("http://{}/keys", server.host());
    let said = run_alone(
        home.path(),
        &[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap()),
            ("AWS_REGION", "eu-west-1"),
            // Nobody is behind this; what is near is not asked through it.
            ("HTTP_PROXY", "http://127.0.0.1:9"),
        ],
    );
    assert_keys(&said, "ASIACONTAINER", Some(SESSION));
    assert_eq!(server.log(), ["GET /keys"]);
}

#[test]
fn a_machine_has_the_keys_of_its_role_and_is_in_its_region() {
    let home = home();
    let server = metadata(6 * 3600);
    let url = format!("http://{}", server.host());
    let said = run(home.path(), &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)]);
    assert_silent(&said);
    assert_keys(&said, "ASIAMACHINE", Some(SESSION));
    assert_eq!(said.region, "eu-north-1");
    assert_eq!(count(&server, "/latest/api/token"), 1);
}

#[test]
fn keys_are_read_anew_before_they_expire() {
    let home = home();
    let server = metadata(4);
    let url = format!("http://{}", server.host());
    let variables = [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str()),
        ("AWS_REGION", "eu-west-1"),
        (PAUSE, "2500"),
    ];
    let said = run(home.path(), &variables);
    assert_keys(&said, "ASIAMACHINE", Some(SESSION));
    assert_eq!(count(&server, "/latest/meta-data/iam/security-credentials/ci"), 2);
}

/// Where addresses that nobody has are not refused, only time tells.
#[test]
fn that_there_is_no_identity_is_known_soon_and_remembered() {
    let home = home();
    let silent = ScriptedServer::start(|_| Reply::new(200).delay(Duration::from_secs(30)));
    let other_cloud = ScriptedServer::start(|_| Reply::new(405));
    let without_role = ScriptedServer::start(|request: &Request| {
        let reply = Reply::new(if request.method == "PUT" { 200 } else { 404 });
        reply.header("x-aws-ec2-metadata-token-ttl-seconds", "21600").body("token")
    });
    let [silent, other_cloud, without_role] =
        [&silent, &other_cloud, &without_role].map(|server| format!("http://{}", server.host()));
    let endpoint = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
    for variables in [
        vec![("AWS_EC2_METADATA_DISABLED", "true")],
        vec![(endpoint, silent.as_str())],
        vec![(endpoint, silent.as_str()), ("AWS_REGION", "eu-west-1")],
        vec![(endpoint, "http://127.0.0.1:9")],
        vec![(endpoint, other_cloud.as_str())],
        vec![(endpoint, without_role.as_str()), ("AWS_REGION", "eu-west-1")],
    ] {
        let said = run(home.path(), &variables);
        assert_eq!(said.keys, ["none", "none"], "{variables:?}");
        let [first, second] = said.took;
        // A machine that is busy needs its time as well.
        assert!(first < Duration::from_secs(10), "{variables:?} took {first:?}");
        assert!(second < Duration::from_millis(900), "{variables:?} took {second:?}");
    }
}

/// ECR and its API: a password for whoever asks, and then this status.
fn registry(api_status: u16, registry_status: u16) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        let target = request.header("x-amz-target").unwrap_or_default();
        let action = target.rsplit('.').next().unwrap_or_default();
        if action.is_empty() {
            let known = request.header("authorization").is_some();
            let challenge = "Basic realm=\"r\",service=\"ecr.amazonaws.com\"";
            return Reply::new(if known { registry_status } else { 401 })
                .header("WWW-Authenticate", challenge);
        }
        if action != "GetAuthorizationToken" && api_status != 200 {
            let body = json!({"__type": "InvalidSignatureException", "message": "no"});
            return Reply::new(api_status).body(body.to_string());
        }
        let digest = Digest::of(b"held").to_string();
        let body = match action {
            // `AWS:hunter2-password`
            "GetAuthorizationToken" => json!({"authorizationData": [
                {"authorizationToken": "QVdTOmh1bnRlcjItcGFzc3dvcmQ=", "expiresAt": 9e9},
            ]}),
            "DescribeImages" => json!({"imageDetails": [{"imageDigest": digest}]}),
            _ => json!({"imageIds": [], "failures": [{
                "imageId": {"imageDigest": digest},
                "failureCode": "ImageReferencedByManifestList",
            }]}),
        };
        Reply::new(200).body(body.to_string())
    })
}

/// A profile of single sign-on, say.
struct WithoutKeys;

#[async_trait::async_trait]
impl AwsIdentity for WithoutKeys {
    async fn keys(&self) -> Result<Option<AwsKeys>, CredentialError> {
        Err(CredentialError::new("the profile is none"))
    }

    async fn region(&self) -> Option<String> {
        None
    }
}

#[tokio::test]
async fn an_identity_without_keys_spoils_nothing_for_whoever_has_a_password() {
    let server = ScriptedServer::start(|request| match request.header("authorization") {
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\""),
        Some(_) if request.method == "DELETE" => Reply::new(202),
        Some(_) => json_reply(200, r#"{"name":"team/app","tags":[]}"#),
    });
    let repository: Repository = format!("{}/team/app", server.host()).parse().unwrap();
    let items = || vec![Deletion::Manifest(Digest::of(b"held"))];
    for (credential, works) in [(basic(), true), (Credential::Anonymous, false)] {
        let settings = RegistrySettings {
            provider: Some(ProviderKind::Ecr),
            vouched: true,
            ..RegistrySettings::default()
        };
        let client = builder()
            .registries(Registries::from_iter([(repository.host().clone(), settings)]))
            .credentials(Arc::new(Fixed::new(credential)))
            .aws(Arc::new(WithoutKeys))
            .build()
            .unwrap();
        let listed: Result<Vec<ListEntry>, Error> = client.entries(&repository).try_collect().await;
        let deleted = client.delete_all(&repository, items()).await.unwrap().remove(0).result;
        for error in [listed.err(), deleted.err()] {
            let said = error.map(|error| error.to_string());
            assert_eq!(said.is_none(), works, "{said:?}");
            assert!(said.is_none_or(|said| said.contains("the profile is none")));
        }
    }
}

#[test]
fn nothing_of_a_login_to_ecr_is_shown() {
    let home = home();
    for (api_status, registry_status) in [(200, 200), (400, 200), (500, 403), (200, 401)] {
        let server = registry(api_status, registry_status);
        let host = server.host();
        let said = run_alone(
            home.path(),
            &[
                ("AWS_ACCESS_KEY_ID", "AKIAENV"),
                ("AWS_SECRET_ACCESS_KEY", SECRET),
                ("AWS_SESSION_TOKEN", SESSION),
                ("AWS_REGION", "eu-west-3"),
                (REGISTRY, &host),
            ],
        );
        // Basic's spellings of the password, at each offset.
        for secret in ["aHVudGVyMg", "h1bnRlcjI", "odW50ZXIy"] {
            assert!(!said.everything.contains(secret), "{}", said.everything);
        }
        assert!(said.everything.contains("failed: "), "{}", said.everything);
        assert!(said.everything.contains("vendor's API"), "nothing was traced");
        let signed = server.requests().iter().any(|request| {
            let session = request.header("x-amz-security-token") == Some(SESSION);
            session && request.header("authorization").is_some()
        });
        assert!(signed);
    }
}
