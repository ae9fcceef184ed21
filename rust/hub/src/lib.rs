//! The live door of Rankwire: clients subscribe to *views* of boards over WebSocket and see every
//! change, in the words of the Centrifuge client protocol v2 (JSON), so its SDKs work unchanged.
//!
//! # What a view is
//!
//! A view is a question whose answer changes: "the ten best of this board", "the standing of this
//! member". It has a *state*, the newest answer, and no queue. All watchers of a view share the
//! bytes of its state: it is encoded once per change, however many watch.
//!
//! | channel | state |
//! |---|---|
//! | `board:{board}:top:{n}`, n from 1 to 100 | `{"board","version","total","entries":[{"member","score"}]}`; the rank is the position |
//! | `board:{board}:member:{member}` | `{"board","version","member","score","rank","total"}`; score and rank are null while the board has no such member |
//!
//! The first publication after the reply to `subscribe` is the state of that moment; then one
//! comes whenever the state has changed. A publication is always the whole state, so a client
//! needs nothing but the newest one.
//!
//! # Conflation and slow watchers
//!
//! A *tick* (100 ms by default) looks for boards that have a new version and encodes the views
//! whose answer is another than before. A change of `version` alone is not published. Changes
//! between two ticks melt into one publication.
//!
//! A publication marks one bit per watcher and wakes it; the watcher then sends the newest state.
//! While a socket takes no more bytes, its bits stay set and its states are not collected: it
//! later gets fewer, newer ones. A slow watcher costs at most one frame and a write buffer of
//! [`limits::WRITE_BUFFER_BYTES`].
//!
//! # Commands
//!
//! `connect` comes first; tokens are not looked at yet, everybody may read. `subscribe`,
//! `unsubscribe`, `rpc` and `ping`/pong follow, several per frame if the client likes, answered
//! strictly in order. `send` is ignored. What the protocol knows and the hub does not offer is
//! answered with error 108. The RPC methods `rank` and `top` are described at their module and
//! answer the same JSON as the HTTP API.
//!
//! # Errors and close codes
//!
//! An error answers one command, the connection stays. A close code ends the connection; SDKs come
//! back after codes below 3500 and stop for good after the others.
//!
//! | error | meaning |
//! |---|---|
//! | 102 | unknown channel or board |
//! | 104 | unknown RPC method |
//! | 105 | already subscribed to this channel |
//! | 106 | more subscriptions than [`Config::max_channels`] |
//! | 107 | bad RPC parameters; the message names the field |
//! | 108 | the command is not available |
//! | 404 | RPC about a board or member that does not exist |
//!
//! | close code | meaning |
//! |---|---|
//! | 1002, 1007 | broken WebSocket frames, text that is not UTF-8 |
//! | 3001 | the server is shutting down |
//! | 3008 | the client did not take a single byte for [`Config::write_timeout`] |
//! | 3012 | no pong in time |
//! | 3501 | bad request: not `connect` first, not a command, too large, binary |
//! | 3502 | no `connect` within [`Config::connect_timeout`] |
//!
//! A board that is deleted ends its subscriptions with an unsubscribe push of code 2500: the SDK
//! subscribes again and then learns with error 102 that the board is gone, or sees the new one.
//!
//! # Limits
//!
//! Everything a client can make the server hold is bounded: connections, subscriptions, the size
//! of requests and messages, and the time a client may take for each step. [`Config`] has those an
//! operator may want to change, [`limits`] the others with their reasons. There is no queue.
//!
//! # Layout
//!
//! From the socket inwards: `server` accepts and refuses, `handshake` makes a TCP connection a
//! WebSocket or says why not, `wire` counts bytes, `connection` is one socket's task with its
//! timer, `session` executes its commands without any I/O, `protocol` has the words for them,
//! `rpc` and `channel` read what clients name. `views` holds the registry of views, `state` encodes
//! what they show, `ticker` drives them, and `mailbox` tells connections of it.
//!
//! The hub runs on a runtime and threads of its own. `hub` is the handle to it, `stop` its signal to
//! every task, `shared` what all connections use.
#![forbid(unsafe_code)]

mod channel;
mod config;
mod connection;
mod handshake;
mod hub;
pub mod limits;
mod mailbox;
mod protocol;
mod rpc;
mod server;
mod session;
mod shared;
mod state;
mod stats;
mod stop;
mod ticker;
mod views;
mod wire;

pub use config::Config;
pub use hub::Hub;
pub use stats::Stats;
