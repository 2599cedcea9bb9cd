//! Google's registries and their API, where they answer what a real one does not at will.

use std::sync::Arc;

use dockit_registry::{
    Client, Created, Credential, Digest, Error, ErrorKind, ListEntry, ProviderKind, Registries,
    Registry as _, RegistrySettings, Repository, Secret, TimeSource,
};
use dockit_testkit::{Reply, Request, ScriptedServer};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

use crate::support::{Fixed, builder};

const LIST: &str = "/v2/team/images/app/tags/list";
const IMAGES: &str = "/v1/projects/team/locations/us/repositories/images/dockerImages";
const REPOSITORIES: &str = "/v1/projects/team/locations/us/repositories";

fn client(server: &ScriptedServer) -> (Client, Repository) {
    let repository: Repository = format!("{}/team/images/app", server.host()).parse().unwrap();
    let settings = RegistrySettings {
        provider: Some(ProviderKind::Google),
        api_url: Some(format!("http://{}/locations/us", server.host())),
        ..RegistrySettings::default()
    };
    let credential = Credential::Basic {
        username: "oauth2accesstoken".to_owned(),
        password: Secret::new("ya29.token"),
    };
    let client = builder()
        .registries(Registries::from_iter([(repository.host().clone(), settings)]))
        .credentials(Arc::new(Fixed::new(credential)))
        .build()
        .unwrap();
    (client, repository)
}

async fn entries(server: &ScriptedServer) -> Result<Vec<ListEntry>, Error> {
    let (client, repository) = client(server);
    client.entries(&repository).try_collect().await
}

fn reply(body: &Value) -> Reply {
    Reply::new(200).header("Content-Type", "application/json").body(body.to_string())
}

fn digest(seed: &str) -> String {
    Digest::of(seed.as_bytes()).to_string()
}

#[tokio::test]
async fn what_a_list_leaves_out_or_says_oddly_spoils_nothing() {
    let body = json!({
        "name": "team/images/app",
        "child": null,
        "manifest": {
            digest("strings"): {
                "imageSizeBytes": "123", "mediaType": "m", "tag": ["one", "not a tag"],
                "timeCreatedMs": "0", "timeUploadedMs": "1700000000123",
            },
            digest("numbers"): {"imageSizeBytes": 5, "timeUploadedMs": 1_700_000_000_456_u64},
            digest("nothing"): {"tag": [], "timeUploadedMs": "0", "mediaType": ""},
            "no digest": {"tag": ["lost"]},
        },
        "tags": ["one", "elsewhere", "gone"],
    });
    let server = ScriptedServer::start(move |request| match request.path() {
        LIST => reply(&body),
        "/v2/team/images/app/manifests/elsewhere" => Reply::new(200)
            .header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
            .header("Docker-Content-Digest", digest("elsewhere")),
        _ => Reply::new(404),
    });
    let found = entries(&server).await.unwrap();
    let entry = |seed: &str| {
        let found = found.iter().find(|entry| entry.digest.as_str() == digest(seed));
        found.unwrap_or_else(|| panic!("{seed} is missing: {found:?}"))
    };
    assert_eq!(found.len(), 4, "{found:?}");
    let time = |seed: &str| {
        let time = entry(seed).time?;
        assert_eq!(time.source, TimeSource::ManifestPushed);
        Some(time.at.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis())
    };
    let strings = entry("strings");
    assert_eq!(strings.tag, Some("one".parse().unwrap()));
    assert_eq!((strings.size, strings.media_type.as_deref()), (Some(123), Some("m")));
    assert_eq!(time("strings"), Some(1_700_000_000_123));
    assert_eq!((entry("numbers").size, time("numbers")), (Some(5), Some(1_700_000_000_456)));
    let nothing = entry("nothing");
    assert_eq!((&nothing.tag, nothing.size, &nothing.media_type), (&None, None, &None));
    assert_eq!(time("nothing"), None);
    assert_eq!(entry("elsewhere").tag, Some("elsewhere".parse().unwrap()));
}

#[tokio::test]
async fn what_is_no_list_is_an_error_and_a_missing_repository_is_not_found() {
    let missing = json!({"errors": [{"code": "NAME_UNKNOWN", "message": "no"}]});
    for (answer, kind) in [
        (reply(&json!([])), ErrorKind::Invalid),
        (reply(&json!({"manifest": []})), ErrorKind::Invalid),
        (Reply::new(404).body(missing.to_string()), ErrorKind::NotFound),
        (Reply::new(403), ErrorKind::Denied),
    ] {
        let server = ScriptedServer::script([answer]);
        assert_eq!(*entries(&server).await.unwrap_err().kind(), kind);
    }
}

/// Whatever says that there is more: ten thousand images or tags, or a link.
#[tokio::test]
async fn only_a_list_that_may_be_cut_off_is_asked_of_the_api() {
    let tags = |count: usize| -> Vec<String> { (0..count).map(|one| format!("t{one}")).collect() };
    let list = |count: usize| {
        let about = json!({"tag": tags(count)});
        json!({"manifest": {digest("one"): about}, "tags": tags(count)})
    };
    let images = |count: usize| -> Value {
        let images = (0..count).map(|one| (digest(&one.to_string()), json!({})));
        json!({"manifest": images.collect::<serde_json::Map<String, Value>>(), "tags": []})
    };
    for (answer, of_api) in [
        (reply(&list(9_999)), false),
        (reply(&list(10_000)), true),
        (reply(&images(9_999)), false),
        (reply(&images(10_000)), true),
        (reply(&list(1)).header("Link", "<x>; rel=\"next\""), true),
    ] {
        let server = ScriptedServer::start(move |request| match request.path() {
            LIST => answer.clone(),
            IMAGES => {
                let name = format!("{IMAGES}/app@{}", digest("api"));
                reply(&json!({"dockerImages": [{"name": name, "tags": ["api"]}]}))
            }
            _ => Reply::new(404),
        });
        let found = entries(&server).await.unwrap();
        assert_eq!(found.len() == 1 && found[0].digest.as_str() == digest("api"), of_api);
        assert_eq!(server.requests()[0].query("n"), ["10000"]);
    }
}

#[tokio::test]
async fn pages_that_never_end_are_an_error() {
    let server = ScriptedServer::start(|request| match request.path() {
        LIST => reply(&json!({"tags": []})).header("Link", "<x>; rel=next"),
        _ => reply(&json!({"nextPageToken": "again"})),
    });
    let error = entries(&server).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(server.requests().len(), 3);
}

/// What becomes of a repository that the API answers so about.
async fn created(
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> (Result<Created, Error>, Vec<String>) {
    let server = ScriptedServer::start(answer);
    let (client, repository) = client(&server);
    (client.create_repository(&repository).await, server.log())
}

#[tokio::test]
async fn a_new_repository_is_waited_for() {
    let name = "projects/team/locations/us/operations/a-1";
    for (status, expected) in [
        (json!({"response": {}}), Ok(Created::Now)),
        // Somebody else was faster.
        (json!({"error": {"code": 6, "message": "exists"}}), Ok(Created::Before)),
        (json!({"error": {"code": 7, "message": "may not"}}), Err(ErrorKind::Denied)),
        (json!({"error": {"code": 3, "message": "bad name"}}), Err(ErrorKind::Invalid)),
    ] {
        let (made, log) = created(move |request| {
            assert_eq!(request.header("authorization"), Some("Bearer ya29.token"));
            if request.method == "POST" {
                let body: Value = serde_json::from_slice(request.body()).unwrap();
                assert_eq!(body, json!({"format": "DOCKER"}));
                return reply(&json!({"name": name}));
            }
            let mut done = status.clone();
            done["name"] = json!(name);
            done["done"] = json!(true);
            reply(&done)
        })
        .await;
        assert_eq!(made.map_err(|error| error.kind().clone()), expected);
        let asked = [format!("POST {REPOSITORIES}?repositoryId=images"), format!("GET /v1/{name}")];
        assert_eq!(log, asked);
    }
}

#[tokio::test]
async fn a_repository_that_is_there_is_no_error() {
    let body = json!({"error": {"code": 409, "status": "ALREADY_EXISTS", "message": "there"}});
    let (made, _) = created(move |_| Reply::new(409).body(body.to_string())).await;
    assert_eq!(made.unwrap(), Created::Before);
}

#[tokio::test]
async fn an_operation_is_asked_for_nowhere_else() {
    for name in ["../../v2/token", "projects/../secret", "projects/x?y", "http://example.com/"] {
        let (made, log) = created(move |_| reply(&json!({"name": name}))).await;
        assert_eq!(*made.unwrap_err().kind(), ErrorKind::Invalid, "{name}");
        assert_eq!(log.len(), 1);
    }
}

#[tokio::test]
async fn behind_the_names_of_container_registry_a_push_makes_the_repository() {
    let client = builder().build().unwrap();
    for (name, command) in [("eu.gcr.io/team/app", false), ("us-docker.pkg.dev/p/r/app", true)] {
        let repository: Repository = name.parse().unwrap();
        assert_eq!(client.creation_command(&repository).is_some(), command);
    }
    let error = client.create_repository(&"eu.gcr.io/team/app".parse().unwrap()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported, "{error}");
}
