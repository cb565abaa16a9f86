//! What a check has found, printed as it comes, and counted.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write, stdout};
use std::process::ExitCode;

use serde_json::json;
use tokio::sync::mpsc;

use super::client;
use super::concerned::not_whole;
use super::counted::counted;
use super::storage::ADVICE;
use super::summary::Summary;
use crate::index::local::IndexFinding;
#[cfg(feature = "shared")]
use crate::index::postgres::Bereft;
use crate::index::{Damage, Totals};
use crate::store::{Finding, Weight};

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// What a node keeps.
    Storage {
        /// Whether the check puts in order what it can.
        changes: bool,
    },
    /// Backups.
    Backups,
}

/// Prints what it has come to, and before that what the check of what is held for others has.
pub(super) fn end(
    is_json: bool,
    (totals, found): (Totals, Found),
    of_copies: Option<(Totals, Found)>,
) -> anyhow::Result<ExitCode> {
    let (mut advice, mut problems) = (found.advice.clone(), found.problems);
    if let Some((totals, found)) = of_copies {
        print(&summary(totals, &found).of_copies(is_json))?;
        problems += found.problems;
        advice.extend(found.advice);
    }
    print(&summary(totals, &found).told(is_json))?;
    for advice in advice {
        client::say(advice);
    }
    Ok(if problems == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn summary(totals: Totals, found: &Found) -> Summary {
    Summary {
        files: totals.files,
        blobs: totals.blobs,
        blob_bytes: totals.blob_bytes,
        problems: found.problems,
        left_over: found.left_over,
    }
}

fn print(line: &impl Display) -> io::Result<()> {
    writeln!(stdout().lock(), "{line}")
}

/// How many problems there are, and things that nobody needs; and what helps.
#[derive(Default)]
pub(super) struct Found {
    problems: u64,
    left_over: u64,
    advice: BTreeSet<&'static str>,
}

/// Prints each finding behind what it is `of`, and counts them.
pub(super) async fn print_each(
    mut found: mpsc::Receiver<Finding>,
    is_json: bool,
    (what, of): (What, &str),
) -> anyhow::Result<Found> {
    let mut told = Found::default();
    while let Some(finding) = found.recv().await {
        let text = format!("{of}{}", describe(&finding, what));
        let key = match finding.weight() {
            Weight::Problem => {
                told.problems += 1;
                "problem"
            }
            Weight::LeftOver => {
                told.left_over += 1;
                "left_over"
            }
            Weight::Consequence => "file",
        };
        if is_json {
            client::json(&json!({ key: text }))?;
        } else {
            // Names may be anybody's.
            print(&client::plain(&text))?;
        }
        told.advice.extend(advice(&finding, what));
    }
    Ok(told)
}

/// What helps, where whoever looks has to do something.
fn advice(finding: &Finding, what: What) -> Option<&'static str> {
    match finding {
        Finding::BlobMissing(_) | Finding::BlobDamaged(_) if what == What::Backups => {
            Some("the next backup of a node that has the content brings it anew")
        }
        Finding::BlobMissing(_) | Finding::BlobDamaged(_) => Some(
            "a node that runs repairs what is damaged or missing from other nodes that have it; to \
             upload content again mends it, too",
        ),
        Finding::Index(IndexFinding::Journal(damage)) if damage.gives_up => Some(ADVICE),
        Finding::ChangesLost(_) => Some(
            "`larder rebuild-index --forget-loss` has the node delete content that no file needs",
        ),
        _ => None,
    }
}

/// What is left over of backups, in words.
fn of_backups(finding: &Finding) -> String {
    match finding {
        Finding::Orphan(hash, size) => {
            let bytes = counted(*size, "byte");
            format!("blob {hash}: left over, no backup needs its {bytes}")
        }
        Finding::Unclaimed(hash, size) => {
            let bytes = counted(*size, "byte");
            format!("blob {hash}: no backup that can be read needs its {bytes}")
        }
        finding => describe(finding, What::Storage { changes: true }),
    }
}

/// What was found, in words.
fn describe(finding: &Finding, what: What) -> String {
    let changes = what != What::Storage { changes: false };
    match finding {
        finding if what == What::Backups && finding.weight() == Weight::LeftOver => {
            of_backups(finding)
        }
        Finding::BlobMissing(hash) => format!("blob {hash}: missing, and a file needs it"),
        Finding::BlobDamaged(hash) => format!("blob {hash}: damaged, its bytes have another hash"),
        Finding::OutboardDamaged(hash) => {
            let done = if changes { ", removed" } else { "" };
            format!("outboard of {hash}: damaged{done} (the node derives it anew)")
        }
        Finding::OutboardsLeft(count) => {
            let outboards = counted(*count, "outboard");
            let done = if changes { "removed" } else { "left there" };
            format!("{outboards} of blobs that are gone: {done}")
        }
        Finding::Orphan(hash, size) => {
            let bytes = counted(*size, "byte");
            format!("blob {hash}: orphan, no file needs its {bytes} (the node deletes it)")
        }
        Finding::Unclaimed(hash, size) => {
            let bytes = counted(*size, "byte");
            format!(
                "blob {hash}: no file that the journal tells of needs its {bytes} (kept, since \
                 the journal has lost changes)"
            )
        }
        Finding::ChangesLost(1) => {
            "journal: 1 change is lost, and whatever file it was of".to_owned()
        }
        Finding::ChangesLost(changes) => {
            format!("journal: {changes} changes are lost, and whatever files they were of")
        }
        Finding::Unchecked(reason) => format!("not checked: {reason}"),
        Finding::File(path, problem) => format!("{}: {problem}", path.display()),
        Finding::Stray(path) => format!("{}: does not belong there", path.display()),
        Finding::FileConcerned { id, name, hash } => not_whole(id, name, hash),
        #[cfg(feature = "shared")]
        Finding::NotLive(hash) => {
            format!("blob {hash}: its place is none that files need, and may be emptied")
        }
        #[cfg(feature = "shared")]
        Finding::Unknown(key, size) => {
            let bytes = counted(*size, "byte");
            format!("object {key}: no row knows its {bytes} (a node removes it once it is old)")
        }
        #[cfg(feature = "shared")]
        Finding::Bereft(Bereft {
            id,
            name,
            hash,
            is_lost,
        }) if *is_lost => format!("file {id} ({name}): its content {hash} has no row"),
        #[cfg(feature = "shared")]
        Finding::Bereft(Bereft { id, name, hash, .. }) => not_whole(id, name, hash),
        Finding::Index(finding) => describe_index(finding),
    }
}

fn describe_index(finding: &IndexFinding) -> String {
    match finding {
        IndexFinding::Journal(Damage {
            path,
            offset,
            detail,
            ..
        }) => {
            format!("journal {} at byte {offset}: {detail}", path.display())
        }
        IndexFinding::Unchecked(error) => format!("index: not checked: {error}"),
        IndexFinding::Unusable(reason) => format!("index: cannot be used: {reason}"),
        IndexFinding::Missing(record) => {
            format!("index: file {} is in the journal and not here", record.id)
        }
        IndexFinding::Extra(record) => {
            format!("index: file {} is here and not in the journal", record.id)
        }
        IndexFinding::Different(id) => format!("index: file {id} differs from the journal"),
        IndexFinding::Inconsistent(reason) => format!("index: {reason}"),
        IndexFinding::Seal => {
            "index.seal: damaged (the node compares everything, and makes it anew)".to_owned()
        }
        IndexFinding::Unsealed => {
            "index: its files are not as the last stop left them (the node compares everything)"
                .to_owned()
        }
    }
}
