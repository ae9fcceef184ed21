//! A client for the HTTP API: one keep-alive connection, one request at a time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::Result;
use crate::values::Target;

/// An answer later than this is none.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection.
#[derive(Debug)]
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
    /// The headers of every request.
    headers: String,
}

impl Http {
    /// Connects; the key is empty for callers without one.
    pub(crate) fn connect(target: &Target, key: &str) -> Result<Self> {
        let stream = TcpStream::connect(target.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut headers = format!("Host: {}\r\n", target.host);
        if !key.is_empty() {
            headers.extend(["Authorization: Bearer ", key, "\r\n"]);
        }
        Ok(Self { stream: BufReader::new(stream), headers })
    }

    /// Sends a request and returns status and body of the answer.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, Vec<u8>)> {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{}Content-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}",
            self.headers
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        let status = status.split(' ').nth(1).ok_or("no HTTP status")?.parse()?;
        let mut length = 0;
        loop {
            let line = self.line()?;
            match line.split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse()?;
                }
                Some(_) => {}
                None if line.is_empty() => break,
                None => return Err(format!("no HTTP header: {line}").into()),
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status, body))
    }

    /// The JSON at a path; nothing if the answer is 404.
    pub(crate) fn get(&mut self, path: &str) -> Result<Option<Value>> {
        match self.call("GET", path, "")? {
            (200, body) => Ok(Some(serde_json::from_slice(&body)?)),
            (404, _) => Ok(None),
            (status, body) => {
                Err(format!("GET {path}: {status} {}", String::from_utf8_lossy(&body)).into())
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err("the HTTP connection was closed".into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

/// A name as a part of a path.
pub(crate) fn escaped(name: &str) -> String {
    let escape = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped("player-1_a.b~"), "player-1_a.b~");
        assert_eq!(escaped("a/b ä"), "a%2Fb%20%C3%A4");
    }
}
