//! The same bytes as an independent client puts and reads.

use std::path::Path;
use std::process::Command;

use dockit_registry::{Reference, Registry as _};
use dockit_testkit::TestImage;

use crate::contract::{Vendor, push, push_index};

/// Runs skopeo as whoever may do everything; returns what it prints.
fn skopeo(arguments: &[&str], logins: &[(&str, Option<(String, String)>)]) -> Vec<u8> {
    let mut command = Command::new("skopeo");
    command.arg("--insecure-policy").args(arguments);
    for (option, login) in logins {
        if let Some((user, password)) = login {
            command.arg(format!("{option}={user}:{password}"));
        }
    }
    let output = command.output().expect("skopeo is installed, as scripts/setup does");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo {}: {problem}", arguments.join(" "));
    output.stdout
}

/// Between a registry and a directory that holds an OCI layout.
fn copy(from: &str, to: &str, vendor: &impl Vendor) {
    let mut arguments = vec!["copy", "--all", "--preserve-digests"];
    let mut logins = Vec::new();
    if from.starts_with("docker:") {
        arguments.push("--src-tls-verify=false");
        logins.push(("--src-creds", vendor.login()));
    }
    if to.starts_with("docker:") {
        arguments.push("--dest-tls-verify=false");
        logins.push(("--dest-creds", vendor.login()));
    }
    arguments.extend([from, to]);
    skopeo(&arguments, &logins);
}

fn docker(reference: &Reference) -> String {
    format!("docker://{reference}")
}

fn layout(directory: &Path, name: &str) -> String {
    format!("oci:{}:{name}", directory.display())
}

pub(crate) async fn skopeo_reads_what_we_put(vendor: &impl Vendor) {
    let client = vendor.client();
    let repository = vendor.repository("app");
    let at = repository.with_tag("1".parse().unwrap());
    let both = repository.with_tag("both".parse().unwrap());
    let image = TestImage::new("ours");
    push(&client, &at, &image).await;
    let (index, _) = push_index(&client, &both).await;
    let directory = tempfile::tempdir().unwrap();
    for (reference, bytes) in [(&at, &*image.manifest), (&both, index.bytes())] {
        let address = docker(reference);
        let arguments = ["inspect", "--raw", "--tls-verify=false", &address];
        let raw = skopeo(&arguments, &[("--creds", vendor.login())]);
        assert_eq!(String::from_utf8_lossy(&raw), String::from_utf8_lossy(bytes));
        // Reads the blobs as well.
        copy(&address, &layout(directory.path(), &reference.tag_or_latest().to_string()), vendor);
    }
}

pub(crate) async fn we_read_what_skopeo_put(vendor: &impl Vendor) {
    let client = vendor.client();
    let from = vendor.repository("app").with_tag("both".parse().unwrap());
    let (index, images) = push_index(&client, &from).await;
    let directory = tempfile::tempdir().unwrap();
    let between = layout(directory.path(), "both");
    copy(&docker(&from), &between, vendor);
    let to = vendor.repository("copied").with_tag("2".parse().unwrap());
    copy(&between, &docker(&to), vendor);

    let client = vendor.client();
    assert_eq!(client.manifest(&to).await.unwrap(), index);
    for image in images {
        let by_digest = to.repository().with_digest(image.digest().parse().unwrap());
        let read = client.manifest(&by_digest).await.unwrap();
        assert_eq!(read.bytes(), image.manifest);
        let config = image.config_digest().parse().unwrap();
        let blob = client.blob(to.repository(), &config, 10_000).await.unwrap();
        assert_eq!(blob, image.config);
    }
}
