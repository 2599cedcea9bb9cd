//! What ECR's API answers to few: the fields are those of *Amazon ECR API Reference* and *Amazon ECR Public
//! API Reference*.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use dockit_registry::{
    AwsIdentity, AwsKeys, Client, CredentialError, Deleted, Deletion, ErrorKind, ProviderKind,
    Registries, Registry as _, RegistrySettings, Repository, Secret,
};
use dockit_testkit::{Reply, Request, ScriptedServer};
use serde_json::json;

use crate::support::{builder, digest, entries, json as reply, quick_retries};

/// An identity that has keys, or fails.
struct Keys(bool);

#[async_trait]
impl AwsIdentity for Keys {
    async fn keys(&self) -> Result<Option<AwsKeys>, CredentialError> {
        if !self.0 {
            return Err(CredentialError::new("the machine does not say who it is"));
        }
        Ok(Some(AwsKeys {
            access_key_id: "AKIATEST".to_owned(),
            secret_access_key: Secret::new("secret"),
            session_token: None,
            expires: None,
        }))
    }

    async fn region(&self) -> Option<String> {
        Some("eu-west-1".to_owned())
    }
}

fn client(server: &ScriptedServer, provider: ProviderKind, knows: bool) -> Client {
    let settings = RegistrySettings {
        provider: Some(provider),
        api_url: Some(format!("http://{}/", server.host())),
        vouched: true,
        ..RegistrySettings::default()
    };
    builder()
        .retry(quick_retries(3))
        .registries(Registries::from_iter([(server.host().parse().unwrap(), settings)]))
        .aws(Arc::new(Keys(knows)))
        .build()
        .unwrap()
}

fn repository(server: &ScriptedServer) -> Repository {
    format!("{}/team/app", server.host()).parse().unwrap()
}

/// A registry without images, whose API answers an action so.
fn ecr(api: impl Fn(&str, &Request) -> Option<Reply> + Send + Sync + 'static) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        if let Some(target) = request.header("x-amz-target") {
            let action = target.rsplit('.').next().unwrap();
            return api(action, request).unwrap_or_else(|| {
                reply(400, r#"{"__type":"AccessDeniedException","message":"not authorized"}"#)
            });
        }
        match request.path() {
            "/v2/" => Reply::new(200),
            "/v2/team/app/tags/list" => reply(200, r#"{"tags":[]}"#),
            _ => Reply::new(404),
        }
    })
}

fn aliases(alias: &str) -> Reply {
    let registry = json!({"registryId": "123456789012", "aliases": [{"name": alias}]});
    reply(200, json!({"registries": [registry]}).to_string())
}

#[tokio::test]
async fn anybody_may_list_public_repositories_whatever_the_identity_is_good_for() {
    for (knows, may_describe) in [(false, false), (true, false), (true, true)] {
        let server = ecr(move |action, _| {
            (may_describe && action == "DescribeRegistries").then(|| aliases("team"))
        });
        let client = client(&server, ProviderKind::EcrPublic, knows);
        let listed = entries(&client, &repository(&server)).await;
        assert_eq!(listed, Ok(Vec::new()), "{knows} {may_describe}");
    }
}

#[tokio::test]
async fn private_repositories_are_not_listed_for_whom_the_api_denies_it() {
    let server = ecr(|_, _| None);
    let client = client(&server, ProviderKind::Ecr, true);
    assert_eq!(entries(&client, &repository(&server)).await, Err(ErrorKind::Denied));
}

#[tokio::test]
async fn a_public_repository_below_another_alias_is_not_made_and_it_is_said_why() {
    let server = ecr(|action, _| (action == "DescribeRegistries").then(|| aliases("other")));
    let client = client(&server, ProviderKind::EcrPublic, true);
    let error = client.create_repository(&repository(&server)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported);
    let text = error.to_string();
    assert!(text.contains("alias") && !text.contains("no AWS identity"), "{text}");
}

/// A signature is good for some minutes, and an API that is asked too much may want long pauses.
#[tokio::test]
async fn each_try_is_signed_by_itself() {
    let tries = AtomicUsize::new(0);
    let server = ecr(move |action, _| {
        if action != "DescribeImages" {
            return None;
        }
        Some(if tries.fetch_add(1, Ordering::SeqCst) == 0 {
            let body = r#"{"__type":"ThrottlingException","message":"slow down"}"#;
            reply(429, body).header("Retry-After", "2")
        } else {
            reply(200, json!({"imageDetails": []}).to_string())
        })
    });
    let client = client(&server, ProviderKind::Ecr, true);
    assert_eq!(entries(&client, &repository(&server)).await, Ok(Vec::new()));
    let requests = server.requests();
    let signed = requests.iter().filter_map(|request| request.header("x-amz-date"));
    let signed: Vec<&str> = signed.collect();
    assert!(signed.len() == 2 && signed[0] < signed[1], "{signed:?}");
}

fn deletions(count: usize) -> Vec<Deletion> {
    (0..count).map(|number| Deletion::Tag(number.to_string().parse().unwrap())).collect()
}

#[tokio::test]
async fn a_failure_that_names_no_image_is_that_of_all_that_are_not_mentioned() {
    let server = ecr(|action, _| {
        let outcome = json!({
            "imageIds": [{"imageTag": "0", "imageDigest": digest('a')}],
            "failures": [
                {"failureCode": "Odd", "failureReason": "no reason"},
                {"imageId": {"imageTag": "1"}, "failureCode": "ImageNotFound"},
            ],
        });
        (action == "BatchDeleteImage").then(|| reply(200, outcome.to_string()))
    });
    let client = client(&server, ProviderKind::Ecr, true);
    let results = client.delete_all(&repository(&server), deletions(4)).await.unwrap();
    assert_eq!(*results[0].result.as_ref().unwrap(), Deleted::Done);
    assert_eq!(*results[1].result.as_ref().unwrap(), Deleted::Absent);
    for result in &results[2..] {
        assert_eq!(result.result.as_ref().unwrap_err().codes(), ["Odd"]);
    }
}

#[tokio::test]
async fn what_could_not_be_deleted_for_a_reason_that_may_pass_is_tried_once_more() {
    let tries = AtomicUsize::new(0);
    let server = ecr(move |action, request| {
        let failure =
            |tag: &str, code: &str| json!({"imageId": {"imageTag": tag}, "failureCode": code});
        let outcome = match tries.fetch_add(1, Ordering::SeqCst) {
            0 => json!({"failures": [
                failure("0", "UpstreamUnavailable"), failure("1", "UpstreamTooManyRequests"),
            ]}),
            1 => json!({
                "imageIds": [{"imageTag": "0"}], "failures": [failure("1", "UpstreamUnavailable")],
            }),
            _ => json!({"imageIds": [{"imageTag": "1"}]}),
        };
        assert_eq!(action, "BatchDeleteImage", "{request:?}");
        Some(reply(200, outcome.to_string()))
    });
    let client = client(&server, ProviderKind::Ecr, true);
    let results = client.delete_all(&repository(&server), deletions(2)).await.unwrap();
    assert_eq!(*results[0].result.as_ref().unwrap(), Deleted::Done);
    assert_eq!(*results[1].result.as_ref().unwrap_err().kind(), ErrorKind::Transient);
    assert_eq!(server.requests().len(), 2);
}
