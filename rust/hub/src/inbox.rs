//! What other threads have for a worker.
//!
//! The only way into a worker but its sockets. Nothing in here can pile up without bound: sockets are
//! limited by the connections that the hub takes, replies by the submits that the engine takes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mio::Waker;
use mio::net::TcpStream;
use rankwire_engine::{Door, Reply};

use crate::connection::Socket;

/// One thing that another thread has for a worker.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A connection that was accepted for it; `full` when it is to be refused.
    Accepted { socket: TcpStream, full: bool },
    /// A hub process that wants to be served as a client: see the module `trunk`.
    Trunk(Socket),
    /// What became of submits.
    Replies(Vec<Reply>),
    /// End all connections within this time, then the worker.
    Drain(Duration),
}

/// A worker's letter box.
#[derive(Debug)]
pub(crate) struct Inbox {
    mail: Mutex<Vec<Mail>>,
    waker: Waker,
}

impl Inbox {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { mail: Mutex::default(), waker }
    }

    /// Puts something in, and wakes the worker if it has not been woken for something else.
    pub(crate) fn send(&self, mail: Mail) {
        let mut box_ = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = box_.is_empty();
        box_.push(mail);
        drop(box_);
        if is_first {
            // Fails only when the process is out of kernel memory; the worker looks at its box
            // whenever its clock ticks, too.
            let _ = self.waker.wake();
        }
    }

    /// Exchanges what is in the box for an empty `into`.
    pub(crate) fn take(&self, into: &mut Vec<Mail>) {
        let mut box_ = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *box_, into);
    }
}

impl Door for Inbox {
    fn deliver(&self, replies: Vec<Reply>) {
        self.send(Mail::Replies(replies));
    }
}
