//! `dockit verify`

use std::time::Duration;

use clap::Args;
use dockit_core::verify::{Difference, verify};
use serde::Serialize;

use super::{Format, GlobalArgs, pin};
use crate::diagnostics::{Exit, Failure};
use crate::ui::{self, output};
use crate::{interrupt, session};

/// How long an interrupted look may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Arguments of `dockit verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    differences: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<pin::Entry>,
}

pub(super) async fn run(global: &GlobalArgs, _: &VerifyArgs) -> Result<Exit, Failure> {
    session::require_network(global, "verify")?;
    let project = session::project(global)?;
    let registry = session::registry(Some(&project))?;
    let cancel = interrupt::cancellation(GRACE);
    let verified = verify(&project, &registry, &session::key_options(), &cancel).await;
    let differences = match verified {
        Err(_) if cancel.is_cancelled() => return Err(interrupt::failure()),
        verified => verified?,
    };
    match global.format {
        Format::Json => output::json(&Document {
            schema: "dockit.verify/1",
            differences: differences.iter().map(entry).collect(),
        })?,
        Format::Text => {
            for difference in &differences {
                output::text(&text(difference))?;
            }
        }
    }
    if differences.is_empty() {
        return Ok(Exit::Done);
    }
    let count = ui::count(differences.len(), "difference");
    let failure = Failure::new(Exit::Differences, count);
    Ok(hints(&differences).into_iter().fold(failure, Failure::hint).report())
}

fn entry(difference: &Difference) -> Entry {
    let none = Entry { kind: "other", image: None, recorded: None, found: None, pin: None };
    match difference {
        Difference::BaseNotRecorded(base) => {
            Entry { kind: "base-not-recorded", found: Some(ui::shown(base)), ..none }
        }
        Difference::Absent { image, reference } => Entry {
            kind: "absent",
            image: Some(image.to_string()),
            found: Some(ui::shown(reference)),
            ..none
        },
        Difference::OtherKey { image, recorded, key } => Entry {
            kind: "other-key",
            image: Some(image.to_string()),
            recorded: Some(recorded.to_string()),
            found: Some(key.to_string()),
            ..none
        },
        Difference::OtherDigest { image, recorded, digest } => Entry {
            kind: "other-digest",
            image: Some(image.to_string()),
            recorded: Some(ui::shown(recorded)),
            found: Some(digest.to_string()),
            ..none
        },
        Difference::Pin(finding) => Entry {
            kind: "pin",
            image: finding.image.as_ref().map(ToString::to_string),
            pin: Some(pin::entry(finding, false)),
            ..none
        },
        _ => none,
    }
}

fn text(difference: &Difference) -> String {
    match difference {
        Difference::BaseNotRecorded(base) => {
            format!("{} is not recorded in the lockfile\n", ui::shown(base))
        }
        Difference::Absent { image, reference } => {
            format!("{image}: absent\n  expected  {}\n", ui::shown(reference))
        }
        Difference::OtherKey { image, recorded, key } => {
            format!(
                "{image}: the lockfile records another key\n  recorded  {recorded}\n  is        {key}\n"
            )
        }
        Difference::OtherDigest { image, recorded, digest } => format!(
            "{image}: the lockfile records another digest\n  recorded  {}\n  is        {digest}\n",
            ui::shown(recorded)
        ),
        Difference::Pin(finding) => pin::text(finding, false),
        _ => String::new(),
    }
}

fn hints(differences: &[Difference]) -> Vec<&'static str> {
    let any = |is: fn(&Difference) -> bool| differences.iter().any(is);
    let mut hints = Vec::new();
    if any(|it| matches!(it, Difference::BaseNotRecorded(_))) {
        hints.push("`dockit build` and `dockit update` record what images from elsewhere are");
    }
    if any(|it| {
        matches!(
            it,
            Difference::Absent { .. }
                | Difference::OtherKey { .. }
                | Difference::OtherDigest { .. }
        )
    }) {
        hints.push("`dockit build --pin` builds what is absent and records what is there");
    }
    if any(|it| matches!(it, Difference::Pin(_))) {
        hints.push("`dockit pin` rewrites what follows the lockfile");
    }
    hints
}
