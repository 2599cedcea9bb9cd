//! Words of an instruction, with the values that variables have there.

use super::super::environment::Environment;
use super::super::error::{DockerfileError, DockerfileErrorKind};
use super::super::expand::{Expansion, expand, expand_body};
use super::super::heredoc::Heredoc;
use super::super::instruction::Instruction;

/// Expands what stands in an instruction.
#[derive(Clone, Copy)]
pub(super) struct Words<'w> {
    pub(super) instruction: &'w Instruction,
    pub(super) environment: &'w Environment,
}

impl Words<'_> {
    pub(super) fn expand(&self, text: &str) -> Result<String, DockerfileError> {
        self.known(text, self.expansion(text)?.value)
    }

    /// Each text expanded.
    pub(super) fn expand_all(&self, texts: &[String]) -> Result<Vec<String>, DockerfileError> {
        texts.iter().map(|text| self.expand(text)).collect()
    }

    /// The words that a text falls into once it is expanded.
    pub(super) fn split(&self, text: &str) -> Result<Vec<String>, DockerfileError> {
        let Expansion { value, words, .. } = self.expansion(text)?;
        self.known(text, value.map(|_| words))
    }

    /// What a heredoc becomes.
    pub(super) fn body(&self, heredoc: &Heredoc) -> Result<Vec<u8>, DockerfileError> {
        let content = heredoc.content();
        if !heredoc.expand {
            return Ok(content);
        }
        // As in BuildKit each byte that is no UTF-8 becomes a replacement character of its own.
        let mut text = String::with_capacity(content.len());
        for chunk in content.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        let what = format!("<<{}", heredoc.name);
        let variables = |name: &str| self.environment.get(name);
        let expansion = expand_body(&text, &variables).map_err(|message| {
            self.error(DockerfileErrorKind::Expansion { message, text: what.clone() })
        })?;
        self.known(&what, expansion.value).map(String::into_bytes)
    }

    /// An error of this instruction.
    pub(super) fn invalid(&self, message: impl Into<String>) -> DockerfileError {
        DockerfileError::invalid(self.instruction.line, message)
    }

    pub(super) fn error(&self, kind: DockerfileErrorKind) -> DockerfileError {
        DockerfileError::new(self.instruction.line, kind)
    }

    fn expansion(&self, text: &str) -> Result<Expansion, DockerfileError> {
        let variables = |name: &str| self.environment.get(name);
        expand(text, self.instruction.escape, &variables).map_err(|message| {
            self.error(DockerfileErrorKind::Expansion { message, text: text.to_owned() })
        })
    }

    fn known<T>(&self, text: &str, value: Option<T>) -> Result<T, DockerfileError> {
        value.ok_or_else(|| {
            let message = format!("{text:?} depends on a base image whose ENV is not known");
            self.error(DockerfileErrorKind::Unsupported(message))
        })
    }
}
