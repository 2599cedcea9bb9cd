//! Asking registry and engine what the images of a run are made of.

use std::num::NonZeroUsize;

use dockit_registry::{Digest, ImageChoice, ImageConfig, PlatformImage, Registry, choose_image};
use futures_util::{StreamExt as _, stream};

use super::document::{ImageDocument, InfoEntry, LayerEntry, REPORT_SCHEMA, SizeEntry, TestEntry};
use super::layers::{self, Held};
use super::steps::StepRecorder;
use crate::backend::{
    BackendError, BackendErrorKind, Engine, EngineContents, KEY_LABEL, LocalImage,
};
use crate::check::{CheckResult, InfoCommand};
use crate::execute::checks::{self, Subject};
use crate::execute::{ImageReport, RunReport};
use crate::image_name::ImageName;
use crate::project::{Image, Project};
use crate::story::Services;

/// The report of an image, and what somebody should know about it.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The image.
    pub image: ImageName,
    /// The report.
    pub document: ImageDocument,
    /// Info commands that failed.
    pub warnings: Vec<String>,
}

/// Makes a report of every image of a run that is there at its end, in the run's order; of an index
/// its parts have theirs. Info commands run in containers of what the engine has; nothing is
/// fetched for them.
///
/// What cannot be found out stands in the report; nothing is an error. Dropping the future ends
/// what it runs.
pub async fn gather(
    project: &Project,
    report: &RunReport,
    steps: &StepRecorder<'_>,
    services: &Services<'_>,
    jobs: NonZeroUsize,
) -> Vec<Gathered> {
    let is_image =
        |image: &&ImageReport| image.status.is_there() && !project.images[&image.image].is_index();
    stream::iter(report.images.iter().filter(is_image))
        .map(|image| one(project, image, steps, services))
        .buffered(jobs.get())
        .collect()
        .await
}

async fn one(
    project: &Project,
    report: &ImageReport,
    steps: &StepRecorder<'_>,
    services: &Services<'_>,
) -> Gathered {
    let image = &project.images[&report.image];
    let mut problems = Vec::new();
    let held = match &report.digest {
        None => None,
        Some(digest) => match held(services.registry, image, digest).await {
            Ok(held) => Some(held),
            Err(problem) => {
                problems.push(problem);
                None
            }
        },
    };
    let local = match local(services.engine, report, held.as_ref()).await {
        Ok(local) => local,
        // Without an engine nothing of it is known; a registry may know enough.
        Err(error) if error.kind == BackendErrorKind::Unavailable => None,
        Err(error) => {
            problems.push(error.to_string());
            None
        }
    };
    let contents = match (&local, services.engine.contents_backend()) {
        (Some(local), Some(backend)) => match backend.contents(local).await {
            Ok(contents) => Some(contents),
            Err(error) => {
                problems.push(error.to_string());
                None
            }
        },
        _ => None,
    };
    let (info, warnings) = infos(image, report, local.as_ref(), services.engine).await;
    let labels = match (&held, &local) {
        (Some(held), _) => held.config.labels.clone(),
        (None, Some(local)) => local.labels.clone(),
        (None, None) => Default::default(),
    };
    let document = ImageDocument {
        schema: REPORT_SCHEMA,
        name: report.image.to_string(),
        key: report.key.to_string(),
        reference: report.reference.familiar(),
        digest: report.digest.as_ref().map(ToString::to_string),
        status: report.status.as_str(),
        platform: image.platform.to_string(),
        labels,
        size: SizeEntry {
            compressed: held
                .as_ref()
                .map(|held| held.image.manifest.layers.iter().map(|layer| layer.size).sum::<u64>()),
            unpacked: contents.as_ref().map(|contents| contents.size),
        },
        layers: layer_entries(held.as_ref(), contents.as_ref()),
        steps: steps.steps(&report.image),
        tests: report.tests.iter().map(test_entry).collect(),
        info,
        problems,
    };
    Gathered { image: report.image.clone(), document, warnings }
}

/// An image as its registry describes it.
struct HeldImage {
    image: PlatformImage,
    config: ImageConfig,
}

async fn held(
    registry: &dyn Registry,
    image: &Image,
    digest: &Digest,
) -> Result<HeldImage, String> {
    let repository = &image.repository;
    let read = async {
        let top = registry.manifest(&repository.with_digest(digest.clone())).await?;
        match choose_image(registry, repository, &top, &image.platform).await? {
            ImageChoice::Image(chosen) => {
                let config = chosen.config(registry, repository).await?;
                Ok(Some(HeldImage { image: chosen, config }))
            }
            ImageChoice::NoneFor(_) | ImageChoice::Nested(_) => Ok(None),
        }
    };
    match read.await {
        Ok(Some(held)) => Ok(held),
        Ok(None) => Err(format!("{digest} has no image for {}", image.platform)),
        Err(error) => {
            let error: dockit_registry::Error = error;
            Err(format!("the registry does not say what it is made of: {error}"))
        }
    }
}

/// The very image in the engine's store: a name can be on another one.
async fn local(
    engine: &dyn Engine,
    report: &ImageReport,
    held: Option<&HeldImage>,
) -> Result<Option<LocalImage>, BackendError> {
    let by_digest = report
        .digest
        .as_ref()
        .map(|digest| report.reference.repository().with_digest(digest.clone()));
    for name in by_digest.iter().chain([&report.reference]) {
        let Some(found) = engine.find(name).await? else {
            continue;
        };
        let is_it = match (held, &report.digest) {
            // Engines call an image by its config, or by its manifest.
            (Some(held), Some(digest)) => {
                [&held.image.manifest.config.digest, digest, &held.image.digest]
                    .into_iter()
                    .any(|digest| digest.as_str() == found.id)
            }
            (None, Some(_)) => Some(name) == by_digest.as_ref(),
            (_, None) => found.labels.get(KEY_LABEL) == Some(&report.key.to_string()),
        };
        if is_it {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn layer_entries(held: Option<&HeldImage>, contents: Option<&EngineContents>) -> Vec<LayerEntry> {
    match (held, contents) {
        (Some(held), contents) => {
            let described = Held {
                layers: &held.image.manifest.layers,
                history: &held.config.history,
                diff_ids: &held.config.diff_ids,
            };
            layers::of_registry(&described, contents)
        }
        (None, Some(contents)) => layers::of_engine(contents),
        (None, None) => Vec::new(),
    }
}

async fn infos(
    image: &Image,
    report: &ImageReport,
    local: Option<&LocalImage>,
    engine: &dyn Engine,
) -> (Vec<InfoEntry>, Vec<String>) {
    let (mut entries, mut warnings) = (Vec::new(), Vec::new());
    for info in &image.info {
        let Some(local) = local else {
            entries.push(failed(info, "not run: not in the engine".to_owned()));
            continue;
        };
        let subject = Subject { name: &report.image, key: report.key, local };
        match checks::info(engine, &subject, info).await {
            Ok(result) => {
                if !result.passed() {
                    let name = &info.name;
                    warnings.push(format!("the info command {name:?}: {}", result.describe()));
                }
                entries.push(info_entry(info, &result));
            }
            Err(error) => {
                warnings.push(format!("the info command {:?} did not run: {error}", info.name));
                entries.push(failed(info, format!("not run: {error}")));
            }
        }
    }
    (entries, warnings)
}

fn failed(info: &InfoCommand, error: String) -> InfoEntry {
    InfoEntry {
        name: info.name.clone(),
        command: info.command.to_string(),
        error: Some(error),
        output: String::new(),
        truncated: false,
    }
}

fn info_entry(info: &InfoCommand, result: &CheckResult) -> InfoEntry {
    InfoEntry {
        name: info.name.clone(),
        command: info.command.to_string(),
        error: (!result.passed()).then(|| result.end.to_string()),
        output: result.output.text(),
        truncated: result.output.truncated,
    }
}

fn test_entry(result: &CheckResult) -> TestEntry {
    TestEntry {
        command: result.command.to_string(),
        on: result.on.as_str(),
        passed: result.passed(),
        exit_code: result.exit_code(),
        seconds: result.seconds,
        output: result.output.text(),
        truncated: result.output.truncated,
    }
}
