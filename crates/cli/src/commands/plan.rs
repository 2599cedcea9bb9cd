//! `dockit plan`

use std::collections::BTreeMap;

use clap::Args;
use dockit_core::events::Silent;
use dockit_core::plan::{Action, Reason, Step};
use dockit_core::story::{self, Request, Services};
use dockit_core::{Keys, Project};
use serde::Serialize;

use super::build::Push;
use super::held_tags::HeldEntry;
use super::one_image::OneImageArgs;
use super::platforms::{PlatformArgs, PlatformEntry};
use super::prepare::PrepareArgs;
use super::{Format, GlobalArgs, creation_hints};
use crate::backends::Backends;
use crate::diagnostics::{Exit, Failure};
use crate::environment;
use crate::session::{self, Connected};
use crate::ui::{self, notes, output};

/// Arguments of `dockit plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// Images, or globs such as 'app-*'; all of them when none is named
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    platforms: PlatformArgs,
    /// Also plan for everything that depends on these images
    #[arg(long)]
    with_dependents: bool,
    /// Plan for a run that pushes so
    #[arg(long, value_enum)]
    push: Option<Push>,
    /// Plan for a run that builds the named images again
    #[arg(long)]
    rebuild: bool,
    /// Plan for a run that replaces the named images, and everything that depends on them
    #[arg(long)]
    replace: bool,
    /// Plan for a run with --force-tags
    #[arg(long)]
    force_tags: bool,
    #[command(flatten)]
    prepare: PrepareArgs,
    #[command(flatten)]
    one_image: OneImageArgs,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    steps: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    image: String,
    #[serde(flatten)]
    platform: PlatformEntry,
    action: &'static str,
    /// What is to build it, where that is known before.
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    reason: ReasonEntry,
    key: String,
    reference: String,
    digest: Option<String>,
    /// Whether the content tag moves from this digest to what is built.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replace: bool,
    /// Moving tags that are to be put on it.
    tags: Vec<String>,
    held_tags: Vec<HeldEntry>,
    /// When the key will be another one by time alone, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// Values that count instead of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    declared: Option<BTreeMap<String, String>>,
}

#[derive(Serialize)]
struct ReasonEntry {
    kind: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

pub(super) async fn run(global: &GlobalArgs, args: &PlanArgs) -> Result<Exit, Failure> {
    session::require_network(global, "plan")?;
    let of_projects =
        [("--with-dependents", args.with_dependents), ("--prepare", args.prepare.is_asked_for())];
    let described = args.one_image.project(global, &args.platforms, &of_projects, &[])?;
    let Connected { project, registry, engine } = match described {
        Some(project) => session::connected_to(project)?,
        None => session::connected(global, "plan")?,
    };
    args.prepare.run(global, &project, &args.images, args.with_dependents).await?;
    let request = Request {
        images: args.images.clone(),
        platforms: args.platforms.of(&project, &args.images)?,
        with_dependents: args.with_dependents,
        push: args.push.map(Into::into),
        ci: environment::ci_run(),
        keys: session::key_options(),
        rebuild: args.rebuild,
        replace: args.replace,
        force_tags: args.force_tags,
        ..Request::default()
    };
    let backends = Backends::of(&project, &[], &registry)?;
    let backends = backends.named(&engine);
    let services =
        Services { registry: &registry, engine: &engine, backends: &backends, observer: &Silent };
    let planned = story::plan(&project, &request, &services).await;
    let planned =
        planned.map_err(|error| creation_hints::of_lookups(&project, &registry, error))?;
    notes::warn(&planned.keys);
    let steps = &planned.plan.steps;
    match global.format {
        Format::Json => {
            let steps = steps.iter().map(|step| Entry {
                backend: planned.backend(step, &backends),
                ..entry(&project, step, &planned.keys)
            });
            let steps = steps.collect();
            output::json(&Document { schema: "dockit.plan/1", steps })?;
        }
        Format::Text => {
            let rows = steps
                .iter()
                .map(|step| {
                    let mut row = vec![
                        step.action.as_str().to_owned(),
                        step.image.to_string(),
                        step.key.short(),
                        reason(step),
                    ];
                    row.extend(note(step, &planned.keys));
                    row
                })
                .collect();
            output::table(rows)?;
            let held = steps.iter().map(|step| (&step.image, step.held_tags.as_slice()));
            output::text(&ui::summary::held(held))?;
            output::line(&summary(steps))?;
        }
    }
    Ok(Exit::Done)
}

fn entry(project: &Project, step: &Step, keys: &Keys) -> Entry {
    let keyed = keys.get(&step.image);
    let (images, tags) = match &step.reason {
        Reason::Absent { after } => (after.iter().map(ToString::to_string).collect(), vec![]),
        Reason::NeededBy(images) | Reason::DependencyReplaced(images) => {
            (images.iter().map(ToString::to_string).collect(), vec![])
        }
        Reason::StaleTags(tags) => (vec![], tags.iter().map(ToString::to_string).collect()),
        _ => (vec![], vec![]),
    };
    Entry {
        image: step.image.to_string(),
        platform: project.images.get(&step.image).map(PlatformEntry::of).unwrap_or_default(),
        action: step.action.as_str(),
        backend: None,
        reason: ReasonEntry { kind: step.reason.kind(), images, tags },
        key: step.key.to_string(),
        reference: ui::shown(&step.reference),
        digest: step.digest.as_ref().map(ToString::to_string),
        replace: step.replace,
        tags: step.tags.iter().map(|wanted| wanted.tag.to_string()).collect(),
        held_tags: step.held_tags.iter().map(HeldEntry::of).collect(),
        expires: keys.expires(&step.image).map(|day| format!("{day}T00:00:00Z")),
        declared: keyed.and_then(notes::declared),
    }
}

/// What else there is to know about a step's key.
fn note(step: &Step, keys: &Keys) -> Option<String> {
    let declared = keys.get(&step.image).and_then(notes::declared);
    let declared = notes::declared_text(declared.as_ref());
    let expires = keys.expires(&step.image).map(|day| format!("expires {day}"));
    let notes: Vec<String> = expires.into_iter().chain(declared).collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// A reason as a person reads it.
fn reason(step: &Step) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match &step.reason {
        Reason::Present => "this key is in the registry".to_owned(),
        Reason::InEngine => "this key is in the engine".to_owned(),
        Reason::Absent { after } if after.is_empty() => "no image has this key".to_owned(),
        Reason::Absent { after } => format!(
            "no image has this key; built after {}, which it needs",
            list(after.iter().map(ToString::to_string).collect())
        ),
        Reason::NeededBy(images) => format!(
            "no image has this key, and {} needs it",
            list(images.iter().map(ToString::to_string).collect())
        ),
        Reason::Rebuild if step.replace => "it is to be replaced".to_owned(),
        Reason::Rebuild => "a rebuild was asked for".to_owned(),
        Reason::DependencyReplaced(images) => format!(
            "{}, which it is built on, is replaced",
            list(images.iter().map(ToString::to_string).collect())
        ),
        Reason::PushNever => "what is never pushed is always built".to_owned(),
        Reason::StaleTags(tags) => format!(
            "present, but not under {}",
            list(tags.iter().map(ToString::to_string).collect())
        ),
        Reason::NotPushed => {
            "an index is only in a registry, and this run does not push".to_owned()
        }
        Reason::OtherPlatform => "no image has this key, and it is for another platform".to_owned(),
        Reason::NotNeeded => "absent, but all that needs it is present".to_owned(),
        _ => step.reason.kind().to_owned(),
    }
}

fn summary(steps: &[Step]) -> String {
    let count =
        |wanted: fn(&Action) -> bool| steps.iter().filter(|step| wanted(&step.action)).count();
    format!(
        "{} to build, {} to retag, {} to reuse, {} to skip",
        count(|action| *action == Action::Build),
        count(|action| matches!(action, Action::Retag(_))),
        count(|action| *action == Action::Reuse),
        count(|action| *action == Action::Skip),
    )
}
