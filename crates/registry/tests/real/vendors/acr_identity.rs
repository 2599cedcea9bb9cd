//! The whole way from a machine's or job's identity to a registry, and what is traced on it.

use std::collections::HashMap;

use dockit_registry::{AzureIdentity, Deletion, ListEntry, Tag};
use dockit_testkit::{EntraServer, TestImage};
use futures_util::TryStreamExt as _;

use super::acr::Acr;
use crate::contract::{Vendor as _, push};
use crate::traced;

/// The identity that these variables speak of.
fn identity(variables: &[(&str, &str)]) -> AzureIdentity {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    AzureIdentity::from_variables(&|name| variables.get(name).map(|value| (*value).into()))
}

#[tokio::test]
async fn every_identity_gets_in_and_nothing_secret_is_in_errors_and_traces() {
    let _traced = traced::begin();
    let entra = EntraServer::start();
    let address = format!("http://{}", entra.host());
    let endpoint = format!("{address}/msi/token");
    let oidc = format!("{address}/oidc");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("assertion");
    std::fs::write(&file, EntraServer::ASSERTION).unwrap();
    let application = [
        ("AZURE_TENANT_ID", EntraServer::TENANT),
        ("AZURE_CLIENT_ID", EntraServer::CLIENT),
        ("AZURE_AUTHORITY_HOST", &*address),
    ];
    let with = |more: &[(&'static str, &str)]| {
        let all = application.iter().chain(more);
        all.map(|(name, value)| (*name, (*value).to_owned())).collect::<Vec<_>>()
    };
    let good = [
        with(&[("AZURE_CLIENT_SECRET", EntraServer::SECRET)]),
        with(&[("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap())]),
        with(&[
            ("AZURESUBSCRIPTION_TENANT_ID", EntraServer::TENANT),
            ("AZURESUBSCRIPTION_CLIENT_ID", EntraServer::CLIENT),
            ("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", "connection"),
            ("SYSTEM_OIDCREQUESTURI", &oidc),
            ("SYSTEM_ACCESSTOKEN", EntraServer::JOB),
        ]),
        with(&[("IDENTITY_ENDPOINT", &endpoint), ("IDENTITY_HEADER", EntraServer::HEADER)]),
        with(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &address)]),
    ];
    let bad = [
        with(&[("AZURE_CLIENT_SECRET", "hunter2")]),
        with(&[("IDENTITY_ENDPOINT", &endpoint), ("IDENTITY_HEADER", "hunter2")]),
    ];
    let mut texts = String::new();
    for variables in good {
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let vendor = Acr::start();
        let client = vendor.client_as(identity(&variables));
        let repository = vendor.repository("app");
        let at = repository.with_tag(Tag::latest());
        let digest = push(&client, &at, &TestImage::new("x")).await;
        let entries: Vec<ListEntry> = client.entries(&repository).try_collect().await.unwrap();
        assert_eq!(entries.len(), 1);
        let items = vec![
            Deletion::Tag("absent".parse().unwrap()),
            Deletion::Tag(Tag::latest()),
            Deletion::Manifest(digest),
        ];
        for result in client.delete_all(&repository, items).await.unwrap() {
            result.result.unwrap();
        }
        texts.push_str(&format!("{client:?} {:?}\n", entra.requests().len()));
    }
    for variables in bad {
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let vendor = Acr::start();
        let client = vendor.client_as(identity(&variables));
        let error = client.ping(&vendor.host()).await.unwrap_err();
        texts.push_str(&format!("{error} {error:?} {error:#?}\n"));
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            texts.push_str(&format!("{error} {error:?}\n"));
            source = error.source();
        }
    }
    let traced = traced::text();
    for expected in
        ["transport::api", "token server", "azure_identity", "typespec_client_core", "reqwest"]
    {
        assert!(traced.contains(expected), "nothing of {expected} was traced: {traced}");
    }
    let job = EntraServer::JOB;
    let secrets =
        ["hunter2", EntraServer::SECRET, EntraServer::ASSERTION, job, EntraServer::HEADER, "eyJ"];
    for secret in secrets {
        assert!(!texts.contains(secret), "{secret}: {texts}");
        let line = traced.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}
