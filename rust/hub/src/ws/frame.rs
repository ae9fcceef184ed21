//! Frames of WebSocket (RFC 6455, section 5), read strictly, from the server's side.
//!
//! [`Decoder`] takes the frames of a client apart, in the caller's buffer: a message in one frame,
//! which is what clients send, is neither copied nor allocated. Only the parts of a fragmented
//! message are kept. A length is looked at before its bytes are, so a client cannot make anybody
//! hold more than [`Limits`] allow. The functions at the end are the client's side, for clients in
//! Rust.

use std::ops::Deref;

/// Largest payload of a control frame in bytes (RFC 6455, 5.5).
pub const CONTROL_BYTES: usize = 125;

/// Largest head of a frame in bytes: flags, the long form of the length, a mask.
pub const HEAD_BYTES: usize = 14;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

/// What the seven bits of a length say if the length follows in 2 or in 8 bytes.
const IN_2_BYTES: u8 = 126;
const IN_8_BYTES: u8 = 127;

/// The smallest lengths that may be written in 2 and in 8 bytes.
const LEAST_IN_2_BYTES: u64 = 126;
const LEAST_IN_8_BYTES: u64 = 1 << 16;

const MASK_BYTES: usize = 4;

/// The kinds of frames (RFC 6455, 11.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further part of a message.
    Continuation = 0,
    /// A message of text, or its first part.
    Text = 1,
    /// A message of bytes, or its first part.
    Binary = 2,
    /// The end of the connection.
    Close = 8,
    /// A question whether the other side is there.
    Ping = 9,
    /// The answer to it.
    Pong = 10,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A frame that RFC 6455 does not allow, and what is wrong with it.
    #[error("{0}")]
    Protocol(&'static str),
    /// Text that is not UTF-8.
    #[error("the text is not UTF-8")]
    Utf8,
    /// A message with more bytes or fragments than [`Limits`] allow.
    #[error("the message is too large")]
    TooLarge,
}

impl Broken {
    /// The code to close with (RFC 6455, 7.4.1). `Display` has the reason.
    pub fn code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::Utf8 => 1007,
            Self::TooLarge => 1009,
        }
    }
}

/// What is known of a frame before its payload.
#[derive(Debug, Clone, Copy)]
struct Head {
    fin: bool,
    opcode: Opcode,
    /// Where the payload begins.
    start: usize,
    /// Bytes of the payload.
    length: usize,
}

impl Head {
    /// Reads the head of a frame as far as its length; `None` while bytes of that are missing.
    fn parse(input: &[u8], masked: bool) -> Result<Option<Self>, Broken> {
        let Some((&[first, second], rest)) = input.split_first_chunk::<2>() else {
            return Ok(None);
        };
        if first & RESERVED != 0 {
            return Err(Broken::Protocol("a reserved bit is set"));
        }
        let opcode =
            Opcode::from_bits(first & OPCODE).ok_or(Broken::Protocol("the opcode is unknown"))?;
        if (second & MASKED != 0) != masked {
            return Err(Broken::Protocol("only the frames of clients are masked, and all of them"));
        }
        let fin = first & FIN != 0;
        let short = second & !MASKED;
        if opcode.is_control() && (!fin || usize::from(short) > CONTROL_BYTES) {
            return Err(Broken::Protocol("a control frame is fragmented or too long"));
        }
        let (length, least, size) = match short {
            IN_2_BYTES => match rest.first_chunk() {
                Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), LEAST_IN_2_BYTES, 2 + 2),
                None => return Ok(None),
            },
            IN_8_BYTES => match rest.first_chunk() {
                Some(bytes) => (u64::from_be_bytes(*bytes), LEAST_IN_8_BYTES, 2 + 8),
                None => return Ok(None),
            },
            _ => (u64::from(short), 0, 2),
        };
        if length < least || length > i64::MAX.unsigned_abs() {
            return Err(Broken::Protocol("a length is not in its shortest form"));
        }
        let length = usize::try_from(length).map_err(|_| Broken::TooLarge)?;
        Ok(Some(Self { fin, opcode, start: size + if masked { MASK_BYTES } else { 0 }, length }))
    }

    /// Bytes of the whole frame.
    fn frame_bytes(&self) -> usize {
        self.start.saturating_add(self.length)
    }
}

/// How large a buffer has to be to hold the frame at its start, in bytes.
///
/// Good after [`Decoder::next`] returned `None` for this input: it has held the length against
/// the limit, so this is at most [`HEAD_BYTES`] and a message.
pub fn room(input: &[u8]) -> usize {
    match Head::parse(input, true) {
        Ok(Some(head)) => head.frame_bytes(),
        Ok(None) | Err(_) => HEAD_BYTES,
    }
}

/// What a client may make the server hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest message in bytes, in one frame or in many.
    pub message_bytes: usize,
    /// Most frames of a fragmented message. They may be empty, so bytes alone do not bound them.
    pub fragments: u32,
}

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A message of text.
    Text(&'a str),
    /// A message of bytes.
    Binary(&'a [u8]),
    /// To be answered by a pong with the same payload, at most [`CONTROL_BYTES`].
    Ping(&'a [u8]),
    /// An answer to a ping.
    Pong,
    /// The end, with the client's code if it gave one. Nothing after it is to be decoded.
    Close(Option<u16>),
    /// A part of a message whose rest is not here yet.
    Fragment,
}

/// Takes the frames of one client apart. Nothing is kept between messages, and an idle decoder is
/// one null pointer; within a fragmented message it keeps the parts, in a buffer of at most twice
/// [`Limits::message_bytes`].
#[derive(Debug, Default)]
pub struct Decoder(Option<Box<Message>>);

/// A message whose first frame was not its last.
#[derive(Debug)]
struct Message {
    text: bool,
    /// Its last frame is here. The event borrows from it, so the next call drops it.
    complete: bool,
    fragments: u32,
    /// So many bytes are known to be UTF-8.
    checked: usize,
    bytes: Vec<u8>,
}

impl Decoder {
    /// Decodes the frame at the start of `input` and returns how many bytes it has and what it
    /// says. `None` means that more bytes are needed; the input is then as it was.
    ///
    /// Payloads are unmasked in place. Call it until it returns `None`, also with no input left:
    /// that call frees a fragmented message. After an error the connection is to be closed with
    /// [`Broken::code`], and neither the decoder nor the input is good for anything else.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        limits: &Limits,
    ) -> Result<Option<(usize, Event<'a>)>, Broken> {
        self.0.take_if(|message| message.complete);
        let Some(head) = Head::parse(input, true)? else { return Ok(None) };
        self.check(&head, limits)?;
        let size = head.frame_bytes();
        let Some((start, payload)) =
            input.get_mut(..size).and_then(|frame| frame.split_at_mut_checked(head.start))
        else {
            return Ok(None);
        };
        if let Some(mask) = start.last_chunk() {
            apply_mask(payload, *mask);
        }
        let event = match head.opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong,
            Opcode::Close => Event::Close(close_code(payload)?),
            Opcode::Text if head.fin => Event::Text(utf8(payload)?),
            Opcode::Binary if head.fin => Event::Binary(payload),
            Opcode::Text | Opcode::Binary | Opcode::Continuation => self.add(&head, payload)?,
        };
        Ok(Some((size, event)))
    }

    /// Whether a frame with this head may come now. Control frames always may.
    fn check(&self, head: &Head, limits: &Limits) -> Result<(), Broken> {
        if head.opcode.is_control() {
            return Ok(());
        }
        let before = match (&self.0, head.opcode) {
            (None, Opcode::Continuation) => {
                return Err(Broken::Protocol("there is no message to continue"));
            }
            (Some(message), Opcode::Continuation) => {
                if message.fragments >= limits.fragments {
                    return Err(Broken::TooLarge);
                }
                message.bytes.len()
            }
            (Some(_), _) => {
                return Err(Broken::Protocol("a message begins within another"));
            }
            (None, _) => 0,
        };
        if head.length > limits.message_bytes.saturating_sub(before) {
            return Err(Broken::TooLarge);
        }
        Ok(())
    }

    /// Adds a part to the message, which begins with it if there is none.
    fn add(&mut self, head: &Head, payload: &[u8]) -> Result<Event<'_>, Broken> {
        let message = self.0.get_or_insert_with(|| {
            Box::new(Message {
                text: head.opcode == Opcode::Text,
                complete: false,
                fragments: 0,
                checked: 0,
                bytes: Vec::new(),
            })
        });
        message.fragments += 1;
        message.bytes.extend_from_slice(payload);
        message.complete = head.fin;
        match (message.text, head.fin) {
            (true, true) => utf8(&message.bytes).map(Event::Text),
            (true, false) => message.check_text().map(|()| Event::Fragment),
            (false, true) => Ok(Event::Binary(&message.bytes)),
            (false, false) => Ok(Event::Fragment),
        }
    }
}

impl Message {
    /// Refuses text at its first wrong byte. The last character may still be incomplete.
    fn check_text(&mut self) -> Result<(), Broken> {
        let fresh = self.bytes.get(self.checked..).unwrap_or_default();
        match str::from_utf8(fresh) {
            Ok(text) => self.checked += text.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Broken::Utf8),
        }
        Ok(())
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Broken> {
    str::from_utf8(bytes).map_err(|_| Broken::Utf8)
}

/// Masks or unmasks (RFC 6455, 5.3), by words; the compiler makes vectors of them.
fn apply_mask(payload: &mut [u8], mask: [u8; MASK_BYTES]) {
    let [a, b, c, d] = mask;
    let twice = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ twice).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

/// The code in a close frame. Those of RFC 6455, 7.4 that may be sent are known, 1012 to 1014 are
/// for servers only.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Broken> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(None),
            _ => Err(Broken::Protocol("a close frame has half a code")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1011 | 3000..=4999) {
        return Err(Broken::Protocol("the close code may not be sent"));
    }
    utf8(reason)?;
    Ok(Some(code))
}

/// The head of a frame of the server, as bytes.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    bytes: [u8; HEAD_BYTES - MASK_BYTES],
    size: u8,
}

impl Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.size)).unwrap_or_default()
    }
}

/// The head of an unmasked frame that is a whole message. Control frames take at most
/// [`CONTROL_BYTES`]; that is up to the caller.
pub fn header(opcode: Opcode, payload_bytes: usize) -> Header {
    let first = FIN | opcode as u8;
    let mut bytes = [0; HEAD_BYTES - MASK_BYTES];
    let size = match u16::try_from(payload_bytes) {
        Ok(length) if u64::from(length) < LEAST_IN_2_BYTES => {
            bytes[..2].copy_from_slice(&[first, length as u8]);
            2
        }
        Ok(length) => {
            bytes[..2].copy_from_slice(&[first, IN_2_BYTES]);
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            4
        }
        Err(_) => {
            bytes[..2].copy_from_slice(&[first, IN_8_BYTES]);
            bytes[2..].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
            10
        }
    };
    Header { bytes, size }
}

/// Appends a message of text. That it is UTF-8 is up to the caller.
pub fn text(out: &mut Vec<u8>, payload: &[u8]) {
    whole(out, Opcode::Text, payload);
}

/// Appends a message of bytes.
pub fn binary(out: &mut Vec<u8>, payload: &[u8]) {
    whole(out, Opcode::Binary, payload);
}

/// Appends the answer to a ping. More than [`CONTROL_BYTES`], which no ping has, are cut off.
pub fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    whole(out, Opcode::Pong, &payload[..payload.len().min(CONTROL_BYTES)]);
}

/// Appends a close frame. A reason of more than 123 bytes is cut at a character.
pub fn close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let mut end = reason.len().min(CONTROL_BYTES - size_of_val(&code));
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    out.extend_from_slice(&header(Opcode::Close, size_of_val(&code) + end));
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&reason.as_bytes()[..end]);
}

fn whole(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    out.extend_from_slice(&header(opcode, payload.len()));
    out.extend_from_slice(payload);
}

/// Appends a frame of a client that is a whole message. The mask should be random.
pub fn masked(out: &mut Vec<u8>, opcode: Opcode, mask: [u8; MASK_BYTES], payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&header(opcode, payload.len()));
    out[start + 1] |= MASKED;
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], mask);
}

/// A frame of a server, for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerFrame<'a> {
    /// Bytes of the whole frame.
    pub size: usize,
    /// Whether it is the last of its message; the server of this module sends no others.
    pub fin: bool,
    /// What it is.
    pub opcode: Opcode,
    /// What it says, as it was sent: neither UTF-8 nor close codes are looked at.
    pub payload: &'a [u8],
}

/// Reads the frame of a server at the start of `input`, with a payload of at most `max` bytes;
/// `None` while bytes of it are missing. The order of fragments is up to the caller.
pub fn server_frame(input: &[u8], max: usize) -> Result<Option<ServerFrame<'_>>, Broken> {
    let Some(head) = Head::parse(input, false)? else { return Ok(None) };
    if head.length > max {
        return Err(Broken::TooLarge);
    }
    let Head { fin, opcode, start, .. } = head;
    let size = head.frame_bytes();
    Ok(input.get(start..size).map(|payload| ServerFrame { size, fin, opcode, payload }))
}
