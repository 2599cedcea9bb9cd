//! Files that a run writes, which must not be inputs of what it builds.

use std::path::{Path, PathBuf};

use dockit_core::key::{ReadAs, WrittenPath, written_input};
use dockit_core::story::Request;
use dockit_core::{Error, ImageGraph, ImageName, Lockfile, Project};

use super::build::BuildArgs;
use crate::diagnostics::{Exit, Failure};
use crate::ui::ci::Outputs;

/// Sees, before anything is written or asked, that outputs have names of their own for the images of the
/// run, and that no key would read what the run writes: each run would change the key of the next one.
pub(super) fn check(
    project: &Project,
    request: &Request,
    args: &BuildArgs,
    outputs: &Outputs,
) -> Result<(), Failure> {
    let files: Vec<&Path> = outputs.files().chain(args.told.report.as_deref()).collect();
    if files.is_empty() && args.reports.is_none() {
        return Ok(());
    }
    let graph = ImageGraph::new(project).map_err(Error::from)?;
    let selected = graph.select_for(&request.images, &request.platforms);
    let mut selected = selected.map_err(Error::from)?.images;
    if request.with_dependents {
        selected = graph.with_dependents(&selected);
    }
    let images = graph.with_dependencies(&selected);
    let names: Vec<&ImageName> = images.iter().map(|node| &node.image().name).collect();
    outputs.check_names(names.iter().copied())?;
    let lockfile = Lockfile::of(project).map_err(Error::from)?;
    let written: Vec<WrittenPath> = files
        .iter()
        .map(|file| WrittenPath::File(absolute(file)))
        .chain(args.reports.as_deref().map(|reports| WrittenPath::Reports(absolute(reports))))
        .collect();
    let Some(found) = written_input(project, &graph, &selected, &lockfile, &written) else {
        return Ok(());
    };
    let given = files.into_iter().chain(args.reports.as_deref()).zip(&written);
    let given = given.into_iter().find(|(_, written)| **written == found.written);
    let file = given.map(|(given, _)| given.display().to_string()).unwrap_or_default();
    let image = found.image;
    Err(match found.read_as {
        ReadAs::Context { path, ignore_file } => {
            let message = format!(
                "{file} lies in the build context of image {image}, which reads it: each run would \
                 change the image's key"
            );
            let hint = format!(
                "write it to another place, or add the line `{path}` to {}",
                ignore_file.display()
            );
            Failure::new(Exit::Usage, message).hint(hint)
        }
        ReadAs::Input(input) => {
            let message = format!(
                "{file} is one of the `inputs` of image {image} ({input}): each run would change the \
                 image's key"
            );
            Failure::new(Exit::Usage, message).hint("write it to another place")
        }
    })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
