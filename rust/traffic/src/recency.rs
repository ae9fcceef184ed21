//! In which order names were asked for, and how many since a given one.
//!
//! Every touch takes the next *slot*; a name has one. A bit for each slot says whether a name has
//! it, so the number of names touched after another is a number of ones: those of a few words, and
//! the sums of whole groups of words. That is an order-statistics structure for a small set: a touch
//! changes two bits and adds up at most 71 numbers, far fewer for a name that was read lately. When
//! the slots are used up, the names get the first ones again, in the same order.

use std::mem::replace;

/// Slots: four times as many as names, so three touches of four, at least, find one free.
const SLOTS: usize = 4 * crate::curve::SAMPLES;

const WORDS: usize = SLOTS / 64;

/// Words of a group.
const GROUP: usize = 8;

/// The order of up to [`SAMPLES`](crate::SAMPLES) names, known by numbers below that.
pub(crate) struct Recency {
    /// The next slot.
    head: usize,
    bits: Box<[u64; WORDS]>,
    groups: [u32; WORDS / GROUP],
    /// Whose a slot is, if its bit is set.
    names: Box<[u16; SLOTS]>,
    /// Which slot a name has.
    slots: Vec<u32>,
}

impl Recency {
    pub(crate) fn new() -> Self {
        Self {
            head: 0,
            bits: Box::new([0; WORDS]),
            groups: [0; WORDS / GROUP],
            names: vec![0; SLOTS].into_boxed_slice().try_into().expect("so many"),
            slots: Vec::new(),
        }
    }

    /// Adds a name that is not there. Names come as 0, 1, 2 …, or again after they left.
    pub(crate) fn push(&mut self, name: u16) {
        if usize::from(name) == self.slots.len() {
            self.slots.push(0);
        }
        self.take_slot(name);
    }

    /// Makes a name the newest, and says how many were newer.
    pub(crate) fn touch(&mut self, name: u16) -> u32 {
        let slot = self.slots[usize::from(name)] as usize;
        let newer = self.newer(slot);
        // What is the newest already stays where it is.
        if newer > 0 {
            self.leave(slot);
            self.take_slot(name);
        }
        newer
    }

    /// Takes a name out.
    pub(crate) fn remove(&mut self, name: u16) {
        self.leave(self.slots[usize::from(name)] as usize);
    }

    /// The name that was touched before all others.
    pub(crate) fn oldest(&self) -> Option<u16> {
        let group = self.groups.iter().position(|&ones| ones > 0)?;
        let word = (group * GROUP..WORDS).find(|&word| self.bits[word] != 0)?;
        Some(self.names[word * 64 + self.bits[word].trailing_zeros() as usize])
    }

    fn newer(&self, slot: usize) -> u32 {
        let word = slot / 64;
        let after = (self.bits[word] >> (slot % 64)) >> 1;
        let group = word / GROUP;
        let words = &self.bits[word + 1..(group + 1) * GROUP];
        // After the head there is nothing.
        let groups = self.groups.get(group + 1..self.head.div_ceil(64 * GROUP)).unwrap_or_default();
        after.count_ones()
            + words.iter().map(|word| word.count_ones()).sum::<u32>()
            + groups.iter().sum::<u32>()
    }

    fn take_slot(&mut self, name: u16) {
        if self.head == SLOTS {
            self.compact();
        }
        let slot = self.head;
        self.head += 1;
        self.bits[slot / 64] |= 1 << (slot % 64);
        self.groups[slot / 64 / GROUP] += 1;
        self.names[slot] = name;
        self.slots[usize::from(name)] = slot as u32;
    }

    fn leave(&mut self, slot: usize) {
        self.bits[slot / 64] &= !(1 << (slot % 64));
        self.groups[slot / 64 / GROUP] -= 1;
    }

    /// Moves all names to the first slots. The slot that a name gets is never after the one it has.
    fn compact(&mut self) {
        self.head = 0;
        self.groups.fill(0);
        for word in 0..WORDS {
            let mut ones = replace(&mut self.bits[word], 0);
            while ones != 0 {
                let slot = word * 64 + ones.trailing_zeros() as usize;
                ones &= ones - 1;
                self.take_slot(self.names[slot]);
            }
        }
    }
}
