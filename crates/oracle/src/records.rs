//! Verdicts of BuildKit that were recorded, so that keys are compared with them without an engine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::{Row, State, Verdict, random};

/// The verdicts of one BuildKit.
pub struct Records {
    /// What gave the verdicts, and its version.
    pub builder: String,
    verdicts: BTreeMap<String, (String, Verdict)>,
}

/// Docker 20.10, through its own client.
pub const DOCKER: &str = "docker-20.10";

/// A newer BuildKit, through `buildctl`.
pub const BUILDKIT: &str = "buildkit";

impl Records {
    /// The ones that are kept with the tests.
    pub fn load(name: &str) -> Self {
        let text = std::fs::read_to_string(file(name)).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let verdicts = document["verdicts"].as_object().unwrap().iter().map(|(id, record)| {
            let word = |index: usize| record[index].as_str().unwrap();
            (id.clone(), (word(1).to_owned(), word(0).parse().unwrap()))
        });
        Self {
            builder: document["builder"].as_str().unwrap().to_owned(),
            verdicts: verdicts.collect(),
        }
    }

    /// The verdict on a row as it is now: one on a row that has changed since does not count.
    pub fn verdict(&self, row: &Row) -> Option<Verdict> {
        let (recorded, verdict) = self.verdicts.get(&row.id)?;
        (*recorded == fingerprint(row)).then_some(*verdict)
    }

    /// The rows it speaks of.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.verdicts.keys().map(String::as_str)
    }
}

/// The random changes that a builder has recorded verdicts on.
pub fn random_rows(builder: &str) -> Vec<Row> {
    random::rows(0, if builder == DOCKER { 300 } else { 150 })
}

/// What a record says it is about.
pub(crate) fn fingerprint(row: &Row) -> String {
    let short = |state: &State| state.fingerprint()[..12].to_owned();
    format!("{}-{}", short(&row.before), short(&row.after))
}

/// Where the verdicts of one BuildKit are kept.
pub(crate) fn file(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("records");
    directory.join(format!("{name}.json"))
}
