//! As much of HTTP/1.1 as tests need, on both sides.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longest that a test server may be silent.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A request or a reply: its first line, headers and body.
#[derive(Clone, Debug)]
pub struct Message {
    pub(crate) first_line: String,
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// The value of a header, whose name is compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The status of a reply.
    pub fn status(&self) -> u16 {
        let status = self.first_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("{:?} begins no reply", self.first_line))
    }
}

/// Sends one request to `host:port` and reads the reply.
pub fn exchange(
    address: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut reader = BufReader::new(stream);
    let mut reply = read_head(&mut reader)?
        .ok_or_else(|| std::io::Error::other(format!("{method} {target}: no reply")))?;
    if method != "HEAD" {
        reader.read_to_end(&mut reply.body)?;
        if reply.header("transfer-encoding") == Some("chunked") {
            reply.body = unchunked(&reply.body);
        }
    }
    Ok(reply)
}

/// First line and headers; `None` if the other side has nothing more to say.
pub(crate) fn read_head(reader: &mut impl BufRead) -> std::io::Result<Option<Message>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let mut lines = lines.into_iter();
    let Some(first_line) = lines.next() else {
        return Ok(None);
    };
    let headers = lines
        .filter_map(|line| {
            line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        })
        .collect();
    Ok(Some(Message { first_line, headers, body: Vec::new() }))
}

fn unchunked(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        let read = chunks.read_line(&mut line);
        let length = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
        if read.is_err() || length == 0 {
            return body;
        }
        let mut chunk = vec![0; length + 2];
        if chunks.read_exact(&mut chunk).is_err() {
            return body;
        }
        body.extend_from_slice(&chunk[..length]);
    }
}
