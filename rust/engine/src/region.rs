//! Regions: what an engine knows of its place among several.
//!
//! A region is a cluster of its own that has the batches of all others in its journal. The engine
//! needs two things of it: the [`region_id`], for records that count in one region only, and whether
//! writes are taken here or in the primary region.

use arc_swap::ArcSwapOption;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::queue::Command;

/// Identity of a region in records; 0 is that of an engine without a region. The server makes it of
/// the identity of the region's database: another one that comes in its place was never wrong.
pub type RegionId = u64;

/// The id of the region that is called `name`: 63 bits, so that every storage can hold it as an integer, and never
/// 0. The same on every node and in every version, for records carry it; golden vectors pin it.
pub fn region_id(name: &str) -> RegionId {
    let hash = Sha256::new().chain_update("rankwire region ").chain_update(name).finalize();
    let mut head = [0; 8];
    head.copy_from_slice(&hash[..8]);
    (u64::from_le_bytes(head) >> 1).max(1)
}

/// Which writes belong to another region.
#[derive(Debug, Default)]
pub(crate) struct Primacy(ArcSwapOption<Elsewhere>);

#[derive(Debug)]
struct Elsewhere {
    /// The region that takes them, if it is known.
    primary: Option<String>,
    /// Whether scores and removals are taken here all the same.
    writes: bool,
    /// Whether boards are created and deleted here all the same.
    names: bool,
}

impl Primacy {
    /// See [`Engine::set_primary`](crate::Engine::set_primary).
    pub(crate) fn set(&self, primary: Option<String>, writes: bool, names: bool) {
        let elsewhere = (!writes || !names).then_some(Elsewhere { primary, writes, names });
        self.0.store(elsewhere.map(Into::into));
    }

    /// Whether a command is taken here. A repair always is: it says nothing that is new.
    pub(crate) fn check(&self, command: &Command) -> Result<(), Error> {
        let elsewhere = self.0.load();
        let Some(elsewhere) = &*elsewhere else { return Ok(()) };
        let is_taken = match command {
            Command::Create { .. } | Command::Drop { .. } => elsewhere.names,
            Command::Submit { .. } | Command::Batch { .. } | Command::Remove { .. } => {
                elsewhere.writes
            }
            Command::Repair { .. } => true,
        };
        if is_taken { Ok(()) } else { Err(Error::NotPrimary(elsewhere.primary.clone())) }
    }

    /// What those are told whose write the storage refuses because it belongs to another region.
    pub(crate) fn refusal(&self) -> Error {
        let elsewhere = self.0.load();
        Error::NotPrimary(elsewhere.as_ref().and_then(|elsewhere| elsewhere.primary.clone()))
    }
}
