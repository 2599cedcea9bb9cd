//! Builds that fail because another client of the engine removed something meanwhile.
//!
//! An engine takes layers that it has for a build, and puts the image together at its end. What was
//! removed in between it misses then, as Docker 20.10 does. There is no code for it, only these words. Built
//! again, the layer is made anew.

use crate::backend::layers::Failed;
use crate::backend::{BuildEvent, BuildObserver};

/// Words that follow each other in such a failure.
const DISTURBED: &[&[&str]] = &[
    &["failed to get layer"],
    &["layer does not exist"],
    &["snapshot ", "does not exist: not found"],
    &[" lease ", "not found"],
];

/// Has `solve` build, and once more where another client has disturbed it.
pub(super) async fn once_more<T, S>(
    observer: &dyn BuildObserver,
    mut solve: impl FnMut() -> S,
) -> Result<T, Failed>
where
    S: Future<Output = Result<T, Failed>>,
{
    match solve().await {
        // A command that failed can have said anything.
        Err(failed) if failed.may_be_the_sources && is_disturbed(&failed.error.message) => {
            observer.event(BuildEvent::BuiltAgain { reason: failed.error.message });
            solve().await
        }
        solved => solved,
    }
}

fn is_disturbed(message: &str) -> bool {
    let message = format!(" {}", message.to_ascii_lowercase());
    DISTURBED.iter().any(|words| {
        let mut rest = Some(message.as_str());
        for word in *words {
            rest = rest.and_then(|rest| rest.split_once(word)).map(|(_, after)| after);
        }
        rest.is_some()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::backend::{BackendError, BackendErrorKind};

    #[derive(Default)]
    struct Told(Mutex<Vec<BuildEvent>>);

    impl BuildObserver for Told {
        fn event(&self, event: BuildEvent) {
            self.0.lock().unwrap().push(event);
        }
    }

    #[test]
    fn what_another_client_removed_is_told_from_other_failures() {
        for (message, disturbed) in [
            (
                "exporting to image: failed to export image: failed to create image: failed to get \
                 layer sha256:1f: layer does not exist",
                true,
            ),
            ("failed to get layer sha256:1f: layer does not exist", true),
            ("failed to prepare 1f as 2e: snapshot 1f does not exist: not found", true),
            ("failed to export: lease \"7c\": not found", true),
            ("lease 7c not found", true),
            ("failed to compute cache key: \"/release notes\" not found: not found", false),
            ("failed to compute cache key: \"/snapshot\" not found: not found", false),
            ("r.example/p/base:1: not found", false),
            ("failed to export image: no space left on device", false),
            ("something that nobody knows", false),
        ] {
            assert_eq!(is_disturbed(message), disturbed, "{message}");
        }
    }

    #[tokio::test]
    async fn a_disturbed_build_is_tried_once_more_unless_a_command_failed() {
        let words = "failed to get layer 1f: layer does not exist";
        for (message, may_be_the_sources, tries) in
            [(words, true, 2), (words, false, 1), ("no space left on device", true, 1)]
        {
            let (told, mut tried) = (Told::default(), 0);
            let ended: Result<(), _> = once_more(&told, || {
                tried += 1;
                let error = BackendError::new(BackendErrorKind::Build, message);
                std::future::ready(Err(Failed { error, may_be_the_sources }))
            })
            .await;
            assert_eq!(ended.unwrap_err().error.message, message);
            assert_eq!(tried, tries, "{message}");
            let expected = BuildEvent::BuiltAgain { reason: message.to_owned() };
            assert_eq!(told.0.into_inner().unwrap(), vec![expected; tries - 1]);
        }
    }
}
