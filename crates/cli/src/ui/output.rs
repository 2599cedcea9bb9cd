//! Data on standard output.

use std::borrow::Cow;
use std::io::{ErrorKind, Write as _};

use serde::Serialize;

use super::printable;
use crate::diagnostics::{Exit, Failure};

/// One JSON document and a line feed.
pub(crate) fn json(document: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    write(&(printable::json(text) + "\n"))
}

/// The document `{"schema": …, "images": […]}`.
pub(crate) fn images(schema: &'static str, images: &[impl Serialize]) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Document<'a, T> {
        schema: &'static str,
        images: &'a [T],
    }
    json(&Document { schema, images })
}

/// One line.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    self::text(&format!("{text}\n"))
}

/// Columns two blanks apart; the last one is not padded.
pub(crate) fn table(rows: Vec<Vec<String>>) -> Result<(), Failure> {
    text(&columns(&rows, ""))
}

/// Columns as text, each line behind a margin.
pub(crate) fn columns(rows: &[Vec<String>], margin: &str) -> String {
    let rows: Vec<Vec<Cow<'_, str>>> =
        rows.iter().map(|row| row.iter().map(|cell| printable::one_line(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    let mut lines = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}", width = *width))
            .collect();
        lines.push_str(margin);
        lines.push_str(cells.join("  ").trim_end());
        lines.push('\n');
    }
    lines
}

/// Text for people, without anything that a terminal obeys.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    write(&printable::lines(text))
}

fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Who closed the pipe has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => {
            Err(Failure::new(Exit::Failed, format!("cannot write to standard output: {error}")))
        }
        Ok(()) => Ok(()),
    }
}
