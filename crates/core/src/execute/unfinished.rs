//! What a run has begun and the next one has to end, if this one is cut off.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use dockit_registry::{Digest, Reference};

use crate::image_name::ImageName;
use crate::key::ImageKey;
use crate::lockfile::prepare_state;
use crate::plan::Plan;
use crate::project::Project;

/// How many notes are kept, the newest.
const MAX_NOTES: usize = 200;

/// Notes in dockit's own directory, one file for each, written before the work begins and removed when
/// it is done. A project that [keeps nothing](Project::in_memory) has none.
///
/// They only help: what cannot be written is not there, and another work tree does not see them. A link
/// in the directory's place is not followed.
#[derive(Clone, Debug)]
pub struct Unfinished {
    state: PathBuf,
    kept: bool,
}

/// What may be left to do.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// The inputs of what was pushed under this reference are to be published.
    Inputs(Reference),
    /// These images are to pass the tests of the project.
    ProjectTests(Vec<(ImageName, ImageKey)>),
}

impl Work {
    /// The tests of the project on the selected images of a plan. Their keys say which other images they
    /// are made from.
    pub(super) fn project_tests(plan: &Plan) -> Self {
        let selected = plan.steps.iter().filter(|step| step.selected);
        Self::ProjectTests(selected.map(|step| (step.image.clone(), step.key)).collect())
    }

    fn text(&self) -> String {
        match self {
            Self::Inputs(reference) => format!("inputs of {reference}\n"),
            Self::ProjectTests(images) => {
                let lines = images.iter().map(|(name, key)| format!("{name} {key}\n"));
                format!("project tests of\n{}", lines.collect::<String>())
            }
        }
    }
}

impl Unfinished {
    /// The notes of a project's work tree.
    pub fn new(project: &Project) -> Self {
        Self { state: project.state_directory(), kept: !project.in_memory }
    }

    /// Writes down that this is to be done.
    pub(super) fn note(&self, work: &Work) {
        if self.is_own() && self.write(work).is_ok() {
            self.forget_oldest();
        }
    }

    /// Whether this is to be done.
    pub(super) fn has(&self, work: &Work) -> bool {
        self.is_own() && self.file(work).is_file()
    }

    /// Forgets what is done.
    pub(super) fn done(&self, work: &Work) {
        if self.is_own() {
            let _ = std::fs::remove_file(self.file(work));
        }
    }

    /// Whether there are notes, and no directory of theirs is a link to others.
    fn is_own(&self) -> bool {
        let is_own = |directory: &Path| {
            std::fs::symlink_metadata(directory).map_or(true, |metadata| metadata.is_dir())
        };
        self.kept && is_own(&self.state) && is_own(&self.directory())
    }

    fn directory(&self) -> PathBuf {
        self.state.join("unfinished")
    }

    fn file(&self, work: &Work) -> PathBuf {
        let digest = Digest::of(work.text().as_bytes()).to_string();
        self.directory().join(digest.replace(':', "-"))
    }

    fn write(&self, work: &Work) -> std::io::Result<()> {
        prepare_state(&self.state)?;
        std::fs::create_dir_all(self.directory())?;
        let file = self.file(work);
        // A link, which may be committed, is not written through.
        let _ = std::fs::remove_file(&file);
        std::fs::File::create_new(file)?.write_all(work.text().as_bytes())
    }

    fn forget_oldest(&self) {
        let Ok(directory) = std::fs::read_dir(self.directory()) else {
            return;
        };
        let mut files: Vec<(SystemTime, PathBuf)> = directory
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
            })
            .collect();
        files.sort_by(|a, b| b.cmp(a));
        for (_, file) in files.into_iter().skip(MAX_NOTES) {
            let _ = std::fs::remove_file(file);
        }
    }
}
