//! From a project to its keys.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use dockit_hashing::content_hash::ContentHash;
use dockit_hashing::context::{Listing, Selection};
use dockit_hashing::dockerfile::{ContextInputs, DockerfileError, ImageConfig};

use super::contexts::{Contexts, stat_cache};
use super::epochs;
use super::error::KeysError;
use super::extra::ExtraInputs;
use super::index::KeyedIndex;
use super::inputs::{
    DeclaredValue, ExtraInput, Files, ImageUseInput, KeyInputs, KeyedArg, NeedInput,
};
use super::keyed::{FirstCommand, KeyedImage, Keys};
use super::uses::{base_config, has_triggers, pin_uses};
use super::warning::KeyWarning;
use crate::config::Problem;
use crate::epoch::Epoch;
use crate::graph::{ImageGraph, Node};
use crate::image_name::ImageName;
use crate::lockfile::Lockfile;
use crate::prepare;
use crate::project::{Image, Project};

/// What keys are computed with besides the project.
#[derive(Clone, Debug)]
pub struct KeyOptions {
    /// The day (UTC) that decides an epoch which the lockfile does not record.
    pub today: time::Date,
    /// An absolute directory for hashes of files that have not changed since; none keeps nothing. One
    /// that lies in a build context is not used.
    pub stat_cache: Option<PathBuf>,
}

impl Default for KeyOptions {
    fn default() -> Self {
        Self { today: time::OffsetDateTime::now_utc().date(), stat_cache: None }
    }
}

/// Computes the keys of `names` and of everything they depend on.
///
/// Reads the build contexts and what else the configuration names as input, and nothing else. Runs
/// nothing: what `prepare` makes has to be there.
///
/// # Errors
///
/// See [`KeysError`].
pub fn compute_keys(
    project: &Project,
    graph: &ImageGraph,
    names: &BTreeSet<ImageName>,
    lockfile: &Lockfile,
    options: &KeyOptions,
) -> Result<Keys, KeysError> {
    let mut keys = Keys::default();
    let stat_cache = stat_cache(project, options);
    let mut contexts = Contexts::new(project, stat_cache.clone());
    let mut configs = BTreeMap::new();
    let mut extra_inputs = ExtraInputs::new(project, stat_cache);
    let mut failed = KeysError::default();
    let mut unknown: BTreeSet<&ImageName> = BTreeSet::new();
    for node in graph.with_dependencies(names) {
        let image = node.image();
        let name = &image.name;
        if image.is_index() {
            match KeyedIndex::of(image, &keys) {
                Some(index) => drop(keys.indexes.insert(name.clone(), index)),
                None => drop(unknown.insert(name)),
            }
            continue;
        }
        let uses = pin_uses(node, &keys, lockfile, &mut failed);
        let complete = !node.dependencies().iter().any(|dependency| unknown.contains(*dependency));
        let uses = uses.filter(|_| complete);
        // Which files a build reads is known once all that it is based on is.
        let read = uses.as_ref().and_then(|_| read(node, &configs, lockfile, &mut failed));
        let selection = read.as_ref().map(|(read, _)| read.selection());
        let own =
            own_inputs(project, node, selection, &mut contexts, &mut extra_inputs, &mut failed);
        let (Some(uses), Some((read, config)), Some(own)) = (uses, read, own) else {
            unknown.insert(name);
            continue;
        };
        let bases = |index: usize| base_config(node, index, &configs, lockfile);
        let command = node.resolved().first_command(&bases);
        let command = command.map(|(line, text)| FirstCommand { line, text });
        configs.insert(name, config);
        let epoch = epochs::epoch(image, lockfile, options.today, &mut keys.warnings);
        let triggers = has_triggers(graph, node, lockfile);
        let keyed = key_image(node, &keys, uses, own, &read, epoch, triggers);
        let keyed = KeyedImage { command, ..keyed };
        if !keyed.undeclared_args.is_empty() {
            let warning = KeyWarning::UndeclaredArguments {
                image: image.declared_name().clone(),
                arguments: keyed.undeclared_args.clone(),
            };
            // Of several platforms it is told once.
            if !keys.warnings.contains(&warning) {
                keys.warnings.push(warning);
            }
        }
        keys.images.insert(name.clone(), keyed);
    }
    if unknown.is_empty() { Ok(keys) } else { Err(failed) }
}

/// What an image's build reads of its context, and what builds on top of the image take over from it;
/// `None` where that cannot be told, which is then recorded.
fn read(
    node: &Node,
    configs: &BTreeMap<&ImageName, ImageConfig>,
    lockfile: &Lockfile,
    failed: &mut KeysError,
) -> Option<(ContextInputs, ImageConfig)> {
    let bases = |index: usize| base_config(node, index, configs, lockfile);
    inputs_and_config(node, &bases).map_err(|error| failed.problems.push(node.problem(&error))).ok()
}

/// What an image's build reads of its context, and what builds on top of the image take over from it.
pub(super) fn inputs_and_config(
    node: &Node,
    bases: &dyn Fn(usize) -> Option<ImageConfig>,
) -> Result<(ContextInputs, ImageConfig), DockerfileError> {
    // What only this run says must decide nothing: an image that is found was built by another.
    let resolved = node.resolved().hide(node.image().unkeyed_names().into_iter().cloned());
    resolved.inputs_and_config(bases)
}

/// What an image reads by itself.
struct OwnInputs {
    context: Arc<Listing>,
    declared: Option<Vec<DeclaredValue>>,
    extra: Vec<ExtraInput>,
}

/// Everything that an image reads by itself; `None` where something is missing, which is then
/// recorded.
fn own_inputs(
    project: &Project,
    node: &Node,
    selection: Option<Selection>,
    contexts: &mut Contexts<'_>,
    extra_inputs: &mut ExtraInputs<'_>,
    failed: &mut KeysError,
) -> Option<OwnInputs> {
    let image = node.image();
    let missing = prepare::missing_outputs(project, image);
    if !missing.is_empty() {
        // What else is missing may come with it.
        failed.unprepared.extend(missing);
        return None;
    }
    let context = selection.and_then(|selection| {
        contexts
            .listing(image, selection)
            .map_err(|error| failed.contexts.push((image.name.clone(), error)))
            .ok()
    });
    let mut unless_problems = |problems| failed.problems.extend::<Vec<Problem>>(problems);
    let declared = declared_values(project, image).map_err(&mut unless_problems).ok();
    let extra = extra_inputs.of(image).map_err(&mut unless_problems).ok();
    Some(OwnInputs { context: context?, declared: declared?, extra: extra? })
}

/// The values of the declared key; `None` where the image has none.
fn declared_values(
    project: &Project,
    image: &Image,
) -> Result<Option<Vec<DeclaredValue>>, Vec<Problem>> {
    let (mut values, mut problems) = (Vec::new(), Vec::new());
    for source in &image.declared_key {
        let name = source.name().to_owned();
        match source.value() {
            Ok(value) => values.push(DeclaredValue { name, value }),
            Err(error) => problems.push(Problem {
                file: project.config_file.clone(),
                line: source.file().line(),
                message: format!("declared key {name:?}: {error}"),
                suggestion: None,
            }),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok((!values.is_empty()).then_some(values))
}

fn key_image(
    node: &Node,
    keys: &Keys,
    uses: Vec<ImageUseInput>,
    own: OwnInputs,
    read: &ContextInputs,
    epoch: Option<Epoch>,
    triggers: bool,
) -> KeyedImage {
    let OwnInputs { context, declared, extra } = own;
    let image = node.image();
    let resolved = node.resolved();
    let mut args: Vec<KeyedArg> =
        node.keyed_args().into_iter().map(|(name, value)| KeyedArg::new(name, value)).collect();
    if triggers {
        // A trigger may declare any of them.
        let missing = node
            .trigger_args()
            .into_iter()
            .filter(|(name, _)| !args.iter().any(|known| known.name == *name))
            .map(|(name, value)| KeyedArg::new(name, value));
        let missing: Vec<_> = missing.collect();
        args.extend(missing);
        args.sort();
    }
    let needs = image
        .needs
        .iter()
        .filter_map(|name| Some(NeedInput { name: name.clone(), key: keys.get(name)?.key }));
    let inputs = KeyInputs {
        platform: image.platform.clone(),
        program: resolved.program(),
        args,
        uses,
        needs: needs.collect(),
        // What reads the root reads the archive's own Dockerfile, comments and all.
        dockerfile: (context.reads_dockerfile() && declared.is_none())
            .then(|| ContentHash::of(resolved.source())),
        files: match declared {
            Some(values) => Files::Declared(values),
            None => Files::Listed(context.clone()),
        },
        extra,
        epoch: epoch.map(|epoch| epoch.to_string()),
        options: image.options.keyed(),
    };
    // With a declared key no file of the context counts, wherever it lies.
    let whole_context = match inputs.files {
        Files::Listed(_) => read.whole_context().to_vec(),
        Files::Declared(_) => Vec::new(),
    };
    // What a trigger declares is not known here, and what is said for all images need not be of use to
    // each.
    let mut undeclared_args = if triggers { Vec::new() } else { node.undeclared_args() };
    undeclared_args.retain(|name| !image.common_args.contains(name));
    let dependencies = node.dependencies();
    let expires = dependencies
        .iter()
        .filter_map(|name| keys.get(name)?.expires)
        .chain(epoch.map(Epoch::expires))
        .min();
    KeyedImage {
        key: inputs.key(),
        inputs,
        context,
        whole_context,
        secret_mounts: read.secret_mounts().to_vec(),
        command: None,
        args: node.build_args(),
        undeclared_args,
        expires,
    }
}
