//! What a plan asks of build backends, before the first build.

use std::collections::{BTreeMap, BTreeSet};

use dockit_registry::Platform;

use super::{Planned, Services};
use crate::backend::{BackendError, BackendErrorKind, Engine, NamedBackend};
use crate::check::CheckPlace;
use crate::error::Error;
use crate::execute::load;
use crate::graph::Node;
use crate::image_name::ImageName;
use crate::plan::{Action, Step};
use crate::platforms::listed;

/// Sees that what the plan builds has a place to be, and that what only an engine does has one.
///
/// # Errors
///
/// [`Error::Usage`] where no backend keeps images and something is built that is not pushed, or no engine
/// is configured for the platforms of everything that is built without a push, or tests on the host are of
/// an image that another engine than this machine's may build and keep, and
/// [`Error::Backend`] where images would be pushed by a backend without an engine, and the engine that
/// runs their tests, or is to have them, does not answer. [`Error::Usage`] as well where an image for
/// several platforms is to be in the engine, and no platform of it that was asked for is the engine's.
pub(super) async fn check(
    planned: &Planned,
    services: &Services<'_>,
    configured: &Services<'_>,
    load: bool,
) -> Result<(), Error> {
    if load {
        if services.engine.only_keeps() {
            return Err(no_engine("nothing can be loaded"));
        }
        has_engines_part(planned, services).await?;
    }
    let image = |step: &Step| {
        planned.graph.node(&step.image).expect("the plan was made from this graph").image()
    };
    // An index is put together here, of what backends have built.
    let builds: Vec<&Step> = planned
        .plan
        .steps
        .iter()
        .filter(|step| step.action == Action::Build && !image(step).is_index())
        .collect();
    if let [only] = services.backends
        && configured.backends.len() > 1
    {
        let foreign = builds.iter().filter(|step| !only.may_build(&image(step).platform));
        let foreign: Vec<&str> = foreign.map(|step| step.image.as_str()).collect();
        if !foreign.is_empty() {
            return Err(Error::Usage(format!(
                "what is not pushed is built by one engine, and none of {} is configured for the \
                 platforms of all: {} does not build {}; push, or choose images for one of them",
                names(configured.backends),
                only.name,
                foreign.join(", ")
            )));
        }
    }
    if services.engine.only_keeps()
        && let Some(step) = builds.iter().find(|step| !image(step).tests.is_empty())
    {
        return Err(no_engine(&format!("the tests of {} cannot run", step.image)));
    }
    cannot_write_layouts(planned, services, &builds)?;
    // What such a test runs asks this machine's engine for the image.
    let is_here = |engine: &dyn Engine| std::ptr::addr_eq(engine, configured.engine);
    for step in &builds {
        let on_host = image(step).tests.iter().any(|test| test.on == CheckPlace::Host);
        let elsewhere = services.backends.iter().filter(|named| {
            named.may_build(&image(step).platform)
                && named.backend.engine().is_some_and(|it| !it.only_keeps() && !is_here(it))
        });
        if let Some(named) = elsewhere.take(usize::from(on_host)).next() {
            return Err(Error::Usage(format!(
                "{} has a test on the host, and {}, which may build it, keeps it in an engine that is not \
                 this machine's: test it in a container, or build it with backends that have no such \
                 engine",
                step.image, named.name
            )));
        }
    }
    let keeps = |named: &NamedBackend<'_>| named.backend.engine().is_some();
    if builds.is_empty() || services.backends.iter().all(keeps) {
        return Ok(());
    }
    if !services.backends.iter().any(keeps) {
        let homeless: Vec<&str> = builds
            .iter()
            .filter(|step| !image(step).is_pushed(planned.push))
            .map(|step| step.image.as_str())
            .collect();
        if !homeless.is_empty() {
            return Err(Error::Usage(format!(
                "{} would be built and not pushed, and nothing keeps what {} builds: push, or build \
                 with an engine",
                homeless.join(", "),
                names(services.backends)
            )));
        }
    }
    let wanting = builds.iter().find(|step| load || !image(step).tests.is_empty());
    if let Some(step) = wanting {
        services.engine.find(&step.reference).await.map_err(Error::Backend)?;
    }
    Ok(())
}

/// That something needs an engine where there is none.
fn no_engine(what: &str) -> Error {
    let message = format!("{what}: that takes an engine, and there is none on this machine");
    Error::Backend(BackendError::new(BackendErrorKind::Unavailable, message))
}

/// What pushes by itself knows registries alone.
fn cannot_write_layouts(
    planned: &Planned,
    services: &Services<'_>,
    builds: &[&Step],
) -> Result<(), Error> {
    let in_layout = |step: &&&Step| {
        let node = planned.graph.node(&step.image).expect("the plan was made from this graph");
        let runs = planned.keys.get(&step.image).is_some_and(|keyed| keyed.command.is_some());
        let assembled = services
            .backends
            .iter()
            .any(|named| !named.backend.runs_commands() && named.may_build(&node.image().platform));
        node.image().is_in_layout() && (runs || !assembled)
    };
    let pushes = services.backends.iter().find(|named| named.backend.engine().is_none());
    match (builds.iter().find(in_layout), pushes) {
        (Some(step), Some(named)) => Err(Error::Usage(format!(
            "{} lies in a layout, and {}, which may build it, pushes to registries alone: build it with an \
             engine",
            step.image, named.name
        ))),
        _ => Ok(()),
    }
}

fn names(backends: &[NamedBackend<'_>]) -> String {
    backends.iter().map(|named| named.name).collect::<Vec<_>>().join(", ")
}

/// Of an image for several platforms an engine gets the one for its own.
async fn has_engines_part(planned: &Planned, services: &Services<'_>) -> Result<(), Error> {
    let node = |name: &ImageName| planned.graph.node(name).map(Node::image);
    let mut asked: BTreeMap<&ImageName, BTreeSet<&Platform>> = BTreeMap::new();
    let selected = planned.plan.steps.iter().filter(|step| step.selected);
    for image in selected.filter_map(|step| node(&step.image)) {
        if image.is_part() {
            asked.entry(image.declared_name()).or_default().insert(&image.platform);
        } else if image.is_index() {
            asked.entry(&image.name).or_default();
        }
    }
    if asked.is_empty() {
        return Ok(());
    }
    let Some(engine) = load::platform(services.engine).await.map_err(Error::Backend)? else {
        let message = "nothing can be loaded: the engine does not say which platform it is";
        return Err(Error::Usage(message.to_owned()));
    };
    for (name, parts) in asked {
        let index = node(name).expect("the graph has the index of every part");
        // In a run that builds nothing an index stands for its parts.
        let here = engine.closest(index.platforms());
        if here.is_none_or(|here| !(parts.is_empty() || parts.contains(here))) {
            let parts = if parts.is_empty() { index.platforms().iter().collect() } else { parts };
            return Err(Error::Usage(format!(
                "{name} cannot be loaded: the engine is {engine}, and the images are for {}",
                listed(parts)
            )));
        }
    }
    Ok(())
}
