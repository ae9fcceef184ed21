//! Writes the fields of a message in either encoding, so that every message is described once.

use super::{Data, Encoding, json, protobuf};

/// A message that is being written. Fields that are 0, false or empty are left out.
#[derive(Debug)]
pub(super) struct Message<'a> {
    encoding: Encoding,
    out: &'a mut Vec<u8>,
    /// Whether it has no field yet; JSON has commas between them.
    empty: bool,
}

/// Appends one message to the payload of a WebSocket message.
pub(super) fn append(
    encoding: Encoding,
    payload: &mut Vec<u8>,
    write: impl FnOnce(&mut Message<'_>),
) {
    if encoding == Encoding::Json && !payload.is_empty() {
        payload.push(b'\n');
    }
    body(encoding, payload, write);
}

/// Appends fields with what goes around them: braces, or their length before them.
fn body(encoding: Encoding, out: &mut Vec<u8>, write: impl FnOnce(&mut Message<'_>)) {
    let start = out.len();
    if encoding == Encoding::Json {
        out.push(b'{');
    }
    write(&mut Message { encoding, out, empty: true });
    match encoding {
        Encoding::Json => out.push(b'}'),
        Encoding::Protobuf => protobuf::put_length(out, start),
    }
}

impl Message<'_> {
    pub(super) fn number(&mut self, field: u32, name: &str, value: impl Into<u64>) {
        let value = value.into();
        if value == 0 {
            return;
        }
        match self.encoding {
            Encoding::Json => {
                self.name(name);
                json::put_number(self.out, value);
            }
            Encoding::Protobuf => protobuf::put_number(self.out, field, value),
        }
    }

    pub(super) fn flag(&mut self, field: u32, name: &str, value: bool) {
        if !value {
            return;
        }
        match self.encoding {
            Encoding::Json => {
                self.name(name);
                self.out.extend_from_slice(b"true");
            }
            Encoding::Protobuf => protobuf::put_number(self.out, field, 1),
        }
    }

    pub(super) fn text(&mut self, field: u32, name: &str, value: &str) {
        self.data(field, name, Data::Text(value.as_bytes()));
    }

    /// A payload of the application.
    pub(super) fn data(&mut self, field: u32, name: &str, value: Data<'_>) {
        let (Data::Json(bytes) | Data::Text(bytes) | Data::Delta(bytes)) = value;
        if bytes.is_empty() {
            return;
        }
        match self.encoding {
            Encoding::Json => {
                self.name(name);
                match value {
                    Data::Json(json) => self.out.extend_from_slice(json),
                    Data::Text(text) | Data::Delta(text) => json::put_string(self.out, text),
                }
            }
            Encoding::Protobuf => protobuf::put_bytes(self.out, field, bytes),
        }
    }

    /// A message, also if it has no fields.
    pub(super) fn message(&mut self, field: u32, name: &str, write: impl FnOnce(&mut Message<'_>)) {
        self.message_key(field, name);
        body(self.encoding, self.out, write);
    }

    /// A list of one message.
    pub(super) fn list_of_one(
        &mut self,
        field: u32,
        name: &str,
        write: impl FnOnce(&mut Message<'_>),
    ) {
        self.message_key(field, name);
        match self.encoding {
            Encoding::Json => {
                self.out.push(b'[');
                body(self.encoding, self.out, write);
                self.out.push(b']');
            }
            Encoding::Protobuf => body(self.encoding, self.out, write),
        }
    }

    fn message_key(&mut self, field: u32, name: &str) {
        match self.encoding {
            Encoding::Json => self.name(name),
            Encoding::Protobuf => protobuf::put_key(self.out, field),
        }
    }

    fn name(&mut self, name: &str) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}
