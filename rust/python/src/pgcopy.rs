//! Rows in PostgreSQL's binary COPY format, straight from and into the engine's types.
//!
//! The format is that of PostgreSQL's documentation of COPY: a signature with flags and an extension,
//! then tuples, each a count of fields and fields with their lengths, integers big endian, -1 in
//! place of a length for NULL, and a count of -1 after the last tuple.

use rankwire_engine::{CheckpointBoard, CheckpointRow, MemberRow, Score};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags, and the length of an extension, which is empty.
const HEADER: usize = SIGNATURE.len() + 8;
const NULL: i32 = -1;
const END: i16 = -1;
/// Member, code, stamp, generation.
const FIELDS: i16 = 4;

/// Reads what `COPY ... TO STDOUT (FORMAT binary)` sends, in pieces of any size.
#[derive(Default)]
pub struct Reader {
    /// The piece of a tuple that has not come as a whole.
    rest: Vec<u8>,
    started: bool,
    ended: bool,
}

impl Reader {
    /// Appends the members of a piece to `rows`: member text, code, stamp and generation int8.
    pub fn read(&mut self, piece: &[u8], rows: &mut Vec<MemberRow>) -> Result<(), &'static str> {
        if self.rest.is_empty() {
            let used = self.consume(piece, rows)?;
            self.rest.extend_from_slice(&piece[used..]);
        } else {
            let mut rest = std::mem::take(&mut self.rest);
            rest.extend_from_slice(piece);
            let used = self.consume(&rest, rows)?;
            rest.drain(..used);
            self.rest = rest;
        }
        Ok(())
    }

    /// Says what is wrong if the rows have not come to their end.
    pub fn finish(self) -> Result<(), &'static str> {
        let is_whole = self.rest.is_empty() && self.started == self.ended;
        if is_whole { Ok(()) } else { Err("the rows break off") }
    }

    /// Reads whole tuples. Returns how many bytes they take up.
    fn consume(&mut self, piece: &[u8], rows: &mut Vec<MemberRow>) -> Result<usize, &'static str> {
        let mut left = piece;
        if !self.started {
            let Some((header, rest)) = left.split_at_checked(HEADER) else { return Ok(0) };
            if !header.starts_with(SIGNATURE) || header[SIGNATURE.len()..] != [0; 8] {
                return Err("the rows are in another format");
            }
            self.started = true;
            left = rest;
        }
        loop {
            let mut tuple = left;
            if self.ended {
                return if left.is_empty() { Ok(piece.len()) } else { Err("rows after the end") };
            }
            match row(&mut tuple)? {
                Tuple::Row(row) => rows.push(row),
                Tuple::End => self.ended = true,
                Tuple::Cut => return Ok(piece.len() - left.len()),
            }
            left = tuple;
        }
    }
}

enum Tuple {
    Row(MemberRow),
    End,
    /// The rest of it comes later.
    Cut,
}

fn row(bytes: &mut &[u8]) -> Result<Tuple, &'static str> {
    let Some(count) = array(bytes).map(i16::from_be_bytes) else { return Ok(Tuple::Cut) };
    match count {
        END => return Ok(Tuple::End),
        FIELDS => {}
        _ => return Err("a row has another number of fields"),
    }
    let (member, code) = (field(bytes)?, field(bytes)?);
    let (stamp, generation) = (field(bytes)?, field(bytes)?);
    // Once a field is cut there is nothing left for those after it.
    let Field::Value(generation) = generation else {
        return if matches!(generation, Field::Cut) {
            Ok(Tuple::Cut)
        } else {
            Err("no generation")
        };
    };
    let Field::Value(member) = member else { return Err("a member has no name") };
    let member = std::str::from_utf8(member).map_err(|_| "a name is not UTF-8")?.to_owned();
    let key = code.int8()?.zip(stamp.int8()?);
    let generation = Field::Value(generation).int8()?.and_then(|n| u32::try_from(n).ok());
    let generation = generation.ok_or("a generation is out of range")?;
    Ok(Tuple::Row(MemberRow { member, key, generation }))
}

#[derive(Clone, Copy)]
enum Field<'a> {
    Value(&'a [u8]),
    Null,
    /// It has not come as a whole. Takes up all that there is.
    Cut,
}

impl Field<'_> {
    fn int8(self) -> Result<Option<i64>, &'static str> {
        let Self::Value(bytes) = self else { return Ok(None) };
        let bytes = bytes.try_into().map_err(|_| "a number is not an int8")?;
        Ok(Some(i64::from_be_bytes(bytes)))
    }
}

fn field<'a>(bytes: &mut &'a [u8]) -> Result<Field<'a>, &'static str> {
    let length = array(bytes).map(i32::from_be_bytes);
    if length == Some(NULL) {
        return Ok(Field::Null);
    }
    let length = length.map(usize::try_from).transpose().map_err(|_| "a field has no length")?;
    let Some((field, rest)) = length.and_then(|length| bytes.split_at_checked(length)) else {
        *bytes = &[];
        return Ok(Field::Cut);
    };
    *bytes = rest;
    Ok(Field::Value(field))
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

/// The changed members from `start` on as tuples for `COPY ... FROM STDIN (FORMAT binary)`, without
/// header and end: board int8, member text, score float8, code int8, stamp int8, generation int8.
pub fn write(board: &CheckpointBoard, start: usize, limit: usize) -> Vec<u8> {
    let id = board.board.id().cast_signed();
    let mut out = Vec::with_capacity(limit.min(board.len()) * 96);
    for CheckpointRow(member, score, code, stamp, generation) in board.each(start, limit) {
        out.extend_from_slice(&6_i16.to_be_bytes());
        put(&mut out, Some(&id.to_be_bytes()));
        put(&mut out, Some(member.as_bytes()));
        put(&mut out, score.map(|score| as_float(score).to_be_bytes()).as_ref().map(|b| &b[..]));
        put(&mut out, code.map(i64::to_be_bytes).as_ref().map(|b| &b[..]));
        put(&mut out, stamp.map(i64::to_be_bytes).as_ref().map(|b| &b[..]));
        put(&mut out, Some(&i64::from(generation).to_be_bytes()));
    }
    out
}

fn put(out: &mut Vec<u8>, field: Option<&[u8]>) {
    let length = field.map_or(NULL, |field| i32::try_from(field.len()).unwrap_or(i32::MAX));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(field.unwrap_or_default());
}

/// A score for people; the code beside it is exact.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn as_float(score: Score) -> f64 {
    match score {
        Score::Int(int) => int as f64,
        Score::Float(float) => float,
    }
}
