//! Build arguments: what their values are, and which of them reach a build.

use std::collections::{BTreeMap, BTreeSet};

use super::environment::Environment;
use super::error::{DockerfileError, DockerfileErrorKind};
use super::expand::{Expansion, Variable, expand};
use super::instruction::{Arguments, Instruction};
use super::keyword::Keyword;
use super::resolve::ResolveOptions;
use super::stages::Stages;

/// The arguments that `FROM` sees: the platform's, and those declared before the first `FROM`.
#[derive(Clone, Debug)]
pub(super) struct GlobalScope {
    values: BTreeMap<String, String>,
    /// Every name that exists here, with or without value.
    names: BTreeSet<String>,
    /// For each default, the names that its value was computed from, directly or not.
    origins: BTreeMap<String, BTreeSet<String>>,
}

impl GlobalScope {
    /// Arguments given by the caller win over defaults, and these over the platform's.
    pub(super) fn new(
        stages: &Stages,
        platform: &BTreeMap<String, String>,
        given: &BTreeMap<String, String>,
    ) -> Result<Self, DockerfileError> {
        let values: BTreeMap<_, _> = platform
            .iter()
            .map(|(name, value)| (name.clone(), given.get(name).unwrap_or(value).clone()))
            .collect();
        let names = values.keys().cloned().collect();
        let mut scope = Self { values, names, origins: BTreeMap::new() };
        for instruction in &stages.global {
            let Arguments::Declarations(declarations) = &instruction.arguments else {
                continue;
            };
            for (name, default) in declarations {
                scope.names.insert(name.clone());
                let value = match (given.get(name), default) {
                    (Some(given), _) => given.clone(),
                    (None, Some(default)) => {
                        let (value, mut names) =
                            scope.expand(default, instruction.escape, instruction.line)?;
                        let further = names.iter().filter_map(|name| scope.origins.get(name));
                        let further: BTreeSet<String> = further.flatten().cloned().collect();
                        names.extend(further);
                        scope.origins.insert(name.clone(), names);
                        value
                    }
                    (None, None) => continue,
                };
                scope.values.insert(name.clone(), value);
            }
        }
        Ok(scope)
    }

    /// Expands a text, and says which of its variables exist here.
    pub(super) fn expand(
        &self,
        text: &str,
        escape: char,
        line: u32,
    ) -> Result<(String, BTreeSet<String>), DockerfileError> {
        let expansion = expand_at(text, escape, line, &|name| {
            self.get(name).map_or(Variable::Unset, Variable::Set)
        })?;
        let names = expansion.names.into_iter().filter(|name| self.names.contains(name)).collect();
        Ok((expansion.value.unwrap_or_default(), names))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All that have a value.
    pub(super) fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// Whether the value was computed from one of these.
    fn comes_from(&self, name: &str, others: &BTreeSet<String>) -> bool {
        self.origins.get(name).is_some_and(|origins| !origins.is_disjoint(others))
    }
}

fn expand_at<'v>(
    text: &str,
    escape: char,
    line: u32,
    variables: &'v dyn Fn(&str) -> Variable<'v>,
) -> Result<Expansion, DockerfileError> {
    expand(text, escape, variables).map_err(|message| {
        DockerfileError::new(
            line,
            DockerfileErrorKind::Expansion { message, text: text.to_owned() },
        )
    })
}

/// `TARGETSTAGE` and what the caller says of the platform.
pub(super) fn platform_scope(
    stages: &Stages,
    options: &ResolveOptions<'_>,
) -> BTreeMap<String, String> {
    let last = stages.stages.last().and_then(|stage| stage.from.name.as_deref());
    let selected = options.target.filter(|target| !target.is_empty());
    let mut platform = options.platform_args.clone();
    let stage = selected.or(last).unwrap_or("default");
    platform.insert("TARGETSTAGE".to_owned(), stage.to_owned());
    platform
}

/// Collects the values of arguments in the order in which a build meets them.
#[derive(Debug)]
pub(super) struct Collector<'s> {
    globals: &'s GlobalScope,
    given: &'s BTreeMap<String, String>,
    /// Arguments whose values count as not known.
    hidden: BTreeSet<String>,
    found: Vec<(String, Option<String>)>,
}

impl<'s> Collector<'s> {
    pub(super) fn new(globals: &'s GlobalScope, given: &'s BTreeMap<String, String>) -> Self {
        Self { globals, given, hidden: BTreeSet::new(), found: Vec::new() }
    }

    /// Takes these arguments for not known, and so all that is computed from them.
    pub(super) fn hiding(mut self, hidden: &BTreeSet<String>) -> Self {
        self.hidden.clone_from(hidden);
        self
    }

    /// Notes arguments that a `FROM` uses.
    pub(super) fn use_globals<'n>(&mut self, names: impl IntoIterator<Item = &'n String>) {
        for name in names {
            self.found.push((name.clone(), self.globals.get(name).map(str::to_owned)));
        }
    }

    /// Follows `ARG` and `ENV`; other instructions change no variable.
    pub(super) fn follow(
        &mut self,
        instruction: &Instruction,
        environment: &mut Environment,
    ) -> Result<(), DockerfileError> {
        let Instruction { keyword, line, escape, .. } = *instruction;
        match &instruction.arguments {
            Arguments::Declarations(declarations) => {
                for (name, default) in declarations {
                    let value = match (self.given.get(name), default) {
                        (Some(_), _) if self.hidden.contains(name) => Some(None),
                        (None, None) if self.globals.comes_from(name, &self.hidden) => Some(None),
                        (Some(given), _) => Some(Some(given.clone())),
                        (None, Some(default)) => {
                            let variables = |name: &str| environment.get(name);
                            Some(expand_at(default, escape, line, &variables)?.value)
                        }
                        (None, None) => self.globals.get(name).map(|value| Some(value.to_owned())),
                    };
                    self.found.push((name.clone(), value.clone().flatten()));
                    if let Some(value) = value {
                        environment.set_arg(name, value);
                    }
                }
            }
            Arguments::Pairs(pairs) if keyword == Keyword::Env => {
                // All of them see the variables as they were before the instruction.
                let before = environment.clone();
                let variables = |name: &str| before.get(name);
                for (name, value) in pairs {
                    let name = expand_at(name, escape, line, &variables)?.value;
                    let value = expand_at(value, escape, line, &variables)?.value;
                    match name {
                        Some(name) => environment.set_env(name, value),
                        None => environment.forget(),
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The arguments that were met, with their values, in order.
    pub(super) fn into_found(self) -> Vec<(String, Option<String>)> {
        self.found
    }

    /// The arguments that reach the build.
    pub(super) fn finish(mut self, platform: &BTreeMap<String, String>) -> ReachingArguments {
        for (name, value) in self.given {
            let declared = self.found.iter().any(|(found, _)| found == name);
            if !declared && changes_the_builder(name) {
                self.found.push((name.clone(), Some(value.clone())));
            }
        }
        // Stable: the values of one name stay in their order.
        self.found.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut args = Vec::new();
        let mut passed = Vec::new();
        for same_name in self.found.chunk_by(|(one, _), (other, _)| one == other) {
            let (name, value) = &same_name[0];
            let uniform = same_name.iter().all(|(_, other)| other == value);
            args.extend_from_slice(if uniform { &same_name[..1] } else { same_name });
            match (self.given.get(name), platform.get(name)) {
                (Some(given), _) => passed.push((name.clone(), given.clone())),
                (None, Some(platform)) if uniform && value.as_ref() == Some(platform) => {
                    passed.push((name.clone(), platform.clone()));
                }
                _ => {}
            }
        }
        let reaches = |name: &String| args.iter().any(|(found, _)| found == name);
        let undeclared = self.given.keys().filter(|name| !reaches(name) && !is_proxy(name));
        let undeclared = undeclared.cloned().collect();
        let proxies = self.given.iter().filter(|(name, _)| !reaches(name) && is_proxy(name));
        passed.extend(proxies.map(|(name, value)| (name.clone(), value.clone())));
        passed.sort();
        ReachingArguments { args, passed, undeclared }
    }
}

/// What [`Collector`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReachingArguments {
    /// Sorted by name.
    pub(super) args: Vec<(String, Option<String>)>,
    /// What the builder must be told, sorted by name.
    pub(super) passed: Vec<(String, String)>,
    /// Given, but without effect.
    pub(super) undeclared: Vec<String>,
}

/// Arguments that `RUN` sees without declaration, and that BuildKit keeps out of its own keys.
fn is_proxy(name: &str) -> bool {
    ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"]
        .iter()
        .any(|proxy| name.eq_ignore_ascii_case(proxy))
}

/// Arguments that the builder obeys without declaration.
fn changes_the_builder(name: &str) -> bool {
    name == "SOURCE_DATE_EPOCH" || name.starts_with("BUILDKIT_")
}
