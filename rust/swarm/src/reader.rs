//! One keep-alive connection of the reads: one question at a time, without waiting for it.

use std::io::{ErrorKind, Read, Write};
use std::ops::Range;

use mio::net::TcpStream;

use crate::frame::Fault;

/// Largest answer that is taken, in bytes: far above every page.
const LARGEST_ANSWER: usize = 16 << 20;

/// A connection.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: TcpStream,
    is_connected: bool,
    /// Whether the server has sent its last byte.
    pub(crate) is_closed: bool,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// A whole answer: its status, and where its body is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Status of HTTP.
    pub(crate) status: u16,
    /// Place of the body, whether it is there yet or not.
    pub(crate) body: Range<usize>,
}

impl Reader {
    /// A connection that has begun.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            is_connected: false,
            is_closed: false,
            input: Vec::new(),
            output: Vec::new(),
        }
    }

    /// The socket, to wait for.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Sends a request, as soon as the socket takes it.
    pub(crate) fn send(&mut self, request: &str) -> Result<(), Fault> {
        self.input.clear();
        self.output.extend_from_slice(request.as_bytes());
        if self.is_connected { self.flush() } else { Ok(()) }
    }

    /// Does what the socket is ready for; hands a whole answer to `take`, and returns what that
    /// returned. `closing` says that the server has sent its last byte. A fault ends the connection.
    pub(crate) fn work<T>(
        &mut self,
        buffer: &mut [u8],
        closing: bool,
        take: impl FnOnce(u16, &[u8]) -> T,
    ) -> Result<Option<T>, Fault> {
        if !self.is_connected {
            if let Ok(Some(error)) | Err(error) = self.stream.take_error() {
                return Err(format!("read: connect: {}", error.kind()));
            }
            if self.stream.peer_addr().is_err() {
                return Ok(None);
            }
            self.is_connected = true;
        }
        self.flush()?;
        self.receive(buffer, closing)?;
        let whole = head(&self.input)?.filter(|head| head.body.end <= self.input.len());
        let Some(Head { status, body }) = whole else {
            return if self.is_closed { Err("read: closed".to_owned()) } else { Ok(None) };
        };
        if body.end < self.input.len() {
            return Err("read: more than the answer".to_owned());
        }
        let taken = take(status, &self.input[body]);
        self.input.clear();
        Ok(Some(taken))
    }

    /// Reads all that is there.
    fn receive(&mut self, buffer: &mut [u8], closing: bool) -> Result<(), Fault> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => {
                    self.is_closed = true;
                    return Ok(());
                }
                Ok(count) => {
                    self.input.extend_from_slice(&buffer[..count]);
                    // A read that leaves room has taken all there was, so the next byte is an event.
                    if count < buffer.len() && !closing {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("read: lost: {}", error.kind())),
            }
        }
    }

    fn flush(&mut self) -> Result<(), Fault> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("read: lost: {}", error.kind())),
            }
        }
        Ok(())
    }
}

/// Reads the head of an answer; nothing while it is not whole.
fn head(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let bad = || "read: not an HTTP answer with a length".to_owned();
    let text = str::from_utf8(&bytes[..end]).map_err(|_| bad())?;
    let mut lines = text.split("\r\n");
    let status =
        lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let length: Option<usize> = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let (Some(status), Some(length)) = (status, length) else { return Err(bad()) };
    if length > LARGEST_ANSWER {
        return Err("read: too large".to_owned());
    }
    Ok(Some(Head { status, body: end + 4..end + 4 + length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_when_they_are_whole() {
        let text = b"HTTP/1.1 404 Not Found\r\nServer: x\r\nContent-Length: 2\r\n\r\n{}";
        let whole = Head { status: 404, body: text.len() - 2..text.len() };
        assert_eq!(head(text), Ok(Some(whole)));
        for size in 0..text.len() - 2 {
            assert_eq!(head(&text[..size]), Ok(None), "{size}");
        }
        for bad in [
            &b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"SSH-2.0 200 OK\r\nContent-Length: 1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        ] {
            assert!(head(bad).is_err(), "{bad:?}");
        }
    }
}
