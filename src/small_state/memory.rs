//! Small state that is forgotten with the process.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Saved, SmallState, StateError, StateName, StateSet};

/// Small state in memory.
#[derive(Debug, Default)]
pub struct MemoryState(Mutex<BTreeMap<String, Piece>>);

#[derive(Debug)]
struct Piece {
    name: StateName,
    content: Vec<u8>,
    saved: Instant,
}

#[async_trait]
impl SmallState for MemoryState {
    async fn load(&self, name: &StateName) -> Result<Option<Vec<u8>>, StateError> {
        let pieces = self.0.lock();
        Ok(pieces.get(&name.to_string()).map(|it| it.content.clone()))
    }

    async fn save(&self, name: &StateName, content: Vec<u8>) -> Result<(), StateError> {
        let piece = Piece {
            name: name.clone(),
            content,
            saved: Instant::now(),
        };
        self.0.lock().insert(name.to_string(), piece);
        Ok(())
    }

    async fn remove(&self, name: &StateName) -> Result<(), StateError> {
        self.0.lock().remove(&name.to_string());
        Ok(())
    }

    async fn prepare(&self, set: StateSet, _: Duration) -> Result<Vec<Saved>, StateError> {
        let pieces = self.0.lock();
        let of_set = pieces.values().filter_map(|piece| match &piece.name {
            StateName::OneOf(of, id) if *of == set => Some(Saved {
                id: id.clone(),
                content: Some(piece.content.clone()),
                age: piece.saved.elapsed(),
            }),
            _ => None,
        });
        Ok(of_set.collect())
    }
}
