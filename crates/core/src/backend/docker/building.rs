//! A build.

use std::collections::{BTreeMap, HashMap};

use bollard::query_parameters::{BuildImageOptions, BuilderVersion};
use dockit_hashing::context::Archive;
use futures_util::StreamExt as _;

use super::classic::Classic;
use super::failure::{describe, is_connection_error};
use super::session_auth::can_tell;
use super::{
    DockerEngine, EngineFacts, EngineKind, archive_body, disturbed, heredoc, options, podman,
};
use crate::backend::{
    BackendError, BackendErrorKind, BuildObserver, BuildRequest, Engine as _, LocalImage, layers,
};

impl DockerEngine {
    /// Builds, as [`BuildBackend::build`](crate::backend::BuildBackend::build) says.
    pub(super) async fn build_image(
        &self,
        request: BuildRequest,
        observer: &dyn BuildObserver,
    ) -> Result<LocalImage, BackendError> {
        let facts = self.facts().await?;
        let request = self.without_layouts(request).await?;
        let EngineFacts { kind, version, .. } = &facts;
        let kind = *kind;
        if let Some(reason) = heredoc::refusal(kind, version, &request.dockerfile)
            .or_else(|| options::refusal(&facts, &request.options))
            .or_else(|| options::refused_secrets(&facts, &request.secrets))
        {
            return Err(BackendError::new(BackendErrorKind::Unsupported, reason));
        }
        for (image, credential) in &request.private_images {
            // BuildKit fetches what it needs by itself, with the credentials that it can be told.
            if kind != EngineKind::Docker || !can_tell(credential) {
                self.pull(image, &request.platform, credential).await?;
            }
        }
        if kind == EngineKind::Podman {
            return self.build_archive(request, observer).await;
        }
        let sources = match request.layer_cache {
            true => request.cache_sources.clone(),
            false => Vec::new(),
        };
        let sources = self.cache_sources(sources, &request.platform, observer).await;
        let request = &request;
        let solve = |sources: Vec<String>| async move {
            disturbed::once_more(observer, || self.solve(request, &sources, observer)).await
        };
        layers::with_or_without(sources, observer, solve).await
    }

    /// Has Podman build, from an archive.
    async fn build_archive(
        &self,
        request: BuildRequest,
        observer: &dyn BuildObserver,
    ) -> Result<LocalImage, BackendError> {
        let client = self.client().await?;
        let kind = EngineKind::Podman;
        let layer_cache =
            request.layer_cache && podman::trusts_layer_cache(kind, &request.dockerfile);
        // It takes repositories of layers as cache sources, which images are not.
        let options = BuildImageOptions {
            dockerfile: Archive::DOCKERFILE_NAME.to_owned(),
            t: request.named.then(|| request.name.to_string()),
            nocache: !layer_cache,
            buildargs: Some(into_map(request.args)),
            labels: Some(into_map(request.labels)),
            platform: request.platform.to_string(),
            target: request.target.unwrap_or_default(),
            version: BuilderVersion::BuilderV1,
            ..BuildImageOptions::default()
        };
        let (packing, archive) =
            archive_body::pack(request.context, request.listing, request.dockerfile);
        let mut progress = Classic::new(observer, request.keyed_images);
        let mut events = client.build_image(options, None, Some(bollard::body_try_stream(archive)));
        let mut failure = None;
        while let Some(event) = events.next().await {
            match event {
                Ok(info) => {
                    progress.take(info);
                    // Ending here closes the connection, and so ends the build.
                    if let Some(image) = progress.unkeyed_image() {
                        return Err(unkeyed(image));
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
            let is_gone = is_connection_error(&error);
            return Err(match progress.failure(&describe(&error)) {
                Some(step) if !is_gone => BackendError::new(BackendErrorKind::Build, step),
                _ => self.failed(BackendErrorKind::Build, &error),
            });
        }
        match progress.image_id() {
            Some(id) => self.present(&id).await,
            // The stream of an engine that dies simply ends.
            None => Err(self.unavailable("the build ended without a result".to_owned())),
        }
    }
}

/// The failure of a build that uses an image outside its key.
pub(super) fn unkeyed(image: &str) -> BackendError {
    let message = format!(
        "it uses the image {image}, which is not in its key: the engine reads the Dockerfile \
         differently"
    );
    BackendError::new(BackendErrorKind::Build, message)
}

fn into_map(map: BTreeMap<String, String>) -> HashMap<String, String> {
    map.into_iter().collect()
}
