//! Assembled images for the store of an engine.

use async_trait::async_trait;

use super::{Assembler, Made, takes_none};
use crate::backend::archive::load_from_layout;
use crate::backend::{BackendError, BuildBackend, BuildObserver, BuildRequest, Built, Engine};

/// An assembler whose images are kept by an engine, where they are found as if it had built them, and where
/// base images without a digest are.
#[derive(Clone, Copy)]
pub struct AssembleInto<'a> {
    assembler: &'a Assembler,
    engine: &'a dyn Engine,
}

impl<'a> AssembleInto<'a> {
    /// What `assembler` makes is loaded into `engine`.
    pub fn new(assembler: &'a Assembler, engine: &'a dyn Engine) -> Self {
        Self { assembler, engine }
    }
}

#[async_trait]
impl BuildBackend for AssembleInto<'_> {
    async fn build(
        &self,
        request: BuildRequest,
        observer: &dyn BuildObserver,
    ) -> Result<Built, BackendError> {
        let archives = self.engine.archives().ok_or_else(takes_none)?;
        let Made { layout, manifest } =
            self.assembler.make(&request, Some(self.engine), observer).await?;
        let local = load_from_layout(&layout, &manifest, archives).await?;
        if request.named {
            self.engine.tag(&local, &request.name).await?;
        }
        Ok(Built::InStore(local))
    }

    fn runs_commands(&self) -> bool {
        false
    }

    fn engine(&self) -> Option<&dyn Engine> {
        Some(self.engine)
    }
}
