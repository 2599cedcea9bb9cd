//! The steps of builds, as they end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::document::StepEntry;
use crate::backend::BuildEvent;
use crate::events::{Event, Observer};
use crate::image_name::ImageName;

/// Hands events on, and remembers the steps of builds.
pub struct StepRecorder<'a> {
    inner: &'a dyn Observer,
    steps: Mutex<BTreeMap<ImageName, Vec<StepEntry>>>,
}

impl<'a> StepRecorder<'a> {
    /// An observer in front of another one.
    pub fn new(inner: &'a dyn Observer) -> Self {
        Self { inner, steps: Mutex::default() }
    }

    /// The steps of an image's build, in the order in which they ended.
    pub fn steps(&self, image: &ImageName) -> Vec<StepEntry> {
        self.lock().get(image).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ImageName, Vec<StepEntry>>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for StepRecorder<'_> {
    fn event(&self, event: Event) {
        if let Event::Build {
            image,
            event: BuildEvent::StepFinished { name, cached, seconds, .. },
        } = &event
        {
            let step = StepEntry { name: name.clone(), seconds: *seconds, cached: *cached };
            self.lock().entry(image.clone()).or_default().push(step);
        }
        self.inner.event(event);
    }
}
