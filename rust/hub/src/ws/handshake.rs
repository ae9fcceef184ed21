//! The HTTP request that asks for a WebSocket, and the answers to it.
//!
//! The caller collects bytes until [`end_of_head`] finds the end of the request's head, then
//! [`parse`] reads it once. What stands after the head belongs to the first frames and is none of
//! this module's business. Answers are made of fixed texts only: nothing that a client sent comes
//! back to it, except as the digest that RFC 6455 asks for. Refusals are problem details (RFC 9457).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use httparse::{EMPTY_HEADER, Header, Request, Status};
use sha1_smol::Sha1;

use crate::centrifuge::Encoding;

/// Largest head of a request in bytes. Browsers with all their cookies stay below it.
pub const REQUEST_BYTES: usize = 8 * 1024;

/// Most fields in the head of a request; browsers send about twenty.
pub const HEADERS: usize = 64;

/// What the server appends to the key of a client before it hashes it (RFC 6455, 1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes of a client's key (RFC 6455, 4.1).
const KEY_BYTES: usize = 16;

/// Characters of such a key in base64.
const KEY_CHARACTERS: usize = 24;

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Where the head of the request in `bytes` ends: the position after its blank line.
///
/// The first `looked_at` bytes were there in an earlier call that found nothing. They are not
/// searched again, so a head that comes byte by byte costs no more than one that comes at once.
pub fn end_of_head(bytes: &[u8], looked_at: usize) -> Option<usize> {
    let start = looked_at.saturating_sub(END_OF_HEAD.len() - 1);
    let found = bytes.get(start..)?.windows(END_OF_HEAD.len()).position(|at| at == END_OF_HEAD)?;
    Some(start + found + END_OF_HEAD.len())
}

/// What [`parse`] has to know of the settings.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Whose pages may connect.
    pub origins: &'a Origins,
    /// Whether `/echo` is there: an endpoint for conformance tests.
    pub echo: bool,
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// `GET /healthz`, to be answered with [`health`].
    Health,
    /// A WebSocket, to be answered with [`switch`].
    Upgrade(Upgrade<'a>),
}

/// A good request for a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// What to connect to.
    pub endpoint: Endpoint,
    /// The encoding of the messages.
    pub encoding: Encoding,
    /// The name of the subprotocol, if the client offered some.
    pub subprotocol: Option<&'static str>,
    /// What the client brought to say who it is.
    pub credential: Option<Credential<'a>>,
    key: &'a str,
}

/// What a WebSocket connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// The live views: `/connection/websocket`, the path in the examples of the SDKs, or `/ws`.
    Live,
    /// `/echo`, which sends every message back.
    Echo,
}

/// A key or token as the client sent it. It is a secret, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential<'a>(Cow<'a, str>);

impl Credential<'_> {
    /// The text of the key or token; not empty.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}

/// Reads a whole head, which ends where [`end_of_head`] says.
///
/// Targets are taken in origin form (`/path?query`) only. HTTP/1.0 is enough for `/healthz`, as
/// some load balancers speak nothing else.
pub fn parse<'a>(head: &'a [u8], options: &Options<'_>) -> Result<Ask<'a>, Refusal> {
    if head.len() > REQUEST_BYTES {
        return Err(Refusal::TooLarge);
    }
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut request = Request::new(&mut headers);
    match request.parse(head) {
        // The parser also takes a lone line feed for the end of a line. A head that ends earlier
        // for the parser than for the caller would make the rest of it frames.
        Ok(Status::Complete(size)) if size == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        Ok(_) | Err(_) => return Err(Refusal::Malformed),
    }
    let modern = request.version == Some(1);
    let target = request.path.ok_or(Refusal::Malformed)?;
    let fields = Fields(request.headers);

    let host = fields.single("host")?;
    if modern && host.is_none() {
        return Err(Refusal::Malformed);
    }
    if fields.announce_body() {
        return Err(Refusal::Body);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let endpoint = match path {
        "/connection/websocket" | "/ws" => Some(Endpoint::Live),
        "/echo" if options.echo => Some(Endpoint::Echo),
        "/healthz" => None,
        _ => return Err(Refusal::Path),
    };
    if request.method != Some("GET") {
        return Err(Refusal::Method);
    }
    let Some(endpoint) = endpoint else { return Ok(Ask::Health) };
    // A server has to overlook the upgrades of HTTP/1.0 (RFC 9110, 7.8).
    if !modern || !fields.ask_for_websocket()? {
        return Err(Refusal::NoUpgrade);
    }
    let key = fields.single("sec-websocket-key")?.filter(|key| is_key(key)).ok_or(Refusal::Key)?;
    let origin = fields.single("origin")?;
    // Only browsers say where a page comes from, and only they have to be told apart by it.
    if !origin.is_none_or(|origin| options.origins.allow(origin, host.unwrap_or_default())) {
        return Err(Refusal::Origin);
    }
    let (encoding, subprotocol) = fields.protocol(query)?;
    let credential = fields.credential(query)?;
    Ok(Ask::Upgrade(Upgrade { endpoint, encoding, subprotocol, credential, key }))
}

fn is_key(text: &str) -> bool {
    // Three bytes for four characters is what the decoder wants as room, whatever the padding.
    let mut bytes = [0; KEY_CHARACTERS / 4 * 3];
    text.len() == KEY_CHARACTERS
        && STANDARD.decode_slice(text, &mut bytes).is_ok_and(|size| size == KEY_BYTES)
}

/// The header fields of a request.
struct Fields<'h, 'a>(&'h [Header<'a>]);

impl<'a> Fields<'_, 'a> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|at| at.value)
    }

    /// The value of a field that may not be there twice.
    fn single(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        let mut values = self.all(name);
        let first = values.next().map(str::from_utf8).transpose();
        match (first, values.next()) {
            (Ok(value), None) => Ok(value),
            _ => Err(Refusal::Malformed),
        }
    }

    /// The elements of a field that is a list, spread over any number of lines.
    fn elements(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    }

    fn announce_body(&self) -> bool {
        self.all("transfer-encoding").next().is_some()
            || self.all("content-length").any(|length| length != b"0")
    }

    /// Whether the request asks for WebSocket in the only version there is (RFC 6455, 4.2.1).
    fn ask_for_websocket(&self) -> Result<bool, Refusal> {
        let has = |name, token: &[u8]| self.elements(name).any(|at| at.eq_ignore_ascii_case(token));
        Ok(has("upgrade", b"websocket")
            && has("connection", b"upgrade")
            && self.single("sec-websocket-version")? == Some("13"))
    }

    /// The encoding, and the name to confirm. The client's order is its preference; browsers
    /// without subprotocols can ask for an encoding in the query.
    fn protocol(&self, query: &str) -> Result<(Encoding, Option<&'static str>), Refusal> {
        const OFFERS: &str = "sec-websocket-protocol";
        if self.all(OFFERS).next().is_some() {
            let known = self.elements(OFFERS).find_map(|name| match name {
                b"centrifuge-json" => Some((Encoding::Json, Some("centrifuge-json"))),
                b"centrifuge-protobuf" => Some((Encoding::Protobuf, Some("centrifuge-protobuf"))),
                _ => None,
            });
            return known.ok_or(Refusal::Subprotocol);
        }
        match parameter(query, "format") {
            None | Some("json") => Ok((Encoding::Json, None)),
            Some("protobuf") => Ok((Encoding::Protobuf, None)),
            Some(_) => Err(Refusal::Subprotocol),
        }
    }

    /// The bearer token, or else `token` of the query, for browsers: they cannot set the field.
    /// Other schemes are for somebody else, such as a proxy, and an empty token is none.
    fn credential(&self, query: &'a str) -> Result<Option<Credential<'a>>, Refusal> {
        let bearer = self.single("authorization")?.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_ascii())
        });
        let text = match bearer {
            Some(token) => Cow::Borrowed(token),
            None => percent_decoded(parameter(query, "token").unwrap_or_default())?,
        };
        Ok((!text.is_empty()).then_some(Credential(text)))
    }
}

/// The first value of a parameter in a query, as it was sent.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn percent_decoded(text: &str) -> Result<Cow<'_, str>, Refusal> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let (digits, tail) = rest.split_first_chunk::<2>().ok_or(Refusal::Malformed)?;
            bytes.push(hex_byte(*digits).ok_or(Refusal::Malformed)?);
            rest = tail;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| Refusal::Malformed)
}

fn hex_byte(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}

/// Appends the answer that makes a WebSocket of the connection.
pub fn switch(out: &mut Vec<u8>, upgrade: &Upgrade<'_>) {
    let mut hash = Sha1::new();
    hash.update(upgrade.key.as_bytes());
    hash.update(KEY_SUFFIX);
    let accept = STANDARD.encode(hash.digest().bytes());
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nServer: rankwire\r\nUpgrade: websocket\r\n\
          Connection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept.as_bytes());
    if let Some(name) = upgrade.subprotocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(name.as_bytes());
    }
    out.extend_from_slice(END_OF_HEAD);
}

/// Appends the answer to [`Ask::Health`]; the connection is to be closed after it.
pub fn health(out: &mut Vec<u8>) {
    write_response(out, "200 OK", "", "application/json", r#"{"status":"ok"}"#);
}

fn write_response(out: &mut Vec<u8>, status: &str, headers: &str, kind: &str, body: &str) {
    let length = body.len();
    let response = format!(
        "HTTP/1.1 {status}\r\nServer: rankwire\r\n{headers}Connection: close\r\n\
         Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    out.extend_from_slice(response.as_bytes());
}

/// Why a request gets no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not HTTP/1, no or two `Host`, a field twice that may be there once, or broken escapes.
    #[error("the request is not HTTP/1.1 as it should be")]
    Malformed,
    /// More than [`REQUEST_BYTES`] or [`HEADERS`].
    #[error("the request is larger than 8 KiB, or has more than 64 header fields")]
    TooLarge,
    /// The request announces a body, which would be taken for frames.
    #[error("the request has a body")]
    Body,
    /// Nothing is served at this path.
    #[error("the paths here are /connection/websocket and /healthz")]
    Path,
    /// Another method than GET.
    #[error("this path takes GET only")]
    Method,
    /// No wish for a WebSocket of version 13 (RFC 6455).
    #[error("this is a WebSocket endpoint; ask for an upgrade to version 13")]
    NoUpgrade,
    /// The key is not there or not 16 bytes in base64.
    #[error("Sec-WebSocket-Key is not 16 bytes in base64")]
    Key,
    /// A browser shows a page of somebody else; see [`Origins`].
    #[error("pages of this origin may not connect; see the setting live.origins")]
    Origin,
    /// The client offered subprotocols, or asked for a format, and none is known.
    #[error("the subprotocols here are centrifuge-json and centrifuge-protobuf")]
    Subprotocol,
    /// There are as many connections as may be. [`parse`] does not know; the caller does.
    #[error("the server has as many connections as it takes; try again later")]
    Full,
}

impl Refusal {
    /// Appends the refusal as an HTTP response; the connection is to be closed after it.
    pub fn write(self, out: &mut Vec<u8>) {
        let (status, title, headers) = self.status();
        let body = format!(r#"{{"title":"{title}","status":{status},"detail":"{self}"}}"#);
        let status = format!("{status} {title}");
        write_response(out, &status, headers, "application/problem+json", &body);
    }

    /// Status code, reason phrase, and fields that belong to the status.
    fn status(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Malformed | Self::Body | Self::Key | Self::Subprotocol => {
                (400, "Bad Request", "")
            }
            Self::Origin => (403, "Forbidden", ""),
            Self::Path => (404, "Not Found", ""),
            Self::Method => (405, "Method Not Allowed", "Allow: GET\r\n"),
            Self::NoUpgrade => (
                426,
                "Upgrade Required",
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            ),
            Self::TooLarge => (431, "Request Header Fields Too Large", ""),
            Self::Full => (503, "Service Unavailable", "Retry-After: 5\r\n"),
        }
    }
}

/// Whose pages may connect, by the `Origin` that browsers send (RFC 6454): the setting
/// `live.origins`. It keeps a page of somebody else from using what its reader may do here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origins {
    /// Pages from the host name that the request names in `Host`; ports do not count.
    #[default]
    SameHost,
    /// Every page.
    Any,
    /// Pages of these origins, written as browsers do: without a default port.
    List(Vec<String>),
}

impl Origins {
    fn allow(&self, origin: &str, host: &str) -> bool {
        match self {
            Self::SameHost => {
                let ours = host_name(host);
                let theirs = origin.split_once("://").and_then(|(_, host)| host_name(host));
                ours.zip(theirs).is_some_and(|(ours, theirs)| ours.eq_ignore_ascii_case(theirs))
            }
            Self::Any => true,
            Self::List(origins) => origins.iter().any(|known| known.eq_ignore_ascii_case(origin)),
        }
    }
}

impl FromStr for Origins {
    type Err = NotAnOrigin;

    /// Reads the setting: nothing for [`Origins::SameHost`], `*` for [`Origins::Any`], or origins
    /// with spaces between them.
    fn from_str(setting: &str) -> Result<Self, NotAnOrigin> {
        match setting.trim() {
            "" => Ok(Self::SameHost),
            "*" => Ok(Self::Any),
            list => list
                .split_whitespace()
                .map(checked_origin)
                .collect::<Result<_, _>>()
                .map(Self::List),
        }
    }
}

/// A word in the setting `live.origins` that no browser would send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an origin like https://example.com or http://localhost:3000")]
pub struct NotAnOrigin(String);

fn checked_origin(word: &str) -> Result<String, NotAnOrigin> {
    let known = word.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty() && scheme.bytes().all(is_scheme_byte) && host_name(host).is_some()
    });
    if known { Ok(word.to_owned()) } else { Err(NotAnOrigin(word.to_owned())) }
}

/// Schemes of RFC 3986; browser extensions have theirs, with a hyphen.
fn is_scheme_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)
}

/// The name in `name`, `name:port` or `[address]:port`; `None` if the text is none of these.
fn host_name(text: &str) -> Option<&str> {
    let end = if text.starts_with('[') {
        text.find(']')? + 1
    } else {
        text.find(':').unwrap_or(text.len())
    };
    let (name, port) = text.split_at_checked(end)?;
    let known = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[:]".contains(&byte));
    let port_is_number = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    (!name.is_empty() && known && port_is_number).then_some(name)
}
