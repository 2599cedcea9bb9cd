//! The story as two functions: what would be done, and doing it.
//!
//! An embedder that needs to stop between the steps calls them itself; these are what the `plan`
//! and `build` commands call.

mod backends;
mod chosen;
mod pins;
mod settled;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use dockit_registry::{Platform, Registry};
use tokio_util::sync::CancellationToken;

use self::chosen::Chosen;
use self::settled::Settled;
use crate::backend::{Engine, NamedBackend};
use crate::bases::{lockfile_to_read, missing_bases, resolve_bases};
use crate::ci::CiRun;
use crate::error::Error;
use crate::events::Observer;
use crate::execute::{
    Checks, ExecuteOptions, ImageReport, Publishing, Run, RunReport, Status, Unfinished,
};
use crate::graph::ImageGraph;
use crate::image_name::ImageName;
use crate::inputs::{Document, InputsStore};
use crate::key::{KeyOptions, Keys};
use crate::layer_cache::CacheSources;
use crate::lockfile::{LockedImage, Lockfile};
use crate::moving_tags::History;
use crate::pin::{PinError, Pins};
use crate::plan::{Action, Plan, Step};
use crate::prepare::prepare;
use crate::project::{Project, PushPolicy};
use crate::repositories::create_denied;
use crate::secrets::{self, SecretOptions};
use crate::source::{GitSource, Source};
use crate::wait::Wait;

/// What a person asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// [Names of images and globs](Project::select); none means all.
    pub images: Vec<String>,
    /// Only parts and images for these platforms; none means all. Indexes of which parts are absent
    /// then are left to the run that builds the last.
    pub platforms: BTreeSet<Platform>,
    /// Also select everything that depends on these images.
    pub with_dependents: bool,
    /// When to push; `None`: as the project says.
    pub push: Option<PushPolicy>,
    /// What kind of run this is.
    pub ci: CiRun,
    /// Build the selected images even if they are present.
    pub rebuild: bool,
    /// Build the selected images again, and everything that depends on them, and move the content
    /// tags to what is built.
    pub replace: bool,
    /// How many images are worked on at the same time.
    pub jobs: NonZeroUsize,
    /// Stop everything after the first failure.
    pub fail_fast: bool,
    /// Bring the selected images into the engine.
    pub load: bool,
    /// Record the selected images in the lockfile.
    pub pin: bool,
    /// Fail rather than change the lockfile.
    pub locked: bool,
    /// Move tags without placeholder whatever the branch, the work tree and the revision.
    pub force_tags: bool,
    /// Build and push nothing: a selected image that is absent is a failure.
    pub no_build: bool,
    /// With [`no_build`](Self::no_build): how long to wait for what is absent.
    pub wait: Option<Wait>,
    /// What keys are computed with.
    pub keys: KeyOptions,
    /// What secrets come from.
    pub secrets: SecretOptions,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            images: Vec::new(),
            platforms: BTreeSet::new(),
            with_dependents: false,
            push: None,
            ci: CiRun::default(),
            rebuild: false,
            replace: false,
            jobs: NonZeroUsize::new(2).expect("two is not zero"),
            fail_fast: false,
            load: false,
            pin: false,
            locked: false,
            force_tags: false,
            no_build: false,
            wait: None,
            keys: KeyOptions::default(),
            secrets: SecretOptions::default(),
        }
    }
}

/// The outside world that a run works with.
#[derive(Clone, Copy)]
pub struct Services<'a> {
    /// The registries.
    pub registry: &'a dyn Registry,
    /// The engine of this machine: what is loaded and tested is there.
    pub engine: &'a dyn Engine,
    /// What builds; at least one. In a run that does not push only the first that is an
    /// [engine](crate::backend::BuildBackend::engine) and configured for the platforms of all images of
    /// the run, which then takes the place of [`engine`](Self::engine) as well, and beside it what
    /// assembles images. One that is [optional](NamedBackend::optional) and does not answer is passed over
    /// where something assembles, whose own store keeps the images if no other engine does.
    pub backends: &'a [NamedBackend<'a>],
    /// Who is told what happens.
    pub observer: &'a dyn Observer,
}

/// A plan, and what it was made from.
#[derive(Debug)]
pub struct Planned {
    /// The images and their edges.
    pub graph: ImageGraph,
    /// The keys of everything in the plan.
    pub keys: Keys,
    /// What would be done.
    pub plan: Plan,
    /// Whether the run pushes.
    pub push: bool,
}

impl Planned {
    /// The name of the backend that is to build a step, where that does not depend on how busy they are.
    pub fn backend(&self, step: &Step, backends: &[NamedBackend<'_>]) -> Option<String> {
        let image = self.graph.node(&step.image)?.image();
        if step.action != Action::Build || image.is_index() {
            return None;
        }
        let runs = self.keys.get(&step.image)?.command.is_some();
        let suited = |named: &&NamedBackend<'_>| named.may_build(&image.platform);
        let assembles = |named: &&NamedBackend<'_>| !named.backend.runs_commands();
        let assembler = backends.iter().filter(suited).find(assembles).filter(|_| !runs);
        let mut engines = backends.iter().filter(suited).filter(|named| !assembles(named));
        let only = match (engines.next(), engines.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        };
        assembler.or(only).map(|named| named.name.to_owned())
    }
}

/// What would be done, and why. Writes nothing and runs nothing: what [`prepare`] makes has to be
/// there.
///
/// # Errors
///
/// As [`Error`] says; among them images from elsewhere that the lockfile does not hold, because a
/// plan resolves none, except for a project that keeps no lockfile.
pub async fn plan(
    project: &Project,
    request: &Request,
    services: &Services<'_>,
) -> Result<Planned, Error> {
    let graph = ImageGraph::new(project)?;
    let settled = Settled::new(project, &graph, request)?;
    let chosen = Chosen::new(&settled, &graph, services).await;
    let backends = chosen.backends();
    let services = &chosen.services(&backends);
    let cancel = CancellationToken::new();
    let sources = settled.sources(project, &cancel).await?;
    let selected = &settled.plan.selected;
    let lockfile = lockfile_to_read(project, &graph, selected, services.registry).await?;
    settled.plan(project, graph, &lockfile, services, &sources, &cancel).await
}

/// The engine, or what stands for one, that keeps what a run of this request does not push. It need not be
/// [this machine's](Services::engine).
///
/// # Errors
///
/// As [`plan`], for what is wrong with the request or the project.
pub async fn keeper<'a>(
    project: &Project,
    request: &Request,
    services: &Services<'a>,
) -> Result<&'a dyn Engine, Error> {
    let graph = ImageGraph::new(project)?;
    let settled = Settled::new(project, &graph, request)?;
    Ok(Chosen::new(&settled, &graph, services).await.engine())
}

/// [Prepares](prepare) the images, builds what is absent, and pushes it if the run pushes. Missing
/// entries of images from elsewhere are written to the lockfile before anything is built; with
/// `pin` the selected images' entries after everything was, and then references in files.
///
/// # Errors
///
/// As [`Error`] says, before anything was built. What goes wrong with a single image afterwards
/// stands in the report, and what goes wrong with recording it beside the report.
pub async fn build(
    project: &Project,
    request: &Request,
    services: &Services<'_>,
    cancel: &CancellationToken,
) -> Result<Built, Error> {
    let graph = ImageGraph::new(project)?;
    let settled = Settled::new(project, &graph, request)?;
    let configured = services;
    let chosen = Chosen::new(&settled, &graph, services).await;
    let backends = chosen.backends();
    let services = &chosen.services(&backends);
    let ran = prepare(project, &graph, &settled.plan.selected, services.observer, cancel).await?;
    let graph = if ran > 0 { ImageGraph::new(project)? } else { graph };
    let lockfile = Lockfile::of(project)?;
    let missing = missing_bases(&graph, &settled.plan.selected, &lockfile);
    let lockfile = if missing.is_empty() {
        lockfile
    } else if request.locked {
        let names: Vec<String> = missing.iter().map(|base| base.reference.to_string()).collect();
        return Err(Error::Locked(format!("it has no entry for {}", names.join(", "))));
    } else {
        let resolved = resolve_bases(&missing, &lockfile, services.registry).await?;
        if project.in_memory {
            let mut lockfile = lockfile;
            lockfile.lock_bases(&resolved);
            lockfile
        } else {
            Lockfile::edit(&project.lockfile, &project.state_directory(), |lockfile| {
                lockfile.lock_bases(&resolved);
            })?
        }
    };
    let mut sources = settled.sources(project, cancel).await?;
    let planned = match settled.plan(project, graph, &lockfile, services, &sources, cancel).await {
        Err(Error::Lookup(errors))
            if settled.push
                && create_denied(services.registry, project, &errors, services.observer)
                    .await? =>
        {
            let graph = ImageGraph::new(project)?;
            settled.plan(project, graph, &lockfile, services, &sources, cancel).await?
        }
        planned => planned?,
    };
    // What is recorded of several platforms is their index.
    let to_record: BTreeSet<ImageName> =
        settled.plan.selected.iter().filter(|name| !name.is_part()).cloned().collect();
    if request.pin && request.locked {
        refuse_other_keys(&planned, &to_record, &lockfile)?;
    }
    backends::check(&planned, services, configured, request.load).await?;
    pins::check(project, request, &planned.graph, &lockfile, services, cancel).await?;
    let documents = documents(project, &planned.keys);
    let published = published(project, &documents);
    let builds = planned.plan.steps.iter().any(|step| step.action == Action::Build);
    // A run that looks nothing up does not look for layers either.
    let takes_layers = builds && !settled.plan.push_never;
    let publishes = |name: &ImageName| project.images[name].is_pushed(planned.push);
    let publishes = planned.plan.steps.iter().any(|step| publishes(&step.image));
    if builds && (publishes || takes_layers) && sources.source.is_none() {
        sources.source = Some(Source::of(&project.root, cancel).await);
    }
    let source = sources.source.as_ref().and_then(Source::git);
    let revision = source.and_then(GitSource::clean_commit);
    let built: Vec<&ImageName> = planned
        .plan
        .steps
        .iter()
        .filter(|step| step.action == Action::Build)
        .map(|step| &step.image)
        .collect();
    let (observer, options) = (services.observer, &request.secrets);
    let secrets = secrets::get(project, &planned.keys, &built, options, observer, cancel).await?;
    let state = project.state_directory();
    let unfinished = Unfinished::new(project);
    let cache = match &sources.source {
        Some(source) if takes_layers => {
            CacheSources::of(project, &lockfile, &settled.facts(source))
        }
        _ => CacheSources::default(),
    };
    let run = Run {
        graph: &planned.graph,
        keys: &planned.keys,
        registry: services.registry,
        engine: services.engine,
        backends: services.backends,
        registries: &project.registries,
        observer: services.observer,
        checks: Some(Checks {
            root: &project.root,
            state: &state,
            tests: &project.tests,
            unfinished: &unfinished,
        }),
        secrets: &secrets,
        cache: &cache,
        publishing: Some(Publishing { documents: &published, revision, unfinished: &unfinished }),
        history: History { source, cancel },
        options: ExecuteOptions {
            push: planned.push,
            jobs: request.jobs,
            fail_fast: request.fail_fast,
            load: request.load,
            pin: request.pin,
        },
    };
    let report = run.execute(&planned.plan, cancel).await;
    secrets.end().await;
    keep_inputs(project, &documents, &report);
    let recorded = if request.pin && report.succeeded() {
        record(project, request, &report, &to_record)
    } else {
        Ok(())
    };
    let pins = match &recorded {
        Ok(()) if report.succeeded() => {
            pins::write(project, request, &planned.graph, services, cancel).await
        }
        _ => None,
    };
    Ok(Built { report, recorded, pins })
}

/// What the keys were computed from, by image, with all values of arguments.
fn documents(project: &Project, keys: &Keys) -> BTreeMap<ImageName, Document> {
    keys.iter()
        .map(|(name, keyed)| (name.clone(), Document::of(project, &project.images[name], keyed)))
        .collect()
}

/// As much of it as is published with the images.
fn published(
    project: &Project,
    documents: &BTreeMap<ImageName, Document>,
) -> BTreeMap<ImageName, Document> {
    documents
        .iter()
        .filter(|(name, _)| project.images[*name].publish_inputs)
        .map(|(name, document)| {
            (name.clone(), document.published(&project.images[name].publish_args))
        })
        .collect()
}

/// Keeps what the images were made from that now are there, and what those were made from that they
/// depend on, so that `why` can compare with it later.
fn keep_inputs(project: &Project, documents: &BTreeMap<ImageName, Document>, report: &RunReport) {
    let ended = |image: &ImageReport| match image.status {
        Status::Built | Status::Reused | Status::Retagged => Some(true),
        Status::Skipped if image.error.is_none() => Some(false),
        _ => None,
    };
    let (mut kept, mut last) = (Vec::new(), Vec::new());
    for image in &report.images {
        let Some(there) = ended(image) else {
            continue;
        };
        let document = documents.get(&image.image);
        let shown = &project.images[&image.image].publish_args;
        kept.extend(document.map(|document| document.without_secrets(shown)));
        if there {
            last.push(&image.image);
        }
    }
    InputsStore::new(project).keep(&kept, &last);
}

/// What a run did.
#[derive(Debug)]
pub struct Built {
    /// How each image ended.
    pub report: RunReport,
    /// Whether the images were recorded, if that was asked for and all of them ended well.
    pub recorded: Result<(), Error>,
    /// What became of the references in files, if they were to be made true and everything was recorded.
    pub pins: Option<Result<Pins, PinError>>,
}

/// With `locked`, other keys are known before anything is built.
fn refuse_other_keys(
    planned: &Planned,
    selected: &BTreeSet<ImageName>,
    lockfile: &Lockfile,
) -> Result<(), Error> {
    let other: Vec<&str> = selected
        .iter()
        .filter(|name| {
            let locked = lockfile.image(name).map(|image| image.key);
            locked != planned.keys.key(name)
        })
        .map(ImageName::as_str)
        .collect();
    if other.is_empty() {
        return Ok(());
    }
    Err(Error::Locked(format!("it has no entry or another key for {}", other.join(", "))))
}

fn record(
    project: &Project,
    request: &Request,
    report: &RunReport,
    selected: &BTreeSet<ImageName>,
) -> Result<(), Error> {
    if request.locked {
        let lockfile = Lockfile::load(&project.lockfile)?;
        let mut updated = lockfile.clone();
        updated.update(report, selected);
        if updated != lockfile {
            return Err(Error::Locked("images have other digests".to_owned()));
        }
        return Ok(());
    }
    Lockfile::edit(&project.lockfile, &project.state_directory(), |lockfile| {
        lockfile.update(report, selected);
    })?;
    Ok(())
}

impl Lockfile {
    /// Records the selected images of a run, each with the digest that its content tag is on.
    pub fn update(&mut self, report: &RunReport, selected: &BTreeSet<ImageName>) {
        for image in report.images.iter().filter(|image| selected.contains(&image.image)) {
            if let Some(digest) = &image.digest {
                let reference = image.reference.with_digest(digest.clone());
                self.update_image(image.image.clone(), LockedImage { key: image.key, reference });
            }
        }
    }
}
