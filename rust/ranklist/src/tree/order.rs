//! The order among entries of equal score.
//!
//! Inner nodes keep a *code* of eight bytes for each entry that they name, so that a search among
//! equal scores looks at nothing else, and goes on to the names only where codes are equal. Where
//! stamps decide, the code is the stamp. Where names decide, it is what follows the prefix that most
//! names have in common, since ids tend to start alike: `player-000…`. A name without the prefix has
//! the lowest code or the highest, so codes never contradict the names, whatever the prefix; a good
//! one saves time. It is learnt when a list is built, and again when it reaches [`LEARN`] members.
//!
//! Codes are no part of a list's contents. Two lists of equal contents may have other prefixes.

use crate::key::Ties;

/// When a growing list learns its prefix again: there are enough names to judge, and few enough to
/// rebuild the tree on the spot, which takes less than a millisecond.
pub(crate) const LEARN: u64 = 1024;

/// The longest prefix.
const PREFIX: usize = 31;

/// The rule of a list; see the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    ties: Ties,
    len: u8,
    prefix: [u8; PREFIX],
}

impl Order {
    /// The order before there are names to learn from.
    pub(crate) fn new(ties: Ties) -> Self {
        Self { ties, len: 0, prefix: [0; PREFIX] }
    }

    pub(crate) fn ties(&self) -> Ties {
        self.ties
    }

    /// The same order, with the prefix that all of the names have.
    #[expect(single_use_lifetimes, reason = "an argument of this kind has to name it")]
    pub(crate) fn learn<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> Self {
        let mut order = Self::new(self.ties);
        if self.ties != Ties::Member {
            return order;
        }
        let Some(first) = names.next() else { return order };
        let first = &first.as_bytes()[..first.len().min(PREFIX)];
        let mut common = first.len();
        for name in names {
            let pairs = first[..common].iter().zip(name.as_bytes());
            common = pairs.take_while(|(a, b)| a == b).count();
        }
        order.len = common as u8;
        order.prefix[..common].copy_from_slice(&first[..common]);
        order
    }

    /// What orders entries of equal score, ascending; see the module.
    pub(crate) fn code(&self, stamp: u64, name: &str) -> u64 {
        match self.ties {
            Ties::First => stamp,
            Ties::Last => !stamp,
            Ties::Member => self.name_code(name.as_bytes()),
        }
    }

    /// About the code of an entry whose stamp is newer than all others.
    pub(crate) fn newest(&self, name: &str) -> u64 {
        self.code(u64::MAX, name)
    }

    fn name_code(&self, name: &[u8]) -> u64 {
        let prefix = &self.prefix[..usize::from(self.len)];
        let Some(rest) = name.strip_prefix(prefix) else {
            return if name < prefix { 0 } else { u64::MAX };
        };
        let mut code = [0; 8];
        let len = rest.len().min(8);
        code[..len].copy_from_slice(&rest[..len]);
        u64::from_be_bytes(code)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// With any prefix, also one that the names do not have.
        #[test]
        fn codes_never_contradict_names(
            learnt in prop::collection::vec("[ab]{0,4}", 0..3),
            first in "[abc]{0,12}",
            second in "[abc]{0,12}",
        ) {
            let order = Order::new(Ties::Member).learn(learnt.iter().map(String::as_str));
            let codes = order.code(1, &first).cmp(&order.code(2, &second));
            prop_assert!(codes.is_eq() || codes == first.as_bytes().cmp(second.as_bytes()));
        }
    }

    #[test]
    fn what_all_names_have_is_left_out() {
        let names = ["player-0000017", "player-0000018", "player-0001900"];
        let order = Order::new(Ties::Member).learn(names.into_iter());
        let codes = names.map(|name| order.code(0, name));
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
    }
}
