//! Storing and forgetting credentials.

use std::path::Path;

use dockit_registry::{
    ConfigLocation, Credential, CredentialError, CredentialSource as _, DockerConfig, Erased,
    Keeper, RegistryHost, Secret,
};
use serde_json::{Value, json};

use crate::credentials::{basic, content, helper};

fn host() -> RegistryHost {
    "r.example".parse().unwrap()
}

fn config(file: &Path) -> DockerConfig {
    DockerConfig::new([ConfigLocation::File(file.to_owned())])
        .helper_directory(file.parent().unwrap())
}

async fn store(file: &Path) -> Result<Keeper, CredentialError> {
    config(file).store(&host(), "user", &Secret::new("hunter2")).await
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// `user:hunter2`.
const AUTH: &str = "dXNlcjpodW50ZXIy";

#[tokio::test]
async fn what_was_stored_is_found_and_what_was_erased_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    assert_eq!(store(&file).await.unwrap(), Keeper::File(file.clone()));
    let config = config(&file);
    assert_eq!(config.credential(&host()).await.unwrap(), basic("user", "hunter2").into());
    let erased = config.erase(&host()).await.unwrap();
    assert_eq!(erased, Erased { from: vec![Keeper::File(file.clone())], left: vec![] });
    assert_eq!(config.credential(&host()).await.unwrap(), Credential::Anonymous.into());
    assert_eq!(config.erase(&host()).await.unwrap(), Erased::default());
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_its_owners_alone_in_a_new_directory() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("home/.docker/config.json");
    store(&file).await.unwrap();
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    store(&file).await.unwrap();
    assert_eq!(mode(&file), 0o600, "whatever it was before");
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_stays_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let (file, kept) = (directory.path().join("config.json"), directory.path().join("kept.json"));
    std::fs::write(&kept, "{}").unwrap();
    std::os::unix::fs::symlink("kept.json", &file).unwrap();
    store(&file).await.unwrap();
    assert!(file.symlink_metadata().unwrap().is_symlink());
    assert_eq!(read(&kept)["auths"]["r.example"]["auth"], AUTH);
}

#[tokio::test]
async fn other_fields_stay_and_other_spellings_of_the_host_are_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    let other = json!({"auth": "b2xkOm9sZA==", "email": "a@b.example"});
    let before = json!({
        "HttpHeaders": {"X-Meta": "1"},
        "credHelpers": {"other.example": "none"},
        "auths": {
            "https://r.example/v1/": other, "R.example": other, "r.example/team": other,
            "other.example": other,
        },
    });
    std::fs::write(&file, before.to_string()).unwrap();
    store(&file).await.unwrap();
    let mut expected = before.clone();
    expected["auths"] =
        json!({"r.example": {"auth": AUTH}, "r.example/team": other, "other.example": other});
    assert_eq!(read(&file), expected);
    config(&file).erase(&host()).await.unwrap();
    expected["auths"].as_object_mut().unwrap().remove("r.example");
    assert_eq!(read(&file), expected);
}

#[tokio::test]
async fn a_helper_keeps_the_password_and_the_file_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    let log = directory.path().join("log");
    let script = format!(
        "echo \"$1 $(cat)\" >> '{0}'\ncase $1 in get) echo '{{\"Username\":\"u\",\"Secret\":\"s\"}}';; esac",
        log.display()
    );
    helper(directory.path(), "log", &script);
    std::fs::write(&file, r#"{"credsStore":"log","auths":{"http://r.example":{"auth":"eDp5"}}}"#)
        .unwrap();
    assert_eq!(store(&file).await.unwrap(), Keeper::Helper("log".into()));
    assert_eq!(read(&file), json!({"credsStore": "log", "auths": {"r.example": {}}}));
    let said = std::fs::read_to_string(&log).unwrap();
    let entry: Value = serde_json::from_str(said.strip_prefix("store ").unwrap()).unwrap();
    let sent = json!({"ServerURL": "r.example", "Username": "user", "Secret": "hunter2"});
    assert_eq!(entry, sent);
    std::fs::remove_file(&log).unwrap();
    let erased = config(&file).erase(&host()).await.unwrap();
    assert_eq!(erased.from, [Keeper::Helper("log".into())], "the empty entry kept nothing");
    assert_eq!(read(&file), json!({"credsStore": "log", "auths": {}}));
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "get r.example\nerase r.example\n");
}

#[tokio::test]
async fn a_helper_that_fails_is_an_error_that_says_nothing_of_the_password() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    helper(directory.path(), "broken", "cat; cat >&2; exit 1");
    let before = r#"{"credsStore":"broken"}"#;
    std::fs::write(&file, before).unwrap();
    let error = store(&file).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "docker-credential-broken could not store the password for r.example"
    );
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    let error = config(&file).erase(&host()).await.unwrap_err();
    assert_eq!(error.to_string(), "docker-credential-broken could not forget r.example");
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_is_not_touched() {
    for damaged in ["", "{", "[]", r#"{"auths":"hunter2"}"#, r#"{"auths":{"r.example":"hunter2"}}"#]
    {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        std::fs::write(&file, damaged).unwrap();
        for error in
            [store(&file).await.unwrap_err(), config(&file).erase(&host()).await.unwrap_err()]
        {
            assert!(error.to_string().contains("config.json"), "{error}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2") && !shown.contains(AUTH), "{shown}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), damaged);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stores_at_the_same_time_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    let hosts: Vec<String> = (0..8).map(|number| format!("r{number}.example")).collect();
    let stores: Vec<_> = hosts
        .iter()
        .map(|name| {
            let (host, config) = (name.parse().unwrap(), config(&file));
            tokio::spawn(async move { config.store(&host, "u", &Secret::new("p")).await })
        })
        .collect();
    for store in stores {
        store.await.unwrap().unwrap();
    }
    let auths = read(&file)["auths"].as_object().unwrap().clone();
    assert_eq!(auths.keys().cloned().collect::<Vec<_>>(), hosts);
}

#[tokio::test]
async fn what_the_environment_holds_is_left_and_named() {
    let config = DockerConfig::new([content(r#"{"auths":{"r.example":{"auth":"eDp5"}}}"#)]);
    let erased = config.erase(&host()).await.unwrap();
    assert_eq!(erased, Erased { from: vec![], left: vec![Keeper::Variable("test".into())] });
    let error = config.store(&host(), "user", &Secret::new("hunter2")).await.unwrap_err();
    assert!(error.to_string().starts_with("there is no file to store it in"), "{error}");
}
