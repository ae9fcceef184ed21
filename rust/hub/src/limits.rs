//! Every fixed limit of the hub, in one place, with the reason for its size.

/// Largest message of a client in bytes. The first frame of a client with all its subscriptions
/// has some 36 KB at most.
pub const MESSAGE_BYTES: usize = 64 * 1024;

/// Largest handshake request in bytes, headers included. Cookies of browsers stay below it.
pub const REQUEST_BYTES: usize = 8 * 1024;

/// Most subscriptions of one connection: each is one bit of its mailbox.
pub const CHANNELS: usize = 128;

/// Most rows of a `top` view or RPC.
pub const ROWS: usize = 100;

/// Replies to the commands of one frame are sent together up to about this many bytes, so that a
/// frame full of commands cannot make the server hold all of its replies.
pub const REPLY_BYTES: usize = 32 * 1024;

/// How many bytes a connection collects before it writes them to the socket. One message, a reply
/// of [`REPLY_BYTES`] or a publication, may come on top.
pub const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// What a connection reads at once. Commands are small, and every connection has this buffer.
pub const READ_BUFFER_BYTES: usize = 4 * 1024;

/// Connections beyond the limit that are told so with a 503 at the same time; more are closed
/// without a word.
pub const REFUSALS: usize = 256;

/// How long a closed connection waits for its client to take the close code, in seconds.
pub const LINGER_SECS: u64 = 2;
