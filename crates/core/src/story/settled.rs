//! From a request to a plan: options checked against the project, sources asked, keys looked up.

use std::collections::{BTreeMap, BTreeSet};

use tokio_util::sync::CancellationToken;

use super::{Planned, Request, Services};
use crate::error::Error;
use crate::events::Event;
use crate::graph::ImageGraph;
use crate::image_name::ImageName;
use crate::key::compute_keys;
use crate::lockfile::Lockfile;
use crate::lookup::{LookupError, LookupErrors, LookupOptions, Moving, look_up_all};
use crate::moving_tags::{History, MovingTags, TagFacts};
use crate::only_here::{OnlyHere, only_here};
use crate::plan::{Absence, Plan, PlanOptions, Reason};
use crate::project::{Image, Project, PushPolicy};
use crate::source::Source;
use crate::wait::may_pass;

/// A request after its options were checked against the project.
pub(super) struct Settled {
    pub(super) plan: PlanOptions,
    pub(super) push: bool,
    request: Request,
}

/// What is known of a run's sources, where moving tags depend on it, and what follows for them.
pub(super) struct Sources {
    pub(super) source: Option<Source>,
    tags: MovingTags,
}

impl Settled {
    pub(super) fn new(
        project: &Project,
        graph: &ImageGraph,
        request: &Request,
    ) -> Result<Self, Error> {
        let mut selected = graph.select_for(&request.images, &request.platforms)?.images;
        if request.with_dependents {
            selected = graph.with_dependents(&selected);
            graph.retain_platforms(&mut selected, &request.platforms);
        }
        let for_some = !request.platforms.is_empty();
        if for_some && request.no_build {
            // Parts are looked for, and who builds the others' puts the index together.
            selected.retain(|name| !project.images[name].is_index());
        }
        if for_some && request.pin {
            let message = "an index is recorded whole: pin in a run for all platforms";
            return Err(Error::Usage(message.to_owned()));
        }
        let replace = if request.replace { selected.clone() } else { BTreeSet::new() };
        selected.extend(graph.with_dependents(&replace));
        if project.in_memory && (request.pin || request.locked) {
            let message = "there is no lockfile that images could be recorded in or compared with";
            return Err(Error::Usage(message.to_owned()));
        }
        let policy = request.push.unwrap_or(project.push);
        let homeless: Vec<&str> = selected
            .iter()
            .filter(|name| !project.images[*name].has_registry)
            .map(ImageName::as_str)
            .collect();
        let homed = homeless.is_empty();
        if request.wait.is_some() && !homed {
            return Err(Error::Usage(format!(
                "no other run can make {}: the project has no registry",
                homeless.join(", ")
            )));
        }
        let push = match policy {
            _ if request.no_build => false,
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
        let all_pushed = selected.iter().all(|name| project.images[name].is_pushed(push));
        if request.pin && !(all_pushed || request.no_build && homed) {
            return Err(Error::Usage(
                "only pushed images can be pinned: pin together with a push".to_owned(),
            ));
        }
        if request.replace {
            may_replace(request, all_pushed, &homeless).map_err(Error::Usage)?;
        }
        let plan = PlanOptions {
            selected,
            rebuild: request.rebuild,
            replace,
            push_never: policy == PushPolicy::Never && !request.no_build,
            no_build: request.no_build,
            push,
            platforms: request.platforms.clone(),
            tags: MovingTags::default(),
        };
        Ok(Self { plan, push, request: request.clone() })
    }

    /// Whether everything that the run builds is pushed, or it builds nothing.
    pub(super) fn keeps_nothing(&self, graph: &ImageGraph) -> bool {
        let nodes = graph.with_dependencies(&self.plan.selected);
        let mut images = nodes.iter().map(|node| node.image());
        match self.plan.no_build {
            true => images.all(|image| image.has_registry),
            false => images.all(|image| image.is_pushed(self.push)),
        }
    }

    /// What decides about moving tags.
    pub(super) fn facts<'a>(&'a self, source: &'a Source) -> TagFacts<'a> {
        TagFacts {
            ci: &self.request.ci,
            source,
            today: self.request.keys.today,
            force: self.request.force_tags,
        }
    }

    /// Asks git only where a tag depends on it.
    pub(super) async fn sources(
        &self,
        project: &Project,
        cancel: &CancellationToken,
    ) -> Result<Sources, Error> {
        let tagged = |image: &Image| image.is_pushed(self.push) && !image.tags.is_empty();
        if self.plan.no_build || !project.images.values().any(tagged) {
            return Ok(Sources { source: None, tags: MovingTags::default() });
        }
        let source = Source::of(&project.root, cancel).await;
        let pushed = |name: &&ImageName| project.images[*name].is_pushed(self.push);
        let pushed = self.plan.selected.iter().filter(pushed).cloned().collect();
        let tags = MovingTags::decide(project, &self.facts(&source))?.only(&pushed);
        Ok(Sources { source: Some(source), tags })
    }

    pub(super) async fn plan(
        &self,
        project: &Project,
        graph: ImageGraph,
        lockfile: &Lockfile,
        services: &Services<'_>,
        sources: &Sources,
        cancel: &CancellationToken,
    ) -> Result<Planned, Error> {
        let request = &self.request;
        let keys = compute_keys(project, &graph, &self.plan.selected, lockfile, &request.keys)?;
        for warning in keys.warnings() {
            services.observer.event(Event::KeyWarning(warning.clone()));
        }
        let options = LookupOptions {
            registry: services.registry,
            engine: Some(services.engine),
            for_push: self.push,
            published_only: self.plan.no_build,
            moving: (!self.plan.no_build).then(|| Moving {
                tags: &sources.tags,
                history: History { source: sources.source.as_ref().and_then(Source::git), cancel },
            }),
        };
        let (mut lookups, failures) =
            look_up_all(&graph, &self.plan.to_look_up(&graph), &keys, &options).await;
        // Who waits asks again where that may help.
        if !(failures.is_empty() || request.wait.is_some() && failures.iter().all(may_pass)) {
            return Err(lookup_error(LookupErrors { failures }));
        }
        let mut absences = BTreeMap::new();
        let mut missing = lookups.absent();
        for (image, error) in &failures {
            let (image, error) = (image.clone(), error.to_string());
            missing.insert(image.clone());
            services.observer.event(Event::WaitFailed { image, error });
        }
        if let Some(wait) = request.wait.as_ref().filter(|_| !missing.is_empty()) {
            let here =
                only_here(project, &graph, &missing, &keys, &request.keys, wait, cancel).await;
            if let Some(OnlyHere { commit, images }) = here {
                // Whether all others are there is not known.
                if !failures.is_empty() {
                    return Err(lookup_error(LookupErrors { failures }));
                }
                absences.extend(
                    images.into_iter().map(|(name, key)| {
                        (name, Absence::OnlyHere { commit: commit.clone(), key })
                    }),
                );
            } else {
                let found = crate::wait::wait(
                    missing.clone(),
                    &graph,
                    &keys,
                    &options,
                    wait.limit,
                    services.observer,
                    cancel,
                );
                lookups.extend(found.await.map_err(lookup_error)?);
                lookups.absent_otherwise(&missing);
                absences.extend(missing.into_iter().map(|it| (it, Absence::Waited(wait.limit))));
            }
        }
        let options = PlanOptions { tags: sources.tags.clone(), ..self.plan.clone() };
        let mut plan = Plan::decide(&graph, &keys, &lookups, &options);
        for step in &mut plan.steps {
            if let (Reason::Missing(absence), Some(known)) =
                (&mut step.reason, absences.remove(&step.image))
            {
                *absence = known;
            }
        }
        Ok(Planned { graph, keys, plan, push: self.push })
    }
}

/// Whether images can be replaced in such a run; if not, why.
fn may_replace(request: &Request, push: bool, homeless: &[&str]) -> Result<(), String> {
    if !homeless.is_empty() {
        let homeless = homeless.join(", ");
        return Err(format!("no registry holds {homeless}, so that nothing there can be replaced"));
    }
    if !push {
        return Err(
            "images are replaced where they are pushed, and this run does not push".to_owned()
        );
    }
    if request.pin && request.locked {
        return Err("what is replaced has other digests than the lockfile".to_owned());
    }
    Ok(())
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
