//! Storing credentials where Docker's own tools find them, and forgetting them.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::file::{ConfigFile, TOKEN_USER, is_key_of, server_name};
use super::{ConfigLocation, DockerConfig, helper};
use crate::client::credential::{Credential, CredentialError, Secret};
use crate::reference::RegistryHost;

/// Who keeps a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// A configuration file, in which it is readable to whoever can read the file.
    File(PathBuf),
    /// A credential helper, by its name.
    Helper(String),
    /// A variable of the environment, by its name.
    Variable(String),
}

impl DockerConfig {
    /// Stores a user's password for a registry in the first of the configuration files, or with the
    /// helper that this file names for the registry. A file that does not exist is made, for its owner
    /// alone; everything else that a file says stays as it is.
    ///
    /// # Errors
    ///
    /// There is no file among the locations, it could not be read or replaced, or the helper failed.
    pub async fn store(
        &self,
        host: &RegistryHost,
        username: &str,
        password: &Secret,
    ) -> Result<Keeper, CredentialError> {
        let path = self.file()?;
        let known = ConfigLocation::File(path.clone()).read().await?;
        let helper = known.as_ref().and_then(|file| file.helper(host)).map(ToOwned::to_owned);
        let entry = match &helper {
            Some(name) => {
                let program = helper::program(name, self.helper_directory.as_deref())?;
                let server = server_name(host);
                helper::store(&program, server, username, password, self.helper_timeout).await?;
                json!({})
            }
            // As Docker's tools keep it.
            None if username == TOKEN_USER => {
                json!({"auth": STANDARD.encode(format!("{username}:")), "identitytoken": password.expose()})
            }
            None => {
                let pair = format!("{username}:{}", password.expose());
                json!({"auth": STANDARD.encode(pair)})
            }
        };
        let host = host.clone();
        edit(path.clone(), move |config| {
            let auths = config.entry("auths").or_insert_with(|| json!({}));
            if !auths.is_object() {
                *auths = json!({});
            }
            let entries = auths.as_object_mut().expect("it was just made one");
            entries.retain(|key, _| !is_key_of(key, &host));
            entries.insert(server_name(&host).to_owned(), entry);
            true
        })
        .await?;
        Ok(helper.map_or(Keeper::File(path), Keeper::Helper))
    }

    /// Forgets a registry's credential wherever it is kept. What the environment holds cannot be
    /// forgotten, and is returned apart.
    ///
    /// # Errors
    ///
    /// A file could not be read or replaced, or a helper failed.
    pub async fn erase(&self, host: &RegistryHost) -> Result<Erased, CredentialError> {
        let mut erased = Erased::default();
        for location in &self.locations {
            let Some(file) = location.read().await? else {
                continue;
            };
            let path = match location {
                ConfigLocation::File(path) => path,
                ConfigLocation::Content { name, .. } => {
                    if file.has_entry(host) {
                        erased.left.push(Keeper::Variable(name.clone()));
                    }
                    continue;
                }
            };
            if let Some(name) = file.helper(host) {
                let program = helper::program(name, self.helper_directory.as_deref())?;
                if helper::erase(&program, server_name(host), self.helper_timeout).await? {
                    erased.from.push(Keeper::Helper(name.to_owned()));
                }
            }
            if file.has_entry(host) {
                // Also what cannot be read any more.
                let here = file.here(host);
                let host = host.clone();
                edit(path.clone(), move |config| {
                    let auths = config.get_mut("auths").and_then(Value::as_object_mut);
                    auths.is_some_and(|auths| {
                        let before = auths.len();
                        auths.retain(|key, _| !is_key_of(key, &host));
                        auths.len() != before
                    })
                })
                .await?;
                // An empty entry only says that a helper keeps it.
                if !matches!(here, Ok(Credential::Anonymous)) {
                    erased.from.push(Keeper::File(path.clone()));
                }
            }
        }
        Ok(erased)
    }

    fn file(&self) -> Result<PathBuf, CredentialError> {
        let file = self.locations.iter().find_map(|location| match location {
            ConfigLocation::File(path) => Some(path.clone()),
            ConfigLocation::Content { .. } => None,
        });
        file.ok_or_else(|| {
            CredentialError::new(
                "there is no file to store it in: no home directory, no DOCKER_CONFIG",
            )
        })
    }
}

/// What became of a credential that was to be forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Who kept it, and does no longer.
    pub from: Vec<Keeper>,
    /// Who keeps it still.
    pub left: Vec<Keeper>,
}

/// Replaces a configuration file in one step, if the change is one.
async fn edit(
    path: PathBuf,
    change: impl FnOnce(&mut Map<String, Value>) -> bool + Send + 'static,
) -> Result<(), CredentialError> {
    let name = path.display().to_string();
    let done = tokio::task::spawn_blocking(move || edit_blocking(&path, change)).await;
    done.unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(|error| CredentialError::io(name, error))
}

fn edit_blocking(
    path: &Path,
    change: impl FnOnce(&mut Map<String, Value>) -> bool,
) -> std::io::Result<()> {
    // A link stays one: dotfiles are often kept elsewhere.
    let path = match path.canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == ErrorKind::NotFound => match std::fs::read_link(path) {
            // To a file that is still to be made.
            Ok(target) => path.parent().unwrap_or(Path::new(".")).join(target),
            Err(_) => path.to_owned(),
        },
        Err(error) => return Err(error),
    };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    make_private(directory)?;
    // Between dockit's own processes; Docker's tools take no lock. Not every system locks directories.
    let lock = std::fs::File::open(directory);
    let _lock = lock.and_then(|lock| lock.lock().map(|()| lock));
    let mut config = match std::fs::read(&path) {
        Ok(json) => match serde_json::from_slice(&json) {
            Ok(Value::Object(config)) => config,
            _ => return Err(std::io::Error::new(ErrorKind::InvalidData, "not a JSON object")),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Map::new(),
        Err(error) => return Err(error),
    };
    if !change(&mut config) {
        return Ok(());
    }
    // Its owner's alone, whatever the old one was.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut file, formatter);
    serde::Serialize::serialize(&config, &mut serializer)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    keep_owner(&path, file.path());
    file.persist(&path)?;
    Ok(())
}

/// Root, as which `sudo` runs, must not take a user's file away.
#[cfg(unix)]
fn keep_owner(old: &Path, new: &Path) {
    use std::os::unix::fs::{MetadataExt as _, chown};
    if let Ok(metadata) = std::fs::metadata(old) {
        // Only root can do so; for everybody else it is the owner's already, or never will be.
        let _ = chown(new, Some(metadata.uid()), Some(metadata.gid()));
    }
}

#[cfg(not(unix))]
fn keep_owner(_: &Path, _: &Path) {}

fn make_private(directory: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

impl ConfigFile {
    /// The helper that keeps this host's credential.
    fn helper(&self, host: &RegistryHost) -> Option<&str> {
        self.special_helper(host).or_else(|| self.general_helper())
    }
}
