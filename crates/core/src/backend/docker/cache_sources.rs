//! What layers may be taken over from, as the engine can use it.

use std::time::Duration;

use dockit_registry::Platform;

use super::DockerEngine;
use super::session_auth::can_tell;
use crate::backend::{BuildEvent, BuildObserver, CacheSource, Engine as _};

/// Longest that a build waits for an earlier image that has to be pulled as a whole. What it saves is
/// seldom more.
const PULL_LIMIT: Duration = Duration::from_secs(180);

impl DockerEngine {
    /// The names of cache sources that the engine can use. One whose credential BuildKit cannot be told is
    /// pulled as a whole, and then the engine finds in its own store what it needs; so of those only the
    /// first counts.
    pub(super) async fn cache_sources(
        &self,
        sources: Vec<CacheSource>,
        platform: &Platform,
        observer: &dyn BuildObserver,
    ) -> Vec<String> {
        let mut names = Vec::new();
        let mut is_one_pulled = false;
        for source in sources {
            let name = source.image.to_string();
            if source.is_private() && !can_tell(&source.credential) {
                if std::mem::replace(&mut is_one_pulled, true) {
                    continue;
                }
                if let Err(reason) = self.pull_source(&source, platform).await {
                    observer.event(BuildEvent::CacheNotUsed { source: name, reason });
                    continue;
                }
            }
            names.push(name);
        }
        names
    }

    async fn pull_source(&self, source: &CacheSource, platform: &Platform) -> Result<(), String> {
        // Giving it up closes the connection, which ends the engine's pull.
        let pull = self.pull(&source.image, platform, &source.credential);
        match tokio::time::timeout(PULL_LIMIT, pull).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("not pulled within {} seconds", PULL_LIMIT.as_secs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use dockit_registry::{Credential, Secret};
    use dockit_testkit::{Reply, ScriptedServer};

    use super::*;

    #[derive(Default)]
    struct Events(Mutex<Vec<BuildEvent>>);

    impl BuildObserver for Events {
        fn event(&self, event: BuildEvent) {
            self.0.lock().unwrap().push(event);
        }
    }

    #[tokio::test]
    async fn a_source_that_is_not_pulled_in_time_is_left_out() {
        let server = ScriptedServer::start(|request| match request.path() {
            path if path.ends_with("/version") => Reply::new(200)
                .header("Content-Type", "application/json")
                .body(r#"{"ApiVersion":"1.41"}"#),
            _ => Reply::new(200).delay(Duration::from_secs(2)),
        });
        let engine = DockerEngine::new(&format!("tcp://{}", server.host()));
        engine.facts().await.unwrap();
        let source = CacheSource {
            image: format!("r.example/a@sha256:{}", "a".repeat(64)).parse().unwrap(),
            credential: Credential::Bearer(Secret::new("t")),
        };
        // From here on time goes by as soon as there is only the engine to wait for.
        tokio::time::pause();
        let events = Events::default();
        let platform = Platform::linux_amd64();
        let names = engine.cache_sources(vec![source.clone()], &platform, &events).await;
        assert_eq!(names, Vec::<String>::new());
        let expected = BuildEvent::CacheNotUsed {
            source: source.image.to_string(),
            reason: "not pulled within 180 seconds".to_owned(),
        };
        assert_eq!(*events.0.lock().unwrap(), [expected]);
    }

    #[tokio::test]
    async fn only_of_those_that_are_pulled_one_has_to_do() {
        let server = ScriptedServer::start(|request| match request.path() {
            path if path.ends_with("/version") => Reply::new(200)
                .header("Content-Type", "application/json")
                .body(r#"{"ApiVersion":"1.41"}"#),
            _ => Reply::new(404),
        });
        let engine = DockerEngine::new(&format!("tcp://{}", server.host()));
        engine.facts().await.unwrap();
        let token = || Credential::Bearer(Secret::new("t"));
        let password =
            || Credential::Basic { username: "u".to_owned(), password: Secret::new("p") };
        let source = |digit: &str, credential| CacheSource {
            image: format!("r.example/a@sha256:{}", digit.repeat(64)).parse().unwrap(),
            credential,
        };
        let sources = [
            source("a", token()),
            source("b", password()),
            source("c", token()),
            source("d", password()),
            source("e", Credential::Anonymous),
        ];
        let expected = [1, 3, 4].map(|index: usize| sources[index].image.to_string());
        let events = Events::default();
        let platform = Platform::linux_amd64();
        let names = engine.cache_sources(sources.to_vec(), &platform, &events).await;
        assert_eq!(names, expected);
        assert_eq!(events.0.lock().unwrap().len(), 1, "the second was not pulled");
    }
}
