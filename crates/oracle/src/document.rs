//! `docs/precision.md`: the figures, and the rows that are not exact, each with its reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::judge::Counts;
use crate::key::key;
use crate::records::{BUILDKIT, DOCKER, Records, random_rows};
use crate::{Judgement, Needs, Row, judge, rows};

/// What the document has for a row that nobody has explained yet.
pub const NO_REASON: &str = "?";

/// Threads that compute keys.
const WRITERS: usize = 4;

/// A row that is known not to be exact.
#[derive(Debug)]
pub struct Known {
    /// How it is judged, in the word of [`Judgement::word`].
    pub judgement: String,
    /// Why that is so.
    pub reason: String,
}

/// The rows of one builder's table.
///
/// Panics if the document has no section for it, or a row twice.
pub fn known(builder: &str) -> BTreeMap<String, Known> {
    let text = text();
    let (_, section, _) = split(&text, builder);
    let rows = section.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.strip_suffix(" |")?.splitn(3, " | ");
        let id = cells.next()?.trim_end_matches('`').to_owned();
        let [judgement, reason] = [cells.next()?, cells.next()?].map(str::to_owned);
        Some((id, Known { judgement, reason }))
    });
    let mut known = BTreeMap::new();
    for (id, row) in rows {
        assert!(known.insert(id.clone(), row).is_none(), "docs/precision.md has {id} twice");
    }
    known
}

/// What is otherwise than documented, in words; nothing if all is as documented.
pub fn differences(builder: &str, judged: &[(&Row, Judgement)]) -> String {
    let mut known = known(builder);
    let mut text = String::new();
    for (row, judgement) in judged {
        let documented = known.remove(&row.id);
        let documented = documented.map_or("exact".to_owned(), |known| known.judgement);
        if documented != judgement.word() {
            writeln!(text, "{}: {}, documented as {documented}", row.id, judgement.word()).unwrap();
        }
    }
    for id in known.keys() {
        writeln!(text, "{id}: documented, but there is no such row").unwrap();
    }
    text
}

/// The rows that a builder has recorded verdicts on, judged.
///
/// Panics if one has changed since, or was never recorded.
pub fn judge_recorded<'a>(builder: &str, rows: &'a [Row]) -> Vec<(&'a Row, Judgement)> {
    let records = Records::load(builder);
    let applies = |row: &&Row| builder != DOCKER || row.needs == Needs::Any;
    let rows: Vec<&Row> = rows.iter().filter(applies).collect();
    let missing: Vec<&str> = rows
        .iter()
        .filter(|row| records.verdict(row).is_none())
        .map(|row| row.id.as_str())
        .collect();
    assert!(
        missing.is_empty(),
        "no verdict of {} on these rows as they are now (docs/precision.md says how to record): {missing:?}",
        records.builder
    );
    // Most of the time goes into writing trees.
    std::thread::scope(|scope| {
        for some in rows.chunks(rows.len().div_ceil(WRITERS)) {
            scope.spawn(|| some.iter().for_each(|row| drop([&row.before, &row.after].map(key))));
        }
    });
    let judged = |row: &&'a Row| {
        let verdict = records.verdict(row)?;
        Some((*row, judge(&key(&row.before), &key(&row.after), verdict)))
    };
    rows.iter().filter_map(judged).collect()
}

/// The document as it should be, from the records, the keys, and the reasons that it has.
pub fn rewritten() -> String {
    let rows = rows::all();
    let mut text = text();
    for builder in [DOCKER, BUILDKIT] {
        let judged = judge_recorded(builder, &rows);
        let random = random_rows(builder);
        let judged_random = judge_recorded(builder, &random);
        let (before, _, after) = split(&text, builder);
        text = format!("{before}{}{after}", section(builder, &judged, &judged_random));
    }
    text
}

/// Replaces the document.
pub fn save(text: &str) {
    std::fs::write(file(), text).unwrap();
}

/// The document.
pub fn text() -> String {
    std::fs::read_to_string(file()).unwrap()
}

fn section(
    builder: &str,
    judged: &[(&Row, Judgement)],
    judged_random: &[(&Row, Judgement)],
) -> String {
    let known = known(builder);
    let mut text = format!(
        "\nVerdicts of {}.\n\n- Rows: {}\n- Random: {}\n\n| row | judgement | reason |\n| --- | --- | --- |\n",
        Records::load(builder).builder,
        counts(judged),
        counts(judged_random)
    );
    for (row, judgement) in judged {
        if *judgement != Judgement::Exact {
            let reason = known.get(&row.id).map_or(NO_REASON, |known| &known.reason);
            writeln!(text, "| `{}` | {} | {reason} |", row.id, judgement.word()).unwrap();
        }
    }
    text.push('\n');
    text
}

/// How often each judgement was passed, in words.
pub fn counts(judged: &[(&Row, Judgement)]) -> String {
    let counts = Counts::of(judged.iter().map(|(_, judgement)| *judgement));
    let Counts { exact, imprecise, refused, unsound, mute } = counts;
    let rows = exact + imprecise + refused + unsound;
    let mut text = format!(
        "{rows} changes, {exact} exact, {imprecise} imprecise, {refused} refused, {unsound} unsound"
    );
    if mute > 0 {
        write!(text, "; {mute} more do not build in the first place").unwrap();
    }
    text
}

/// The document before, in and after the part that is generated for a builder.
fn split<'a>(text: &'a str, builder: &str) -> (&'a str, &'a str, &'a str) {
    let [begin, end] = ["begin", "end"].map(|word| format!("<!-- {word} {builder} -->\n"));
    let found = text.find(&begin).map(|start| start + begin.len()).zip(text.find(&end));
    let (start, end) =
        found.unwrap_or_else(|| panic!("docs/precision.md has no part for {builder}"));
    (&text[..start], &text[start..end], &text[end..])
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/precision.md")
}
