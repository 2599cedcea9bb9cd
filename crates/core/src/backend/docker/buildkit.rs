//! A build by the engine's BuildKit.

use std::ops::ControlFlow;
use std::sync::Arc;

use dockit_buildkit::{
    Build, CacheEntry, Client, Error, ErrorKind, Output, RegistryAuth, ResolveMode, Transfer,
};

use super::DockerEngine;
use super::building::unkeyed;
use super::progress::Progress;
use super::session_auth::SessionAuth;
use crate::backend::dial::EngineDial;
use crate::backend::layers::Failed;
use crate::backend::sending;
use crate::backend::{BackendError, BackendErrorKind, BuildObserver, BuildRequest, LocalImage};

impl DockerEngine {
    /// Has BuildKit build once, with these cache sources.
    pub(super) async fn solve(
        &self,
        request: &BuildRequest,
        sources: &[String],
        observer: &dyn BuildObserver,
    ) -> Result<LocalImage, Failed> {
        let client = self.buildkit().await?;
        let mut progress = Progress::of(request, observer);
        let mut build = as_build(request, sources)?;
        build.transfer = transfer(&self.facts().await?.version);
        // Ending it here ends the build over there.
        let built = client
            .build(&build, &mut |status| {
                progress.take(status);
                match progress.unkeyed_image() {
                    Some(_) => ControlFlow::Break(()),
                    None => ControlFlow::Continue(()),
                }
            })
            .await;
        if let Some(image) = progress.unkeyed_image() {
            return Err(unkeyed(image).into());
        }
        match built {
            Ok(built) => match built.digest() {
                Some(id) => Ok(self.present(id).await?),
                None => {
                    let message = "the build ended without a result".to_owned();
                    Err(self.unavailable(message).into())
                }
            },
            Err(error) => Err(self.not_built(&error, &progress)),
        }
    }

    /// A client for builds, of an engine that answers.
    async fn buildkit(&self) -> Result<Client, BackendError> {
        let version = self.client().await?.client_version();
        let version = format!("{}.{}", version.major_version, version.minor_version);
        let endpoint = self.endpoint.as_ref().map_err(|error| self.unavailable(error.clone()))?;
        let dial = EngineDial::to_engine(&endpoint.address, endpoint.tls.as_ref())
            .map_err(|error| self.unavailable(error))?;
        Ok(Client::docker_engine(dial, Some(&version)))
    }

    fn not_built(&self, error: &Error, progress: &Progress<'_>) -> Failed {
        let message = error.message();
        let kind = match error.kind() {
            ErrorKind::Unavailable => return self.unavailable(message.to_owned()).into(),
            ErrorKind::Unsupported => {
                let message = format!("the engine cannot build with BuildKit ({message})");
                return self.unavailable(message).into();
            }
            ErrorKind::Context => BackendErrorKind::Context,
            ErrorKind::Protocol => BackendErrorKind::Engine,
            _ => BackendErrorKind::Build,
        };
        if kind != BackendErrorKind::Build {
            return BackendError::new(kind, message).into();
        }
        let error = BackendError::new(kind, progress.failure().as_deref().unwrap_or(message));
        Failed { error, may_be_the_sources: !progress.is_of_a_command(message) }
    }
}

/// The first version of the engine that gives directories the times that they have, however they come.
const DIRECTORY_TIMES: u32 = 24;

/// How the build context goes to an engine of this version: so that the build sees the same of it in all.
fn transfer(version: &str) -> Transfer {
    match version.split('.').next().map(str::parse::<u32>) {
        Some(Ok(major)) if major < DIRECTORY_TIMES => Transfer::Archive,
        _ => Transfer::Files,
    }
}

fn as_build(request: &BuildRequest, sources: &[String]) -> Result<Build, BackendError> {
    let private = request.private_images.iter().map(|(image, credential)| (image, credential));
    let cached = request.cache_sources.iter().map(|source| (&source.image, &source.credential));
    let auth = SessionAuth::new(private.chain(cached));
    let mut build = sending::build(request)?;
    build.resolve = Some(ResolveMode::Default);
    build.cache_imports = sources.iter().map(CacheEntry::registry).collect();
    build.cache_exports = match request.export_cache {
        true => vec![CacheEntry::inline()],
        false => Vec::new(),
    };
    let names = if request.named { vec![request.name.to_string()] } else { Vec::new() };
    build.output = Output::EngineStore { names };
    build.registry_auth = auth.map(|auth| Arc::new(auth) as Arc<dyn RegistryAuth>);
    Ok(build)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_engines_get_archives() {
        for (version, expected) in [
            ("20.10.24+dfsg1", Transfer::Archive),
            ("23.0.6", Transfer::Archive),
            ("24.0.0", Transfer::Files),
            ("28.5.2", Transfer::Files),
            ("unknown", Transfer::Files),
        ] {
            assert_eq!(transfer(version), expected, "{version}");
        }
    }
}
