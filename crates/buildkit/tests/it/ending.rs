//! How builds end.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dockit_buildkit::{Client, Dial, ErrorKind, Io};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tonic::Status;

use crate::fake::{Fake, LastEvent, build, done, hang};

/// Says so when it is dropped.
struct Tell(Arc<Notify>);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// A BuildKit whose builds never end: when they begin, and when they are given up.
fn endless() -> (Fake, Arc<Notify>, Arc<Notify>) {
    let (begun, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begin, end) = (Arc::clone(&begun), Arc::clone(&ended));
    let fake = Fake::new(move |_, _| {
        begin.notify_one();
        let tell = Tell(Arc::clone(&end));
        async move {
            let _tell = tell;
            hang().await
        }
    });
    (fake, begun, ended)
}

#[tokio::test]
async fn a_build_that_is_dropped_ends_in_the_daemon() {
    let (fake, begun, ended) = endless();
    let building = tokio::spawn(async move {
        fake.client().build(&build(), &mut |_| ControlFlow::Continue(())).await
    });
    begun.notified().await;
    building.abort();
    ended.notified().await;
}

#[tokio::test]
async fn a_watcher_ends_a_build() {
    let (fake, begun, ended) = endless();
    let fake = fake.with_events_after(Arc::clone(&begun));
    let mut steps = Vec::new();
    let error = fake
        .client()
        .build(&build(), &mut |status| {
            steps.extend(status.vertexes.into_iter().map(|step| step.name));
            ControlFlow::Break(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped);
    assert_eq!(steps, ["a step"]);
    ended.notified().await;
}

#[tokio::test]
async fn a_daemon_that_goes_away_is_unavailable() {
    let (fake, begun, _) = endless();
    let client = fake.client();
    let building =
        tokio::spawn(
            async move { client.build(&build(), &mut |_| ControlFlow::Continue(())).await },
        );
    begun.notified().await;
    fake.cut();
    let error = building.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

/// Far more than anything may take here; time goes by at once where nothing else happens.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test(start_paused = true)]
async fn a_daemon_that_vanishes_without_a_word_is_unavailable() {
    let (fake, begun, _) = endless();
    let client = fake.client();
    let building =
        tokio::spawn(
            async move { client.build(&build(), &mut |_| ControlFlow::Continue(())).await },
        );
    begun.notified().await;
    fake.vanish();
    let built = tokio::time::timeout(FOR_EVER, building).await.expect("it ends");
    let error = built.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

/// Never connects, or takes what it is sent and says nothing.
enum Mute {
    Before,
    After,
}

#[async_trait]
impl Dial for Mute {
    async fn dial(&self) -> io::Result<Box<dyn Io>> {
        if let Self::Before = self {
            std::future::pending::<()>().await;
        }
        let (near, mut far) = tokio::io::duplex(1024);
        tokio::spawn(async move { tokio::io::copy(&mut far, &mut tokio::io::sink()).await });
        Ok(Box::new(near))
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_never_answers_is_unavailable() {
    for client in [
        Client::buildkitd(Mute::Before),
        Client::buildkitd(Mute::After),
        Client::docker_engine(Mute::Before, None),
        Client::docker_engine(Mute::After, None),
    ] {
        let build = build();
        let observer = &mut |_| ControlFlow::Continue(());
        let built = tokio::time::timeout(FOR_EVER, client.build(&build, observer)).await;
        let error = built.expect("it ends").unwrap_err();
        assert_eq!(error.to_string(), "BuildKit is unavailable: no answer within 40 seconds");
    }
}

#[tokio::test]
async fn a_failure_is_in_the_daemons_words_and_events_come_before_it() {
    for (status, kind) in [
        (Status::unknown("exit code: 7"), ErrorKind::Build),
        (Status::permission_denied("network.host is not allowed"), ErrorKind::Build),
        (Status::unauthenticated("pull access denied"), ErrorKind::Build),
        (Status::unimplemented("no such exporter"), ErrorKind::Unsupported),
        (Status::unavailable("shutting down"), ErrorKind::Unavailable),
    ] {
        let answer = status.clone();
        let fake = Fake::new(move |_, _| std::future::ready(Err(answer.clone())));
        let mut events = 0;
        let count = &mut |_| {
            events += 1;
            ControlFlow::Continue(())
        };
        let error = fake.client().build(&build(), count).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, status.message()));
        assert_eq!(events, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_built_where_the_daemon_does_not_say_everything_of_it() {
    for (last_event, reason) in [
        (LastEvent::Failure(Status::internal("broken")), "broken"),
        (LastEvent::Never, "its events do not end"),
    ] {
        let fake = Fake::new(|_, _| async { done() }).with_last_event(last_event);
        let observer = &mut |_| ControlFlow::Continue(());
        let error = fake.client().build(&build(), observer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert_eq!(error.message(), format!("what the build used is not known ({reason})"));
    }
}

#[tokio::test(start_paused = true)]
async fn why_a_build_failed_is_told_whatever_becomes_of_its_events() {
    for last_event in [LastEvent::Failure(Status::internal("broken")), LastEvent::Never] {
        let answer = || std::future::ready(Err(Status::unknown("exit code: 7")));
        let fake = Fake::new(move |_, _| answer()).with_last_event(last_event);
        let observer = &mut |_| ControlFlow::Continue(());
        let error = fake.client().build(&build(), observer).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Build, "exit code: 7"));
    }
}

#[tokio::test]
async fn a_daemon_says_what_it_is() {
    let client = Fake::new(|_, _| async { done() }).client();
    let workers = client.workers().await.unwrap();
    assert_eq!(workers[0].platforms, ["linux/amd64", "linux/arm/v7"]);
    assert_eq!(client.version().await.unwrap().as_deref(), Some("v0.25.0"));
}

/// Answers as it is told, whatever it is asked.
struct Answers(Result<&'static str, io::ErrorKind>);

#[async_trait]
impl Dial for Answers {
    async fn dial(&self) -> io::Result<Box<dyn Io>> {
        let answer = self.0.map_err(io::Error::from)?;
        let (near, mut far) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                if far.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            drop(far.write_all(answer.as_bytes()).await);
        });
        Ok(Box::new(near))
    }
}

#[tokio::test]
async fn what_is_no_docker_engine_with_buildkit_says_why() {
    let forbidden = "HTTP/1.1 403 Forbidden\r\ncontent-length: 32\r\n\r\n\
                     {\"message\": \"not for the likes\"}";
    let podman = "HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\nNot Found";
    let other = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    for (answer, kind, words) in [
        (Ok(forbidden), ErrorKind::Refused, "POST /v1.41/grpc: 403 Forbidden not for the likes"),
        (Ok(podman), ErrorKind::Unsupported, "POST /v1.41/grpc: 404 Not Found"),
        (Ok(other), ErrorKind::Protocol, "POST /v1.41/grpc: 200 OK"),
        (Ok(""), ErrorKind::Unavailable, "lost the connection"),
        (Err(io::ErrorKind::PermissionDenied), ErrorKind::Refused, "permission denied"),
        (Err(io::ErrorKind::ConnectionRefused), ErrorKind::Unavailable, "connection refused"),
    ] {
        let client = Client::docker_engine(Answers(answer), Some("1.41"));
        let error = client.build(&build(), &mut |_| ControlFlow::Continue(())).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().starts_with(words), "{error}");
    }
}
