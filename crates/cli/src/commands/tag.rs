//! `dockit tag`

use std::time::Duration;

use clap::Args;
use dockit_core::ImageKey;
use dockit_registry::{
    Client, Digest, Error, ErrorKind, Reference, Retag, RetaggedTag, Tag, TagChange,
};
use serde::Serialize;

use super::named::{self, Named};
use super::promotion::{self, PromotionArgs};
use super::{Format, GlobalArgs};
use crate::diagnostics::{Exit, Failure};
use crate::ui::output;
use crate::{interrupt, session};

/// How long an interrupted retag may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Options that take the place of an image and its tags.
const OF_SETS: [&str; 3] = ["set", "resume", "rollback"];

/// Arguments of `dockit tag`.
#[derive(Args, Debug)]
pub struct TagArgs {
    /// The image: one of the project (as the work tree is now), or a reference
    #[arg(
        value_name = "SOURCE",
        required_unless_present_any = OF_SETS,
        conflicts_with_all = OF_SETS
    )]
    source: Option<String>,
    /// The tags to put on it, in its repository
    #[arg(value_name = "TAG", required_unless_present_any = OF_SETS)]
    tags: Vec<Tag>,
    /// Print what would change; write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    promotion: PromotionArgs,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    source: String,
    digest: String,
    dry_run: bool,
    tags: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    tag: String,
    reference: String,
    status: &'static str,
    previous: Option<String>,
    error: Option<String>,
}

pub(super) async fn run(global: &GlobalArgs, args: &TagArgs) -> Result<Exit, Failure> {
    session::require_network(global, "tag")?;
    if args.promotion.is_meant() {
        return promotion::run(global, &args.promotion, args.dry_run).await;
    }
    let tags = distinct(&args.tags)?;
    let texts = args.source.as_slice();
    let project = session::project_for(global, texts)?;
    let source = named::resolve(project.as_ref(), texts)?.remove(0);
    let settings = session::settings(project.as_ref(), global, source.is_of_project());
    let client = session::registry(settings)?;
    let cancel = interrupt::cancellation(GRACE);
    let (digest, tags) = tokio::select! {
        done = retag(&client, &source, &tags, args.dry_run) => done?,
        () = cancel.cancelled() => return Err(interrupt::failure()
            .hint("some of the tags may have been put: the same command with --dry-run shows it")),
    };
    let entries = tags.iter().map(|tag| entry(&source.reference, tag)).collect();
    let document = Document {
        schema: "dockit.tag/1",
        source: source.reference.to_string(),
        digest: digest.to_string(),
        dry_run: args.dry_run,
        tags: entries,
    };
    match global.format {
        Format::Json => output::json(&document)?,
        Format::Text => output::table(document.tags.iter().map(|tag| row(tag, args)).collect())?,
    }
    match failures(&tags) {
        Some(failure) => Ok(failure.report()),
        None => Ok(Exit::Done),
    }
}

/// The tags, each once. One that stands for a key is put by builds alone: on anything else it would
/// make another image pass for the one with that key.
fn distinct(tags: &[Tag]) -> Result<Vec<Tag>, Failure> {
    let mut distinct: Vec<Tag> = Vec::new();
    for tag in tags {
        if ImageKey::is_content_tag(tag) {
            let message = format!("{tag} is a content tag, which only `dockit build` puts");
            return Err(Failure::new(Exit::Usage, message));
        }
        if !distinct.contains(tag) {
            distinct.push(tag.clone());
        }
    }
    Ok(distinct)
}

/// Puts the tags, or with `dry_run` says what that would be.
async fn retag(
    client: &Client,
    source: &Named,
    tags: &[Tag],
    dry_run: bool,
) -> Result<(Digest, Vec<RetaggedTag>), Failure> {
    let retag = match Retag::plan(client, &source.reference, tags).await {
        Err(error) if *error.kind() == ErrorKind::NotFound => {
            return Err(source.absent(Some(&error)));
        }
        planned => planned?,
    };
    let tags = if dry_run {
        let changes = retag.changes().map(|(tag, previous, change)| RetaggedTag {
            tag: tag.clone(),
            previous: previous.cloned(),
            result: Ok(change),
        });
        changes.collect()
    } else {
        retag.apply(client).await
    };
    Ok((retag.digest().clone(), tags))
}

fn entry(source: &Reference, tag: &RetaggedTag) -> Entry {
    Entry {
        tag: tag.tag.to_string(),
        reference: source.repository().with_tag(tag.tag.clone()).to_string(),
        status: match tag.result {
            Ok(TagChange::Created) => "created",
            Ok(TagChange::Moved) => "moved",
            Ok(TagChange::Unchanged) => "unchanged",
            Err(_) => "failed",
        },
        previous: tag.previous.as_ref().map(ToString::to_string),
        error: tag.result.as_ref().err().map(ToString::to_string),
    }
}

fn row(tag: &Entry, args: &TagArgs) -> Vec<String> {
    let status = match (args.dry_run, tag.status) {
        (true, "created") => "would create",
        (true, "moved") => "would move",
        (_, status) => status,
    };
    let mut row = vec![status.to_owned(), tag.reference.clone()];
    if matches!(tag.status, "moved" | "failed")
        && let Some(previous) = &tag.previous
    {
        let word = if tag.status == "moved" { "from" } else { "was" };
        row.push(format!("{word} {previous}"));
    }
    row
}

/// Why tags could not be put, with what may help for each reason once.
fn failures(tags: &[RetaggedTag]) -> Option<Failure> {
    let failed: Vec<(&Tag, &Error)> =
        tags.iter().filter_map(|tag| Some((&tag.tag, tag.result.as_ref().err()?))).collect();
    if failed.is_empty() {
        return None;
    }
    let lines: Vec<String> = failed.iter().map(|(tag, error)| format!("{tag}: {error}")).collect();
    let errors = failed.iter().map(|(_, error)| *error);
    Some(Failure::of_registry(lines.join("\n"), errors))
}
