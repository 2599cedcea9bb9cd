//! Documents of what was built in this work tree.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::document::Document;
use crate::image_name::ImageName;
use crate::key::ImageKey;
use crate::lockfile::prepare_state;
use crate::project::Project;

/// How many documents are kept, the newest.
const MAX_DOCUMENTS: usize = 200;

/// How many bytes of documents are kept.
const MAX_BYTES: u64 = 50 * 1024 * 1024;

const SUFFIX: &str = ".json.gz";

/// A directory of documents beside the lockfile, by key, and for each image which key it last had.
///
/// It only helps: what cannot be written is not there, and what is damaged, or not of the key that it is
/// named by, counts as not there. A link in the directory's place is not followed, as what it leads to
/// is not dockit's: then there is no store.
#[derive(Clone, Debug)]
pub struct InputsStore {
    state: PathBuf,
    directory: PathBuf,
    kept: bool,
}

impl InputsStore {
    /// The store of a project's work tree; there is none if the project
    /// [keeps nothing](Project::in_memory).
    pub fn new(project: &Project) -> Self {
        let state = project.state_directory();
        Self { directory: state.join("inputs"), state, kept: !project.in_memory }
    }

    /// The document of this key.
    pub fn get(&self, key: &ImageKey) -> Option<Document> {
        let packed = self.is_own().then(|| std::fs::read(self.file(key)).ok())??;
        let document = Document::unpack(&packed).ok().filter(|document| document.key() == *key);
        if document.is_none() {
            // So that it is written again when it is kept again.
            let _ = std::fs::remove_file(self.file(key));
        }
        document
    }

    /// The key that this image had when it was last [kept](Self::keep).
    pub fn last(&self, image: &ImageName) -> Option<ImageKey> {
        let last = self.is_own().then(|| std::fs::read_to_string(self.last_file(image)).ok())??;
        last.trim_end().parse().ok()
    }

    /// Keeps documents as they are, so [secrets](Document::without_secrets) must be out of them, and
    /// forgets the oldest beyond 200 or 50 MiB. `last` names the images that now have these keys; the
    /// others were only needed for them.
    pub fn keep(&self, documents: &[Document], last: &[&ImageName]) {
        if !self.is_own() || self.prepare().is_err() {
            return;
        }
        for document in documents {
            let key = document.key();
            if !self.holds(document, &key) {
                continue;
            }
            if last.contains(&&document.image) {
                let _ = self.write(&self.last_file(&document.image), format!("{key}\n").as_bytes());
            }
        }
        self.forget_oldest();
    }

    /// Whether there is a store, and none of its directories is a link to others.
    fn is_own(&self) -> bool {
        let directories = [&self.state, &self.directory, &self.last_directory()];
        let is_own = |directory: &PathBuf| {
            std::fs::symlink_metadata(directory).map_or(true, |metadata| metadata.is_dir())
        };
        self.kept && directories.into_iter().all(is_own)
    }

    /// Whether the document is there now. One that was there before only becomes the newest.
    fn holds(&self, document: &Document, key: &ImageKey) -> bool {
        let file = self.file(key);
        let touch =
            || std::fs::File::options().write(true).open(&file)?.set_modified(SystemTime::now());
        touch().is_ok() || document.pack().is_ok_and(|packed| self.write(&file, &packed).is_ok())
    }

    fn file(&self, key: &ImageKey) -> PathBuf {
        self.directory.join(format!("{}{SUFFIX}", key.tag()))
    }

    fn last_file(&self, image: &ImageName) -> PathBuf {
        // No name of an image holds a percent sign.
        self.last_directory().join(image.as_str().replace('/', "%"))
    }

    fn last_directory(&self) -> PathBuf {
        self.directory.join("last")
    }

    fn prepare(&self) -> std::io::Result<()> {
        prepare_state(&self.state)?;
        std::fs::create_dir_all(self.last_directory())
    }

    /// A reader sees the old file or the new one, whole.
    fn write(&self, file: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let mut temporary =
            tempfile::Builder::new().prefix(".new.").tempfile_in(&self.directory)?;
        temporary.write_all(bytes)?;
        temporary.persist(file)?;
        Ok(())
    }

    fn forget_oldest(&self) {
        let Ok(directory) = std::fs::read_dir(&self.directory) else {
            return;
        };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = directory
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name();
                let tag = name.to_str()?.strip_suffix(SUFFIX)?.parse().ok()?;
                let metadata = entry.metadata().ok()?;
                let own = ImageKey::is_content_tag(&tag) && metadata.is_file();
                own.then_some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        files.sort_by(|a, b| b.cmp(a));
        let mut bytes = 0;
        for (position, (_, size, file)) in files.iter().enumerate() {
            bytes += size;
            if position >= MAX_DOCUMENTS || bytes > MAX_BYTES {
                let _ = std::fs::remove_file(file);
            }
        }
    }
}
