//! Tests of the codec: by vectors, by tables of what is wrong, and by random conversations.

use super::{frame, handshake};

mod feed;
mod frames;
mod messages;
mod requests;
