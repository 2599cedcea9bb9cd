//! What a valid `dockit.toml` says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use dockit_registry::{Platform, Registries, RegistryHost, Repository, Tag};

use crate::config::Problem;
use crate::declared_key::DeclaredSource;
use crate::epoch::Refresh;
use crate::image_name::ImageName;
use crate::prepare::Prepare;
use crate::project_path::ProjectPath;

/// A project: a directory with a `dockit.toml`, and the images it declares.
#[derive(Clone, Debug)]
pub struct Project {
    /// The configuration file, absolute.
    pub config_file: PathBuf,
    /// The directory of the configuration file: what its relative paths are relative to.
    pub root: PathBuf,
    /// Where images are published; `None`: they stay in the engine.
    pub registry: Option<String>,
    /// When images are pushed, unless a command says otherwise.
    pub push: PushPolicy,
    /// The lockfile, absolute. It need not exist.
    pub lockfile: PathBuf,
    /// Registries, besides those on loopback, that are spoken to without TLS.
    pub insecure_registries: Vec<RegistryHost>,
    /// What is configured about single registries.
    pub registries: Registries,
    /// The images by name.
    pub images: BTreeMap<ImageName, Image>,
    /// What is valid in the configuration, and probably not meant, in the order of the lines.
    pub warnings: Vec<Problem>,
}

impl Project {
    /// The directory for what dockit keeps beside the lockfile and no build sees. Projects that share
    /// a lockfile share it, and its lock.
    pub fn state_directory(&self) -> PathBuf {
        let beside = self.lockfile.parent().unwrap_or(&self.root);
        beside.join(crate::key::STATE_DIRECTORY)
    }
}

/// One `[images.NAME]` table.
#[derive(Clone, Debug)]
pub struct Image {
    /// The table's name.
    pub name: ImageName,
    /// Where the image is published, or what it is called in the engine.
    pub repository: Repository,
    /// Whether `repository` lies in a registry. Otherwise it is a name in the engine alone.
    pub has_registry: bool,
    /// The Dockerfile, absolute.
    pub dockerfile: PathBuf,
    /// The build context's directory, absolute.
    pub context: PathBuf,
    /// The stage to build; `None`: the last one.
    pub target: Option<String>,
    /// The platform to build for.
    pub platform: Platform,
    /// Build arguments that enter the key where the Dockerfile declares them, also those that the
    /// environment gave.
    pub args: BTreeMap<String, String>,
    /// Names of build arguments whose values are the environment's. One that it lacks is not given.
    pub env_args: BTreeSet<String>,
    /// Build arguments that never enter the key.
    pub unkeyed_args: BTreeMap<String, String>,
    /// Moving tags, put on the image beside its content tag.
    pub tags: Vec<Tag>,
    /// Images that this one depends on though its Dockerfile does not show it.
    pub needs: Vec<ImageName>,
    /// Files and directories that count for the key though the build does not get them, by path.
    pub inputs: Vec<ProjectPath>,
    /// How often the key changes by itself.
    pub refresh: Option<Refresh>,
    /// What takes the place of the build context's files in the key, by name; empty: nothing does.
    pub declared_key: Vec<DeclaredSource>,
    /// What runs before the key is taken.
    pub prepare: Option<Prepare>,
    /// Whether all bits of the modes of files count.
    pub strict_modes: bool,
    /// Whether the listing of what is in the key is published with the image.
    pub publish_inputs: bool,
    /// Build arguments whose values are published with it.
    pub publish_args: BTreeSet<String>,
    /// Line of the table in the configuration file, counted from 1.
    pub line: usize,
}

/// When images are pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PushPolicy {
    /// Never; what is built stays in the engine.
    Never,
    /// Where there is a registry and the run is a CI run of no pull or merge request.
    #[default]
    Auto,
    /// Always; a project without a registry is then an error.
    Always,
}

impl std::str::FromStr for PushPolicy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "never" => Ok(Self::Never),
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            _ => Err(()),
        }
    }
}
