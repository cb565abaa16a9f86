//! Asking one peer after the other, and ever more of them while all are silent: whoever makes up a
//! hundred holders delays an honest one by less than a second.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::{AbortHandle, Aborted, BoxFuture, abortable};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::PeerError;
use super::experience::Experience;
use super::fetcher::Provider;
use super::places::Hedges;

/// How many of those who were too slow get a second chance, when nobody else is left.
const SECOND_CHANCES: usize = 16;
/// How long a peer may be silent before the next one is asked, too.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);
/// How long all are silent after that before as many more are asked.
const STEP: Duration = Duration::from_millis(75);
/// How many peers are always asked at once while all are silent. Each is asked for little before
/// it has brought some.
const AT_ONCE: usize = 8;

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
    hedges: &'a Hedges,
    /// What of those this race has.
    more: Vec<OwnedSemaphorePermit>,
    ask: Ask,
    /// Who was not asked yet, in their order.
    ahead: VecDeque<Provider>,
    running: FuturesUnordered<Asked<T>>,
    /// Those under way, the first asked first.
    asked: VecDeque<(Provider, Instant, AbortHandle)>,
    /// Those who were given up so that others could be asked; they get a second chance.
    too_slow: VecDeque<Provider>,
    /// Whether those under way get all the time they need.
    last_round: bool,
}

/// Asks `providers` in their order until one brings it: the next one as soon as one fails or
/// `PATIENCE` has passed, and then, step by step, as many more as are under way, as far as there
/// are `hedges`. Where there are none left, who is silent makes room for others, and is asked once
/// more at the end.
pub(super) async fn first_of<T, Asking>(
    experience: &Experience,
    hedges: &Hedges,
    providers: Vec<Provider>,
    ask: impl Fn(Provider) -> Asking,
) -> Outcome<T>
where
    T: Send + 'static,
    Asking: Future<Output = Result<T, PeerError>> + Send + 'static,
{
    let mut race = Race {
        experience,
        hedges,
        more: Vec::new(),
        ask,
        ahead: providers.into(),
        running: FuturesUnordered::new(),
        asked: VecDeque::new(),
        too_slow: VecDeque::new(),
        last_round: false,
    };
    let mut failed = Vec::new();
    race.start(1);
    loop {
        let (pause, waits) = (race.pause(), !race.last_round && !race.ahead.is_empty());
        let ended = tokio::select! {
            ended = race.running.next() => ended,
            () = tokio::time::sleep(pause), if waits => {
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
            race.start(race.room());
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

    /// How long to wait before more are asked.
    fn pause(&self) -> Duration {
        if self.asked.len() <= 1 {
            PATIENCE
        } else {
            STEP
        }
    }

    /// How many may be under way now.
    fn room(&self) -> usize {
        let more = self.more.iter().map(OwnedSemaphorePermit::num_permits);
        AT_ONCE + more.sum::<usize>()
    }

    /// As many more as are under way, as far as there is room.
    fn start_more(&mut self) {
        let wanted = self.asked.len().clamp(1, self.ahead.len().max(1));
        let missing = (self.asked.len() + wanted).saturating_sub(self.room());
        self.more.extend(self.hedges.take(missing));
        let free = self.room().saturating_sub(self.asked.len());
        if free > 0 {
            return self.start(wanted.min(free));
        }
        // The first ones were silent for long enough.
        let slow = self
            .asked
            .iter()
            .take_while(|(_, at, _)| at.elapsed() >= PATIENCE);
        let slow = slow.count();
        for (_, _, abort) in self.asked.drain(..slow) {
            abort.abort();
        }
        self.start(slow);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Claim;
    use crate::peer_id::PeerId;

    /// So many providers, of which the one with this number alone ever answers, at once; how long
    /// that takes by a clock that waits for nothing, and how many were under way at most.
    async fn silent_but(honest: usize, many: usize, hedges: &Hedges) -> (Duration, usize) {
        let providers = (0..many).map(|number| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&(number as u64).to_le_bytes());
            let claim = Claim {
                peer: PeerId::of_public_key(&key),
                size: 1,
            };
            let address = format!("http://localhost:{}", number + 1);
            let address = address.parse().unwrap();
            Provider { claim, address }
        });
        let url = format!("http://localhost:{}", honest + 1);
        let (experience, began) = (Experience::default(), Instant::now());
        let most = std::sync::Arc::new(parking_lot::Mutex::new((0, 0)));
        let counting = std::sync::Arc::clone(&most);
        let outcome = first_of(&experience, hedges, providers.collect(), move |it| {
            let is_honest = it.address.to_string() == url;
            let under_way = UnderWay::begin(&counting);
            async move {
                let _under_way = under_way;
                if !is_honest {
                    std::future::pending::<()>().await;
                }
                Ok(())
            }
        });
        let outcome = outcome.await;
        assert!(outcome.won.is_some() && outcome.failed.is_empty());
        let most = most.lock().1;
        (began.elapsed(), most)
    }

    struct UnderWay(std::sync::Arc<parking_lot::Mutex<(usize, usize)>>);

    impl UnderWay {
        fn begin(count: &std::sync::Arc<parking_lot::Mutex<(usize, usize)>>) -> Self {
            let mut counts = count.lock();
            counts.0 += 1;
            counts.1 = counts.1.max(counts.0);
            Self(std::sync::Arc::clone(count))
        }
    }

    impl Drop for UnderWay {
        fn drop(&mut self) {
            self.0.lock().0 -= 1;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_silent_holders_delay_an_honest_one_by_less_than_a_second() {
        let hedges = Hedges::default();
        for honest in [0, 1, 5, 50, 100] {
            let (took, most) = silent_but(honest, 101, &hedges).await;
            assert!(took < Duration::from_millis(900), "{honest} {took:?}");
            assert!(most <= 101 && (honest < 100 || most > 64), "{most}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_others_have_asked_many_each_race_has_a_few_and_comes_to_all() {
        let hedges = Hedges::default();
        let taken: Vec<_> = std::iter::from_fn(|| hedges.take(1)).collect();
        let (took, most) = silent_but(100, 101, &hedges).await;
        // Those that have given way are dropped a moment later.
        assert!(most <= 2 * AT_ONCE, "{most}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        drop(taken);
        let (_, most) = silent_but(100, 101, &hedges).await;
        assert!(most > 2 * AT_ONCE, "{most}");
        assert!(hedges.take(1).is_some());
    }
}
