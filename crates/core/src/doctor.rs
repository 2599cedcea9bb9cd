//! What works of everything that a run needs: the engine, the registries, each credential, the right to
//! read and to write. Builds nothing and changes nothing; to see whether a repository may be written to,
//! an upload is begun and given up.

use std::collections::{BTreeMap, BTreeSet};

use dockit_registry::{
    Access, Client, Credential, CredentialError, CredentialSource, DockerConfig, Error, ErrorKind,
    Keeper, ProviderKind, Reference, Registry as _, RegistryHost, Repository,
};
use futures_util::{StreamExt as _, stream};

use crate::check::{Check, CheckPlace};
use crate::graph::ImageGraph;

/// Registries and repositories that are examined at a time.
const AT_A_TIME: usize = 8;

/// A further place where credentials come from, by its name for people.
pub struct Place {
    /// What a person calls it.
    pub name: &'static str,
    /// The place.
    pub source: Box<dyn CredentialSource>,
}

/// Whether a project has what only an engine does: a build that runs a command, or a test in a container.
/// What triggers of bases from elsewhere would run is not looked at.
pub fn wants_engine(graph: &ImageGraph) -> bool {
    graph.nodes().any(|node| {
        let in_container = |test: &Check| test.on == CheckPlace::Container;
        let runs = node.resolved().first_command(&|_| None).is_some();
        runs || node.image().tests.iter().any(in_container)
    })
}

/// What is examined with.
pub struct Instruments<'a> {
    /// The client, as a run would have it.
    pub client: &'a Client,
    /// The configuration files that it takes credentials from first.
    pub config: &'a DockerConfig,
    /// The places that it asks next, in their order.
    pub places: &'a [Place],
}

/// What is examined: registries by themselves, and what a project needs of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subjects {
    /// Registries.
    pub hosts: BTreeSet<RegistryHost>,
    /// Repositories that are pushed to.
    pub pushed: BTreeSet<Repository>,
    /// Images that are read.
    pub read: BTreeSet<Reference>,
}

impl Subjects {
    /// What a project's images, and the images from elsewhere that these begin with, need.
    pub fn of(graph: &ImageGraph) -> Self {
        let mut subjects = Self::default();
        for node in graph.nodes() {
            if node.image().has_registry {
                subjects.pushed.insert(node.image().repository.clone());
            }
            subjects.read.extend(node.bases().map(|base| base.reference.clone()));
        }
        let hosts = subjects.pushed.iter().map(Repository::host);
        let read = subjects.read.iter().map(|reference| reference.repository().host());
        subjects.hosts = hosts.chain(read).cloned().collect();
        subjects
    }
}

/// What was found out about a registry.
#[derive(Debug)]
pub struct Examined {
    /// The registry.
    pub host: RegistryHost,
    /// Whose it is.
    pub provider: Result<ProviderKind, Error>,
    /// Where its credential comes from.
    pub credential: Result<Origin, CredentialError>,
    /// Whether it takes it, and not just anybody.
    pub login: Result<bool, Error>,
    /// The repositories there that are pushed to, unless the registry let nobody in.
    pub pushed: BTreeMap<Repository, Rights>,
    /// The images there that are read: whether each is there.
    pub read: BTreeMap<Reference, Result<bool, Error>>,
}

/// What a credential may do with a repository.
#[derive(Debug)]
pub struct Rights {
    /// Reading.
    pub pull: Result<(), Error>,
    /// Writing. [`ErrorKind::NotFound`]: the repository has to be made first.
    pub push: Result<(), Error>,
}

/// Where a credential comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// From a configuration file or a credential helper, for this user.
    Kept(Keeper, Option<String>),
    /// From another place, by its name.
    Place(&'static str),
    /// From the identity that this machine or job has in a cloud; with the error if it gets none.
    Identity(Option<Error>),
    /// There is none.
    Nowhere,
}

/// Examines registries, in the order of their names. Nothing of it fails as a whole: what could not be
/// found out is an error in its place.
pub async fn examine(instruments: &Instruments<'_>, subjects: &Subjects) -> Vec<Examined> {
    let examined = subjects.hosts.iter().map(|host| examine_one(instruments, subjects, host));
    let examined: Vec<_> = examined.collect();
    stream::iter(examined).buffered(AT_A_TIME).collect().await
}

async fn examine_one(
    instruments: &Instruments<'_>,
    subjects: &Subjects,
    host: &RegistryHost,
) -> Examined {
    let client = instruments.client;
    let credential = origin(instruments, host).await;
    let login = client.ping(host).await.map(|ping| ping.authenticated);
    let provider = client.provider(host).await;
    let mut examined = Examined {
        host: host.clone(),
        provider,
        credential,
        login,
        pushed: BTreeMap::new(),
        read: BTreeMap::new(),
    };
    // Whoever is not let in is told so once, and not once for each repository. Who has no credential may
    // still read what is for everybody.
    let refused = examined.login.as_ref().err().map(|error| error.kind().clone());
    let writes = matches!(refused, None | Some(ErrorKind::Denied));
    let anonymous = matches!(examined.credential, Ok(Origin::Nowhere));
    let reads = writes || (anonymous && refused == Some(ErrorKind::Unauthorized));
    if !reads {
        return examined;
    }
    let pushed = subjects.pushed.iter().filter(|repository| writes && repository.host() == host);
    let pushed: Vec<_> = pushed
        .map(async |repository| (repository.clone(), rights(client, repository).await))
        .collect();
    examined.pushed = stream::iter(pushed).buffered(AT_A_TIME).collect().await;
    let read = subjects.read.iter().filter(|reference| reference.repository().host() == host);
    let read: Vec<_> = read
        .map(async |reference| {
            let head = client.head_manifest(reference, Access::Pull).await;
            (reference.clone(), head.map(|head| head.is_some()))
        })
        .collect();
    examined.read = stream::iter(read).buffered(AT_A_TIME).collect().await;
    examined
}

async fn rights(client: &Client, repository: &Repository) -> Rights {
    // Any tag does: whether there is one is not what is asked.
    let any = repository.with_tag(dockit_registry::Tag::latest());
    let pull = client.head_manifest(&any, Access::Pull).await.map(drop);
    Rights { pull, push: client.check_push(repository).await }
}

async fn origin(
    instruments: &Instruments<'_>,
    host: &RegistryHost,
) -> Result<Origin, CredentialError> {
    if let Some((credential, keeper)) = instruments.config.find(host).await? {
        let user = match credential {
            Credential::Basic { username, .. } => Some(username),
            Credential::IdentityToken { username, .. } => username,
            _ => None,
        };
        return Ok(Origin::Kept(keeper, user));
    }
    for place in instruments.places {
        if place.source.credential(host).await?.credential != Credential::Anonymous {
            return Ok(Origin::Place(place.name));
        }
    }
    Ok(match instruments.client.credential(host).await {
        Ok(Credential::Anonymous) => Origin::Nowhere,
        Ok(_) => Origin::Identity(None),
        Err(error) => Origin::Identity(Some(error)),
    })
}
