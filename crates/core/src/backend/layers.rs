//! Builds that take layers over from earlier images, and what to do where these may have broken them.

use super::{BackendError, BuildEvent, BuildObserver};

/// Why there is no image.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: BackendError,
    /// Whether it may be due to what layers were taken over from: a layer that fits, and cannot be
    /// fetched when it is wanted, ends the build. A command that ran and failed is not.
    pub(super) may_be_the_sources: bool,
}

impl From<BackendError> for Failed {
    fn from(error: BackendError) -> Self {
        Self { error, may_be_the_sources: false }
    }
}

/// Has `solve` build with these sources of layers, and once more with none where they may be why it failed.
pub(super) async fn with_or_without<T, S>(
    sources: Vec<String>,
    observer: &dyn BuildObserver,
    mut solve: impl FnMut(Vec<String>) -> S,
) -> Result<T, BackendError>
where
    S: Future<Output = Result<T, Failed>>,
{
    let source = sources.join(", ");
    let solved = match solve(sources).await {
        Err(failed) if failed.may_be_the_sources && !source.is_empty() => {
            let reason = format!("{}; it is built again without", failed.error.message);
            observer.event(BuildEvent::CacheNotUsed { source, reason });
            solve(Vec::new()).await
        }
        solved => solved,
    };
    solved.map_err(|failed| failed.error)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::backend::BackendErrorKind;

    #[derive(Default)]
    struct Told(Mutex<Vec<BuildEvent>>);

    impl BuildObserver for Told {
        fn event(&self, event: BuildEvent) {
            self.0.lock().unwrap().push(event);
        }
    }

    #[tokio::test]
    async fn a_build_that_its_sources_may_have_broken_is_tried_without() {
        for (sources, may_be_the_sources, tries) in
            [(&["r/a@b"][..], true, &[1, 0][..]), (&["r/a@b"], false, &[1]), (&[], true, &[0])]
        {
            let sources: Vec<String> = sources.iter().map(ToString::to_string).collect();
            let (told, mut tried) = (Told::default(), Vec::new());
            let ended: Result<(), _> = with_or_without(sources, &told, |sources| {
                tried.push(sources.len());
                let message = format!("no layer, with {}", sources.len());
                let error = BackendError::new(BackendErrorKind::Build, message);
                std::future::ready(Err(Failed { error, may_be_the_sources }))
            })
            .await;
            assert_eq!(tried, tries);
            let last = ended.unwrap_err().message;
            assert_eq!(last, format!("no layer, with {}", tries.last().unwrap()));
            let told = told.0.into_inner().unwrap();
            if let [_, _] = tries {
                let reason = "no layer, with 1; it is built again without".to_owned();
                assert_eq!(told, [BuildEvent::CacheNotUsed { source: "r/a@b".to_owned(), reason }]);
            } else {
                assert!(told.is_empty(), "{told:?}");
            }
        }
    }
}
