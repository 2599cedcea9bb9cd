//! Layouts as registries: what a client does to a repository that lies in one.
//!
//! A directory that is missing is a registry that holds nothing; the first write makes it.

mod lists;
mod repository;
mod streams;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

pub(crate) use repository::LayoutRepository;
pub(crate) use streams::{ended, read_blob, write_blob};

use super::Client;
use super::ping::Ping;
use crate::error::Error;
use crate::layout::Layout;
use crate::reference::{RegistryHost, Repository};

/// How many threads may be busy with short things in layouts.
const AT_A_TIME: usize = 16;

/// How long a layout is not swept again because of single deletions.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(60);

/// The layouts that were opened.
pub(super) struct Layouts {
    root: Option<PathBuf>,
    opened: Mutex<BTreeMap<PathBuf, Layout>>,
    /// When each was swept last.
    swept: Mutex<BTreeMap<PathBuf, Instant>>,
    permits: Semaphore,
}

/// A layout, as a host is a registry.
#[derive(Clone)]
pub(super) struct LayoutHost {
    layouts: Arc<Layouts>,
    host: RegistryHost,
    path: PathBuf,
}

impl Layouts {
    /// Relative directories are relative to this one, or else to where the process is.
    pub(super) fn new(root: Option<PathBuf>) -> Self {
        let permits = Semaphore::new(AT_A_TIME);
        Self { root, opened: Mutex::default(), swept: Mutex::default(), permits }
    }

    /// Whether a layout is to be swept now; whoever is told so does it. After a batch of deletions it is,
    /// after single ones at most once a minute: each sweep reads all manifests of the layout.
    fn is_sweep_due(&self, path: &Path, single: bool) -> bool {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = swept.get(path).is_some_and(|last| last.elapsed() < BETWEEN_SWEEPS);
        if single && lately {
            return false;
        }
        swept.insert(path.to_owned(), Instant::now());
        true
    }

    /// Where a directory is.
    fn path_of(&self, directory: &Path) -> PathBuf {
        match &self.root {
            Some(root) => root.join(directory),
            None => directory.to_owned(),
        }
    }

    /// Opens a layout, or takes the one that is open as long as its path leads to it.
    fn open(&self, path: &Path, create: bool) -> Result<Option<Layout>, Error> {
        let known = self.locked().get(path).cloned();
        if let Some(layout) = known.filter(Layout::is_current) {
            return Ok(Some(layout));
        }
        let layout =
            if create { Some(Layout::create(path)?) } else { Layout::open_if_there(path)? };
        match &layout {
            Some(layout) => self.locked().insert(path.to_owned(), layout.clone()),
            None => self.locked().remove(path),
        };
        Ok(layout)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, Layout>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// The layout that is meant, if it is no host.
    pub(super) fn layout(&self, host: &RegistryHost) -> Option<LayoutHost> {
        let path = self.layouts.path_of(host.layout()?);
        Some(LayoutHost { layouts: Arc::clone(&self.layouts), host: host.clone(), path })
    }

    /// The repository, if it lies in a layout.
    pub(crate) fn in_layout(&self, repository: &Repository) -> Option<LayoutRepository> {
        let host = self.layout(repository.host())?;
        Some(LayoutRepository { host, name: repository.name().clone() })
    }
}

impl LayoutHost {
    /// Where the directory is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Does something with the layout where it may block; nothing if it is not there.
    async fn read<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Layout) -> Result<T, Error> + Send + 'static,
    ) -> Result<Option<T>, Error> {
        self.run(false, move |layout| layout.map(|layout| act(&layout)).transpose()).await
    }

    /// The same, and makes the layout if it is not there.
    async fn write<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Layout) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let done = self.run(true, move |layout| layout.map(|layout| act(&layout)).transpose());
        Ok(done.await?.expect("a layout that is created is there"))
    }

    async fn run<T: Send + 'static>(
        &self,
        create: bool,
        act: impl FnOnce(Option<Layout>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.layouts.permits.acquire().await;
        let (layouts, path) = (Arc::clone(&self.layouts), self.path.clone());
        let task = spawn_blocking(move || act(layouts.open(&path, create)?));
        let done = ended(task).await;
        drop(permit);
        done.map_err(|error| error.of_host(&self.host))
    }

    /// Whether the directory can be read as a registry.
    pub(super) async fn ping(&self) -> Result<Ping, Error> {
        self.read(|layout| layout.repositories().map(drop)).await?;
        Ok(Ping { authenticated: false })
    }
}
