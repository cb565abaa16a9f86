//! What is told of a server that is out of reach.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// Something that content or records are kept with is out of reach for now. It heals without
/// anybody's doing here, so nothing is refused on its account beyond what needs it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what} is out of reach")]
pub struct Unavailable {
    /// What it is, for the log.
    pub what: String,
    /// After how long it is worth to ask again.
    pub retry: Duration,
    /// How that showed.
    pub source: Arc<dyn Error + Send + Sync>,
}
