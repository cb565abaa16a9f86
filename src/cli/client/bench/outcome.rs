//! What came of the requests, and how it is told.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::latency::Latencies;
use super::mix::Operation;
use super::wire::Trouble;
use crate::cli::client::output;

/// How many words for troubles are counted apart; the node gives them.
const MOST_WORDS: usize = 32;
/// What all others are counted as.
const OTHERS: &str = "others";

/// What came of the requests of each kind.
#[derive(Default)]
pub(super) struct Outcome([OfOne; Operation::ALL.len()]);

/// What came of those of one kind.
#[derive(Default)]
struct OfOne {
    latencies: Latencies,
    bytes: u64,
    failed: BTreeMap<String, u64>,
    wrong: u64,
}

/// The same as it is told.
#[derive(Serialize)]
pub(super) struct Told {
    operation: &'static str,
    /// How many were answered as they should.
    count: u64,
    per_second: f64,
    bytes_per_second: f64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    longest_ms: f64,
    /// How many came to nothing, by why.
    failed: BTreeMap<String, u64>,
    /// How many brought other bytes than they should.
    wrong: u64,
}

impl Outcome {
    /// Notes a request that moved so many bytes, or came to nothing.
    pub(super) fn note(
        &mut self,
        operation: Operation,
        took: Duration,
        done: &Result<u64, Trouble>,
    ) {
        let Some(of_one) = self.0.get_mut(operation as usize) else {
            return;
        };
        match done {
            Ok(bytes) => {
                of_one.latencies.record(took);
                of_one.bytes += bytes;
            }
            Err(Trouble::Wrong) => of_one.wrong += 1,
            Err(trouble) => of_one.fail(trouble.word(), 1),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (of_one, more) in self.0.iter_mut().zip(&other.0) {
            of_one.latencies.add(&more.latencies);
            of_one.bytes += more.bytes;
            of_one.wrong += more.wrong;
            for (word, count) in &more.failed {
                of_one.fail(word, *count);
            }
        }
    }

    /// What came of each kind that was asked, in so long.
    pub(super) fn told(&self, took: Duration) -> Vec<Told> {
        let all = Operation::ALL.into_iter().zip(&self.0);
        let asked = all.filter(|(_, it)| it.is_asked());
        asked
            .map(|(operation, it)| it.told(operation, took))
            .collect()
    }
}

impl OfOne {
    fn fail(&mut self, word: &str, count: u64) {
        let is_counted = self.failed.contains_key(word) || self.failed.len() < MOST_WORDS;
        let word = if is_counted { word } else { OTHERS };
        *self.failed.entry(word.to_owned()).or_default() += count;
    }

    fn is_asked(&self) -> bool {
        self.latencies.count() > 0 || self.wrong > 0 || !self.failed.is_empty()
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "rates are told to three digits or so"
    )]
    fn told(&self, operation: Operation, took: Duration) -> Told {
        let latencies = &self.latencies;
        let seconds = took.as_secs_f64().max(f64::MIN_POSITIVE);
        Told {
            operation: operation.name(),
            count: latencies.count(),
            per_second: latencies.count() as f64 / seconds,
            bytes_per_second: self.bytes as f64 / seconds,
            p50_ms: latencies.within(500),
            p90_ms: latencies.within(900),
            p99_ms: latencies.within(990),
            p999_ms: latencies.within(999),
            longest_ms: latencies.longest(),
            failed: self.failed.clone(),
            wrong: self.wrong,
        }
    }
}

impl Told {
    /// For people, in one line.
    pub(super) fn line(&self) -> String {
        let Self {
            operation,
            per_second,
            p50_ms,
            p90_ms,
            p99_ms,
            p999_ms,
            longest_ms,
            ..
        } = self;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "no rate of bytes is negative, or near 2^64"
        )]
        let bytes = output::size(self.bytes_per_second as u64);
        let failed = self
            .failed
            .iter()
            .map(|(word, count)| format!(", {word} {count}"));
        let wrong = (self.wrong > 0).then(|| format!(", wrong bytes {}", self.wrong));
        let failed = failed.chain(wrong).collect::<String>();
        format!(
            "{operation:6}  {per_second:.0}/s  {bytes}/s  p50 {p50_ms:.2} ms  p90 {p90_ms:.2}  \
             p99 {p99_ms:.2}  p99.9 {p999_ms:.2}  longest {longest_ms:.2}{failed}"
        )
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.values().sum()
    }

    pub(super) fn wrong(&self) -> u64 {
        self.wrong
    }
}
