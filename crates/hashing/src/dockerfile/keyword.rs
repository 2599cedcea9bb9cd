//! The instructions there are, and their flags.

/// The keyword of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Keyword {
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
}

/// What values a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlagType {
    /// None, `true` or `false`.
    Switch,
    /// One.
    Value,
    /// One, and the flag may be repeated.
    List,
}

impl Keyword {
    pub(super) const ALL: [Self; 18] = [
        Self::Add,
        Self::Arg,
        Self::Cmd,
        Self::Copy,
        Self::Entrypoint,
        Self::Env,
        Self::Expose,
        Self::From,
        Self::Healthcheck,
        Self::Label,
        Self::Maintainer,
        Self::Onbuild,
        Self::Run,
        Self::Shell,
        Self::Stopsignal,
        Self::User,
        Self::Volume,
        Self::Workdir,
    ];

    /// The instruction that a word means, in any case.
    pub(super) fn parse(word: &str) -> Option<Self> {
        let word = word.to_lowercase();
        Self::ALL.into_iter().find(|keyword| keyword.as_str().to_ascii_lowercase() == word)
    }

    /// In capitals.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Arg => "ARG",
            Self::Cmd => "CMD",
            Self::Copy => "COPY",
            Self::Entrypoint => "ENTRYPOINT",
            Self::Env => "ENV",
            Self::Expose => "EXPOSE",
            Self::From => "FROM",
            Self::Healthcheck => "HEALTHCHECK",
            Self::Label => "LABEL",
            Self::Maintainer => "MAINTAINER",
            Self::Onbuild => "ONBUILD",
            Self::Run => "RUN",
            Self::Shell => "SHELL",
            Self::Stopsignal => "STOPSIGNAL",
            Self::User => "USER",
            Self::Volume => "VOLUME",
            Self::Workdir => "WORKDIR",
        }
    }

    /// Names of the flags, without dashes.
    pub(super) fn flags(self) -> &'static [(&'static str, FlagType)] {
        use FlagType::{List, Switch, Value};
        match self {
            Self::Add => &[
                ("checksum", Value),
                ("chmod", Value),
                ("chown", Value),
                ("exclude", List),
                ("keep-git-dir", Switch),
                ("link", Switch),
                ("unpack", Switch),
            ],
            Self::Copy => &[
                ("chmod", Value),
                ("chown", Value),
                ("exclude", List),
                ("from", Value),
                ("link", Switch),
                ("parents", Switch),
            ],
            Self::From => &[("platform", Value)],
            Self::Healthcheck => &[
                ("interval", Value),
                ("retries", Value),
                ("start-interval", Value),
                ("start-period", Value),
                ("timeout", Value),
            ],
            Self::Run => {
                &[("device", List), ("mount", List), ("network", Value), ("security", Value)]
            }
            _ => &[],
        }
    }

    /// Whether variables in the arguments are expanded by the build, and not by a shell.
    pub(super) fn expands_arguments(self) -> bool {
        !matches!(self, Self::Cmd | Self::Entrypoint | Self::Healthcheck | Self::Run | Self::Shell)
    }
}
