//! One board as readers see it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rankwire_ranklist::{Draft, Key, Read, Seed, Shared, Snapshot};

use crate::answer;
use crate::config::BoardConfig;
use crate::record::BoardId;
use crate::{Error, Order, Score, policy};

/// One life of a board: its identity, its configuration and its current version.
///
/// Deleting a board and creating it again gives another `Board` with another [`id`](Self::id).
#[derive(Debug)]
pub struct Board {
    id: BoardId,
    name: Box<str>,
    config: BoardConfig,
    list: Shared,
    /// The first page that was asked for last, kept encoded: hot boards are asked for the same one
    /// again and again.
    first_page: ArcSwapOption<FirstPage>,
}

#[derive(Debug)]
struct FirstPage {
    version: u64,
    limit: usize,
    json: Arc<[u8]>,
}

impl Board {
    pub(crate) fn new(id: BoardId, name: &str, config: BoardConfig, list: Shared) -> Self {
        Self { id, name: name.into(), config, list, first_page: ArcSwapOption::empty() }
    }

    /// A board without members.
    pub(crate) fn empty(id: BoardId, name: &str, config: BoardConfig, seed: Seed) -> Self {
        Self::new(id, name, config, Shared::new(config.ties.into(), seed))
    }

    /// Identity of this life of the board.
    pub fn id(&self) -> BoardId {
        self.id
    }

    /// The name callers use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The configuration, fixed at creation.
    pub fn config(&self) -> BoardConfig {
        self.config
    }

    /// The key of the list's member hash, which a checkpoint stores. Not for clients.
    pub fn seed(&self) -> Seed {
        self.load().seed()
    }

    /// The current version, for an answer. Never blocks, and what it returns never changes.
    ///
    /// Until it is dropped no board frees memory, so hold it for straight-line code only: not
    /// across I/O, a lock, a call into another language or a commit.
    pub fn load(&self) -> Read<'_> {
        self.list.read()
    }

    /// The current version, for as long as it takes. Never blocks.
    pub fn snapshot(&self) -> Snapshot {
        self.list.snapshot()
    }

    /// A private next version of the list.
    pub(crate) fn draft(&self) -> Draft {
        self.list.draft()
    }

    /// The score that a key of this board stands for.
    pub fn score(&self, key: Key) -> Score {
        policy::decode(self.config, key)
    }

    /// The page after the best `offset` members as JSON, with the version it belongs to.
    pub fn page(&self, offset: u64, limit: usize) -> (u64, Arc<[u8]>) {
        if offset == 0
            && let Some(page) = self.encoded_first_page(limit)
        {
            return page;
        }
        let list = self.load();
        let version = list.version();
        let json: Arc<[u8]> = answer::page(self, &list, offset, limit).into();
        drop(list);
        if offset == 0 {
            let page = FirstPage { version, limit, json: Arc::clone(&json) };
            self.first_page.store(Some(Arc::new(page)));
        }
        (version, json)
    }

    /// The first page as [`page`](Self::page) gives it, if it is encoded already.
    pub fn encoded_first_page(&self, limit: usize) -> Option<(u64, Arc<[u8]>)> {
        let version = self.load().version();
        let encoded = self.first_page.load();
        let page = encoded.as_ref().filter(|page| (page.version, page.limit) == (version, limit));
        page.map(|page| (version, Arc::clone(&page.json)))
    }

    /// The list's score codes from score `min` to score `max`, both included, both optional.
    ///
    /// # Errors
    /// [`Error::Score`] when a bound is not a score of this board.
    pub fn codes(
        &self,
        min: Option<Score>,
        max: Option<Score>,
    ) -> Result<RangeInclusive<[u64; 1]>, Error> {
        let code = |bound: Option<Score>| {
            bound
                .map(|score| Ok(score.cast(self.config.score)?.code(self.config.order)))
                .transpose()
        };
        let (min, max) = (code(min)?, code(max)?);
        let (first, last) = match self.config.order {
            Order::Asc => (min, max),
            Order::Desc => (max, min),
        };
        Ok([first.unwrap_or(0)]..=[last.unwrap_or(u64::MAX)])
    }
}
