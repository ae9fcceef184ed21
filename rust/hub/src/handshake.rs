//! From a TCP connection to a WebSocket, or to a refusal that says why.
//!
//! The request is parsed once, when its end has arrived, so sending it in small pieces costs the
//! client more than the server. Refusals are HTTP responses with problem details (RFC 9457).

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{
    Request, Response, create_response, write_response,
};
use tokio_tungstenite::tungstenite::http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::limits;
use crate::protocol::to_json;
use crate::shared::Shared;
use crate::wire::Wire;

/// The path of the one endpoint; the one that SDKs use in their examples.
const PATH: &str = "/connection/websocket";

/// The name of the protocol, for clients that offer one.
const SUBPROTOCOL: &str = "centrifuge-json";

/// Requests of browsers and SDKs fit into this most of the time.
const USUAL_REQUEST_BYTES: usize = 1024;

/// A WebSocket past its handshake.
pub(crate) type Socket = WebSocketStream<Wire>;

/// Why a handshake is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("the server has as many connections as it takes; try again later")]
    Full,
    #[error("the only path here is /connection/websocket")]
    Path,
    #[error("this is a WebSocket endpoint; ask for an upgrade to version 13")]
    NoUpgrade,
    #[error("the only subprotocol here is centrifuge-json")]
    Subprotocol,
    #[error("the request is not HTTP, or not a GET")]
    Malformed,
    #[error("the request is larger than 8 KiB")]
    TooLarge,
}

/// Does the handshake, or refuses everybody if the server is `full`. Returns nothing when there is
/// no WebSocket to serve.
pub(crate) async fn accept(stream: TcpStream, full: bool, shared: &Shared) -> Option<Socket> {
    let wire = Wire::new(stream, Arc::clone(&shared.counters));
    timeout(shared.config.handshake_timeout, negotiate(wire, full)).await.ok()?.ok()?
}

async fn negotiate(mut wire: Wire, full: bool) -> io::Result<Option<Socket>> {
    let mut head = Vec::with_capacity(USUAL_REQUEST_BYTES);
    let outcome = match read_request(&mut wire, &mut head).await? {
        Ok((request, rest)) => answer(&request, full).map(|response| (response, rest)),
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Ok((response, rest)) => {
            let mut bytes = Vec::new();
            write_response(&mut bytes, &response).map_err(io::Error::other)?;
            wire.write_all(&bytes).await?;
            let config = Some(socket_config());
            Ok(Some(WebSocketStream::from_partially_read(wire, rest, Role::Server, config).await))
        }
        Err(refusal) => {
            wire.write_all(refusal.response().as_bytes()).await?;
            wire.finish().await?;
            Ok(None)
        }
    }
}

/// Reads up to the end of the request's head. Also returns what came after it.
async fn read_request(
    wire: &mut Wire,
    head: &mut Vec<u8>,
) -> io::Result<Result<(Request, Vec<u8>), Refusal>> {
    loop {
        let seen = head.len().saturating_sub(3);
        if wire.read_buf(head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if head.len() > limits::REQUEST_BYTES {
            return Ok(Err(Refusal::TooLarge));
        }
        if head[seen..].windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            return Ok(match Request::try_parse(head) {
                Ok(Some((size, request))) => Ok((request, head.split_off(size))),
                Ok(None) | Err(_) => Err(Refusal::Malformed),
            });
        }
    }
}

/// The response to a request that may become a WebSocket.
fn answer(request: &Request, full: bool) -> Result<Response, Refusal> {
    if full {
        return Err(Refusal::Full);
    }
    if request.uri().path() != PATH {
        return Err(Refusal::Path);
    }
    let mut response = create_response(request).map_err(|_| Refusal::NoUpgrade)?;
    let mut offered = request
        .headers()
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .flat_map(|names| names.to_str().unwrap_or_default().split(','))
        .map(str::trim)
        .peekable();
    if offered.peek().is_some() {
        if !offered.any(|name| name == SUBPROTOCOL) {
            return Err(Refusal::Subprotocol);
        }
        let chosen = HeaderValue::from_static(SUBPROTOCOL);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
    }
    Ok(response)
}

impl Refusal {
    fn status(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Full => (503, "Service Unavailable", "Retry-After: 5\r\n"),
            Self::Path => (404, "Not Found", ""),
            Self::NoUpgrade => (
                426,
                "Upgrade Required",
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            ),
            Self::Subprotocol | Self::Malformed => (400, "Bad Request", ""),
            Self::TooLarge => (431, "Request Header Fields Too Large", ""),
        }
    }

    fn response(self) -> String {
        let (status, title, headers) = self.status();
        let detail = to_json(&self.to_string());
        let body = format!(r#"{{"status":{status},"title":"{title}","detail":{detail}}}"#);
        let length = body.len();
        format!(
            "HTTP/1.1 {status} {title}\r\n{headers}Connection: close\r\n\
             Content-Type: application/problem+json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    }
}

fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(limits::READ_BUFFER_BYTES)
        .write_buffer_size(limits::WRITE_BUFFER_BYTES)
        .max_message_size(Some(limits::MESSAGE_BYTES))
        .max_frame_size(Some(limits::MESSAGE_BYTES))
}
