//! A versioned, canonical, ranked skip list: exact ranks, readers that never wait, lock-free writers.
//!
//! A list keeps members in the order of their scores and answers by member, by rank and by score:
//! who is in place 1000, which place is Ada's, who stands around her, how many have at least so
//! many points. The steps that an answer takes grow with the logarithm of the list's size.
//!
//! * [`Shared`] is a list that one writer at a time replaces, with any number of readers. The writer
//!   changes a private [`Draft`] and publishes it in one step.
//! * [`Log`] is a list that any number of threads write single operations to, without locks.
//! * [`Version`] is what both publish and readers ask: one instant of the list, which never changes.
//!
//! # Example
//!
//! ```
//! use rankwire_ranklist::{Key, Shared, Ties};
//!
//! // The smaller score code ranks better, so a board of points stores their complement.
//! let key = |points: u64, stamp| Key { score: [!points], stamp };
//! let seed = [7; 16]; // Draw a random one for each board, and keep it secret.
//!
//! let board = Shared::new(Ties::First, seed);
//! let mut draft = board.draft();
//! draft.set("ada", key(300, 1));
//! draft.set("bob", key(500, 2));
//! draft.set("cyd", key(300, 3));
//! draft.publish()?;
//!
//! let before = board.snapshot(); // O(1), and it may be kept.
//! assert_eq!(before.rank("bob"), Some(1));
//! assert_eq!(before.rank("ada"), Some(2)); // Has as many points as cyd, but had them first.
//! assert_eq!(before.ranks("cyd").map(|ranks| ranks.competition), Some(2));
//! assert_eq!(before.count([!500]..=[!300]), 3);
//!
//! let mut draft = board.draft();
//! draft.set("cyd", key(900, 4));
//! draft.publish()?;
//!
//! let names: Vec<&str> = before.page(0, 2).map(|entry| entry.member).collect();
//! assert_eq!(names, ["bob", "ada"]);
//! assert_eq!(board.read().rank("cyd"), Some(1));
//! assert_eq!(board.read().version(), before.version() + 1);
//! # Ok::<(), rankwire_ranklist::Conflict>(())
//! ```
//!
//! # What is promised
//!
//! * **Ranks are exact.** A rank is one more than the number of entries that stand before, at every
//!   size. Nothing is sampled, rounded or cached.
//! * **One version is one instant.** All answers of one [`Version`] fit together: a member's key,
//!   its rank, the page that it is on and the counts come from the same contents. Several changes
//!   that are published together become visible together.
//! * **Readers never wait.** Taking a version, for a moment ([`Shared::read`]) or to keep
//!   ([`Shared::snapshot`]), and reading it takes a number of steps that no other thread has a say
//!   in: it is plain sequential code on memory that nobody writes. Short reads take part in nothing
//!   but one store and one fence.
//! * **Writers do not stop each other.** A thread that writes to a [`Log`] and is stopped anywhere,
//!   also in the middle of building a version or of handing out results, stops no other writer.
//! * **Operations take effect once, in one order.** They are linearizable; see below.
//! * **A snapshot costs what it alone needs.** However long it is held and however much is written
//!   meanwhile, it keeps at most one copy of the list as it was.
//! * **The shape is canonical.** Two lists of equal contents, tie rule and seed have the same tree,
//!   node by node, whatever happened to them before. A list that was loaded from its entries is as
//!   good as one that grew, no history of changes can wear a list out, and two lists can be
//!   [compared](Version::differences) by the hashes of their nodes.
//!
//! ## What lock-free covers
//!
//! *Reads are wait-free*: bounded by the depth of the tree. *Writes to a log are lock-free*: within
//! a bounded number of steps of all threads together some operation completes, wherever any of the
//! threads are stopped; a submitter that is not stopped itself even completes its own operation
//! within a bounded number of attempts. A waiter gives way to another thread that builds already,
//! for at most 50 microseconds, and then builds itself; so nobody depends on anybody's progress.
//!
//! It does not cover what the crate stands on: the memory allocator may lock, the operating system
//! decides which thread runs, and whoever calls from Python waits for the interpreter. And it is a
//! promise about steps, not about memory: while a thread is stopped *during a short read*, nothing
//! that is replaced anywhere in the process is freed ([`Shared::kept`] counts it). Short reads are
//! therefore straight-line code; everything that may wait takes a snapshot.
//!
//! Writers of *one* list do not run in parallel: there is one order of its versions, and they take
//! turns in extending it, up to 64 operations at a time. Different lists share nothing.
//!
//! ## Linearization points
//!
//! An operation of a log, or a draft, takes effect at the compare-and-swap that publishes the first
//! version with it. The operations of one version take effect there together, in the order of their
//! [positions](Done::position). A read takes effect where it loads the root, and a snapshot where it
//! loads it for the last time. What an operation returns is computed in log order, and is what a
//! single thread would have seen that did all operations in that order.
//!
//! # The order of entries
//!
//! The best entry has rank 1, and no two entries share an ordinal rank. Entries are ordered by
//!
//! 1. their score, column by column, ascending: the *smaller* code ranks better;
//! 2. the list's tie rule, [`Ties`]: the earlier stamp, the later stamp, or neither;
//! 3. the bytes of the member's name, ascending.
//!
//! The list knows nothing of what a score means. Whoever uses it maps each of one to three columns
//! to `u64` codes that keep their order, complemented where more is better. The number of columns is
//! a type parameter: lists of one column pay nothing for it. The other ways of counting equal
//! scores, [`Ranks`], come from the same tree, which counts different scores beside entries.
//!
//! # How it works
//!
//! As in any skip list, every entry has a *height*: it rises above level 0 with a chance of 1 in 16,
//! and from each level to the next with the same chance again. But entries are not linked one by
//! one. All entries from one that rises to the next one that does are stored as one *run*, sorted
//! arrays of 16 entries on average; the runs of one level are listed by the nodes of the level
//! above in the same manner, which makes a tree. Going *right* in a skip list is going to the next
//! slot of a node here, and going *down* is following the slot's link.
//!
//! Each link also stores its *span*, the number of entries below it. Adding up the spans to the
//! left of a descent gives a rank, and descending by spans finds the entry at a rank.
//!
//! The chance is not drawn by a random number generator but read from a keyed hash of the member's
//! name, so a member has the same height wherever and whenever it is entered, and the tree depends
//! on the contents alone (Golovin's *B-skip-list*, 2010). An insertion splits the runs that its
//! height cuts in two, a removal joins those that its height kept apart, and moving a member is one
//! of each.
//!
//! Beside the tree there is a member table, in the same version: every member has a small number,
//! its handle, and the table leads from a name to the handle and from a handle to the key and the
//! name. All of it is made of blocks that are copied before they are changed, so that a version is
//! a root and nothing else.
//!
//! | Module | What it is |
//! |---|---|
//! | `block`, `rows` | blocks of memory, their births, and tables in them |
//! | `tree` | entries in rank order: edit, search, pages, bulk loading, hashes |
//! | `table` | members: names, keys, and the way from a name to its handle |
//! | `version`, `builder` | one instant, and the next one under construction |
//! | `sync` | publishing, reclamation, snapshots, and the log: all the concurrency there is |
//! | `shared`, `log` | the types to use |
//!
//! # Costs
//!
//! For a list of n members, expected over the seed. The heights end at 7, so the logarithm is never
//! more than a handful of nodes. Figures are in the project's docs/performance.md.
//!
//! | Operation | Steps |
//! |---|---|
//! | [`read`](Shared::read), [`snapshot`](Shared::snapshot), [`draft`](Shared::draft) | O(1) |
//! | [`len`](Version::len), [`version`](Version::version), [`distinct`](Version::distinct) | O(1) |
//! | [`get`](Version::get) | O(1) expected, through four levels of a table at ten million |
//! | [`rank`](Version::rank), [`ranks`](Version::ranks), [`select`](Version::select), [`count`](Version::count) | O(log n) |
//! | [`page`](Version::page), [`around`](Version::around) of k entries | O(log n + k) |
//! | [`set`](Draft::set), [`remove`](Draft::remove), [`submit`](Log::submit) | O(log n), and a few KiB are copied |
//! | [`save`](Draft::save), [`restore`](Draft::restore), [`publish`](Draft::publish) | O(1), and what is given up is freed |
//! | [`digest`](Version::digest) | O(n) at first, then O(log n) for each change since |
//! | [`differences`](Version::differences) | O(d log n) for d of them, once both digests are known |
//! | [`outline`](Version::outline) of k pieces | O(log n + k), once the digest is known |
//! | [`from_entries`](Shared::from_entries) | n entries into the table, one sort if they are not in order, and O(n) for the tree |
//!
//! Entries of equal score are told apart by their stamps. Inner nodes have those of the entries that
//! they name; within a run of equal scores an insertion looks up about four in the table.
//!
//! # Memory
//!
//! | Bytes for a member, one column, names of 20 bytes | |
//! |---|---|
//! | its entry in a run: 8-byte score, 4-byte handle, its share of the run's head and rounding | 14.8 |
//! | inner nodes | 2.7 |
//! | its key: score and stamp | 17.7 |
//! | its name: a length byte and the bytes | 22.6 |
//! | from the name to the handle: 5 bytes in a bucket, and the rest | 6.3 |
//! | **sum** | **64.1** |
//!
//! [`Version::memory`] tells it for a list. A list of 50 members takes less than 4 KiB in all, and
//! an empty one about 300 bytes. A handle that is free is given to the next member; until the list
//! is empty again, the table never gets shorter than the most members that it has held.
//!
//! A version that is replaced leaves about as many blocks as were made for the next one. They are
//! freed by whoever publishes, and each publishing thread keeps some to make the next version of.
//!
//! # Why the seed is secret
//!
//! The costs above hold for names that know nothing of the hash. In a leaderboard the names are
//! chosen by the players. Whoever knew the hash function with its key could choose names that never
//! rise, and put them side by side until a run is as long as the board, or names that all rise to
//! the top, or such that share a bucket. Answers would still be right, but slow. So the hash is
//! keyed (SipHash-1-3), and its key, the [`Seed`], should be random, differ from board to board, and
//! never be shown to clients. It has to be stored with the board: with another seed the same
//! contents have another shape.
//!
//! # How it is checked
//!
//! docs/verification.md of the project lists what is run, how, and what each check catches: a plain
//! model of every answer, the canonical shape as an oracle, exhaustive interleavings of the
//! concurrent parts (loom), random schedules of whole lists (shuttle), recorded histories of millions
//! of operations checked for linearizability, fuzzing, and `AddressSanitizer`.
//!
//! # Unsafe code
//!
//! The modules that read and write blocks, and those that decide when one may be freed, cannot do
//! without. Each of them says at its top what for, and every unsafe block says why it is sound. The
//! two facts that most of them lean on: what a published version reaches is not written
//! (`block`), and it is not freed while anybody can reach it (`sync`).

mod block;
mod builder;
mod key;
mod log;
mod rows;
mod shared;
mod sync;
mod table;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
mod tree;
mod version;

pub use key::{Entry, Key, Seed, Standing, Ties};
pub use log::{Done, Log, NameTooLong, Rule};
pub use shared::{
    Change, Conflict, Draft, DuplicateMember, Kept, Read, Savepoint, Shared, Snapshot,
};
pub use tree::{Outline, Page, Part, Piece};
/// How many versions have been published, in the whole process, since the oldest short read began
/// that is still going on; nothing if there is none. A number that keeps growing tells of a thread
/// that was stopped, or waits, in a short read, and that memory piles up.
pub fn oldest_read() -> Option<u64> {
    sync::epoch::oldest_pin()
}

/// The longest name of a member, in bytes.
pub const MAX_NAME: usize = table::MAX_NAME;

/// The most members of a list.
pub const MAX_MEMBERS: u64 = (1 << 31) - 2;

pub use version::{Difference, Memory, Ranks, Version};
