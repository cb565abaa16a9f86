//! How it stands with copies among the members of a node's network, as it tells.

use serde::{Deserialize, Serialize};

use super::output::size;
use super::scrub::Scrub;
use crate::cli::counted::counted;

/// Which those are that are on too few members.
const WHICH: &str = " (larder copies --under-replicated)";

/// How it stands.
#[derive(Deserialize, Serialize)]
pub(super) struct Standing {
    copies: u64,
    offer_bytes: u64,
    used_bytes: u64,
    held_files: u64,
    files: u64,
    under_replicated: u64,
    members: u64,
    gone: u64,
    // These are none of older nodes.
    #[serde(default)]
    damaged: u64,
    #[serde(default)]
    unreadable: u64,
    #[serde(default)]
    repaired: u64,
    #[serde(default)]
    scrub: Option<Scrub>,
}

impl Standing {
    /// The same in words, by what each is about.
    pub(super) fn told(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("copies", Some(self.of_files())),
            ("members", Some(self.of_members())),
            ("holds", Some(self.of_others())),
        ]
    }

    fn of_files(&self) -> String {
        let each = match self.copies {
            1 => "files are on this member alone, where nothing else is said".to_owned(),
            copies => format!("each file is to be on {copies} members"),
        };
        let files = counted(self.files, "file");
        match (self.files, self.under_replicated) {
            (0, _) => each,
            (_, 0) => format!("{each}; {files}, all on as many as they are to be"),
            (_, 1) => format!("{each}; {files}, 1 of which is on fewer than it is to be{WHICH}"),
            (_, fewer) => {
                format!("{each}; {files}, {fewer} of which are on fewer than they are to be{WHICH}")
            }
        }
    }

    fn of_members(&self) -> String {
        let others = counted(self.members, "other");
        match self.gone {
            0 => format!("{others} there"),
            gone => format!("{others} there, {gone} gone"),
        }
    }

    fn of_others(&self) -> String {
        if self.offer_bytes == 0 && self.held_files == 0 {
            return "nothing for others: this member offers no room (--offer)".to_owned();
        }
        let (used, offer) = (size(self.used_bytes), size(self.offer_bytes));
        let files = counted(self.held_files, "file");
        let damaged = match self.damaged {
            0 => String::new(),
            damaged => format!("; {damaged} of these contents damaged, to come again from others"),
        };
        let unreadable = match self.unreadable {
            0 => String::new(),
            unreadable => format!("; {unreadable} of these contents cannot be read"),
        };
        let read = self.scrub.as_ref().filter(|_| self.held_files > 0);
        let read = read.and_then(|it| it.told(self.used_bytes));
        let read = read.map(|it| format!("; {it}")).unwrap_or_default();
        format!("{files} for others; offers {offer}, {used} used{damaged}{unreadable}{read}")
    }
}
