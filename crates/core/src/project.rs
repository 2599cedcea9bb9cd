//! What a valid `dockit.toml` says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use dockit_registry::{Platform, Reference, Registries, RegistryHost, Repository, Tag};

use crate::backend::{BackendSettings, Compression};
use crate::build_options::BuildOptions;
use crate::changed::ChangedSettings;
use crate::check::{Check, InfoCommand};
use crate::config::Problem;
use crate::declared_key::DeclaredSource;
use crate::epoch::Refresh;
use crate::image_name::ImageName;
use crate::pin::rule::PinRule;
use crate::platforms::Role;
use crate::prepare::Prepare;
use crate::project_path::ProjectPath;
use crate::promote::Promotion;
use crate::secrets::{Secret, SshAgent};
use crate::tag_prefix::TagPrefix;
use crate::tag_template::TagTemplate;
use crate::variant::VariantOf;
use crate::version::VersionSource;

/// A project: a directory with a `dockit.toml`, and the images it declares.
#[derive(Clone, Debug)]
pub struct Project {
    /// The configuration file, absolute; of one image without a file, a word for the command line.
    pub config_file: PathBuf,
    /// The directory of the configuration file: what its relative paths are relative to. Of one image
    /// without a file, its build context.
    pub root: PathBuf,
    /// Where images are published, a registry or `oci:DIR`; `None`: they stay on this machine.
    pub registry: Option<String>,
    /// When images are pushed, unless a command says otherwise.
    pub push: PushPolicy,
    /// How the layers of images are packed that no engine builds.
    pub compression: Compression,
    /// The lockfile, absolute. It need not exist.
    pub lockfile: PathBuf,
    /// Registries, besides those on loopback, that are spoken to without TLS.
    pub insecure_registries: Vec<RegistryHost>,
    /// What is configured about single registries.
    pub registries: Registries,
    /// What builds, in the order of the configuration; empty: this machine's engine alone.
    pub backends: Vec<BackendSettings>,
    /// Files whose changes affect no image, or all of them.
    pub changed: ChangedSettings,
    /// What has to pass on this machine before moving tags move, once all images of a run are there.
    pub tests: Vec<Check>,
    /// Where the value of `{version}` in tags stands.
    pub version: Option<VersionSource>,
    /// The default branch of the git repository; `None`: CI or git says it.
    pub default_branch: Option<String>,
    /// What can be promoted, by name.
    pub promotions: BTreeMap<String, Promotion>,
    /// The images by name.
    pub images: BTreeMap<ImageName, Image>,
    /// Which references in files are kept true; empty: none are rewritten by themselves.
    pub pins: Vec<PinRule>,
    /// What is valid in the configuration, and probably not meant, in the order of the lines.
    pub warnings: Vec<Problem>,
    /// Whether nothing is read or written beside the images: neither a lockfile nor dockit's own
    /// directory. What is resolved counts for one run.
    pub in_memory: bool,
    /// Whether options describe its one image, and no file. The root is the build context then, and a
    /// `dockit.lock` there is of another project and no part of the build context.
    pub from_options: bool,
}

impl Project {
    /// The directory for what dockit keeps beside the lockfile and no build sees. Projects that share
    /// a lockfile share it, and its lock.
    pub fn state_directory(&self) -> PathBuf {
        let beside = self.lockfile.parent().unwrap_or(&self.root);
        beside.join(crate::key::STATE_DIRECTORY)
    }

    /// The directories of the layouts that images of the project lie in. They need not exist.
    pub fn layouts(&self) -> BTreeSet<PathBuf> {
        let layouts = self.images.values().filter_map(|image| image.repository.host().layout());
        layouts.map(|directory| self.root.join(directory)).collect()
    }
}

/// One `[images.NAME]` table, or one of its variants, or one platform of either.
#[derive(Clone, Debug)]
pub struct Image {
    /// The table's name; of a variant `NAME-V`; of one platform of several `NAME@PLATFORM`.
    pub name: ImageName,
    /// Which variant it is, if it is one.
    pub variant: Option<VariantOf>,
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
    /// What it is among images for several platforms.
    pub role: Role,
    /// The platform to build for; of an index the first of its platforms.
    pub platform: Platform,
    /// The platform that the `BUILD*` arguments speak of, whatever machine builds: the project's, or else
    /// the image's own.
    pub build_platform: Platform,
    /// Build arguments that enter the key where the Dockerfile declares them, also those that the
    /// environment gave.
    pub args: BTreeMap<String, String>,
    /// Names of build arguments whose values are the environment's. One that it lacks is not given.
    pub env_args: BTreeSet<String>,
    /// Build arguments that never enter the key.
    pub unkeyed_args: BTreeMap<String, String>,
    /// Names of build arguments that never enter the key, also where the environment has no value for
    /// them: whether it has one must not change the key either.
    pub unkeyed_env_args: BTreeSet<String>,
    /// Names among the arguments that come from what is said for all images. An image need not declare
    /// these.
    pub common_args: BTreeSet<String>,
    /// Moving tags, put on the image beside its content tag.
    pub tags: Vec<TagTemplate>,
    /// What `{prefix}` in tags stands for.
    pub tag_prefix: Option<TagPrefix>,
    /// What the image is called in an engine's store besides, each with a tag.
    pub aliases: Vec<Reference>,
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
    /// What has to pass before the image is pushed, in this order.
    pub tests: Vec<Check>,
    /// What the image's report asks in a container of it, in this order.
    pub info: Vec<InfoCommand>,
    /// Whether builds may use the layer cache, and images say what their layers were made from.
    pub layer_cache: bool,
    /// What the engine gives to every `RUN` of the build besides.
    pub options: BuildOptions,
    /// Where secrets come from that its build may mount, by their ids.
    pub secrets: BTreeMap<String, Secret>,
    /// The same of ssh agents.
    pub ssh: BTreeMap<String, SshAgent>,
    /// Where layers are kept from one build to the next, by backends that can; `None`: nowhere but in
    /// the image itself.
    pub cache_repository: Option<Repository>,
    /// Line of the table in the configuration file, counted from 1.
    pub line: usize,
}

impl Image {
    /// The image whose Dockerfile it has: itself, or the one that it is a variant of.
    pub fn family(&self) -> &ImageName {
        self.variant.as_ref().map_or(self.declared_name(), |of| &of.image)
    }

    /// Whether the image lies in an OCI layout of this machine. Writing there is no push, and is always
    /// done.
    pub fn is_in_layout(&self) -> bool {
        self.has_registry && self.repository.host().layout().is_some()
    }

    /// Whether a run that pushes, or does not, puts the image where its repository is.
    pub(crate) fn is_pushed(&self, push: bool) -> bool {
        self.has_registry && (push || self.is_in_layout())
    }

    /// Build arguments that never enter the key, with a value or without.
    pub(crate) fn unkeyed_names(&self) -> BTreeSet<&String> {
        self.unkeyed_args.keys().chain(&self.unkeyed_env_args).collect()
    }

    /// The moving tags that are the same in every run.
    pub fn fixed_tags(&self) -> impl Iterator<Item = Tag> {
        self.tags.iter().filter_map(|template| template.fixed(self.tag_prefix.as_ref()))
    }
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
