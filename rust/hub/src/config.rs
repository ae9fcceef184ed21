//! What an operator may choose about the hub.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::limits;
use crate::ws::handshake::Origins;

/// Configuration of a [`Hub`](crate::Hub).
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one, see [`Hub::address`](crate::Hub::address).
    pub address: SocketAddr,
    /// Workers: threads with connections of their own; at least 1.
    pub threads: usize,
    /// Shortest time between two publications of one view.
    pub tick: Duration,
    /// Time between two looks at a view of one member.
    pub personal_tick: Duration,
    /// Deliveries a second of each worker; beyond, views are published less often.
    pub deliveries_per_second: u32,
    /// Most connections at a time, handshakes included; more are refused with HTTP 503.
    pub max_connections: u32,
    /// Most subscriptions of one connection; at most [`limits::CHANNELS`].
    pub max_channels: usize,
    /// Which pages of the web may connect.
    pub origins: Origins,
    /// New connections a second; more wait in the kernel's queue.
    pub accepts_per_second: u32,
    /// Commands a second of one connection, with bursts of three times as many.
    pub commands_per_second: u32,
    /// How long a client may take for its handshake request.
    pub handshake_timeout: Duration,
    /// How long a client may take from the handshake to its `connect` command.
    pub connect_timeout: Duration,
    /// Time between two pings of the server.
    pub ping_interval: Duration,
    /// How long a client may take to answer a ping; less than the interval.
    pub pong_timeout: Duration,
    /// How long a client may take no byte of what is sent to it.
    pub write_timeout: Duration,
    /// How long a session may last before its client is told to come back, give or take a tenth;
    /// zero for as long as it likes.
    pub session_time: Duration,
    /// How long a client whose session has lasted long enough may wait for the answers to its submits.
    pub answer_timeout: Duration,
    /// Whether other processes take connections from the same listener: who has no room leaves them
    /// to the others.
    pub shares_listener: bool,
    /// For tests of the codec: the path `/echo` sends messages of up to so many bytes back.
    pub echo_bytes: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 7701)),
            threads: 1,
            tick: Duration::from_millis(100),
            personal_tick: Duration::from_secs(1),
            deliveries_per_second: 100_000,
            max_connections: 19_000,
            max_channels: limits::CHANNELS,
            origins: Origins::SameHost,
            accepts_per_second: 4000,
            commands_per_second: 20,
            handshake_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(8),
            write_timeout: Duration::from_secs(15),
            session_time: Duration::ZERO,
            answer_timeout: Duration::from_secs(10),
            shares_listener: false,
            echo_bytes: None,
        }
    }
}

impl Config {
    /// Refuses what the hub could not run with.
    pub(crate) fn check(&self) -> io::Result<()> {
        let problem = if self.threads == 0 {
            "threads must be at least 1"
        } else if self.tick.is_zero() {
            "tick must be longer than 0"
        } else if self.personal_tick.is_zero() {
            "personal_tick must be longer than 0"
        } else if self.deliveries_per_second == 0 {
            "deliveries_per_second must be at least 1"
        } else if self.max_connections == 0 {
            "max_connections must be at least 1"
        } else if self.max_channels > limits::CHANNELS {
            "max_channels must be at most 128"
        } else if self.accepts_per_second == 0 {
            "accepts_per_second must be at least 1"
        } else if self.commands_per_second == 0 {
            "commands_per_second must be at least 1"
        } else if self.pong_timeout.is_zero() || self.pong_timeout >= self.ping_interval {
            "pong_timeout must be longer than 0 and shorter than ping_interval"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
    }

    /// The ping interval as clients are told it: whole seconds, rounded up.
    pub(crate) fn ping_seconds(&self) -> u32 {
        self.ping_interval.as_millis().div_ceil(1000) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_bad_values_are_named() {
        assert!(Config::default().check().is_ok());
        let zero = Duration::ZERO;
        let bad = [
            ("threads", Config { threads: 0, ..Config::default() }),
            ("tick", Config { tick: zero, ..Config::default() }),
            ("personal_tick", Config { personal_tick: zero, ..Config::default() }),
            ("deliveries_per_second", Config { deliveries_per_second: 0, ..Config::default() }),
            ("max_connections", Config { max_connections: 0, ..Config::default() }),
            ("max_channels", Config { max_channels: 129, ..Config::default() }),
            ("accepts_per_second", Config { accepts_per_second: 0, ..Config::default() }),
            ("commands_per_second", Config { commands_per_second: 0, ..Config::default() }),
            ("pong_timeout", Config { pong_timeout: Duration::from_secs(25), ..Config::default() }),
        ];
        for (field, config) in bad {
            let error = config.check().unwrap_err();
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }

    #[test]
    fn clients_are_told_whole_seconds() {
        for (millis, seconds) in [(1, 1), (1000, 1), (1001, 2), (25_000, 25)] {
            let ping_interval = Duration::from_millis(millis);
            assert_eq!(Config { ping_interval, ..Config::default() }.ping_seconds(), seconds);
        }
    }
}
