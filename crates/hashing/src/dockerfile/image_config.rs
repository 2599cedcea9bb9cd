//! What a build on top of an image takes over from it.

use std::collections::BTreeMap;

use super::environment::Environment;

/// The part of an image's configuration that decides what a build on top of it reads: its `ENV`,
/// and the `ONBUILD` instructions that run there first.
///
/// Of an image from elsewhere it stands in the image's configuration; of one that is itself built
/// from a Dockerfile, [`image_config`](super::ResolvedDockerfile::image_config) tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    env: BTreeMap<String, Option<String>>,
    may_set_more: bool,
    onbuild: Option<Vec<String>>,
}

impl ImageConfig {
    /// Of an image whose configuration is known: its variables, and the texts of its triggers
    /// without `ONBUILD`.
    pub fn new(env: impl IntoIterator<Item = (String, String)>, onbuild: Vec<String>) -> Self {
        let env = env.into_iter().map(|(name, value)| (name, Some(value))).collect();
        Self { env, may_set_more: false, onbuild: Some(onbuild) }
    }

    /// The same as it stands in an OCI image configuration: each variable as `NAME=value`.
    pub fn from_oci(env: &[String], onbuild: &[String]) -> Self {
        let pairs = env.iter().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self::new(pairs, onbuild.to_vec())
    }

    /// Of an image that nothing is known of.
    pub fn unknown() -> Self {
        Self { env: BTreeMap::new(), may_set_more: true, onbuild: None }
    }

    pub(super) fn of_stage(environment: Environment, onbuild: Option<Vec<String>>) -> Self {
        let (env, may_set_more) = environment.into_image();
        Self { env, may_set_more, onbuild }
    }

    /// The variables by name. One without value is set, or not, to something that is not known.
    pub fn env(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.env.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Whether it may set variables that [`env`](Self::env) does not name.
    pub fn may_set_more(&self) -> bool {
        self.may_set_more
    }

    /// The texts of its triggers, without `ONBUILD`; none if they are not known.
    pub fn onbuild(&self) -> Option<&[String]> {
        self.onbuild.as_deref()
    }
}
