//! One image without a `dockit.toml`: the options that describe it.

use clap::Args;
use dockit_core::config::{self, OneImage};
use dockit_core::{Error, Project};

use super::GlobalArgs;
use super::platforms::PlatformArgs;
use crate::diagnostics::{Exit, Failure};
use crate::session;

/// Options that describe one image.
#[derive(Args, Debug)]
#[command(next_help_heading = "One image without dockit.toml")]
pub(super) struct OneImageArgs {
    /// The image's Dockerfile; no dockit.toml is read. Paths are relative to the working directory, or to
    /// that of -C
    #[arg(long, value_name = "FILE", conflicts_with = "images", requires = "repository")]
    dockerfile: Option<String>,
    /// The build context; without it the Dockerfile's directory
    #[arg(long, value_name = "DIR", requires = "dockerfile")]
    context: Option<String>,
    /// A build argument; without a value it is the environment's, if that has one
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]", requires = "dockerfile")]
    build_args: Vec<String>,
    /// A build argument that does not change what the image is, and never enters the key
    #[arg(long = "unkeyed-build-arg", value_name = "NAME[=VALUE]", requires = "dockerfile")]
    unkeyed_build_args: Vec<String>,
    /// The stage to build; without it the last one
    #[arg(long, value_name = "STAGE", requires = "dockerfile")]
    target: Option<String>,
    /// A host, or a host and the first components of the repository; without it the image stays in the
    /// engine
    #[arg(long, requires = "dockerfile")]
    registry: Option<String>,
    /// The repository, which is also the image's short name
    #[arg(long, value_name = "NAME", requires = "dockerfile")]
    repository: Option<String>,
    /// A moving tag
    #[arg(long = "tag", value_name = "TAG", requires = "dockerfile")]
    tags: Vec<String>,
    /// Keep digests of external images in FILE; without it they are resolved anew by each run
    #[arg(long, value_name = "FILE", requires = "dockerfile")]
    lockfile: Option<String>,
}

impl OneImageArgs {
    /// The project of the one image, if these options describe one. `of_projects` are options that only
    /// make sense with a project of several images, and `of_lockfiles` those that need a lockfile, with
    /// whether they are given.
    pub(super) fn project(
        &self,
        global: &GlobalArgs,
        platforms: &PlatformArgs,
        of_projects: &[(&str, bool)],
        of_lockfiles: &[(&str, bool)],
    ) -> Result<Option<Project>, Failure> {
        let Some((dockerfile, repository)) = self.dockerfile.as_ref().zip(self.repository.as_ref())
        else {
            return Ok(None);
        };
        let config = ("--config", global.config.is_some());
        if let Some((option, _)) = of_projects.iter().chain([&config]).find(|(_, given)| *given) {
            let message =
                format!("{option} cannot be used with --dockerfile: no dockit.toml is read");
            return Err(Failure::new(Exit::Usage, message));
        }
        let needs_lockfile = of_lockfiles.iter().find(|(_, given)| *given);
        if let Some((option, _)) = needs_lockfile.filter(|_| self.lockfile.is_none()) {
            let message = format!("{option} with --dockerfile needs --lockfile FILE");
            return Err(Failure::new(Exit::Usage, message));
        }
        let image = OneImage {
            directory: session::directory(global)?,
            dockerfile: dockerfile.clone(),
            context: self.context.clone(),
            build_args: self.build_args.clone(),
            unkeyed_build_args: self.unkeyed_build_args.clone(),
            target: self.target.clone(),
            platforms: platforms.given().to_vec(),
            registry: self.registry.clone(),
            repository: repository.clone(),
            tags: self.tags.clone(),
            lockfile: self.lockfile.clone(),
        };
        let project = config::one_image(&image, &session::load_options()).map_err(Error::from)?;
        session::warn(&project);
        Ok(Some(project))
    }
}
