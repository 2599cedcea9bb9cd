//! Commands that say whether an image is good, and commands that say what is in it.
//!
//! None of them is part of a key: an image does not become another one because more is asked of it.

use std::fmt;
use std::time::Duration;

use dockit_registry::Platform;

use crate::command_line::CommandLine;
use crate::process::Captured;

/// How long a test may take unless the configuration says otherwise.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// How long an info command may take unless the configuration says otherwise.
pub const INFO_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How many bytes of a command's output are kept, of both streams together: the end.
pub const OUTPUT_LIMIT: usize = 1024 * 1024;

/// A test: an entry of `test` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The command; it passes with exit code 0.
    pub command: CommandLine,
    /// Where it runs.
    pub on: CheckPlace,
    /// How long it may take.
    pub timeout: Duration,
    /// The platforms of whose images it is a test; empty: all.
    pub platforms: Vec<Platform>,
}

impl Check {
    /// Whether it is a test of an image for this platform.
    pub fn is_for(&self, platform: &Platform) -> bool {
        self.platforms.is_empty() || self.platforms.contains(platform)
    }
}

/// Where a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckPlace {
    /// In a container of the image, instead of its entrypoint and command.
    Container,
    /// On this machine, in the directory of the configuration file.
    Host,
}

/// An info command: an entry of `info` in the configuration. It runs in a container of the image, and
/// its output goes into the image's report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfoCommand {
    /// What its output is called.
    pub name: String,
    /// The command.
    pub command: CommandLine,
    /// How long it may take.
    pub timeout: Duration,
}

/// How a command ended, and what it wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckResult {
    /// The command.
    pub command: CommandLine,
    /// Where it ran.
    pub on: CheckPlace,
    /// How it ended.
    pub end: CheckEnd,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The last MiB of what it wrote, both streams in the order in which it came.
    pub output: Captured,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckEnd {
    /// By itself, with this exit code.
    Exited(i64),
    /// By a signal.
    Signalled,
    /// It took longer than this, and was ended.
    TimedOut(Duration),
    /// It was never started, for this reason: no such program, for one.
    NotStarted(String),
    /// The run was cancelled.
    Cancelled,
}

impl CheckPlace {
    /// The word for this place in the configuration and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Host => "host",
        }
    }
}

impl CheckResult {
    /// Whether the exit code is 0.
    pub fn passed(&self) -> bool {
        self.end == CheckEnd::Exited(0)
    }

    /// The exit code, if it ended by itself.
    pub fn exit_code(&self) -> Option<i64> {
        match self.end {
            CheckEnd::Exited(code) => Some(code),
            _ => None,
        }
    }

    /// The command, how it ended, and the last 20 lines of what it wrote, indented.
    pub fn describe(&self) -> String {
        let mut text = format!("`{}` {}", self.command, self.end);
        let output = self.output.text();
        let lines: Vec<&str> = output.lines().collect();
        for line in &lines[lines.len().saturating_sub(20)..] {
            text.push_str("\n    ");
            text.push_str(line.trim_end_matches('\r'));
        }
        text
    }
}

impl fmt::Display for CheckEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(formatter, "ended with exit code {code}"),
            Self::Signalled => formatter.write_str("was ended by a signal"),
            Self::TimedOut(limit) => {
                write!(formatter, "was not done within {} seconds", limit.as_secs_f64())
            }
            Self::NotStarted(reason) => write!(formatter, "could not be started: {reason}"),
            Self::Cancelled => formatter.write_str("was cancelled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_command_exit_code_and_the_end_of_the_output() {
        let mut output = Captured::default();
        for line in 0..40 {
            output.append(format!("line {line}\r\n").as_bytes(), OUTPUT_LIMIT);
        }
        let result = CheckResult {
            command: CommandLine::Shell("pytest -x".to_owned()),
            on: CheckPlace::Container,
            end: CheckEnd::Exited(3),
            seconds: 1.0,
            output,
        };
        let text = result.describe();
        assert!(text.starts_with("`pytest -x` ended with exit code 3\n    line 20\n"), "{text}");
        assert!(text.ends_with("\n    line 39"), "{text}");
        assert!(!result.passed());
    }
}
