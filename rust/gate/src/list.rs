//! The ranked list: moves by draft and by log, and what readers ask.

use std::hint::black_box;

use rankwire_ranklist::{Key, Log, Rule, Seed, Shared, Ties, Version};

use crate::game::{MEMBERS, Source, name};
use crate::{Measured, Path, measured, once};

pub(crate) const PATHS: &[Path] = &[
    ("list-move-draft", move_draft),
    ("list-move-log", move_log),
    ("list-digest", digest),
    ("list-rank", rank),
    ("list-page-10", page),
    ("list-around-5", around),
];

const SEED: Seed = *b"the gate's seed.";
/// Moves that become visible together.
const BATCH: usize = 64;
/// Moves that are announced together, as the engine does it.
const WARM: usize = 16;
/// Batches before anything is counted.
const AGING: u64 = 50;
const BATCHES: u64 = 50;
const READS: usize = 2000;

type Moves = Vec<(String, u64)>;

/// The last score counts.
struct Last;

impl Rule<1> for Last {
    type Offer = u64;

    fn decide(&self, _: Option<Key>, score: &u64, position: u64) -> Option<Key> {
        Some(Key { score: [*score], stamp: MEMBERS + position })
    }

    fn score(&self, score: &u64) -> [u64; 1] {
        [*score]
    }
}

fn entries(source: &mut Source) -> Vec<(String, Key)> {
    let key = |member| Key { score: [source.below(1_000_000)], stamp: member + 1 };
    (0..MEMBERS).map(key).enumerate().map(|(member, key)| (name(member as u64), key)).collect()
}

fn moves(source: &mut Source) -> Moves {
    let one = |_| (name(source.member()), source.below(1_000_000));
    (0..BATCH).map(one).collect()
}

/// A list that is no longer as it was loaded.
fn aged(source: &mut Source) -> Result<Shared, Box<dyn std::error::Error>> {
    let list = Shared::from_entries(Ties::First, SEED, 0, entries(source))?;
    for _ in 0..AGING {
        publish(&list, &moves(source));
    }
    Ok(list)
}

fn publish(list: &Shared, moves: &Moves) {
    let mut draft = list.draft();
    for group in moves.chunks(WARM) {
        draft.warm(group.iter().map(|(member, score)| (member.as_str(), [*score])));
        for (member, score) in group {
            let stamp = MEMBERS + draft.version() + 1;
            black_box(draft.set(member, Key { score: [*score], stamp }));
        }
    }
    draft.publish().expect("nobody else publishes");
}

fn move_draft() -> Measured {
    let mut source = Source::new();
    let list = aged(&mut source)?;
    for _ in 0..BATCHES {
        let moves = moves(&mut source);
        measured(&mut || publish(&list, &moves));
    }
    Ok(BATCHES * BATCH as u64)
}

fn move_log() -> Measured {
    let mut source = Source::new();
    let list = Log::from_entries(Ties::First, SEED, entries(&mut source), Last)?;
    for round in 0..AGING + BATCHES {
        let moves = moves(&mut source);
        let mut submit = || {
            let moves = moves.iter().map(|(member, score)| (member, *score));
            black_box(list.submit_all(moves).expect("names are short"));
        };
        once(round, AGING, &mut submit);
    }
    Ok(BATCHES * BATCH as u64)
}

/// The hash of the whole list, which is known after every batch.
fn digest() -> Measured {
    let mut source = Source::new();
    let list = aged(&mut source)?;
    list.read().digest();
    for _ in 0..BATCHES {
        publish(&list, &moves(&mut source));
        measured(&mut || {
            black_box(list.read().digest());
        });
    }
    Ok(BATCHES * BATCH as u64)
}

/// Asks an aged list something about each of many members.
fn reads(ask: impl Fn(&Version, &str)) -> Measured {
    let mut source = Source::new();
    let list = aged(&mut source)?;
    let members: Vec<_> = (0..READS).map(|_| name(source.member())).collect();
    measured(&mut || members.iter().for_each(|member| ask(&list.read(), member)));
    Ok(READS as u64)
}

fn rank() -> Measured {
    reads(|version, member| {
        black_box(version.rank(member));
    })
}

fn around() -> Measured {
    reads(|version, member| {
        version.around(member, 5).into_iter().flatten().for_each(|entry| {
            black_box(entry);
        });
    })
}

fn page() -> Measured {
    let mut source = Source::new();
    let list = aged(&mut source)?;
    let offsets: Vec<_> = (0..READS).map(|_| source.below(MEMBERS - 10)).collect();
    measured(&mut || {
        for offset in &offsets {
            list.read().page(*offset, 10).for_each(|entry| {
                black_box(entry);
            });
        }
    });
    Ok(READS as u64)
}
