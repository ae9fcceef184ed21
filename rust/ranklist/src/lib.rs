//! A versioned, canonical, ranked skip list: exact ranks on versions that never change.
//!
//! A [`List`] keeps members in the order of their scores and answers by member, by rank and by
//! score: who is in place 1000, which place is Ada's, who stands around her, how many have at least
//! so many points. The steps that an answer takes grow with the logarithm of the list's size.
//! [`Shared`] publishes a list to any number of readers while a writer prepares the next version.
//!
//! # Example
//!
//! ```
//! use rankwire_ranklist::{Key, List, Ties};
//!
//! // The smaller score code ranks better, so a board of points stores their complement.
//! let key = |points: u64, stamp| Key { score: !points, stamp };
//! let seed = [7; 16]; // Draw a random one for each board, and keep it secret.
//!
//! let mut board = List::new(Ties::First, seed);
//! board.set("ada", key(300, 1));
//! board.set("bob", key(500, 2));
//! board.set("cyd", key(300, 3));
//!
//! assert_eq!(board.rank("bob"), Some(1));
//! assert_eq!(board.rank("ada"), Some(2)); // Has as many points as cyd, but had them first.
//! assert_eq!(board.count(!500..=!300), 3);
//!
//! let before = board.clone(); // A snapshot, in O(1).
//! board.set("cyd", key(900, 4));
//!
//! let names: Vec<&str> = board.page(0, 2).map(|entry| entry.member).collect();
//! assert_eq!(names, ["cyd", "bob"]);
//! assert_eq!(before.rank("cyd"), Some(3));
//! assert_eq!(board.version(), before.version() + 1);
//! ```
//!
//! # What is promised
//!
//! * **Ranks are exact.** A rank is one more than the number of entries that stand before, at every
//!   size. Nothing is sampled, rounded or cached.
//! * **One version is one instant.** All answers of one [`List`] value fit together: a member's
//!   rank, the page that it is on and the counts come from the same contents. Several changes that
//!   are published together become visible together.
//! * **Readers never wait.** [`Shared::load`] takes no lock, and reading the version that it
//!   returns is plain sequential code on memory that nobody writes. A reader can neither be held up
//!   by a writer nor hold one up, however long it keeps its version.
//! * **Snapshots take O(1).** Cloning a list copies a few pointers. Two clones share all that they
//!   have in common; changing one copies the nodes on the way to the change and nothing else.
//! * **The shape is canonical.** Two lists of equal contents, tie rule and seed have the same tree,
//!   node by node, whatever happened to them before. A list that was loaded from its entries is as
//!   good as one that grew, and no history of changes can wear a list out.
//!
//! # The order of entries
//!
//! The best entry has rank 1, and no two entries share a rank. Entries are ordered by
//!
//! 1. their score code, ascending: the *smaller* code ranks better;
//! 2. the list's tie rule, [`Ties`]: the earlier stamp, the later stamp, or neither;
//! 3. the bytes of the member's name, ascending.
//!
//! The list knows nothing of what a score means. Whoever uses it maps scores to `u64` codes that
//! keep their order, complemented where more is better.
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
//! on the contents alone. An insertion splits the runs that its height cuts in two, a removal joins
//! those that its height kept apart, and moving a member is one of each.
//!
//! Nodes are counted references. A writer changes a node in place if its list is the only one that
//! can reach it, and makes a copy otherwise. So the first change after a clone copies one node on
//! each level, and changes that follow share those copies.
//!
//! Beside the tree there is a member table: every member has a small number, its handle, and the
//! table leads from a name to the handle and from a handle to the key and the name. It is made of
//! persistent tries, and is copied on write like the tree.
//!
//! # Costs
//!
//! For a list of n members, expected over the seed. The heights end at 7 and so do the levels of
//! the member table, so the logarithm is never more than a handful of nodes.
//!
//! | Operation | Steps |
//! |---|---|
//! | [`clone`](List::clone), [`len`](List::len), [`version`](List::version) | O(1) |
//! | [`get`](List::get), [`entry`](List::entry), [`rank`](List::rank) | O(log n) |
//! | [`select`](List::select), [`count`](List::count) | O(log n) |
//! | [`page`](List::page), [`around`](List::around) of k entries | O(log n), and per entry one look-up of the key and one of the name |
//! | [`set`](List::set), [`remove`](List::remove) | O(log n) |
//! | [`from_entries`](List::from_entries) | n entries into the member table, one sort if they are not in order, and O(n) for the tree |
//! | [`Shared::load`] | O(1) |
//! | [`Shared::publish`] | O(1), and the memory that only the old version used is freed |
//!
//! Entries of equal score are told apart by their stamps, which are in the member table: where many
//! scores are equal, a step of the search costs a look-up there.
//!
//! # Memory
//!
//! An entry of a run takes 12 bytes, an 8-byte score and a 4-byte handle. The member table adds 32
//! bytes for the key and the link to the name, about as much again for the way from the name to the
//! handle, and the name itself with 16 bytes of reference counts. A handle that is free again is
//! given to the next member, but the table never gets shorter than the most members it has held.
//!
//! A snapshot costs nothing until the list moves on. Then it keeps what was replaced since.
//!
//! # Why the seed is secret
//!
//! The costs above hold for names that know nothing of the hash. In a leaderboard the names are
//! chosen by the players. Whoever knew the hash function with its key could choose names that never
//! rise, and put them side by side until a run is as long as the board, or names that all rise to
//! the top, or such that collide in the member table. Answers would still be right, but slow. So
//! the hash is keyed (SipHash-1-3), and its key, the [`Seed`], should be random, differ from board
//! to board, and never be shown to clients. It has to be stored with the board: with another seed
//! the same contents have another shape.
//!
//! # What is not promised yet
//!
//! There may be one writer at a time, and seeing to that is up to the caller. Publishing swaps one
//! pointer. That keeps readers apart from the writer, but it does not let two writers work at once:
//! of two that start from the same version, one would undo the other's changes. Writers that share
//! the work without locks are planned on top of the same versions.

#![forbid(unsafe_code)]

mod bulk;
mod cursor;
mod key;
mod list;
mod members;
mod node;
mod radix;
mod shared;
#[cfg(test)]
mod tests;
mod trie;

pub use cursor::Page;
pub use key::{Entry, Key, Seed, Ties};
pub use list::{DuplicateMember, List};
pub use shared::Shared;
