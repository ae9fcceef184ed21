//! Buckets: which handles may belong to a name.
//!
//! This is linear hashing (W. Litwin, "Linear hashing: a new tool for file and table addressing",
//! VLDB 1980). A member lies in the bucket that the low bits of its hash name. The number of
//! buckets follows that of members one by one: the next bucket in line is split in two, or the last
//! one is merged into the one that it came from. So no member ever waits for the table to grow.
//!
//! A bucket has a row for each of its members: the handle, and a tag, eight other bits of the hash.
//! Hashes are not kept. Who splits a bucket asks for those of its members.

#![allow(unsafe_code, reason = "buckets are read and written as raw memory")]

use crate::block::{Block, HEAD, Maker};
use crate::rows::{self, Shape};
use crate::table::spine::Spine;

/// Members per bucket, on average, at which a bucket is split. Larger ones take less memory per
/// member and longer to search and to copy.
pub(crate) const TARGET: u32 = 36;

/// A bucket is a table of tags and handles. The tags come first, where they mostly share a cache
/// line with the head, so the handles are not aligned and are kept as bytes.
struct Bucket;

impl Shape for Bucket {
    const HEAD: usize = HEAD;
    const WIDTHS: &'static [usize] = &[size_of::<u8>(), size_of::<Handle>()];
}

/// The bytes of a handle.
type Handle = [u8; 4];

/// All buckets; see the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Buckets {
    spine: Spine,
}

impl Buckets {
    /// The first handle with the hash's tag, in the hash's bucket, that is the wanted one.
    pub(crate) fn find(self, hash: u64, mut wanted: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.spine.len() == 0 {
            return None;
        }
        let bucket = self.spine.get(self.place(hash));
        // The handles may lie behind the line with the length and the tags.
        bucket.prefetch(64, 3);
        let (tags, handles) = rows_of(bucket);
        let tag = tag(hash);
        let (words, rest) = tags.as_chunks();
        for (index, word) in words.iter().enumerate() {
            let mut hits = equal_bytes(*word, tag);
            while hits != 0 {
                let row = index * 8 + hits.trailing_zeros() as usize / 8;
                let handle = u32::from_ne_bytes(handles[row]);
                if wanted(handle) {
                    return Some(handle);
                }
                hits &= hits - 1;
            }
        }
        let handles = &handles[words.len() * 8..];
        let last = rest.iter().zip(handles).filter(|(other, _)| **other == tag);
        last.map(|(_, handle)| u32::from_ne_bytes(*handle)).find(|handle| wanted(*handle))
    }

    /// Asks for the memory of the hash's bucket.
    pub(crate) fn warm(self, hash: u64) {
        if self.spine.len() > 0 {
            self.spine.get(self.place(hash)).prefetch(0, 3);
        }
    }

    /// Enters a member; `count` is how many there are then. A bucket may be split, and `hashes`
    /// tells the hashes of its members.
    pub(crate) fn add(
        &mut self,
        maker: &mut Maker,
        hash: u64,
        handle: u32,
        count: u32,
        hashes: impl FnOnce(&[u32]) -> Vec<u64>,
    ) {
        if self.spine.len() == 0 {
            let bucket = rows::make::<Bucket>(maker, 0);
            self.spine.push(maker, bucket);
        }
        let slot = self.spine.get_mut(maker, self.place(hash));
        let row = slot.len();
        // SAFETY: the slot holds a bucket; the row that is added is set.
        unsafe { set(rows::splice::<Bucket>(maker, slot, row, 0, 1), row, handle, tag(hash)) };
        if u64::from(count) > u64::from(TARGET) * u64::from(self.spine.len()) {
            self.split(maker, hashes);
        }
    }

    /// Takes a member out; `count` is how many there are then.
    pub(crate) fn remove(&mut self, maker: &mut Maker, hash: u64, handle: u32, count: u32) {
        let slot = self.spine.get_mut(maker, self.place(hash));
        let row = rows_of(*slot).1.iter().position(|other| *other == handle.to_ne_bytes());
        let row = row.expect("a member is in the bucket of its hash");
        // SAFETY: the slot holds a bucket with that row.
        unsafe { rows::splice::<Bucket>(maker, slot, row, 1, 0) };
        // One bucket less would still have room for a third of its members before it is split
        // again: nobody who adds and removes at a border splits and merges each time.
        let fewer = u64::from(self.spine.len() - 1);
        if u64::from(count) < u64::from(TARGET) * fewer * 3 / 4 {
            self.merge(maker);
        }
    }

    /// See [`Spine::walk`].
    pub(crate) fn walk(self, birth: u64, visit: &mut impl FnMut(Block)) {
        self.spine.walk(birth, visit);
    }

    /// The number of a hash's bucket. There are buckets, in number between 2ⁿ⁻¹ and 2ⁿ: it is the
    /// lowest n bits, or where that bucket is still to be split off, one bit less.
    fn place(self, hash: u64) -> u32 {
        let len = self.spine.len();
        let mask = len.next_power_of_two() - 1;
        let place = hash as u32 & mask;
        if place < len { place } else { place & (mask >> 1) }
    }

    /// Adds a bucket, and moves to it what belongs there from the one that had it before.
    fn split(&mut self, maker: &mut Maker, hashes: impl FnOnce(&[u32]) -> Vec<u64>) {
        let new = self.spine.len();
        let slot = self.spine.get_mut(maker, parent(new));
        let old = *slot;
        let (tags, handles) = rows_of(old);
        let handles: Vec<u32> = handles.iter().map(|handle| u32::from_ne_bytes(*handle)).collect();
        let hashes = hashes(&handles);
        let bit = new.ilog2();
        let half_of = |hash: &u64| (hash >> bit & 1) as usize;
        let moved = hashes.iter().map(half_of).sum::<usize>();
        let halves = [handles.len() - moved, moved].map(|len| rows::make::<Bucket>(maker, len));
        let mut ends = [0, 0];
        for ((handle, tag), hash) in handles.iter().zip(tags).zip(&hashes) {
            let half = half_of(hash);
            // SAFETY: the half is fresh and was made for so many rows.
            unsafe { set(halves[half], ends[half], *handle, *tag) };
            ends[half] += 1;
        }
        *slot = halves[0];
        maker.release(old);
        self.spine.push(maker, halves[1]);
    }

    /// Moves the rows of the last bucket to the one that it was split off.
    fn merge(&mut self, maker: &mut Maker) {
        let last = self.spine.pop(maker);
        let slot = self.spine.get_mut(maker, parent(self.spine.len()));
        let (at, count) = (slot.len(), last.len());
        // SAFETY: both are buckets, and the rows that are added are set.
        unsafe {
            let target = rows::splice::<Bucket>(maker, slot, at, 0, count);
            rows::copy::<Bucket>(last, 0, count, target, at);
        }
        maker.release(last);
    }
}

/// The bucket that a bucket is split off: its number without the highest bit.
fn parent(bucket: u32) -> u32 {
    bucket & !(1 << bucket.ilog2())
}

/// Bits 28 to 35. Those below may name the bucket, those above give the height in the tree.
fn tag(hash: u64) -> u8 {
    (hash >> 28) as u8
}

/// A bucket's tags and handles.
fn rows_of<'a>(bucket: Block) -> (&'a [u8], &'a [Handle]) {
    // SAFETY: the block is a bucket. Callers let go of the rows before they change it.
    unsafe { (rows::column::<Bucket, _>(bucket, 0), rows::column::<Bucket, _>(bucket, 1)) }
}

/// Sets a row.
///
/// # Safety
///
/// The bucket is private and has such a row.
unsafe fn set(bucket: Block, row: usize, handle: u32, tag: u8) {
    // SAFETY: the caller's promise.
    unsafe {
        rows::set::<Bucket, _>(bucket, 0, row, tag);
        rows::set::<Bucket, _>(bucket, 1, row, handle.to_ne_bytes());
    }
}

/// The top bit of each byte that is equal to `byte`.
fn equal_bytes(bytes: [u8; 8], byte: u8) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    let differing = u64::from_le_bytes(bytes) ^ u64::from_ne_bytes([byte; 8]);
    !(((differing & LOW) + LOW) | differing | LOW)
}
