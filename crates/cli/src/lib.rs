//! The `dockit` command as a library: what the binary does, testable.
//!
//! A command is one file in [`commands`]: its arguments, whose documentation is the help text, and
//! one function that calls the library and renders what comes back. Data goes to standard output,
//! talk to standard error. Exit codes and hints are [`diagnostics`], and nowhere else.

mod backends;
pub mod commands;
pub mod diagnostics;
mod environment;
mod interrupt;
mod replace;
mod rights;
mod session;
pub mod ui;

use std::process::ExitCode;

use clap::Parser as _;

use commands::Cli;
use diagnostics::{Exit, Failure};

/// Parses the process's arguments and runs the command.
pub fn main() -> ExitCode {
    // With the same provider for every connection, libraries need none of their own. It is only
    // refused where one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = error.print();
            return code.into();
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::new(Exit::Failed, format!("cannot start: {error}"));
            return failure.report().into();
        }
    };
    let exit = match runtime.block_on(commands::run(cli)) {
        Ok(exit) => exit,
        Err(failure) => failure.report(),
    };
    // A thread that still packs an archive for a build that was given up must not hold us back.
    runtime.shutdown_background();
    exit.into()
}
