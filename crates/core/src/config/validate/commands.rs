//! Commands that the configuration names, and how long they may take.

use std::time::Duration;

use super::Validator;
use crate::command_line::CommandLine;
use crate::config::reader::Located;
use crate::config::schema::RunValue;
use crate::config::time_limit::time_limit;

impl Validator<'_> {
    /// The command, unless it is none at all.
    pub(super) fn command_line(&self, written: RunValue) -> Option<CommandLine> {
        match written {
            RunValue::Shell(text) if !text.value.trim().is_empty() => {
                Some(CommandLine::Shell(text.value))
            }
            RunValue::Program(words) if words.first().is_some_and(|it| !it.value.is_empty()) => {
                Some(CommandLine::Program(words.into_iter().map(|word| word.value).collect()))
            }
            _ => None,
        }
    }

    pub(super) fn time_limit(&mut self, written: &Located<String>) -> Option<Duration> {
        let limit = time_limit(&written.value);
        if limit.is_none() {
            let message = format!("{:?} is no time limit such as 90s or 1h30m", written.value);
            self.problem(written.line, message);
        }
        limit
    }
}
