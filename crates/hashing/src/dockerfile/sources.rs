//! What instructions read from the build context.

use super::environment::Environment;
use super::error::{DockerfileError, DockerfileErrorKind};
use super::expand::expand;
use super::flags::{Flag, Mount};
use super::instruction::{Arguments, Instruction};
use super::keyword::Keyword;

/// The sources in the build context that a build names.
#[derive(Clone, Debug, Default)]
pub(super) struct ContextSources {
    /// With variables expanded.
    paths: Vec<String>,
    /// Whether the environment of a base image decides on one of them.
    unknown: bool,
}

impl ContextSources {
    /// Notes what an instruction reads, given the variables it sees.
    ///
    /// An `ADD` of a URL or a git repository is refused: what it fetches is in no key. So is one
    /// whose source is not known, for it could be such.
    pub(super) fn follow(
        &mut self,
        instruction: &Instruction,
        environment: &Environment,
    ) -> Result<(), DockerfileError> {
        for source in sources(instruction) {
            let expanded = expand(&source, instruction.escape, &|name| environment.get(name))
                .map_err(|message| DockerfileError::invalid(instruction.line, message))?;
            let remote = expanded.value.as_deref().is_none_or(is_remote);
            if instruction.keyword == Keyword::Add && remote {
                let message = format!(
                    "ADD {source} is not supported: what it fetches from elsewhere is in no key"
                );
                let kind = DockerfileErrorKind::Unsupported(message);
                return Err(DockerfileError::new(instruction.line, kind));
            }
            match expanded.value {
                Some(path) => self.paths.push(path),
                None => self.unknown = true,
            }
        }
        Ok(())
    }

    /// Whether one of them may cover a file of this name in the context's root.
    pub(super) fn may_cover(&self, name: &[u8]) -> bool {
        self.unknown || self.paths.iter().any(|path| covers(path, name))
    }
}

/// What `ADD` takes for something to fetch.
fn is_remote(source: &str) -> bool {
    let schemes = ["http://", "https://", "git://", "ssh://", "git@", "github.com/"];
    let source = source.to_lowercase();
    schemes.iter().any(|scheme| source.starts_with(scheme)) || is_scp_like(&source)
}

/// `user@host:path`
fn is_scp_like(source: &str) -> bool {
    let plain = |text: &str, more: &str| {
        !text.is_empty()
            && text.chars().all(|next| next.is_ascii_alphanumeric() || more.contains(next))
    };
    source.split_once('@').is_some_and(|(user, rest)| {
        plain(user, "_-") && rest.split_once(':').is_some_and(|(host, _)| plain(host, ".-"))
    })
}

fn sources(instruction: &Instruction) -> Vec<String> {
    match instruction.keyword {
        Keyword::Copy | Keyword::Add
            if !instruction.flags.iter().any(|flag| matches!(flag, Flag::From(_))) =>
        {
            match &instruction.arguments {
                // The last one is the destination.
                Arguments::Words(words) | Arguments::Json(words) => {
                    words.iter().rev().skip(1).cloned().collect()
                }
                _ => Vec::new(),
            }
        }
        Keyword::Run => instruction
            .flags
            .iter()
            .filter_map(|flag| match flag {
                Flag::Mount(mount) => mount_source(mount),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The source of a bind mount from the context: the whole of it unless it says otherwise. Of an
/// option that is there twice, the last one counts.
fn mount_source(mount: &Mount) -> Option<String> {
    let value = |names: &[&str]| {
        mount.fields.iter().rev().find_map(|field| {
            let (name, value) = field.split_once('=')?;
            names.contains(&name.trim().to_lowercase().as_str()).then(|| value.to_owned())
        })
    };
    let bind = value(&["type"]).is_none_or(|kind| kind.to_lowercase() == "bind");
    (bind && mount.from.is_none()).then(|| value(&["source", "src"]).unwrap_or_default())
}

/// Whether a source may cover a file of this name in the context's root. One with a wildcard is
/// compared up to it only: what this says too often costs a new key, what it said too seldom would
/// cost a wrong image.
fn covers(source: &str, name: &[u8]) -> bool {
    let mut components: Vec<&str> = Vec::new();
    for component in source.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            other => components.push(other),
        }
    }
    let Some(first) = components.first() else {
        return true;
    };
    match first.find(['*', '?', '[', '\\']) {
        Some(wildcard) => name.starts_with(&first.as_bytes()[..wildcard]),
        None => first.as_bytes() == name,
    }
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn the_root_and_wildcards_may_cover_a_name() {
        let name = b".dockit.Dockerfile";
        for covering in
            [".", "./", "/", "", "a/..", "..", "*", ".d*", "[.]x", "?dockit", ".dockit.Dockerfile"]
        {
            assert!(covers(covering, name), "{covering}");
        }
        for other in ["src", "./src/", "src/*", "a*", "Dockerfile", "../x"] {
            assert!(!covers(other, name), "{other}");
        }
    }
}
