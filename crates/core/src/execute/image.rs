//! The work for one image.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use dockit_hashing::dockerfile::ImageUse;
use dockit_registry::{Credential, Digest, Reference, RegistryHost};

use super::checks::{self, Gate, Subject};
use super::publish::{self, BuildTime, Published};
use super::report::{ImageError, ImageErrorKind, ImageReport, Skipped, Status};
use super::{Run, cache, index, load, push, replace};
use crate::backend::{
    BASES_LABEL, BackendError, BackendErrorKind, BuildEvent, BuildObserver, BuildRequest, Built,
    Engine, KEY_LABEL, LocalImage, NamedBackend,
};
use crate::check::CheckResult;
use crate::events::{Event, Observer};
use crate::graph::Node;
use crate::image_name::ImageName;
use crate::key::{ImageUseInput, KeyedImage};
use crate::plan::{Absence, Action, Plan, Reason, Step};
use crate::pull;

/// How the work for an image ended well.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: Status,
    pub(super) digest: Option<Digest>,
    pub(super) pushed: bool,
    /// What the content tag was moved away from.
    pub(super) replaced: Option<Digest>,
    /// How the Dockerfiles of dependents name the image.
    pub(super) source: Option<Reference>,
    /// The tests that ran on it; whoever called [`work`] fills them in, however it ended.
    pub(super) tests: Vec<CheckResult>,
    /// Why an index was not put together.
    pub(super) skipped: Option<Skipped>,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            status: Status::Skipped,
            digest: None,
            pushed: false,
            replaced: None,
            source: None,
            tests: Vec::new(),
            skipped: None,
        }
    }
}

/// What is known of the work for an image however it ends.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The tests that ran on it.
    pub(super) tests: Vec<CheckResult>,
    /// Whether it is there for others: what goes wrong afterwards is no reason to build it again.
    pub(super) there: bool,
}

/// What the work for an image goes by.
pub(super) struct Before<'a> {
    pub(super) plan: &'a Plan,
    /// The names of the dependencies, which are done.
    pub(super) references: &'a BTreeMap<ImageName, Reference>,
    /// How another image with this key and repository ended well.
    pub(super) same: Option<&'a ImageReport>,
}

/// Does one step. What is built is built by `backend`. `gates` must pass before what is built has its
/// content tag; `done` gets how far it came.
pub(super) async fn work(
    run: &Run<'_>,
    backend: NamedBackend<'_>,
    step: &Step,
    before: &Before<'_>,
    gates: &[Gate<'_>],
    done: &mut Done,
) -> Result<Outcome, ImageError> {
    let Before { plan, references, same } = *before;
    let node = run.graph.node(&step.image).expect("the plan was made from this graph");
    let outcome = match &step.action {
        Action::Skip => {
            let skipped = (step.reason == Reason::NotPushed).then_some(Skipped::NotPushed);
            return Ok(Outcome { skipped, ..Outcome::default() });
        }
        Action::Miss => {
            let message = step.reason.absence(step);
            let kind = match step.reason {
                Reason::Missing(Absence::OnlyHere { .. }) => ImageErrorKind::OnlyHere,
                _ => ImageErrorKind::Absent,
            };
            return Err(ImageError { kind, message });
        }
        // Its tags move when every image has ended.
        Action::Reuse | Action::Retag(_) => {
            publish::finish_inputs(run, step).await;
            present(step, Status::Reused)
        }
        Action::Build => match same {
            Some(same) => reuse(step, same),
            None if node.image().is_index() => index::put_together(run, step, references).await?,
            None => build(run, backend, step, references, gates, &mut done.tests)
                .await
                .map_err(|error| without_secrets(run, error))?,
        },
    };
    done.there = true;
    let built_here = outcome.status == Status::Built && load::is_here(run, backend);
    if node.image().is_index() {
        // Of one that this run puts together, the parts are loaded.
        if run.options.load
            && step.selected
            && step.action != Action::Build
            && let Some(digest) = &outcome.digest
        {
            load::index(run, plan, step, digest).await?;
        }
    } else if run.options.load && step.selected {
        load::image(run, plan, step, &outcome, built_here).await?;
    } else if step.reason == Reason::InEngine
        || built_here
        || same.is_some() && run.backends.iter().any(|backend| load::is_here(run, *backend))
    {
        load::put_aliases(run, step).await?;
    }
    Ok(outcome)
}

fn present(step: &Step, status: Status) -> Outcome {
    Outcome {
        status,
        digest: step.digest.clone(),
        source: Some(named(step, step.digest.as_ref())),
        ..Outcome::default()
    }
}

/// Takes what another image of the run has built.
fn reuse(step: &Step, same: &ImageReport) -> Outcome {
    let digest = same.digest.clone();
    let source = Some(named(step, digest.as_ref()));
    Outcome { status: Status::Reused, digest, source, ..Outcome::default() }
}

/// How Dockerfiles name the step's image, if it is there whatever the step does.
pub(super) fn source_if_there(step: &Step) -> Option<Reference> {
    let is_there = matches!(step.action, Action::Reuse | Action::Retag(_));
    is_there.then(|| named(step, step.digest.as_ref()))
}

/// By digest where there is one; otherwise by the content tag, which is the engine's own image.
pub(super) fn named(step: &Step, digest: Option<&Digest>) -> Reference {
    match digest {
        Some(digest) => step.reference.repository().with_digest(digest.clone()),
        None => step.reference.clone(),
    }
}

/// A failure can hold the end of what a step wrote.
fn without_secrets(run: &Run<'_>, error: ImageError) -> ImageError {
    ImageError { message: run.secrets.masks().text(&error.message), ..error }
}

async fn build(
    run: &Run<'_>,
    backend: NamedBackend<'_>,
    step: &Step,
    references: &BTreeMap<ImageName, Reference>,
    gates: &[Gate<'_>],
    tests: &mut Vec<CheckResult>,
) -> Result<Outcome, ImageError> {
    let node = run.graph.node(&step.image).expect("the plan was made from this graph");
    let keyed = run.keys.get(&step.image).expect("the plan was made from these keys");
    let platform = &node.image().platform;
    let push = node.image().is_pushed(run.options.push);
    // Before time is spent on a build that could not be pushed.
    if push && step.digest.is_none() {
        publish::make_ready(run, step).await?;
    }
    let mut request = request(run, step, node, keyed, references, gates.is_empty()).await?;
    if backend.backend.keeps_layers() {
        keep_layers(run, step, push, &mut request).await;
    }
    run.observer.event(Event::BuildStarted {
        image: step.image.clone(),
        reference: step.reference.clone(),
        // One that runs no commands is worth a word also where there is no other.
        backend: (run.backends.len() > 1 || !backend.backend.runs_commands())
            .then(|| backend.name.to_owned()),
    });
    let observer = OfImage { image: &step.image, observer: run.observer };
    let nameless = !request.named;
    let (started, start) = (time::OffsetDateTime::now_utc(), Instant::now());
    let built = push::build(run, backend, step, request, &observer).await?;
    let time = BuildTime { started, seconds: start.elapsed().as_secs_f64() };
    let published = match built {
        Built::InStore(local) => {
            let engine = engine_of(backend)?;
            match backend.backend.assembler() {
                // Only an engine can run it.
                Some(assembler) if run.checks.is_some() && !gates.is_empty() => {
                    let loaded = assembler.load(&local, run.engine).await?;
                    test(run, run.engine, step, gates, &loaded, tests).await?;
                }
                _ => test(run, engine, step, gates, &local, tests).await?,
            }
            if nameless {
                engine.tag(&local, &step.reference).await?;
            }
            match &step.digest {
                _ if !push => return Ok(present(step, Status::Built)),
                // A key that is there stays what its content tag says; what was built again is not
                // pushed.
                Some(digest) if !step.replace => {
                    publish::attach_missing_inputs(run, step, digest).await;
                    return Ok(present(step, Status::Built));
                }
                _ => publish::publish(run, engine, step, platform, &local).await?,
            }
        }
        Built::Pushed(digest) => {
            publish::verify(run, step, &digest, platform, None).await?;
            if run.checks.is_some() && !gates.is_empty() {
                let source = named(step, Some(&digest));
                let (registry, engine) = (run.registry, run.engine);
                let pulled =
                    pull::into_engine(registry, engine, &source, &digest, platform, &[], None);
                test(run, engine, step, gates, &pulled.await?.image, tests).await?;
            }
            if let Some(digest) = step.digest.as_ref().filter(|_| !step.replace) {
                publish::attach_missing_inputs(run, step, digest).await;
                return Ok(present(step, Status::Built));
            }
            publish::name(run, step, digest).await?
        }
    };
    let (status, digest, pushed) = match published {
        Published::Ours(digest) => (Status::Built, digest, true),
        Published::Theirs { digest, pushed } => (Status::Reused, digest, pushed),
    };
    if status == Status::Reused {
        run.observer.event(Event::Adopted { image: step.image.clone(), digest: digest.clone() });
    }
    let mut replaced = None;
    if status == Status::Built {
        replaced = step.replaces().filter(|old| **old != digest).cloned();
        if let Some(old) = &replaced {
            replace::record(run, step, old, &digest).await;
        }
        publish::attach_inputs(run, step, &digest, replaced.as_ref(), time).await;
    }
    publish::inputs_done(run, step);
    let source = Some(named(step, Some(&digest)));
    Ok(Outcome { status, digest: Some(digest), pushed, replaced, source, ..Outcome::default() })
}

fn engine_of(backend: NamedBackend<'_>) -> Result<&dyn Engine, ImageError> {
    backend.backend.engine().ok_or_else(|| ImageError {
        kind: ImageErrorKind::Engine,
        message: format!("{} says that it keeps an image, and has no store", backend.name),
    })
}

/// Runs the image's tests before anybody gets it: it has no name yet.
async fn test(
    run: &Run<'_>,
    engine: &dyn Engine,
    step: &Step,
    gates: &[Gate<'_>],
    local: &LocalImage,
    results: &mut Vec<CheckResult>,
) -> Result<(), ImageError> {
    let Some(checks) = &run.checks else {
        return Ok(());
    };
    for gate in gates {
        let subject = Subject { name: gate.of, key: step.key, local };
        let test = std::slice::from_ref(gate.test);
        checks::image(engine, run.observer, checks.root, &subject, test, true, results).await?;
        if let Some(result) = results.last_mut() {
            run.secrets.masks().result(result);
        }
        if let Some(mut failure) = checks::failure(results) {
            let image =
                run.graph.node(&step.image).expect("the plan was made from this graph").image();
            if let Some(foreign) = checks::foreign(engine, &image.platform, results).await {
                failure.message = format!("{foreign}\n{}", failure.message);
            }
            return Err(failure);
        }
    }
    Ok(())
}

async fn request(
    run: &Run<'_>,
    step: &Step,
    node: &Node,
    keyed: &KeyedImage,
    references: &BTreeMap<ImageName, Reference>,
    named: bool,
) -> Result<BuildRequest, ImageError> {
    let image = node.image();
    let names: Vec<Reference> = keyed
        .inputs
        .uses
        .iter()
        .map(|used| match used {
            ImageUseInput::Image { name, .. } => references
                .get(name)
                .cloned()
                .expect("an image's turn comes after all of its dependencies"),
            ImageUseInput::Base { reference, digest, .. } => {
                reference.repository().with_digest(digest.clone())
            }
        })
        .collect();
    let dockerfile = node
        .resolved()
        .rewrite(&mut |index: usize, _: &ImageUse| names.get(index).map(Reference::to_string));
    // Where the engine sees nothing new, its cache would only give the old layers again.
    let cacheable = image.layer_cache && !keyed.inputs.hidden_from_engine();
    let layer_cache = cacheable && step.reason != Reason::Rebuild;
    let cache_sources =
        if layer_cache { cache::present(run, &step.image).await } else { Vec::new() };
    let labels = BTreeMap::from([
        (KEY_LABEL.to_owned(), step.key.to_string()),
        (BASES_LABEL.to_owned(), bases(&keyed.inputs.uses)),
    ]);
    Ok(BuildRequest {
        context: image.context.clone(),
        listing: keyed.context.clone(),
        dockerfile,
        recipe: node.recipe(),
        target: image.target.clone(),
        platform: image.platform.clone(),
        args: keyed.args.clone(),
        labels,
        name: step.reference.clone(),
        named,
        options: image.options.clone(),
        secrets: run.secrets.of(&step.image),
        layer_cache,
        cache_sources,
        export_cache: cacheable && image.has_registry,
        kept_layers: Vec::new(),
        keep_layers: None,
        private_images: private_images(run, &names).await?,
        keyed_images: names,
    })
}

/// Says where the backend finds layers, and where it leaves them.
async fn keep_layers(run: &Run<'_>, step: &Step, push: bool, request: &mut BuildRequest) {
    if request.layer_cache {
        request.kept_layers = cache::kept(run, &step.image).await;
    }
    if push && request.export_cache {
        request.keep_layers = run.cache.kept(&step.image).and_then(|kept| kept.to.clone());
    }
}

/// The value of [`BASES_LABEL`]. No names: two builds of one key can name the same images
/// differently.
fn bases(uses: &[ImageUseInput]) -> String {
    let digests = uses.iter().filter_map(|used| match used {
        ImageUseInput::Base { digest, .. } => Some(digest.as_str()),
        ImageUseInput::Image { .. } => None,
    });
    let sorted: BTreeSet<&str> = digests.collect();
    sorted.into_iter().collect::<Vec<_>>().join(",")
}

/// The images of registries that want credentials.
async fn private_images(
    run: &Run<'_>,
    names: &[Reference],
) -> Result<Vec<(Reference, Credential)>, ImageError> {
    let mut credentials: BTreeMap<RegistryHost, Credential> = BTreeMap::new();
    let mut images = Vec::new();
    // What has no digest lies in the engine.
    for name in names.iter().filter(|name| name.digest().is_some()) {
        let host = name.repository().host();
        let credential = match credentials.get(host) {
            Some(credential) => credential.clone(),
            None => {
                let credential = run.registry.credential(host).await?;
                credentials.insert(host.clone(), credential.clone());
                credential
            }
        };
        if !matches!(credential, Credential::Anonymous) {
            images.push((name.clone(), credential));
        }
    }
    Ok(images)
}

struct OfImage<'a> {
    image: &'a ImageName,
    observer: &'a dyn Observer,
}

impl BuildObserver for OfImage<'_> {
    fn event(&self, event: BuildEvent) {
        self.observer.event(Event::Build { image: self.image.clone(), event });
    }
}

impl From<BackendError> for ImageError {
    fn from(error: BackendError) -> Self {
        let kind = match error.kind {
            BackendErrorKind::Build => ImageErrorKind::Build,
            BackendErrorKind::Context => ImageErrorKind::Context,
            BackendErrorKind::Registry | BackendErrorKind::RegistryPassing => {
                ImageErrorKind::Registry
            }
            BackendErrorKind::Unavailable
            | BackendErrorKind::Forbidden
            | BackendErrorKind::Engine => ImageErrorKind::Engine,
            BackendErrorKind::Unsupported => ImageErrorKind::EngineUnsuited,
        };
        Self { kind, message: error.to_string() }
    }
}

impl From<dockit_registry::Error> for ImageError {
    fn from(error: dockit_registry::Error) -> Self {
        Self { kind: ImageErrorKind::Registry, message: error.to_string() }
    }
}
