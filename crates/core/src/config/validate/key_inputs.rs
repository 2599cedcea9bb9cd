//! What enters a key besides the build's own files.

use std::collections::BTreeMap;

use super::Validator;
use crate::config::reader::Located;
use crate::config::schema::{DeclaredTable, PrepareTable, RunValue};
use crate::config::time_limit::time_limit;
use crate::declared_key::{DeclaredSource, Notation, Pick};
use crate::epoch::Refresh;
use crate::prepare::{Prepare, PrepareCommand};
use crate::project_path::ProjectPath;

impl Validator<'_> {
    /// Sorted by path, each once.
    pub(super) fn project_paths(&mut self, written: Vec<Located<String>>) -> Vec<ProjectPath> {
        let mut paths: Vec<ProjectPath> =
            written.into_iter().filter_map(|path| self.project_path(&path)).collect();
        paths.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        paths.dedup_by(|one, other| one.as_str() == other.as_str());
        paths
    }

    fn project_path(&mut self, written: &Located<String>) -> Option<ProjectPath> {
        match ProjectPath::new(self.root, &written.value, written.line) {
            Ok(path) => Some(path),
            Err(error) => {
                self.problem(written.line, format!("{:?}: {error}", written.value));
                None
            }
        }
    }

    pub(super) fn refresh(&mut self, written: &Located<String>) -> Option<Refresh> {
        let refresh = written.value.parse().ok();
        if refresh.is_none() {
            let message = format!(
                "refresh must be \"daily\", \"weekly\" or \"monthly\", not {:?}",
                written.value
            );
            self.suggest_near(
                written.line,
                message,
                &written.value,
                &["daily", "weekly", "monthly"],
            );
        }
        refresh
    }

    pub(super) fn declared_key(
        &mut self,
        written: Located<BTreeMap<String, Located<DeclaredTable>>>,
    ) -> Vec<DeclaredSource> {
        if written.value.is_empty() {
            self.problem(written.line, "declared-key names no value, so no file would count");
        }
        let values = written.value.into_iter();
        values.filter_map(|(name, table)| self.declared_source(name, table)).collect()
    }

    fn declared_source(
        &mut self,
        name: String,
        written: Located<DeclaredTable>,
    ) -> Option<DeclaredSource> {
        let Located { value: table, line } = written;
        if name.is_empty() || name.chars().any(char::is_control) {
            self.problem(line, format!("{name:?} cannot be the name of a declared value"));
        }
        let file = match &table.file {
            Some(file) => self.project_path(file)?,
            None => {
                self.problem(line, format!("declared key {name:?} names no file"));
                return None;
            }
        };
        let pick = match (table.pattern, table.field) {
            (Some(pattern), None) => match Pick::pattern(&pattern.value) {
                Ok(pick) => pick,
                Err(error) => {
                    let message = format!("{:?} is no regular expression: {error}", pattern.value);
                    self.problem(pattern.line, message);
                    return None;
                }
            },
            (None, Some(field)) => {
                let Some(notation) = Notation::of(&file) else {
                    let message = format!(
                        "{file} is neither .toml nor .json, so declared key {name:?} needs a \
                         pattern instead of a field"
                    );
                    self.problem(field.line, message);
                    return None;
                };
                match Pick::field(&field.value, notation) {
                    Ok(pick) => pick,
                    Err(error) => {
                        self.problem(field.line, format!("{:?} is no field: {error}", field.value));
                        return None;
                    }
                }
            }
            (pattern, _) => {
                let said = if pattern.is_some() { "both" } else { "neither" };
                let message =
                    format!("declared key {name:?} needs a pattern or a field, and has {said}");
                self.problem(line, message);
                return None;
            }
        };
        Some(DeclaredSource::new(name, file, pick))
    }

    pub(super) fn prepare(&mut self, written: Located<PrepareTable>) -> Option<Prepare> {
        let Located { value: table, line } = written;
        let run = match table.run {
            Some(RunValue::Shell(text)) if !text.value.trim().is_empty() => {
                Some(PrepareCommand::Shell(text.value))
            }
            Some(RunValue::Program(words))
                if words.first().is_some_and(|it| !it.value.is_empty()) =>
            {
                Some(PrepareCommand::Program(words.into_iter().map(|word| word.value).collect()))
            }
            _ => {
                self.problem(line, "prepare needs a command to run");
                None
            }
        };
        let timeout = table.timeout.and_then(|timeout| {
            let limit = time_limit(&timeout.value);
            if limit.is_none() {
                let message = format!("{:?} is no time limit such as 90s or 1h30m", timeout.value);
                self.problem(timeout.line, message);
            }
            limit
        });
        if table.outputs.is_empty() {
            self.problem(line, "prepare needs outputs: what has to be there after it has run");
        }
        let outputs = self.project_paths(table.outputs);
        Some(Prepare { run: run?, outputs, timeout })
    }
}
