//! What enters a key besides the build's own files.

use std::collections::BTreeMap;

use super::Validator;
use crate::config::reader::Located;
use crate::config::schema::{DeclaredTable, PrepareTable};
use crate::declared_key::{DeclaredSource, Notation, Pick};
use crate::epoch::Refresh;
use crate::prepare::Prepare;
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

    pub(super) fn project_path(&mut self, written: &Located<String>) -> Option<ProjectPath> {
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
        let owner = format!("declared key {name:?}");
        let pick = self.pick(&owner, &file, table.pattern, table.field, line)?;
        if pick.is_none() {
            let message = format!("{owner} needs a pattern or a field, and has neither");
            self.problem(line, message);
        }
        Some(DeclaredSource::new(name, file, pick?))
    }

    /// What is picked out of a file; `Some(None)` where nothing says it.
    pub(super) fn pick(
        &mut self,
        owner: &str,
        file: &ProjectPath,
        pattern: Option<Located<String>>,
        field: Option<Located<String>>,
        line: usize,
    ) -> Option<Option<Pick>> {
        match (pattern, field) {
            (Some(pattern), None) => match Pick::pattern(&pattern.value) {
                Ok(pick) => Some(Some(pick)),
                Err(error) => {
                    let message = format!("{:?} is no regular expression: {error}", pattern.value);
                    self.problem(pattern.line, message);
                    None
                }
            },
            (None, Some(field)) => {
                let Some(notation) = Notation::of(file) else {
                    let message = format!(
                        "{file} is neither .toml nor .json, so {owner} needs a pattern instead of \
                         a field"
                    );
                    self.problem(field.line, message);
                    return None;
                };
                match Pick::field(&field.value, notation) {
                    Ok(pick) => Some(Some(pick)),
                    Err(error) => {
                        self.problem(field.line, format!("{:?} is no field: {error}", field.value));
                        None
                    }
                }
            }
            (None, None) => Some(None),
            (Some(_), Some(_)) => {
                let message = format!("{owner} needs a pattern or a field, and has both");
                self.problem(line, message);
                None
            }
        }
    }

    pub(super) fn prepare(&mut self, written: Located<PrepareTable>) -> Option<Prepare> {
        let Located { value: table, line } = written;
        let run = table.run.and_then(|run| self.command_line(run));
        if run.is_none() {
            self.problem(line, "prepare needs a command to run");
        }
        let timeout = table.timeout.and_then(|timeout| self.time_limit(&timeout));
        if table.outputs.is_empty() {
            self.problem(line, "prepare needs outputs: what has to be there after it has run");
        }
        let outputs = self.project_paths(table.outputs);
        Some(Prepare { run: run?, outputs, timeout })
    }
}
