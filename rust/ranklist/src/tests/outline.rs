//! Outlines of two lists, told apart by comparing them piece by piece as two machines do.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;

use super::history::cases;
use super::model::{ALL_TIES, Model, SEED};
use super::names::TALL;
use crate::{Key, Part, Piece, Shared, Ties, Version};

/// A member, and the key that it has or loses.
fn change() -> impl Strategy<Value = (usize, Option<Key>)> {
    let key = (0..9_u64, 0..3_u64).prop_map(|(score, stamp)| Key { score: [score], stamp });
    (0..TALL.len(), prop::option::weighted(0.8, key))
}

fn put(model: &mut Model<1>, changes: &[(usize, Option<Key>)]) {
    for (name, key) in changes {
        model.put(&TALL[*name], *key);
    }
}

/// Where a range begins or ends: at a member with its key, or after it.
#[derive(Clone)]
struct Spot {
    member: String,
    key: Key,
    is_after: bool,
}

impl Spot {
    fn at(list: &Version, offset: u64, is_after: bool) -> Self {
        let entry = list.select(offset + 1).expect("a piece has entries");
        Self { member: entry.member.to_owned(), key: entry.key, is_after }
    }

    fn offset(&self, list: &Version) -> u64 {
        let is_there = self.is_after && list.get(&self.member) == Some(self.key);
        list.before(&self.member, self.key) + u64::from(is_there)
    }
}

type Bounds = (Option<Spot>, Option<Spot>);

/// Two lists that know nothing of each other but outlines, and the pieces that those had.
struct Machines<'a> {
    here: &'a Version,
    there: &'a Version,
    pieces: usize,
    found: BTreeSet<String>,
}

impl Machines<'_> {
    fn range(list: &Version, (from, to): &Bounds) -> (u64, u64) {
        let start = from.as_ref().map_or(0, |spot| spot.offset(list));
        (start, to.as_ref().map_or(list.len(), |spot| spot.offset(list)))
    }

    fn outline(&mut self, list: &Version, level: usize, bounds: &Bounds) -> Vec<Piece> {
        let (start, end) = Self::range(list, bounds);
        let pieces: Vec<_> = list.outline(level, start, end).collect();
        assert_tiles(&pieces, (start, end));
        self.pieces += pieces.len();
        pieces
    }

    fn compare(&mut self, level: usize, bounds: &Bounds) {
        let (here, there) = (self.here, self.there);
        let ours = self.outline(here, level, bounds);
        let theirs = self.outline(there, level, bounds);
        for Part { ours: part, is_after, .. } in Piece::differing(&ours, &theirs) {
            let from = match part.start {
                0 => bounds.0.clone(),
                start if is_after => {
                    let last = &ours[start - 1];
                    Some(Spot::at(here, last.offset + last.entries - 1, true))
                }
                start => Some(Spot::at(here, ours[start].offset, false)),
            };
            let end = ours.get(part.end);
            let to =
                end.map_or(bounds.1.clone(), |piece| Some(Spot::at(here, piece.offset, false)));
            if level > 0 {
                self.compare(level - 1, &(from, to));
            } else {
                self.exchange(&(from, to));
            }
        }
    }

    fn exchange(&mut self, bounds: &Bounds) {
        for list in [self.here, self.there] {
            let (start, end) = Self::range(list, bounds);
            let page = list.page(start, (end - start) as usize);
            self.found.extend(page.map(|entry| entry.member.to_owned()));
        }
    }
}

/// Checks that the pieces are the entries of the range, each once.
fn assert_tiles(pieces: &[Piece], (start, end): (u64, u64)) {
    let mut next = start;
    for piece in pieces {
        assert_eq!(piece.offset, next);
        assert!(piece.entries > 0);
        next += piece.entries;
    }
    assert_eq!(next, end.max(start));
}

/// The members that differ, and how many pieces were compared.
fn descend(here: &Version, there: &Version) -> (BTreeSet<String>, usize) {
    let mut machines = Machines { here, there, pieces: 0, found: BTreeSet::new() };
    machines.compare(here.levels().max(there.levels()) - 1, &(None, None));
    (machines.found, machines.pieces)
}

proptest! {
    #![proptest_config(cases(256))]

    /// What a descent finds is what the comparison of both lists in one place finds, and the models.
    #[test]
    fn outlines_tell_lists_apart(
        ties in select(&ALL_TIES[..]),
        start in prop::collection::vec(change(), 0..100),
        left in prop::collection::vec(change(), 0..40),
        right in prop::collection::vec(change(), 0..4),
    ) {
        let mut first = Model::new(ties, 0);
        put(&mut first, &start);
        let mut second = first.clone();
        put(&mut first, &left);
        put(&mut second, &right);

        let (here, there) = (first.list().snapshot(), second.list().snapshot());
        let differences = here.differences(&there, usize::MAX);
        let expected: BTreeSet<String> =
            differences.iter().map(|difference| difference.member.to_owned()).collect();
        prop_assert_eq!(differences, first.differences(&second));
        prop_assert_eq!(descend(&here, &there).0, expected.clone());
        prop_assert_eq!(descend(&there, &here).0, expected);
    }

    /// Any range of a list is cut as that range is by itself, but for its ends: pieces lie within
    /// the range, and those of two lists that hold the same there are the same.
    #[test]
    fn ranges_are_cut_by_what_is_in_them(
        ties in select(&ALL_TIES[..]),
        changes in prop::collection::vec(change(), 1..100),
        level in 0..5_usize,
        from in 0..100_u64,
        len in 0..100_u64,
    ) {
        let mut model = Model::new(ties, 0);
        put(&mut model, &changes);
        let list = model.list().snapshot();
        let (start, end) = (from.min(list.len()), (from + len).min(list.len()));
        let pieces: Vec<_> = list.outline(level, start, end).collect();
        assert_tiles(&pieces, (start, end));
        let again = model.list().snapshot();
        prop_assert_eq!(again.outline(level, start, end).collect::<Vec<_>>(), pieces);
        for entry in list.iter() {
            prop_assert_eq!(list.before(entry.member, entry.key), entry.rank - 1);
        }
    }

    /// A place among the entries is known also of those who are not there.
    #[test]
    fn a_place_is_where_the_member_would_stand(
        ties in select(&ALL_TIES[..]),
        changes in prop::collection::vec(change(), 0..100),
        (member, key) in change(),
    ) {
        let mut model = Model::new(ties, 0);
        put(&mut model, &changes);
        model.put(&TALL[member], None);
        let list = model.list().snapshot();
        let key = key.unwrap_or(Key { score: [4], stamp: 1 });
        let place = list.before(&TALL[member], key);
        model.put(&TALL[member], Some(key));
        prop_assert_eq!(model.standing(&TALL[member]).map(|standing| standing.rank), Some(place + 1));
    }
}

#[test]
fn few_differences_are_found_by_few_pieces() {
    const LEN: u64 = 100_000;
    /// Pieces of both lists for each difference and each level: around each of the two places of a
    /// member that moved, a node of 32 rows in each list, as in the test of differences.
    const COST: usize = 2 * 2 * 32;
    let key = |i: u64| Key { score: [i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40], stamp: i };
    let entries = (0..LEN).map(|i| (format!("member-{i}"), key(i)));
    let list = Shared::from_entries(Ties::First, SEED, 0, entries).expect("the names differ");
    let base = list.snapshot();
    for count in [0, 1, 10, 100] {
        let mut draft = list.draft();
        for i in 0..count {
            draft.set(&format!("member-{}", i * 997), Key { stamp: LEN, ..key(i * 31 + 7) });
        }
        let (found, pieces) = descend(&base, &draft);
        assert_eq!(found.len() as u64, count);
        let allowed = COST * count.max(1) as usize * base.levels();
        assert!(pieces <= allowed, "{pieces} pieces for {count} differences");
    }
}
