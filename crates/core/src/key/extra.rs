//! Listings of what counts though no build gets it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use dockit_hashing::context::{
    BuildContext, ContextError, ContextErrorKind, ContextOptions, Listing, Selection, Source,
};

use super::contexts::{never_below, own_paths};
use super::inputs::ExtraInput;
use crate::config::Problem;
use crate::project::{Image, Project};
use crate::project_path::ProjectPath;

/// Extra inputs of images, each listed once however many images share it.
pub(super) struct ExtraInputs<'a> {
    project: &'a Project,
    listings: HashMap<String, Arc<Listing>>,
}

impl<'a> ExtraInputs<'a> {
    pub(super) fn new(project: &'a Project) -> Self {
        Self { project, listings: HashMap::new() }
    }

    /// What the image names as `inputs`, sorted by path; all that cannot be listed.
    pub(super) fn of(&mut self, image: &Image) -> Result<Vec<ExtraInput>, Vec<Problem>> {
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        for path in &image.inputs {
            match self.listing(path) {
                Ok(listing) => {
                    found.push(ExtraInput { path: path.as_str().to_owned(), listing });
                }
                Err(message) => problems.push(Problem {
                    file: self.project.config_file.clone(),
                    line: path.line(),
                    message,
                    suggestion: None,
                }),
            }
        }
        if problems.is_empty() { Ok(found) } else { Err(problems) }
    }

    fn listing(&mut self, path: &ProjectPath) -> Result<Arc<Listing>, String> {
        if let Some(listing) = self.listings.get(path.as_str()) {
            return Ok(listing.clone());
        }
        // A link that is named itself stands for what it leads to.
        let location = path.location().canonicalize().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("inputs: there is no {path}"),
            _ => format!("inputs: {path} cannot be read: {error}"),
        })?;
        if own_paths(self.project).iter().any(|own| location.starts_with(own)) {
            return Err(format!("inputs: {path} is dockit's own and never counts"));
        }
        let listing = list(self.project, &location).map_err(|error| refused(path, &error))?;
        let listing = Arc::new(listing);
        self.listings.insert(path.as_str().to_owned(), listing.clone());
        Ok(listing)
    }
}

/// Everything in a directory, or a single file by its name.
fn list(project: &Project, location: &Path) -> Result<Listing, ContextError> {
    let (root, selection) = match (location.is_dir(), location.parent(), location.file_name()) {
        (false, Some(parent), Some(name)) => {
            (parent, Selection::of([Source::mount(name.as_encoded_bytes())]))
        }
        _ => (location, Selection::whole()),
    };
    let never = never_below(project, root);
    let options =
        ContextOptions { never: &never, without_ignore_file: true, ..ContextOptions::default() };
    BuildContext::open(root, &options)?.listing(&selection)
}

fn refused(path: &ProjectPath, error: &ContextError) -> String {
    let at = error.path().unwrap_or(path.location()).display();
    match error.kind() {
        ContextErrorKind::SpecialFile(special) => {
            format!("inputs: {special} has no content that could count: {at}")
        }
        ContextErrorKind::Changed => format!("inputs: {at} changed while it was read"),
        _ => format!("inputs: {error}"),
    }
}
