//! `COPY` and `ADD`.

use super::super::environment::Environment;
use super::super::error::{DockerfileError, DockerfileErrorKind};
use super::super::flags::Flag;
use super::super::heredoc::Heredoc;
use super::super::instruction::{Arguments, Instruction};
use super::super::keyword::Keyword;
use super::super::program::StageBase;
use super::super::sources::{Bases, is_scp_like, named_sources};
use super::super::steps::{CopySource, CopyStep};
use super::words::Words;

pub(super) fn step(
    words: Words<'_>,
    arguments: &Arguments,
    from: Option<StageBase>,
) -> Result<CopyStep, DockerfileError> {
    let Words { instruction, environment } = words;
    refuse_elsewhere(instruction, environment)?;
    let (texts, json) = match arguments {
        Arguments::Words(texts) => (texts, false),
        Arguments::Json(texts) => (texts, true),
        other => unreachable!("a copy is not parsed into {other:?}"),
    };
    let (destination, texts) = texts.split_last().expect("parsing found sources and a destination");
    let mut sources = Vec::new();
    let mut heredocs = Vec::new();
    for text in texts {
        match Heredoc::parse(text) {
            Ok(Some(_)) if json => {
                let message = format!("{text:?} in a JSON array is a heredoc to some engines only");
                return Err(words.error(DockerfileErrorKind::Unsupported(message)));
            }
            Ok(Some(asked)) => heredocs.push(heredoc(words, &asked)?),
            Ok(None) | Err(_) => sources.push(CopySource::Path(path(words, text)?)),
        }
    }
    sources.append(&mut heredocs);
    let mut step = CopyStep {
        from,
        sources,
        destination: words.expand(destination)?,
        chown: None,
        chmod: None,
        link: false,
        parents: false,
        exclude: Vec::new(),
        unpack: None,
    };
    flags(words, &mut step)?;
    Ok(step)
}

/// A path or wildcard, which is not what another kind of source looks like.
fn path(words: Words<'_>, text: &str) -> Result<String, DockerfileError> {
    let path = words.expand(text)?;
    if words.instruction.keyword == Keyword::Copy && is_url(&path) {
        return Err(words.invalid("a source of COPY cannot be a URL"));
    }
    Ok(path)
}

/// What newer BuildKits take for a URL or a git repository, and then refuse.
fn is_url(path: &str) -> bool {
    ["http://", "https://", "git://", "ssh://"].iter().any(|scheme| path.starts_with(scheme))
        || is_scp_like(path)
}

/// `ADD` of something that lies elsewhere.
fn refuse_elsewhere(
    instruction: &Instruction,
    environment: &Environment,
) -> Result<(), DockerfileError> {
    named_sources(instruction, environment, Bases::Known).map(drop)
}

fn heredoc(words: Words<'_>, asked: &Heredoc) -> Result<CopySource, DockerfileError> {
    // Of several with the same name the last one counts, as in BuildKit.
    let body = words.instruction.heredocs.iter().rfind(|body| body.name == asked.name);
    let body =
        body.ok_or_else(|| words.invalid(format!("heredoc <<{} has no lines", asked.name)))?;
    let read_as = Heredoc { body: body.body.clone(), ..asked.clone() };
    Ok(CopySource::Heredoc { name: asked.name.clone(), content: words.body(&read_as)? })
}

fn flags(words: Words<'_>, step: &mut CopyStep) -> Result<(), DockerfileError> {
    let optional = |value: &str| -> Result<Option<String>, DockerfileError> {
        Ok(Some(words.expand(value)?).filter(|value| !value.is_empty()))
    };
    for flag in &words.instruction.flags {
        let Flag::Plain(text) = flag else { continue };
        let (name, value) = text.split_once('=').unwrap_or((text, "true"));
        let switch = value.eq_ignore_ascii_case("true");
        match name {
            "--chown" => step.chown = optional(value)?,
            "--chmod" => step.chmod = optional(value)?,
            "--link" => step.link = switch,
            "--parents" => step.parents = switch,
            "--unpack" => step.unpack = Some(switch),
            "--exclude" => step.exclude.push(value.to_owned()),
            "--checksum" if optional(value)?.is_some() => {
                return Err(words.invalid("--checksum is for what ADD fetches from elsewhere"));
            }
            _ => {}
        }
    }
    Ok(())
}
