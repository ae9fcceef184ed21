//! The server's side of WebSocket (RFC 6455), without extensions.
//!
//! Bytes in, events and bytes out: nothing here reads a socket or a clock, and no input makes it
//! panic. [`handshake`] turns the head of an HTTP request into a question for a WebSocket or into
//! a refusal, [`frame`] takes the frames that follow apart and writes those of the server.

pub mod frame;
pub mod handshake;

#[cfg(test)]
mod tests;
