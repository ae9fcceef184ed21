//! What tells two lists apart.

use proptest::prelude::*;
use proptest::sample::select;

use super::history::cases;
use super::model::{ALL_TIES, Model, SEED};
use super::names::TALL;
use crate::tree::visits;
use crate::{Key, Shared, Ties};

/// A member, and the key that it has or loses.
fn change() -> impl Strategy<Value = (usize, Option<Key<2>>)> {
    let key = (select(&[0, 1, u64::MAX][..]), 0..9_u64, 0..3_u64);
    let key = key.prop_map(|(first, second, stamp)| Key { score: [first, second], stamp });
    (0..TALL.len(), prop::option::weighted(0.8, key))
}

fn put(model: &mut Model<2>, changes: &[(usize, Option<Key<2>>)]) {
    for (name, key) in changes {
        model.put(&TALL[*name], *key);
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn differences_are_those_of_the_models(
        ties in select(&ALL_TIES[..]),
        start in prop::collection::vec(change(), 0..100),
        left in prop::collection::vec(change(), 0..40),
        right in prop::collection::vec(change(), 0..4),
        limit in 0..60_usize,
    ) {
        let mut first = Model::new(ties, 0);
        put(&mut first, &start);
        let mut second = first.clone();
        put(&mut first, &left);
        put(&mut second, &right);

        let (here, there) = (first.list().snapshot(), second.list().snapshot());
        let expected = first.differences(&second);
        prop_assert_eq!(&here.differences(&there, usize::MAX), &expected);
        prop_assert_eq!(&there.differences(&here, usize::MAX), &second.differences(&first));
        prop_assert_eq!(here.digest() == there.digest(), expected.is_empty());

        let some = here.differences(&there, limit);
        prop_assert!(some.len() <= limit);
        prop_assert!(2 * some.len() + 1 >= limit || some == expected, "fewer than it looked at");
        for found in some {
            let known = expected.iter().find(|known| known.member == found.member);
            let known = known.expect("it is a difference");
            // The entry of the other list may be beyond the limit.
            prop_assert!(found.here.is_none() || found.here == known.here);
            prop_assert!(found.there.is_none() || found.there == known.there);
        }
    }
}

#[test]
fn a_stamp_that_ranks_nobody_changes_the_digest() {
    let list = Shared::from_entries(Ties::Member, SEED, 0, [("a", Key { score: [1], stamp: 1 })]);
    let list = list.expect("one name");
    let before = list.snapshot();
    let known = before.digest();
    let mut draft = list.draft();
    draft.set("a", Key { score: [1], stamp: 2 });
    assert_ne!(draft.digest(), known);
    let difference = before.differences(&draft, usize::MAX);
    assert_eq!(difference.len(), 1);
    assert_eq!(difference[0].here.map(|key| key.stamp), Some(1));
    assert_eq!(difference[0].there.map(|key| key.stamp), Some(2));
    draft.set("a", Key { score: [1], stamp: 1 });
    assert_eq!(draft.digest(), known);
}

#[test]
#[should_panic(expected = "one seed, one rule")]
fn lists_of_two_seeds_cannot_be_compared() {
    let (here, there) =
        (Shared::<1>::new(Ties::First, SEED), Shared::<1>::new(Ties::First, [0; 16]));
    here.read().differences(&there.read(), 1);
}

#[test]
fn few_differences_are_found_by_looking_at_few_nodes() {
    const LEN: u64 = 100_000;
    /// Nodes and entries that may be looked at for each difference and each doubling of the list.
    /// A member that has moved stands in two places. Around each of them both lists are looked at,
    /// on every fourth doubling of the list a node of 32 rows: 16 on average, and a row is more
    /// likely to be in a long one. That makes 32 for a doubling, and as much again is allowed.
    const COST: u64 = 64;
    let key = |i: u64| Key { score: [i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40], stamp: i };
    let entries = (0..LEN).map(|i| (format!("member-{i}"), key(i)));
    let list = Shared::from_entries(Ties::First, SEED, 0, entries).expect("the names differ");
    let base = list.snapshot();
    base.digest();
    for count in [0, 1, 10, 100] {
        let mut draft = list.draft();
        for i in 0..count {
            draft.set(&format!("member-{}", i * 997), Key { stamp: LEN, ..key(i * 31 + 7) });
        }
        draft.digest();
        let before = visits();
        let found = base.differences(&draft, usize::MAX).len() as u64;
        let visited = visits() - before;
        assert_eq!(found, count);
        let allowed = COST * count.max(1) * u64::from(LEN.ilog2());
        assert!(visited <= allowed, "{visited} visits for {count} differences");
    }
}
