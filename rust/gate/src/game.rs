//! The game that is played: who there is, on which boards, and what they score.

use rankwire_engine::record::{BatchWriter, Record};
use rankwire_engine::{BoardConfig, Command, Engine, Error, Limits, Recovery, Submit};
use rankwire_engine::{Policy, Score, Stamp};

/// Members of the board of all.
pub(crate) const MEMBERS: u64 = 20_000;
/// Members who share a board of neighbours.
pub(crate) const COHORT: u64 = 100;
/// The board of all.
pub(crate) const GLOBAL: &str = "global";
/// The time of everything, in milliseconds since 1970.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;
/// The origin of batches of another node.
pub(crate) const OTHER: u64 = 2;

/// Its id; the boards of cohorts have those after it.
const GLOBAL_ID: u64 = 1000;

/// What looks random and is the same in every run.
#[derive(Debug, Clone)]
pub(crate) struct Source(u64);

impl Source {
    pub(crate) fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    /// Marsaglia's xorshift64.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 20) % end
    }

    /// Any member.
    pub(crate) fn member(&mut self) -> u64 {
        self.below(MEMBERS)
    }

    /// A score below `end`, in tens, so that some are equal.
    pub(crate) fn score(&mut self, end: u64) -> i64 {
        (self.below(end) / 10 * 10).cast_signed()
    }
}

/// The name of a member, 20 bytes.
pub(crate) fn name(member: u64) -> String {
    format!("member-{member:013}")
}

/// The board of a member's cohort.
pub(crate) fn cohort(member: u64) -> String {
    format!("cohort-{}", member / COHORT)
}

/// A game's submits: to the board of all and to that of the member's cohort.
pub(crate) fn game(member: u64, score: i64) -> [Command; 2] {
    [GLOBAL.to_owned(), cohort(member)].map(|board| {
        let submit = Submit { member: name(member), score: Score::Int(score), at_ms: None };
        Command::Submit { board, submit }
    })
}

/// A batch of these games as another node would send it, number `number` of [`OTHER`].
pub(crate) fn batch(number: u64, games: &[(u64, i64)]) -> Vec<u8> {
    let mut batch = BatchWriter::default();
    push_games(&mut batch, number, games);
    batch.finish(OTHER, number)
}

/// An engine in which every member has a score below a million on both boards. The next batch of
/// [`OTHER`] is number 2.
pub(crate) fn engine(source: &mut Source) -> Result<Engine, Error> {
    let engine = Recovery::new([], []).finish(1, Limits::default(), true);
    let mut batch = BatchWriter::default();
    let config = BoardConfig { policy: Policy::Best, ..BoardConfig::default() };
    for cohort in 0..=MEMBERS / COHORT {
        let name = if cohort == 0 { GLOBAL.into() } else { format!("cohort-{}", cohort - 1) };
        let (board, seed) = (GLOBAL_ID + cohort, *b"the gate's seed.");
        batch.push(&Record::Create { board, name: &name, config, seed });
    }
    let games: Vec<_> = (0..MEMBERS).map(|member| (member, source.score(1_000_000))).collect();
    push_games(&mut batch, 1, &games);
    engine.apply(&[(OTHER, 1, &batch.finish(OTHER, 1))], false)?;
    engine.checkpoint();
    Ok(engine)
}

fn push_games(batch: &mut BatchWriter, number: u64, games: &[(u64, i64)]) {
    for (member, score) in games {
        let name = name(*member);
        for board in [GLOBAL_ID, GLOBAL_ID + 1 + member / COHORT] {
            let (bits, stamp) = (Score::Int(*score).to_bits(), stamp(number));
            batch.push(&Record::Score { board, member: &name, bits, stamp, generation: 0 });
        }
    }
}

/// When the batch of this number was taken.
pub(crate) fn stamp(number: u64) -> Stamp {
    (NOW_MS.cast_unsigned() << 16) + number
}
