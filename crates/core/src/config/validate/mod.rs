//! From what is written to what it means.

mod arguments;
mod key_inputs;
mod registries;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dockit_registry::{Platform, Repository, Tag};

use self::arguments::Written;
use super::LoadOptions;
use super::problem::{Problem, Problems, nearest};
use super::reader::Located;
use super::schema::{ConfigFile, ImageTable};
use crate::image_name::ImageName;
use crate::key::ImageKey;
use crate::project::{Image, Project, PushPolicy};

pub(crate) fn validate(
    file: &Path,
    schema: ConfigFile,
    problems: Vec<Problem>,
    options: &LoadOptions<'_>,
) -> Result<Project, Problems> {
    let root = file.parent().unwrap_or(Path::new("/")).to_owned();
    let names: Vec<ImageName> = schema.images.keys().filter_map(|name| name.parse().ok()).collect();
    let mut validator = Validator {
        file,
        root: &root,
        options,
        names,
        registry: None,
        publish_inputs: true,
        publish_args: BTreeSet::new(),
        problems,
        warnings: Vec::new(),
    };
    let project = schema.project;
    validator.publish_inputs = validator.publish_inputs(project.publish_inputs).unwrap_or(true);
    validator.publish_args = validator.publish_args(project.publish_args);
    validator.registry = project.registry.and_then(|registry| validator.registry(registry));
    let push = project.push.and_then(|push| validator.push(&push)).unwrap_or_default();
    let lockfile = project
        .lockfile
        .and_then(|path| validator.path("lockfile", path))
        .unwrap_or_else(|| root.join("dockit.lock"));
    let insecure_registries = project
        .insecure_registries
        .into_iter()
        .filter_map(|host| validator.insecure_registry(host))
        .collect();
    let registries = validator.registries(schema.registries);
    if schema.images.is_empty() && validator.problems.is_empty() {
        validator.problem(0, "no image is declared: add a table [images.NAME]");
    }
    let images: BTreeMap<ImageName, Image> = schema
        .images
        .into_iter()
        .filter_map(|(name, table)| validator.image(&name, table))
        .map(|image| (image.name.clone(), image))
        .collect();
    validator.repositories_differ(&images);
    let Validator { registry, problems, mut warnings, .. } = validator;
    warnings.sort_by(|one, other| (one.line, &one.message).cmp(&(other.line, &other.message)));
    let project = Project {
        config_file: file.to_owned(),
        lockfile,
        root,
        registry,
        push,
        insecure_registries,
        registries,
        images,
        warnings,
    };
    Problems::check(problems, project)
}

struct Validator<'a> {
    file: &'a Path,
    root: &'a Path,
    options: &'a LoadOptions<'a>,
    names: Vec<ImageName>,
    registry: Option<String>,
    /// What the project says for all images.
    publish_inputs: bool,
    publish_args: BTreeSet<String>,
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
        if text.starts_with("oci:") {
            self.problem(
                registry.line,
                "an OCI layout as registry (\"oci:DIR\") is not supported by this version",
            );
            return None;
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

    fn image(&mut self, name: &str, located: Located<ImageTable>) -> Option<Image> {
        let Located { value: table, line } = located;
        let name = match name.parse::<ImageName>() {
            Ok(name) => Some(name),
            Err(error) => {
                self.problem(line, error.to_string());
                None
            }
        };
        let mut publish_args = self.publish_args.clone();
        publish_args.extend(self.publish_args(table.publish_args));
        let written = Written {
            args: table.args,
            unkeyed: table.unkeyed_args,
            from_environment: table.env_args,
        };
        let arguments = self.arguments(written, &publish_args);
        let publish_inputs =
            self.publish_inputs(table.publish_inputs).unwrap_or(self.publish_inputs);
        let inputs = self.project_paths(table.inputs);
        let refresh = table.refresh.and_then(|refresh| self.refresh(&refresh));
        let declared_key =
            table.declared_key.map(|declared| self.declared_key(declared)).unwrap_or_default();
        let prepare = table.prepare.and_then(|prepare| self.prepare(prepare));
        let tags = self.tags(table.tags);
        let platform = self.platform(table.platforms);
        let needs = self.needs(name.as_ref(), table.needs);
        let target = table.target.and_then(|target| {
            if target.value.is_empty() {
                self.problem(target.line, "target must name a stage");
                return None;
            }
            Some(target.value)
        });
        let dockerfile = table.dockerfile.and_then(|path| self.path("dockerfile", path));
        let context = table.context.and_then(|path| self.path("context", path));
        let name = name?;
        let (repository, has_registry) = self.repository(&name, table.repository, line)?;
        let dockerfile =
            dockerfile.unwrap_or_else(|| join(self.root, &format!("{name}/Dockerfile")));
        let context = context.unwrap_or_else(|| {
            dockerfile.parent().map_or_else(|| self.root.to_owned(), Path::to_owned)
        });
        Some(Image {
            name,
            repository,
            has_registry,
            dockerfile,
            context,
            target,
            platform: platform?,
            args: arguments.args,
            env_args: arguments.from_environment,
            unkeyed_args: arguments.unkeyed,
            tags,
            needs,
            inputs,
            refresh,
            declared_key,
            prepare,
            strict_modes: table.strict_modes.unwrap_or(false),
            publish_inputs,
            publish_args,
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
        let (full, has_registry) = if names_a_host(&text) {
            (text, true)
        } else if let Some(registry) = &self.registry {
            (format!("{registry}/{text}"), true)
        } else {
            (text, false)
        };
        match full.parse() {
            Ok(repository) => Some((repository, has_registry)),
            Err(error) => {
                let error: dockit_registry::ReferenceError = error;
                self.problem(line, format!("invalid repository {full:?}: {error}"));
                None
            }
        }
    }

    fn tags(&mut self, written: Vec<Located<String>>) -> Vec<Tag> {
        let mut tags: Vec<Tag> = Vec::new();
        for Located { value, line } in written {
            if value.contains('{') {
                self.problem(
                    line,
                    format!("placeholders in tags ({value:?}) are not supported by this version"),
                );
                continue;
            }
            let Some(tag) = self.parsed::<Tag>(Located { value, line }) else {
                continue;
            };
            if ImageKey::is_content_tag(&tag) {
                self.problem(line, format!("tag {:?} has the form of a content tag", tag.as_str()));
            } else if tags.contains(&tag) {
                self.problem(line, format!("tag {:?} is there twice", tag.as_str()));
            } else {
                tags.push(tag);
            }
        }
        tags
    }

    fn platform(&mut self, written: Vec<Located<String>>) -> Option<Platform> {
        if let [_, second, ..] = written.as_slice() {
            let line = second.line;
            self.problem(line, "several platforms for one image are not supported by this version");
            return None;
        }
        let Some(platform) = written.into_iter().next() else {
            return Some(Platform::linux_amd64());
        };
        self.parsed(platform)
    }

    fn needs(
        &mut self,
        image: Option<&ImageName>,
        written: Vec<Located<String>>,
    ) -> Vec<ImageName> {
        let mut needs = Vec::new();
        for Located { value, line } in written {
            match self.names.iter().find(|name| name.as_str() == value).cloned() {
                None => {
                    let suggestion = nearest(&value, self.names.iter().map(ImageName::as_str));
                    self.suggest(
                        line,
                        format!("needs names the unknown image {value:?}"),
                        suggestion,
                    );
                }
                Some(name) if Some(&name) == image => {
                    self.problem(line, format!("image {value:?} cannot need itself"));
                }
                Some(name) => needs.push(name),
            }
        }
        needs.sort();
        needs.dedup();
        needs
    }

    fn repositories_differ(&mut self, images: &BTreeMap<ImageName, Image>) {
        let mut seen: BTreeMap<&Repository, &Image> = BTreeMap::new();
        for image in images.values() {
            if let Some(first) = seen.insert(&image.repository, image) {
                self.problem(
                    image.line,
                    format!(
                        "images {:?} and {:?} have the same repository {}",
                        first.name.as_str(),
                        image.name.as_str(),
                        image.repository
                    ),
                );
            }
        }
    }
}

/// Docker's rule for a first component that is a host and no part of a name.
fn names_a_host(text: &str) -> bool {
    text.split_once('/')
        .is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost")
}

/// `path` relative to `root`. A `..` is left for the system to resolve, through links too.
fn join(root: &Path, path: &str) -> PathBuf {
    root.join(path).components().collect()
}
