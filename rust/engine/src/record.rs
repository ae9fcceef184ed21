//! Records and the journal codec, the one definition of what nodes and restarts agree on.
//!
//! A *record* is one effective change of a board. A *batch* is what one commit writes: the
//! records of one origin under one number. Format 3 of a batch, integers little endian:
//!
//! ```text
//! u8   format, 2 or 3
//! u32  number of records
//! ...  records, each: u8 tag, u64 board id, then by tag
//!        1 create   str name, u8 score, u8 order, u8 policy, u8 ties, u8 player submits,
//!                   16 bytes seed
//!        2 drop     (nothing)
//!        3 score    str member, u64 score bits, u64 stamp, u32 generation
//!        4 delete   str member, u32 generation
//!        5 fix      str member, u64 amount bits, u64 stamp, u32 generation, u64 region
//! u32  CRC-32 (IEEE 802.3) of origin, number (u64 each) and all bytes before this one
//! ```
//!
//! `str` is a u8 length and that many bytes of UTF-8; both name limits fit a u8. The checksum
//! covers the batch's place as well, so bytes stored under the wrong number are refused. Golden
//! vectors in `tests/golden.rs` pin the bytes; a new format gets a new number and old ones stay
//! readable. Format 1 had no byte for player submits, which is read as 0. Format 2 had no fixes: a
//! batch without any is still written in it, so that servers which know no other can read it.
//!
//! All records but one count everywhere. A *fix* counts in the region that it names and is nothing in
//! any other: it says by how much the sums of that region were wrong, see `repair.rs`.

use crate::config::{BoardConfig, Policy, TieBreak};
use crate::region::RegionId;
use crate::{Error, Order, ScoreType, Stamp};

/// Identity of one life of a board: deleting a board and creating it again gives a new one, so
/// records of the two never mix.
pub type BoardId = u64;

/// One effective change of a board. Borrows its text from the batch's bytes when decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record<'a> {
    /// A board begins.
    Create {
        /// Identity of this life of the board.
        board: BoardId,
        /// Name under which callers find it.
        name: &'a str,
        /// Its configuration.
        config: BoardConfig,
        /// Keyed-hash seed of its list.
        seed: [u8; 16],
    },
    /// A board ends, with everything in it.
    Drop {
        /// Identity of the board.
        board: BoardId,
    },
    /// A submit that changed a member.
    Score {
        /// Identity of the board.
        board: BoardId,
        /// Who scored.
        member: &'a str,
        /// The submitted score, or the amount for policy `sum`: [`Score::to_bits`](crate::Score::to_bits).
        bits: u64,
        /// When it was reached.
        stamp: Stamp,
        /// How often the member had been deleted when the submit was taken.
        generation: u32,
    },
    /// A member is deleted: everything of earlier generations is void.
    Delete {
        /// Identity of the board.
        board: BoardId,
        /// Who is deleted.
        member: &'a str,
        /// The member's generation from now on.
        generation: u32,
    },
    /// An amount that one region is short of: there it counts like a score, elsewhere it is nothing.
    Fix {
        /// Identity of the board.
        board: BoardId,
        /// Whose sum was wrong.
        member: &'a str,
        /// The amount: [`Score::to_bits`](crate::Score::to_bits).
        bits: u64,
        /// When the sum was reached that is right.
        stamp: Stamp,
        /// How often the member had been deleted then.
        generation: u32,
        /// Where it counts: [`region_id`](crate::region_id).
        region: RegionId,
    },
}

impl Record<'_> {
    /// The board that the record is about.
    pub fn board(&self) -> BoardId {
        match *self {
            Self::Create { board, .. }
            | Self::Drop { board }
            | Self::Score { board, .. }
            | Self::Delete { board, .. }
            | Self::Fix { board, .. } => board,
        }
    }
}

/// The format that is written.
const FORMAT: u8 = 2;
/// The one of batches that hold a fix.
const FORMAT_OF_FIXES: u8 = 3;
/// The oldest one that is read.
const FIRST_FORMAT: u8 = 1;
const HEADER: usize = 5;
const CHECKSUM: usize = 4;
const CREATE: u8 = 1;
const DROP: u8 = 2;
const SCORE: u8 = 3;
const DELETE: u8 = 4;
const FIX: u8 = 5;

/// Builds the bytes of one batch.
#[derive(Debug)]
pub struct BatchWriter {
    bytes: Vec<u8>,
    records: u32,
    fixes: u32,
}

/// A place in a [`BatchWriter`] to go back to.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    bytes: usize,
    records: u32,
    fixes: u32,
}

impl Default for BatchWriter {
    fn default() -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[FORMAT, 0, 0, 0, 0]);
        Self { bytes, records: 0, fixes: 0 }
    }
}

impl BatchWriter {
    /// Appends one record. Names must have passed [`check_board_name`](crate::check_board_name) or
    /// [`check_member`](crate::check_member).
    ///
    /// # Panics
    /// When a name is longer than 255 bytes.
    pub fn push(&mut self, record: &Record<'_>) {
        self.records += 1;
        match *record {
            Record::Create { board, name, config, ref seed } => {
                self.head(CREATE, board);
                self.text(name);
                self.bytes.extend_from_slice(&config_bytes(config));
                self.bytes.extend_from_slice(seed);
            }
            Record::Drop { board } => self.head(DROP, board),
            Record::Score { board, member, bits, stamp, generation } => {
                self.head(SCORE, board);
                self.score(member, bits, stamp, generation);
            }
            Record::Delete { board, member, generation } => {
                self.head(DELETE, board);
                self.text(member);
                self.bytes.extend_from_slice(&generation.to_le_bytes());
            }
            Record::Fix { board, member, bits, stamp, generation, region } => {
                self.fixes += 1;
                self.head(FIX, board);
                self.score(member, bits, stamp, generation);
                self.bytes.extend_from_slice(&region.to_le_bytes());
            }
        }
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Where the batch stands now.
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), records: self.records, fixes: self.fixes }
    }

    /// Takes back everything pushed since `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.records = mark.records;
        self.fixes = mark.fixes;
    }

    /// The finished bytes of batch `number` of `origin`.
    pub fn finish(mut self, origin: u64, number: u64) -> Vec<u8> {
        if self.fixes > 0 {
            self.bytes[0] = FORMAT_OF_FIXES;
        }
        self.bytes[1..HEADER].copy_from_slice(&self.records.to_le_bytes());
        let checksum = checksum(origin, number, &self.bytes);
        self.bytes.extend_from_slice(&checksum.to_le_bytes());
        self.bytes
    }

    fn head(&mut self, tag: u8, board: BoardId) {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(&board.to_le_bytes());
    }

    fn score(&mut self, member: &str, bits: u64, stamp: Stamp, generation: u32) {
        self.text(member);
        self.bytes.extend_from_slice(&bits.to_le_bytes());
        self.bytes.extend_from_slice(&stamp.to_le_bytes());
        self.bytes.extend_from_slice(&generation.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        let length = u8::try_from(text.len()).expect("names are checked to fit a u8 length");
        self.bytes.push(length);
        self.bytes.extend_from_slice(text.as_bytes());
    }
}

/// The records of a batch.
///
/// # Errors
/// [`Error::Journal`] when the checksum, the format or any record is wrong.
pub fn decode(origin: u64, number: u64, bytes: &[u8]) -> Result<Vec<Record<'_>>, Error> {
    decode_records(origin, number, bytes).map_err(|reason| Error::Journal {
        origin,
        number,
        reason,
    })
}

fn decode_records(origin: u64, number: u64, bytes: &[u8]) -> Result<Vec<Record<'_>>, &'static str> {
    if bytes.len() < HEADER + CHECKSUM {
        return Err("too short");
    }
    let (content, sum) = bytes.split_at(bytes.len() - CHECKSUM);
    if sum != checksum(origin, number, content).to_le_bytes() {
        return Err("checksum mismatch");
    }
    let (&format, rest) = content.split_first().ok_or("too short")?;
    if !(FIRST_FORMAT..=FORMAT_OF_FIXES).contains(&format) {
        return Err("unknown format; written by a newer version?");
    }
    let mut reader = Reader { rest, format };
    let count = reader.u32()?;
    let records = (0..count).map(|_| reader.record()).collect::<Result<_, _>>()?;
    if reader.rest.is_empty() { Ok(records) } else { Err("bytes after the last record") }
}

struct Reader<'a> {
    rest: &'a [u8],
    format: u8,
}

impl<'a> Reader<'a> {
    fn record(&mut self) -> Result<Record<'a>, &'static str> {
        let tag = self.u8()?;
        let board = self.u64()?;
        match tag {
            CREATE => Ok(Record::Create {
                board,
                name: self.text()?,
                config: self.config()?,
                seed: self.array()?,
            }),
            DROP => Ok(Record::Drop { board }),
            SCORE => Ok(Record::Score {
                board,
                member: self.text()?,
                bits: self.u64()?,
                stamp: self.u64()?,
                generation: self.u32()?,
            }),
            DELETE => Ok(Record::Delete { board, member: self.text()?, generation: self.u32()? }),
            FIX if self.format == FORMAT_OF_FIXES => Ok(Record::Fix {
                board,
                member: self.text()?,
                bits: self.u64()?,
                stamp: self.u64()?,
                generation: self.u32()?,
                region: self.u64()?,
            }),
            _ => Err("unknown kind of record"),
        }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], &'static str> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or("cut short")?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or("cut short")?;
        self.rest = rest;
        Ok(*head)
    }

    fn config(&mut self) -> Result<BoardConfig, &'static str> {
        let words = self.array::<4>()?;
        let player_submits = if self.format == FIRST_FORMAT { 0 } else { self.u8()? };
        config_from_bytes(words, player_submits)
    }

    fn u8(&mut self) -> Result<u8, &'static str> {
        self.array::<1>().map(|[b]| b)
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, &'static str> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a str, &'static str> {
        let length = usize::from(self.u8()?);
        std::str::from_utf8(self.take(length)?).map_err(|_| "text is not UTF-8")
    }
}

fn checksum(origin: u64, number: u64, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&origin.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

fn config_bytes(config: BoardConfig) -> [u8; 5] {
    let score = match config.score {
        ScoreType::Int64 => 0,
        ScoreType::Float64 => 1,
    };
    let order = match config.order {
        Order::Desc => 0,
        Order::Asc => 1,
    };
    let policy = match config.policy {
        Policy::Best => 0,
        Policy::Last => 1,
        Policy::Sum => 2,
    };
    let ties = match config.ties {
        TieBreak::First => 0,
        TieBreak::Last => 1,
        TieBreak::Member => 2,
    };
    [score, order, policy, ties, config.player_submits.into()]
}

fn config_from_bytes(
    [score, order, policy, ties]: [u8; 4],
    player_submits: u8,
) -> Result<BoardConfig, &'static str> {
    let unknown = "unknown board configuration; written by a newer version?";
    Ok(BoardConfig {
        score: match score {
            0 => ScoreType::Int64,
            1 => ScoreType::Float64,
            _ => return Err(unknown),
        },
        order: match order {
            0 => Order::Desc,
            1 => Order::Asc,
            _ => return Err(unknown),
        },
        policy: match policy {
            0 => Policy::Best,
            1 => Policy::Last,
            2 => Policy::Sum,
            _ => return Err(unknown),
        },
        ties: match ties {
            0 => TieBreak::First,
            1 => TieBreak::Last,
            2 => TieBreak::Member,
            _ => return Err(unknown),
        },
        player_submits: match player_submits {
            0 => false,
            1 => true,
            _ => return Err(unknown),
        },
    })
}
