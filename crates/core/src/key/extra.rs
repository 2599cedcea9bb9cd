//! Listings of what counts though no build gets it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use dockit_hashing::context::{
    BuildContext, ContextError, ContextErrorKind, ContextOptions, Listing, Selection, Source,
    StatCache,
};

use super::contexts::{never_below, own_paths};
use super::inputs::ExtraInput;
use crate::config::Problem;
use crate::project::{Image, Project};
use crate::project_path::ProjectPath;

/// Extra inputs of images, each listed once however many images share it.
pub(super) struct ExtraInputs<'a> {
    project: &'a Project,
    stat_cache: Option<StatCache>,
    found: HashMap<String, ExtraInput>,
}

impl<'a> ExtraInputs<'a> {
    pub(super) fn new(project: &'a Project, stat_cache: Option<StatCache>) -> Self {
        Self { project, stat_cache, found: HashMap::new() }
    }

    /// What the image names as `inputs`, sorted by path; all that cannot be listed.
    pub(super) fn of(&mut self, image: &Image) -> Result<Vec<ExtraInput>, Vec<Problem>> {
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        for path in &image.inputs {
            match self.input(path) {
                Ok(input) => found.push(input),
                Err(message) => problems.push(Problem {
                    file: self.project.config_file.clone(),
                    line: path.line(),
                    message,
                    suggestion: None,
                }),
            }
        }
        found.sort_by(|one, other| one.path.cmp(&other.path));
        if problems.is_empty() { Ok(found) } else { Err(problems) }
    }

    fn input(&mut self, path: &ProjectPath) -> Result<ExtraInput, String> {
        if let Some(input) = self.found.get(path.as_str()) {
            return Ok(input.clone());
        }
        // A link that is named itself stands for what it leads to.
        let location = path.location().canonicalize().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("inputs: there is no {path}"),
            _ => format!("inputs: {path} cannot be read: {error}"),
        })?;
        if own_paths(self.project).iter().any(|own| location.starts_with(own)) {
            return Err(format!("inputs: {path} is dockit's own and never counts"));
        }
        let listing = self.list(&location).map_err(|error| refused(path, &error))?;
        let end = if location.is_dir() { "/" } else { "" };
        let input = ExtraInput { path: format!("{path}{end}"), listing: Arc::new(listing) };
        self.found.insert(path.as_str().to_owned(), input.clone());
        Ok(input)
    }

    /// Everything in a directory, or a single file by its name.
    fn list(&self, location: &Path) -> Result<Listing, ContextError> {
        let (root, selection) = match (location.is_dir(), location.parent(), location.file_name()) {
            (false, Some(parent), Some(name)) => {
                (parent, Selection::of([Source::mount(name.as_encoded_bytes())]))
            }
            _ => (location, Selection::whole()),
        };
        let never = never_below(self.project, root);
        let options = ContextOptions {
            never: &never,
            without_ignore_file: true,
            stat_cache: self.stat_cache.as_ref(),
            ..ContextOptions::default()
        };
        BuildContext::open(root, &options)?.listing(&selection)
    }
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
