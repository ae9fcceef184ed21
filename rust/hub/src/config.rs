//! What an operator may choose about the hub.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::limits;

/// Configuration of a [`Hub`](crate::Hub).
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one, see [`Hub::address`](crate::Hub::address).
    pub address: SocketAddr,
    /// Threads of the hub's runtime; at least 1.
    pub threads: usize,
    /// Shortest time between two publications of one view.
    pub tick: Duration,
    /// Most connections at a time, handshakes included; more are refused with HTTP 503.
    pub max_connections: u32,
    /// Most subscriptions of one connection; at most [`limits::CHANNELS`].
    pub max_channels: usize,
    /// How long a client may take for its handshake request.
    pub handshake_timeout: Duration,
    /// How long a client may take from the handshake to its `connect` command.
    pub connect_timeout: Duration,
    /// Time between two pings of the server. The first one comes after a random half to whole
    /// interval, so that clients that connected together are not pinged together.
    pub ping_interval: Duration,
    /// How long a client may take to answer a ping; less than the interval.
    pub pong_timeout: Duration,
    /// How long a client may take no byte of what is sent to it.
    pub write_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 7701)),
            threads: 2,
            tick: Duration::from_millis(100),
            max_connections: 10_000,
            max_channels: limits::CHANNELS,
            handshake_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(8),
            write_timeout: Duration::from_secs(15),
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
        } else if self.max_connections == 0 {
            "max_connections must be at least 1"
        } else if self.max_channels > limits::CHANNELS {
            "max_channels must be at most 128"
        } else if self.pong_timeout >= self.ping_interval {
            "pong_timeout must be shorter than ping_interval"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
    }

    /// The ping interval as clients are told it: whole seconds, rounded up.
    pub(crate) fn ping_seconds(&self) -> u64 {
        self.ping_interval.as_secs() + u64::from(self.ping_interval.subsec_nanos() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_bad_values_are_named() {
        assert!(Config::default().check().is_ok());
        let bad = [
            ("threads", Config { threads: 0, ..Config::default() }),
            ("tick", Config { tick: Duration::ZERO, ..Config::default() }),
            ("max_connections", Config { max_connections: 0, ..Config::default() }),
            ("max_channels", Config { max_channels: 129, ..Config::default() }),
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
