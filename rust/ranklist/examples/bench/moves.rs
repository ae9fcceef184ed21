//! Score moves a second: this crate's list in its two ways, beside a classic skip list, with the
//! same moves. Each line on the standard input asks for a round, so that others can take turns.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Instant;

use rankwire_ranklist::Ties;

use crate::classic::Classic;
use crate::options::Options;
use crate::ours::{BATCH, Ours};
use crate::random::{Name, distinct_score, xorshift};

/// Members that share a score on the board `tied`.
const SHARING: usize = 7000;
/// The two works of a round: moves that are published together, and whether a side that is not
/// told ranks by a move asks for them.
const WORKS: [(usize, bool); 2] = [(BATCH, true), (1, false)];

/// Members by number and their scores, in the order in which they are set: first every member's,
/// then the moves.
struct Moves(Vec<(u32, u64)>);

enum Side {
    Ours(Ours),
    Classic(Box<Classic>),
}

struct Contender {
    name: &'static str,
    ties: &'static str,
    side: Side,
    rows: [Row; 2],
}

/// What a side did in one of the works.
#[derive(Default)]
struct Row {
    rates: Vec<f64>,
    rank_sum: u64,
}

/// Makes the sides, and does a round whenever it is asked to.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let moves = Moves::draw(options)?;
    if let Some(path) = &options.moves_to {
        moves.write(BufWriter::new(File::create(path)?))?;
    }
    let mut contenders = contenders(&moves, options)?;
    for contender in &mut contenders {
        eprintln!("{} ages", contender.name);
        for start in (options.members..options.members * 2).step_by(options.slice) {
            let count = options.slice.min(options.members * 2 - start);
            let aging: Vec<_> = moves.iter(start, count).collect();
            contender.side.run(&aging, WORKS[0]);
        }
    }
    println!("ready");
    for round in 0..options.rounds {
        std::io::stdin().read_line(&mut String::new())?;
        let start = options.members * 2 + round * WORKS.len() * options.slice;
        measure(&moves, start, options.slice, &mut contenders);
        println!("done");
    }
    let sides: Vec<String> = contenders.iter().map(Contender::json).collect();
    println!("[{}]", sides.join(","));
    Ok(())
}

fn contenders(moves: &Moves, options: &Options) -> Result<Vec<Contender>, Box<dyn Error>> {
    let mut contenders = vec![];
    // With distinct scores the rule does not matter.
    let all_ties: &[Ties] =
        if options.board == "random" { &[Ties::First] } else { &[Ties::First, Ties::Member] };
    for ties in all_ties {
        for name in ["log", "draft"] {
            eprintln!("{name} loads");
            let side = Side::Ours(Ours::new(name, *ties, moves.iter(0, options.members))?);
            let ties = if *ties == Ties::First { "first" } else { "member" };
            contenders.push(Contender { name, ties, side, rows: Default::default() });
        }
    }
    eprintln!("classic loads");
    let mut classic = Classic::new(0x2545_F491_4F6C_DD1D);
    moves.iter(0, options.members).for_each(|(name, score)| classic.set(name.as_ref(), score));
    let side = Side::Classic(Box::new(classic));
    contenders.push(Contender { name: "classic", ties: "member", side, rows: Default::default() });
    Ok(contenders)
}

/// Lets all sides do the same moves, one work after the other.
fn measure(moves: &Moves, mut start: usize, slice: usize, contenders: &mut [Contender]) {
    for (index, work) in WORKS.into_iter().enumerate() {
        let moves: Vec<_> = moves.iter(start, slice).collect();
        for Contender { side, rows, .. } in &mut *contenders {
            let began = Instant::now();
            rows[index].rank_sum += side.run(&moves, work);
            rows[index].rates.push(f64::from(slice as u32) / began.elapsed().as_secs_f64());
        }
        start += slice;
    }
}

impl Side {
    /// Does the moves, and returns the sum of the ranks that they led to, where it was told.
    fn run(&mut self, moves: &[(Name, u64)], (batch, asks): (usize, bool)) -> u64 {
        match self {
            Self::Ours(ours) if batch == 1 => {
                moves.iter().map(|(name, score)| ours.submit_one(name.as_ref(), *score)).sum()
            }
            Self::Ours(ours) => moves.chunks(batch).map(|moves| ours.submit(moves)).sum(),
            Self::Classic(list) => {
                let mut rank_sum = 0;
                for (name, score) in moves {
                    list.set(name.as_ref(), *score);
                    if asks {
                        rank_sum += list.rank(name.as_ref()).unwrap_or(0);
                    }
                }
                rank_sum
            }
        }
    }
}

impl Contender {
    fn json(&self) -> String {
        let Self { name, ties, side, rows } = self;
        let rows: Vec<String> = rows
            .iter()
            .zip(WORKS)
            .map(|(Row { rates, rank_sum }, (batch, asks))| {
                let (batch, ranks) = match side {
                    Side::Ours(_) => (batch, true),
                    Side::Classic(_) => (0, asks),
                };
                format!(
                    r#"{{"batch":{batch},"ranks":{ranks},"rates":{rates:?},"rank_sum":{rank_sum}}}"#
                )
            })
            .collect();
        format!(r#"{{"side":"{name}","ties":"{ties}","rows":[{}]}}"#, rows.join(","))
    }
}

impl Moves {
    /// Draws the members' first scores, as many moves to age the list, and those that are timed.
    fn draw(options: &Options) -> Result<Self, Box<dyn Error>> {
        let Options { members, slice, rounds, .. } = *options;
        let count = members * 2 + slice * WORKS.len() * rounds;
        let mut sets = Vec::with_capacity(count);
        let mut current = vec![0; members];
        let mut random = 0x9E37_79B9_7F4A_7C15;
        let mut member = 0;
        for number in 0..count {
            let is_return =
                options.board == "equal" && number >= members && (number - members) % 2 == 1;
            if number < members {
                member = number;
            } else if !is_return {
                member = (xorshift(&mut random) >> 20) as usize % members;
            }
            let score = loop {
                let score = match options.board.as_str() {
                    "random" => distinct_score(number as u64),
                    "tied" => tied_score(xorshift(&mut random) >> 20, members),
                    // Everyone but the one who has just left and comes back with the next move.
                    "equal" => 1_000_000_000 + u64::from(number < members || is_return),
                    other => return Err(format!("{other}: boards are random, tied, equal").into()),
                };
                if current[member] != score {
                    break score;
                }
            };
            current[member] = score;
            sets.push((member as u32, score));
        }
        Ok(Self(sets))
    }

    fn iter(&self, start: usize, count: usize) -> impl ExactSizeIterator<Item = (Name, u64)> {
        let sets = &self.0[start..start + count];
        sets.iter().map(|(member, score)| (Name::of(*member as usize), *score))
    }

    /// Writes everything as text: a score of ten digits and a name on each line.
    fn write(&self, mut file: impl Write) -> std::io::Result<()> {
        for (name, score) in self.iter(0, self.0.len()) {
            writeln!(file, "{score} {}", name.as_ref())?;
        }
        file.flush()
    }
}

fn tied_score(random: u64, members: usize) -> u64 {
    1_000_000_000 + random % (members / SHARING).max(2) as u64
}
