//! Where and how a node keeps its files.

use super::composed::Kept;
use super::size::Size;
use super::{DurabilityArg, Settings, VerifyArg, WrongSetting};
use crate::disk::Durability;
use crate::peer::membership::Joined;
use crate::store::local;
#[cfg(feature = "shared")]
use crate::store::shared;

impl Settings {
    /// Where files are kept, also those of others in a network where the node is a member by
    /// `joined`. Reads the certificates of whom to believe there.
    pub(super) fn kept(&self, joined: Option<&Joined>) -> Result<Kept, WrongSetting> {
        #[cfg(feature = "shared")]
        if let Some(shared) = self.shared()? {
            if self.room.trash().is_some() {
                let told = "files that several nodes share have no trash yet: leave it off, or keep \
                            them in a storage directory";
                return Err(WrongSetting::new(&["trash", "index"], told));
            }
            self.access.copying.check_unshared()?;
            return Ok(Kept::Shared(Box::new(shared)));
        }
        let copies = self.access.copying.options(joined, self.discover_every)?;
        Ok(Kept::Here(self.store(), copies))
    }

    /// Where and how the node keeps its files.
    pub fn store(&self) -> local::Options {
        local::Options {
            durability: match self.durability {
                DurabilityArg::Always => Durability::Always,
                DurabilityArg::Relaxed => Durability::Relaxed,
            },
            max_upload: self.max_upload.map(|Size(bytes)| bytes),
            quota: self.room.quota.map(|Size(bytes)| bytes),
            reserve: self.room.min_free.0,
            trash: self.room.trash(),
            verify_reads: self.verify_reads == VerifyArg::On,
            ..local::Options::new(&self.storage)
        }
    }

    /// The servers that keep the files for several nodes, if they are set. In the directory of
    /// [`Settings::store`] is then what this node alone needs.
    #[cfg(feature = "shared")]
    fn shared(&self) -> Result<Option<shared::Options>, WrongSetting> {
        let is_relaxed = matches!(self.durability, DurabilityArg::Relaxed);
        self.shared.shared(self.store(), is_relaxed)
    }
}
