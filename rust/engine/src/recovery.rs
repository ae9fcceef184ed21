//! From checkpoint rows to an engine.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rankwire_ranklist::{Key, Seed, Shared};

use crate::checkpoint::unsigned;
use crate::clock::Clock;
use crate::committer::{Turns, Writer};
use crate::config::BoardConfig;
use crate::draft::{Graves, Ledger};
use crate::engine::Engine;
use crate::limits::{self, Limits};
use crate::record::BoardId;
use crate::region::RegionId;
use crate::{Board, Error};

/// What a checkpoint says of a board.
#[derive(Debug, Clone)]
pub struct BoardRow {
    /// Identity of the board.
    pub id: BoardId,
    /// Its name.
    pub name: String,
    /// Its configuration.
    pub config: BoardConfig,
    /// Key of its list's member hash.
    pub seed: Seed,
    /// Version of the board that the member rows belong to.
    pub version: u64,
}

/// What a checkpoint says of a member: the fields of
/// [`CheckpointBoard::rows`](crate::CheckpointBoard::rows).
#[derive(Debug, Clone)]
pub struct MemberRow {
    /// The member.
    pub member: String,
    /// Code and stamp as stored; `None` for a member that is gone.
    pub key: Option<(i64, i64)>,
    /// How often the member has been deleted.
    pub generation: u32,
}

/// An engine that is being put together from a checkpoint.
///
/// First every board of the checkpoint with [`board`](Self::board), then [`finish`](Self::finish).
/// The batches that the checkpoint does not include go to [`Engine::apply`].
#[derive(Debug)]
pub struct Recovery {
    vector: BTreeMap<u64, u64>,
    boards: HashMap<BoardId, Arc<Board>>,
    ledgers: HashMap<BoardId, Ledger>,
    gone: HashSet<BoardId>,
    clock: Clock,
    region: RegionId,
}

impl Recovery {
    /// Starts from the vector of the checkpoint, the last batch of every origin it includes, and the
    /// boards that were dropped before it.
    pub fn new(
        vector: impl IntoIterator<Item = (u64, u64)>,
        gone: impl IntoIterator<Item = BoardId>,
    ) -> Self {
        Self {
            vector: vector.into_iter().collect(),
            boards: HashMap::new(),
            ledgers: HashMap::new(),
            gone: gone.into_iter().collect(),
            clock: Clock::default(),
            region: 0,
        }
    }

    /// Names the region of the engine by its [`region_id`](crate::region_id); without, it has none.
    #[must_use]
    pub fn of_region(self, region: RegionId) -> Self {
        Self { region, ..self }
    }

    /// Takes in a board of the checkpoint with all its members, as they come. O(n) when the rows come
    /// in rank order, O(n log n) otherwise.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the board or a member comes twice, a member's name is longer than
    /// [`limits::STORED_MEMBER_BYTES`], or there are more than [`limits::MEMBERS`] members.
    pub fn board(
        &mut self,
        board: &BoardRow,
        rows: impl IntoIterator<Item = MemberRow>,
    ) -> Result<(), Error> {
        let error = |reason| Error::Checkpoint { board: board.name.clone(), reason };
        let mut generations = Graves::default();
        let (mut count, mut problem) = (0, None);
        let clock = &mut self.clock;
        let entry = |row: MemberRow| {
            if row.member.len() > limits::STORED_MEMBER_BYTES {
                problem = Some("a member's name is too long");
                return None;
            }
            if row.generation > 0 {
                generations.set(&row.member, row.generation);
            }
            let Some((code, stamp)) = row.key else { return Some(None) };
            if count == limits::MEMBERS {
                problem = Some("the board has too many members");
                return None;
            }
            count += 1;
            let key = Key { score: [unsigned(code)], stamp: stamp.cast_unsigned() };
            clock.observe(key.stamp);
            Some(Some((row.member, key)))
        };
        let BoardRow { id, config, seed, version, .. } = *board;
        let entries = rows.into_iter().map_while(entry).flatten();
        let list = Shared::from_entries(config.ties.into(), seed, version, entries);
        if let Some(reason) = problem {
            return Err(error(reason));
        }
        let list = list.map_err(|_| error("a member has two rows"))?;
        self.ledgers.insert(id, Ledger { generations, ..Ledger::default() });
        let twin = self.boards.insert(id, Arc::new(Board::new(id, &board.name, config, list)));
        twin.map_or(Ok(()), |_| Err(error("the board has two rows")))
    }

    /// The engine, which writes its own journal under `origin`, under which nobody has written
    /// before. Notes what changes for the next checkpoint. `is_shared` says that other nodes write as
    /// well.
    pub fn finish(self, origin: u64, limits: Limits, is_shared: bool) -> Engine {
        let writer = Writer {
            origin,
            region: self.region,
            next: 1,
            clock: self.clock,
            ledgers: self.ledgers,
            boards: self.boards,
            gone: self.gone,
            is_tracking: true,
            is_shared,
            changed: HashMap::new(),
            dropped: HashSet::new(),
            vector: self.vector,
            under_way: false,
            turns: Turns::default(),
        };
        Engine::new(writer, limits)
    }
}
