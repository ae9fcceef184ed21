//! Plays a history on a list and on the model of the list's tests.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use rankwire_ranklist as ranklist;
use rankwire_ranklist::Key;

#[allow(dead_code, reason = "the tests of the list use all of it")]
#[path = "../../src/tests/model.rs"]
mod model;
#[path = "../../src/tests/names.rs"]
mod names;
#[path = "../../src/tests/play.rs"]
mod play;

use model::{ALL_TIES, assert_is_as_rebuilt, assert_reads_like};
use names::{MANY, ODD, TALL};
use play::{History, Step};

/// Steps of a history.
const STEPS: usize = 400;

/// Codes that are mostly equal or next to each other, with both ends of the range among them.
const CODES: [u64; 7] = [0, 1, 2, 3, 1 << 40, u64::MAX - 1, u64::MAX];

fn code(u: &mut Unstructured<'_>) -> arbitrary::Result<u64> {
    let byte = u8::arbitrary(u)?;
    CODES.get(usize::from(byte)).map_or_else(|| Ok(u64::from(byte)), |code| Ok(*code))
}

fn key<const C: usize>(u: &mut Unstructured<'_>) -> arbitrary::Result<Key<C>> {
    let mut score = [0; C];
    for column in &mut score {
        *column = code(u)?;
    }
    Ok(Key { score, stamp: code(u)? })
}

fn name(u: &mut Unstructured<'_>) -> arbitrary::Result<usize> {
    Ok(usize::from(u16::arbitrary(u)?))
}

fn step<const C: usize>(u: &mut Unstructured<'_>) -> arbitrary::Result<Step<C>> {
    Ok(match u8::arbitrary(u)? % 32 {
        0..10 => Step::Set(name(u)?, key(u)?),
        10..16 => Step::Remove(name(u)?),
        16..19 => Step::Shift(name(u)?, code(u)?),
        19 => Step::Warm(name(u)?),
        20 | 21 => Step::Digest,
        22 | 23 => Step::Save,
        24 | 25 => Step::Restore(name(u)?),
        26 | 27 => Step::Publish,
        28 => Step::Abandon,
        29 => Step::Snapshot,
        30 => Step::Release(name(u)?),
        _ => Step::Race(name(u)?, key(u)?),
    })
}

fn history<const C: usize>(u: &mut Unstructured<'_>) -> arbitrary::Result<History<C>> {
    let ties = *u.choose(&ALL_TIES)?;
    let names: &'static [String] = match u.int_in_range(0..=5)? {
        0 => &ODD,
        1 => &MANY,
        2 => &TALL[..3],
        _ => &TALL,
    };
    let mut start = Vec::new();
    for _ in 0..u.int_in_range(0..=names.len().min(120))? {
        start.push((name(u)?, key(u)?));
    }
    let mut steps = Vec::new();
    while !u.is_empty() && steps.len() < STEPS {
        steps.push(step(u)?);
    }
    Ok(History { ties, names, start, changes: 5, steps })
}

fn play<const C: usize>(u: &mut Unstructured<'_>) {
    if let Ok(history) = history::<C>(u) {
        history.play(
            |_, _| {},
            |version, model| {
                assert_is_as_rebuilt(version);
                assert_reads_like(version, model);
            },
        );
    }
}

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    match u.int_in_range(1..=3) {
        Ok(1) => play::<1>(&mut u),
        Ok(2) => play::<2>(&mut u),
        _ => play::<3>(&mut u),
    }
});
