//! What is remembered of reading everything again, across restarts, too.

use serde::{Deserialize, Serialize};

use crate::record::Timestamp;
use crate::small_state::StateName;
use crate::store::{Stage, Step};

/// It is written down under this name.
pub const SCRUB: StateName = StateName::Single {
    name: "scrub",
    kind: "larder-scrub 1",
};

/// One time through everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Later ones have greater numbers.
    pub number: u64,
    /// When it began, in milliseconds.
    pub began_at: i64,
    /// Whether somebody waits for it, so that it goes as fast as it can.
    pub is_urgent: bool,
    /// Where it is.
    pub stage: Stage,
    /// What has come of it so far.
    pub done: Step,
}

/// One that has come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which one.
    pub number: u64,
    /// When it began, in milliseconds.
    pub began_at: i64,
    /// When it ended, in milliseconds.
    pub ended_at: i64,
    /// What has come of it.
    pub done: Step,
    /// How many contents were known to be damaged then.
    pub damaged: u64,
    /// How many contents the disk did not give.
    pub unreadable: u64,
    /// What was wrong with files beside the contents, the first of it.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rounds {
    /// The one that is under way.
    pub now: Option<Round>,
    /// The last one that has come to its end.
    pub last: Option<Ended>,
}

impl Rounds {
    /// Begins one more, and tells its number.
    pub(super) fn begin(&mut self, is_urgent: bool) -> u64 {
        let last = self.last.as_ref().map_or(0, |it| it.number);
        let number = self.now.as_ref().map_or(last, |it| it.number) + 1;
        self.now = Some(Round {
            number,
            began_at: Timestamp::now().0,
            is_urgent,
            stage: Stage::default(),
            done: Step::default(),
        });
        number
    }

    /// The one under way, if that is this one still.
    pub(super) fn current(&mut self, number: u64) -> Option<&mut Round> {
        self.now.as_mut().filter(|it| it.number == number)
    }
}
