//! Names: a persistent vector of the members' names, by handle.
//!
//! A page has the names of [`PAGE`] handles: after the head their lengths, then their bytes, one
//! name behind the other. Where a name starts is the sum of the lengths before it. The head counts
//! the bytes of all names of the page. Handles that are free have a name of no bytes.

#![allow(unsafe_code, reason = "pages are read and written as raw memory")]

use std::ptr;

use crate::block::{Block, HEAD, Maker};
use crate::table::spine::Spine;

/// The longest name, in bytes: its length is kept in one byte.
pub(crate) const MAX_NAME: usize = 255;

/// Names of a page. With this many, names of 20 bytes fill a size class, 512 bytes, but for 13.
const PAGE: u32 = 23;

/// Where the bytes of the names start.
const TEXT: usize = HEAD + PAGE as usize;

/// The lengths of a page's names.
type Lengths = [u8; PAGE as usize];

/// The names of all handles; see the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Names {
    spine: Spine,
}

impl Names {
    /// The name of a handle that is in use.
    pub(crate) fn get(&self, handle: u32) -> &str {
        let (page, row) = (self.spine.get(handle / PAGE), row(handle));
        let lengths = lengths(page);
        let (start, len) = (start(&lengths, row), usize::from(lengths[row]));
        // SAFETY: the page has those bytes. They were copied from a `str`, and whole.
        unsafe { str::from_utf8_unchecked(page.items(TEXT + start, len)) }
    }

    /// Sets the name of a handle that has none. Its page exists, or is the next one.
    ///
    /// # Panics
    ///
    /// If the name is longer than [`MAX_NAME`].
    pub(crate) fn put(&mut self, maker: &mut Maker, handle: u32, name: &str) {
        assert!(name.len() <= MAX_NAME, "a name has at most {MAX_NAME} bytes");
        if handle / PAGE == self.spine.len() {
            let page = maker.make(TEXT + name.len(), 0);
            // SAFETY: the page is fresh and has room for the lengths.
            unsafe { page.at::<Lengths>(HEAD).write([0; PAGE as usize]) };
            self.spine.push(maker, page);
        }
        self.replace(maker, handle, name.as_bytes());
    }

    /// Takes the name of a handle off.
    pub(crate) fn clear(&mut self, maker: &mut Maker, handle: u32) {
        self.replace(maker, handle, &[]);
    }

    /// Asks for the memory that [`get`](Self::get) is going to read, or most of it.
    pub(crate) fn warm(&self, handle: u32) {
        self.spine.get(handle / PAGE).prefetch(0, 8);
    }

    /// See [`Spine::walk`].
    pub(crate) fn walk(&self, birth: u64, visit: &mut impl FnMut(Block)) {
        self.spine.walk(birth, visit);
    }

    /// Puts `name` in the place of the handle's name, in the page itself if it is private and has
    /// the room, but not far too much.
    fn replace(&mut self, maker: &mut Maker, handle: u32, name: &[u8]) {
        let slot = self.spine.get_mut(maker, handle / PAGE);
        let (old, row) = (*slot, row(handle));
        let mut lengths = lengths(old);
        let start = start(&lengths, row);
        let end = start + usize::from(lengths[row]);
        let rest = old.len() - end;
        let len = start + name.len() + rest;
        lengths[row] = name.len() as u8;
        let needed = TEXT + len;
        let fits = needed <= old.bytes() && old.bytes() <= 2 * needed;
        let page = if fits && maker.owns(old) { old } else { maker.make(needed, len) };
        // SAFETY: both pages have room for what is moved, and `page` is private. The rest moves
        // first, and may overlap itself; what lies before the name moves only between pages.
        unsafe {
            let (source, target) = (old.at::<u8>(TEXT), page.at::<u8>(TEXT));
            ptr::copy(source.add(end), target.add(start + name.len()), rest);
            if page != old {
                ptr::copy_nonoverlapping(source, target, start);
            }
            ptr::copy_nonoverlapping(name.as_ptr(), target.add(start), name.len());
            page.at::<Lengths>(HEAD).write(lengths);
        }
        page.set_len(len);
        if page != old {
            *slot = page;
            maker.release(old);
        }
    }
}

fn row(handle: u32) -> usize {
    (handle % PAGE) as usize
}

fn lengths(page: Block) -> Lengths {
    // SAFETY: a page has its lengths from the start.
    unsafe { page.at::<Lengths>(HEAD).read() }
}

/// The sum of the lengths before `row`. It looks at all of them, because that needs no branch.
fn start(lengths: &Lengths, row: usize) -> usize {
    let before =
        |(index, len): (u8, &u8)| if usize::from(index) < row { u16::from(*len) } else { 0 };
    usize::from((0..).zip(lengths).map(before).sum::<u16>())
}
