//! What instructions read from the build context.

use super::environment::Environment;
use super::error::{DockerfileError, DockerfileErrorKind};
use super::expand::expand;
use super::flags::{Flag, Mount};
use super::heredoc::Heredoc;
use super::instruction::{Arguments, Instruction};
use super::keyword::Keyword;
use crate::context::Source;

/// A source in the build context, as an instruction names it.
pub(super) struct NamedSource<'i> {
    /// As written.
    text: &'i str,
    /// With variables expanded; none if the environment of a base image decides.
    value: Option<String>,
    how: How<'i>,
}

enum How<'i> {
    Copied { keyword: Keyword, parents: bool, exclude: Vec<&'i str> },
    Mounted,
}

impl NamedSource<'_> {
    /// What it reads, if that is known.
    pub(super) fn source(&self) -> Option<Source> {
        let path = self.value.as_deref()?;
        Some(match &self.how {
            How::Mounted => Source::mount(path),
            How::Copied { parents: false, exclude, .. } => Source::copy(path).excluding(exclude),
            How::Copied { parents: true, exclude, .. } => Source::parents(path).excluding(exclude),
        })
    }

    /// The instruction and the source, for people.
    pub(super) fn describe(&self) -> String {
        match &self.how {
            How::Copied { keyword, .. } => format!("{} {}", keyword.as_str(), self.text),
            How::Mounted if self.text.is_empty() => "RUN --mount=type=bind".to_owned(),
            How::Mounted => format!("RUN --mount=type=bind,source={}", self.text),
        }
    }

    /// Refuses an `ADD` of a URL or a git repository: what it fetches is in no key. So is one whose
    /// source is still not known once the bases are, for it could be such.
    fn refuse_remote(&self, line: u32, bases: Bases) -> Result<(), DockerfileError> {
        let added = matches!(self.how, How::Copied { keyword: Keyword::Add, .. });
        let remote = match &self.value {
            Some(value) => is_remote(value),
            None => bases == Bases::Known,
        };
        if !added || !remote {
            return Ok(());
        }
        let message = format!(
            "ADD {} is not supported: what it fetches from elsewhere is in no key",
            without_credentials(self.text)
        );
        Err(DockerfileError::new(line, DockerfileErrorKind::Unsupported(message)))
    }
}

/// Whether everything is known of the images that a stage is based on that will ever be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bases {
    Known,
    NotYet,
}

/// What an instruction reads, given the variables it sees.
///
/// # Errors
///
/// Besides what cannot be expanded, an `ADD` that fetches from elsewhere.
pub(super) fn named_sources<'i>(
    instruction: &'i Instruction,
    environment: &Environment,
    bases: Bases,
) -> Result<Vec<NamedSource<'i>>, DockerfileError> {
    let expand = |text: &str| {
        expand(text, instruction.escape, &|name| environment.get(name))
            .map(|expanded| expanded.value)
            .map_err(|message| DockerfileError::invalid(instruction.line, message))
    };
    let mut sources = Vec::new();
    // In the JSON form a heredoc is not one to all engines.
    let words = matches!(instruction.arguments, Arguments::Words(_));
    for text in copied(instruction).iter().filter(|text| !(words && is_heredoc(text))) {
        let how = How::Copied {
            keyword: instruction.keyword,
            parents: has_parents(instruction),
            exclude: excludes(instruction).collect(),
        };
        let source = NamedSource { text, value: expand(text)?, how };
        source.refuse_remote(instruction.line, bases)?;
        sources.push(source);
    }
    for flag in &instruction.flags {
        if let Flag::Mount(mount) = flag
            && let Some((text, value)) = mounted(mount, &expand)?
        {
            if value.as_deref() != Some(text) {
                // Docker 20.10 mounts the path as it is written.
                let value = Some(text.to_owned());
                sources.push(NamedSource { text, value, how: How::Mounted });
            }
            sources.push(NamedSource { text, value, how: How::Mounted });
        }
    }
    Ok(sources)
}

/// The sources of a `COPY` or `ADD` that lie in the build context.
fn copied(instruction: &Instruction) -> &[String] {
    let from_image = instruction.flags.iter().any(|flag| matches!(flag, Flag::From(_)));
    let copies = matches!(instruction.keyword, Keyword::Copy | Keyword::Add);
    let words = match &instruction.arguments {
        Arguments::Words(words) | Arguments::Json(words) if copies && !from_image => words,
        _ => return &[],
    };
    // The last one is the destination.
    words.split_last().map_or(&[], |(_, sources)| sources)
}

fn is_heredoc(word: &str) -> bool {
    matches!(Heredoc::parse(word), Ok(Some(_)))
}

fn has_parents(instruction: &Instruction) -> bool {
    instruction.flags.iter().any(|flag| match flag {
        Flag::Plain(text) => text
            .strip_prefix("--parents")
            .is_some_and(|rest| rest.is_empty() || rest.eq_ignore_ascii_case("=true")),
        _ => false,
    })
}

fn excludes(instruction: &Instruction) -> impl Iterator<Item = &str> {
    instruction.flags.iter().filter_map(|flag| match flag {
        Flag::Plain(text) => text.strip_prefix("--exclude="),
        _ => None,
    })
}

/// The source of a bind mount from the context, as written and expanded: the whole of it unless it
/// says otherwise. Of an option that is there twice, the last one counts. A mount whose type is not
/// known may be a bind mount.
fn mounted<'m>(
    mount: &'m Mount,
    expand: &dyn Fn(&str) -> Result<Option<String>, DockerfileError>,
) -> Result<Option<(&'m str, Option<String>)>, DockerfileError> {
    const ELSEWHERE: [&str; 4] = ["cache", "secret", "ssh", "tmpfs"];
    if mount.from.is_some() {
        return Ok(None);
    }
    let option = |names: &[&str]| {
        mount.fields.iter().rev().find_map(|field| {
            let (name, value) = field.split_once('=')?;
            names.contains(&name.trim().to_lowercase().as_str()).then_some(value)
        })
    };
    let kind = option(&["type"]).map(expand).transpose()?.flatten();
    if kind.is_some_and(|kind| ELSEWHERE.contains(&kind.to_lowercase().as_str())) {
        return Ok(None);
    }
    let text = option(&["source", "src"]).unwrap_or_default();
    Ok(Some((text, expand(text)?)))
}

/// The text of a source without what stands before the `@` of a URL's host.
fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let host = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    match host.rfind('@') {
        Some(at) => format!("{scheme}://***{}", &rest[at..]),
        None => text.to_owned(),
    }
}

/// What `ADD` takes for something to fetch.
fn is_remote(source: &str) -> bool {
    let schemes = ["http://", "https://", "git://", "ssh://", "git@", "github.com/"];
    let source = source.to_lowercase();
    schemes.iter().any(|scheme| source.starts_with(scheme)) || is_scp_like(&source)
}

/// `user@host:path`
pub(super) fn is_scp_like(source: &str) -> bool {
    let plain = |text: &str, more: &str| {
        !text.is_empty()
            && text.chars().all(|next| next.is_ascii_alphanumeric() || more.contains(next))
    };
    source.split_once('@').is_some_and(|(user, rest)| {
        plain(user, "_-") && rest.split_once(':').is_some_and(|(host, _)| plain(host, ".-"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_a_source_are_not_repeated() {
        for (text, expected) in [
            ("http://u:secretpw@h/x", "http://***@h/x"),
            ("https://token@h", "https://***@h"),
            ("https://u:p@w@h/x@y", "https://***@h/x@y"),
            ("https://h/a@b", "https://h/a@b"),
            ("git@h:x", "git@h:x"),
            ("$URL", "$URL"),
        ] {
            assert_eq!(without_credentials(text), expected);
        }
    }
}
