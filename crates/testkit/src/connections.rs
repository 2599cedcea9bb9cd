//! The connections of a server, so that they end with it, and what is held up in them.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Connections that are open, and whether the server is ending.
#[derive(Default)]
pub(crate) struct Connections {
    state: Mutex<State>,
    ending: Condvar,
}

#[derive(Default)]
struct State {
    open: BTreeMap<u64, TcpStream>,
    next: u64,
    ending: bool,
    round: Round,
}

/// Counts how often what was held up was let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Round(u64);

/// Forgets and closes a connection when it is dropped.
pub(crate) struct Held<'a> {
    connections: &'a Connections,
    number: u64,
}

impl Connections {
    /// Takes note of a connection; `None` if the server is ending.
    pub(crate) fn hold(&self, stream: &TcpStream) -> Option<Held<'_>> {
        let stream = stream.try_clone().ok()?;
        let mut state = self.state();
        if state.ending {
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.open.insert(number, stream);
        Some(Held { connections: self, number })
    }

    /// Closes all connections, and lets nobody wait any longer.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.ending = true;
        for stream in state.open.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.ending.notify_all();
    }

    /// Whether the server is ending.
    pub(crate) fn are_ending(&self) -> bool {
        self.state().ending
    }

    /// The present round, which ends with the next [`Self::release`].
    pub(crate) fn round(&self) -> Round {
        self.state().round
    }

    /// Lets nobody wait any longer who began in this round or before.
    pub(crate) fn release(&self) {
        self.state().round.0 += 1;
        self.ending.notify_all();
    }

    /// Waits for this long, or until the round or the server ends.
    pub(crate) fn wait(&self, round: Round, duration: Duration) {
        let end = Instant::now() + duration;
        let mut state = self.state();
        while !state.ending && state.round == round {
            let Some(left) = end.checked_duration_since(Instant::now()) else { return };
            let waited = self.ending.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the round or the server ends.
    pub(crate) fn wait_for_end(&self, round: Round) {
        let mut state = self.state();
        while !state.ending && state.round == round {
            state = self.ending.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(stream) = self.connections.state().open.remove(&self.number) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
