//! The encoding of Protobuf: fields of a message in and out.
//!
//! Written by hand because the hub needs so little of it: varints and byte strings, a few levels
//! deep. Fields of a known number and an unexpected type count as unknown, as the specification
//! says. Groups, which have been deprecated since 2008, are refused.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::command::{Parts, Subscribe};

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// The bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A number or a truth value.
    Number(u64),
    /// A string, bytes or a message.
    Bytes(&'a [u8]),
    /// A type that no field of the protocol has.
    Other,
}

/// The fields of one message in their order, each with its number. Ends after an error.
#[derive(Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = field(&mut self.0);
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn field<'a>(rest: &mut &'a [u8]) -> Result<(u64, Value<'a>), Malformed> {
    let key = varint(rest)?;
    let number = key >> 3;
    if number == 0 {
        return Err(Malformed);
    }
    let value = match key & 7 {
        VARINT => Value::Number(varint(rest)?),
        BYTES => Value::Bytes(prefixed(rest)?),
        FIXED32 => take(rest, 4).map(|_| Value::Other)?,
        FIXED64 => take(rest, 8).map(|_| Value::Other)?,
        _ => return Err(Malformed),
    };
    Ok((number, value))
}

fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first().ok_or(Malformed)?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], Malformed> {
    let (taken, tail) = rest.split_at_checked(count).ok_or(Malformed)?;
    *rest = tail;
    Ok(taken)
}

/// Takes bytes that have their length before them off the front.
pub(super) fn prefixed<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(varint(rest)?).map_err(|_| Malformed)?;
    take(rest, length)
}

/// The value of a string field.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

/// The value of a field of bytes, which Protobuf does not tell from an absent one if it is empty.
fn data(bytes: &[u8]) -> Option<&[u8]> {
    (!bytes.is_empty()).then_some(bytes)
}

/// Reads a command. Of a message that comes twice the fields add up, as the specification says.
pub(super) fn command(bytes: &[u8]) -> Result<Parts<'_>, Malformed> {
    let mut parts = Parts::default();
    for field in Fields(bytes) {
        match field? {
            (1, Value::Number(id)) => parts.id = id as u32,
            (4, Value::Bytes(body)) => {
                token(body, &mut parts.connect.get_or_insert_default().token)?;
            }
            (5, Value::Bytes(body)) => subscribe(body, parts.subscribe.get_or_insert_default())?,
            (6, Value::Bytes(body)) => {
                token(body, &mut parts.unsubscribe.get_or_insert_default().channel)?;
            }
            (7..=10 | 15, Value::Bytes(_)) => parts.unavailable = Some(IgnoredAny),
            (11, Value::Bytes(_)) => parts.ping = Some(IgnoredAny),
            (12, Value::Bytes(body)) => {
                let send = parts.send.get_or_insert_default();
                for field in Fields(body) {
                    if let (1, Value::Bytes(bytes)) = field? {
                        send.data = data(bytes);
                    }
                }
            }
            (13, Value::Bytes(body)) => {
                let rpc = parts.rpc.get_or_insert_default();
                for field in Fields(body) {
                    match field? {
                        (1, Value::Bytes(bytes)) => rpc.data = data(bytes),
                        (2, Value::Bytes(bytes)) => rpc.method = text(bytes)?.into(),
                        _ => {}
                    }
                }
            }
            (14, Value::Bytes(body)) => {
                token(body, &mut parts.refresh.get_or_insert_default().token)?;
            }
            _ => {}
        }
    }
    Ok(parts)
}

/// Reads a message whose only field is the string of number 1.
fn token<'a>(body: &'a [u8], into: &mut Cow<'a, str>) -> Result<(), Malformed> {
    for field in Fields(body) {
        if let (1, Value::Bytes(bytes)) = field? {
            *into = text(bytes)?.into();
        }
    }
    Ok(())
}

fn subscribe<'a>(body: &'a [u8], into: &mut Subscribe<'a>) -> Result<(), Malformed> {
    for field in Fields(body) {
        match field? {
            (1, Value::Bytes(bytes)) => into.channel = text(bytes)?.into(),
            (3, Value::Number(number)) => into.recover = number != 0,
            (6, Value::Bytes(bytes)) => into.epoch = text(bytes)?.into(),
            (7, Value::Number(number)) => into.offset = number,
            (8, Value::Bytes(bytes)) => into.data = data(bytes),
            (12, Value::Bytes(bytes)) => into.delta = bytes == b"fossil",
            _ => {}
        }
    }
    Ok(())
}

/// Appends a number field.
pub(super) fn put_number(out: &mut Vec<u8>, field: u32, value: u64) {
    put_varint(out, u64::from(field) << 3 | VARINT);
    put_varint(out, value);
}

/// Appends a field of bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_key(out, field);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends the key of a field whose value is a message; its length and bytes come next.
pub(super) fn put_key(out: &mut Vec<u8>, field: u32) {
    put_varint(out, u64::from(field) << 3 | BYTES);
}

/// Puts the length of what was appended after `start` before it.
pub(super) fn put_length(out: &mut Vec<u8>, start: usize) {
    let end = out.len();
    put_varint(out, (end - start) as u64);
    let length = out.len() - end;
    out[start..].rotate_right(length);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
