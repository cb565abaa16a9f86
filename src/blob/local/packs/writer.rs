//! The writing thread: gathers the blobs that wait, appends them together, syncs once and
//! then answers all (group commit).

use std::collections::HashSet;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::super::super::BlobError;
use super::compaction::Compactor;
use super::log::{Batch, Log};
use crate::hash::BlobHash;

/// How many requests are served together at most.
const GROUP: usize = 256;

type Answer = oneshot::Sender<Result<(), BlobError>>;

/// What can be asked of the writing thread.
pub(super) enum Request {
    Put {
        hash: BlobHash,
        bytes: Vec<u8>,
        answer: Answer,
    },
    Delete {
        hash: BlobHash,
        answer: Answer,
    },
    /// Is anything to be written now?
    Try {
        answer: Answer,
    },
}

/// The writing thread's own state.
pub(super) struct Writer {
    log: Log,
    compactor: Compactor,
    batch: Batch,
    /// The blobs of the batch, and who waits for it.
    hashes: HashSet<BlobHash>,
    answers: Vec<Answer>,
}

impl Writer {
    pub(super) fn new(log: Log) -> Self {
        Self {
            log,
            compactor: Compactor::default(),
            batch: Batch::default(),
            hashes: HashSet::new(),
            answers: Vec::new(),
        }
    }

    /// Serves requests until nobody can ask any more.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut waiting = Vec::with_capacity(GROUP);
        let mut busy = false;
        while gather(&mut requests, &mut waiting, busy) {
            let is_calm = waiting.is_empty();
            for request in waiting.drain(..) {
                match request {
                    Request::Put {
                        hash,
                        bytes,
                        answer,
                    } => self.put(hash, &bytes, answer),
                    Request::Delete { hash, answer } => self.delete(&hash, answer),
                    Request::Try { answer } => {
                        // Behind what waits: the trial is written in the same place.
                        self.append();
                        drop(answer.send(self.log.try_to_write()));
                    }
                }
            }
            self.append();
            busy = self.compactor.step(&mut self.log, is_calm);
        }
    }

    fn put(&mut self, hash: BlobHash, bytes: &[u8], answer: Answer) {
        if self.log.outgrows(&self.batch, bytes.len()) {
            self.append();
        }
        let added = self.log.options.refusal.check().and_then(|()| {
            // Nothing can differ between blobs of one hash.
            if self.hashes.contains(&hash) {
                return Ok(true);
            }
            self.log.add(&mut self.batch, hash, bytes)
        });
        match added {
            Ok(true) => {
                self.hashes.insert(hash);
                self.answers.push(answer);
            }
            // Whoever asked may be gone.
            Ok(false) => drop(answer.send(Ok(()))),
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    fn delete(&mut self, hash: &BlobHash, answer: Answer) {
        if self.hashes.contains(hash) {
            self.append();
        }
        drop(answer.send(self.log.delete(hash)));
    }

    /// Appends the batch and answers who waits for it.
    fn append(&mut self) {
        if self.answers.is_empty() {
            return;
        }
        self.hashes.clear();
        let result = self.log.append(&self.batch);
        self.batch.clear();
        for answer in self.answers.drain(..) {
            drop(answer.send(result.clone()));
        }
    }
}

/// Gathers requests, and waits for the first unless there is other work; false when
/// nobody can ask any more.
fn gather(requests: &mut mpsc::Receiver<Request>, waiting: &mut Vec<Request>, busy: bool) -> bool {
    if !busy {
        return requests.blocking_recv_many(waiting, GROUP) > 0;
    }
    while waiting.len() < GROUP {
        match requests.try_recv() {
            Ok(request) => waiting.push(request),
            Err(TryRecvError::Empty) => break,
            Err(TryRecvError::Disconnected) => return false,
        }
    }
    true
}
