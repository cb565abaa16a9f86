//! Requests to the servers that keep the files of several nodes, counted: to a bucket and to a
//! database.

use std::sync::Arc;
use std::time::Instant;

use super::{Counter, Histogram};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The server did what was asked.
    Done,
    /// What it was asked for is not there.
    Missing,
    /// The server refused it, as where keys are wrong.
    Refused,
    /// There was no answer, or one that says to try again.
    Unavailable,
    /// Nobody waited for the answer any more.
    Dropped,
}

/// All outcomes, in the order of their declaration, as they are called.
const OUTCOMES: [&str; 5] = ["done", "missing", "refused", "unavailable", "dropped"];

/// Requests of one kind.
#[derive(Debug, Default)]
pub struct Requests {
    outcomes: [Counter; OUTCOMES.len()],
    /// How long they took, however they ended.
    pub seconds: Histogram,
}

/// A request that is under way: dropped unless it is said how it ended.
pub struct UnderWay<'a> {
    requests: &'a Requests,
    began: Instant,
    outcome: Outcome,
}

impl Requests {
    /// One begins.
    pub fn begin(&self) -> UnderWay<'_> {
        UnderWay {
            requests: self,
            began: Instant::now(),
            outcome: Outcome::Dropped,
        }
    }

    /// How many ended how.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.outcomes.iter().map(Counter::get);
        OUTCOMES.into_iter().zip(counts)
    }
}

impl UnderWay<'_> {
    /// It ended so.
    pub fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(counter) = self.requests.outcomes.get(self.outcome as usize) {
            counter.count();
        }
        self.requests.seconds.observe(self.began.elapsed());
    }
}

/// Requests of several kinds, each with its name.
pub type Named<'a> = Vec<(&'static str, &'a Requests)>;

/// Requests to a bucket, each try by itself, until the head of the answer.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "they are called as S3 calls them")]
pub struct BucketRequests {
    pub get_object: Requests,
    pub head_object: Requests,
    pub put_object: Requests,
    pub delete_object: Requests,
    pub list_objects: Requests,
    pub create_multipart_upload: Requests,
    pub upload_part: Requests,
    pub complete_multipart_upload: Requests,
    pub abort_multipart_upload: Requests,
    pub list_multipart_uploads: Requests,
}

impl BucketRequests {
    /// All of them.
    pub fn each(&self) -> Named<'_> {
        vec![
            ("get_object", &self.get_object),
            ("head_object", &self.head_object),
            ("put_object", &self.put_object),
            ("delete_object", &self.delete_object),
            ("list_objects", &self.list_objects),
            ("create_multipart_upload", &self.create_multipart_upload),
            ("upload_part", &self.upload_part),
            ("complete_multipart_upload", &self.complete_multipart_upload),
            ("abort_multipart_upload", &self.abort_multipart_upload),
            ("list_multipart_uploads", &self.list_multipart_uploads),
        ]
    }
}

/// What is asked of a database, with all tries and the connection that is made for it.
#[derive(Debug, Default)]
pub struct DatabaseRequests {
    /// A connection.
    pub connect: Requests,
    /// Changes of files, all that waited in one transaction.
    pub commit: Requests,
    /// A look at what other nodes have changed, several a second.
    pub look: Requests,
    /// Any other statement.
    pub query: Requests,
}

impl DatabaseRequests {
    /// All of them.
    pub fn each(&self) -> Named<'_> {
        vec![
            ("connect", &self.connect),
            ("commit", &self.commit),
            ("look", &self.look),
            ("query", &self.query),
        ]
    }
}

/// Requests to both.
#[derive(Debug)]
pub struct Servers {
    /// To the bucket.
    pub bucket: Arc<BucketRequests>,
    /// To the database.
    pub database: Arc<DatabaseRequests>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_once_as_what_it_ended_as() {
        let requests = Requests::default();
        for (outcome, name) in [
            (Outcome::Done, "done"),
            (Outcome::Missing, "missing"),
            (Outcome::Refused, "refused"),
            (Outcome::Unavailable, "unavailable"),
        ] {
            requests.begin().end(outcome);
            let counted = requests.outcomes().find(|(it, _)| *it == name);
            assert_eq!(counted, Some((name, 1)));
        }
        drop(requests.begin());
        assert!(requests.outcomes().all(|(_, times)| times == 1));
        assert_eq!(requests.seconds.cumulative().last(), Some(&5));
    }
}
