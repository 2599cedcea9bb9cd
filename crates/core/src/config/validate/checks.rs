//! Tests and info commands.

use std::collections::BTreeMap;

use dockit_registry::Platform;

use super::Validator;
use crate::check::{Check, CheckPlace, INFO_TIMEOUT, InfoCommand, TEST_TIMEOUT};
use crate::config::problem::nearest;
use crate::config::reader::Located;
use crate::config::schema::CheckTable;

impl Validator<'_> {
    /// The tests of an image, in the order in which they are written.
    pub(super) fn tests(&mut self, written: Vec<Located<CheckTable>>) -> Vec<Check> {
        written
            .into_iter()
            .filter_map(|test| {
                let place = test.value.on.as_ref().and_then(|on| self.place(on));
                self.test(test, place.unwrap_or(CheckPlace::Container))
            })
            .collect()
    }

    /// The tests of the project. There is no image whose container they could run in.
    pub(super) fn project_tests(&mut self, written: Vec<Located<CheckTable>>) -> Vec<Check> {
        written
            .into_iter()
            .filter_map(|test| {
                if let Some(on) = &test.value.on
                    && self.place(on) == Some(CheckPlace::Container)
                {
                    self.problem(on.line, "tests of the project run on the host");
                }
                if let Some(platform) = test.value.platforms.first() {
                    self.problem(platform.line, "a test of the project is of no platform");
                }
                self.test(test, CheckPlace::Host)
            })
            .collect()
    }

    /// The info commands of an image, in the order in which they are written.
    pub(super) fn info(
        &mut self,
        written: BTreeMap<String, Located<CheckTable>>,
    ) -> Vec<InfoCommand> {
        let mut written: Vec<_> = written.into_iter().collect();
        written.sort_by_key(|(_, command)| command.line);
        written
            .into_iter()
            .filter_map(|(name, Located { value: table, line })| {
                if name.trim().is_empty() {
                    self.problem(line, "an info command needs a name");
                }
                let command = table.run.and_then(|run| self.command_line(run));
                if command.is_none() {
                    self.problem(line, format!("info {name:?} needs a command to run"));
                }
                let timeout = table.timeout.and_then(|timeout| self.time_limit(&timeout));
                let timeout = timeout.unwrap_or(INFO_TIMEOUT);
                Some(InfoCommand { name, command: command?, timeout })
            })
            .collect()
    }

    fn test(&mut self, written: Located<CheckTable>, on: CheckPlace) -> Option<Check> {
        let Located { value: table, line } = written;
        let command = table.run.and_then(|run| self.command_line(run));
        if command.is_none() {
            self.problem(line, "a test needs a command to run");
        }
        let timeout = table.timeout.and_then(|timeout| self.time_limit(&timeout));
        let platforms =
            table.platforms.into_iter().filter_map(|platform| self.parsed(platform)).collect();
        let timeout = timeout.unwrap_or(TEST_TIMEOUT);
        Some(Check { command: command?, on, timeout, platforms })
    }

    fn place(&mut self, written: &Located<String>) -> Option<CheckPlace> {
        match written.value.as_str() {
            "container" => Some(CheckPlace::Container),
            "host" => Some(CheckPlace::Host),
            other => {
                self.suggest(
                    written.line,
                    format!("on must be \"container\" or \"host\", not {other:?}"),
                    nearest(other, ["container", "host"]),
                );
                None
            }
        }
    }
}

/// The platforms that tests name, as far as they are some.
pub(super) fn written_platforms(tests: &[Located<CheckTable>]) -> Vec<Located<Platform>> {
    let written = tests.iter().flat_map(|test| &test.value.platforms);
    let parsed = written.filter_map(|Located { value, line }| {
        Some(Located { value: value.parse().ok()?, line: *line })
    });
    parsed.collect()
}
