//! One exchange: from the client to the registry and back.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Shared;
use super::body::{BodyReader, BodyWriter, Framing};
use super::rule::{Edit, Fault, Flow, Length, Stop};
use crate::connections::Round;
use crate::http::{Message, read_head};
use crate::scripted::{self, Reply, Request};

/// Bytes that are moved at once.
const PIECE: usize = 64 * 1024;

/// Pieces in which slow bodies are moved, in a second.
const SLOW_PIECES: u64 = 10;

/// What comes after an exchange.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Request,
    Close,
}

/// Serves a client until it, or a fault, ends the connection.
pub(super) fn serve(client: &TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(PIECE, client);
    while let Some(head) = read_head(&mut reader)? {
        let (number, fault, round) = shared.note(&head);
        let relay = Relay { client, shared, head, number, fault, round };
        if relay.run(&mut reader)? == Next::Close {
            return Ok(());
        }
    }
    Ok(())
}

struct Relay<'a> {
    client: &'a TcpStream,
    shared: &'a Shared,
    head: Message,
    number: usize,
    fault: Fault,
    /// What the fault holds up is let go when this ends.
    round: Round,
}

impl Relay<'_> {
    fn run(&self, reader: &mut BufReader<&TcpStream>) -> io::Result<Next> {
        let framing = Framing::of_request(&self.head);
        if self.head.header("expect").is_some() {
            let mut client = self.client;
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = BodyReader::new(reader, framing);
        if let Some(reply) = &self.fault.reply {
            return self.answer(&mut body, reply);
        }
        let request = match &self.shared.plane {
            Some(plane) => {
                let mut message = self.head.clone();
                if !is_of_blob(&self.head) {
                    body.read_to_end(&mut message.body)?;
                }
                let request = Request::new(message);
                if let Some(reply) = plane.answer(&request) {
                    return self.answer(&mut body, &reply);
                }
                Some(request)
            }
            None => None,
        };
        // What was read already is passed on before the rest.
        let held = request.as_ref().map_or(&[][..], Request::body);
        let mut body = held.chain(body);
        let upstream = TcpStream::connect(&self.shared.upstream)?;
        upstream.set_nodelay(true)?;
        let Some(_held) = self.shared.connections.hold(&upstream) else {
            return Ok(Next::Close);
        };
        if !self.upload(&mut body, framing, &upstream)? {
            return Ok(Next::Close);
        }
        self.download(&upstream, request.as_ref())
    }

    /// Answers in the registry's place.
    fn answer(&self, body: &mut impl Read, reply: &Reply) -> io::Result<Next> {
        self.pass(body, Flow::default(), |_| Ok(()), Direction::Up)?;
        self.shared.connections.wait(self.round, reply.wait());
        let cut = reply.is_hang_up();
        self.shared.amend(self.number, |exchange| {
            exchange.status = (!cut).then_some(reply.status());
        });
        let stays_open = scripted::send(self.client, self.method(), self.closes(), reply)?;
        Ok(if stays_open { Next::Request } else { Next::Close })
    }

    /// Passes the request on; `false` if the fault has ended it.
    fn upload(
        &self,
        body: &mut impl Read,
        framing: Framing,
        mut upstream: &TcpStream,
    ) -> io::Result<bool> {
        let mut head = format!("{}\r\nConnection: close\r\n", self.head.first_line);
        for (name, value) in &self.head.headers {
            let ignored = self.fault.ignored.iter().any(|other| other.eq_ignore_ascii_case(name));
            if !ignored && !is_any(name, &["connection", "expect"]) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str("\r\n");
        upstream.write_all(head.as_bytes())?;
        let mut writer = BodyWriter::new(upstream, framing == Framing::Chunks);
        // A registry may answer, and close, before it has read everything. The client gets the answer
        // when it has sent the rest.
        let mut listens = true;
        let flow = self.fault.upload;
        let whole = self.pass(
            body,
            flow,
            |piece| {
                listens = listens && writer.piece(piece).is_ok();
                Ok(())
            },
            Direction::Up,
        )?;
        if whole && listens {
            let _ = writer.end();
        }
        Ok(whole)
    }

    fn download(&self, upstream: &TcpStream, request: Option<&Request>) -> io::Result<Next> {
        let mut reader = BufReader::with_capacity(PIECE, upstream);
        let mut reply = loop {
            match read_head(&mut reader)? {
                None => return Ok(Next::Close),
                Some(head) if head.status() < 200 => {}
                Some(head) => break head,
            }
        };
        let framing = Framing::of_reply(&reply, self.method());
        let mut body = BodyReader::new(&mut reader, framing);
        if self.fault.loses_reply {
            // The registry is done when its reply is whole.
            io::copy(&mut body, &mut io::sink())?;
            return Ok(Next::Close);
        }
        if let (Some(plane), Some(request)) = (&self.shared.plane, request) {
            let status = reply.status();
            plane.edit(request, status, &mut reply.headers);
        }
        self.edit(&mut reply);
        let (framing, closes) = self.frame(&mut reply, framing);
        self.shared.amend(self.number, |exchange| exchange.status = Some(reply.status()));
        let mut head = format!("{}\r\n", reply.first_line);
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut client = self.client;
        client.write_all(head.as_bytes())?;
        let mut writer = BodyWriter::new(client, framing == Framing::Chunks);
        let flow = self.fault.download;
        let whole = self.pass(&mut body, flow, |piece| writer.piece(piece), Direction::Down)?;
        if whole {
            writer.end()?;
        }
        Ok(if whole && !closes { Next::Request } else { Next::Close })
    }

    fn edit(&self, reply: &mut Message) {
        for (name, edit) in &self.fault.edits {
            let mut found = false;
            reply.headers.retain_mut(|(known, value)| {
                if !known.eq_ignore_ascii_case(name) {
                    return true;
                }
                found = true;
                match edit.apply(value) {
                    Some(edited) => {
                        *value = edited;
                        true
                    }
                    None => false,
                }
            });
            if let (false, Edit::Set(value)) = (found, edit) {
                reply.headers.push((name.clone(), value.clone()));
            }
        }
    }

    /// Makes the headers say how the body ends, as the fault wants it; tells how it does, and whether
    /// the connection ends with it.
    fn frame(&self, reply: &mut Message, framing: Framing) -> (Framing, bool) {
        let stop = self.fault.download.stop.map(|(at, _)| at);
        let new = match (self.fault.length, framing) {
            (Length::AsIs, Framing::Close) => Framing::Chunks,
            (Length::AsIs, framing) => framing,
            (Length::True, Framing::Length(length)) => {
                Framing::Length(stop.map_or(length, |stop| length.min(stop)))
            }
            (Length::True, _) => Framing::Chunks,
            (Length::Missing, _) => Framing::Close,
        };
        // The length in a reply without a body, as to HEAD, is not the body's.
        let bodiless = framing == Framing::Length(0);
        reply.headers.retain(|(name, _)| {
            !is_any(name, &["connection", "transfer-encoding"])
                && (bodiless || !name.eq_ignore_ascii_case("content-length"))
        });
        let mut add = |name: &str, value: String| reply.headers.push((name.to_owned(), value));
        match new {
            _ if bodiless => {}
            Framing::Length(length) => add("Content-Length", length.to_string()),
            Framing::Chunks => add("Transfer-Encoding", "chunked".to_owned()),
            Framing::Close => {}
        }
        let closes = new == Framing::Close || self.closes();
        if closes {
            add("Connection", "close".to_owned());
        }
        (new, closes)
    }

    /// Moves a body as the fault lets it flow; `false` if the fault has ended the connection.
    ///
    /// What arrived is noted before it is passed on, so that whoever has all of it finds it noted.
    fn pass(
        &self,
        from: &mut impl Read,
        flow: Flow,
        mut to: impl FnMut(&[u8]) -> io::Result<()>,
        direction: Direction,
    ) -> io::Result<bool> {
        let mut buffer = vec![0; PIECE];
        let mut done: u64 = 0;
        loop {
            let mut room = PIECE as u64;
            if let Some(rate) = flow.bytes_per_second {
                room = room.min((rate / SLOW_PIECES).max(1));
            }
            if let Some((at, stop)) = flow.stop {
                if done == at {
                    // What has no more bytes is not stopped.
                    if from.read(&mut buffer[..1])? == 0 {
                        return Ok(true);
                    }
                    match stop {
                        Stop::Cut => return Ok(false),
                        Stop::Stall => {
                            self.shared.connections.wait_for_end(self.round);
                            return Ok(false);
                        }
                        Stop::End => return Ok(true),
                    }
                }
                room = room.min(at - done);
            }
            let room = usize::try_from(room).unwrap_or(PIECE);
            let read = from.read(&mut buffer[..room])?;
            if read == 0 {
                return Ok(true);
            }
            let piece = &mut buffer[..read];
            if let Some(position) = flow.changed.and_then(|position| position.checked_sub(done))
                && let Some(byte) = usize::try_from(position).ok().and_then(|at| piece.get_mut(at))
            {
                *byte ^= 1;
            }
            done += read as u64;
            self.shared.amend(self.number, |exchange| match direction {
                Direction::Up => exchange.uploaded = done,
                Direction::Down => exchange.downloaded = done,
            });
            to(piece)?;
            if let Some(rate) = flow.bytes_per_second {
                let seconds = read as f64 / rate as f64;
                self.shared.connections.wait(self.round, Duration::from_secs_f64(seconds));
            }
        }
    }

    fn method(&self) -> &str {
        self.head.first_line.split(' ').next().unwrap_or_default()
    }

    /// Whether the client wants the connection to end with the reply.
    fn closes(&self) -> bool {
        self.head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

/// Whether the request carries a blob, which is never held as a whole.
fn is_of_blob(head: &Message) -> bool {
    head.first_line.split(' ').nth(1).is_some_and(|target| target.contains("/blobs/"))
}

fn is_any(name: &str, known: &[&str]) -> bool {
    known.iter().any(|known| name.eq_ignore_ascii_case(known))
}
