//! Idempotency keys: a write that carries one may be sent again, and counts once.
//!
//! A client chooses the text of a key; the scope, who the client is, keeps the keys of two clients
//! apart. Both are only ever compared, so what is kept is a hash. Beside the key stands a digest of
//! what was asked for: the same key with another request is a mistake of the client's, and refused.
//! The answer that was given is kept with them, in the transaction that makes the write durable.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::queue::{Command, Submit};
use crate::repair::{Repair, State};
use crate::reply::Outcome;
use crate::{Error, Score, limits};

/// A hash of 128 bits: of those that one client can make, no two meet.
pub type Hash = [u8; 16];

/// A key that a write carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WriteKey(Hash);

impl WriteKey {
    /// The key `text` of the client that `scope` names.
    ///
    /// # Errors
    /// [`Error::Key`] unless the text is 1 to [`limits::KEY_BYTES`] printable ASCII characters.
    pub fn new(scope: &str, text: &str) -> Result<Self, Error> {
        let is_printable = |b: u8| (b' '..=b'~').contains(&b);
        if !(1..=limits::KEY_BYTES).contains(&text.len()) || !text.bytes().all(is_printable) {
            return Err(Error::Key);
        }
        let mut hasher = Hasher::default();
        hasher.text(scope);
        hasher.text(text);
        Ok(Self(hasher.finish()))
    }
}

/// A write whose answer is kept, as the storage keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Hash of scope and key.
    pub key: Hash,
    /// Digest of what was asked for.
    pub request: Hash,
    /// The answer: a byte that tells its kind, then the JSON.
    pub answer: Arc<[u8]>,
}

/// The kinds of answers: what the first byte of a kept one says.
const PLAIN: u8 = 0;
const FOUND: u8 = 1;
const CREATED: u8 = 2;

impl Answer {
    pub(crate) fn new(key: WriteKey, request: Hash, outcome: &Outcome) -> Self {
        let kind = match outcome {
            Outcome::Board { created: true, .. } => CREATED,
            Outcome::Board { created: false, .. } => FOUND,
            _ => PLAIN,
        };
        let mut answer = vec![kind];
        outcome.write_json(&mut answer);
        Self { key: key.0, request, answer: answer.into() }
    }

    /// What a repeat of the write gets that asks for `request`.
    pub(crate) fn repeat(&self, request: Hash) -> Result<Outcome, Error> {
        if request != self.request {
            return Err(Error::KeyReused);
        }
        Ok(Outcome::Repeat(Repeat(Arc::clone(&self.answer))))
    }
}

impl WriteKey {
    pub(crate) fn hash(self) -> Hash {
        self.0
    }
}

/// The answer that a write got when it came first.
#[derive(Debug, Clone)]
pub struct Repeat(Arc<[u8]>);

impl Repeat {
    /// For the creation of a board: whether it created the board.
    pub fn created(&self) -> Option<bool> {
        match self.0.first() {
            Some(&CREATED) => Some(true),
            Some(&FOUND) => Some(false),
            _ => None,
        }
    }

    /// The JSON of the answer; empty where there was none.
    pub fn json(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }
}

impl Command {
    /// A digest of everything that the command asks for. The same on every node and in every
    /// version: answers outlive both.
    pub(crate) fn digest(&self) -> Hash {
        let mut hasher = Hasher::default();
        match self {
            Self::Create { board, config } => {
                hasher.head(1, board);
                for word in config.words() {
                    hasher.text(word);
                }
                hasher.0.update([config.player_submits.into()]);
            }
            Self::Drop { board } => hasher.head(2, board),
            Self::Submit { board, submit } => {
                hasher.head(3, board);
                hasher.submit(submit);
            }
            Self::Batch { board, submits } => {
                hasher.head(4, board);
                for submit in submits {
                    hasher.submit(submit);
                }
            }
            Self::Remove { board, member } => {
                hasher.head(5, board);
                hasher.text(member);
            }
            Self::Repair { board, life, items } => {
                hasher.head(6, board);
                hasher.0.update(life.to_le_bytes());
                for item in items {
                    hasher.repair(item);
                }
            }
        }
        hasher.finish()
    }
}

/// SHA-256 over fields that cannot run into each other, cut to 128 bits.
#[derive(Default)]
struct Hasher(Sha256);

impl Hasher {
    fn head(&mut self, kind: u8, board: &str) {
        self.0.update([kind]);
        self.text(board);
    }

    fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    fn submit(&mut self, submit: &Submit) {
        self.text(&submit.member);
        let (kind, bits) = match submit.score {
            Score::Int(int) => (0, int.to_le_bytes()),
            Score::Float(float) => (1, float.to_bits().to_le_bytes()),
        };
        self.0.update([kind]);
        self.0.update(bits);
        self.0.update([submit.at_ms.is_some().into()]);
        self.0.update(submit.at_ms.unwrap_or(0).to_le_bytes());
    }

    fn repair(&mut self, item: &Repair) {
        self.text(&item.member);
        for State { generation, key } in [item.seen, item.given] {
            self.0.update(generation.to_le_bytes());
            self.0.update([key.is_some().into()]);
            let (code, stamp) = key.map_or((0, 0), |key| (key.score[0], key.stamp));
            self.0.update(code.to_le_bytes());
            self.0.update(stamp.to_le_bytes());
        }
    }

    fn finish(self) -> Hash {
        let mut hash = Hash::default();
        hash.copy_from_slice(&self.0.finalize()[..size_of::<Hash>()]);
        hash
    }
}
