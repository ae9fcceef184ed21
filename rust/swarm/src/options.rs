//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use lexopt::prelude::{Long, ValueExt};

use crate::Result;
use crate::mix::{Mix, People};
use crate::protocol::Encoding;

/// How the program is used.
pub(crate) const HELP: &str = "\
Load generator and judge of Rankwire's live views.

  rankwire-swarm watch   watchers that check all they get; latency, bytes, server's processor time
  rankwire-swarm idle    the server's memory and processor time with more and more idle watchers
  rankwire-swarm storm   watchers that all come back at once beside some that stay
  rankwire-swarm submit  durable submits over WebSocket, pipelined
  rankwire-swarm bare    plain send() to many sockets, as a reference
  rankwire-swarm sink    the receivers for bare

Watchers (watch, idle, storm):
  --url URL[,URL...]     where to connect: ws://HOST:PORT/connection/websocket
  --sockets N            watchers in all (1000)
  --processes M          processes that hold them (2)
  --mix SPEC             who watches what, or @FILE (board:global:top:10)
  --members N            users behind {member} in the mix (25000)
  --cohorts N            cohorts behind {cohort} in the mix (250)
  --encoding json|protobuf   (json)
  --delta                ask for deltas
  --token T              token of every watcher
  --tokens FILE          tokens of users 0, 1, ..., one a line
  --ramp N               new sockets a second in all (2000)
  --in-flight N          sockets on their way to their first state, for each process (256)
  --server-pid P         measure this process
  --output text|json     (text)

watch, storm:
  --seconds S            how long to measure (10)
  --http URL             the HTTP API: the driver's, and that of the comparison at the end
  --key K                API key for the HTTP API and for RPC
  --drive RATE           submits a second; 0 as fast as receipts come; absent for none
  --drive-over http|ws   (http)
  --drive-connections N  connections of the driver, each with one submit at a time (1)
  --drive-board NAME     submits change the top of this board all the time (global)
  --submits FILE         submit these instead: JSON lines of board, member, score
  --probe-ms N           an RPC `rank` every so often on a connection of its own
storm:
  --stay K               watchers that stay (1000)
  --at-once N            reconnects on their way at the same time (all)
idle:
  --steps N,N,...        watchers at each step (1000,5000,10000,15000,19000)
  --seconds S            processor time is measured so long at the last step (10)
submit:
  --url --sockets --encoding --token --seconds --output, and
  --in-flight N          submits on their way for each socket (64)
  --board NAME           (bench)
  --members N            members player-0 ... are drawn from so many (25000)
  --server-pid P
bare, sink:
  --port P  --sockets N  --processes M (sink)
  --bytes B              bytes of one send() (400)
  --rounds R             rounds over all sockets (100)
  --turns                bare: measure once for each line on standard input
";

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

/// What the driver submits over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// The HTTP API.
    Http,
    /// RPC on the first of the URLs.
    WebSocket,
}

/// Everything that can be chosen.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Options {
    /// Where watchers connect, in turns.
    pub(crate) urls: Vec<Target>,
    /// Watchers or sockets in all.
    pub(crate) sockets: u64,
    /// Processes that hold them.
    pub(crate) processes: u64,
    /// Number of this process and of all; only for those that hold sockets.
    pub(crate) share: (u64, u64),
    /// Who watches what.
    pub(crate) mix: Mix,
    /// Who they are.
    pub(crate) people: People,
    /// How commands and replies are written.
    pub(crate) encoding: Encoding,
    /// Whether to ask for deltas.
    pub(crate) delta: bool,
    /// Tokens by user; none for callers without one.
    pub(crate) tokens: Vec<String>,
    /// New sockets a second in all.
    pub(crate) ramp: u64,
    /// Sockets, or submits of a socket, on their way at the same time.
    pub(crate) in_flight: Option<u64>,
    /// The server, to be measured.
    pub(crate) server_pid: Option<u32>,
    /// Whether the result is one line.
    pub(crate) json: bool,
    /// How long to measure.
    pub(crate) seconds: f64,
    /// The HTTP API.
    pub(crate) http: Option<Target>,
    /// API key; empty for none.
    pub(crate) key: String,
    /// Submits a second; 0 for as fast as receipts come.
    pub(crate) drive: Option<f64>,
    /// How the driver submits.
    pub(crate) drive_over: Over,
    /// Connections of the driver.
    pub(crate) drive_connections: u64,
    /// The board whose top the driver changes, and that is probed.
    pub(crate) drive_board: String,
    /// File of submits, instead of changing a top.
    pub(crate) submits: Option<PathBuf>,
    /// Milliseconds between two probes.
    pub(crate) probe_ms: Option<u64>,
    /// Watchers that stay in a storm.
    pub(crate) stay: u64,
    /// Reconnects on their way at the same time.
    pub(crate) at_once: Option<u64>,
    /// Watchers at each step of `idle`.
    pub(crate) steps: Vec<u64>,
    /// The board of `submit`.
    pub(crate) board: String,
    /// Port of `bare`.
    pub(crate) port: u16,
    /// Bytes of one send.
    pub(crate) bytes: u64,
    /// Rounds of sends.
    pub(crate) rounds: u64,
    /// Whether `bare` waits for a line before each measurement.
    pub(crate) turns: bool,
    /// Whether a socket that is refused or lost tries again.
    pub(crate) retry: bool,
}

impl Options {
    /// Reads the arguments after the name of the command.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self {
            urls: Vec::new(),
            sockets: 1000,
            processes: 2,
            share: (0, 1),
            mix: Mix::parse("board:global:top:10")?,
            people: People { members: 25_000, cohorts: 250 },
            encoding: Encoding::Json,
            delta: false,
            tokens: Vec::new(),
            ramp: 2000,
            in_flight: None,
            server_pid: None,
            json: false,
            seconds: 10.0,
            http: None,
            key: String::new(),
            drive: None,
            drive_over: Over::Http,
            drive_connections: 1,
            drive_board: "global".to_owned(),
            submits: None,
            probe_ms: None,
            stay: 1000,
            at_once: None,
            steps: vec![1000, 5000, 10_000, 15_000, 19_000],
            board: "bench".to_owned(),
            port: 0,
            bytes: 400,
            rounds: 100,
            turns: false,
            retry: false,
        };
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            let Long(name) = argument else { return Err(argument.unexpected().into()) };
            let name = name.to_owned();
            if !options.take_switch(&name) {
                let value = parser.value()?.string()?;
                options.take(&name, &value).map_err(|error| format!("--{name}: {error}"))?;
            }
        }
        Ok(options)
    }

    fn take_switch(&mut self, name: &str) -> bool {
        match name {
            "delta" => self.delta = true,
            "turns" => self.turns = true,
            "retry" => self.retry = true,
            _ => return false,
        }
        true
    }

    fn take(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "url" => self.urls = value.split(',').map(Target::parse).collect::<Result<_>>()?,
            "sockets" => self.sockets = positive(value)?,
            "processes" => self.processes = positive(value)?,
            "share" => {
                let (number, all) = value.split_once('/').ok_or("NUMBER/ALL is needed")?;
                self.share = (number.parse()?, positive(all)?);
            }
            "mix" => self.mix = Mix::parse(&text_or_file(value)?)?,
            "members" => self.people.members = positive(value)?,
            "cohorts" => self.people.cohorts = positive(value)?,
            "encoding" => {
                self.encoding =
                    choice(value, [("json", Encoding::Json), ("protobuf", Encoding::Protobuf)])?;
            }
            "token" => self.tokens = vec![value.to_owned()],
            "tokens" => {
                self.tokens = std::fs::read_to_string(value)?.lines().map(str::to_owned).collect();
            }
            "ramp" => self.ramp = positive(value)?,
            "in-flight" => self.in_flight = Some(positive(value)?),
            "server-pid" => self.server_pid = Some(value.parse()?),
            "output" => self.json = choice(value, [("text", false), ("json", true)])?,
            "seconds" => self.seconds = duration(value)?,
            "http" => self.http = Some(Target::parse(value)?),
            "key" => value.clone_into(&mut self.key),
            "drive" => self.drive = Some(rate(value)?),
            "drive-over" => {
                self.drive_over = choice(value, [("http", Over::Http), ("ws", Over::WebSocket)])?;
            }
            "drive-connections" => self.drive_connections = positive(value)?,
            "drive-board" => value.clone_into(&mut self.drive_board),
            "submits" => self.submits = Some(value.into()),
            "probe-ms" => self.probe_ms = Some(positive(value)?),
            "stay" => self.stay = positive(value)?,
            "at-once" => self.at_once = Some(positive(value)?),
            "steps" => self.steps = value.split(',').map(positive).collect::<Result<_>>()?,
            "board" => value.clone_into(&mut self.board),
            "port" => self.port = value.parse()?,
            "bytes" => self.bytes = positive(value)?,
            "rounds" => self.rounds = positive(value)?,
            _ => return Err("there is no such option".into()),
        }
        Ok(())
    }

    /// The first URL.
    pub(crate) fn url(&self) -> Result<&Target> {
        Ok(self.urls.first().ok_or("--url is needed")?)
    }

    /// The token of a user; empty if there are none.
    pub(crate) fn token(&self, user: u64) -> &str {
        let count = self.tokens.len().max(1) as u64;
        self.tokens.get((user % count) as usize).map_or("", String::as_str)
    }
}

impl Target {
    /// Reads a `ws` or `http` URL.
    fn parse(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("ws://")
            .or_else(|| url.strip_prefix("http://"))
            .ok_or("a URL begins with ws:// or http://")?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let address = host.to_socket_addrs()?.next().ok_or("the host has no address")?;
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { address, host: host.to_owned(), path: path.to_owned() })
    }
}

fn positive(text: &str) -> Result<u64> {
    let number = text.trim().parse().ok().filter(|number| *number > 0);
    Ok(number.ok_or("a number of at least 1 is needed")?)
}

fn rate(text: &str) -> Result<f64> {
    let number = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.0);
    Ok(number.ok_or("a number of at least 0 is needed")?)
}

/// Seconds; no more than fit into the log of deliveries.
fn duration(text: &str) -> Result<f64> {
    let number = rate(text)?;
    if (0.1..=900.0).contains(&number) { Ok(number) } else { Err("0.1 to 900 seconds".into()) }
}

fn choice<T, const N: usize>(text: &str, choices: [(&str, T); N]) -> Result<T> {
    let names = choices.each_ref().map(|(name, _)| *name).join(" or ");
    let found = choices.into_iter().find(|(name, _)| *name == text);
    Ok(found.map(|(_, choice)| choice).ok_or(names)?)
}

fn text_or_file(value: &str) -> Result<String> {
    Ok(match value.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file)?,
        None => value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options> {
        Options::parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_read() {
        let options = parse(
            "--url ws://127.0.0.1:1/a,ws://127.0.0.1:2/b --encoding protobuf --delta --drive 0 \
             --token x --steps 1,2 --share 1/3 --drive-over ws",
        );
        let options = options.unwrap();
        assert_eq!(options.urls.len(), 2);
        assert_eq!(options.urls[1].path, "/b");
        assert_eq!(options.urls[1].address.port(), 2);
        assert_eq!((options.encoding, options.delta), (Encoding::Protobuf, true));
        assert_eq!((options.drive, options.drive_over), (Some(0.0), Over::WebSocket));
        assert_eq!((options.token(7), options.share), ("x", (1, 3)));
        assert_eq!(options.steps, [1, 2]);
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (text, name) in [
            ("--sockets 0", "--sockets"),
            ("--encoding xml", "--encoding"),
            ("--seconds 1000", "--seconds"),
            ("--drive -1", "--drive"),
            ("--url http:/x", "--url"),
            ("--nothing 1", "--nothing"),
            ("--share 1", "--share"),
        ] {
            assert!(parse(text).unwrap_err().to_string().starts_with(name), "{text}");
        }
        assert!(parse("here").is_err());
        assert!(parse("--sockets").is_err());
    }
}
