//! `--max-size`: how much may be transferred.

use std::str::FromStr;

use dockit_core::backend::Engine;
use dockit_core::pull::{PullSize, sizes};
use dockit_registry::{Platform, Reference, Registry};

use crate::commands::named::Named;
use crate::diagnostics::{Exit, Failure};
use crate::ui;
use crate::ui::output::columns;

/// A number of bytes as people write it: `500MB`, `2g`, `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a size such as 500MB, 2GB or 1GiB".to_owned();
        let digits = text.find(|next: char| !next.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "t" | "tb" => 1_000_000_000_000,
            "kib" => 1_u64 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "tib" => 1 << 40,
            _ => return Err(wrong()),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        bytes.map(Self).ok_or_else(wrong)
    }
}

/// Fails with the sizes of all images if more would be transferred into the engine.
pub(super) async fn check(
    limit: Size,
    registry: &dyn Registry,
    engine: &dyn Engine,
    images: &[(&Named, Reference, Platform)],
) -> Result<(), Failure> {
    let asked: Vec<(Reference, Platform)> = images
        .iter()
        .map(|(_, reference, platform)| (reference.clone(), platform.clone()))
        .collect();
    let sizes = sizes(registry, engine, &asked).await?;
    let total = sizes.iter().fold(0_u64, |total, size| total.saturating_add(size.transfer));
    if total <= limit.0 {
        return Ok(());
    }
    let mut rows = vec![vec!["IMAGE".to_owned(), "SIZE".to_owned(), "TO TRANSFER".to_owned()]];
    rows.extend(images.iter().zip(&sizes).map(|((image, ..), size)| row(&image.text, size)));
    rows.push(vec!["together".to_owned(), String::new(), ui::size(total)]);
    let message = format!(
        "{} would be transferred, and {} may be: nothing was pulled\n{}",
        ui::size(total),
        ui::size(limit.0),
        columns(&rows, "  ").trim_end()
    );
    Err(Failure::new(Exit::Usage, message).hint("name fewer images, or allow more with --max-size"))
}

fn row(name: &str, size: &PullSize) -> Vec<String> {
    let transfer = match size.present {
        true => "present".to_owned(),
        false => ui::size(size.transfer),
    };
    vec![name.to_owned(), ui::size(size.whole), transfer]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_ten_unless_they_say_otherwise() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("12", Some(12)),
            ("12b", Some(12)),
            ("5kB", Some(5_000)),
            ("500MB", Some(500_000_000)),
            ("2 g", Some(2_000_000_000)),
            ("1GiB", Some(1 << 30)),
            ("1tib", Some(1 << 40)),
            ("", None),
            ("MB", None),
            ("-1", None),
            ("1.5GB", None),
            ("1 giga", None),
            ("99999999999999TB", None),
        ] {
            assert_eq!(text.parse().ok(), bytes.map(Size), "{text:?}");
        }
    }
}
