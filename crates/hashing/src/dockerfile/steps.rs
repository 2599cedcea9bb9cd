//! What a builder does for a stage, instruction by instruction, with every word expanded.

use super::program::StageBase;

/// An instruction of a stage, expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The 1-based line on which it begins; that of the `FROM` for a trigger of a base image, that of
    /// the `ONBUILD` for one of a base stage.
    pub line: u32,
    /// What it does.
    pub kind: StepKind,
}

/// What an instruction does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepKind {
    /// `ADD` of what lies in the build context or in heredocs.
    Add(CopyStep),
    /// `ARG`: names with the values that they have from here on.
    Arg(Vec<(String, Option<String>)>),
    /// `CMD`.
    Cmd(CommandLine),
    /// `COPY`.
    Copy(CopyStep),
    /// `ENTRYPOINT`.
    Entrypoint(CommandLine),
    /// `ENV`.
    Env(Vec<(String, String)>),
    /// `EXPOSE`: each port as `PORT/PROTOCOL`, in the order in which BuildKit takes them.
    Expose(Vec<String>),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `LABEL`.
    Label(Vec<(String, String)>),
    /// `MAINTAINER`.
    Maintainer(String),
    /// `ONBUILD`, without that word: what the configuration of the image holds.
    Onbuild(String),
    /// `RUN`, without that word and as it is written; a heredoc without its lines.
    Run(String),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `STOPSIGNAL`.
    StopSignal(String),
    /// `USER`.
    User(String),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `WORKDIR`, as written, perhaps relative.
    Workdir(String),
}

/// A `COPY` or `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyStep {
    /// Where paths are looked for; `None`: in the build context.
    pub from: Option<StageBase>,
    /// What is copied: the paths, and behind them the heredocs, as BuildKit copies them.
    pub sources: Vec<CopySource>,
    /// The last word.
    pub destination: String,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// Each `--exclude`.
    pub exclude: Vec<String>,
    /// `--unpack` of an `ADD`.
    pub unpack: Option<bool>,
}

/// What a `COPY` or `ADD` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopySource {
    /// A path or wildcard.
    Path(String),
    /// A heredoc.
    Heredoc {
        /// The name of the file that it becomes.
        name: String,
        /// Its bytes, expanded where the delimiter is not quoted.
        content: Vec<u8>,
    },
}

/// A command as an instruction gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLine {
    /// For a shell.
    Shell(String),
    /// Program and arguments.
    Exec(Vec<String>),
}

/// A `HEALTHCHECK`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Healthcheck {
    /// `NONE`.
    None,
    /// `CMD`. Durations are in nanoseconds, as the configuration holds them; 0 is not set.
    Command {
        /// What is run.
        command: CommandLine,
        /// `--interval`.
        interval: u64,
        /// `--timeout`.
        timeout: u64,
        /// `--start-period`.
        start_period: u64,
        /// `--start-interval`.
        start_interval: u64,
        /// `--retries`.
        retries: u64,
    },
}
