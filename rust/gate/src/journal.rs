//! The codec of the journal, for batches of scores.

use std::hint::black_box;

use rankwire_engine::Score;
use rankwire_engine::record::{self, BatchWriter, Record};

use crate::game::{OTHER, Source, name, stamp};
use crate::{Measured, Path, measured};

pub(crate) const PATHS: &[Path] = &[("journal-encode", encode), ("journal-decode", decode)];

const RECORDS: usize = 128;
const BATCHES: usize = 50;

/// The scores of one batch: members and score bits.
fn scores() -> Vec<(String, u64)> {
    let mut source = Source::new();
    let one = |_| (name(source.member()), Score::Int(source.score(2_000_000)).to_bits());
    (0..RECORDS).map(one).collect()
}

fn write(scores: &[(String, u64)]) -> Vec<u8> {
    let mut batch = BatchWriter::default();
    for (member, bits) in scores {
        let (board, stamp) = (1, stamp(1));
        batch.push(&Record::Score { board, member, bits: *bits, stamp, generation: 0 });
    }
    batch.finish(OTHER, 1)
}

fn encode() -> Measured {
    let scores = scores();
    for _ in 0..BATCHES {
        measured(&mut || {
            black_box(write(&scores));
        });
    }
    Ok((BATCHES * RECORDS) as u64)
}

fn decode() -> Measured {
    let bytes = write(&scores());
    record::decode(OTHER, 1, &bytes)?;
    for _ in 0..BATCHES {
        measured(&mut || {
            let _ = black_box(record::decode(OTHER, 1, &bytes));
        });
    }
    Ok((BATCHES * RECORDS) as u64)
}
