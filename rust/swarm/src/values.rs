//! The values of options: numbers, choices, and where a URL leads.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::Result;

/// Most seconds of a run; no more fit into the log of deliveries.
pub(crate) const LONGEST_RUN: f64 = 900.0;

/// Where a URL leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Address of the listener.
    pub(crate) address: SocketAddr,
    /// Host and port as they were written.
    pub(crate) host: String,
    /// The path.
    pub(crate) path: String,
}

impl Target {
    /// Reads a `ws` or `http` URL.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("ws://")
            .or_else(|| url.strip_prefix("http://"))
            .ok_or("a URL begins with ws:// or http://")?;
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let address = host.to_socket_addrs()?.next().ok_or("the host has no address")?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { address, host: host.to_owned(), path })
    }
}

/// What the driver submits over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// The HTTP API.
    Http,
    /// RPC on the URLs for watchers.
    WebSocket,
}

/// A process that is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Measured {
    /// What it is called in the result.
    pub(crate) name: String,
    /// Its id.
    pub(crate) pid: u32,
}

impl Measured {
    /// Reads `NAME=PID` or `PID`. Without a name the only one is `server`, others are their ids.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Self>> {
        let parts: Vec<&str> = text.split(',').collect();
        let parse = |part: &&str| {
            let unnamed = if parts.len() == 1 { "server" } else { part };
            let (name, pid) = part.split_once('=').unwrap_or((unnamed, part));
            Ok(Self { name: name.to_owned(), pid: pid.parse()? })
        };
        let all: Vec<Self> = parts.iter().map(parse).collect::<Result<_>>()?;
        for (place, one) in all.iter().enumerate() {
            if one.name == "all" || all[..place].iter().any(|other| other.name == one.name) {
                return Err(format!("{:?} is another's name", one.name).into());
            }
        }
        Ok(all)
    }
}

/// A whole number of at least 1.
pub(crate) fn positive(text: &str) -> Result<u64> {
    let number = text.trim().parse().ok().filter(|number| *number > 0);
    Ok(number.ok_or("a number of at least 1 is needed")?)
}

/// A number of at least 0.
pub(crate) fn rate(text: &str) -> Result<f64> {
    let number = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.0);
    Ok(number.ok_or("a number of at least 0 is needed")?)
}

/// Seconds of a run or of a part of it.
pub(crate) fn duration(text: &str) -> Result<f64> {
    let number = rate(text)?;
    if (0.1..=LONGEST_RUN).contains(&number) {
        Ok(number)
    } else {
        Err("0.1 to 900 seconds".into())
    }
}

/// One of several names.
pub(crate) fn choice<T, const N: usize>(text: &str, choices: [(&str, T); N]) -> Result<T> {
    let names = choices.each_ref().map(|(name, _)| *name).join(" or ");
    let found = choices.into_iter().find(|(name, _)| *name == text);
    Ok(found.map(|(_, choice)| choice).ok_or(names)?)
}

/// Several URLs with commas between them.
pub(crate) fn targets(text: &str) -> Result<Vec<Target>> {
    text.split(',').map(Target::parse).collect()
}

/// The target of a connection, in turns; `name` is the option that names them.
pub(crate) fn in_turn<'a>(targets: &'a [Target], number: u64, name: &str) -> Result<&'a Target> {
    let place = number % targets.len().max(1) as u64;
    Ok(targets.get(place as usize).ok_or_else(|| format!("{name} is needed"))?)
}

/// The text itself, or what is in the file that it names after `@`.
pub(crate) fn text_or_file(value: &str) -> Result<String> {
    Ok(match value.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file)?,
        None => value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let target = Target::parse("ws://127.0.0.1:7/x?channel={channel}").unwrap();
        assert_eq!((target.address.port(), &target.path[..]), (7, "/x?channel={channel}"));
        assert_eq!(Target::parse("http://127.0.0.1:7").unwrap().path, "/");
        assert_eq!(Target::parse("ws://127.0.0.1:7?a=b").unwrap().path, "/?a=b");
    }

    #[test]
    fn processes_have_different_names() {
        let told = |text: &str| {
            let all = Measured::parse_all(text).unwrap();
            all.into_iter().map(|one| format!("{}:{}", one.name, one.pid)).collect::<Vec<_>>()
        };
        assert_eq!(told("7"), ["server:7"]);
        assert_eq!(told("7,9"), ["7:7", "9:9"]);
        assert_eq!(told("api=7,hub-1=9"), ["api:7", "hub-1:9"]);
        for bad in ["", "x", "a=1,a=2", "all=3", "a=", "1,"] {
            assert!(Measured::parse_all(bad).is_err(), "{bad}");
        }
    }
}
