//! A build.

use std::collections::{BTreeMap, HashMap};

use bollard::query_parameters::{BuildImageOptions, BuilderVersion};
use dockit_hashing::context::Archive;
use futures_util::StreamExt as _;

use super::failure::{describe, is_connection_error};
use super::following::Following;
use super::{
    DockerEngine, EngineFacts, EngineKind, archive_body, heredoc, options, podman, session_id,
};
use crate::backend::{
    BackendError, BackendErrorKind, BuildEvent, BuildObserver, BuildRequest, Engine as _,
    LocalImage,
};

/// Why the engine made no image.
struct Failed {
    error: BackendError,
    /// Whether it may be due to what layers were taken over from: a layer that fits, and cannot be
    /// fetched when it is wanted, ends the build. A command that ran and failed is not.
    may_be_the_sources: bool,
}

impl From<BackendError> for Failed {
    fn from(error: BackendError) -> Self {
        Self { error, may_be_the_sources: false }
    }
}

impl From<Failed> for BackendError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

impl DockerEngine {
    /// Builds, as [`BuildBackend::build`](crate::backend::BuildBackend::build) says.
    pub(super) async fn build_image(
        &self,
        request: BuildRequest,
        observer: &dyn BuildObserver,
    ) -> Result<LocalImage, BackendError> {
        for (image, credential) in &request.private_images {
            self.pull(image, &request.platform, credential).await?;
        }
        let facts = self.facts().await?;
        let EngineFacts { kind, version, .. } = &facts;
        let kind = *kind;
        let refusal = heredoc::refusal(kind, version, &request.dockerfile);
        if let Some(reason) = refusal
            .or_else(|| options::refusal(&facts, &request.options))
            .or_else(|| options::refused_secrets(&facts, &request.secrets))
        {
            return Err(BackendError::new(BackendErrorKind::Unsupported, reason));
        }
        let layer_cache =
            request.layer_cache && podman::trusts_layer_cache(kind, &request.dockerfile);
        let sources = match (layer_cache, kind) {
            (true, EngineKind::Docker) => request.cache_sources.clone(),
            // Podman takes repositories of layers for this, which images are not.
            _ => Vec::new(),
        };
        let sources = self.cache_sources(sources, &request.platform, observer).await;
        let request = BuildRequest { layer_cache, ..request };
        if sources.is_empty() {
            return Ok(self.solve(kind, request, sources, observer).await?);
        }
        match self.solve(kind, request.clone(), sources.clone(), observer).await {
            Err(failed) if failed.may_be_the_sources => {
                let reason = format!("{}; it is built again without", failed.error.message);
                observer.event(BuildEvent::CacheNotUsed { source: sources.join(", "), reason });
                Ok(self.solve(kind, request, Vec::new(), observer).await?)
            }
            solved => Ok(solved?),
        }
    }

    /// Has the engine build once, with these cache sources.
    async fn solve(
        &self,
        kind: EngineKind,
        request: BuildRequest,
        sources: Vec<String>,
        observer: &dyn BuildObserver,
    ) -> Result<LocalImage, Failed> {
        let client = self.client().await?;
        let (builder, session) = match kind {
            EngineKind::Docker => (BuilderVersion::BuilderBuildKit, Some(session_id())),
            EngineKind::Podman => (BuilderVersion::BuilderV1, None),
        };
        let mut args = into_map(request.args);
        if request.export_cache && kind == EngineKind::Docker && !names_export(&request.dockerfile)
        {
            args.entry(EXPORT_CACHE.to_owned()).or_insert_with(|| "1".to_owned());
        }
        let options = BuildImageOptions {
            dockerfile: Archive::DOCKERFILE_NAME.to_owned(),
            t: request.named.then(|| request.name.to_string()),
            nocache: !request.layer_cache,
            buildargs: Some(args),
            cachefrom: (!sources.is_empty()).then_some(sources),
            labels: Some(into_map(request.labels)),
            platform: request.platform.to_string(),
            target: request.target.unwrap_or_default(),
            version: builder,
            session,
            ..BuildImageOptions::default()
        };
        let options = options::set(&request.options, options);
        let (packing, archive) =
            archive_body::pack(request.context, request.listing, request.dockerfile);
        let mut progress = Following::new(kind, observer, request.keyed_images);
        let mut events = client.build_image(options, None, Some(bollard::body_try_stream(archive)));
        let mut failure = None;
        while let Some(event) = events.next().await {
            match event {
                Ok(info) => {
                    progress.take(info);
                    // Ending here closes the connection, and so ends the build.
                    if let Some(image) = progress.unkeyed_image() {
                        let message = format!(
                            "it uses the image {image}, which is not in its key: the engine reads \
                             the Dockerfile differently"
                        );
                        return Err(BackendError::new(BackendErrorKind::Build, message).into());
                    }
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        drop(events);
        // A context that changed while it was packed cuts the upload short; what the engine says
        // about that is beside the point.
        packing.finish().await?;
        if let Some(error) = failure {
            let kind = BackendErrorKind::Build;
            let is_gone = is_connection_error(&error);
            let may_be_the_sources = !is_gone && !progress.is_of_a_command(&describe(&error));
            let error = match progress.failure(&describe(&error)) {
                Some(step) if !is_gone => BackendError::new(kind, step),
                _ => self.failed(kind, &error),
            };
            return Err(Failed { error, may_be_the_sources });
        }
        match progress.image_id() {
            Some(id) => Ok(self.present(&id).await?),
            // The stream of an engine that dies simply ends.
            None => Err(self.unavailable("the build ended without a result".to_owned()).into()),
        }
    }
}

/// The build argument that makes BuildKit write into an image's config what its layers were made from.
const EXPORT_CACHE: &str = "BUILDKIT_INLINE_CACHE";

/// Whether a Dockerfile could see that argument, which is in no key.
fn names_export(dockerfile: &[u8]) -> bool {
    dockerfile.windows(EXPORT_CACHE.len()).any(|window| window == EXPORT_CACHE.as_bytes())
}

fn into_map(map: BTreeMap<String, String>) -> HashMap<String, String> {
    map.into_iter().collect()
}
