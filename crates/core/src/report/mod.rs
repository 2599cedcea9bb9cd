//! Reports of images: what is in them, what made it, what tests and info commands say.
//!
//! [`gather`] asks registry and engine about every image of a run that is there; an
//! [`ImageDocument`] is the answer as data, [`markdown`] the same for people, and [`write()`] puts both
//! into files. What a build records on the way comes from a [`StepRecorder`].

mod document;
mod gather;
mod layers;
mod markdown;
mod steps;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub use document::{
    ImageDocument, InfoEntry, LayerEntry, REPORT_SCHEMA, SizeEntry, StepEntry, TestEntry,
};
pub use gather::{Gathered, gather};
pub use markdown::markdown;
pub use steps::StepRecorder;

/// Writes `DIRECTORY/NAME.json` and `DIRECTORY/NAME.md`; a `/` of the name is a directory. A reader sees
/// the old file or the new one, whole.
///
/// # Errors
///
/// The file that cannot be written, and why.
pub fn write(directory: &Path, document: &ImageDocument) -> Result<(), (PathBuf, io::Error)> {
    let mut json = serde_json::to_vec_pretty(document).expect("a document is plain data");
    json.push(b'\n');
    for (suffix, bytes) in [("json", json), ("md", markdown(document).into_bytes())] {
        let file = directory.join(format!("{}.{suffix}", document.name));
        replace(&file, &bytes).map_err(|error| (file, error))?;
    }
    Ok(())
}

fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".new.");
    // A temporary file is private by default; a report is an ordinary file.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut temporary = builder.tempfile_in(directory)?;
    temporary.write_all(bytes)?;
    temporary.persist(file).map_err(|error| error.error)?;
    Ok(())
}
