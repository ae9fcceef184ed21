//! What a single submit costs in the engine, from queue to encoded reply, on one thread and without
//! a storage. Prints nanoseconds per submit for each step.
//!
//! ```console
//! $ cargo run --release -p rankwire-engine --example submits -- door 100000 500 1000
//! ```
//!
//! The arguments: `door` for [`Engine::send`] or `own` for [`Engine::enqueue`], members of the
//! board, submits in a batch, batches. Members and scores are random, the policy is `last`.
#![expect(clippy::print_stdout, reason = "the result is what it prints")]

use std::error::Error;
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rankwire_engine::{
    BoardConfig, Command, Door, Engine, Limits, Policy, Recovery, Reply, Score, Submit, Ticket,
    Write,
};

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BOARD: &str = "season-1";
const START_MS: i64 = 1_700_000_000_000;
/// Batches before the clock runs.
const WARM_UP: usize = 50;
/// A checkpoint is taken after so many batches, outside of the clock.
const CHECKPOINT: usize = 100;
const STEPS: [&str; 4] = ["queue", "seal", "commit", "json"];

/// Keeps what it gets.
#[derive(Debug, Default)]
struct Inbox(Mutex<Vec<Reply>>);

impl Door for Inbox {
    fn deliver(&self, replies: Vec<Reply>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = replies;
    }
}

/// Random members and scores.
struct Source {
    members: u64,
    state: u64,
}

impl Source {
    /// Marsaglia's xorshift64.
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn submit(&mut self, member: u64) -> Submit {
        let score = Score::Int((self.next() >> 31).cast_signed());
        Submit { member: format!("member-{member:013}"), score, at_ms: None }
    }

    fn command(&mut self) -> Command {
        let member = (self.next() >> 20) % self.members;
        Command::Submit { board: BOARD.into(), submit: self.submit(member) }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [way, members, batch, rounds] = &arguments[..] else {
        return Err("the arguments are: door|own MEMBERS BATCH ROUNDS".into());
    };
    let (batch, rounds) = (batch.parse::<usize>()?, rounds.parse::<usize>()?);
    let mut source = Source { members: members.parse()?, state: 0x9E37_79B9_7F4A_7C15 };
    let engine = filled(&mut source)?;
    let inbox = Arc::new(Inbox::default());
    let door: Option<Arc<dyn Door>> = match &**way {
        "door" => Some(Arc::<Inbox>::clone(&inbox)),
        _ => None,
    };
    let mut spent = [Duration::ZERO; STEPS.len()];
    let mut out = Vec::new();
    for round in 0..WARM_UP + rounds {
        if round % CHECKPOINT == 0 {
            engine.checkpoint();
        }
        let writes = (0..batch).map(|t| (t as Ticket, source.command().into())).collect();
        let times = once(&engine, door.as_ref(), writes, || take_all(&inbox), &mut out)?;
        if round >= WARM_UP {
            for (spent, (from, to)) in spent.iter_mut().zip(times.iter().zip(&times[1..])) {
                *spent += *to - *from;
            }
        }
    }
    let submits = (batch * rounds) as u128;
    for (step, spent) in STEPS.iter().zip(spent) {
        print!("{step} {} ", spent.as_nanos() / submits);
    }
    println!("total {} ns", spent.iter().sum::<Duration>().as_nanos() / submits);
    Ok(())
}

fn take_all(inbox: &Inbox) -> Vec<Reply> {
    take(&mut *inbox.0.lock().unwrap_or_else(PoisonError::into_inner))
}

/// An engine with a board where everyone has a score.
fn filled(source: &mut Source) -> Result<Engine, Box<dyn Error>> {
    let engine = Recovery::new([], []).finish(1, Limits::default(), false);
    let config = BoardConfig { policy: Policy::Last, ..BoardConfig::default() };
    engine.enqueue(Command::Create { board: BOARD.into(), config })?;
    for from in (0..source.members).step_by(10_000) {
        let members = from..source.members.min(from + 10_000);
        let submits = members.map(|member| source.submit(member)).collect();
        engine.enqueue(Command::Batch { board: BOARD.into(), submits })?;
        while engine.stats().pending_ops > 0 {
            let sealed = engine.seal(Duration::ZERO, || START_MS).ok_or("closed")?;
            for reply in engine.commit(sealed) {
                reply.outcome?;
            }
        }
    }
    Ok(engine)
}

/// One batch from the queue to the replies; when each step began and the last one ended.
fn once(
    engine: &Engine,
    door: Option<&Arc<dyn Door>>,
    mut writes: Vec<(Ticket, Write)>,
    delivered: impl Fn() -> Vec<Reply>,
    out: &mut Vec<u8>,
) -> Result<[Instant; STEPS.len() + 1], Box<dyn Error>> {
    let count = writes.len();
    let queue = Instant::now();
    match door {
        Some(door) => engine.send(&mut writes, door)?,
        None => {
            for (_, write) in writes {
                engine.enqueue(write)?;
            }
        }
    }
    engine.wake();
    let seal = Instant::now();
    let sealed = engine.seal(Duration::ZERO, || START_MS).ok_or("closed")?;
    let commit = Instant::now();
    let mut replies = engine.commit(sealed);
    let json = Instant::now();
    replies.extend(delivered());
    assert_eq!(replies.len(), count);
    out.clear();
    for reply in replies {
        reply.outcome?.write_json(out);
    }
    Ok([queue, seal, commit, json, Instant::now()])
}
