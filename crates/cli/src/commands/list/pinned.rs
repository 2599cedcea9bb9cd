//! What `dockit.lock` records of the project's images.

use dockit_core::{Error, Lockfile, Project};
use serde::Serialize;

use super::super::{Format, GlobalArgs};
use crate::diagnostics::{Exit, Failure};
use crate::ui::output;

#[derive(Serialize)]
struct Entry {
    name: String,
    key: String,
    reference: String,
}

/// Prints what is recorded: of one image its reference alone, for scripts.
pub(super) fn run(
    global: &GlobalArgs,
    project: &Project,
    texts: &[String],
) -> Result<Exit, Failure> {
    let lockfile = Lockfile::load(&project.lockfile).map_err(Error::from)?;
    let selected = project.select(texts).map_err(Error::from)?;
    let mut entries = Vec::new();
    let mut missing: Vec<&str> = Vec::new();
    for name in selected.iter().filter(|name| !name.is_part()) {
        match lockfile.image(name) {
            Some(locked) => entries.push(Entry {
                name: name.to_string(),
                key: locked.key.to_string(),
                reference: locked.reference.to_string(),
            }),
            // What was not named need not be there.
            None if !texts.is_empty() => missing.push(name.as_str()),
            None => {}
        }
    }
    if !missing.is_empty() {
        let file = lockfile_name(project);
        let message = format!("{file} has no entry for {}", missing.join(", "));
        return Err(Failure::new(Exit::Usage, message)
            .hint(format!("`dockit build --pin {}` records it", missing.join(" "))));
    }
    match (global.format, &*entries, texts) {
        (Format::Json, ..) => output::images("dockit.pinned/1", &entries)?,
        (Format::Text, [entry], [_]) => output::line(&entry.reference)?,
        (Format::Text, ..) => {
            let row = |entry: &Entry| vec![entry.name.clone(), entry.reference.clone()];
            output::table(entries.iter().map(row).collect())?;
        }
    }
    Ok(Exit::Done)
}

fn lockfile_name(project: &Project) -> String {
    let file = project.lockfile.strip_prefix(&project.root).unwrap_or(&project.lockfile);
    file.display().to_string()
}
