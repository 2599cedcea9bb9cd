//! `dockit tag --set`: promotions.

use std::time::Duration;

use clap::Args;
use dockit_core::moving_tags::TagFacts;
use dockit_core::promote::{
    self, GateEnd, MoveError, MoveReport, MoveStatus, Outcome, PromoteError, PromotionReport,
    PromotionSource, Request, Services, SkippedGate,
};
use dockit_core::source::Source;
use dockit_registry::{Client, Error, ErrorKind, ProviderKind, RegistryHost};
use serde::Serialize;
use time::OffsetDateTime;

use super::{Format, GlobalArgs};
use crate::diagnostics::{Exit, Failure};
use crate::ui::{self, output};
use crate::{environment, interrupt, session};

/// How long an interrupted promotion may take to put back what it moved.
const GRACE: Duration = Duration::from_secs(30);

/// What finishes a promotion that was cut off.
const FINISH_HINT: &str = "`dockit tag --resume` finishes it, `dockit tag --rollback` undoes it";

/// Options of `dockit tag` that make a promotion of it.
#[derive(Args, Debug)]
pub(super) struct PromotionArgs {
    /// Promote images of the project, all or none: NAME is a promotion of the configuration
    /// (`[promotions.NAME]`), or the tag that they get
    #[arg(long, value_name = "NAME", num_args = 1..)]
    set: Vec<String>,
    /// Of the set, only these images; names or globs
    #[arg(long, value_name = "GLOB", num_args = 1.., requires = "set")]
    images: Vec<String>,
    /// What is promoted: what this tag of each image is on, or with `lock` what dockit.lock records
    #[arg(long, value_name = "TAG|lock", requires = "set")]
    from: Option<PromotionSource>,
    /// Copy the images below this registry and path, with what refers to them, and tag them there
    #[arg(long, value_name = "PREFIX", requires = "set")]
    to_registry: Option<String>,
    /// Do not run this gate; what is promoted says so
    #[arg(long, value_name = "NAME", requires_all = ["set", "reason"])]
    skip_gate: Vec<String>,
    /// Why gates are skipped
    #[arg(long, value_name = "TEXT", requires = "skip_gate")]
    reason: Option<String>,
    /// Begin also where tags that the promotion makes could not be removed if it failed; then they stay
    #[arg(long, requires = "set")]
    keep_new_tags: bool,
    /// Finish a promotion that was interrupted
    #[arg(long, conflicts_with_all = ["set", "rollback", "dry_run"])]
    resume: bool,
    /// Undo a promotion that was interrupted
    #[arg(long, conflicts_with_all = ["set", "dry_run"])]
    rollback: bool,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    outcome: &'static str,
    dry_run: bool,
    id: Option<String>,
    revision: Option<String>,
    tags: Vec<Entry>,
    unmet: Vec<Condition>,
    gates: Vec<Gate>,
    not_recorded: Vec<String>,
    journal: Option<String>,
}

#[derive(Serialize)]
struct Entry {
    set: String,
    image: String,
    source: String,
    reference: String,
    digest: String,
    previous: Option<String>,
    status: &'static str,
    /// What it is on instead, where somebody else moved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<String>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Condition {
    set: String,
    message: String,
}

#[derive(Serialize)]
struct Gate {
    set: String,
    name: String,
    command: String,
    status: &'static str,
    exit_code: Option<i64>,
    seconds: Option<f64>,
    reason: Option<String>,
}

impl PromotionArgs {
    /// Whether the command is about a promotion.
    pub(super) fn is_meant(&self) -> bool {
        !self.set.is_empty() || self.resume || self.rollback
    }

    fn request(&self, dry_run: bool) -> Request {
        let reason = self.reason.clone().unwrap_or_default();
        let skip = |name: &String| SkippedGate { name: name.clone(), reason: reason.clone() };
        Request {
            names: self.set.clone(),
            images: self.images.clone(),
            from: self.from.clone(),
            to_registry: self.to_registry.clone(),
            skips: self.skip_gate.iter().map(skip).collect(),
            keep_new_tags: self.keep_new_tags,
            dry_run,
        }
    }
}

pub(super) async fn run(
    global: &GlobalArgs,
    args: &PromotionArgs,
    dry_run: bool,
) -> Result<Exit, Failure> {
    let project = session::project(global)?;
    let client = session::registry(Some(&project))?;
    let cancel = interrupt::cancellation(GRACE);
    let services = Services { project: &project, client: &client, cancel: &cancel };
    let report = if args.resume {
        promote::resume(&services).await
    } else if args.rollback {
        promote::rollback(&services).await
    } else {
        let source = Source::of(&project.root, &cancel).await;
        let ci = environment::ci_run();
        let today = OffsetDateTime::now_utc().date();
        let facts = TagFacts { ci: &ci, source: &source, today, force: false };
        promote::promote(&services, &facts, &args.request(dry_run)).await
    };
    let report = match report {
        Ok(report) => report,
        Err(error) => return Err(failure(error, &client).await),
    };
    match global.format {
        Format::Json => output::json(&document(&report, dry_run))?,
        Format::Text => output::table(report.moves.iter().map(row).collect())?,
    }
    tell(&report, dry_run);
    let asked_for = args.rollback && report.outcome == Outcome::RolledBack;
    if asked_for || matches!(report.outcome, Outcome::Planned | Outcome::Promoted) {
        return Ok(Exit::Done);
    }
    let failure = ended(&report, &client).await;
    if cancel.is_cancelled() && report.outcome != Outcome::Unfinished {
        failure.report();
        return Err(interrupt::failure());
    }
    Ok(failure.report())
}

fn document(report: &PromotionReport, dry_run: bool) -> Document {
    Document {
        schema: "dockit.promotion/1",
        outcome: report.outcome.as_str(),
        dry_run,
        id: report.id.clone(),
        revision: report.revision.clone(),
        tags: report.moves.iter().map(entry).collect(),
        unmet: report
            .unmet
            .iter()
            .map(|unmet| Condition { set: unmet.set.clone(), message: unmet.message.clone() })
            .collect(),
        gates: report.gates.iter().map(gate).collect(),
        not_recorded: report.not_recorded.iter().map(|(tag, _)| tag.to_string()).collect(),
        journal: report.journal.as_ref().map(|file| file.display().to_string()),
    }
}

fn entry(one: &MoveReport) -> Entry {
    Entry {
        set: one.set.clone(),
        image: one.image.clone(),
        source: one.source.to_string(),
        reference: one.target.to_string(),
        digest: one.new.to_string(),
        previous: one.old.as_ref().map(ToString::to_string),
        status: one.status.as_str(one.old.is_some()),
        now: match &one.status {
            MoveStatus::Foreign(now) => now.as_ref().map(ToString::to_string),
            _ => None,
        },
        error: one.error.as_ref().map(ToString::to_string),
    }
}

fn gate(gate: &promote::GateReport) -> Gate {
    let (status, reason) = match &gate.end {
        GateEnd::Ran(result) if result.passed() => ("passed", None),
        GateEnd::Ran(result) => ("failed", Some(result.end.to_string())),
        GateEnd::Skipped(reason) => ("skipped", Some(reason.clone())),
        _ => ("not-run", None),
    };
    let ran = match &gate.end {
        GateEnd::Ran(result) => Some(result),
        _ => None,
    };
    Gate {
        set: gate.set.clone(),
        name: gate.name.clone(),
        command: gate.command.clone(),
        status,
        exit_code: ran.and_then(dockit_core::check::CheckResult::exit_code),
        seconds: ran.map(|result| result.seconds),
        reason,
    }
}

/// Image, tag, and from which digest to which.
fn row(one: &MoveReport) -> Vec<String> {
    let status = one.status.as_str(one.old.is_some()).replace('-', " ");
    let old = one.old.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string);
    let digests = match &one.status {
        MoveStatus::Unchanged => old,
        MoveStatus::Foreign(now) => {
            let now = now.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string);
            format!("{old} -> {} (is {now})", one.new)
        }
        _ => format!("{old} -> {}", one.new),
    };
    vec![status, one.image.clone(), one.target.to_string(), digests]
}

/// What goes with the table, as talk.
fn tell(report: &PromotionReport, dry_run: bool) {
    for gate in &report.gates {
        match &gate.end {
            GateEnd::Skipped(reason) => {
                ui::say(&format!("gate {} is skipped: {reason}", gate.name));
            }
            GateEnd::NotRun if dry_run => {
                ui::say(&format!("gate {} would run: {}", gate.name, gate.command));
            }
            _ => {}
        }
    }
    if dry_run {
        for unmet in &report.unmet {
            ui::say(&format!("would not begin: {}: {}", unmet.set, unmet.message));
        }
    }
    for (tag, error) in &report.not_recorded {
        ui::say(&format!("warning: {tag} was promoted, but that is not recorded: {error}"));
    }
}

/// What a promotion that did not do what it should ends with.
async fn ended(report: &PromotionReport, client: &Client) -> Failure {
    if report.outcome == Outcome::Refused {
        let unmet = report.unmet.iter().map(|unmet| format!("{}: {}", unmet.set, unmet.message));
        let gates = report.gates.iter().filter(|gate| gate.failed()).filter_map(|gate| {
            let GateEnd::Ran(result) = &gate.end else { return None };
            Some(format!("{}: gate {}: {}", gate.set, gate.name, result.describe()))
        });
        let lines: Vec<String> = unmet.chain(gates).collect();
        return Failure::new(Exit::Failed, lines.join("\n")).hint("nothing was changed");
    }
    let mut lines: Vec<String> =
        report.errors().map(|(one, error)| format!("{}: {error}", one.target)).collect();
    let errors: Vec<&Error> = report
        .errors()
        .filter_map(|(_, error)| match error {
            MoveError::Registry(error) => Some(error),
            _ => None,
        })
        .collect();
    let foreign = |one: &&MoveReport| matches!(one.status, MoveStatus::Foreign(_));
    let left: Vec<String> =
        report.moves.iter().filter(foreign).map(|one| one.target.to_string()).collect();
    if lines.is_empty() {
        lines.push("the promotion did not come to its end".to_owned());
    }
    let message = lines.join("\n");
    let mut failure = match errors.is_empty() {
        true => Failure::new(Exit::Failed, message),
        false => Failure::of_registry(message, errors.iter().copied()),
    };
    for hint in immutable_hints(client, errors.iter().copied()).await {
        failure = failure.hint(hint);
    }
    if !left.is_empty() {
        failure = failure.hint(format!("somebody else moved {}: left there", left.join(", ")));
    }
    match report.outcome {
        Outcome::Unfinished => failure.hint(FINISH_HINT),
        _ => failure.hint("what was moved is back where it was: nothing is promoted"),
    }
}

/// What a promotion that did not begin ends with.
async fn failure(error: PromoteError, client: &Client) -> Failure {
    let message = error.to_string();
    match error {
        PromoteError::Project(error) => error.into(),
        PromoteError::Registry { failures } => {
            let errors = || failures.iter().map(|(_, error)| error);
            let mut failure = Failure::of_registry(message, errors());
            for hint in immutable_hints(client, errors()).await {
                failure = failure.hint(hint);
            }
            for (reference, error) in &failures {
                if *error.kind() == ErrorKind::NotFound
                    && let Some(command) = client.creation_command(reference.repository())
                {
                    failure = failure.hint(format!("`{command}` makes the repository"));
                }
            }
            failure
        }
        PromoteError::Absent { .. } => Failure::new(Exit::Registry, message)
            .hint("`dockit build --push always` puts there what is absent; nothing was changed"),
        PromoteError::NotRemovable { .. } => Failure::new(Exit::Usage, message).hint(
            "--keep-new-tags begins all the same, and leaves new tags where they are if it fails",
        ),
        PromoteError::InProgress => Failure::new(Exit::Failed, message),
        PromoteError::Unfinished { .. } => Failure::new(Exit::Failed, message).hint(FINISH_HINT),
        PromoteError::NothingUnfinished => Failure::new(Exit::Usage, message),
        PromoteError::Moved { .. } => Failure::new(Exit::Failed, message)
            .hint("`dockit tag --rollback` puts back the others and leaves these where they are"),
        _ => Failure::new(Exit::Failed, message),
    }
}

/// How tags become movable, in the vendor's own words, once for each registry that refused to move one.
async fn immutable_hints<'a>(
    client: &Client,
    errors: impl Iterator<Item = &'a Error>,
) -> Vec<String> {
    let immutable = errors.filter(|error| *error.kind() == ErrorKind::Immutable);
    let mut hosts: Vec<&RegistryHost> = immutable.filter_map(Error::host).collect();
    hosts.sort_by_key(ToString::to_string);
    hosts.dedup();
    let mut hints = Vec::new();
    for host in hosts {
        if let Ok(kind) = client.provider(host).await
            && let Some(setting) = immutable_setting(kind)
        {
            hints.push(format!("{host}: {setting}"));
        }
    }
    hints
}

/// The setting that keeps tags where they are.
fn immutable_setting(kind: ProviderKind) -> Option<&'static str> {
    Some(match kind {
        ProviderKind::Ecr => {
            "image tag mutability of the repository (`aws ecr put-image-tag-mutability`), which can \
             except tags by filters"
        }
        ProviderKind::Google => {
            "immutable tags of the repository (`gcloud artifacts repositories update \
             --no-immutable-tags`)"
        }
        ProviderKind::Acr => {
            "the tag or repository is locked (`az acr repository update --write-enabled true`)"
        }
        ProviderKind::Gitlab => {
            "protected or immutable tags of the project (Settings > Packages and registries > \
             Protected container tags)"
        }
        ProviderKind::Harbor => "tag immutability rules of the project (Policy > Tag Immutability)",
        ProviderKind::DockerHub => "tag mutability settings of the repository (Settings > General)",
        ProviderKind::Quay => "immutability of the tag (Tags > Actions of the repository)",
        _ => return None,
    })
}
