//! The story as two functions: what would be done, and doing it.
//!
//! An embedder that needs to stop between the steps calls them itself; these are what the `plan`
//! and `build` commands call.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use dockit_registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::backend::BuildBackend;
use crate::bases::{missing_bases, resolve_bases};
use crate::ci::CiRun;
use crate::error::Error;
use crate::events::{Event, Observer};
use crate::execute::{ExecuteOptions, ImageReport, Publishing, Run, RunReport, Status};
use crate::graph::ImageGraph;
use crate::image_name::ImageName;
use crate::inputs::{Document, InputsStore};
use crate::key::{KeyOptions, Keys, compute_keys};
use crate::lockfile::{LockedImage, Lockfile};
use crate::lookup::{LookupError, LookupErrors, LookupOptions, look_up};
use crate::plan::{Action, Plan, PlanOptions};
use crate::prepare::prepare;
use crate::project::{Project, PushPolicy};
use crate::repositories::create_denied;
use crate::revision::clean_revision;

/// What a person asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Names of images; none means all.
    pub images: Vec<String>,
    /// When to push; `None`: as the project says.
    pub push: Option<PushPolicy>,
    /// What kind of run this is.
    pub ci: CiRun,
    /// Build the selected images even if they are present.
    pub rebuild: bool,
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
    /// What keys are computed with.
    pub keys: KeyOptions,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            images: Vec::new(),
            push: None,
            ci: CiRun::default(),
            rebuild: false,
            jobs: NonZeroUsize::new(2).expect("two is not zero"),
            fail_fast: false,
            load: false,
            pin: false,
            locked: false,
            keys: KeyOptions::default(),
        }
    }
}

/// The outside world that a run works with.
#[derive(Clone, Copy)]
pub struct Services<'a> {
    /// The registries.
    pub registry: &'a dyn Registry,
    /// The engine.
    pub engine: &'a dyn BuildBackend,
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

/// What would be done, and why. Writes nothing and runs nothing: what [`prepare`] makes has to be
/// there.
///
/// # Errors
///
/// As [`Error`] says; among them images from elsewhere that the lockfile does not hold, because a
/// plan resolves none.
pub async fn plan(
    project: &Project,
    request: &Request,
    services: &Services<'_>,
) -> Result<Planned, Error> {
    let graph = ImageGraph::new(project)?;
    let settled = Settled::new(project, &graph, request)?;
    let lockfile = Lockfile::load(&project.lockfile)?;
    settled.plan(project, graph, &lockfile, services).await
}

/// [Prepares](prepare) the images, builds what is absent, and pushes it if the run pushes. Missing entries of images from elsewhere
/// are written to the lockfile before anything is built; with `pin` the selected images' entries
/// after everything was.
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
    let ran = prepare(project, &graph, &settled.plan.selected, services.observer, cancel).await?;
    let graph = if ran > 0 { ImageGraph::new(project)? } else { graph };
    let lockfile = Lockfile::load(&project.lockfile)?;
    let missing = missing_bases(&graph, &settled.plan.selected, &lockfile);
    let lockfile = if missing.is_empty() {
        lockfile
    } else if request.locked {
        let names: Vec<String> = missing.iter().map(|base| base.reference.to_string()).collect();
        return Err(Error::Locked(format!("it has no entry for {}", names.join(", "))));
    } else {
        let resolved = resolve_bases(&missing, &lockfile, services.registry).await?;
        Lockfile::edit(&project.lockfile, &project.state_directory(), |lockfile| {
            lockfile.lock_bases(&resolved);
        })?
    };
    let planned = match settled.plan(project, graph, &lockfile, services).await {
        Err(Error::Lookup(errors))
            if settled.push
                && create_denied(services.registry, project, &errors, services.observer)
                    .await? =>
        {
            let graph = ImageGraph::new(project)?;
            settled.plan(project, graph, &lockfile, services).await?
        }
        planned => planned?,
    };
    if request.pin && request.locked {
        refuse_other_keys(&planned, &settled.plan.selected, &lockfile)?;
    }
    let documents = documents(project, &planned.keys);
    let published = published(project, &documents);
    let builds = planned.plan.steps.iter().any(|step| step.action == Action::Build);
    let revision =
        if planned.push && builds { clean_revision(&project.root, cancel).await } else { None };
    let run = Run {
        graph: &planned.graph,
        keys: &planned.keys,
        registry: services.registry,
        engine: services.engine,
        registries: &project.registries,
        observer: services.observer,
        publishing: Some(Publishing { documents: &published, revision: revision.as_deref() }),
        options: ExecuteOptions {
            push: planned.push,
            jobs: request.jobs,
            fail_fast: request.fail_fast,
            load: request.load,
        },
    };
    let report = run.execute(&planned.plan, cancel).await;
    keep_inputs(project, &documents, &report);
    let recorded = if request.pin && report.succeeded() {
        record(project, request, &report, &settled.plan.selected)
    } else {
        Ok(())
    };
    Ok(Built { report, recorded })
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
            locked != planned.keys.get(name).map(|keyed| keyed.key)
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

/// A request after its options were checked against the project.
struct Settled {
    plan: PlanOptions,
    push: bool,
    keys: KeyOptions,
}

impl Settled {
    fn new(project: &Project, graph: &ImageGraph, request: &Request) -> Result<Self, Error> {
        let selected = graph.select(&request.images)?;
        let policy = request.push.unwrap_or(project.push);
        let homeless: Vec<&str> = selected
            .iter()
            .filter(|name| !project.images[*name].has_registry)
            .map(ImageName::as_str)
            .collect();
        let push = match policy {
            PushPolicy::Never => false,
            PushPolicy::Always if !homeless.is_empty() => {
                return Err(Error::Usage(format!(
                    "nowhere to push {}: the project has no registry",
                    homeless.join(", ")
                )));
            }
            PushPolicy::Always => true,
            PushPolicy::Auto => request.ci.ci && !request.ci.pull_request,
        };
        if request.pin && !(push && homeless.is_empty()) {
            return Err(Error::Usage(
                "only pushed images can be pinned: pin together with a push".to_owned(),
            ));
        }
        let plan = PlanOptions {
            selected,
            rebuild: request.rebuild,
            push_never: policy == PushPolicy::Never,
        };
        Ok(Self { plan, push, keys: request.keys.clone() })
    }

    async fn plan(
        &self,
        project: &Project,
        graph: ImageGraph,
        lockfile: &Lockfile,
        services: &Services<'_>,
    ) -> Result<Planned, Error> {
        let keys = compute_keys(project, &graph, &self.plan.selected, lockfile, &self.keys)?;
        for warning in keys.warnings() {
            services.observer.event(Event::KeyWarning(warning.clone()));
        }
        let options = LookupOptions {
            registry: services.registry,
            engine: Some(services.engine),
            for_push: self.push,
        };
        let lookups = look_up(&graph, &self.plan.to_look_up(&graph), &keys, &options)
            .await
            .map_err(lookup_error)?;
        let plan = Plan::decide(&graph, &keys, &lookups, &self.plan);
        Ok(Planned { graph, keys, plan, push: self.push })
    }
}

/// An engine that is not there is no registry's fault.
fn lookup_error(errors: LookupErrors) -> Error {
    let mut failures = Vec::new();
    for (image, error) in errors.failures {
        match error {
            LookupError::Engine(error) => return Error::Backend(error),
            error @ LookupError::Registry(_) => failures.push((image, error)),
        }
    }
    Error::Lookup(LookupErrors { failures })
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
