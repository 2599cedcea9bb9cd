//! The rows: what is changed in which project.

mod arguments;
mod commands;
mod files;
mod ignore;
mod instructions;
mod newer;
mod selectors;
mod stages;

use crate::State;

/// A project and a change to it.
pub struct Row {
    /// `group/change`.
    pub id: String,
    /// The project.
    pub before: State,
    /// The project with the change.
    pub after: State,
    /// What a build of it needs.
    pub needs: Needs,
    /// A random one may be a project that cannot be built.
    pub is_random: bool,
}

/// What a build needs of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Any BuildKit that Docker had since 20.10.
    Any,
    /// Syntax of later ones: here-documents, `COPY --link`, `--parents`, `--exclude`.
    Newer,
}

/// All rows; no two have the same name.
pub fn all() -> Vec<Row> {
    let mut rows = Rows { rows: Vec::new(), needs: Needs::Any };
    files::add(&mut rows);
    ignore::add(&mut rows);
    selectors::add(&mut rows);
    stages::add(&mut rows);
    arguments::add(&mut rows);
    instructions::add(&mut rows);
    commands::add(&mut rows);
    rows.needs = Needs::Newer;
    newer::add(&mut rows);
    rows.rows
}

/// What is changed, in words and in deed.
type Change = (&'static str, fn(&mut State));

struct Rows {
    rows: Vec<Row>,
    needs: Needs,
}

impl Rows {
    fn group(&mut self, name: &str, before: State, changes: &[Change]) {
        for (change, edit) in changes {
            let mut after = before.clone();
            edit(&mut after);
            self.row(format!("{name}/{change}"), before.clone(), after);
        }
    }

    fn row(&mut self, id: String, before: State, after: State) {
        assert!(self.rows.iter().all(|row| row.id != id), "two rows are named {id}");
        assert_ne!(before, after, "{id} changes nothing");
        self.rows.push(Row { id, before, after, needs: self.needs, is_random: false });
    }
}

/// A tree with a bit of everything.
fn tree(dockerfile: &str) -> State {
    let mut state = State::new(
        dockerfile,
        &[
            ("README.md", "read me\n"),
            ("notes.txt", "notes\n"),
            ("x.log", "log\n"),
            ("src/a.txt", "a\n"),
            ("src/b.txt", "b\n"),
            ("src/x.log", "log\n"),
            ("src/run.sh", "#!/bin/sh\n"),
            ("src/sub/c.txt", "c\n"),
            ("src/sub/deep/d.txt", "d\n"),
            ("other/o.txt", "o\n"),
            (".git/HEAD", "ref: refs/heads/main\n"),
        ],
    );
    state.chmod("src/run.sh", 0o755);
    state.symlink("src/link", "sub/c.txt");
    state
}

/// A Dockerfile of one stage without a base image.
fn scratch(instructions: &str) -> String {
    format!("FROM scratch\nWORKDIR /@nonce@\n{instructions}")
}

/// A Dockerfile of one stage on the image with a shell.
fn shell(instructions: &str) -> String {
    format!("FROM @base@\nWORKDIR /@nonce@\n{instructions}")
}
