//! Boards, policies, records and the journal codec of Rankwire.
//!
//! The engine decides what a submit does and remembers the result; it does no I/O, starts no
//! thread and knows no clock but the one it is told. Whoever embeds it owns one *committer*: the
//! loop that turns queued commands into durable, published versions.
//!
//! ```text
//! enqueue ──► queue ──► seal ──► bytes of one batch ──► storage commits ──► commit ──► replies
//!  (any thread)         (one committer: applies to drafts)                  (publishes)
//! ```
//!
//! * [`Engine::enqueue`] takes a [`Command`] and returns a ticket; [`Engine::send`] takes many, of
//!   a [`Door`] to which the replies go. Neither ever waits.
//! * [`Engine::seal`] applies everything queued to *drafts*: private next versions of the boards
//!   concerned. Readers see nothing of it.
//! * The committer writes the [`Sealed`] batch's bytes to the journal and then calls
//!   [`Engine::commit`], which publishes the drafts and hands out the replies, or
//!   [`Engine::abort`], which throws them away. So nothing is ever visible that is not durable,
//!   and a failed commit leaves no trace.
//! * Readers take [`Engine::board`] and [`Board::load`]: no lock, no waiting, one immutable
//!   version; [`Board::snapshot`] gives one to keep. [`answer`] turns versions into the JSON that
//!   every door of the server sends.
//! * [`Recovery`] builds an engine from checkpoint rows. [`Engine::apply`] takes in the batches that
//!   are newer, and later those of other nodes; [`Engine::checkpoint`] takes what changed since the
//!   last one.
//! * A [`Comparison`] finds the members that two engines of different regions do not agree on.
//! * A write with a [`WriteKey`] counts once, however often it is sent: its [`Answer`] is stored with
//!   the batch, and [`Engine::again`] leaves out what the storage has answered before.
//!
//! * Of several regions, each with nodes and a storage of its own, one is the primary:
//!   [`Engine::set_primary`] says which writes are taken here. [`Engine::apply`] takes in the batches
//!   of other regions as it does those of other nodes, and a [`Repair`] sets right what differs all
//!   the same.
//!
//! The layers below, from the bottom: [`Score`] codes, stamps, [`policy`](Policy), the [`record`]
//! codec. Each is a pure function with its own tests.
#![forbid(unsafe_code)]

pub mod answer;
mod apply;
mod board;
mod checkpoint;
mod clock;
mod committer;
mod compare;
mod config;
mod door;
mod draft;
mod engine;
mod error;
mod key;
pub mod limits;
pub mod local;
mod names;
mod policy;
mod queue;
pub mod record;
mod recovery;
mod region;
mod repair;
mod reply;
mod score;
mod stats;

pub use apply::{Applied, Batch, Stop};
pub use board::Board;
pub use checkpoint::{Checkpoint, CheckpointBoard, CheckpointRow};
pub use clock::{Stamp, unix_millis};
pub use committer::Sealed;
pub use compare::{Comparison, Progress, States};
pub use config::{BoardConfig, Policy, TieBreak, check_board_name, check_member};
pub use door::Door;
pub use engine::{Contents, Engine};
pub use error::Error;
pub use key::{Answer, Hash, Repeat, WriteKey};
pub use limits::Limits;
pub use names::{Names, names_of};
pub use queue::{Command, Submit, Ticket, Write};
pub use rankwire_ranklist::{Entry, Key, Read, Snapshot, Version};
pub use recovery::{BoardRow, MemberRow, Recovery};
pub use region::{RegionId, region_id};
pub use repair::{Repair, Repaired, State};
pub use reply::{BatchReceipt, Outcome, Receipt, Reply};
pub use score::{Order, Score, ScoreType};
pub use stats::Stats;
