//! `secrets` and `ssh`: where what builds mount comes from.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Validator, join};
use crate::config::reader::Located;
use crate::config::schema::{AgentValue, SecretTable, SshTable};
use crate::secrets::{Secret, SecretFile, SecretSource, SshAgent, SshSource};

impl Validator<'_> {
    pub(super) fn secrets(
        &mut self,
        written: BTreeMap<String, Located<SecretTable>>,
    ) -> BTreeMap<String, Secret> {
        let mut secrets = BTreeMap::new();
        for (id, Located { value: table, line }) in written {
            let owner = format!("secret {id:?}");
            self.identifier(&id, line);
            let sources = self.sources(&owner, table);
            if let Some(source) = self.only(&owner, "file, env and run", sources, line) {
                secrets.insert(id, Secret { source, line });
            }
        }
        secrets
    }

    pub(super) fn agents(
        &mut self,
        written: BTreeMap<String, Located<SshTable>>,
    ) -> BTreeMap<String, SshAgent> {
        let mut agents = BTreeMap::new();
        for (id, Located { value: SshTable { agent, key }, line }) in written {
            let owner = format!("ssh {id:?}");
            self.identifier(&id, line);
            let mut sources: Vec<Option<SshSource>> =
                agent.map(|agent| self.agent(&owner, agent)).into_iter().collect();
            let keys = self.sources(&owner, key).into_iter();
            sources.extend(keys.map(|key| key.map(SshSource::Key)));
            if let Some(source) = self.only(&owner, "agent, file, env and run", sources, line) {
                agents.insert(id, SshAgent { source, line });
            }
        }
        agents
    }

    /// The one that is written. What is wrong with it was told.
    fn only<T>(
        &mut self,
        owner: &str,
        known: &str,
        mut written: Vec<Option<T>>,
        line: usize,
    ) -> Option<T> {
        match written.len() {
            1 => return written.remove(0),
            0 => self.problem(line, format!("{owner} needs one of {known}")),
            _ => self.problem(line, format!("{owner} needs one of {known}, not several")),
        }
        None
    }

    /// BuildKit takes any text; one that could break a message or a header is a mistake.
    fn identifier(&mut self, id: &str, line: usize) {
        if id.is_empty() || id.chars().any(|next| next.is_control() || next.is_whitespace()) {
            self.problem(line, format!("{id:?} cannot be the id of a mount"));
        }
    }

    /// Each that is written; none for what is none.
    fn sources(&mut self, owner: &str, table: SecretTable) -> Vec<Option<SecretSource>> {
        let SecretTable { file, env, run } = table;
        let mut sources = Vec::new();
        if let Some(Located { value, line }) = file {
            let file = self.secret_file(owner, "the file", &value, line);
            sources.push(file.map(SecretSource::File));
        }
        if let Some(Located { value: name, line }) = env {
            let valid = !name.is_empty() && !name.contains(['=', '\0']);
            if !valid {
                self.problem(line, format!("{owner}: {name:?} cannot be the name of a variable"));
            }
            sources.push(valid.then_some(SecretSource::Env(name)));
        }
        if let Some(run) = run {
            let line = run.line();
            let command = self.command_line(run);
            if command.is_none() {
                self.problem(line, format!("{owner}: run needs a command"));
            }
            sources.push(command.map(SecretSource::Run));
        }
        sources
    }

    fn agent(&mut self, owner: &str, agent: AgentValue) -> Option<SshSource> {
        match agent {
            AgentValue::Usual(Located { value: true, .. }) => Some(SshSource::Agent),
            AgentValue::Usual(Located { line, .. }) => {
                let message = format!("{owner}: agent is true or the path of a socket");
                self.problem(line, message);
                None
            }
            AgentValue::Socket(Located { value, line }) => {
                self.secret_file(owner, "agent", &value, line).map(SshSource::Socket)
            }
        }
    }

    fn secret_file(
        &mut self,
        owner: &str,
        what: &str,
        written: &str,
        line: usize,
    ) -> Option<SecretFile> {
        let problem = match written.strip_prefix("~/") {
            Some(path) if !path.is_empty() => {
                return Some(SecretFile::AtHome(Path::new(path).components().collect()));
            }
            None if !written.is_empty() && !written.starts_with('~') => {
                return Some(SecretFile::At(join(self.root, written)));
            }
            None if written.len() > 1 => {
                format!("{owner}: {written:?} is in nobody's home that is known: only ~/ is")
            }
            _ => format!("{owner}: {what} needs a path"),
        };
        self.problem(line, problem);
        None
    }
}
