//! Where credentials are looked for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::DockerConfig;
use super::file::ConfigFile;
use crate::client::credential::{CredentialError, Secret};

/// A configuration in Docker's format (`config.json`).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConfigLocation {
    /// A file, which need not exist.
    File(PathBuf),
    /// The configuration itself.
    Content {
        /// Where it came from, for errors.
        name: String,
        /// The JSON.
        json: Secret,
    },
}

impl DockerConfig {
    /// The locations that Docker's, containers' and GitLab's tools use, in this order:
    /// `$DOCKER_CONFIG/config.json` or else `~/.docker/config.json`; `$REGISTRY_AUTH_FILE`;
    /// `$XDG_RUNTIME_DIR/containers/auth.json`; the content of `$DOCKER_AUTH_CONFIG`.
    ///
    /// Variables and the home directory are the caller's: nothing is read here.
    pub fn locations(
        env: &dyn Fn(&str) -> Option<OsString>,
        home: Option<&Path>,
    ) -> Vec<ConfigLocation> {
        let variable = |name: &str| env(name).filter(|value| !value.is_empty());
        let docker = match variable("DOCKER_CONFIG") {
            Some(directory) => Some(PathBuf::from(directory)),
            None => home.map(|home| home.join(".docker")),
        };
        let files = [
            docker.map(|directory| directory.join("config.json")),
            variable("REGISTRY_AUTH_FILE").map(PathBuf::from),
            variable("XDG_RUNTIME_DIR")
                .map(|directory| PathBuf::from(directory).join("containers/auth.json")),
        ];
        let name = "DOCKER_AUTH_CONFIG";
        let content = variable(name).map(|json| ConfigLocation::Content {
            name: name.to_owned(),
            json: Secret::new(json.to_string_lossy()),
        });
        files.into_iter().flatten().map(ConfigLocation::File).chain(content).collect()
    }
}

impl ConfigLocation {
    /// The configuration; `None` if the file does not exist.
    pub(super) async fn read(&self) -> Result<Option<ConfigFile>, CredentialError> {
        let (name, json) = match self {
            Self::Content { name, json } => (name.clone(), json.expose().as_bytes().to_vec()),
            Self::File(path) => {
                let name = path.display().to_string();
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
                match read.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
                    Ok(json) => (name, json),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(CredentialError::io(name, error)),
                }
            }
        };
        ConfigFile::parse(name, &json).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(env: &[(&str, &str)], home: Option<&str>) -> Vec<String> {
        let env = |name: &str| {
            env.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        DockerConfig::locations(&env, home.map(Path::new))
            .into_iter()
            .map(|location| match location {
                ConfigLocation::File(path) => path.display().to_string(),
                ConfigLocation::Content { name, .. } => name,
            })
            .collect()
    }

    #[test]
    fn locations_follow_the_variables() {
        assert_eq!(names(&[], None), [""; 0]);
        assert_eq!(names(&[("DOCKER_CONFIG", "")], Some("/h")), ["/h/.docker/config.json"]);
        let all = [
            ("DOCKER_AUTH_CONFIG", "{}"),
            ("XDG_RUNTIME_DIR", "/run"),
            ("REGISTRY_AUTH_FILE", "/auth"),
            ("DOCKER_CONFIG", "/docker"),
        ];
        assert_eq!(
            names(&all, Some("/h")),
            ["/docker/config.json", "/auth", "/run/containers/auth.json", "DOCKER_AUTH_CONFIG",]
        );
    }

    #[test]
    fn debug_shows_no_content() {
        let env = |_: &str| Some(OsString::from("hunter2"));
        let text = format!("{:?}", DockerConfig::locations(&env, None).pop());
        assert!(text.contains("[redacted]") && !text.contains("hunter2"), "{text}");
    }
}
