//! Where it is remembered how far the scrub is, and whose turn it is: this node's alone, or by
//! turns with all that share its store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::round::{Rounds, SCRUB};
use crate::care_rows::Care;
use crate::node::care::Cares;
use crate::small_state::{SmallState, StateError};

/// How often it is written down how far a round is.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// Where it is remembered.
pub(super) enum Memory {
    /// In this node's small state.
    Own(Arc<dyn SmallState>),
    /// Where all nodes find it.
    Shared {
        cares: Cares,
        /// How often it was written when it was looked at last; less than ever at first.
        seen: AtomicI64,
    },
}

impl Memory {
    pub(super) fn new(cares: Option<Cares>, state: Arc<dyn SmallState>) -> Self {
        match cares {
            Some(cares) => Self::Shared {
                cares,
                seen: AtomicI64::new(-1),
            },
            None => Self::Own(state),
        }
    }

    /// What is remembered; None where that is known already.
    pub(super) async fn load(&self) -> Result<Option<Rounds>, StateError> {
        let content = match self {
            Self::Own(state) => state.load(&SCRUB).await?.unwrap_or_default(),
            Self::Shared { cares, seen } => {
                let (version, content) = cares.rows.scrub().await?;
                if seen.swap(version, Ordering::Relaxed) == version {
                    return Ok(None);
                }
                content
            }
        };
        Ok(Some(serde_json::from_slice(&content).unwrap_or_default()))
    }

    /// Writes down how far it is; false where another node has since that was looked at.
    pub(super) async fn save(&self, rounds: &Rounds) -> Result<bool, StateError> {
        let content = serde_json::json!(rounds).to_string().into_bytes();
        match self {
            Self::Own(state) => state.save(&SCRUB, content).await.map(|()| true),
            Self::Shared { cares, seen } => {
                let found = seen.load(Ordering::Relaxed);
                let is_noted = cares.rows.note_scrub(found, &content).await?;
                if is_noted {
                    seen.store(found + 1, Ordering::Relaxed);
                }
                Ok(is_noted)
            }
        }
    }

    /// Takes the turn at making a round, or keeps it; false where another node has it.
    pub(super) async fn take_turn(&self) -> Result<bool, StateError> {
        match self {
            Self::Own(_) => Ok(true),
            Self::Shared { cares, .. } => Ok(cares.take(Care::Scrub).await?),
        }
    }

    /// Gives it up.
    pub(super) async fn leave_turn(&self) {
        if let Self::Shared { cares, .. } = self {
            cares.leave(Care::Scrub).await;
        }
    }

    /// Whether other nodes remember it, too.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Shared { .. })
    }

    /// How often to write down how far it is, and to keep the turn with that.
    pub(super) fn save_every(&self) -> Duration {
        match self {
            Self::Own(_) => SAVE_EVERY,
            Self::Shared { cares, .. } => SAVE_EVERY.min(cares.rows.lease() / 4),
        }
    }
}
