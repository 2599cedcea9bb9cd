//! What is run when pinned files have changed: the generator of a configuration, for example.

use tokio_util::sync::CancellationToken;

use super::Pins;
use crate::command_line::CommandLine;
use crate::process::{ProcessError, ProcessOutput};
use crate::project::Project;

/// Why something that follows from changed pins is not there. The files have been changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AfterError {
    /// A command cannot be run.
    #[error("after the pins changed: {command}: {error}")]
    Process {
        /// The command.
        command: CommandLine,
        /// What happened.
        #[source]
        error: ProcessError,
    },
    /// A command failed.
    #[error("after the pins changed, {command} failed{}", said(.output))]
    Failed {
        /// The command.
        command: CommandLine,
        /// How it ended, and what it wrote.
        output: ProcessOutput,
    },
}

fn said(output: &ProcessOutput) -> String {
    let code = output.code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
    let text = [output.stdout.text(), output.stderr.text()].concat();
    let text = text.trim_end();
    if text.is_empty() { code } else { format!("{code}:\n  {}", text.replace('\n', "\n  ")) }
}

/// Runs the commands of the rules whose files have changed, in the order of the configuration, each once,
/// in the project's directory.
///
/// # Errors
///
/// The first that fails, after which no other is run.
pub async fn run_after(
    project: &Project,
    pins: &Pins,
    cancel: &CancellationToken,
) -> Result<(), AfterError> {
    let mut ran: Vec<&CommandLine> = Vec::new();
    for rule in &pins.rules {
        let Some(command) = &project.pins[*rule].run else {
            continue;
        };
        if ran.contains(&command) {
            continue;
        }
        ran.push(command);
        let ended = command.process(&project.root).run(cancel).await;
        let output =
            ended.map_err(|error| AfterError::Process { command: command.clone(), error })?;
        if !output.succeeded() {
            return Err(AfterError::Failed { command: command.clone(), output });
        }
    }
    Ok(())
}
