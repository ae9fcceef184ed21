//! The live door of Rankwire: clients subscribe to *views* of boards over WebSocket and see every
//! change, in the words of the Centrifuge client protocol v2 (JSON and Protobuf), so its SDKs work
//! unchanged.
//!
//! # What a view is
//!
//! A view is a question whose answer changes: "the ten best of this board", "where does this member
//! stand". It has a *state*, the newest answer, and no queue. All watchers of a view share the bytes
//! of its state: it is encoded once per form (JSON or Protobuf, whole or as a delta), however many
//! watch. A publication is always the whole state or a delta that leads to it, so a client needs
//! nothing but the newest one.
//!
//! | channel | state |
//! |---|---|
//! | `board:{board}:top:{n}`, n 1 to 100 | `{"version","total","entries":[{"member","score"}]}`; the rank is the position |
//! | `board:{board}:page:{from}-{to}`, up to 100 ranks | the same with `"from"`, the rank of the first entry |
//! | `board:{board}:member:{member}` | `{"version","total","rank","score"}`; rank and score are null while the board has no such member |
//! | `board:{board}:around:{member}:{k}`, k 0 to 50 | as `page`, with up to k neighbours on each side; `from` is null while the member is not there |
//! | `board:{board}:friends` or `…:friends:{label}`, data `{"members":[…]}` of up to 100 | `{"version","total","entries":[{"rank","member","score"}]}`, best first |
//! | `board:{board}:events` | what happened last: `{"event":"deleted"}` |
//!
//! The position of a state (`offset`) is the version of the board plus 1, and the `epoch` is the
//! identity of the board's life. Recovery has the semantics of a cache: whoever has the newest state
//! gets nothing more, whoever has an older one gets the newest. No history is kept.
//!
//! # When a state is published
//!
//! A change is noticed within 10 ms and published at once if the view was quiet for a *tick*;
//! otherwise when the tick is over, melted with what changed meanwhile. A worker delivers as many
//! states a second as its budget allows and not more: views with many watchers tick slower then.
//! Views of one member have a slower tick of their own. A change that concerns only the rank of a
//! member, or the number of members, is published after five personal ticks at most: on a large
//! board nearly every submit changes those.
//!
//! # Threads
//!
//! A hub is one or more *workers*, threads that share nothing but counters and the boards: each has
//! its own sockets, views and times. No worker ever calls Python. One process holds about as many
//! connections as it may have files open; for more, hub processes are clients of the hub that has
//! the boards: see the module `trunk`.
//!
//! # Slow and bad clients
//!
//! Everything that a client can make the server hold is bounded: [`limits`] has the fixed limits with
//! their reasons, [`Config`] those an operator may want to change. A socket that takes no more bytes
//! costs the rest of one frame; its subscriptions are marked and get their newest states later. Its
//! commands are not read meanwhile.
//!
//! An error answers one command, the connection stays. A close code ends the connection; SDKs come
//! back after codes below 3500 and stop for good after the others.
//!
//! | error | meaning |
//! |---|---|
//! | 100 | the storage cannot commit, or the server is shutting down; temporary |
//! | 101, 103 | nobody in particular may not; this caller may not |
//! | 102 | unknown channel or board |
//! | 104 | unknown RPC method |
//! | 105 | already subscribed to this channel |
//! | 106 | more subscriptions than [`Config::max_channels`] |
//! | 107 | bad parameters; the message names the field |
//! | 108 | the command is not available |
//! | 109 | the token has expired; SDKs fetch a new one |
//! | 111 | too many commands or submits, or replies to one message; temporary |
//! | 404 | a call about a board or member that does not exist |
//!
//! | close code | meaning |
//! |---|---|
//! | 1002, 1007 | broken WebSocket frames, text that is not UTF-8 |
//! | 3001 | the server is shutting down |
//! | 3005 | the token has expired and was not refreshed |
//! | 3008 | the client did not take a single byte for [`Config::write_timeout`] |
//! | 3011 | the session has lasted long enough |
//! | 3012 | no pong in time |
//! | 3013 | a flood of commands or pings |
//! | 3500 | no token or key that is good, or one that was revoked |
//! | 3501 | bad request: not `connect` first, not a command, too large, too many |
//! | 3502 | no `connect` within [`Config::connect_timeout`] |
//!
//! A board that is deleted ends its subscriptions with an unsubscribe push of code 2500: the SDK
//! subscribes again and then learns with error 102 that the board is gone, or sees the new one.
//!
//! # Layout
//!
//! [`ws`] and [`centrifuge`] are the two protocols and [`delta`] the format of deltas: pure
//! functions. `worker` is the loop over sockets, `connection` one of them. `view`, `views` and
//! `content` are what is watched, `boards` and `trunk` the two places where states come from
//! (`source`). `channel` and `call` read what clients name. `clock`, `bucket` and `pace` are time and its limits,
//! `inbox` is the way into a worker, `shared`, `stats` and `times` are what workers have in common,
//! and [`Hub`] is the handle to it all.
#![forbid(unsafe_code)]

mod boards;
mod bucket;
mod call;
pub mod centrifuge;
mod channel;
mod clock;
mod config;
mod connection;
mod content;
pub mod delta;
mod hub;
mod inbox;
pub mod limits;
mod pace;
mod shared;
mod source;
mod stats;
mod times;
mod trunk;
mod view;
mod views;
mod worker;
pub mod ws;

pub use channel::ViewKind;
pub use config::Config;
pub use hub::Hub;
pub use stats::{CLOSE_CODES, ERROR_CODES, Stats, ViewStats};
pub use times::{TIME_BOUNDS, Times};
#[cfg(feature = "stepped")]
pub use worker::stepped::Stepped;
pub use ws::handshake::Origins;
