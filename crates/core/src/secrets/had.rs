//! Getting what builds mount, before any of them begins.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use dockit_hashing::context::Node;
use dockit_hashing::dockerfile::{SecretMount, SecretMountKind};
use tokio_util::sync::CancellationToken;

use super::agent::Agent;
use super::error::{SecretError, SecretErrors, SecretProblem};
use super::sources::{Got, Sources, from_bytes, is_socket};
use super::value::SecretValue;
use super::{SecretFile, SecretSource, SshSource};
use crate::events::{Event, Observer};
use crate::image_name::ImageName;
use crate::key::{KeyedImage, Keys};
use crate::masking::Masks;
use crate::project::{Image, Project};

/// What the environment of the run has that secrets come from.
#[derive(Clone, Debug, Default)]
pub struct SecretOptions {
    /// Looks up a variable; without it none is set.
    pub environment: Option<fn(&str) -> Option<OsString>>,
    /// The home directory, for `~/…`.
    pub home: Option<PathBuf>,
    /// A directory for the sockets of agents that are started. A short path: that of a socket has at most
    /// 107 bytes.
    pub temporary: PathBuf,
}

/// What one image's build may mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageSecrets {
    /// Secrets by their identifiers.
    pub secrets: BTreeMap<String, SecretValue>,
    /// Sockets of ssh agents by their identifiers.
    pub ssh: BTreeMap<String, PathBuf>,
}

impl ImageSecrets {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.ssh.is_empty()
    }
}

/// What the builds of a run may mount. Agents that were started end with it.
#[derive(Default)]
pub struct BuildSecrets {
    images: BTreeMap<ImageName, ImageSecrets>,
    masks: Masks,
    agents: Vec<Agent>,
}

impl BuildSecrets {
    /// What this image's build may mount.
    pub fn of(&self, image: &ImageName) -> ImageSecrets {
        self.images.get(image).cloned().unwrap_or_default()
    }

    /// What must be masked wherever something is printed.
    pub fn masks(&self) -> &Masks {
        &self.masks
    }

    /// Ends the agents, and waits for their end.
    pub async fn end(self) {
        for agent in self.agents {
            agent.end().await;
        }
    }
}

impl fmt::Debug for BuildSecrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BuildSecrets")
            .field("images", &self.images)
            .field("masks", &self.masks)
            .finish_non_exhaustive()
    }
}

/// Gets what the builds of these images mount, each once, one after the other. Tells the observer what
/// is configured and never mounted, and what is mounted and not there.
///
/// # Errors
///
/// What is configured and cannot be had, and what a Dockerfile requires and is not configured.
pub async fn get(
    project: &Project,
    keys: &Keys,
    built: &[&ImageName],
    options: &SecretOptions,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<BuildSecrets, SecretErrors> {
    for (image, kind, id) in never_mounted(project, keys) {
        observer.event(Event::SecretNotMounted { image, kind, id });
    }
    let mut getter = Getter {
        project,
        sources: Sources { root: &project.root, options, cancel },
        values: Vec::new(),
        sockets: Vec::new(),
        agents: Vec::new(),
        errors: Vec::new(),
    };
    let mut images = BTreeMap::new();
    for name in built {
        let (Some(image), Some(keyed)) = (project.images.get(*name), keys.get(name)) else {
            continue;
        };
        images.insert((*name).clone(), getter.image(image, keyed, observer).await);
    }
    let Getter { values, agents, errors, .. } = getter;
    if !errors.is_empty() {
        return Err(SecretErrors { errors });
    }
    let had = values.iter().filter_map(|(_, value)| value.as_ref().ok());
    let others = at_hand(project, &Sources { root: &project.root, options, cancel }).await;
    let masks = Masks::new(had.chain(&others));
    Ok(BuildSecrets { images, masks, agents })
}

/// What is masked where tests run and nothing is built: what files and variables hold. What commands
/// would write is not known, for none of them runs.
pub(crate) async fn masks(
    project: &Project,
    options: &SecretOptions,
    cancel: &CancellationToken,
) -> Masks {
    Masks::new(&at_hand(project, &Sources { root: &project.root, options, cancel }).await)
}

/// The values that can be had without running anything, of those that are there.
async fn at_hand(project: &Project, sources: &Sources<'_>) -> Vec<SecretValue> {
    let mut known: Vec<&SecretSource> = Vec::new();
    for image in project.images.values() {
        let keys = image.ssh.values().filter_map(|agent| match &agent.source {
            SshSource::Key(key) => Some(key),
            _ => None,
        });
        for source in image.secrets.values().map(|secret| &secret.source).chain(keys) {
            if !matches!(source, SecretSource::Run(_)) && !known.contains(&source) {
                known.push(source);
            }
        }
    }
    let mut values = Vec::new();
    for source in known {
        values.extend(sources.value(source).await.ok());
    }
    values
}

/// What an image may mount under this name, where that is not known.
fn mounts(mount: &SecretMount, kind: SecretMountKind, id: &str) -> bool {
    mount.kind == kind && (mount.ids.is_empty() || mount.ids.iter().any(|known| known == id))
}

/// What is configured, and mounted by none of the images that it is configured for. Nothing can be said
/// where one of these has no key here.
fn never_mounted(project: &Project, keys: &Keys) -> Vec<(ImageName, SecretMountKind, String)> {
    let mut used: BTreeMap<(usize, SecretMountKind, &str), (&ImageName, bool)> = BTreeMap::new();
    for image in project.images.values() {
        let secrets = image.secrets.iter();
        let secrets = secrets.map(|(id, it)| (it.line, SecretMountKind::Secret, id.as_str()));
        let ssh = image.ssh.iter();
        let ssh = ssh.map(|(id, it)| (it.line, SecretMountKind::Ssh, id.as_str()));
        for (line, kind, id) in secrets.chain(ssh) {
            let mounted = keys.get(&image.name).is_none_or(|keyed| {
                keyed.secret_mounts.iter().any(|mount| mounts(mount, kind, id))
            });
            used.entry((line, kind, id)).or_insert((&image.name, false)).1 |= mounted;
        }
    }
    let unused = used.into_iter().filter(|(_, (_, used))| !used);
    unused.map(|((_, kind, id), (image, _))| (image.clone(), kind, id.to_owned())).collect()
}

struct Getter<'a> {
    project: &'a Project,
    sources: Sources<'a>,
    values: Vec<(SecretSource, Got<SecretValue>)>,
    sockets: Vec<(SshSource, Got<PathBuf>)>,
    agents: Vec<Agent>,
    errors: Vec<SecretError>,
}

impl Getter<'_> {
    async fn image(
        &mut self,
        image: &Image,
        keyed: &KeyedImage,
        observer: &dyn Observer,
    ) -> ImageSecrets {
        let mut had = ImageSecrets::default();
        let mounted =
            |kind, id: &str| keyed.secret_mounts.iter().any(|mount| mounts(mount, kind, id));
        for (id, secret) in &image.secrets {
            let kind = SecretMountKind::Secret;
            if !mounted(kind, id) {
                continue;
            }
            match self.value(&secret.source).await {
                Ok(value) => drop(had.secrets.insert(id.clone(), value)),
                Err(problem) => {
                    self.failed(image, kind, id, Some(secret.source.to_string()), problem);
                }
            }
        }
        for (id, agent) in &image.ssh {
            let kind = SecretMountKind::Ssh;
            if !mounted(kind, id) {
                continue;
            }
            match self.socket(&agent.source).await {
                Ok(socket) => drop(had.ssh.insert(id.clone(), socket)),
                Err(problem) => {
                    self.failed(image, kind, id, Some(agent.source.to_string()), problem);
                }
            }
        }
        self.unconfigured(image, keyed, observer);
        self.sent(image, keyed);
        had
    }

    /// What the Dockerfile mounts and nothing is said about.
    fn unconfigured(&mut self, image: &Image, keyed: &KeyedImage, observer: &dyn Observer) {
        let mut told = BTreeSet::new();
        for SecretMount { kind, ids, required, .. } in &keyed.secret_mounts {
            let configured = |id: &String| match kind {
                SecretMountKind::Secret => image.secrets.contains_key(id),
                SecretMountKind::Ssh => image.ssh.contains_key(id),
            };
            let Some(id) = ids.first().filter(|_| !ids.iter().any(configured)) else {
                continue;
            };
            if *required {
                self.failed(image, *kind, id, None, SecretProblem::NotConfigured);
            } else if told.insert((*kind, id)) {
                observer.event(Event::SecretNotConfigured {
                    image: image.name.clone(),
                    kind: *kind,
                    id: id.clone(),
                });
            }
        }
    }

    fn failed(
        &mut self,
        image: &Image,
        kind: SecretMountKind,
        id: &str,
        source: Option<String>,
        problem: SecretProblem,
    ) {
        let (image, id) = (image.name.clone(), id.to_owned());
        let error = SecretError { image, kind, id, source, problem };
        let same = |known: &SecretError| {
            (known.kind, &known.id, &known.source, &known.problem)
                == (error.kind, &error.id, &error.source, &error.problem)
        };
        if !self.errors.iter().any(same) {
            self.errors.push(error);
        }
    }

    async fn value(&mut self, source: &SecretSource) -> Got<SecretValue> {
        if let Some((_, value)) = self.values.iter().find(|(known, _)| known == source) {
            return value.clone();
        }
        let value = self.sources.value(source).await;
        self.values.push((source.clone(), value.clone()));
        value
    }

    async fn socket(&mut self, source: &SshSource) -> Got<PathBuf> {
        if let Some((_, socket)) = self.sockets.iter().find(|(known, _)| known == source) {
            return socket.clone();
        }
        let socket = match source {
            SshSource::Agent => match self.sources.variable("SSH_AUTH_SOCK") {
                Ok(path) if path.is_empty() => Err(SecretProblem::Empty),
                Ok(path) => is_socket(PathBuf::from(from_bytes(path))),
                Err(problem) => Err(problem),
            },
            SshSource::Socket(file) => self.sources.path(file).and_then(is_socket),
            SshSource::Key(key) => self.own_agent(key).await,
        };
        self.sockets.push((source.clone(), socket.clone()));
        socket
    }

    async fn own_agent(&mut self, key: &SecretSource) -> Got<PathBuf> {
        let key = self.value(key).await?;
        let agent =
            Agent::start(&self.sources.options.temporary, &key, self.sources.cancel).await?;
        let socket = agent.socket();
        self.agents.push(agent);
        Ok(socket)
    }

    /// Refuses files that the image's build gets anyway, whichever image mounts them.
    fn sent(&mut self, image: &Image, keyed: &KeyedImage) {
        let Ok(context) = image.context.canonicalize() else {
            return;
        };
        for (kind, id, source, shown) in configured_files(self.project) {
            // Where there is no such file, nothing is sent; who mounts it is told.
            let file = self.sources.path(source).ok().and_then(|path| path.canonicalize().ok());
            let Some(below) = file.as_ref().and_then(|file| file.strip_prefix(&context).ok())
            else {
                continue;
            };
            let sent = keyed.context.entries().iter().any(|entry| {
                matches!(entry.node(), Node::File { .. })
                    && entry.path().as_bytes() == below.as_os_str().as_encoded_bytes()
            });
            if sent {
                let problem = SecretProblem::InContext(below.to_owned());
                self.failed(image, kind, id, Some(shown), problem);
            }
        }
    }
}

/// All files that are configured, for whichever image, with the words for each as a source.
fn configured_files(
    project: &Project,
) -> impl Iterator<Item = (SecretMountKind, &str, &SecretFile, String)> {
    project.images.values().flat_map(|image| {
        let secrets = image.secrets.iter().filter_map(|(id, secret)| match &secret.source {
            source @ SecretSource::File(file) => {
                Some((SecretMountKind::Secret, id.as_str(), file, source.to_string()))
            }
            _ => None,
        });
        let keys = image.ssh.iter().filter_map(|(id, agent)| match &agent.source {
            source @ SshSource::Key(SecretSource::File(file)) => {
                Some((SecretMountKind::Ssh, id.as_str(), file, source.to_string()))
            }
            _ => None,
        });
        secrets.chain(keys)
    })
}
