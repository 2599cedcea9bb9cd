//! `dockit why`

use std::time::Duration;

use clap::Args;
use dockit_core::ImageKey;
use dockit_core::inputs::rfc3339;
use dockit_core::why::{Side, Sources, State, Why, why};
use dockit_registry::{Digest, Registry, Tag};
use serde::Serialize;

use super::prepare::PrepareArgs;
use super::{Format, GlobalArgs};
use crate::diagnostics::{Exit, Failure};
use crate::session;
use crate::ui::{self, output};
use crate::{environment, interrupt};

/// How long a cancelled comparison may take to say so, and to remove what it wrote.
const GRACE: Duration = Duration::from_secs(2);

/// Arguments of `dockit why`.
///
/// Without an option the work tree is compared with the image that dockit.lock records; or else with
/// what was last built in this work tree; or else with the image's first tag in the registry.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("state"))]
pub struct WhyArgs {
    /// The image; may be left out to compare two references
    #[arg(value_name = "IMAGE", required_unless_present = "between")]
    image: Option<String>,
    /// Compare with a revision of the git repository
    #[arg(long, value_name = "REV", group = "state")]
    rev: Option<String>,
    /// Compare with the image that a tag is on
    #[arg(long, group = "state")]
    tag: Option<Tag>,
    /// Compare with the image of this digest
    #[arg(long, group = "state")]
    digest: Option<Digest>,
    /// Compare with the image that dockit.lock records
    #[arg(long, group = "state")]
    locked: bool,
    /// Compare with what was last built in this work tree
    #[arg(long, group = "state")]
    last: bool,
    /// Compare with the image of this key
    #[arg(long, group = "state")]
    key: Option<ImageKey>,
    /// Compare two states: worktree, rev:REV, tag:TAG, a digest, a key, locked, last, or a reference
    /// with its registry, for which no project is needed
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], group = "state")]
    between: Option<Vec<State>>,
    /// Exit with 5 if there are differences
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    prepare: PrepareArgs,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    image: String,
    equal: bool,
    from: SideEntry,
    to: SideEntry,
    images: Vec<Entry>,
}

#[derive(Serialize)]
struct SideEntry {
    state: String,
    key: String,
    reference: Option<String>,
    commit: Option<String>,
    /// When and from what it was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    built: Option<BuiltEntry>,
}

#[derive(Serialize)]
struct BuiltEntry {
    revision: Option<String>,
    revision_time: Option<String>,
    version: Option<String>,
    started: Option<String>,
    seconds: Option<f64>,
}

#[derive(Serialize)]
struct Entry {
    image: String,
    from: String,
    to: String,
    because: Vec<String>,
    changes: Vec<ChangeEntry>,
    /// Why nothing more is known.
    problem: Option<String>,
}

#[derive(Serialize)]
struct ChangeEntry {
    what: &'static str,
    how: &'static str,
    name: String,
    from: Option<String>,
    to: Option<String>,
}

pub(super) async fn run(global: &GlobalArgs, args: &WhyArgs) -> Result<Exit, Failure> {
    // Two references need no project, and are of any.
    let project = args.image.is_some().then(|| session::project(global)).transpose()?;
    if let Some(project) = &project {
        args.prepare.run(global, project, args.image.as_slice(), false).await?;
    }
    let registry = if global.offline { None } else { Some(session::registry(project.as_ref())?) };
    let (temporary, keys) = (environment::temporary_directory(), session::key_options());
    let cancel = interrupt::cancellation(GRACE);
    let sources = Sources {
        project: project.as_ref(),
        registry: registry.as_ref().map(|registry| registry as &dyn Registry),
        keys: &keys,
        load: session::load_options(),
        temporary: &temporary,
        cancel: &cancel,
    };
    let (from, to) = states(args);
    let answer = tokio::select! {
        answer = why(&sources, args.image.as_deref(), from.as_ref(), &to) => answer,
        // What was begun is ended and removed when it is dropped.
        () = cancel.cancelled() => return Err(interrupt::failure()),
    };
    // Hashing does not give way: that it was asked to is seen here.
    if cancel.is_cancelled() {
        return Err(interrupt::failure());
    }
    let answer = answer?;
    match global.format {
        Format::Json => output::json(&document(&answer))?,
        Format::Text => output::text(&ui::inputs::why(&answer))?,
    }
    let differ = answer.from.key != answer.to.key;
    Ok(if differ && args.exit_code { Exit::Differences } else { Exit::Done })
}

/// What to compare with, if that is said, and what is asked about.
fn states(args: &WhyArgs) -> (Option<State>, State) {
    if let Some([from, to]) = args.between.as_deref() {
        return (Some(from.clone()), to.clone());
    }
    let from = args
        .rev
        .clone()
        .map(State::Revision)
        .or_else(|| args.tag.clone().map(State::Tag))
        .or_else(|| args.digest.clone().map(State::Digest))
        .or_else(|| args.key.map(State::Key))
        .or_else(|| args.locked.then_some(State::Locked))
        .or_else(|| args.last.then_some(State::Last));
    (from, State::WorkTree)
}

fn document(why: &Why) -> Document {
    let images = why.images.iter().map(|image| Entry {
        image: image.image.to_string(),
        from: image.from.to_string(),
        to: image.to.to_string(),
        because: image.because().map(str::to_owned).collect(),
        changes: image
            .changes
            .iter()
            .map(|change| ChangeEntry {
                what: change.what.as_str(),
                how: change.how.as_str(),
                name: change.subject.clone(),
                from: change.from.clone(),
                to: change.to.clone(),
            })
            .collect(),
        problem: image.unknown.clone(),
    });
    Document {
        schema: "dockit.why/1",
        image: why.image.to_string(),
        equal: why.from.key == why.to.key,
        from: side(&why.from),
        to: side(&why.to),
        images: images.collect(),
    }
}

fn side(side: &Side) -> SideEntry {
    SideEntry {
        state: side.state.to_string(),
        key: side.key.to_string(),
        reference: side.reference.as_ref().map(ToString::to_string),
        commit: side.commit.clone(),
        built: side.origin.as_ref().map(|origin| BuiltEntry {
            revision: origin.revision.clone(),
            revision_time: origin.committed.and_then(rfc3339),
            version: origin.version.clone(),
            started: origin.started.and_then(rfc3339),
            seconds: origin.seconds,
        }),
    }
}
