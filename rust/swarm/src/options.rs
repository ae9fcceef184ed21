//! The command line.

use std::path::PathBuf;

use lexopt::prelude::{Long, ValueExt};

use crate::Result;
use crate::mix::{Mix, People};
use crate::plan::{At, Cut, Phase, Slow};
use crate::protocol::Encoding;
use crate::values::{
    Measured, Over, Target, choice, duration, in_turn, positive, rate, targets, text_or_file,
};

/// How deliveries are traced to the submits that made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimedBy {
    /// By the version in the receipt and in the state.
    Version,
    /// By the scores that a state shows as the first.
    Content,
}

const ENCODINGS: [(&str, Encoding); 3] =
    [("json", Encoding::Json), ("protobuf", Encoding::Protobuf), ("plain", Encoding::Plain)];

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
    /// Whether a state follows a subscription at once.
    pub(crate) first_state: bool,
    /// The server's processes, to be measured.
    pub(crate) servers: Vec<Measured>,
    /// Whether the result is one line.
    pub(crate) json: bool,
    /// How long to measure.
    pub(crate) seconds: f64,
    /// The HTTP API; empty for none.
    pub(crate) https: Vec<Target>,
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
    /// Submits a second over WebSocket beside those.
    pub(crate) drive_ws: Option<f64>,
    /// Connections for them.
    pub(crate) drive_ws_connections: u64,
    /// File of them.
    pub(crate) submits_ws: Option<PathBuf>,
    /// Reads a second.
    pub(crate) reads: Option<f64>,
    /// Connections of the reads.
    pub(crate) reads_connections: u64,
    /// How deliveries are traced to submits.
    pub(crate) timed_by: TimedBy,
    /// Seconds after which a delivery is late.
    pub(crate) stale: f64,
    /// The phases; empty for one of `seconds`.
    pub(crate) phases: Vec<Phase>,
    /// Sockets a minute that close and come back; 0 for none.
    pub(crate) churn: f64,
    /// Sockets that stop reading.
    pub(crate) slow: Option<Slow>,
    /// Sockets that all come back at once.
    pub(crate) cut: Option<Cut>,
    /// Requests at the beginning of phases.
    pub(crate) at: Vec<At>,
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
            first_state: true,
            servers: Vec::new(),
            json: false,
            seconds: 10.0,
            https: Vec::new(),
            key: String::new(),
            drive: None,
            drive_over: Over::Http,
            drive_connections: 1,
            drive_board: "global".to_owned(),
            submits: None,
            drive_ws: None,
            drive_ws_connections: 1,
            submits_ws: None,
            reads: None,
            reads_connections: 64,
            timed_by: TimedBy::Version,
            stale: 5.0,
            phases: Vec::new(),
            churn: 0.0,
            slow: None,
            cut: None,
            at: Vec::new(),
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
            "url" => self.urls = targets(value)?,
            "sockets" => self.sockets = positive(value)?,
            "processes" => self.processes = positive(value)?,
            "share" => {
                let (number, all) = value.split_once('/').ok_or("NUMBER/ALL is needed")?;
                self.share = (number.parse()?, positive(all)?);
            }
            "mix" => self.mix = Mix::parse(&text_or_file(value)?)?,
            "members" => self.people.members = positive(value)?,
            "cohorts" => self.people.cohorts = positive(value)?,
            "encoding" => self.encoding = choice(value, ENCODINGS)?,
            "first-state" => self.first_state = choice(value, [("sent", true), ("none", false)])?,
            "token" => self.tokens = vec![value.to_owned()],
            "tokens" => {
                self.tokens = std::fs::read_to_string(value)?.lines().map(str::to_owned).collect();
            }
            "ramp" => self.ramp = positive(value)?,
            "in-flight" => self.in_flight = Some(positive(value)?),
            "server-pid" => self.servers = Measured::parse_all(value)?,
            "output" => self.json = choice(value, [("text", false), ("json", true)])?,
            "seconds" => self.seconds = duration(value)?,
            "http" => self.https = targets(value)?,
            "key" => value.clone_into(&mut self.key),
            "stay" => self.stay = positive(value)?,
            "at-once" => self.at_once = Some(positive(value)?),
            "steps" => self.steps = value.split(',').map(positive).collect::<Result<_>>()?,
            "board" => value.clone_into(&mut self.board),
            "port" => self.port = value.parse()?,
            "bytes" => self.bytes = positive(value)?,
            "rounds" => self.rounds = positive(value)?,
            _ => self.take_load(name, value)?,
        }
        Ok(())
    }

    /// What changes the views and what disturbs their watchers.
    fn take_load(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "drive" => self.drive = Some(rate(value)?),
            "drive-over" => {
                self.drive_over = choice(value, [("http", Over::Http), ("ws", Over::WebSocket)])?;
            }
            "drive-connections" => self.drive_connections = positive(value)?,
            "drive-board" => value.clone_into(&mut self.drive_board),
            "submits" => self.submits = Some(value.into()),
            "drive-ws" => self.drive_ws = Some(rate(value)?),
            "drive-ws-connections" => self.drive_ws_connections = positive(value)?,
            "submits-ws" => self.submits_ws = Some(value.into()),
            "reads" => self.reads = Some(rate(value)?),
            "reads-connections" => self.reads_connections = positive(value)?,
            "timed-by" => {
                let choices = [("version", TimedBy::Version), ("content", TimedBy::Content)];
                self.timed_by = choice(value, choices)?;
            }
            "stale" => self.stale = rate(value)?,
            "phases" => self.phases = Phase::parse_all(value)?,
            "churn" => self.churn = rate(value)?,
            "slow" => self.slow = Some(Slow::parse(value)?),
            "cut" => self.cut = Some(Cut::parse(value)?),
            "at" => self.at.push(At::parse(value)?),
            "probe-ms" => self.probe_ms = Some(positive(value)?),
            _ => return Err("there is no such option".into()),
        }
        Ok(())
    }

    /// Refuses options that do not belong together, before anything starts.
    pub(crate) fn check(&self) -> Result<()> {
        self.url()?;
        let phases = self.phases();
        let named = self.at.iter().map(|at| &at.phase).chain(self.cut.iter().map(|cut| &cut.phase));
        for name in named {
            if !phases.iter().any(|phase| phase.name == *name) {
                return Err(format!("there is no phase {name:?}").into());
            }
        }
        if self.slow.is_some() && phases.len() < 2 {
            return Err("--slow needs a second phase".into());
        }
        if self.drive_ws.is_some() != self.submits_ws.is_some() {
            return Err("--drive-ws and --submits-ws need each other".into());
        }
        if self.encoding == Encoding::Plain && (self.mix.most() > 1 || self.delta) {
            return Err(
                "--encoding plain has one subscription for each socket, and no deltas".into()
            );
        }
        if self.reads == Some(0.0) {
            return Err("--reads needs a rate above 0".into());
        }
        Ok(())
    }

    /// The phases of the run.
    pub(crate) fn phases(&self) -> Vec<Phase> {
        if self.phases.is_empty() {
            vec![Phase { name: "all".to_owned(), seconds: self.seconds, factor: 1.0 }]
        } else {
            self.phases.clone()
        }
    }

    /// Whether sockets close and come back, or boards may end, as a part of the run.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.churn > 0.0 || self.slow.is_some() || self.cut.is_some() || !self.at.is_empty()
    }

    /// The first URL.
    pub(crate) fn url(&self) -> Result<&Target> {
        self.url_of(0)
    }

    /// The URL of a connection, in turns.
    pub(crate) fn url_of(&self, number: u64) -> Result<&Target> {
        in_turn(&self.urls, number, "--url")
    }

    /// The HTTP API for a connection, in turns.
    pub(crate) fn http(&self, number: u64) -> Result<&Target> {
        in_turn(&self.https, number, "--http")
    }

    /// The token of a user; empty if there are none.
    pub(crate) fn token(&self, user: u64) -> &str {
        let count = self.tokens.len().max(1) as u64;
        self.tokens.get((user % count) as usize).map_or("", String::as_str)
    }
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
    fn the_load_of_a_scenario_is_read() {
        let options = parse(
            "--url ws://127.0.0.1:1/a --http http://127.0.0.1:3,http://127.0.0.1:4 --reads 50 \
             --phases a:1:1,b:2:0.5 --at b:DELETE:/x --at b:PUT:/y --cut b:3 --slow 2:1 --churn 9 \
             --timed-by content --first-state none --server-pid api=1,hub=2 --stale 2",
        );
        let options = options.unwrap();
        options.check().unwrap();
        assert_eq!(options.phases().len(), 2);
        assert_eq!((options.at.len(), options.servers.len()), (2, 2));
        assert_eq!((options.timed_by, options.first_state), (TimedBy::Content, false));
        assert_eq!(options.http(3).unwrap().address.port(), 4);
        assert!(options.is_disturbed() && !parse("--churn 0").unwrap().is_disturbed());
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        for text in [
            "--at b:PUT:/y",
            "--cut b:3",
            "--slow 1:1",
            "--drive-ws 1",
            "--submits-ws x",
            "--reads 0",
            "--encoding plain --delta",
        ] {
            let options = parse(&format!("--url ws://127.0.0.1:1/a {text}")).unwrap();
            assert!(options.check().is_err(), "{text}");
        }
        assert!(parse("--reads 1").unwrap().check().is_err());
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
            ("--phases a:1", "--phases"),
            ("--server-pid a=b", "--server-pid"),
        ] {
            assert!(parse(text).unwrap_err().to_string().starts_with(name), "{text}");
        }
        assert!(parse("here").is_err());
        assert!(parse("--sockets").is_err());
    }
}
