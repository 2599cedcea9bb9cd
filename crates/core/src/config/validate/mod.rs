//! From what is written to what it means.

mod arguments;
mod backends;
mod changed;
mod checks;
mod commands;
mod key_inputs;
mod layer_cache;
mod names;
mod options;
mod pins;
mod platforms;
mod promotions;
mod registries;
mod secrets;
mod tags;
mod variants;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dockit_registry::layout::LayoutReference;
use dockit_registry::{Platform, RegistryHost, Repository};

use self::arguments::Written;
pub(super) use self::arguments::is_argument_name;
use self::checks::written_platforms;
use self::options::WrittenOptions;
use self::variants::Declared;
use super::LoadOptions;
use super::problem::{Problem, Problems, nearest};
use super::reader::Located;
use super::schema::{ConfigFile, ImageTable};
use crate::backend::Compression;
use crate::image_name::ImageName;
use crate::key::STATE_DIRECTORY;
use crate::lockfile::LOCKFILE;
use crate::platforms::Role;
use crate::project::{Image, Project, PushPolicy};
use crate::variant::{ShortName, VariantOf, by_short_name, listed};

pub(crate) fn validate(
    file: &Path,
    schema: ConfigFile,
    problems: Vec<Problem>,
    options: &LoadOptions<'_>,
) -> Result<Project, Problems> {
    let root = file.parent().unwrap_or(Path::new("/")).to_owned();
    let project_has_version = schema.project.version.is_some();
    let project = schema.project;
    let mut validator = Validator {
        file,
        root: &root,
        options,
        names: BTreeMap::new(),
        registry: None,
        cache_registry: None,
        publish_inputs: true,
        publish_args: BTreeSet::new(),
        layer_cache: project.layer_cache.unwrap_or(true),
        build_platform: None,
        test_platforms: Vec::new(),
        has_version: project_has_version,
        problems,
        warnings: Vec::new(),
    };
    validator.publish_inputs = validator.publish_inputs(project.publish_inputs).unwrap_or(true);
    validator.publish_args = validator.publish_args(project.publish_args);
    validator.build_platform =
        project.build_platform.and_then(|platform| validator.parsed(platform));
    validator.registry = project.registry.and_then(|registry| validator.registry(registry));
    validator.cache_registry =
        project.cache_registry.and_then(|registry| validator.cache_registry(registry));
    let compression = project.compression.and_then(|written| validator.compression(&written));
    let push = project.push.and_then(|push| validator.push(&push)).unwrap_or_default();
    let lockfile = project
        .lockfile
        .and_then(|path| validator.path("lockfile", path))
        .unwrap_or_else(|| root.join(LOCKFILE));
    let insecure_registries = project
        .insecure_registries
        .into_iter()
        .filter_map(|host| validator.insecure_registry(host))
        .collect();
    let registries = validator.registries(schema.registries);
    let backends = validator.backends(schema.backends);
    let changed = validator.changed(schema.changed);
    let tests = validator.project_tests(project.test);
    let version = project.version.and_then(|version| validator.version(version));
    let default_branch = project.default_branch.and_then(|name| validator.default_branch(name));
    if schema.images.is_empty() && validator.problems.is_empty() {
        validator.problem(0, "no image is declared: add a table [images.NAME]");
    }
    let common = ImageTable {
        args: project.args,
        unkeyed_args: project.unkeyed_args,
        secrets: schema.secrets,
        ssh: schema.ssh,
        ..ImageTable::default()
    };
    let declared = validator.declared(&common, schema.images, &schema.variants);
    let named = declared.iter().filter_map(|it| Some((it.name.clone()?, it.variant.clone())));
    validator.names = named.collect();
    let images: BTreeMap<ImageName, Image> = declared
        .into_iter()
        .filter_map(|declared| validator.image(declared))
        .map(|image| (image.name.clone(), image))
        .collect();
    validator.moving_tags_differ(&images);
    validator.aliases_differ(&images);
    validator.cache_is_apart(&images);
    validator.tests_have_platforms(&images);
    let promotions = validator.promotions(schema.promotions, &images);
    let images = validator.expanded(images);
    let pins = validator.pins(schema.pins, &images);
    let Validator { registry, problems, mut warnings, .. } = validator;
    warnings.sort_by(|one, other| (one.line, &one.message).cmp(&(other.line, &other.message)));
    // What variants take over is only said once.
    warnings.dedup();
    let project = Project {
        config_file: file.to_owned(),
        lockfile,
        root,
        registry,
        push,
        compression: compression.unwrap_or_default(),
        insecure_registries,
        registries,
        backends,
        changed,
        tests,
        version,
        default_branch,
        promotions,
        images,
        pins,
        warnings,
        in_memory: false,
        from_options: false,
    };
    Problems::check(problems, project)
}

struct Validator<'a> {
    file: &'a Path,
    root: &'a Path,
    options: &'a LoadOptions<'a>,
    /// All images, and of which image each is a variant.
    names: BTreeMap<ImageName, Option<VariantOf>>,
    registry: Option<String>,
    /// What the repositories with layers are below.
    cache_registry: Option<String>,
    /// What the project says for all images.
    publish_inputs: bool,
    publish_args: BTreeSet<String>,
    layer_cache: bool,
    /// Where builds are said to run.
    build_platform: Option<Platform>,
    /// The platforms that tests name, each with the image whose test it is.
    test_platforms: Vec<(ImageName, Located<Platform>)>,
    /// Whether `{version}` can stand in a tag.
    has_version: bool,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Validator<'_> {
    fn problem(&mut self, line: usize, message: impl Into<String>) {
        self.suggest(line, message, None);
    }

    fn suggest(&mut self, line: usize, message: impl Into<String>, suggestion: Option<String>) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line,
            message: message.into(),
            suggestion,
        });
    }

    fn suggest_near(&mut self, line: usize, message: String, word: &str, known: &[&str]) {
        self.suggest(line, message, nearest(word, known.iter().copied()));
    }

    fn warn(&mut self, line: usize, message: String) {
        let file = self.file.to_owned();
        self.warnings.push(Problem { file, line, message, suggestion: None });
    }

    fn parsed<T>(&mut self, text: Located<String>) -> Option<T>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        match text.value.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(text.line, error.to_string());
                None
            }
        }
    }

    fn registry(&mut self, registry: Located<String>) -> Option<String> {
        let text = registry.value.trim_end_matches('/');
        if text.starts_with(LayoutReference::PREFIX) {
            return match RegistryHost::from_written(text) {
                Ok(host) => Some(host.to_string()),
                Err(error) => {
                    let message =
                        format!("registry {text:?} is no layout, oci:DIR without a name: {error}");
                    self.problem(registry.line, message);
                    None
                }
            };
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            self.suggest(
                registry.line,
                format!("a registry is written without {scheme:?}"),
                Some(rest.to_owned()),
            );
            return None;
        }
        match format!("{text}/name").parse::<Repository>() {
            Ok(_) => Some(text.to_owned()),
            Err(error) => {
                self.problem(registry.line, format!("invalid registry {text:?}: {error}"));
                None
            }
        }
    }

    fn push(&mut self, push: &Located<String>) -> Option<PushPolicy> {
        let policy = push.value.parse().ok();
        if policy.is_none() {
            let known = ["never", "auto", "always"];
            self.suggest(
                push.line,
                format!("push must be \"never\", \"auto\" or \"always\", not {:?}", push.value),
                nearest(&push.value, known),
            );
        }
        policy
    }

    fn compression(&mut self, written: &Located<String>) -> Option<Compression> {
        let compression = match written.value.as_str() {
            "gzip" => Compression::Gzip,
            "zstd" => Compression::Zstd,
            "none" => Compression::None,
            other => {
                self.suggest(
                    written.line,
                    format!("compression must be \"gzip\", \"zstd\" or \"none\", not {other:?}"),
                    nearest(other, ["gzip", "zstd", "none"]),
                );
                return None;
            }
        };
        Some(compression)
    }

    fn image(&mut self, declared: Declared) -> Option<Image> {
        let Declared { name, variant, table, common_args, line } = declared;
        let mut publish_args = self.publish_args.clone();
        publish_args.extend(self.publish_args(table.publish_args.unwrap_or_default()));
        let written = Written {
            args: table.args,
            unkeyed: table.unkeyed_args,
            from_environment: table.env_args.unwrap_or_default(),
        };
        let arguments = self.arguments(written, &publish_args);
        let publish_inputs =
            self.publish_inputs(table.publish_inputs).unwrap_or(self.publish_inputs);
        let inputs = self.project_paths(table.inputs.unwrap_or_default());
        let refresh = table.refresh.and_then(|refresh| self.refresh(&refresh));
        let declared_key =
            table.declared_key.map(|declared| self.declared_key(declared)).unwrap_or_default();
        let prepare = table.prepare.and_then(|prepare| self.prepare(prepare));
        let tag_prefix = table.tag_prefix.map(|prefix| self.parsed(prefix));
        let tags = self.tags(table.tags.unwrap_or_default(), tag_prefix.as_ref());
        let aliases = self.aliases(table.aliases.unwrap_or_default());
        let platforms = self.platforms(table.platforms.unwrap_or_default());
        let needs = self.needs(name.as_ref(), variant.as_ref(), table.needs.unwrap_or_default());
        let test_platforms = written_platforms(table.test.as_deref().unwrap_or_default());
        let tests = self.tests(table.test.unwrap_or_default());
        let info = self.info(table.info);
        let options = self.build_options(WrittenOptions {
            network: table.network,
            hosts: table.hosts,
            shm_size: table.shm_size,
            ulimits: table.ulimits,
        });
        let secrets = self.secrets(table.secrets);
        let ssh = self.agents(table.ssh);
        let target = table.target.and_then(|target| {
            if target.value.is_empty() {
                self.problem(target.line, "target must name a stage");
                return None;
            }
            Some(target.value)
        });
        let dockerfile = table.dockerfile.and_then(|path| self.path("dockerfile", path));
        let context = table.context.and_then(|path| self.path("context", path));
        let (name, platforms) = (name?, platforms?);
        let (repository, has_registry) = self.repository(&name, table.repository, line)?;
        let role = self.role(&name, &platforms, has_registry, line);
        let platform = platforms.first().expect("an image has a platform").clone();
        let of_tests = test_platforms.into_iter().map(|platform| (name.clone(), platform));
        self.test_platforms.extend(of_tests);
        // Those of an index are told apart when its parts are made.
        let tests = match role {
            Role::Single => tests.into_iter().filter(|test| test.is_for(&platform)).collect(),
            _ => tests,
        };
        let cache_repository = self.cache_repository(&name, line);
        let family = variant.as_ref().map_or(&name, |of| &of.image);
        let dockerfile =
            dockerfile.unwrap_or_else(|| join(self.root, &format!("{family}/Dockerfile")));
        let context = context.unwrap_or_else(|| {
            dockerfile.parent().map_or_else(|| self.root.to_owned(), Path::to_owned)
        });
        Some(Image {
            name,
            variant,
            repository,
            has_registry,
            dockerfile,
            context,
            target,
            role,
            build_platform: self.build_platform.clone().unwrap_or_else(|| platform.clone()),
            platform,
            args: arguments.args,
            env_args: arguments.from_environment,
            unkeyed_args: arguments.unkeyed,
            unkeyed_env_args: BTreeSet::new(),
            common_args,
            tags,
            tag_prefix: tag_prefix.flatten(),
            aliases,
            needs,
            inputs,
            refresh,
            declared_key,
            prepare,
            strict_modes: table.strict_modes.unwrap_or(false),
            publish_inputs,
            publish_args,
            tests,
            info,
            layer_cache: table.layer_cache.unwrap_or(self.layer_cache),
            options,
            secrets,
            ssh,
            cache_repository,
            line,
        })
    }

    fn path(&mut self, key: &str, path: Located<String>) -> Option<PathBuf> {
        if path.value.is_empty() {
            self.problem(path.line, format!("{key} must not be empty"));
            return None;
        }
        Some(join(self.root, &path.value))
    }

    /// The image's repository, and whether a registry holds it.
    fn repository(
        &mut self,
        name: &ImageName,
        written: Option<Located<String>>,
        line: usize,
    ) -> Option<(Repository, bool)> {
        let (text, line) = match written {
            Some(written) => (written.value, written.line),
            None => (name.to_string(), line),
        };
        let (full, has_registry) = if names_a_host(&text) || is_in_layout(&text) {
            (text, true)
        } else if let Some(registry) = &self.registry {
            let between = if is_in_layout(registry) { ':' } else { '/' };
            (format!("{registry}{between}{text}"), true)
        } else {
            (text, false)
        };
        let read = if is_in_layout(&full) { Repository::from_written(&full) } else { full.parse() };
        match read {
            Ok(repository) if lies_in_state(self.root, &repository) => {
                let message = format!(
                    "{full:?} lies in {STATE_DIRECTORY}, which is dockit's own: what is there goes when \
                     it is not needed"
                );
                self.problem(line, message);
                None
            }
            Ok(repository) => Some((repository, has_registry)),
            Err(error) => {
                let error: dockit_registry::ReferenceError = error;
                self.problem(line, format!("invalid repository {full:?}: {error}"));
                None
            }
        }
    }

    /// Names mean what they would mean in the image's Dockerfile, except that a variant may need its
    /// image.
    fn needs(
        &mut self,
        image: Option<&ImageName>,
        of: Option<&VariantOf>,
        written: Vec<Located<String>>,
    ) -> Vec<ImageName> {
        let mut needs = Vec::new();
        for Located { value, line } in written {
            let own = of.is_some_and(|of| of.image.as_str() == value);
            let variant = of.filter(|_| !own).map(|of| &of.variant);
            let names = self.names.iter().map(|(name, of)| (name, of.as_ref()));
            match by_short_name(names, variant, &value) {
                ShortName::Unknown => {
                    let suggestion = nearest(&value, self.names.keys().map(ImageName::as_str));
                    let message = format!("needs names the unknown image {value:?}");
                    self.suggest(line, message, suggestion);
                }
                ShortName::OnlyVariants(variants) => {
                    let message = format!(
                        "needs names {value:?}, which exists only as its variants {}",
                        listed(variants)
                    );
                    self.problem(line, message);
                }
                ShortName::Image(name) if Some(name) == image => {
                    let message = match of {
                        Some(VariantOf { image, variant }) => format!(
                            "variant {:?} of image {:?} cannot need itself; without `needs` of its own \
                             it takes over the image's",
                            variant.as_str(),
                            image.as_str()
                        ),
                        None => format!("image {value:?} cannot need itself"),
                    };
                    self.problem(line, message);
                }
                ShortName::Image(name) => needs.push(name.clone()),
            }
        }
        needs.sort();
        needs.dedup();
        needs
    }
}

/// Whether a registry or repository is that of a layout, `oci:DIR` or `oci:DIR:NAME`.
fn is_in_layout(text: &str) -> bool {
    text.starts_with(LayoutReference::PREFIX)
}

/// Whether a layout lies in what dockit keeps for itself beside the lockfile.
fn lies_in_state(root: &Path, repository: &Repository) -> bool {
    let Some(directory) = repository.host().layout() else {
        return false;
    };
    if directory.is_absolute() {
        return directory.starts_with(root.join(STATE_DIRECTORY));
    }
    directory.components().any(|part| part.as_os_str() == STATE_DIRECTORY)
}

/// Docker's rule for a first component that is a host and no part of a name.
pub(crate) fn names_a_host(text: &str) -> bool {
    text.split_once('/')
        .is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost")
}

/// `path` relative to `root`. A `..` is left for the system to resolve, through links too.
fn join(root: &Path, path: &str) -> PathBuf {
    root.join(path).components().collect()
}
