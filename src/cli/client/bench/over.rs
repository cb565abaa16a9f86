//! When a part of a bench is over: first nothing more is asked, and then nothing more waited for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::wire::{NO_ANSWER, Trouble};
use crate::cli::stop::StopSignal;

/// How long what is under way is waited for, once nothing more is asked.
const LAST: Duration = Duration::from_secs(10);

/// How far a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Asks,
    Waits,
    Ended,
}

/// Whether anything more is to be asked or waited for.
pub(super) struct Over(watch::Sender<Stage>);

impl Default for Over {
    fn default() -> Self {
        Self(watch::Sender::new(Stage::Asks))
    }
}

impl Over {
    /// Whether nothing more is to be asked.
    pub(super) fn is_over(&self) -> bool {
        *self.0.borrow() >= Stage::Waits
    }

    /// Has nothing more be asked.
    pub(super) fn end(&self) {
        self.rise(Stage::Waits);
    }

    /// Another part begins.
    pub(super) fn begin(&self) {
        self.0.send_replace(Stage::Asks);
    }

    /// What is asked comes to, unless nothing more is waited for before.
    pub(super) async fn wait_for<T>(
        &self,
        asked: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let mut stage = self.0.subscribe();
        tokio::select! {
            done = asked => done,
            _ = stage.wait_for(|it| *it == Stage::Ended) => Err(Trouble::Cut(NO_ANSWER)),
        }
    }

    fn rise(&self, to: Stage) {
        self.0
            .send_if_modified(|it| std::mem::replace(it, to.max(*it)) < to);
    }
}

/// Ends a part after `seconds`, where there is such an end, and when somebody types Ctrl-C or ends
/// the process; what was uploaded is removed all the same. What is under way then has a moment
/// more, unless it is told a second time.
pub(super) async fn watch_over(over: Arc<Over>, seconds: Option<Duration>) {
    let Ok(mut signals) = StopSignal::listen() else {
        return;
    };
    let end = async {
        match seconds {
            Some(seconds) => sleep(seconds).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = end => {}
        () = signals.wait() => {}
    }
    over.end();
    let _ = timeout(LAST, signals.wait()).await;
    over.rise(Stage::Ended);
}
