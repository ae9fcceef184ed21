//! The bytes that two regions exchange to compare their boards. Integers are little endian.
//!
//! ```text
//! asks    each: u8 kind, u64 board, then by kind
//!           0..=63  a range at this level: u8 bounds, and a spot for each that there is
//!                   bounds: 1 it has a start, 2 and that is after the spot, 4 it has an end
//!           64      hashes of removals: u8 number of bytes of the prefix (0, 1 or 2), u16 prefix
//!           65      removals themselves: the same
//! answers each: u8 kind, then by kind
//!           0  there is no such board
//!           1  pieces: u8 is cut, u16 number, those, and if it is cut the spot where it goes on
//!              a piece: u32 mark, u64 hash, and the number of entries in groups of 7 bits
//!           2  entries: u8 is cut, u16 number, those as spots, and where it goes on
//!           3  256 hashes of removals by the next byte of the prefix, u64 each
//!           4  removals: u16 number, each a str and a u32 generation
//! boards  u8 whether these are the last ones, then each: u64 board, u64 members, u64 hash of them,
//!         u64 removals, u64 hash of those
//!
//! spot    u64 score code, u64 stamp, str member
//! str     u8 length, UTF-8
//! ```
//!
//! A range at level 0 is answered with its entries, at level k + 1 with the outline of level k.

use rankwire_ranklist::{Key, Piece};

use crate::Error;
use crate::record::BoardId;

/// Part of a board that somebody wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) board: BoardId,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Range(Range),
    Removals(Prefix),
}

/// Entries in rank order, and how closely they are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) level: u8,
    pub(crate) start: Option<Start>,
    pub(crate) end: Option<Spot>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) spot: Spot,
    /// Whether the spot itself is left out.
    pub(crate) is_after: bool,
}

/// A place in the order of a board: that of a member with a key, which need not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) key: Key,
    pub(crate) member: Box<str>,
}

/// The removed members whose hashes start with some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Prefix {
    /// How many bytes, up to [`LONGEST_PREFIX`].
    pub(crate) bytes: u8,
    /// These bytes, the first one highest.
    pub(crate) value: u16,
    /// Whether the removals are wanted, and not hashes of them.
    pub(crate) are_told: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    NoBoard,
    Pieces(Vec<Piece>, Option<Spot>),
    Entries(Vec<Spot>, Option<Spot>),
    Hashes(Vec<u64>),
    Removals(Vec<(Box<str>, u32)>),
}

/// A board as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Top {
    pub(crate) board: BoardId,
    pub(crate) members: u64,
    pub(crate) hash: u64,
    pub(crate) removals: u64,
    pub(crate) removals_hash: u64,
}

pub(crate) const LONGEST_PREFIX: u8 = 2;
/// Into how many parts removals are divided by each byte of their hashes.
pub(crate) const FAN: usize = 256;
pub(crate) const HIGHEST_LEVEL: u8 = 63;
const HASHES: u8 = 64;
const REMOVALS: u8 = 65;
const HAS_START: u8 = 1;
const IS_AFTER: u8 = 2;
const HAS_END: u8 = 4;

impl Ask {
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        match &self.what {
            What::Range(range) => {
                bytes.push(range.level);
                put_u64(bytes, self.board);
                let flag = |is_set, flag| if is_set { flag } else { 0 };
                let is_after = range.start.as_ref().is_some_and(|start| start.is_after);
                bytes.push(
                    flag(range.start.is_some(), HAS_START)
                        | flag(is_after, IS_AFTER)
                        | flag(range.end.is_some(), HAS_END),
                );
                let start = range.start.as_ref().map(|start| &start.spot);
                for spot in start.into_iter().chain(&range.end) {
                    spot.write(bytes);
                }
            }
            What::Removals(prefix) => {
                bytes.push(if prefix.are_told { REMOVALS } else { HASHES });
                put_u64(bytes, self.board);
                bytes.push(prefix.bytes);
                bytes.extend_from_slice(&prefix.value.to_le_bytes());
            }
        }
    }

    pub(crate) fn read_all(bytes: &[u8]) -> Result<Vec<Self>, Error> {
        Reader { rest: bytes }.all(Reader::ask)
    }
}

impl Spot {
    fn write(&self, bytes: &mut Vec<u8>) {
        put_u64(bytes, self.key.score[0]);
        put_u64(bytes, self.key.stamp);
        put_text(bytes, &self.member);
    }
}

impl Answer {
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::NoBoard => bytes.push(0),
            Self::Pieces(pieces, until) => {
                bytes.push(1);
                put_head(bytes, pieces.len(), until.is_some());
                for piece in pieces {
                    bytes.extend_from_slice(&piece.mark.to_le_bytes());
                    put_u64(bytes, piece.hash);
                    put_number(bytes, piece.entries);
                }
                if let Some(spot) = until {
                    spot.write(bytes);
                }
            }
            Self::Entries(entries, until) => {
                bytes.push(2);
                put_head(bytes, entries.len(), until.is_some());
                for spot in entries.iter().chain(until) {
                    spot.write(bytes);
                }
            }
            Self::Hashes(hashes) => {
                bytes.push(3);
                for hash in hashes {
                    put_u64(bytes, *hash);
                }
            }
            Self::Removals(removals) => {
                bytes.push(4);
                bytes.extend_from_slice(&(removals.len() as u16).to_le_bytes());
                for (member, generation) in removals {
                    put_text(bytes, member);
                    bytes.extend_from_slice(&generation.to_le_bytes());
                }
            }
        }
    }

    pub(crate) fn read_all(bytes: &[u8]) -> Result<Vec<Self>, Error> {
        Reader { rest: bytes }.all(Reader::answer)
    }
}

/// The bytes of some boards.
pub(crate) fn write_tops(tops: &[Top], are_last: bool) -> Vec<u8> {
    let mut bytes = vec![are_last.into()];
    for top in tops {
        for number in [top.board, top.members, top.hash, top.removals, top.removals_hash] {
            put_u64(&mut bytes, number);
        }
    }
    bytes
}

/// Inverse of [`write_tops`].
pub(crate) fn read_tops(bytes: &[u8]) -> Result<(Vec<Top>, bool), Error> {
    let mut reader = Reader { rest: bytes };
    let are_last = reader.flag().map_err(Error::Outline)?;
    let tops = reader.all(Reader::top)?;
    if tops.is_sorted_by(|a, b| a.board < b.board) {
        Ok((tops, are_last))
    } else {
        Err(Error::Outline("boards are not in order"))
    }
}

fn put_u64(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

fn put_head(bytes: &mut Vec<u8>, count: usize, is_cut: bool) {
    bytes.push(is_cut.into());
    bytes.extend_from_slice(&(count as u16).to_le_bytes());
}

/// Members of boards are no longer than 255 bytes: see [`crate::limits::STORED_MEMBER_BYTES`].
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(text.len() as u8);
    bytes.extend_from_slice(text.as_bytes());
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn all<T>(
        mut self,
        one: impl Fn(&mut Self) -> Result<T, &'static str>,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        while !self.rest.is_empty() {
            all.push(one(&mut self).map_err(Error::Outline)?);
        }
        Ok(all)
    }

    fn some<T>(
        &mut self,
        count: u16,
        one: impl Fn(&mut Self) -> Result<T, &'static str>,
    ) -> Result<Vec<T>, &'static str> {
        (0..count).map(|_| one(self)).collect()
    }

    fn ask(&mut self) -> Result<Ask, &'static str> {
        let kind = self.u8()?;
        let board = self.u64()?;
        let what = match kind {
            HASHES | REMOVALS => What::Removals(self.prefix(kind == REMOVALS)?),
            level if level <= HIGHEST_LEVEL => What::Range(self.range(level)?),
            _ => return Err("an unknown kind of question"),
        };
        Ok(Ask { board, what })
    }

    fn range(&mut self, level: u8) -> Result<Range, &'static str> {
        let bounds = self.u8()?;
        let has = |flag| bounds & flag != 0;
        let start = has(HAS_START).then(|| self.spot()).transpose()?;
        let start = start.map(|spot| Start { spot, is_after: has(IS_AFTER) });
        let end = has(HAS_END).then(|| self.spot()).transpose()?;
        Ok(Range { level, start, end })
    }

    fn prefix(&mut self, are_told: bool) -> Result<Prefix, &'static str> {
        let (bytes, value) = (self.u8()?, self.u16()?);
        let is_known = match bytes {
            0 => value == 0,
            1 => value < 0x100,
            // No part of one that is told by two bytes has hashes of its own.
            LONGEST_PREFIX => are_told,
            _ => false,
        };
        is_known.then_some(Prefix { bytes, value, are_told }).ok_or("an unknown prefix")
    }

    fn answer(&mut self) -> Result<Answer, &'static str> {
        match self.u8()? {
            0 => Ok(Answer::NoBoard),
            1 => {
                let (is_cut, count) = self.head()?;
                let pieces = self.some(count, Self::piece)?;
                Ok(Answer::Pieces(pieces, is_cut.then(|| self.spot()).transpose()?))
            }
            2 => {
                let (is_cut, count) = self.head()?;
                let entries = self.some(count, Self::spot)?;
                Ok(Answer::Entries(entries, is_cut.then(|| self.spot()).transpose()?))
            }
            3 => Ok(Answer::Hashes(self.some(FAN as u16, Self::u64)?)),
            4 => {
                let count = self.u16()?;
                let removal = |reader: &mut Self| Ok((reader.text()?, reader.u32()?));
                Ok(Answer::Removals(self.some(count, removal)?))
            }
            _ => Err("an unknown kind of answer"),
        }
    }

    /// Whether an answer is cut, and how much it tells: something, if so.
    fn head(&mut self) -> Result<(bool, u16), &'static str> {
        let (is_cut, count) = (self.flag()?, self.u16()?);
        if is_cut && count == 0 { Err("cut before its start") } else { Ok((is_cut, count)) }
    }

    fn piece(&mut self) -> Result<Piece, &'static str> {
        let (mark, hash, entries) = (self.u32()?, self.u64()?, self.number()?);
        Ok(Piece { offset: 0, entries, mark, hash })
    }

    fn spot(&mut self) -> Result<Spot, &'static str> {
        let key = Key { score: [self.u64()?], stamp: self.u64()? };
        Ok(Spot { key, member: self.text()? })
    }

    fn top(&mut self) -> Result<Top, &'static str> {
        Ok(Top {
            board: self.u64()?,
            members: self.u64()?,
            hash: self.u64()?,
            removals: self.u64()?,
            removals_hash: self.u64()?,
        })
    }

    fn number(&mut self) -> Result<u64, &'static str> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("a number is too large")
    }

    fn flag(&mut self) -> Result<bool, &'static str> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("neither yes nor no"),
        }
    }

    fn text(&mut self) -> Result<Box<str>, &'static str> {
        let length = usize::from(self.u8()?);
        let (text, rest) = self.rest.split_at_checked(length).ok_or("cut short")?;
        self.rest = rest;
        std::str::from_utf8(text).map(Into::into).map_err(|_| "text is not UTF-8")
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or("cut short")?;
        self.rest = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, &'static str> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, &'static str> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, &'static str> {
        self.array().map(u64::from_le_bytes)
    }
}
