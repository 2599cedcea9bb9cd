//! The rows of `docs/precision.md` and random changes, on a live engine. `scripts/test` runs this after
//! `scripts/setup`, which gives `DOCKIT_TEST_BASE`, an image with a shell.

use std::io::Write as _;

use dockit_oracle::builder::{Builder, Docker, verdicts};
use dockit_oracle::key::key;
use dockit_oracle::records::DOCKER;
use dockit_oracle::{Judgement, Row, document, judge, random, rows, setting};

/// Random changes that are built; the recorded verdicts are on more.
const RANDOM_ROWS: u64 = 60;

#[test]
fn keys_change_exactly_when_the_engine_builds_except_as_documented() {
    let docker = Docker::from_environment();
    let rows = rows::all();
    let judged = judge_all(&docker, &rows, "rows");
    // The document speaks of one version. Of any other it only has to hold that no key stays as it was
    // where it must not.
    if docker.version().starts_with("20.10.") {
        let differences = document::differences(DOCKER, &judged);
        assert!(differences.is_empty(), "otherwise than docs/precision.md says:\n{differences}");
    } else {
        let known = document::known(DOCKER);
        let declared = |row: &Row| {
            known.get(&row.id).is_some_and(|known| known.judgement == Judgement::Unsound.word())
        };
        let unsound: Vec<&str> = judged
            .iter()
            .filter(|(row, judgement)| *judgement == Judgement::Unsound && !declared(row))
            .map(|(row, _)| row.id.as_str())
            .collect();
        assert!(unsound.is_empty(), "{unsound:?}");
    }
}

/// From the same seeds each time, so that it does not fail for whoever happens to come by.
#[test]
fn random_changes_never_leave_a_key_as_it_was_that_the_engine_builds() {
    let first = setting("DOCKIT_ORACLE_SEED").map_or(0, |seed| seed.parse().unwrap());
    let rows = random::rows(first, RANDOM_ROWS);
    let judged = judge_all(&Docker::from_environment(), &rows, "random");
    let unsound = random::unsound(&judged);
    assert!(unsound.is_empty(), "\n{unsound}");
}

/// Builds and keys every row that the engine knows the syntax of, and prints how it came out.
fn judge_all<'a>(docker: &Docker, rows: &'a [Row], title: &str) -> Vec<(&'a Row, Judgement)> {
    let rows: Vec<&Row> = rows.iter().filter(|row| docker.has(row.needs)).collect();
    let mut judged = Vec::new();
    let mut failures = Vec::new();
    for (row, verdict) in rows.iter().zip(verdicts(docker, &rows)) {
        match verdict {
            Ok(verdict) => {
                let keys = [&row.before, &row.after].map(key);
                judged.push((*row, judge(&keys[0], &keys[1], verdict)));
            }
            Err(error) => failures.push(error),
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    let line = format!("{title}, {}: {}\n", docker.name(), document::counts(&judged));
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    judged
}
