//! Docker's configuration files and credential helpers.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use dockit_registry::{
    ConfigLocation, Credential, CredentialError, CredentialSource as _, DockerConfig, ErrorKind,
    Registry as _, Secret,
};

use crate::support::builder;

/// Writes a helper. Another process writes it, so that this one, in which other threads start
/// processes, never holds it open for writing: the system runs no such file.
pub(crate) fn helper(directory: &Path, name: &str, script: &str) {
    let file = directory.join(format!("docker-credential-{name}"));
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$1\" && chmod +x \"$1\"", "sh"])
        .arg(file)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    write!(writer.stdin.take().unwrap(), "#!/bin/sh\n{script}\n").unwrap();
    assert!(writer.wait().unwrap().success());
}

pub(crate) fn content(json: &str) -> ConfigLocation {
    ConfigLocation::Content { name: "test".into(), json: Secret::new(json) }
}

async fn credential(config: &DockerConfig, host: &str) -> Result<Credential, CredentialError> {
    config.credential(&host.parse().unwrap()).await.map(|issued| issued.credential)
}

pub(crate) fn basic(username: &str, password: &str) -> Credential {
    Credential::Basic { username: username.into(), password: Secret::new(password) }
}

#[tokio::test]
async fn a_helper_is_asked_by_its_protocol() {
    let directory = tempfile::tempdir().unwrap();
    // Answers with what it was asked.
    helper(
        directory.path(),
        "echo",
        r#"read -r server; echo "{\"ServerURL\":\"x\",\"Username\":\"$1\",\"Secret\":\"$server\"}""#,
    );
    let config =
        DockerConfig::new([content(r#"{"credsStore":"echo"}"#)]).helper_directory(directory.path());
    for (host, server) in
        [("r.example:5000", "r.example:5000"), ("docker.io", "https://index.docker.io/v1/")]
    {
        assert_eq!(credential(&config, host).await.unwrap(), basic("get", server));
    }
}

#[tokio::test]
async fn what_a_helper_says_is_a_credential_none_or_an_error() {
    let token = Credential::IdentityToken { username: None, token: Secret::new("hunter2") };
    for (script, expected) in [
        (r#"echo '{"Username":"<token>","Secret":"hunter2"}'"#, Ok(token)),
        (r#"echo '{"Username":"","Secret":""}'"#, Ok(Credential::Anonymous)),
        ("echo 'credentials not found in native keychain'; exit 1", Ok(Credential::Anonymous)),
        (
            "echo 'cannot refresh: AWS credentials not found in /root/.aws'; exit 1",
            Err("docker-credential-test failed for r.example"),
        ),
        (
            "echo '{\"error\":\"login expired\"}'",
            Err("docker-credential-test printed something else than a credential"),
        ),
        (
            "echo hunter2; echo hunter2 >&2; exit 1",
            Err("docker-credential-test failed for r.example"),
        ),
        ("echo hunter2", Err("docker-credential-test printed something else than a credential")),
        (
            "echo '{\"Username\":[\"hunter2\"]}'",
            Err("docker-credential-test printed something else than a credential"),
        ),
        ("exec sleep 60", Err("docker-credential-test did not answer within 0.2 seconds")),
    ] {
        let directory = tempfile::tempdir().unwrap();
        helper(directory.path(), "test", script);
        // Only the sleeper is to run out of time.
        let timeout = if script.contains("sleep") { 200 } else { 20_000 };
        let config = DockerConfig::new([content(r#"{"credHelpers":{"r.example":"test"}}"#)])
            .helper_directory(directory.path())
            .helper_timeout(Duration::from_millis(timeout));
        match (credential(&config, "r.example").await, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{script}"),
            (Err(error), Err(expected)) => {
                assert_eq!(error.to_string(), expected);
                assert!(!format!("{error:?}").contains("hunter2"));
            }
            (found, expected) => panic!("{script}: {found:?} instead of {expected:?}"),
        }
        assert_eq!(credential(&config, "other.example").await.unwrap(), Credential::Anonymous);
    }
}

#[tokio::test]
async fn a_missing_helper_is_an_error_and_not_anonymous() {
    let directory = tempfile::tempdir().unwrap();
    let config = DockerConfig::new([content(r#"{"credsStore":"absent"}"#)])
        .helper_directory(directory.path());
    let error = credential(&config, "r.example").await.unwrap_err();
    assert!(error.to_string().starts_with("cannot run docker-credential-absent"), "{error}");
    let client = builder().credentials(std::sync::Arc::new(config)).build().unwrap();
    let host = "r.example".parse().unwrap();
    let error = client.credential(&host).await.unwrap_err();
    assert_eq!((error.kind(), error.host()), (&ErrorKind::Credential, Some(&host)));
}

#[tokio::test]
async fn the_first_location_with_a_credential_decides() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    std::fs::write(&file, r#"{"auths":{"a.example":{"auth":"dTpw"},"b.example":{}}}"#).unwrap();
    let config = DockerConfig::new([
        ConfigLocation::File(directory.path().join("absent.json")),
        ConfigLocation::File(file),
        content(
            r#"{"auths":{"a.example":{"username":"x","password":"y"},
                "b.example":{"username":"v","password":"w"}}}"#,
        ),
    ]);
    for (host, expected) in [
        ("a.example", basic("u", "p")),
        ("b.example", basic("v", "w")),
        ("c.example", Credential::Anonymous),
    ] {
        assert_eq!(credential(&config, host).await.unwrap(), expected, "{host}");
    }
}

#[tokio::test]
async fn a_helper_that_holds_nothing_leaves_it_to_the_file() {
    let directory = tempfile::tempdir().unwrap();
    helper(directory.path(), "none", "echo 'credentials not found in native keychain'; exit 1");
    let json = r#"{"credsStore":"none","auths":{"a.example":{"auth":"dTpw"}}}"#;
    let config = DockerConfig::new([content(json)]).helper_directory(directory.path());
    assert_eq!(credential(&config, "a.example").await.unwrap(), basic("u", "p"));
}

#[tokio::test]
async fn a_location_that_cannot_be_read_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let config = DockerConfig::new([ConfigLocation::File(directory.path().to_owned())]);
    let error = credential(&config, "a.example").await.unwrap_err().to_string();
    assert!(error.starts_with(&directory.path().display().to_string()), "{error}");
    let config = DockerConfig::new([content("{")]);
    let error = credential(&config, "a.example").await.unwrap_err().to_string();
    assert!(error.starts_with("test: line 1"), "{error}");
}
