//! Score moves a second: this crate's list beside a classic skip list, with the same moves.
//!
//! `make bench-ranklist` runs it, puts Redis beside it and explains what comes out. Alone:
//!
//! ```console
//! $ cargo run --release -p rankwire-ranklist --example bench_moves -- --board random
//! ```

#![expect(clippy::print_stdout, reason = "the result is what it prints")]

mod classic;

use std::collections::HashSet;
use std::error::Error;
use std::fmt::Write as _;
use std::time::Instant;

use classic::Classic;
use rankwire_ranklist::{Key, List, Seed, Shared, Ties};

/// Length of a member's name.
const NAME: usize = 20;
/// Members that share a score on the board `tied`.
const SHARING: usize = 7000;
const ROUNDS: usize = 5;
const BATCH: usize = 64;
const SEED: Seed = *b"bench-moves seed";
/// What a round consists of, in this order: moves from one publication to the next, and whether
/// each is followed by a question for the member's rank.
const WORKS: [(usize, bool); 4] = [(BATCH, true), (BATCH, false), (1, true), (1, false)];

struct Options {
    board: String,
    members: usize,
    slice: usize,
    moves_to: Option<String>,
}

/// Names and scores in the order in which they are set: first every member's, then the moves.
struct Moves {
    names: String,
    scores: Vec<u64>,
}

enum Side {
    Ours(Shared),
    Classic(Box<Classic>),
}

struct Contender {
    name: &'static str,
    ties: &'static str,
    side: Side,
    /// One for each kind of work that makes a difference to this side, in the order of `WORKS`.
    rows: Vec<Row>,
}

struct Row {
    /// 0 where nothing is published.
    batch: usize,
    ranks: bool,
    rates: Vec<f64>,
    rank_sum: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = read_options()?;
    let moves = draw(&options)?;
    if let Some(path) = &options.moves_to {
        std::fs::write(path, moves.lines()?)?;
    }
    let mut contenders = vec![Contender::ours(&moves, options.members, Ties::First)?];
    if options.board != "random" {
        // With distinct scores the rule does not matter.
        contenders.push(Contender::ours(&moves, options.members, Ties::Member)?);
    }
    contenders.push(Contender::classic(&moves, options.members));
    let aged = options.members * 2;
    for contender in &mut contenders {
        contender.side.run(&moves, options.members, aged, (BATCH, false));
    }
    measure(&moves, aged, options.slice, &mut contenders);
    println!("{}", json(&options, &contenders));
    Ok(())
}

fn read_options() -> Result<Options, Box<dyn Error>> {
    let mut options =
        Options { board: "random".into(), members: 1_000_000, slice: 102_400, moves_to: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or("a value is missing")?;
        match name.as_str() {
            "--board" => options.board = value,
            "--members" => options.members = value.parse()?,
            "--slice" => options.slice = value.parse()?,
            "--moves-to" => options.moves_to = Some(value),
            _ => return Err(format!("{name}: options are board, members, slice, moves-to").into()),
        }
    }
    Ok(options)
}

fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Draws the members' first scores, as many moves to age the list, and those that are timed.
fn draw(options: &Options) -> Result<Moves, Box<dyn Error>> {
    let count = options.members * 2 + options.slice * WORKS.len() * ROUNDS;
    let mut moves = Moves { names: String::new(), scores: Vec::with_capacity(count) };
    let mut current = vec![0; options.members];
    let mut used = HashSet::new();
    let groups = (options.members / SHARING).max(2) as u64;
    let mut random = 0x9E37_79B9_7F4A_7C15;
    let mut member = 0;
    for number in 0..count {
        let is_return = options.board == "equal" && (number - options.members.min(number)) % 2 == 1;
        if number < options.members {
            member = number;
        } else if !is_return {
            member = (xorshift(&mut random) >> 20) as usize % options.members;
        }
        let score = loop {
            let score = 1_000_000_000
                + match options.board.as_str() {
                    "random" => (xorshift(&mut random) >> 20) % 9_000_000_000,
                    "tied" => (xorshift(&mut random) >> 20) % groups,
                    // Everyone but the one who has just left and comes back with the next move.
                    "equal" => u64::from(number < options.members || is_return),
                    other => return Err(format!("{other}: boards are random, tied, equal").into()),
                };
            let is_new = options.board != "random" || used.insert(score);
            if is_new && current[member] != score {
                break score;
            }
        };
        current[member] = score;
        write!(moves.names, "member-{member:013}")?;
        moves.scores.push(score);
    }
    Ok(moves)
}

/// Lets all sides do the same moves in turns: round by round, one work after the other.
fn measure(moves: &Moves, mut start: usize, slice: usize, contenders: &mut [Contender]) {
    for _ in 0..ROUNDS {
        for Contender { side, rows, .. } in &mut *contenders {
            for (index, work) in WORKS.into_iter().enumerate() {
                let first = start + index * slice;
                let began = Instant::now();
                let rank_sum = side.run(moves, first, first + slice, work);
                let rate = f64::from(slice as u32) / began.elapsed().as_secs_f64();
                let kinds = rows.len();
                let row = &mut rows[index % kinds];
                row.rates.push(rate);
                row.rank_sum += rank_sum;
            }
        }
        start += WORKS.len() * slice;
    }
}

impl Contender {
    fn ours(moves: &Moves, members: usize, ties: Ties) -> Result<Self, Box<dyn Error>> {
        let entries = (0..members).map(|number| (moves.name(number), moves.key(number)));
        let side = Side::Ours(Shared::new(List::from_entries(ties, SEED, entries)?));
        let rows = WORKS.map(|(batch, ranks)| Row { batch, ranks, rates: vec![], rank_sum: 0 });
        let ties = if ties == Ties::Member { "member" } else { "first" };
        Ok(Self { name: "rankwire", ties, side, rows: rows.into() })
    }

    fn classic(moves: &Moves, members: usize) -> Self {
        let mut side = Side::Classic(Box::new(Classic::new(0x2545_F491_4F6C_DD1D)));
        side.run(moves, 0, members, (BATCH, false));
        let rows = [true, false].map(|ranks| Row { batch: 0, ranks, rates: vec![], rank_sum: 0 });
        Self { name: "classic-skiplist", ties: "member", side, rows: rows.into() }
    }

    fn json(&self) -> String {
        let Self { name, ties, rows, .. } = self;
        let rows: Vec<String> = rows.iter().map(Row::json).collect();
        let rows = rows.join(",");
        format!(r#"{{"side":"{name}","ties":"{ties}","rows":[{rows}]}}"#)
    }
}

impl Side {
    /// Does the moves from `start` to `end`, and returns the sum of the ranks that it asked for.
    fn run(&mut self, moves: &Moves, start: usize, end: usize, work: (usize, bool)) -> u64 {
        let (batch, ranks) = work;
        let mut rank_sum = 0;
        match self {
            Self::Ours(shared) => {
                for from in (start..end).step_by(batch) {
                    let mut list = List::clone(&shared.load());
                    for number in from..end.min(from + batch) {
                        let name = moves.name(number);
                        list.set(name, moves.key(number));
                        if ranks {
                            rank_sum += list.rank(name).unwrap_or(0);
                        }
                    }
                    shared.publish(list);
                }
            }
            Self::Classic(list) => {
                for number in start..end {
                    let name = moves.name(number);
                    list.set(name, moves.scores[number]);
                    if ranks {
                        rank_sum += list.rank(name).unwrap_or(0);
                    }
                }
            }
        }
        rank_sum
    }
}

impl Row {
    fn json(&self) -> String {
        let Self { batch, ranks, rates, rank_sum } = self;
        format!(r#"{{"batch":{batch},"ranks":{ranks},"rates":{rates:?},"rank_sum":{rank_sum}}}"#)
    }
}

impl Moves {
    fn name(&self, number: usize) -> &str {
        &self.names[number * NAME..][..NAME]
    }

    fn key(&self, number: usize) -> Key {
        Key { score: self.scores[number], stamp: number as u64 }
    }

    /// Everything as text: a score of ten digits and a name on each line.
    fn lines(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::with_capacity(self.scores.len() * (NAME + 12));
        for (number, score) in self.scores.iter().enumerate() {
            writeln!(text, "{score} {}", self.name(number))?;
        }
        Ok(text)
    }
}

fn json(options: &Options, contenders: &[Contender]) -> String {
    let Options { board, members, slice, .. } = options;
    let sides: Vec<String> = contenders.iter().map(Contender::json).collect();
    let sides = sides.join(",");
    format!(r#"{{"board":"{board}","members":{members},"slice":{slice},"sides":[{sides}]}}"#)
}
