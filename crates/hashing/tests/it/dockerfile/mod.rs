//! Dockerfiles: what they mean, and what a key sees of them.

mod args;
mod cross_check;
mod evaluation;
mod image_uses;
mod parse;
mod program;
mod properties;
mod rewrite;
mod sources;
mod stages;

use std::collections::BTreeMap;

use dockit_hashing::content_hash::ContentHash;
use dockit_hashing::dockerfile::{
    Dockerfile, DockerfileError, ImageUse, ResolveOptions, ResolvedDockerfile,
};

/// A target, arguments and a platform.
#[derive(Clone, Debug, Default)]
struct Options {
    target: Option<String>,
    args: BTreeMap<String, String>,
    platform: BTreeMap<String, String>,
}

fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl Options {
    fn target(name: &str) -> Self {
        Self { target: Some(name.to_owned()), ..Self::default() }
    }

    fn args(pairs: &[(&str, &str)]) -> Self {
        Self { args: owned(pairs), ..Self::default() }
    }

    fn platform(mut self, pairs: &[(&str, &str)]) -> Self {
        self.platform = owned(pairs);
        self
    }

    fn resolve<'a>(
        &self,
        dockerfile: &'a Dockerfile,
    ) -> Result<ResolvedDockerfile<'a>, DockerfileError> {
        dockerfile.resolve(&ResolveOptions {
            target: self.target.as_deref(),
            args: &self.args,
            platform_args: &self.platform,
        })
    }

    /// Resolves a text that is right, and looks at the result.
    fn look<T>(&self, text: &str, look: impl FnOnce(&ResolvedDockerfile<'_>) -> T) -> T {
        let dockerfile = Dockerfile::parse(text.as_bytes()).unwrap_or_else(|error| {
            panic!("{error} in:\n{text}");
        });
        let resolved = self.resolve(&dockerfile).unwrap_or_else(|error| {
            panic!("{error} in:\n{text}");
        });
        look(&resolved)
    }

    fn program(&self, text: &str) -> ContentHash {
        self.look(text, |resolved| resolved.program().hash())
    }

    fn uses(&self, text: &str) -> Vec<ImageUse> {
        self.look(text, |resolved| resolved.image_uses().to_vec())
    }

    fn names(&self, text: &str) -> Vec<String> {
        self.uses(text).into_iter().map(|used| used.name).collect()
    }

    /// `name=value`, or `name` without value.
    fn arg_list(&self, text: &str) -> Vec<String> {
        self.look(text, |resolved| {
            let write = |(name, value): &(String, Option<String>)| match value {
                Some(value) => format!("{name}={value}"),
                None => name.clone(),
            };
            resolved.args().iter().map(write).collect()
        })
    }

    /// What is wrong with a text that does not parse or resolve.
    fn error(&self, text: &str) -> DockerfileError {
        match Dockerfile::parse(text.as_bytes()) {
            Err(error) => error,
            Ok(dockerfile) => match self.resolve(&dockerfile) {
                Err(error) => error,
                Ok(_) => panic!("nothing is wrong with:\n{text}"),
            },
        }
    }
}

fn program(text: &str) -> ContentHash {
    Options::default().program(text)
}

fn names(text: &str) -> Vec<String> {
    Options::default().names(text)
}

fn error(text: &str) -> String {
    Options::default().error(text).to_string()
}
