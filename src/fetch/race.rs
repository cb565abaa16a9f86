//! Asking one peer after the other, and the next one while the one before is silent.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::{AbortHandle, Aborted, BoxFuture, abortable};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::PeerError;
use super::experience::Experience;
use super::fetcher::Provider;

/// How many of those who were too slow get a second chance, when nobody else is left.
const SECOND_CHANCES: usize = 16;
/// How long a peer may be silent before the next one is asked, too.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// What came of a race.
pub(super) struct Outcome<T> {
    /// Who brought what was asked for first, and what it is.
    pub(super) won: Option<(Provider, T)>,
    /// Who failed, the last one at the end.
    pub(super) failed: Vec<(Provider, PeerError)>,
}

type Asked<T> = BoxFuture<'static, (Provider, Result<Result<T, PeerError>, Aborted>)>;

struct Race<'a, T, Ask> {
    experience: &'a Experience,
    ask: Ask,
    /// Who was not asked yet, in their order.
    ahead: VecDeque<Provider>,
    running: FuturesUnordered<Asked<T>>,
    /// Those under way, the first asked first.
    asked: VecDeque<(Provider, Instant, AbortHandle)>,
    /// Those who were given up so that others could be asked; they get a second chance.
    too_slow: VecDeque<Provider>,
    at_once: usize,
    /// Whether those under way get all the time they need.
    last_round: bool,
}

/// Asks `providers` in their order until one brings it, at most so many at once: the next one
/// as soon as one fails or `PATIENCE` has passed, and more at a time the longer all are
/// silent. Who is silent for long makes room for others, and is asked once more at the end.
pub(super) async fn first_of<T, Asking>(
    experience: &Experience,
    providers: Vec<Provider>,
    at_once: usize,
    ask: impl Fn(Provider) -> Asking,
) -> Outcome<T>
where
    T: Send + 'static,
    Asking: Future<Output = Result<T, PeerError>> + Send + 'static,
{
    let mut race = Race {
        experience,
        ask,
        ahead: providers.into(),
        running: FuturesUnordered::new(),
        asked: VecDeque::new(),
        too_slow: VecDeque::new(),
        at_once,
        last_round: false,
    };
    let mut failed = Vec::new();
    race.start(1);
    loop {
        let ended = tokio::select! {
            ended = race.running.next() => ended,
            () = tokio::time::sleep(PATIENCE), if !race.last_round && !race.ahead.is_empty() => {
                race.start_more();
                continue;
            }
        };
        let Some((provider, ended)) = ended else {
            // Nobody is left but those who were too slow.
            if race.last_round || race.too_slow.is_empty() {
                return Outcome { won: None, failed };
            }
            race.last_round = true;
            race.ahead = race.too_slow.drain(..).take(SECOND_CHANCES).collect();
            race.start(race.at_once);
            continue;
        };
        race.asked
            .retain(|(it, ..)| it.claim.peer != provider.claim.peer);
        match ended {
            Ok(Ok(brought)) => {
                race.outrun();
                let won = Some((provider, brought));
                return Outcome { won, failed };
            }
            Ok(Err(error)) => {
                failed.push((provider, error));
                race.start(1);
            }
            Err(Aborted) => race.too_slow.push_back(provider),
        }
    }
}

impl<T, Asking, Ask> Race<'_, T, Ask>
where
    T: Send + 'static,
    Asking: Future<Output = Result<T, PeerError>> + Send + 'static,
    Ask: Fn(Provider) -> Asking,
{
    fn start(&mut self, many: usize) {
        let many = many.min(self.ahead.len());
        for provider in self.ahead.drain(..many) {
            let (asking, abort) = abortable((self.ask)(provider.clone()));
            let now = Instant::now();
            self.asked.push_back((provider.clone(), now, abort));
            let asking = asking.map(move |brought| (provider, brought));
            self.running.push(asking.boxed());
        }
    }

    /// As many more as are under way, as far as there is room.
    fn start_more(&mut self) {
        let room = self.at_once.saturating_sub(self.asked.len());
        if room == 0 {
            for (_, _, abort) in self.asked.drain(..) {
                abort.abort();
            }
            return self.start(self.at_once);
        }
        self.start(self.asked.len().clamp(1, room));
    }

    /// Notes who was silent while another brought it.
    fn outrun(&self) {
        for (provider, at, _) in &self.asked {
            if at.elapsed() >= PATIENCE {
                let peer = provider.claim.peer;
                self.experience.outrun(peer, 0, at.elapsed());
            }
        }
        for provider in &self.too_slow {
            self.experience.outrun(provider.claim.peer, 0, PATIENCE);
        }
    }
}
