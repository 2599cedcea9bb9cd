//! A layout that a client uses as a registry, and skopeo and podman beside it.

use std::path::Path;
use std::process::Command;

use dockit_registry::layout::Layout;
use dockit_registry::{Access, Client, Digest, Registry as _, RegistryHost, Repository, Tag};
use dockit_testkit::TestImage;
use futures_util::TryStreamExt as _;

use crate::contract::push;

fn client(root: &Path) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().layouts_relative_to(root).build().unwrap()
}

fn app() -> Repository {
    let host = RegistryHost::in_layout("images").unwrap();
    Repository::new(host, "team/app".parse().unwrap()).unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn run(program: &str, arguments: &[&str], directory: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn skopeo(arguments: &[&str], directory: &Path) -> String {
    run("skopeo", &[&["--insecure-policy"], arguments].concat(), directory)
}

#[tokio::test]
async fn skopeo_reads_it_by_its_own_name_of_a_tag() {
    let root = tempfile::tempdir().unwrap();
    let image = TestImage::new("read");
    push(&client(root.path()), &app().with_tag(tag("1.0")), &image).await;
    let format = ["inspect", "--format", "{{.Digest}}", "oci:images:team/app:1.0"];
    assert_eq!(skopeo(&format, root.path()).trim(), image.digest());
    let copy = ["copy", "--preserve-digests", "oci:images:team/app:1.0", "oci:copy:x:1"];
    skopeo(&copy, root.path());
    let copied = Layout::open(&root.path().join("copy")).unwrap();
    assert_eq!(copied.names().unwrap()[0].1.digest.as_str(), image.digest());
}

#[tokio::test]
async fn skopeo_writes_beside_and_over_what_is_there() {
    let root = tempfile::tempdir().unwrap();
    let client = client(root.path());
    let (ours, theirs) = (TestImage::new("ours"), TestImage::new("theirs"));
    let first = push(&client, &app().with_tag(tag("1")), &ours).await;
    push(&client, &app().with_tag(tag("moved")), &ours).await;
    let elsewhere = RegistryHost::in_layout("elsewhere").unwrap();
    let elsewhere = Repository::new(elsewhere, "x".parse().unwrap()).unwrap();
    let second = push(&client, &elsewhere.with_tag(tag("1")), &theirs).await;
    for name in ["images:team/app:2", "images:team/app:moved", "images:other:1"] {
        let to = format!("oci:{name}");
        skopeo(&["copy", "--preserve-digests", "oci:elsewhere:x:1", &to], root.path());
    }
    let at = async |name: &str| {
        let head = client.head_manifest(&app().with_tag(tag(name)), Access::Pull).await;
        head.unwrap().map(|head| head.digest)
    };
    assert_eq!(at("1").await.as_ref(), Some(&first));
    assert_eq!(at("2").await.as_ref(), Some(&second));
    assert_eq!(at("moved").await.as_ref(), Some(&second));
    // What skopeo put has no time, which nobody invents.
    let entries: Vec<_> = client.entries(&app()).try_collect().await.unwrap();
    for entry in entries {
        let ours = entry.tag == Some(tag("1"));
        assert_eq!(entry.time.is_some(), ours, "{entry:?}");
    }
    // And it is written to and cleaned up as before.
    push(&client, &app().with_tag(tag("3")), &TestImage::new("third")).await;
    client.delete_manifest(&app(), &second).await.unwrap();
    assert_eq!(at("2").await, None);
    let layout = Layout::open(&root.path().join("images")).unwrap();
    assert_eq!(layout.sweep(std::time::Duration::ZERO).unwrap().held_by, [""; 0]);
    let format = ["inspect", "--format", "{{.Digest}}", "oci:images:other:1"];
    assert_eq!(skopeo(&format, root.path()).trim(), second.as_str());
}

#[tokio::test]
async fn podman_pulls_from_it() {
    let root = tempfile::tempdir().unwrap();
    let image = TestImage::new("podman");
    push(&client(root.path()), &app().with_tag(tag("1.0")), &image).await;
    // A store of its own, which goes with the directory.
    let store = ["--root", "store", "--runroot", "run", "--storage-driver", "vfs"];
    let pull = [&store[..], &["pull", "-q", "oci:images:team/app:1.0"]].concat();
    let id = run("podman", &pull, root.path());
    let config = Digest::of(&image.config);
    assert_eq!(id.trim(), config.hex());
}
