//! A project of one image that options describe, and no file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dockit_registry::layout::LayoutReference;

use super::LoadOptions;
use super::problem::{Problem, Problems};
use super::reader::Located;
use super::schema::{ConfigFile, ImageTable, ProjectTable};
use super::validate::{is_argument_name, names_a_host, validate};
use crate::lockfile::LOCKFILE;
use crate::project::Project;

/// One image as options describe it: texts as they were typed.
#[derive(Clone, Debug, Default)]
pub struct OneImage {
    /// What relative paths are relative to, absolute.
    pub directory: PathBuf,
    /// `--dockerfile`.
    pub dockerfile: String,
    /// `--context`; without it the Dockerfile's directory.
    pub context: Option<String>,
    /// `--build-arg`: `NAME=VALUE`, or `NAME` for the value that the environment has, if it has one. Of
    /// several for one name the last counts.
    pub build_args: Vec<String>,
    /// `--unkeyed-build-arg`: the same, and never in the key.
    pub unkeyed_build_args: Vec<String>,
    /// `--target`.
    pub target: Option<String>,
    /// `--platform`; none is linux/amd64.
    pub platforms: Vec<String>,
    /// `--registry`; without it the image stays in the engine.
    pub registry: Option<String>,
    /// `--repository`: relative to the registry, or whole. What stands behind its host is also the name
    /// of the image.
    pub repository: String,
    /// `--tag`: moving tags.
    pub tags: Vec<String>,
    /// `--lockfile`; without it what is resolved counts for one run, and nothing is written.
    pub lockfile: Option<String>,
}

/// Options in the place of lines: the line of a value is the place of its option here, from 1 on.
const OPTIONS: [&str; 10] = [
    "--dockerfile",
    "--context",
    "--build-arg",
    "--unkeyed-build-arg",
    "--target",
    "--platform",
    "--registry",
    "--repository",
    "--tag",
    "--lockfile",
];

fn line(option: &str) -> usize {
    1 + OPTIONS.iter().position(|known| *known == option).expect("only known options are asked for")
}

impl OneImage {
    /// A registry whose directory, if it is a layout, does not depend on the build context.
    fn absolute(&self, registry: &str) -> String {
        match registry.strip_prefix(LayoutReference::PREFIX) {
            Some(layout) if !layout.is_empty() => {
                let layout = self.directory.join(layout);
                format!("{}{}", LayoutReference::PREFIX, layout.display())
            }
            _ => registry.to_owned(),
        }
    }
}

fn located<T>(option: &str, value: T) -> Located<T> {
    Located { value, line: line(option) }
}

/// What a project of options has in the place of a configuration file.
const COMMAND_LINE: &str = "the command line";

/// Makes a project of one image, by the same rules as a `dockit.toml`.
///
/// Its root is the build context, so that the key is the same from whatever directory it is asked for.
///
/// # Errors
///
/// Everything that is wrong with the options; [`Problem::file`] is the option.
pub fn one_image(image: &OneImage, options: &LoadOptions<'_>) -> Result<Project, Problems> {
    let mut problems = Vec::new();
    let arguments = Arguments::read(image, options, &mut problems);
    let list = |option: &str, values: &[String]| {
        Some(values.iter().map(|value| located(option, value.clone())).collect())
    };
    let text = |option: &str, value: &Option<String>| {
        value.as_ref().map(|value| located(option, value.clone()))
    };
    let table = ImageTable {
        repository: Some(located("--repository", image.repository.clone())),
        dockerfile: Some(located("--dockerfile", image.dockerfile.clone())),
        context: text("--context", &image.context),
        target: text("--target", &image.target),
        platforms: list("--platform", &image.platforms),
        args: arguments.keyed,
        unkeyed_args: arguments.unkeyed,
        env_args: Some(arguments.from_environment),
        tags: list("--tag", &image.tags),
        ..ImageTable::default()
    };
    let name = match image.repository.split_once('/') {
        Some((_, below)) if names_a_host(&image.repository) => below,
        _ => &image.repository,
    };
    let project = ProjectTable {
        registry: text("--registry", &image.registry.as_ref().map(|it| image.absolute(it))),
        lockfile: text("--lockfile", &image.lockfile),
        ..ProjectTable::default()
    };
    let schema = ConfigFile {
        project,
        images: [(name.to_owned(), located("--repository", table))].into(),
        ..ConfigFile::default()
    };
    let nowhere = image.directory.join(COMMAND_LINE);
    let mut project = validate(&nowhere, schema, problems, options).map_err(by_option)?;
    let mut missing = Vec::new();
    for image in project.images.values_mut() {
        image.line = 0;
        image.unkeyed_env_args.clone_from(&arguments.unkeyed_names);
        project.root.clone_from(&image.context);
        let there = [
            ("--dockerfile", "Dockerfile", &image.dockerfile, image.dockerfile.is_file()),
            ("--context", "build context directory", &image.context, image.context.is_dir()),
        ];
        for (option, what, path, _) in there.into_iter().filter(|(.., there)| !there) {
            missing.push(problem(option, format!("there is no {what} {}", path.display())));
        }
    }
    project.config_file = PathBuf::from(COMMAND_LINE);
    project.from_options = true;
    project.in_memory = image.lockfile.is_none();
    if project.in_memory {
        // There is none.
        project.lockfile = project.root.join(LOCKFILE);
    }
    for warning in &mut project.warnings {
        place(warning);
        // What follows is about a file.
        if let Some(end) = warning.message.find("; if ") {
            warning.message.truncate(end);
        }
    }
    Problems::check(missing, project)
}

/// Build arguments by class.
#[derive(Default)]
struct Arguments {
    keyed: BTreeMap<String, Located<String>>,
    unkeyed: BTreeMap<String, Located<String>>,
    from_environment: Vec<Located<String>>,
    /// Also those that are given no value.
    unkeyed_names: BTreeSet<String>,
}

impl Arguments {
    fn read(image: &OneImage, options: &LoadOptions<'_>, problems: &mut Vec<Problem>) -> Self {
        const KEYED: &str = "--build-arg";
        const UNKEYED: &str = "--unkeyed-build-arg";
        let mut arguments = Self::default();
        for (name, value) in last_of_each(&image.build_args) {
            match value {
                Some(value) => {
                    arguments.keyed.insert(name.to_owned(), located(KEYED, value.to_owned()));
                }
                None => arguments.from_environment.push(located(KEYED, name.to_owned())),
            }
        }
        for (name, value) in last_of_each(&image.unkeyed_build_args) {
            if last_of_each(&image.build_args).contains_key(name) {
                let message = format!("argument {name:?} is also given with {KEYED}");
                problems.push(problem(UNKEYED, message));
                continue;
            }
            // What is given a value is checked with the rest, and who has none has no other place.
            if value.is_none() && !is_argument_name(name) {
                let message = format!("{name:?} cannot be the name of a build argument");
                problems.push(problem(UNKEYED, message));
                continue;
            }
            arguments.unkeyed_names.insert(name.to_owned());
            let value = match value {
                Some(value) => value.to_owned(),
                None => match options.environment.and_then(|lookup| lookup(name)) {
                    Some(value) => match value.into_string() {
                        Ok(value) => value,
                        Err(_) => {
                            let message =
                                format!("the value of {name} in the environment is not UTF-8");
                            problems.push(problem(UNKEYED, message));
                            continue;
                        }
                    },
                    None => continue,
                },
            };
            arguments.unkeyed.insert(name.to_owned(), located(UNKEYED, value));
        }
        arguments
    }
}

/// `NAME=VALUE` and `NAME` by name; of several for one name the last counts, as with `docker build`.
fn last_of_each(written: &[String]) -> BTreeMap<&str, Option<&str>> {
    let pairs = written.iter().map(|text| match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text.as_str(), None),
    });
    pairs.collect()
}

fn problem(option: &str, message: String) -> Problem {
    Problem { file: PathBuf::from(option), line: 0, message, suggestion: None }
}

fn by_option(Problems(mut problems): Problems) -> Problems {
    problems.iter_mut().for_each(place);
    for problem in &mut problems {
        // What follows is about a file.
        if let Some(end) = problem.message.find(": [project] has none") {
            problem.message.truncate(end);
            problem.message.push_str(", which only a dockit.toml names");
        }
    }
    let mut seen = BTreeSet::new();
    problems.retain(|problem| seen.insert((problem.file.clone(), problem.message.clone())));
    Problems(problems)
}

/// Names the option instead of its line.
fn place(problem: &mut Problem) {
    if let Some(option) = problem.line.checked_sub(1).and_then(|index| OPTIONS.get(index)) {
        problem.file = Path::new(option).to_owned();
        problem.line = 0;
    }
}
