//! The work for one image.

use std::collections::BTreeMap;

use dockit_hashing::dockerfile::ImageUse;
use dockit_registry::{Credential, Digest, Reference, RegistryHost, Tag};

use super::Run;
use super::publish::{self, Published};
use super::report::{ImageError, ImageErrorKind, Status};
use crate::backend::{
    BackendError, BackendErrorKind, BuildEvent, BuildObserver, BuildRequest, KEY_LABEL, LocalImage,
};
use crate::events::{Event, Observer};
use crate::graph::Node;
use crate::image_name::ImageName;
use crate::key::{ImageUseInput, KeyedImage};
use crate::plan::{Action, Reason, Step};
use crate::pull;

/// How the work for an image ended well.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: Status,
    pub(super) digest: Option<Digest>,
    pub(super) pushed: bool,
    pub(super) tags: Vec<Tag>,
    /// How the Dockerfiles of dependents name the image.
    pub(super) source: Option<Reference>,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            status: Status::Skipped,
            digest: None,
            pushed: false,
            tags: Vec::new(),
            source: None,
        }
    }
}

/// Does one step; `references` names the dependencies, which are done.
pub(super) async fn work(
    run: &Run<'_>,
    step: &Step,
    references: &BTreeMap<ImageName, Reference>,
) -> Result<Outcome, ImageError> {
    let outcome = match &step.action {
        Action::Skip => return Ok(Outcome::default()),
        Action::Reuse => present(step, Status::Reused),
        Action::Retag(tags) => {
            let outcome = present(step, Status::Retagged);
            let digest = outcome.digest.as_ref().expect("only what a registry holds is retagged");
            publish::move_tags(run, step, digest, tags).await?;
            Outcome { tags: tags.clone(), ..outcome }
        }
        Action::Build => build(run, step, references).await?,
    };
    if run.options.load && step.selected {
        load(run, step, &outcome).await?;
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

/// By digest where there is one; otherwise by the content tag, which is the engine's own image.
fn named(step: &Step, digest: Option<&Digest>) -> Reference {
    match digest {
        Some(digest) => step.reference.repository().with_digest(digest.clone()),
        None => step.reference.clone(),
    }
}

async fn build(
    run: &Run<'_>,
    step: &Step,
    references: &BTreeMap<ImageName, Reference>,
) -> Result<Outcome, ImageError> {
    let node = run.graph.node(&step.image).expect("the plan was made from this graph");
    let keyed = run.keys.get(&step.image).expect("the plan was made from these keys");
    let push = run.options.push && node.image().has_registry;
    // Before time is spent on a build that could not be pushed.
    if push && step.digest.is_none() {
        publish::make_ready(run, step).await?;
    }
    let request = request(run, step, node, keyed, references).await?;
    run.observer.event(Event::BuildStarted {
        image: step.image.clone(),
        reference: step.reference.clone(),
    });
    let observer = OfImage { image: &step.image, observer: run.observer };
    let local = run.engine.build(request, &observer).await?;
    let tags = node.image().tags.clone();
    match &step.digest {
        _ if !push => return Ok(present(step, Status::Built)),
        // A key that is there stays what its content tag says; what was built again is not pushed.
        Some(digest) => {
            publish::move_tags(run, step, digest, &tags).await?;
            publish::attach_missing_inputs(run, step, digest).await;
            return Ok(Outcome { tags, ..present(step, Status::Built) });
        }
        None => {}
    }
    let published = publish::publish(run, step, node.image().platform.clone(), &local).await?;
    let (status, digest, pushed) = match published {
        Published::Ours(digest) => (Status::Built, digest, true),
        Published::Theirs { digest, pushed } => (Status::Reused, digest, pushed),
    };
    if status == Status::Reused {
        run.observer.event(Event::Adopted { image: step.image.clone(), digest: digest.clone() });
    }
    publish::move_tags(run, step, &digest, &tags).await?;
    if status == Status::Built {
        publish::attach_inputs(run, step, &digest).await;
    }
    let source = Some(named(step, Some(&digest)));
    Ok(Outcome { status, digest: Some(digest), pushed, tags, source })
}

async fn request(
    run: &Run<'_>,
    step: &Step,
    node: &Node,
    keyed: &KeyedImage,
    references: &BTreeMap<ImageName, Reference>,
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
    let labels = BTreeMap::from([(KEY_LABEL.to_owned(), step.key.to_string())]);
    Ok(BuildRequest {
        context: image.context.clone(),
        listing: keyed.context.clone(),
        dockerfile,
        target: image.target.clone(),
        platform: image.platform.clone(),
        args: keyed.args.clone(),
        labels,
        name: step.reference.clone(),
        // Where the engine sees nothing new, its cache would only give the old layers again.
        layer_cache: step.reason != Reason::Rebuild && !keyed.inputs.hidden_from_engine(),
        private_images: private_images(run, &names).await?,
        keyed_images: names,
    })
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

async fn load(run: &Run<'_>, step: &Step, outcome: &Outcome) -> Result<(), ImageError> {
    let node = run.graph.node(&step.image).expect("the plan was made from this graph");
    let held = run.engine.find(&step.reference).await?;
    let wanted = outcome.digest.as_ref().filter(|_| outcome.status != Status::Built);
    let local: LocalImage = match (held, wanted) {
        (Some(local), None) => local,
        (_, Some(digest)) => {
            let source = named(step, Some(digest));
            run.observer
                .event(Event::PullStarted { image: step.image.clone(), reference: source.clone() });
            let platform = &node.image().platform;
            let name = std::slice::from_ref(&step.reference);
            pull::into_engine(run.registry, run.engine, &source, digest, platform, name, None)
                .await?
                .image
        }
        (None, None) => {
            return Err(ImageError {
                kind: ImageErrorKind::Engine,
                message: format!("{} is neither in the engine nor in a registry", step.reference),
            });
        }
    };
    let short_name: Reference =
        step.image.as_str().parse().map_err(|error: dockit_registry::ReferenceError| {
            ImageError {
                kind: ImageErrorKind::Engine,
                message: format!("{} cannot be a name in the engine: {error}", step.image),
            }
        })?;
    run.engine.tag(&local, &short_name.or_latest()).await?;
    Ok(())
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
            BackendErrorKind::Registry => ImageErrorKind::Registry,
            BackendErrorKind::Unavailable | BackendErrorKind::Engine => ImageErrorKind::Engine,
        };
        Self { kind, message: error.to_string() }
    }
}

impl From<dockit_registry::Error> for ImageError {
    fn from(error: dockit_registry::Error) -> Self {
        Self { kind: ImageErrorKind::Registry, message: error.to_string() }
    }
}
