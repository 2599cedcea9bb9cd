//! `dockit changed`

use std::time::Duration;

use clap::Args;
use dockit_core::ImageGraph;
use dockit_core::changed::{Changed, ChangedError, ChangedRequest, changed};
use dockit_core::revision::RevisionError;
use serde::Serialize;

use super::affected::{AffectedEntry, reasons};
use super::prepare::PrepareArgs;
use super::{Format, GlobalArgs};
use crate::diagnostics::{Exit, Failure};
use crate::ui::{self, output};
use crate::{environment, interrupt, session};

/// How long a cancelled comparison may take to say so, and to remove what it wrote.
const GRACE: Duration = Duration::from_secs(2);

/// Arguments of `dockit changed`.
///
/// The answer informs: what has to be built, the keys decide, and `dockit plan` says. Names are printed one
/// by line, dependencies first; --verbose says why.
#[derive(Args, Debug)]
pub struct ChangedArgs {
    /// Images, or globs such as 'app-*'; all of them when none is named
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// From where REV and the other end parted
    #[arg(long, value_name = "REV")]
    since: String,
    /// Up to this revision; without it up to the work tree as it is
    #[arg(long, value_name = "REV")]
    until: Option<String>,
    /// Exit with 5 if an image is affected
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    prepare: PrepareArgs,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    /// Always: keys decide what is built.
    informational: bool,
    base: String,
    until: Option<String>,
    files: usize,
    /// A file because of which all images count.
    all: Option<String>,
    images: Vec<AffectedEntry>,
    removed: Vec<String>,
}

pub(super) async fn run(global: &GlobalArgs, args: &ChangedArgs) -> Result<Exit, Failure> {
    let project = session::project(global)?;
    if args.until.is_none() {
        args.prepare.run(global, &project, &args.images, false).await?;
    }
    let (temporary, keys) = (environment::temporary_directory(), session::key_options());
    let cancel = interrupt::cancellation(GRACE);
    let request = ChangedRequest {
        since: &args.since,
        until: args.until.as_deref(),
        keys: &keys,
        load: session::load_options(),
        temporary: &temporary,
        cancel: &cancel,
    };
    let answer = tokio::select! {
        answer = changed(&project, &request) => answer,
        // What was begun is ended and removed when it is dropped.
        () = cancel.cancelled() => return Err(interrupt::failure()),
    };
    // Hashing does not give way: that it was asked to is seen here.
    if cancel.is_cancelled() {
        return Err(interrupt::failure());
    }
    let mut answer = answer.map_err(|error| failure(error, args))?;
    if !args.images.is_empty() {
        let graph = ImageGraph::new(&project).map_err(dockit_core::Error::from)?;
        let selected = graph.select(&args.images).map_err(dockit_core::Error::from)?;
        answer.images.retain(|affected| selected.contains(&affected.image));
    }
    match global.format {
        Format::Json => output::json(&document(&answer))?,
        Format::Text => {
            for affected in &answer.images {
                output::line(affected.image.as_str())?;
                if global.verbose {
                    ui::say(&format!("{}: {}", affected.image, why(affected, &answer)));
                }
            }
        }
    }
    if !global.quiet {
        let short = answer.base.get(..12).unwrap_or(&answer.base);
        ui::say(&format!(
            "{} affected by {} since {short}; this informs, and keys decide: `dockit plan` says what would \
             be built",
            ui::count(answer.images.len(), "image"),
            ui::count(answer.files, "changed file"),
        ));
    }
    let any = !answer.images.is_empty();
    Ok(if any && args.exit_code { Exit::Differences } else { Exit::Done })
}

fn why(affected: &dockit_core::changed::AffectedImage, answer: &Changed) -> String {
    let of_its_own = reasons(affected);
    let all = answer.all.as_ref().map(|file| format!("{file} changed, which affects all images"));
    let parts: Vec<String> =
        all.into_iter().chain(Some(of_its_own).filter(|text| !text.is_empty())).collect();
    parts.join("; ")
}

fn document(answer: &Changed) -> Document {
    Document {
        schema: "dockit.changed/1",
        informational: true,
        base: answer.base.clone(),
        until: answer.until.clone(),
        files: answer.files,
        all: answer.all.clone(),
        images: answer.images.iter().map(AffectedEntry::new).collect(),
        removed: answer.removed.iter().map(ToString::to_string).collect(),
    }
}

fn failure(error: ChangedError, args: &ChangedArgs) -> Failure {
    let message = error.to_string();
    let failure = Failure::new(Exit::Usage, message);
    if error.is_shallow() {
        let branch = args.since.strip_prefix("origin/").unwrap_or(&args.since);
        return failure.hint(format!(
            "`git fetch --unshallow origin`, and `git fetch origin {branch}` if it is a branch, bring what is \
             missing; a CI job clones all of it with fetch-depth: 0 (GitHub) or GIT_DEPTH: 0 (GitLab)"
        ));
    }
    match error {
        ChangedError::Revision(RevisionError::Process(_)) => {
            failure.hint("a range of commits needs git in the search path")
        }
        ChangedError::Revision(RevisionError::Submodule { .. }) => {
            failure.hint("`git submodule update` fetches it")
        }
        _ => failure,
    }
}
