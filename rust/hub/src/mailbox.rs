//! How a view tells a connection that there is something new, without a queue.
//!
//! A mailbox has one bit per subscription of its connection. Publishing sets the bit and wakes the
//! connection; setting a bit that is set costs nothing more, so a connection that is busy with a
//! slow socket collects bits and no states. The connection clears the bits and then loads the
//! newest state of each view, so a state stored before its bit was set is never missed. A bit that
//! outlived its subscription is harmless: the connection looks whether the state is a new one.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::limits::CHANNELS;

const WORDS: usize = CHANNELS / u64::BITS as usize;

/// The bits of one connection, shared by the connection and the views that it watches.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    /// Bit `slot % 64` of word `slot / 64`: that subscription has a new state.
    bits: [AtomicU64; WORDS],
    /// Wakes the connection. A permit stays if it is not waiting.
    notify: Notify,
}

impl Mailbox {
    /// Says that the subscription in `slot` has a new state.
    pub(crate) fn mark(&self, slot: usize) {
        let (word, bit) = (slot / 64, 1 << (slot % 64));
        // Release pairs with the Acquire in `take`: who sees the bit sees the state stored before.
        if self.bits[word].fetch_or(bit, Ordering::Release) & bit == 0 {
            self.notify.notify_one();
        }
    }

    /// Waits until something was marked. Cancel safe: a wake-up that was not taken stays.
    pub(crate) async fn marked(&self) {
        self.notify.notified().await;
    }

    /// Clears the bits and returns the slots that were marked.
    pub(crate) fn take(&self) -> impl Iterator<Item = usize> + use<> {
        let [low, high] = [0, 1].map(|word: usize| self.bits[word].swap(0, Ordering::Acquire));
        let mut bits = u128::from(high) << 64 | u128::from(low);
        std::iter::from_fn(move || {
            let slot = bits.trailing_zeros() as usize;
            bits &= bits.wrapping_sub(1);
            (slot < CHANNELS).then_some(slot)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_out_once_and_in_order() {
        let mailbox = Mailbox::default();
        for slot in [127, 0, 64, 63, 0] {
            mailbox.mark(slot);
        }
        assert_eq!(mailbox.take().collect::<Vec<_>>(), [0, 63, 64, 127]);
        assert_eq!(mailbox.take().count(), 0);
        (0..CHANNELS).for_each(|slot| mailbox.mark(slot));
        assert!(mailbox.take().eq(0..CHANNELS));
    }
}
