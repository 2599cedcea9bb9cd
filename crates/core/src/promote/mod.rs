//! Promotion: the manifests that a set of images has already get other tags, without moving layers, all
//! or none.
//!
//! In this order: every source and the present state of every tag is read; the right to write, and that
//! new tags could be removed again, is checked; conditions and gates decide; what lies in another
//! repository is copied, with what refers to it; a journal with what was there before is written to the
//! disk; the tags are put. After one failure what was moved is put back. A promotion that was killed is
//! [resumed](resume) or [rolled back](rollback), and is in the way of others until then.
//!
//! What was promoted, from where, by which revision, and which gates were skipped is recorded beside each
//! image, in the same artifact that says for which commit a tag was put ([`moving_tags`](crate::moving_tags)).
//!
//! # Limitations
//!
//! - Readers of several tags see the old one of some and the new one of others for as long as the
//!   requests take.
//! - Registries have no compare-and-swap: whoever moves a tag between the look at it and the request
//!   that follows is overwritten.
//! - Promotions of other work trees are not known here. Two that move the same tags end with one of them
//!   rolled back, or, where they meet between look and request, with the later one's.
//! - What was copied to another repository stays there, without a tag, when a promotion is rolled back.

mod conditions;
mod error;
mod gates;
mod journal;
mod promotion;
mod removal;
mod report;
mod survey;
mod transaction;
mod wanted;

use dockit_registry::{Client, Digest, Reference};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

pub use self::error::PromoteError;
pub use self::promotion::{
    GATE_TIMEOUT, Gate, Predecessor, Promotion, PromotionSource, SkippedGate,
};
pub use self::report::{
    GateEnd, GateReport, MoveError, MoveReport, MoveStatus, Outcome, PromotionReport, Unmet,
};

use self::journal::{Journal, JournalGate, Journals, Move, State};
use self::survey::Manifests;
use self::transaction::Done;
use self::wanted::{Names, Wanted};
use crate::inputs::rfc3339;
use crate::moving_tags::TagFacts;
use crate::moving_tags::record::{Promoted, record_promoted};
use crate::project::Project;
use crate::source::Commit;

/// How many images are asked about or tagged at a time.
const AT_A_TIME: usize = 8;

/// What is to be promoted.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Promotions of the configuration, or tags.
    pub names: Vec<String>,
    /// Names and globs of images in the place of the configured ones; empty: those.
    pub images: Vec<String>,
    /// Where the manifests come from in the place of what is configured.
    pub from: Option<PromotionSource>,
    /// Below which registry or path the tagged images are to be, in the place of the project's.
    pub to_registry: Option<String>,
    /// Gates that are not run.
    pub skips: Vec<SkippedGate>,
    /// Tags that were absent may stay when the others are put back.
    pub keep_new_tags: bool,
    /// Nothing is written and no gate run.
    pub dry_run: bool,
}

/// What promotions work with.
#[derive(Clone, Copy, Debug)]
pub struct Services<'a> {
    /// The project.
    pub project: &'a Project,
    /// Asks registries.
    pub client: &'a Client,
    /// Ends it: no further tag is put, and those that were are put back.
    pub cancel: &'a CancellationToken,
}

/// Promotes, or with `dry_run` says what that would be.
///
/// # Errors
///
/// Nothing was tagged; what [`PromoteError`] says is in the way. A condition or gate that does not hold
/// and a tag that could not be put are in the report.
pub async fn promote(
    services: &Services<'_>,
    facts: &TagFacts<'_>,
    request: &Request,
) -> Result<PromotionReport, PromoteError> {
    let Services { project, client, cancel } = *services;
    // A dry run looks, also while another promotion is in progress.
    let journals = if request.dry_run { None } else { Some(free(project)?) };
    let promotions = wanted::promotions(project, request)?;
    let names = names(project, facts, &promotions)?;
    let wanted = wanted::wanted(project, &promotions, &names, request.to_registry.as_deref())?;
    let moves = moves(client, &promotions, &wanted).await?;
    let mut unmet: Vec<Unmet> =
        promotions.iter().flat_map(|one| conditions::of_sources(one, facts)).collect();
    let digests = wanted.into_iter().zip(&moves).map(|(one, it)| (one, it.new.clone()));
    let digests: Vec<(Wanted<'_>, Digest)> = digests.collect();
    unmet.extend(conditions::of_chain(client, &promotions, &names, &digests).await?);
    let commit = facts.source.git().and_then(|git| git.clean_commit());
    let mut report = PromotionReport {
        outcome: Outcome::Planned,
        id: None,
        revision: commit.map(|commit| commit.id.clone()),
        moves: reports(&moves, planned),
        unmet,
        gates: gates(&promotions, request),
        not_recorded: Vec::new(),
        journal: None,
    };
    let Some(journals) = journals else {
        return Ok(report);
    };
    if moves.iter().any(Move::changes) {
        survey::rights(client, &moves).await?;
        if !request.keep_new_tags {
            survey::removals(client, &moves).await?;
        }
    }
    if !report.unmet.is_empty() || !pass(services, &promotions, &moves, &mut report).await? {
        report.outcome = Outcome::Refused;
        report.moves = reports(&moves, untouched);
        return Ok(report);
    }
    if !moves.iter().any(Move::changes) {
        report.outcome = Outcome::Promoted;
        return Ok(report);
    }
    survey::copies(client, &moves).await?;
    let journal = begin(&moves, &report, commit, request.keep_new_tags);
    let journal = journal.map_err(|message| broken(&journals, message))?;
    report.id = Some(journal.id.clone());
    let manifests = survey::manifests(client, &moves).await?;
    if cancel.is_cancelled() {
        report.outcome = Outcome::RolledBack;
        report.moves = reports(&moves, untouched);
        return Ok(report);
    }
    carry_out(services, &journals, journal, &moves, &manifests, report).await
}

/// Goes on with a promotion that was killed.
///
/// # Errors
///
/// There is none, or its tags were moved by somebody else since: then nothing was changed.
pub async fn resume(services: &Services<'_>) -> Result<PromotionReport, PromoteError> {
    let (journals, journal, moves) = unfinished(services.project)?;
    let report = report_of(&journal, &moves);
    if journal.state == State::RollingBack {
        return undo(services, &journals, journal, &moves, report).await;
    }
    let targets = moves.iter().map(Move::target).collect();
    let now = survey::targets(services.client, targets).await?;
    let strange = |(one, now): (&Move, &Option<_>)| {
        let now = now.as_ref().map(dockit_registry::RawManifest::digest);
        (now != one.old_digest() && now != Some(&one.new)).then(|| one.target())
    };
    let tags: Vec<Reference> = moves.iter().zip(&now).filter_map(strange).collect();
    if !tags.is_empty() {
        return Err(PromoteError::Moved { tags });
    }
    let manifests = survey::manifests(services.client, &moves).await?;
    carry_out(services, &journals, journal, &moves, &manifests, report).await
}

/// Undoes a promotion that was killed. Tags that somebody else moved since stay.
///
/// # Errors
///
/// There is none.
pub async fn rollback(services: &Services<'_>) -> Result<PromotionReport, PromoteError> {
    let (journals, journal, moves) = unfinished(services.project)?;
    let report = report_of(&journal, &moves);
    undo(services, &journals, journal, &moves, report).await
}

/// The journals, if no promotion is under way.
fn free(project: &Project) -> Result<Journals, PromoteError> {
    let journals = Journals::open(project)?;
    match journals.current()? {
        None => Ok(journals),
        Some(journal) => {
            Err(PromoteError::Unfinished { id: journal.id, journal: journals.current_file() })
        }
    }
}

fn unfinished(project: &Project) -> Result<(Journals, Journal, Vec<Move>), PromoteError> {
    let journals = Journals::open(project)?;
    let journal = journals.current()?.ok_or(PromoteError::NothingUnfinished)?;
    let moves = journal.moves().map_err(|message| broken(&journals, message))?;
    Ok((journals, journal, moves))
}

fn broken(journals: &Journals, message: String) -> PromoteError {
    PromoteError::Journal { file: journals.current_file(), message }
}

fn names<'a>(
    project: &'a Project,
    facts: &'a TagFacts<'a>,
    promotions: &[Promotion],
) -> Result<Names<'a>, PromoteError> {
    let before = promotions.iter().flat_map(|one| &one.after).flat_map(|one| match one {
        Predecessor::Tag(tag) => std::slice::from_ref(tag),
        Predecessor::Promotion(name) => {
            project.promotions.get(name).map_or(&[][..], |promotion| &promotion.tags)
        }
    });
    let own = promotions.iter().flat_map(|one| {
        one.tags.iter().chain(match &one.from {
            PromotionSource::Tag(tag) => Some(tag),
            PromotionSource::Lock => None,
        })
    });
    Ok(Names::new(project, facts, own.chain(before))?)
}

/// Reads sources and targets.
async fn moves(
    client: &Client,
    promotions: &[Promotion],
    wanted: &[Wanted<'_>],
) -> Result<Vec<Move>, PromoteError> {
    let sources = survey::sources(client, wanted).await?;
    let targets = wanted.iter().map(|one| one.target.clone()).collect();
    let targets = survey::targets(client, targets).await?;
    let moves = wanted.iter().zip(targets).map(|(one, old)| {
        let tag = one.target.tag().expect("targets are made with tags").clone();
        Move {
            set: promotions[one.set].name.clone(),
            image: one.image.name.to_string(),
            source: one.source.clone(),
            repository: one.target.repository().clone(),
            tag,
            old,
            new: sources[&one.source].digest().clone(),
        }
    });
    Ok(moves.collect())
}

/// The gates as long as none was run.
fn gates(promotions: &[Promotion], request: &Request) -> Vec<GateReport> {
    let of_set = |promotion: &Promotion| {
        let gates = promotion.gates.iter().map(|gate| {
            let skip = request.skips.iter().find(|skip| skip.name == gate.name);
            GateReport {
                set: promotion.name.clone(),
                name: gate.name.clone(),
                command: gate.command.to_string(),
                end: skip.map_or(GateEnd::NotRun, |skip| GateEnd::Skipped(skip.reason.clone())),
            }
        });
        gates.collect::<Vec<_>>()
    };
    promotions.iter().flat_map(of_set).collect()
}

/// Runs the gates in their order, up to the first that fails. Tells whether all passed.
async fn pass(
    services: &Services<'_>,
    promotions: &[Promotion],
    moves: &[Move],
    report: &mut PromotionReport,
) -> Result<bool, PromoteError> {
    let all = promotions.iter().flat_map(|one| one.gates.iter().map(move |gate| (one, gate)));
    for ((promotion, gate), told) in all.zip(&mut report.gates) {
        if matches!(told.end, GateEnd::Skipped(_)) {
            continue;
        }
        let moves: Vec<&Move> = moves.iter().filter(|one| one.set == promotion.name).collect();
        let ran = gates::run(services.project, gate, &moves, services.cancel).await;
        let ran = ran.map_err(|error| PromoteError::Journal {
            file: services.project.state_directory(),
            message: error.to_string(),
        })?;
        let passed = ran.passed();
        told.end = GateEnd::Ran(ran);
        if !passed {
            return Ok(false);
        }
    }
    Ok(true)
}

fn begin(
    moves: &[Move],
    report: &PromotionReport,
    commit: Option<&Commit>,
    keep_new_tags: bool,
) -> Result<Journal, String> {
    let now = OffsetDateTime::now_utc();
    let started = rfc3339(now).unwrap_or_default();
    let id = now.unix_timestamp_nanos() / 1_000_000;
    let mut journal = Journal::new(id.to_string(), started, moves)?;
    let gates = report.gates.iter().map(|gate| JournalGate {
        set: gate.set.clone(),
        name: gate.name.clone(),
        skipped: match &gate.end {
            GateEnd::Skipped(reason) => Some(reason.clone()),
            _ => None,
        },
    });
    journal.revision = commit.map(|commit| commit.id.clone());
    journal.committed = commit.and_then(|commit| commit.time).and_then(rfc3339);
    journal.keep_new_tags = keep_new_tags;
    journal.gates = gates.collect();
    Ok(journal)
}

/// Writes the journal, puts the tags, and puts them back if one cannot be put.
async fn carry_out(
    services: &Services<'_>,
    journals: &Journals,
    mut journal: Journal,
    moves: &[Move],
    manifests: &Manifests,
    mut report: PromotionReport,
) -> Result<PromotionReport, PromoteError> {
    report.journal = Some(journals.write(&journal)?);
    let done = transaction::put_all(services.client, moves, manifests, services.cancel).await;
    let complete =
        done.iter().all(|done| matches!(done.status, MoveStatus::Put | MoveStatus::Unchanged));
    report.moves = reports_of(moves, &done);
    if complete {
        report.not_recorded = record(services.client, &journal, moves, manifests).await;
        report.outcome = Outcome::Promoted;
        journal.state = State::Promoted;
        report.journal = Some(journals.write(&journal)?);
        return Ok(report);
    }
    journal.state = State::RollingBack;
    // Whatever becomes of the journal, the tags are put back.
    let noted = journals.write(&journal);
    let tried: Vec<(usize, &Move)> =
        moves.iter().enumerate().filter(|(index, _)| done[*index].tried).collect();
    let backwards: Vec<&Move> = tried.iter().map(|(_, one)| *one).collect();
    let back = transaction::put_back(services.client, &backwards, journal.keep_new_tags).await;
    for ((index, _), back) in tried.into_iter().zip(back) {
        let told = &mut report.moves[index];
        told.status = back.status;
        // What failed first is why it was put back.
        told.error = told.error.take().or(back.error);
    }
    noted?;
    end_undone(journals, journal, report)
}

/// Puts all tags of a journal back.
async fn undo(
    services: &Services<'_>,
    journals: &Journals,
    mut journal: Journal,
    moves: &[Move],
    mut report: PromotionReport,
) -> Result<PromotionReport, PromoteError> {
    journal.state = State::RollingBack;
    report.journal = Some(journals.write(&journal)?);
    let all: Vec<&Move> = moves.iter().collect();
    let done = transaction::put_back(services.client, &all, journal.keep_new_tags).await;
    report.moves = reports_of(moves, &done);
    end_undone(journals, journal, report)
}

fn end_undone(
    journals: &Journals,
    mut journal: Journal,
    mut report: PromotionReport,
) -> Result<PromotionReport, PromoteError> {
    if report.moves.iter().any(|one| one.status == MoveStatus::Unknown) {
        report.outcome = Outcome::Unfinished;
        return Ok(report);
    }
    report.outcome = Outcome::RolledBack;
    journal.state = State::RolledBack;
    report.journal = Some(journals.write(&journal)?);
    Ok(report)
}

/// Records beside each image that was tagged what happened. What cannot be recorded undoes nothing.
async fn record(
    client: &Client,
    journal: &Journal,
    moves: &[Move],
    manifests: &Manifests,
) -> Vec<(Reference, dockit_registry::Error)> {
    let mut failures = Vec::new();
    // One after the other: registries without a list of referrers keep one that is written whole.
    for one in moves.iter().filter(|one| one.changes()) {
        let Some(image) = manifests.get(&one.new) else { continue };
        let skipped = journal.gates.iter().filter(|gate| gate.set == one.set);
        let (skipped, passed): (Vec<_>, Vec<_>) = skipped.partition(|gate| gate.skipped.is_some());
        let promoted = Promoted {
            tag: &one.tag,
            set: &one.set,
            source: &one.source,
            replaced: one.old_digest(),
            started: &journal.started,
            revision: journal.revision.as_deref(),
            committed: journal.committed.as_deref(),
            passed: passed.iter().map(|gate| gate.name.clone()).collect(),
            skipped: skipped
                .iter()
                .map(|gate| (gate.name.clone(), gate.skipped.clone().unwrap_or_default()))
                .collect(),
        };
        if let Err(error) = record_promoted(client, &one.repository, image, &promoted).await {
            failures.push((one.target(), error));
        }
    }
    failures
}

fn planned(one: &Move) -> MoveStatus {
    if one.changes() { MoveStatus::Planned } else { MoveStatus::Unchanged }
}

fn untouched(one: &Move) -> MoveStatus {
    if one.changes() { MoveStatus::Untouched } else { MoveStatus::Unchanged }
}

fn reports(moves: &[Move], status: impl Fn(&Move) -> MoveStatus) -> Vec<MoveReport> {
    moves.iter().map(|one| told(one, status(one), None)).collect()
}

fn reports_of(moves: &[Move], done: &[Done]) -> Vec<MoveReport> {
    let pairs = moves.iter().zip(done);
    pairs.map(|(one, done)| told(one, done.status.clone(), done.error.clone())).collect()
}

fn told(one: &Move, status: MoveStatus, error: Option<MoveError>) -> MoveReport {
    MoveReport {
        set: one.set.clone(),
        image: one.image.clone(),
        source: one.source.clone(),
        target: one.target(),
        old: one.old_digest().cloned(),
        new: one.new.clone(),
        status,
        error,
    }
}

/// What is known of an interrupted promotion.
fn report_of(journal: &Journal, moves: &[Move]) -> PromotionReport {
    PromotionReport {
        outcome: Outcome::Unfinished,
        id: Some(journal.id.clone()),
        revision: journal.revision.clone(),
        moves: reports(moves, untouched),
        unmet: Vec::new(),
        gates: Vec::new(),
        not_recorded: Vec::new(),
        journal: None,
    }
}
