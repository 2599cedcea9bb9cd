//! Which display follows a run.

use std::io::IsTerminal as _;

use dockit_core::events::{Observer, Silent};

use super::{plain::Plain, terminal::Terminal};
use crate::commands::GlobalArgs;
use crate::environment;

/// A display of a run's events on standard error.
pub(crate) trait Display: Observer {
    /// Clears what moves. Nothing is shown afterwards.
    fn finish(&self) {}
}

impl Display for Silent {}

/// The display for this terminal, pipe or log, and for these options.
pub(crate) fn start(global: &GlobalArgs) -> Box<dyn Display> {
    if global.quiet {
        Box::new(Plain::warnings_only())
    } else if moves() {
        Box::new(Terminal::new(global.verbose))
    } else {
        Box::new(Plain::new())
    }
}

/// Whether lines can be rewritten: on a terminal that a person looks at.
pub(super) fn moves() -> bool {
    std::io::stderr().is_terminal() && !environment::plain_terminal() && !environment::in_ci()
}
