//! Every fixed limit of the hub, in one place, with the reason for its size.

/// Largest message of a client in bytes. The first frame of a client with all its subscriptions has
/// some 20 KB at most.
pub const MESSAGE_BYTES: usize = 32 * 1024;

/// Largest message of a client before it has said who it is: `connect` with the longest token, and
/// the subscriptions that some SDKs put into the same frame.
pub const FIRST_MESSAGE_BYTES: usize = 16 * 1024;

/// Largest message of a hub process that is a client of this hub: it subscribes for thousands.
pub const TRUNK_MESSAGE_BYTES: usize = 1024 * 1024;

/// Most pieces of one message.
pub const FRAGMENTS: u32 = 64;

/// Most commands of one message.
pub const COMMANDS: usize = 64;

/// Most subscriptions of one connection.
pub const CHANNELS: usize = 128;

/// Longest channel name in bytes: a board name, a member id and the words around them.
pub const CHANNEL_BYTES: usize = 224;

/// Most rows of a `top`, `page` or `friends` view.
pub const ROWS: usize = 100;

/// Most neighbours on each side of an `around` view.
pub const RADIUS: usize = 50;

/// Most rows of a `top` RPC, as over HTTP.
pub const RPC_ROWS: usize = 1000;

/// Most neighbours on each side of an `around` RPC, as over HTTP.
pub const RPC_RADIUS: usize = 500;

/// Replies to one message are at most about this long; commands beyond are refused with error 111,
/// so that one message cannot make the server hold a pile of replies. One reply may come on top.
pub const REPLY_BYTES: usize = 64 * 1024;

/// Replies that wait for a socket that takes no more bytes; a client that lets more pile up is slow.
pub const WAITING_BYTES: usize = 256 * 1024;

/// The same for an API key: the answers to all submits that it may have in flight, each with the
/// longest names.
pub const KEY_WAITING_BYTES: usize = 2 * 1024 * 1024;

/// Calls of one connection that may wait for their answer: for their commit, or for another hub.
pub const IN_FLIGHT: u32 = 64;

/// The same for an API key, whose owner runs game servers.
pub const KEY_IN_FLIGHT: u32 = 4096;

/// What a worker reads from a socket at once.
pub const READ_BYTES: usize = 64 * 1024;

/// Reads from one socket before others get their turn.
pub const READS: usize = 4;

/// Deliveries between two looks at sockets that have something to say: a millisecond or so.
pub const SLICE: usize = 256;

/// Connections accepted between two looks at the others.
pub const ACCEPTS: usize = 64;

/// Connections beyond the limit that are told so at the same time; more are closed without a word.
pub const REFUSALS: usize = 256;

/// Connections that wait in the kernel to be accepted.
pub const BACKLOG: i32 = 4096;

/// Connections closed in a second of a drain, at least: so few that come back disturb nobody.
pub const DRAIN_PER_SECOND: u32 = 200;

/// How long a closed connection waits for its client to take the close code, in seconds.
pub const LINGER_SECS: u64 = 2;

/// Commands in a row that are refused for their rate before the connection is closed.
pub const STRIKES: u8 = 100;

/// Bytes on their way to the other side of a trunk; when it lets more pile up it is taken for dead.
pub const TRUNK_BYTES: usize = 64 * 1024 * 1024;
