//! Hashes that stand for names.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use siphasher::sip::SipHasher13;

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system has no randomness to give")]
pub struct Entropy;

/// Hashes names with a secret key (SipHash-1-3; Aumasson, Bernstein 2012): without it nobody can
/// find names whose hashes meet. Of a million names two meet once in 37 million processes.
#[derive(Clone)]
pub struct Names(SipHasher13);

impl Names {
    /// With a key that nobody knows.
    ///
    /// # Errors
    /// [`Entropy`].
    pub fn new() -> Result<Self, Entropy> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|_| Entropy)?;
        Ok(Self::with_key(key))
    }

    /// With a key that is known; for tests and for comparing.
    pub fn with_key(key: [u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(&key))
    }

    /// The hash of a name.
    pub fn hash(&self, name: &str) -> u64 {
        self.0.hash(name.as_bytes())
    }

    /// The hash of a page of something that has a hash.
    pub(crate) fn page(&self, of: u64, offset: u64, limit: u64) -> u64 {
        let mut bytes = [0; 24];
        for (part, number) in bytes.chunks_exact_mut(8).zip([of, offset, limit]) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        self.0.hash(&bytes)
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

/// A table by hashes of names.
pub(crate) type ByHash<T> = HashMap<u64, T, BuildHasherDefault<Spread>>;

/// What is hashed is a hash already. It is only spread: where the names of a sample have hashes
/// below a threshold, the first bits of all are equal, and a table looks at these.
#[derive(Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn write_u64(&mut self, hash: u64) {
        // 2^64 divided by the golden ratio (Knuth, The Art of Computer Programming, 6.4).
        self.0 = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are hashes");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
