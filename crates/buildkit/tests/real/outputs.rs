//! What becomes of the image, and what is said of the daemon.

use std::process::Command;

use dockit_buildkit::{Client, ErrorKind, NoFiles, Output, UnixDial};

use crate::run::{build, client, nonce, run};

pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[tokio::test]
async fn an_image_is_in_the_engines_store_under_its_names() {
    let name = format!("dockit-buildkit-test:{}", nonce());
    let mut build = build("LABEL from=dockerfile", NoFiles);
    build.labels.insert("given".to_owned(), "a, \"b\"".to_owned());
    build.output = Output::EngineStore { names: vec![name.clone()] };
    let (built, _) = run(&build).await;
    let built = built.unwrap();
    let id = built.digest().unwrap();
    assert_eq!(docker(&["image", "inspect", "--format", "{{.Id}}", &name]), id);
    let labels = docker(&["image", "inspect", "--format", "{{json .Config.Labels}}", id]);
    assert_eq!(labels, r#"{"from":"dockerfile","given":"a, \"b\""}"#);
    docker(&["image", "rm", &name]);
}

#[tokio::test]
async fn the_engines_worker_says_its_platforms_and_an_old_one_no_version() {
    let workers = client().workers().await.unwrap();
    assert!(workers[0].platforms.contains(&"linux/amd64".to_owned()), "{workers:?}");
    let api = docker(&["version", "--format", "{{.Server.Version}}"]);
    if api.starts_with("20.") {
        assert_eq!(client().version().await.unwrap(), None);
    }
    let without_version = Client::docker_engine(UnixDial::new("/var/run/docker.sock"), None);
    assert_eq!(without_version.workers().await.unwrap(), workers);
}

#[tokio::test]
async fn what_buildkit_cuts_off_an_output_it_says() {
    let step = "RUN head -c 3000000 /dev/zero | tr '\\0' x | fold -w 99";
    let (built, seen) = run(&build(step, NoFiles)).await;
    built.unwrap();
    assert!(seen.text().contains("[output clipped, log limit"), "{} bytes", seen.output.len());
    assert!(seen.output.len() < 3_000_000);
}

#[tokio::test]
async fn a_failure_is_in_the_daemons_words() {
    // The daemon sends the whole Dockerfile along with the error.
    let comments = "# nothing\n".repeat(20_000);
    let (failed, seen) = run(&build(&format!("{comments}RUN echo why >&2; exit 7"), NoFiles)).await;
    let error = failed.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Build);
    assert!(error.message().contains("exit code: 7"), "{error}");
    assert_eq!(seen.text(), "why\n");
    assert!(seen.errors.iter().any(|(step, _)| step.contains("RUN echo why")), "{seen:?}");

    let (failed, _) = run(&build("RUN echo 'not ended", NoFiles)).await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Build);
    let (failed, _) = run(&build("NOSUCH instruction", NoFiles)).await;
    let error = failed.unwrap_err();
    assert!(error.message().contains("unknown instruction: NOSUCH"), "{error}");
}
