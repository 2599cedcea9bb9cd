//! A reverse proxy that lets go wrong what a test wants to go wrong.

mod body;
mod relay;
mod rule;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

pub use rule::{Fault, Rule};

use crate::connections::{Connections, Round};
use crate::http::Message;
use crate::vendor::ControlPlane;

/// A reverse proxy on a free port of 127.0.0.1, in front of a registry.
///
/// It passes `Host` on, so that a registry that makes its `Location`s of it leads back through the
/// proxy. Bodies are streamed in both directions, never held as a whole. The first rule that matches a
/// request and is not used up applies to it; without one the request just passes.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: String,
    rules: Mutex<Vec<Rule>>,
    exchanges: Mutex<Vec<Exchange>>,
    connections: Connections,
    /// What answers in the registry's place, or changes what it answers.
    plane: Option<Box<dyn ControlPlane>>,
}

/// A request that came to the proxy, and what became of it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The request's method.
    pub method: String,
    /// The request's path and query.
    pub target: String,
    /// Bytes of the request's body that were read from the client.
    pub uploaded: u64,
    /// Bytes of the reply's body that were sent to the client.
    pub downloaded: u64,
    /// The status that the client was sent, if it was sent one.
    pub status: Option<u16>,
    head: Message,
}

impl Exchange {
    /// The value of a header of the request, whose name is compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The request's path without the query.
    pub fn path(&self) -> &str {
        path(&self.target)
    }
}

impl FaultProxy {
    /// Starts in front of the registry at `host:port`, without a fault.
    pub fn start(upstream: &str) -> Self {
        Self::start_with(upstream, |_| None)
    }

    /// The same, with what `plane` makes of the proxy's own `host:port`.
    pub(crate) fn start_with(
        upstream: &str,
        plane: impl FnOnce(&str) -> Option<Box<dyn ControlPlane>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            rules: Mutex::default(),
            exchanges: Mutex::default(),
            connections: Connections::default(),
            plane: plane(&address.to_string()),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || accept(&listener, &shared))
        };
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Adds a rule behind those that are there.
    pub fn add(&self, rule: Rule) {
        lock(&self.shared.rules).push(rule);
    }

    /// From now on nothing goes wrong any more, and what was asked before is forgotten. What is held
    /// up is let go: a stalled connection is closed, and a late answer is sent at once.
    pub fn reset(&self) {
        lock(&self.shared.rules).clear();
        lock(&self.shared.exchanges).clear();
        self.shared.connections.release();
    }

    /// What was asked so far, in the order in which it came in. What a client has read of a reply is
    /// counted in it.
    pub fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.shared.exchanges).clone()
    }

    /// Method, target and status of the requests so far; without a status where none was sent.
    pub fn log(&self) -> Vec<String> {
        let exchanges = self.exchanges();
        exchanges
            .iter()
            .map(|exchange| match exchange.status {
                Some(status) => format!("{} {} {status}", exchange.method, exchange.target),
                None => format!("{} {}", exchange.method, exchange.target),
            })
            .collect()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.connections.end();
        // Wakes the acceptor up.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    /// Takes note of a request; tells its number, what goes wrong with it, and until when.
    fn note(&self, head: &Message) -> (usize, Fault, Round) {
        let mut words = head.first_line.split(' ').map(ToOwned::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut rules = lock(&self.rules);
        let round = self.connections.round();
        let fault = rules.iter_mut().find_map(|rule| rule.apply(&method, path(&target)));
        let mut exchanges = lock(&self.exchanges);
        exchanges.push(Exchange {
            method,
            target,
            uploaded: 0,
            downloaded: 0,
            status: None,
            head: head.clone(),
        });
        (exchanges.len() - 1, fault.unwrap_or_default(), round)
    }

    /// Changes what is noted about a request, unless that was forgotten.
    fn amend(&self, number: usize, change: impl FnOnce(&mut Exchange)) {
        if let Some(exchange) = lock(&self.exchanges).get_mut(number) {
            change(exchange);
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.connections.are_ending() {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        // Ends with its connection, which is closed with the proxy.
        std::thread::spawn(move || {
            if let Some(_held) = shared.connections.hold(&stream) {
                // A client that goes away is no concern of the proxy.
                let _ = relay::serve(&stream, &shared);
            }
        });
    }
}

fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or(target)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
