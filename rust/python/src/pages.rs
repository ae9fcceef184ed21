//! First pages of boards, kept encoded, as the very objects that Python sends.
//!
//! A page is good for the life and the version of the board that it was made from and for no other,
//! and the version is looked up for each read: what a kept page answers is what a fresh one would.
//! Nothing is ever taken off the list because something changed, so writers know nothing of this.
//!
//! Only boards that were named are kept. When they need more bytes than they may take, the board
//! whose pages were not read for the longest time loses them. The lock is held for a look-up or an
//! insert and never while Python objects are made.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use rankwire_engine::Board;

use crate::errors::invalid;

/// Most entries of a page that is kept.
pub const MOST_ENTRIES: usize = 100;

/// Most boards whose pages are kept: as many as have counters in `Traffic`.
const MOST_BOARDS: usize = 1024;

/// What a page takes beside its text: its entry here, and about as much for the head of the object.
const ENTRY_BYTES: usize = 2 * size_of::<Page>();

/// A first page, and which version it is of.
pub type FirstPage<'py> = (Bound<'py, PyBytes>, u64);

#[derive(Default)]
pub struct Pages {
    keeps_any: AtomicBool,
    kept: Mutex<Kept>,
    reads: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    refused: AtomicU64,
    evictions: AtomicU64,
    built: AtomicU64,
    built_nanos: AtomicU64,
}

#[derive(Default)]
struct Kept {
    boards: HashMap<Box<str>, KeptBoard>,
    bytes: usize,
    most_bytes: usize,
    /// Counts hits and inserts, and so tells which board was read last.
    clock: u64,
}

/// The pages of one version of a board.
#[derive(Default)]
struct KeptBoard {
    id: u64,
    version: u64,
    read: u64,
    pages: Vec<Page>,
}

struct Page {
    limit: usize,
    size: usize,
    json: Py<PyBytes>,
}

/// What there is of a board.
enum Found {
    /// Its pages are not kept.
    NotKept,
    Nothing,
    Page(Py<PyBytes>),
}

/// What became of a page that was offered.
enum Offered {
    Kept,
    /// It alone is larger than all pages may be.
    TooLarge,
    /// The board is not kept any more, or a newer version of it is.
    Late,
}

impl Pages {
    /// The first `limit` members of a board, for at most [`MOST_ENTRIES`].
    pub fn first<'py>(&self, py: Python<'py>, board: &Board, limit: usize) -> FirstPage<'py> {
        self.reads.fetch_add(1, Relaxed);
        if !self.keeps_any.load(Relaxed) {
            return self.build(py, board, limit);
        }
        let version = board.load().version();
        let found = self.lock().find(py, board, version, limit);
        match found {
            Found::NotKept => return self.build(py, board, limit),
            Found::Page(json) => {
                self.hits.fetch_add(1, Relaxed);
                return (json.into_bound(py), version);
            }
            Found::Nothing => {}
        }
        self.misses.fetch_add(1, Relaxed);
        let (json, version) = self.build(py, board, limit);
        let size = json.as_bytes().len() + ENTRY_BYTES;
        let page = Page { limit, size, json: json.clone().unbind() };
        let mut gone = Vec::new();
        let (offered, evicted) = {
            let mut kept = self.lock();
            (kept.offer(board, version, page, &mut gone), kept.make_room(&mut gone))
        };
        self.refused.fetch_add(u64::from(matches!(offered, Offered::TooLarge)), Relaxed);
        self.evictions.fetch_add(evicted, Relaxed);
        (json, version)
    }

    /// Keeps the pages of these boards from now on, and of no others.
    pub fn keep(&self, boards: Vec<String>, most_bytes: usize) -> PyResult<()> {
        if boards.len() > MOST_BOARDS {
            let message = format!("pages of at most {MOST_BOARDS} boards are kept");
            return Err(invalid("boards", message));
        }
        self.keeps_any.store(!boards.is_empty(), Relaxed);
        let mut gone = Vec::new();
        let evicted = {
            let mut kept = self.lock();
            kept.replace(boards, most_bytes, &mut gone);
            kept.make_room(&mut gone)
        };
        self.evictions.fetch_add(evicted, Relaxed);
        Ok(())
    }

    pub fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (entries, bytes) = {
            let kept = self.lock();
            (kept.boards.values().map(|board| board.pages.len()).sum::<usize>(), kept.bytes)
        };
        let dict = PyDict::new(py);
        dict.set_item("reads", self.reads.load(Relaxed))?;
        dict.set_item("hits", self.hits.load(Relaxed))?;
        dict.set_item("misses", self.misses.load(Relaxed))?;
        dict.set_item("entries", entries)?;
        dict.set_item("bytes", bytes)?;
        dict.set_item("refused", self.refused.load(Relaxed))?;
        dict.set_item("evictions", self.evictions.load(Relaxed))?;
        dict.set_item("built", self.built.load(Relaxed))?;
        // A sum of times is far from 2^53 ns.
        #[expect(clippy::cast_precision_loss)]
        let seconds = self.built_nanos.load(Relaxed) as f64 / 1e9;
        dict.set_item("built_seconds", seconds)?;
        Ok(dict)
    }

    /// A page that the board has encoded already, or a new one, whose time is counted.
    fn build<'py>(&self, py: Python<'py>, board: &Board, limit: usize) -> FirstPage<'py> {
        if let Some((version, json)) = board.encoded_first_page(limit) {
            return (PyBytes::new(py, &json), version);
        }
        let started = Instant::now();
        let (version, json) = board.page(0, limit);
        let json = PyBytes::new(py, &json);
        let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.built.fetch_add(1, Relaxed);
        self.built_nanos.fetch_add(nanos, Relaxed);
        (json, version)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pages that are let go of are put into `gone`, for when the lock is released.
impl Kept {
    fn find(&mut self, py: Python<'_>, board: &Board, version: u64, limit: usize) -> Found {
        let Some(kept) = self.boards.get_mut(board.name()) else { return Found::NotKept };
        if (kept.id, kept.version) != (board.id(), version) {
            return Found::Nothing;
        }
        self.clock += 1;
        kept.read = self.clock;
        let page = kept.pages.iter().find(|page| page.limit == limit);
        page.map_or(Found::Nothing, |page| Found::Page(page.json.clone_ref(py)))
    }

    fn offer(&mut self, board: &Board, version: u64, page: Page, gone: &mut Vec<Page>) -> Offered {
        if page.size > self.most_bytes {
            gone.push(page);
            return Offered::TooLarge;
        }
        let Some(kept) = self.boards.get_mut(board.name()) else {
            gone.push(page);
            return Offered::Late;
        };
        if (kept.id, kept.version) != (board.id(), version) {
            if kept.id == board.id() && kept.version > version {
                gone.push(page);
                return Offered::Late;
            }
            self.bytes -= kept.take(gone);
            (kept.id, kept.version) = (board.id(), version);
        }
        self.clock += 1;
        kept.read = self.clock;
        if kept.pages.iter().all(|other| other.limit != page.limit) {
            self.bytes += page.size;
            kept.pages.push(page);
        } else {
            gone.push(page);
        }
        Offered::Kept
    }

    /// Says how many pages had to go.
    fn make_room(&mut self, gone: &mut Vec<Page>) -> u64 {
        let mut evicted = 0;
        while self.bytes > self.most_bytes {
            let with_pages = self.boards.values_mut().filter(|board| !board.pages.is_empty());
            let Some(oldest) = with_pages.min_by_key(|board| board.read) else { break };
            evicted += oldest.pages.len() as u64;
            self.bytes -= oldest.take(gone);
        }
        evicted
    }

    fn replace(&mut self, boards: Vec<String>, most_bytes: usize, gone: &mut Vec<Page>) {
        self.most_bytes = most_bytes;
        let mut before = std::mem::take(&mut self.boards);
        for name in boards {
            let kept = before.remove(&*name).unwrap_or_default();
            // A name that is given twice keeps what it has.
            self.boards.entry(name.into()).or_insert(kept);
        }
        for mut board in before.into_values() {
            self.bytes -= board.take(gone);
        }
    }
}

impl KeptBoard {
    /// Gives up all pages, and says how many bytes they had.
    fn take(&mut self, gone: &mut Vec<Page>) -> usize {
        let bytes = self.pages.iter().map(|page| page.size).sum();
        gone.append(&mut self.pages);
        bytes
    }
}
