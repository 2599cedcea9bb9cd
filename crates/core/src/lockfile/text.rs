//! The text of a lockfile: how it is written, and how it is read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dockit_registry::{Digest, Platform, Reference};
use serde::Deserialize;
use toml::Spanned;

use super::{LockedBase, LockedImage, LockedPlatform, Lockfile, LockfileErrorKind};
use crate::epoch::Epoch;
use crate::image_name::ImageName;
use crate::key::ImageKey;

impl Lockfile {
    /// The file's text: entries sorted, one block each.
    pub fn to_text(&self) -> String {
        let mut text = String::from(
            "# Written by dockit. Change it with dockit's commands; keep it under version control.\n\
             version = 1\n",
        );
        for (reference, base) in &self.bases {
            block(
                &mut text,
                "base",
                &[
                    ("reference", &quoted(&reference.to_string())),
                    ("digest", &quoted(base.digest.as_str())),
                ],
            );
            for (platform, entry) in &base.platforms {
                block(
                    &mut text,
                    "base.platform",
                    &[
                        ("name", &quoted(&platform.to_string())),
                        ("digest", &quoted(entry.digest.as_str())),
                        ("env", &list(&entry.env)),
                        ("onbuild", &list(&entry.onbuild)),
                    ],
                );
            }
        }
        for (name, epoch) in &self.epochs {
            let entries =
                [("image", &quoted(name.as_str())[..]), ("epoch", &quoted(&epoch.to_string()))];
            block(&mut text, "epoch", &entries);
        }
        for (name, image) in &self.images {
            block(
                &mut text,
                "image",
                &[
                    ("name", &quoted(name.as_str())),
                    ("key", &quoted(&image.key.to_string())),
                    ("reference", &quoted(&image.reference.to_string())),
                ],
            );
        }
        // git takes a block that comes after a line that changes for the same place. This one never does.
        text.push_str("\n# No entries below this line.\n");
        text
    }

    pub(super) fn parse(text: &str) -> Result<Self, LockfileErrorKind> {
        if let Some(line) = first_conflict(text) {
            return Err(LockfileErrorKind::Conflict { line });
        }
        let line_at = |start: usize| {
            let before = &text.as_bytes()[..start.min(text.len())];
            1 + before.iter().filter(|byte| **byte == b'\n').count()
        };
        let file: LockfileSchema =
            toml::from_str(text).map_err(|error| LockfileErrorKind::Syntax {
                line: line_at(error.span().map_or(0, |span| span.start)),
                message: error.message().lines().collect::<Vec<_>>().join(", "),
            })?;
        if file.version != 1 {
            return Err(LockfileErrorKind::Version(file.version));
        }
        let mut lockfile = Self::default();
        let mut names = Names::default();
        for base in file.base {
            let line = line_at(base.span().start);
            let base = base.into_inner();
            names.add(base.reference.0.to_string(), line)?;
            let platforms = base.platform.into_iter().map(|platform| {
                let entry = LockedPlatform {
                    digest: platform.digest.0,
                    env: platform.env,
                    onbuild: platform.onbuild,
                };
                (platform.name.0, entry)
            });
            let entry = LockedBase { digest: base.digest.0, platforms: platforms.collect() };
            lockfile.bases.insert(base.reference.0, entry);
        }
        for epoch in file.epoch {
            let line = line_at(epoch.span().start);
            let epoch = epoch.into_inner();
            let name = epoch.image.0;
            names.add(format!("the epoch of {name}"), line)?;
            lockfile.epochs.insert(name, epoch.epoch.0);
        }
        for image in file.image {
            let line = line_at(image.span().start);
            let image = image.into_inner();
            names.add(format!("image {}", image.name.0), line)?;
            let entry = LockedImage { key: image.key.0, reference: image.reference };
            lockfile.images.insert(image.name.0, entry);
        }
        Ok(lockfile)
    }
}

/// What was read already, and on which line.
#[derive(Default)]
struct Names(BTreeMap<String, usize>);

impl Names {
    fn add(&mut self, name: String, line: usize) -> Result<(), LockfileErrorKind> {
        match self.0.insert(name.clone(), line) {
            Some(first) => Err(LockfileErrorKind::Twice { line, name, first }),
            None => Ok(()),
        }
    }
}

/// The line of the first mark that git leaves where two sides do not fit together. No string that is
/// written here goes over several lines, so that a line of its own is nothing else.
fn first_conflict(text: &str) -> Option<usize> {
    let is_mark = |line: &str| {
        let marks = ["<<<<<<<", "|||||||", "=======", ">>>>>>>"];
        marks.iter().any(|mark| {
            line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    };
    text.lines().position(is_mark).map(|index| index + 1)
}

fn block(text: &mut String, table: &str, entries: &[(&str, &str)]) {
    let _ = writeln!(text, "\n[[{table}]]");
    for (key, value) in entries {
        let _ = writeln!(text, "{key} = {value}");
    }
}

/// One line for each item, so that a change of one item is a change of one line.
fn list(items: &[String]) -> String {
    if items.is_empty() {
        return "[]".to_owned();
    }
    let lines: String = items.iter().map(|item| format!("    {},\n", quoted(item))).collect();
    format!("[\n{lines}]")
}

/// A basic string, because TOML's multi-line strings would break the block.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            control if control.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(control));
            }
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LockfileSchema {
    version: u64,
    #[serde(default)]
    base: Vec<Spanned<BaseSchema>>,
    #[serde(default)]
    epoch: Vec<Spanned<EpochSchema>>,
    #[serde(default)]
    image: Vec<Spanned<ImageSchema>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BaseSchema {
    reference: Text<Reference>,
    digest: Text<Digest>,
    #[serde(default)]
    platform: Vec<PlatformSchema>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlatformSchema {
    name: Text<Platform>,
    digest: Text<Digest>,
    env: Vec<String>,
    onbuild: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochSchema {
    image: Text<ImageName>,
    epoch: Text<Epoch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageSchema {
    name: Text<ImageName>,
    key: Text<ImageKey>,
    /// Perhaps one in a layout.
    #[serde(deserialize_with = "Reference::deserialize_written")]
    reference: Reference,
}

/// A value that is written as a string.
struct Text<T>(T);

impl<'de, T> Deserialize<'de> for Text<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}
