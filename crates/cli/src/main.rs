//! The `dockit` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    dockit_cli::main()
}
