//! Sends a tree, and what the receiver then wants of it.
//!
//! The receiver asks for contents while entries still come, and takes no entry while nobody reads what it
//! asks: so its requests are read by a task of their own, and wait as numbers. Entries and contents are
//! sent by a thread, a file at a time and in small pieces; nothing of a tree is kept here.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::{Status, Streaming};

use super::pieces::Pieces;
use super::wire::{Packet, PacketKind};
use super::{ContextFailure, Which};
use crate::tree::{Entry, EntryKind, FileTree, compare_paths};

/// Packets that wait for the receiver; sending waits when there are more.
const PENDING: usize = 32;

/// What the receiver says.
enum Word {
    Wants(u32),
    HasAll,
    Failed(String),
}

/// Starts to send. The stream ends well only if the receiver has everything that it wanted.
pub(super) fn send(
    tree: Arc<dyn FileTree>,
    which: Which,
    requests: Streaming<Packet>,
    failure: ContextFailure,
) -> impl Stream<Item = Result<Packet, Status>> + Send + 'static {
    let (packets, sent) = mpsc::channel(PENDING);
    let (words, said) = mpsc::unbounded_channel();
    let mut listening = JoinSet::new();
    listening.spawn(listen(requests, tree.len(), words));
    tokio::task::spawn_blocking(move || {
        let mut sender = Sender { tree: &*tree, which, packets, failure };
        if let Err(status) = sender.run(said) {
            // Where nobody listens any more, nobody needs to know.
            drop(sender.packets.blocking_send(Err(status)));
        }
    });
    // Whoever drops the stream ends the task, which ends the thread.
    stream::unfold((sent, listening), |(mut sent, listening)| async move {
        sent.recv().await.map(|packet| (packet, (sent, listening)))
    })
}

/// Passes on what the receiver says, which is never more than there are files, and an end.
async fn listen(mut requests: Streaming<Packet>, most: usize, words: mpsc::UnboundedSender<Word>) {
    let mut left = most;
    loop {
        let word = match requests.message().await {
            Ok(Some(packet)) => match packet.kind() {
                PacketKind::Request if left == 0 => {
                    Word::Failed("it asks for more than there is".to_owned())
                }
                PacketKind::Request => {
                    left -= 1;
                    Word::Wants(packet.id)
                }
                PacketKind::Finish => Word::HasAll,
                PacketKind::Error => Word::Failed(String::from_utf8_lossy(&packet.data).into()),
                PacketKind::Stat | PacketKind::Data => {
                    Word::Failed("it sends files itself".to_owned())
                }
            },
            Ok(None) => return,
            Err(status) => Word::Failed(status.message().to_owned()),
        };
        let is_last = !matches!(word, Word::Wants(_));
        if words.send(word).is_err() || is_last {
            return;
        }
    }
}

struct Sender<'a> {
    tree: &'a dyn FileTree,
    which: Which,
    packets: mpsc::Sender<Result<Packet, Status>>,
    failure: ContextFailure,
}

impl Sender<'_> {
    fn run(&mut self, mut said: mpsc::UnboundedReceiver<Word>) -> Result<(), Status> {
        self.entries()?;
        loop {
            match said.blocking_recv() {
                Some(Word::Wants(id)) => self.content(id)?,
                Some(Word::HasAll) => return self.packet(Packet::of(PacketKind::Finish)),
                Some(Word::Failed(reason)) => {
                    return Err(Status::aborted(format!("the receiver failed: {reason}")));
                }
                None => return Err(Status::cancelled("the receiver is gone")),
            }
        }
    }

    fn entries(&mut self) -> Result<(), Status> {
        let mut last: Option<Entry<'_>> = None;
        for number in 0..self.tree.len() {
            let entry = self.tree.entry(number);
            if let Some(last) = last
                && compare_paths(last.path, entry.path).is_ge()
            {
                return Err(self.broken(&entry, "it is not in order"));
            }
            last = Some(entry);
            if self.which.sends(entry.path) {
                self.packet(Packet::stat(&entry))?;
            }
        }
        self.packet(Packet::of(PacketKind::Stat))
    }

    /// Sends the file with the number that it had among the entries that were sent.
    fn content(&mut self, id: u32) -> Result<(), Status> {
        let number = match self.which {
            Which::All => usize::try_from(id).ok().filter(|number| *number < self.tree.len()),
            Which::IgnoreFile => {
                (0..self.tree.len()).find(|number| self.which.sends(self.tree.entry(*number).path))
            }
        };
        let Some(number) = number else {
            return Err(Status::invalid_argument(format!("there is no entry {id}")));
        };
        let entry = self.tree.entry(number);
        let EntryKind::File { size } = entry.kind else {
            return Err(Status::invalid_argument(format!("entry {id} is no file")));
        };
        let mut pieces = Pieces::new(self.packets.clone(), |piece| Packet::data(id, piece));
        let result = self.tree.write_content(number, &mut pieces).and_then(|()| pieces.flush());
        if pieces.is_cut() {
            return Err(Status::cancelled("the receiver is gone"));
        }
        match result {
            Err(error) => Err(self.failed(error)),
            Ok(()) if pieces.written() != size => Err(self.broken(&entry, "its size is another")),
            Ok(()) => self.packet(Packet::data(id, Bytes::new())),
        }
    }

    fn broken(&self, entry: &Entry<'_>, what: &str) -> Status {
        self.failed(format!("{}: {what}", entry.path.escape_ascii()))
    }

    /// Remembers why, and tells the receiver: it has to fail too.
    fn failed(&self, reason: impl fmt::Display) -> Status {
        let reason = reason.to_string();
        self.failure.set(reason.clone());
        let data = Bytes::from(reason.clone().into_bytes());
        drop(self.packet(Packet { data, ..Packet::of(PacketKind::Error) }));
        Status::data_loss(reason)
    }

    fn packet(&self, packet: Packet) -> Result<(), Status> {
        let gone = |_| Status::cancelled("the receiver is gone");
        self.packets.blocking_send(Ok(packet)).map_err(gone)
    }
}
