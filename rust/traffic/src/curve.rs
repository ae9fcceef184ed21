//! What an LRU cache of any size would miss: fixed-size SHARDS with its correction SHARDS-adj
//! (Waldspurger, Park, Garthwaite, Ahmad, "Efficient MRC Construction with SHARDS", FAST 2015).
//!
//! A read is a hit in an LRU cache of `n` entries if fewer than `n` other names were read since the
//! name's last read (Mattson and others, 1970). That distance is counted among a sample of the
//! names: those whose hashes are below a threshold, so every read of a name is in the sample or
//! none. While there are at most [`SAMPLES`] names, all are in it, and the curve is exact at sizes
//! below 64 and has steps of 3 % of the size above. When there are more, the name with the largest
//! hash leaves and the threshold is its hash; distances and weights are divided by the rate. What
//! the sampled weights lack against the reads that there really were is added to the shortest
//! distance, for what is missing is mostly reads of single hot names.
//!
//! **Expiry.** An entry that is void, because it is too old or of another version, is a miss at
//! every size, and the read fills it anew. The moment of a fill is that of a cache that never drops
//! anything for want of room. A small cache drops and refills entries meanwhile, so some of its
//! entries are fresher than they count here: for it the curve is a little too high. Void entries
//! take up room until they are read or have become the last; caches that clear them away early do
//! a little better as well.
//!
//! **Recent traffic.** Every ten minutes all counts are halved, so about half of the weight is on
//! the last ten minutes and nearly all on the last hour. Names that were not read for so long that
//! their entries are void (with versions: for an hour) leave the sample when it needs room, and
//! every ten minutes, so that it is of names that are read now. When there are few left of a sample
//! that had been thinned, the curve begins anew: after a crawler it would stay coarse for ever.

use std::collections::BTreeSet;

use crate::distances::Distances;
use crate::names::ByHash;
use crate::real;
use crate::recency::Recency;

/// Most names in the sample: the size at which the paper finds mean errors below 0.01.
pub const SAMPLES: usize = 8192;

const HALF_LIFE_MS: u64 = 600_000;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// 2^64: the number of hashes.
const HASHES: f64 = 18_446_744_073_709_551_616.0;

/// How long what a read finds is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fresh {
    /// For so many milliseconds after it was filled.
    For(u64),
    /// As long as it is of this version. A thing that never changes is always of the same.
    Version(u64),
}

#[derive(Clone, Copy)]
struct Sample {
    hash: u64,
    /// When it was filled, or with which version.
    filled: u64,
    read_ms: u64,
}

/// The miss ratio of an LRU cache by its number of entries. Times are those of [`Traffic`].
///
/// [`Traffic`]: crate::Traffic
pub struct Curve {
    /// Hashes from here on are not in the sample.
    threshold: u64,
    /// How many reads one of the sample stands for.
    weight: f64,
    samples: Vec<Sample>,
    /// Places in `samples` that are free.
    free: Vec<u16>,
    index: ByHash<u16>,
    hashes: BTreeSet<u64>,
    recency: Recency,
    reads: f64,
    /// The weights of the sample's reads.
    weighed: f64,
    distances: Distances,
    half_lives: Option<u64>,
}

impl Default for Curve {
    fn default() -> Self {
        Self {
            threshold: u64::MAX,
            weight: 1.0,
            samples: Vec::new(),
            free: Vec::new(),
            index: ByHash::default(),
            hashes: BTreeSet::new(),
            recency: Recency::new(),
            reads: 0.0,
            weighed: 0.0,
            distances: Distances::new(),
            half_lives: None,
        }
    }
}

impl Curve {
    /// Takes a read of the name that `hash` stands for.
    pub fn add(&mut self, now_ms: u64, hash: u64, fresh: Fresh) {
        if self.half_lives != Some(now_ms / HALF_LIFE_MS) {
            self.advance(now_ms, fresh);
        }
        self.reads += 1.0;
        if hash >= self.threshold {
            return;
        }
        self.weighed += self.weight;
        let filled = match fresh {
            Fresh::For(_) => now_ms,
            Fresh::Version(version) => version,
        };
        if let Some(&place) = self.index.get(&hash) {
            self.read_again(place, now_ms, filled, fresh);
        } else {
            self.read_first(Sample { hash, filled, read_ms: now_ms }, fresh);
        }
    }

    /// The miss ratio, 0 to 1, of a cache of each of the sizes; `None` when nothing was read.
    pub fn miss_ratios(&self, sizes: &[u64]) -> Option<Vec<f64>> {
        if self.reads <= 0.0 {
            return None;
        }
        let lacking = self.reads - self.weighed;
        let ratio = |&size: &u64| {
            let hits = if size == 0 { 0.0 } else { self.distances.up_to(size) + lacking };
            (1.0 - hits / self.reads).clamp(0.0, 1.0)
        };
        Some(sizes.iter().map(ratio).collect())
    }

    fn read_again(&mut self, place: u16, now_ms: u64, filled: u64, fresh: Fresh) {
        let newer = self.recency.touch(place);
        let sample = &mut self.samples[usize::from(place)];
        sample.read_ms = now_ms;
        let is_fresh = match fresh {
            Fresh::For(ms) => now_ms.saturating_sub(sample.filled) <= ms,
            Fresh::Version(version) => sample.filled == version,
        };
        if is_fresh {
            #[expect(clippy::cast_sign_loss, reason = "a product of two positive numbers")]
            let others = (f64::from(newer) * self.weight) as u64;
            self.distances.add(others + 1, self.weight);
        } else {
            sample.filled = filled;
        }
    }

    fn read_first(&mut self, sample: Sample, fresh: Fresh) {
        if self.index.len() == SAMPLES && !self.forget_idle(sample.read_ms, fresh) {
            let Some(&largest) = self.hashes.last() else { return };
            self.threshold = largest.max(sample.hash);
            self.weight = HASHES / real(self.threshold);
            if sample.hash > largest {
                return;
            }
            self.forget(largest);
        }
        let place = self.free.pop().unwrap_or(self.samples.len() as u16);
        match self.samples.get_mut(usize::from(place)) {
            Some(free) => *free = sample,
            None => self.samples.push(sample),
        }
        self.index.insert(sample.hash, place);
        self.hashes.insert(sample.hash);
        self.recency.push(place);
    }

    /// Forgets the name that was not read for the longest time, if that is long enough.
    fn forget_idle(&mut self, now_ms: u64, fresh: Fresh) -> bool {
        let idle_ms = match fresh {
            Fresh::For(ms) => ms.min(DAY_MS),
            Fresh::Version(_) => HOUR_MS,
        };
        let Some(oldest) = self.recency.oldest() else { return false };
        let Sample { hash, read_ms, .. } = self.samples[usize::from(oldest)];
        let is_idle = now_ms.saturating_sub(read_ms) > idle_ms;
        if is_idle {
            self.forget(hash);
        }
        is_idle
    }

    fn forget(&mut self, hash: u64) {
        self.hashes.remove(&hash);
        if let Some(place) = self.index.remove(&hash) {
            self.recency.remove(place);
            self.free.push(place);
        }
    }

    #[cold]
    fn advance(&mut self, now_ms: u64, fresh: Fresh) {
        let half_lives = now_ms / HALF_LIFE_MS;
        let before = *self.half_lives.get_or_insert(half_lives);
        if half_lives > before {
            self.half_lives = Some(half_lives);
            self.age((-real(half_lives - before)).exp2());
            while self.forget_idle(now_ms, fresh) {}
            if self.threshold < u64::MAX && self.index.len() < SAMPLES / 4 {
                *self = Self { half_lives: self.half_lives, ..Self::default() };
            }
        }
    }

    fn age(&mut self, part: f64) {
        self.reads *= part;
        self.weighed *= part;
        self.distances.scale(part);
    }
}

impl std::fmt::Debug for Curve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Curve").field("names", &self.index.len()).finish_non_exhaustive()
    }
}
