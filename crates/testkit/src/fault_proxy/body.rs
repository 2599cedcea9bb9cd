//! Bodies of HTTP/1.1 messages, however they are framed.

use std::io::{self, BufRead, Read, Write};

use crate::http::Message;

/// How the end of a body is told (RFC 9112, *Message Body Length*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// By its length in bytes.
    Length(u64),
    /// By an empty chunk.
    Chunks,
    /// By the end of the connection.
    Close,
}

impl Framing {
    /// That of a request, which has no body unless it says so.
    pub(super) fn of_request(head: &Message) -> Self {
        Self::announced(head).unwrap_or(Self::Length(0))
    }

    /// That of a reply to a request of this method.
    pub(super) fn of_reply(head: &Message, method: &str) -> Self {
        if method == "HEAD" || matches!(head.status(), 204 | 304) {
            return Self::Length(0);
        }
        Self::announced(head).unwrap_or(Self::Close)
    }

    fn announced(head: &Message) -> Option<Self> {
        if head.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
            return Some(Self::Chunks);
        }
        head.header("content-length").and_then(|value| value.parse().ok()).map(Self::Length)
    }
}

/// Reads a body and not a byte further. A body that ends too early is an error.
pub(super) struct BodyReader<'a, R> {
    reader: &'a mut R,
    framing: Framing,
    /// Bytes left of the body, or of the current chunk.
    left: u64,
    ended: bool,
}

impl<'a, R: BufRead> BodyReader<'a, R> {
    pub(super) fn new(reader: &'a mut R, framing: Framing) -> Self {
        let left = match framing {
            Framing::Length(length) => length,
            Framing::Chunks => 0,
            Framing::Close => u64::MAX,
        };
        Self { reader, framing, left, ended: left == 0 && framing != Framing::Chunks }
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        self.left = u64::from_str_radix(digits, 16)
            .map_err(|_| io::Error::other(format!("{line:?} begins no chunk")))?;
        if self.left == 0 {
            self.ended = true;
            self.end_line()?;
        }
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.reader.read_line(&mut String::new()).map(drop)
    }
}

impl<R: BufRead> Read for BodyReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.framing == Framing::Chunks && self.left == 0 && !self.ended {
            self.next_chunk()?;
        }
        if self.ended {
            return Ok(0);
        }
        let length = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.reader.read(&mut buffer[..length])?;
        if read == 0 {
            self.ended = true;
            return match self.framing {
                Framing::Close => Ok(0),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        self.left -= read as u64;
        if self.left == 0 {
            match self.framing {
                Framing::Chunks => self.end_line()?,
                _ => self.ended = true,
            }
        }
        Ok(read)
    }
}

/// Writes a body, in chunks or as it is.
pub(super) struct BodyWriter<W> {
    writer: W,
    chunks: bool,
}

impl<W: Write> BodyWriter<W> {
    pub(super) fn new(writer: W, chunks: bool) -> Self {
        Self { writer, chunks }
    }

    pub(super) fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.chunks {
            return self.writer.write_all(bytes);
        }
        write!(self.writer, "{:x}\r\n", bytes.len())?;
        self.writer.write_all(bytes)?;
        self.writer.write_all(b"\r\n")
    }

    pub(super) fn end(&mut self) -> io::Result<()> {
        if self.chunks {
            self.writer.write_all(b"0\r\n\r\n")?;
        }
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_to_their_end_and_no_further() {
        for (framing, text, body, rest) in [
            (Framing::Length(3), "abcdef", Some("abc"), "def"),
            (Framing::Length(0), "abc", Some(""), "abc"),
            (Framing::Length(9), "abc", None, ""),
            (Framing::Chunks, "2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\nnext", Some("abc"), "next"),
            (Framing::Chunks, "2\r\nab\r\n", None, ""),
            (Framing::Close, "abc", Some("abc"), ""),
        ] {
            let mut reader = text.as_bytes();
            let mut found = String::new();
            let read = BodyReader::new(&mut reader, framing).read_to_string(&mut found);
            assert_eq!(read.ok().map(|_| found.as_str()), body, "{framing:?} {text:?}");
            assert_eq!(reader, rest.as_bytes(), "{framing:?} {text:?}");
        }
    }

    #[test]
    fn what_is_written_in_chunks_is_read_again() {
        let mut written = Vec::new();
        let mut writer = BodyWriter::new(&mut written, true);
        writer.piece(b"some").unwrap();
        writer.piece(b" bytes").unwrap();
        writer.end().unwrap();
        let mut found = String::new();
        let mut reader = &*written;
        BodyReader::new(&mut reader, Framing::Chunks).read_to_string(&mut found).unwrap();
        assert_eq!(found, "some bytes");
    }
}
