//! A buildkitd without an engine: what it builds it pushes by digest.

use std::ffi::OsString;
use std::sync::Arc;

use dockit_core::backend::endpoint::TlsFiles;
use dockit_core::backend::{BuildKitEndpoint, KEY_LABEL, RemoteBuildKit};
use dockit_core::execute::{ImageErrorKind, Status};
use dockit_core::secrets::SecretOptions;
use dockit_core::{Error, PushPolicy};
use dockit_registry::{
    Access, Client, ImageChoice, Platform, Reference, Registry as _, choose_image,
};
use dockit_testkit::{Auth, PASSWORD, RegistryProcess, TlsFront, TokenIssuer, exchange};

use crate::daemon::Daemon;
use crate::place::{Place, Ran, anonymous, at, base_image, buildkitd, known_at, nonce, remote};

/// `base` runs a command, `child` is made from it and copies from `tool`.
fn chain(host: &str, more: &str) -> Place {
    let nonce = nonce();
    Place::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\nregistry = \"{host}/ci\"\n{more}\n[images.base]\n\
                 args = {{ BASE = \"{}\" }}\n[images.tool]\n[images.child]\n",
                base_image()
            ),
        ),
        (
            "base/Dockerfile",
            "ARG BASE\nFROM $BASE\nCOPY nonce /nonce\nRUN cat /nonce > /from-base\n",
        ),
        ("base/nonce", &nonce),
        ("tool/Dockerfile", "FROM scratch\nCOPY tool /tool\n"),
        ("tool/tool", &nonce),
        (
            "child/Dockerfile",
            "FROM base\nCOPY --from=tool /tool /tool\nRUN cmp /from-base /tool && touch /ok\n",
        ),
    ])
}

/// What the registry has under an image's content tag, and whether it says the image's key.
async fn tagged(client: &Client, ran: &Ran, name: &str) -> Option<String> {
    let image = ran.image(name);
    let head = client.head_manifest(&image.reference, Access::Pull).await.unwrap()?;
    let repository = image.reference.repository();
    let manifest = client.manifest(&repository.with_digest(head.digest.clone())).await.unwrap();
    let platform = Platform::linux_amd64();
    let choice = choose_image(client, repository, &manifest, &platform).await.unwrap();
    let ImageChoice::Image(chosen) = choice else {
        panic!("{name} is no image");
    };
    let config = chosen.config(client, repository).await.unwrap();
    assert_eq!(config.labels.get(KEY_LABEL), Some(&image.key.to_string()), "{name}");
    Some(head.digest.to_string())
}

async fn a_chain_is_built_and_reused(client: &Client, host: &str) {
    let place = chain(host, "");
    let backend = remote(client);
    let first = place.build(client, &backend, |_| {}).await.unwrap();
    assert_eq!(first.statuses(), [Status::Built; 3], "{:?}", first.report);
    for name in ["base", "tool", "child"] {
        let digest = first.image(name).digest.as_ref().map(ToString::to_string);
        assert_eq!(tagged(client, &first, name).await, digest, "{name}");
        assert!(first.image(name).pushed);
    }
    assert!(!first.told().contains(PASSWORD));
    // The child's FROM was the digest that was just pushed.
    let base = first.reference("base");
    assert!(!first.steps(&format!("FROM {base}")).is_empty(), "{}", first.told());

    let second = place.build(client, &backend, |_| {}).await.unwrap();
    assert_eq!(second.statuses(), [Status::Reused; 3]);
    assert_eq!(second.reference("child"), first.reference("child"));

    place.write("tool/tool", "another");
    let third = place.build(client, &backend, |_| {}).await.unwrap();
    let statuses = [Status::Reused, Status::Built, Status::Failed];
    assert_eq!(third.statuses(), statuses, "the child compares the two");
    let error = third.image("child").error.as_ref().unwrap();
    assert_eq!(error.kind, ImageErrorKind::Build);
    assert!(error.message.contains("RUN cmp") && error.message.contains("exit code: 1"), "{error}");
    assert_eq!(tagged(client, &third, "child").await, None);
}

#[tokio::test]
#[ignore = "needs DOCKIT_BUILDKIT"]
async fn what_is_built_and_pushed_from_there_is_reused() {
    let registry = RegistryProcess::start(Auth::None);
    a_chain_is_built_and_reused(&anonymous(), registry.host()).await;
}

#[tokio::test]
#[ignore = "needs DOCKIT_BUILDKIT"]
async fn a_registry_with_a_password_gets_ours() {
    let registry = RegistryProcess::start(Auth::Htpasswd);
    a_chain_is_built_and_reused(&known_at(registry.host()), registry.host()).await;
}

#[tokio::test]
#[ignore = "needs DOCKIT_BUILDKIT"]
async fn so_does_a_registry_with_tokens() {
    let issuer = TokenIssuer::start();
    let registry = RegistryProcess::start(Auth::Token(&issuer));
    a_chain_is_built_and_reused(&known_at(registry.host()), registry.host()).await;
}

#[tokio::test]
#[ignore = "needs DOCKIT_BUILDKIT"]
async fn a_file_that_changes_without_another_size_is_sent() {
    let registry = RegistryProcess::start(Auth::None);
    let client = anonymous();
    let place = Place::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\nregistry = \"{}/ci\"\n[images.a]\nargs = {{ BASE = \"{}\" }}\n",
                registry.host(),
                base_image()
            ),
        ),
        ("a/.dockerignore", "Dockerfile\nignored\n"),
        ("a/ignored", "x"),
    ]);
    place.write("a/nonce", &nonce());
    for content in ["one", "two", "one"] {
        place.write("a/file", content);
        let command = format!(
            "ARG BASE\nFROM $BASE\nCOPY . /d\nRUN grep -qx {content} /d/file && \
             test \"$(ls -A /d | tr '\\n' ' ')\" = '.dockerignore file nonce '\n"
        );
        place.write("a/Dockerfile", &command);
        let ran = place.build(&client, &remote(&client), |_| {}).await.unwrap();
        assert!(ran.report.succeeded(), "{content}: {:?}", ran.report);
    }
}

#[tokio::test]
#[ignore = "needs DOCKIT_BUILDKIT"]
async fn heredocs_are_read_as_they_are_keyed() {
    let registry = RegistryProcess::start(Auth::None);
    let client = anonymous();
    let place = Place::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\nregistry = \"{}/ci\"\n[images.a]\nargs = {{ BASE = \"{}\" }}\n",
                registry.host(),
                base_image()
            ),
        ),
        (
            "a/Dockerfile",
            &format!(
                "ARG BASE\nFROM $BASE\nCOPY <<one.txt /one.txt\n{}\none.txt\nRUN <<EOF\nset -e\n\
                 test -s /one.txt\necho two > /two\nEOF\nCOPY --chmod=u=rwx,go= --link f /f\n\
                 RUN test \"$(stat -c %a /f)\" = 700\n",
                nonce()
            ),
        ),
        ("a/f", "f"),
    ]);
    let ran = place.build(&client, &remote(&client), |_| {}).await.unwrap();
    assert!(ran.report.succeeded(), "{:?}", ran.report);
}

const TOKEN: &str = "t0ken-that-nobody-else-may-read";

fn token(name: &str) -> Option<OsString> {
    (name == "TOKEN").then(|| TOKEN.into())
}

#[tokio::test]
#[ignore = "needs DOCKIT_BUILDKIT"]
async fn secrets_and_options_reach_a_run() {
    let registry = RegistryProcess::start(Auth::None);
    let client = anonymous();
    let place = Place::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\nregistry = \"{}/ci\"\n[images.a]\nargs = {{ BASE = \"{}\" }}\n\
                 network = \"none\"\nhosts = {{ \"db.example\" = \"10.9.8.7\" }}\n\
                 shm-size = \"32m\"\nulimits = {{ nofile = \"77:88\" }}\n\
                 [images.a.secrets]\ntoken = {{ env = \"TOKEN\" }}\n",
                registry.host(),
                base_image()
            ),
        ),
        (
            "a/Dockerfile",
            "ARG BASE\nFROM $BASE\nCOPY n /\n\
             RUN --mount=type=secret,id=token,required=true \\\n\
             cat /run/secrets/token | tee /dev/stderr | wc -c > /length\n\
             RUN test \"$(cat /length)\" = 31\n\
             RUN grep -q '^10.9.8.7.*db.example' /etc/hosts\n\
             RUN grep '/dev/shm' /proc/mounts | grep -q 'size=32768k'\n\
             RUN test \"$(ulimit -Sn):$(ulimit -Hn)\" = 77:88\n\
             RUN test \"$(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ')\" = lo\n",
        ),
        ("a/n", &nonce()),
    ]);
    let ran = place
        .build(&client, &remote(&client), |request| {
            request.secrets = SecretOptions {
                environment: Some(token),
                temporary: std::env::temp_dir(),
                ..SecretOptions::default()
            };
        })
        .await
        .unwrap();
    assert!(ran.report.succeeded(), "{}", ran.told());
    assert!(ran.told().contains("***") && !ran.told().contains(TOKEN), "{}", ran.told());
}

#[tokio::test]
#[ignore = "needs DOCKIT_BUILDKIT"]
async fn an_image_gets_its_content_tag_after_its_tests() {
    let registry = RegistryProcess::start(Auth::None);
    let client = anonymous();
    let place = Place::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\nregistry = \"{}/ci\"\n[images.a]\nargs = {{ BASE = \"{}\" }}\n\
                 test = [\"grep -q right /f\"]\n",
                registry.host(),
                base_image()
            ),
        ),
        ("a/Dockerfile", "ARG BASE\nFROM $BASE\nCOPY f n /\n"),
        ("a/f", "wrong"),
        ("a/n", &nonce()),
    ]);
    let failed = place.build(&client, &remote(&client), |_| {}).await.unwrap();
    assert_eq!(failed.statuses(), [Status::Failed]);
    assert_eq!(failed.image("a").error.as_ref().unwrap().kind, ImageErrorKind::Test);
    assert_eq!(tagged(&client, &failed, "a").await, None);
    let tags = exchange(registry.host(), "GET", "/v2/ci/a/tags/list", &[], b"").unwrap();
    let tags: serde_json::Value = serde_json::from_slice(&tags.body).unwrap();
    assert!(tags["tags"].as_array().is_none_or(Vec::is_empty), "nothing has a name: {tags}");

    place.write("a/f", "right");
    let passed = place.build(&client, &remote(&client), |_| {}).await.unwrap();
    assert_eq!(passed.statuses(), [Status::Built], "{:?}", passed.report);
    assert!(tagged(&client, &passed, "a").await.is_some());
}

#[tokio::test]
#[ignore = "needs DOCKIT_BUILDKIT"]
async fn two_runs_at_once_end_on_one_digest() {
    let registry = RegistryProcess::start(Auth::None);
    let client = anonymous();
    let place = Place::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\nregistry = \"{}/ci\"\nlayer-cache = false\n[images.a]\n\
                 args = {{ BASE = \"{}\" }}\n",
                registry.host(),
                base_image()
            ),
        ),
        // Without layer cache each run gets an image of its own from the same inputs.
        ("a/Dockerfile", "ARG BASE\nFROM $BASE\nCOPY n /\nRUN date +%N > /moment\n"),
        ("a/n", &nonce()),
    ]);
    let (one, other) = (remote(&client), remote(&client));
    let runs =
        tokio::join!(place.build(&client, &one, |_| {}), place.build(&client, &other, |_| {}));
    let (one, other) = (runs.0.unwrap(), runs.1.unwrap());
    assert!(one.report.succeeded() && other.report.succeeded(), "{:?}", (one.report, other.report));
    let digest = tagged(&client, &one, "a").await;
    for ran in [&one, &other] {
        assert_eq!(ran.image("a").digest.as_ref().map(ToString::to_string), digest);
        assert!(matches!(ran.image("a").status, Status::Built | Status::Reused));
    }
}

#[tokio::test]
#[ignore = "needs DOCKIT_BUILDKIT"]
async fn nothing_is_built_that_would_be_nowhere() {
    let registry = RegistryProcess::start(Auth::None);
    let client = anonymous();
    let place = chain(registry.host(), "");
    let backend = remote(&client);
    let refused =
        place.build(&client, &backend, |request| request.push = Some(PushPolicy::Never)).await;
    let Err(Error::Usage(message)) = refused else {
        panic!("it was built");
    };
    assert!(message.contains("base, tool, child would be built and not pushed"), "{message}");
}

#[tokio::test]
#[ignore = "needs DOCKIT_BUILDKIT"]
async fn a_build_goes_through_tls() {
    let registry = RegistryProcess::start(Auth::None);
    let client = anonymous();
    let front = TlsFront::start(&buildkitd());
    let address = format!("tcp://127.0.0.1:{}", front.port());
    let pem = |name: &str| front.certificates().join(name);
    let place = chain(registry.host(), "");
    let with = |files: TlsFiles| {
        let endpoint = BuildKitEndpoint::new(&address, Some(files)).unwrap();
        RemoteBuildKit::at(endpoint, Arc::new(client.clone()))
    };
    let ca = Some(pem("ca.pem"));
    let nobody = with(TlsFiles { ca: ca.clone(), client: None, verify: true });
    let refused = place.build(&client, &nobody, |_| {}).await.unwrap();
    assert_eq!(refused.image("base").error.as_ref().unwrap().kind, ImageErrorKind::Engine);
    let known = Some((pem("cert.pem"), pem("key.pem")));
    let ran =
        place.build(&client, &with(TlsFiles { ca, client: known, verify: true }), |_| {}).await;
    assert_eq!(ran.unwrap().statuses(), [Status::Built; 3]);
}

#[tokio::test]
async fn a_buildkitd_that_is_not_there_is_named() {
    let registry = RegistryProcess::start(Auth::None);
    let client = anonymous();
    let place = chain(registry.host(), "");
    let nowhere = format!("unix://{}/none.sock", place.root().display());
    let ran = place.build(&client, &at(&nowhere, &client), |_| {}).await.unwrap();
    let error = ran.image("base").error.as_ref().unwrap();
    assert_eq!(error.kind, ImageErrorKind::Engine);
    assert!(error.message.contains(&nowhere), "{error}");
}

/// The second buildkitd has nothing in a layer cache of its own.
#[tokio::test]
#[ignore = "needs DOCKIT_BUILDKIT"]
async fn layers_are_kept_by_branch_and_taken_from_there() {
    let registry = RegistryProcess::start(Auth::Htpasswd);
    let client = known_at(registry.host());
    let cache = format!("cache-registry = \"{}/layers\"", registry.host());
    let place = chain(registry.host(), &cache);
    let first = place.build(&client, &remote(&client), |_| {}).await.unwrap();
    assert!(first.report.succeeded(), "{:?}", first.report);
    let kept: Reference = format!("{}/layers/base:main", registry.host()).parse().unwrap();
    let head = client.head_manifest(&kept, Access::Pull).await.unwrap();
    assert!(head.is_some(), "{}", first.told());

    let other = Daemon::start();
    let again = |name: &str, extra: &str| {
        let dockerfile = std::fs::read_to_string(place.root().join(name).join("Dockerfile"));
        place.write(&format!("{name}/Dockerfile"), &format!("{}{extra}", dockerfile.unwrap()));
    };
    again("base", "RUN touch /more\n");
    let second = place
        .build(&client, &at(other.address(), &client), |request| {
            request.ci.branch = Some("feature".to_owned());
        })
        .await
        .unwrap();
    assert!(second.report.succeeded(), "{:?}", second.report);
    assert_eq!(second.steps("RUN cat /nonce"), [true], "{}", second.told());
    assert_eq!(second.steps("RUN touch /more"), [false]);
    let branch: Reference = format!("{}/layers/base:feature", registry.host()).parse().unwrap();
    assert!(client.head_manifest(&branch, Access::Pull).await.unwrap().is_some());

    // Without a place for them nothing is taken over.
    let text = std::fs::read_to_string(place.root().join("dockit.toml")).unwrap();
    place.write("dockit.toml", &text.replace(&cache, "layer-cache = false"));
    again("base", "RUN touch /most\n");
    let third = place.build(&client, &at(other.address(), &client), |_| {}).await.unwrap();
    assert!(third.report.succeeded(), "{:?}", third.report);
    assert_eq!(third.steps("RUN cat /nonce"), [false], "{}", third.told());
}
