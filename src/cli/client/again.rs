//! What is tried once more because it may go well a little later, as when the node is restarted.

use std::time::Duration;

use indicatif::ProgressBar;
use reqwest::Method;
use serde::de::DeserializeOwned;

use super::api::Api;
use super::failure::Failure;

/// How often something that fails without getting any further is tried again.
const TRIES: u32 = 8;
/// How often what hardly passes is.
const FEW_TRIES: u32 = 3;
/// How long the first pause is before a node that is being restarted is asked once more.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often something has failed since it last got further. Each new try is told with its reason.
pub(super) struct Again<'a> {
    api: &'a Api,
    bar: &'a ProgressBar,
    first_pause: Duration,
    pause: Duration,
    tries: u32,
}

impl<'a> Again<'a> {
    /// Before the first try. Each pause is twice as long as the one before.
    pub(super) fn new(api: &'a Api, bar: &'a ProgressBar, first_pause: Duration) -> Self {
        Self {
            api,
            bar,
            first_pause,
            pause: first_pause,
            tries: 0,
        }
    }

    /// It got further.
    pub(super) fn advanced(&mut self) {
        (self.tries, self.pause) = (0, self.first_pause);
    }

    /// Whether it has failed since then.
    pub(super) fn has_failed(&self) -> bool {
        self.tries > 0
    }

    /// Waits until it is to be tried again after this failure; fails with it where that is of no
    /// use any longer.
    pub(super) async fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        if self.tries == TRIES || self.api.is_lost(&failure) {
            return Err(failure);
        }
        self.tries += 1;
        self.api
            .tell_again(self.bar, failure.told(), self.pause, (self.tries, TRIES));
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

impl Again<'_> {
    /// The same for what hardly passes, and may be met many times.
    pub(super) async fn wait_briefly(&mut self, failure: Failure) -> Result<(), Failure> {
        if self.tries >= FEW_TRIES {
            return Err(failure);
        }
        self.wait(failure).await
    }
}

impl Api {
    /// Tries of what a node that is being restarted was asked.
    pub(super) fn again<'a>(&'a self, bar: &'a ProgressBar) -> Again<'a> {
        Again::new(self, bar, FIRST_PAUSE)
    }

    /// Reads the JSON at a path.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Failure> {
        Ok(self.get_measured(path, query).await?.0)
    }

    /// The same, and how many bytes the answer has. A node that has answered before and is being
    /// restarted is waited for.
    pub(super) async fn get_measured<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<(T, usize), Failure> {
        let hidden = ProgressBar::hidden();
        let mut again = self.again(&hidden);
        loop {
            let asked = self.request(Method::GET, path).query(query);
            match self.measured(asked).await {
                Err(failure) if self.has_answered() && failure.is_of_restart() => {
                    again.wait(failure).await?;
                }
                answer => return answer,
            }
        }
    }
}
