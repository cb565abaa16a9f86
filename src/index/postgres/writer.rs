//! The one connection that changes files: gathers the changes that wait, makes them in one
//! transaction and then answers all. Between them it looks what others have changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::join;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use super::batch;
use super::failure::Failure;
use super::link::{Link, Session, outcome};
use super::look;
use super::plan::{Outcome, Plan, Wish};
use super::rows::Heads;
use super::shared::Shared;
use super::together::gather;
use crate::hash::BlobHash;
use crate::index::{IndexError, Intent, Put};
use crate::record::{FileId, FileRecord, NewFile};

/// How many changes are made together at most; of the longest records so many are five MiB.
pub(super) const GROUP: usize = 256;
/// How often to look what others have changed.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long changes are tried again. The servers that have failed over are back by then, or whoever
/// waits is told to come again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before that.
const AGAIN: Duration = Duration::from_millis(50);

type Answer<T> = oneshot::Sender<Result<T, IndexError>>;

/// What can be asked of the writer.
pub(super) enum Request {
    Put {
        file: NewFile,
        /// Held until the record stands, also where nobody waits for the answer.
        intent: Box<Intent>,
        answer: Answer<Put>,
    },
    /// Files that have their ids from elsewhere, made in this order and in one transaction.
    Restore(Vec<Restored>),
    Remove {
        id: FileId,
        answer: Answer<Option<FileRecord>>,
    },
    /// A content that was damaged is where the intent has had it written.
    Mend {
        hash: BlobHash,
        intent: Box<Intent>,
        answer: Answer<bool>,
    },
    /// Is everything told that was found?
    Tell {
        answer: Answer<()>,
    },
    Close {
        answer: Answer<()>,
    },
}

/// A file that has its id from elsewhere.
pub(super) struct Restored {
    pub(super) file: NewFile,
    pub(super) intent: Box<Intent>,
    pub(super) answer: Answer<Put>,
}

pub(super) struct Writer {
    pub(super) link: Link,
    pub(super) shared: Arc<Shared>,
    pub(super) pruning: look::Pruning,
}

/// Changes that are made together.
#[derive(Default)]
struct Round(Vec<Asked>);

/// A change that somebody waits for.
enum Asked {
    Put(NewFile, Box<Intent>, Answer<Put>),
    Remove(FileId, Answer<Option<FileRecord>>),
    Mend(BlobHash, Box<Intent>, Answer<bool>),
}

/// A batch that was written, or may have been.
struct Written {
    batch: Uuid,
    plan: Plan,
    /// How many contents were damaged then.
    damaged: u64,
    at: Instant,
}

impl Round {
    fn wishes(&self) -> Vec<Wish<'_>> {
        let wishes = self.0.iter().map(|asked| match asked {
            Asked::Put(file, intent, _) => Wish::Put {
                file,
                place: intent.place(),
                is_own: !intent.is_there(),
                pack_bytes: intent.pack_bytes(),
                turn: intent.turn(),
                given: intent.given(),
            },
            Asked::Remove(id, _) => Wish::Remove(*id),
            Asked::Mend(hash, intent, _) => Wish::Mend {
                hash: *hash,
                place: intent.place(),
                pack_bytes: intent.pack_bytes(),
            },
        });
        wishes.collect()
    }

    fn fail(self, error: &IndexError) {
        for asked in self.0 {
            match asked {
                Asked::Put(_, intent, answer) => {
                    // Before the answer: who was told of a failure finds what is to be collected.
                    drop(intent);
                    drop(answer.send(Err(error.clone())));
                }
                Asked::Remove(_, answer) => drop(answer.send(Err(error.clone()))),
                Asked::Mend(_, intent, answer) => {
                    drop(intent);
                    drop(answer.send(Err(error.clone())));
                }
            }
        }
    }

    fn succeed(self, outcomes: Vec<Outcome>, quota: Option<u64>) {
        for (asked, outcome) in self.0.into_iter().zip(outcomes) {
            match (asked, outcome) {
                (Asked::Put(_, intent, answer), Outcome::Put(put)) => {
                    intent.kept();
                    drop(answer.send(Ok(put)));
                }
                (Asked::Put(_, intent, answer), outcome) => {
                    drop(intent);
                    let error = match (outcome, quota) {
                        (Outcome::OverQuota { free }, Some(quota)) => {
                            IndexError::OverQuota { quota, free }
                        }
                        (Outcome::OutOfOrder, _) => IndexError::OutOfOrder,
                        (Outcome::TakenOver, _) => IndexError::TakenOver,
                        _ => IndexError::Lost,
                    };
                    drop(answer.send(Err(error)));
                }
                (Asked::Remove(_, answer), Outcome::Removed(removed)) => {
                    drop(answer.send(Ok(removed)));
                }
                (Asked::Remove(_, answer), _) => drop(answer.send(Ok(None))),
                (Asked::Mend(_, intent, answer), Outcome::Mended(true)) => {
                    intent.kept();
                    drop(answer.send(Ok(true)));
                }
                (Asked::Mend(_, intent, answer), _) => {
                    drop(intent);
                    drop(answer.send(Ok(false)));
                }
            }
        }
    }
}

/// Requests that are answered together.
#[derive(Default)]
struct Taken {
    round: Round,
    tell: Vec<Answer<()>>,
    close: Option<Answer<()>>,
}

impl Taken {
    fn of(requests: impl Iterator<Item = Request>) -> Self {
        let mut taken = Self::default();
        for request in requests {
            match request {
                Request::Put {
                    file,
                    intent,
                    answer,
                } => taken.round.0.push(Asked::Put(file, intent, answer)),
                Request::Restore(files) => taken.round.0.extend(files.into_iter().map(
                    |Restored {
                         file,
                         intent,
                         answer,
                     }| Asked::Put(file, intent, answer),
                )),
                Request::Remove { id, answer } => taken.round.0.push(Asked::Remove(id, answer)),
                Request::Mend {
                    hash,
                    intent,
                    answer,
                } => taken.round.0.push(Asked::Mend(hash, intent, answer)),
                Request::Tell { answer } => taken.tell.push(answer),
                Request::Close { answer } => taken.close = Some(answer),
            }
        }
        taken
    }
}

impl Writer {
    /// Serves requests until it is told to close or nobody can ask any more.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut waiting = Vec::with_capacity(GROUP);
        loop {
            tokio::select! {
                count = requests.recv_many(&mut waiting, GROUP) => if count == 0 {
                    return;
                },
                _ = ticks.tick() => {
                    // Whoever needs to know asks whether it is current.
                    if let Err(error) = self.look().await {
                        tracing::debug!(%error, "nobody knows what others have changed");
                    }
                    continue;
                }
            }
            gather(&mut requests, &mut waiting, GROUP).await;
            let Taken { round, tell, close } = Taken::of(waiting.drain(..));
            if !round.0.is_empty() {
                self.commit(round).await;
            }
            if !tell.is_empty() {
                let told = self.look().await;
                for answer in tell {
                    let _ = answer.send(told.clone());
                }
            }
            if let Some(answer) = close {
                // Requests that still wait find the channel closed.
                requests.close();
                while requests.try_recv().is_ok() {}
                let _ = answer.send(Ok(()));
                return;
            }
        }
    }

    async fn look(&mut self) -> Result<(), IndexError> {
        let under_way = self.link.requests().look.begin();
        let looked = async {
            let session = self.link.session().await?;
            match look::look(&session, &self.shared, &mut self.pruning).await {
                Ok(()) => Ok(()),
                Err(failure) => Err(self.link.failed(&session, failure).await),
            }
        };
        let looked = looked.await;
        under_way.end(outcome(&looked));
        looked
    }

    async fn commit(&mut self, round: Round) {
        if let Some(reason) = self.shared.seen.refusal() {
            return round.fail(&IndexError::Refused(reason));
        }
        let under_way = self.link.requests().commit.begin();
        let made = self.made(&round).await;
        under_way.end(outcome(&made));
        match made {
            Ok(written) => {
                let Written {
                    plan, damaged, at, ..
                } = written;
                self.shared.remember(&plan, damaged, at);
                round.succeed(plan.outcomes, self.shared.quota);
            }
            Err(error) => {
                if !error.is_shortage() {
                    tracing::error!(%error, "changes were not written");
                }
                round.fail(&error);
            }
        }
    }

    /// Makes the changes of a round, again where that may help.
    async fn made(&self, round: &Round) -> Result<Written, IndexError> {
        let began = Instant::now();
        let mut doubt = None;
        loop {
            let error = match self.link.session().await {
                Ok(session) => match self.attempt(&session, round, &mut doubt).await {
                    Ok(written) => return Ok(written),
                    Err(failure) => {
                        let may_pass = failure.may_pass();
                        let error = self.link.failed(&session, failure).await;
                        if !may_pass && doubt.is_none() {
                            return Err(error);
                        }
                        error
                    }
                },
                Err(error) if doubt.is_none() => return Err(error),
                Err(error) => error,
            };
            if began.elapsed() >= PATIENCE {
                return Err(error);
            }
            sleep(AGAIN).await;
        }
    }

    /// Makes them once. What may stand though that fails is in `doubt`, and is looked for first.
    async fn attempt(
        &self,
        session: &Session,
        round: &Round,
        doubt: &mut Option<Written>,
    ) -> Result<Written, Failure> {
        let at = Instant::now();
        let wishes = round.wishes();
        let found = batch::begin(session, &wishes).await?;
        let heads = found.heads;
        if let Some(written) = doubt {
            let stands = batch::stands(session, written.batch).await?;
            if stands {
                session.batch("ROLLBACK").await?;
                self.hear(session, heads).await?;
            }
            if let Some(mut written) = doubt.take()
                && stands
            {
                written.plan.heads = heads;
                return Ok(written);
            }
        }
        let (batch, plan) = (Uuid::new_v4(), Plan::of(found, &wishes, self.shared.quota));
        if plan.is_empty() {
            session.batch("ROLLBACK").await?;
            self.hear(session, heads).await?;
            let damaged = self.shared.seen.damaged();
            return Ok(Written {
                batch,
                plan,
                damaged,
                at,
            });
        }
        self.hear(session, heads).await?;
        let mut written = Written {
            batch,
            plan,
            damaged: 0,
            at,
        };
        match self.write(session, &written).await {
            Ok(damaged) => {
                written.damaged = damaged;
                Ok(written)
            }
            Err(failure) => {
                if !failure.undoes() {
                    *doubt = Some(written);
                }
                Err(failure)
            }
        }
    }

    /// Writes a batch to its end, and tells how many contents are damaged then.
    async fn write(&self, session: &Session, written: &Written) -> Result<u64, Failure> {
        let Written { batch, plan, .. } = written;
        // Sent together: what fails before it has the end undo all.
        let (damaged, committed) = join!(
            biased;
            Box::pin(batch::write(session, *batch, plan, self.shared.grace)),
            session.batch("COMMIT"),
        );
        let damaged = damaged?;
        committed.map(|()| damaged)
    }

    /// Tells what others have changed up to these heads.
    async fn hear(&self, session: &Session, heads: Heads) -> Result<(), Failure> {
        look::hear(session, &self.shared, heads).await
    }
}
