//! The engine: batches of games, those of other nodes, and the answers to reads.

use std::hint::black_box;
use std::time::Duration;

use rankwire_engine::{Board, Command, Engine, Version, answer};

use crate::game::{self, GLOBAL, NOW_MS, OTHER, Source};
use crate::{Measured, Path, measured, once};

pub(crate) const PATHS: &[Path] = &[
    ("engine-commit", commit),
    ("engine-apply", apply),
    ("engine-top-10-built", top_built),
    ("engine-top-10-kept", top_kept),
    ("engine-around-5", around),
    ("engine-member", member),
];

/// Games of a batch; each is submitted to two boards.
const GAMES: usize = 64;
/// Batches before anything is counted.
const AGING: u64 = 20;
const BATCHES: u64 = 40;
const READS: usize = 1000;

/// Who played and what they scored; about half of it is better than before.
fn games(source: &mut Source) -> Vec<(u64, i64)> {
    (0..GAMES).map(|_| (source.member(), source.score(2_000_000))).collect()
}

/// Commits these commands, and hands on the JSON of the replies.
pub(crate) fn settle(engine: &Engine, commands: Vec<Command>, json: &mut Vec<u8>) {
    for command in commands {
        engine.enqueue(command).expect("the queue has room");
    }
    engine.wake();
    let sealed = engine.seal(Duration::ZERO, || NOW_MS).expect("the engine is open");
    for reply in engine.commit(sealed) {
        reply.outcome.expect("the submit is good").write_json(json);
    }
}

fn commit() -> Measured {
    let mut source = Source::new();
    let engine = game::engine(&mut source)?;
    let mut json = Vec::with_capacity(1 << 20);
    for round in 0..AGING + BATCHES {
        let mut commands: Vec<_> = games(&mut source)
            .into_iter()
            .flat_map(|(who, score)| game::game(who, score))
            .collect();
        let mut settle = || settle(&engine, std::mem::take(&mut commands), &mut json);
        once(round, AGING, &mut settle);
        json.clear();
    }
    Ok(BATCHES * GAMES as u64 * 2)
}

fn apply() -> Measured {
    let mut source = Source::new();
    let engine = game::engine(&mut source)?;
    for round in 0..AGING + BATCHES {
        let number = round + 2;
        let bytes = game::batch(number, &games(&mut source));
        let mut apply = || {
            let applied = engine.apply(&[(OTHER, number, &bytes)], false);
            assert_eq!(applied.expect("the batch is whole").count, 1);
        };
        once(round, AGING, &mut apply);
    }
    Ok(BATCHES * GAMES as u64 * 2)
}

/// Asks the board of all something about each of many members.
fn reads(ask: impl Fn(&Board, &Version, &str)) -> Measured {
    let mut source = Source::new();
    let engine = game::engine(&mut source)?;
    let members: Vec<_> = (0..READS).map(|_| game::name(source.member())).collect();
    // Outside: the table of boards has a random key, and how long a look-up takes depends on it.
    let board = engine.board(GLOBAL)?;
    measured(&mut || members.iter().for_each(|member| ask(&board, &board.load(), member)));
    Ok(READS as u64)
}

fn top_built() -> Measured {
    reads(|board, version, _| {
        black_box(answer::page(board, version, 0, 10));
    })
}

fn top_kept() -> Measured {
    reads(|board, _, _| {
        black_box(board.page(0, 10));
    })
}

fn around() -> Measured {
    reads(|board, version, member| {
        let _ = black_box(answer::around(board, version, member, 5));
    })
}

fn member() -> Measured {
    reads(|board, version, member| {
        let _ = black_box(answer::standing(board, version, member));
    })
}
