//! Verdicts as a live BuildKit gives them, to be compared with the recorded ones, or to complete them.

use std::collections::BTreeMap;

use serde_json::json;

use crate::builder::{Builder, verdicts};
use crate::records::{Records, file, fingerprint, random_rows};
use crate::{Row, Verdict, rows};

/// What a live BuildKit says otherwise than the records, in words; nothing if they agree.
pub fn differences(builder: &dyn Builder, name: &str) -> String {
    let records = Records::load(name);
    let rows = recorded_rows(builder, name);
    let mut text = String::new();
    for (row, verdict) in rows.iter().zip(build(builder, &rows.iter().collect::<Vec<_>>())) {
        let recorded = records.verdict(row);
        if recorded != Some(verdict) {
            text.push_str(&format!("{}: {verdict:?}, recorded {recorded:?}\n", row.id));
        }
    }
    for id in records.ids().filter(|id| rows.iter().all(|row| row.id != *id)) {
        text.push_str(&format!("{id}: recorded, but there is no such row\n"));
    }
    if !text.is_empty() {
        text.insert_str(0, &format!("{} against {}:\n", builder.name(), records.builder));
    }
    text
}

/// Records verdicts on rows that have none, or have changed since, and forgets rows that are gone.
/// Verdicts of another version of the builder do not stay.
pub fn complete(builder: &dyn Builder, name: &str) {
    let records = file(name).exists().then(|| Records::load(name));
    let records = records.filter(|records| records.builder == builder.name());
    let rows = recorded_rows(builder, name);
    let mut lines = BTreeMap::new();
    let mut line = |row: &Row, verdict: Verdict| {
        let record = json!([verdict.to_string(), fingerprint(row)]);
        lines.insert(row.id.clone(), format!("    {}: {record}", json!(row.id)));
    };
    let mut missing = Vec::new();
    for row in &rows {
        match records.as_ref().and_then(|records| records.verdict(row)) {
            Some(verdict) => line(row, verdict),
            None => missing.push(row),
        }
    }
    for (row, verdict) in missing.iter().zip(build(builder, &missing)) {
        line(row, verdict);
    }
    // One verdict a line, so that a change to it can be read.
    let lines: Vec<String> = lines.into_values().collect();
    let text = format!(
        "{{\n  \"builder\": {},\n  \"verdicts\": {{\n{}\n  }}\n}}\n",
        json!(builder.name()),
        lines.join(",\n")
    );
    std::fs::write(file(name), text).unwrap();
}

/// Those that a builder has recorded verdicts on.
fn recorded_rows(builder: &dyn Builder, name: &str) -> Vec<Row> {
    let mut rows = rows::all();
    rows.extend(random_rows(name));
    rows.retain(|row| builder.has(row.needs));
    rows
}

fn build(builder: &dyn Builder, rows: &[&Row]) -> Vec<Verdict> {
    let results = verdicts(builder, rows);
    let failures: Vec<&str> =
        results.iter().filter_map(|result| result.as_ref().err()).map(String::as_str).collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    results.into_iter().map(Result::unwrap).collect()
}
