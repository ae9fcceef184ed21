//! Compares two lists that have most of their entries in common, and their models.
#![no_main]

use libfuzzer_sys::arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rankwire_ranklist as ranklist;
use rankwire_ranklist::Key;

#[allow(dead_code, reason = "the tests of the list use all of it")]
#[path = "../../src/tests/model.rs"]
mod model;
#[path = "../../src/tests/names.rs"]
#[allow(dead_code, reason = "the tests of the list use all of it")]
mod names;

use model::{ALL_TIES, Model, assert_is_as_rebuilt};
use names::{MANY, TALL};

#[derive(Arbitrary, Debug)]
struct Input {
    ties: u8,
    many: bool,
    start: Vec<(u16, u8, u8)>,
    left: Vec<Change>,
    right: Vec<Change>,
    limit: u8,
}

#[derive(Arbitrary, Debug)]
enum Change {
    Set(u16, u8, u8),
    Remove(u16),
}

fn key(score: u8, stamp: u8) -> Key {
    Key { score: [u64::from(score)], stamp: u64::from(stamp) }
}

fuzz_target!(|input: Input| {
    let ties = ALL_TIES[usize::from(input.ties) % 3];
    let names = if input.many { &*MANY } else { &*TALL };
    let name = |number: u16| names[usize::from(number) % names.len()].as_str();
    let mut base = Model::new(ties, 0);
    for (number, score, stamp) in &input.start {
        base.load(name(*number), key(*score, *stamp));
    }
    let list = base.list();
    let changed = |changes: &[Change]| {
        let (mut draft, mut model) = (list.draft(), base.clone());
        for change in changes {
            let (name, key) = match *change {
                Change::Set(number, score, stamp) => (name(number), Some(key(score, stamp))),
                Change::Remove(number) => (name(number), None),
            };
            draft.update(name, |_| key);
            model.put(name, key);
        }
        (draft, model)
    };
    let (left, right) = (changed(&input.left), changed(&input.right));
    assert_is_as_rebuilt(&left.0);
    let expected = left.1.differences(&right.1);
    assert_eq!(left.0.differences(&right.0, usize::MAX), expected);
    assert_eq!(right.0.differences(&left.0, usize::MAX), right.1.differences(&left.1));
    assert_eq!(left.0.digest() == right.0.digest(), expected.is_empty());

    // Nothing below has anything in common with what was compared above.
    let (left, right) = (left.1.list(), right.1.list());
    let limit = usize::from(input.limit);
    let some = left.read().differences(&right.read(), limit).len();
    assert!(some <= limit && (2 * some + 1 >= limit || some == expected.len()));
});
