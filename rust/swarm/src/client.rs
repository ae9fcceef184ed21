//! A WebSocket client that calls methods, one at a time: for the driver and the probe.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::Result;
use crate::frame::{self, Opcode};
use crate::protocol::{Command, Encoding, Message};
use crate::values::Target;

/// An answer later than this is none.
const PATIENCE: Duration = Duration::from_secs(30);

/// Any mask will do.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A connection whose session has begun.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    encoding: Encoding,
    /// Bytes that came and were not taken.
    input: Vec<u8>,
    /// The id of the last command.
    id: u32,
}

impl Client {
    /// Connects and begins the session; the token is empty for callers without one.
    pub(crate) fn connect(target: &Target, encoding: Encoding, token: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(target.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = frame::request(&target.host, &target.path, encoding.subprotocol());
        stream.write_all(request.as_bytes())?;
        let mut client = Self { stream, encoding, input: Vec::new(), id: 0 };
        loop {
            if let Some(size) = frame::response(&client.input, encoding.subprotocol())? {
                client.input.drain(..size);
                break;
            }
            client.read()?;
        }
        client.command(Command::Connect { token })?;
        Ok(client)
    }

    /// Calls a method and returns the JSON of its answer.
    pub(crate) fn call(&mut self, method: &str, data: &str) -> Result<Vec<u8>> {
        self.command(Command::Rpc { method, data })
    }

    /// Sends a command and waits for its reply.
    fn command(&mut self, command: Command<'_>) -> Result<Vec<u8>> {
        self.id += 1;
        let mut payload = Vec::new();
        self.encoding.put(self.id, command, &mut payload);
        self.send(self.encoding.opcode(), &payload)?;
        loop {
            while let Some(frame) = frame::decode(&self.input)? {
                let (opcode, size, payload) = (frame.opcode, frame.size, frame.payload.to_vec());
                self.input.drain(..size);
                if let Some(answer) = self.take(opcode, &payload)? {
                    return Ok(answer);
                }
            }
            self.read()?;
        }
    }

    /// Takes a frame; returns the answer to the command if it is there.
    fn take(&mut self, opcode: Opcode, payload: &[u8]) -> Result<Option<Vec<u8>>> {
        match opcode {
            Opcode::Ping => self.send(Opcode::Pong, payload)?,
            Opcode::Close => return Err(format!("closed: {}", frame::close_reason(payload)).into()),
            _ => {}
        }
        if opcode != self.encoding.opcode() {
            return Ok(None);
        }
        let (mut rest, mut answer) = (payload, None);
        while let Some(message) = self.encoding.next(&mut rest)? {
            match self.encoding.read(message)? {
                Message::Ping => self.send(self.encoding.opcode(), self.encoding.pong())?,
                Message::Connected => answer = Some(Vec::new()),
                Message::Answer { id, data } if id == self.id => answer = Some(data.into_owned()),
                Message::Refused { error, .. } => return Err(error.into()),
                other => return Err(format!("not an answer: {other:?}").into()),
            }
        }
        Ok(answer)
    }

    fn send(&mut self, opcode: Opcode, payload: &[u8]) -> Result<()> {
        let mut bytes = Vec::new();
        frame::encode(opcode, payload, MASK, &mut bytes);
        Ok(self.stream.write_all(&bytes)?)
    }

    fn read(&mut self) -> Result<()> {
        let mut buffer = [0; 16 << 10];
        let count = self.stream.read(&mut buffer)?;
        if count == 0 {
            return Err("the WebSocket was closed".into());
        }
        self.input.extend_from_slice(&buffer[..count]);
        Ok(())
    }
}
