//! The TCP stream of one connection: counts the bytes that the socket has taken, and ends well.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::stats::Counters;

/// A TCP stream that counts.
#[derive(Debug)]
pub(crate) struct Wire {
    /// The socket.
    stream: TcpStream,
    /// Bytes that the socket has taken so far: how a slow client is told from a stopped one.
    written: u64,
    /// Shared with the whole hub.
    counters: Arc<Counters>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, counters: Arc<Counters>) -> Self {
        Self { stream, written: 0, counters }
    }

    /// Bytes that the socket has taken so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Ends this side and waits until the client has ended its own: closing a socket at once, with
    /// bytes of the client still unread, could destroy what is on its way to the client.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        self.shutdown().await?;
        let mut rest = [0; 1024];
        while self.read(&mut rest).await? > 0 {}
        Ok(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(taken)) = result {
            self.written += taken as u64;
            self.counters.bytes_sent.add(taken as u64);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
