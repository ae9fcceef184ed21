//! How often a name was asked for lately, for a cache that has to choose: the sketch of TinyLFU
//! (Einziger, Friedman, Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", 2017).

/// Rows of counters. A name has one counter in each, and its estimate is the least.
const ROWS: usize = 4;

/// Counters of a row for each entry of the cache: names outside of it are counted as well.
const COUNTERS: usize = 4;

/// Counters of a word, of four bits each.
const IN_WORD: usize = 16;

/// The largest count.
const MOST: u64 = 15;

/// After so many names for each entry all counts are halved.
const PERIOD: usize = 10;

/// A count-min sketch of counters of four bits, which are halved now and then. Takes 8 to 16 bytes
/// for each entry of the cache.
///
/// An estimate is at most 15, and until the first halving never less than the number of times that
/// the name was added, if that is at most 15.
#[derive(Debug)]
pub struct Frequency {
    words: Vec<u64>,
    /// Counters of a row, a power of two, less one.
    mask: usize,
    added: usize,
    period: usize,
}

impl Frequency {
    /// For a cache of so many entries.
    pub fn new(entries: usize) -> Self {
        let width = (entries.max(IN_WORD) * COUNTERS).next_power_of_two();
        let words = vec![0; ROWS * width / IN_WORD];
        Self { words, mask: width - 1, added: 0, period: entries.max(IN_WORD) * PERIOD }
    }

    /// Counts the name that a hash stands for. Only the least of its counters grow, as the others
    /// count other names too (Estan, Varghese, 2002).
    pub fn add(&mut self, hash: u64) {
        let estimate = self.estimate(hash);
        if estimate < MOST {
            for row in 0..ROWS {
                let (word, shift) = self.counter(row, hash);
                if self.words[word] >> shift & MOST == estimate {
                    self.words[word] += 1 << shift;
                }
            }
        }
        self.added += 1;
        if self.added == self.period {
            self.halve();
        }
    }

    /// How often it was counted, at most 15.
    pub fn estimate(&self, hash: u64) -> u64 {
        let count = |row| {
            let (word, shift) = self.counter(row, hash);
            self.words[word] >> shift & MOST
        };
        (0..ROWS).map(count).min().unwrap_or_default()
    }

    /// Halves all counts: what was asked for long ago weighs less.
    pub fn halve(&mut self) {
        self.added /= 2;
        for word in &mut self.words {
            // The lowest bit of a counter must not become the highest one of the next.
            *word = (*word >> 1) & 0x7777_7777_7777_7777;
        }
    }

    /// The word and the place in it of a row's counter, by two hashes made of one (Kirsch,
    /// Mitzenmacher, 2006).
    fn counter(&self, row: usize, hash: u64) -> (usize, usize) {
        let (first, step) = (hash as usize, (hash >> 32) as usize | 1);
        let counter = first.wrapping_add(step.wrapping_mul(row)) & self.mask;
        let width = self.mask + 1;
        ((row * width + counter) / IN_WORD, counter % IN_WORD * 4)
    }
}
