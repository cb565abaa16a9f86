//! `larder verify` of a node that runs: it reads everything, and tells what is not whole.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::ProgressBar;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::api::Api;
use super::connection::Connection;
use super::failure::Failure;
use super::output;
use super::running::run;
use super::scrub::{LastRound, Scrub};
use crate::cli::concerned::not_whole;
use crate::cli::counted::counted;
use crate::cli::summary::{OF_COPIES, Summary};
use crate::hash::BlobHash;
use crate::peer_id::PeerId;

/// Where a node is asked for it.
const PATH: &str = "/api/p2p/scrub";
/// How often it is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How often it may not know that yet.
const MOST_UNKNOWN: u32 = 120;
/// The most pages of what is not whole, of a thousand each.
const MOST_PAGES: usize = 100_000;

#[derive(Deserialize)]
struct Asked {
    number: u64,
}

#[derive(Deserialize)]
struct Looked {
    scrub: Option<Scrub>,
    files: u64,
    blobs: u64,
    blob_bytes: u64,
    unsound: Vec<Unsound>,
    next: Option<BlobHash>,
    // An older node does not tell.
    #[serde(default)]
    holds_copies: bool,
}

#[derive(Deserialize)]
struct Unsound {
    hash: BlobHash,
    unreadable: bool,
    // These are none of older nodes.
    #[serde(default)]
    files: Vec<Concerned>,
    #[serde(default)]
    more_files: u64,
}

#[derive(Deserialize)]
struct Concerned {
    file_id: String,
    original_name: String,
}

#[derive(Deserialize)]
struct Status {
    peer: Myself,
}

/// What is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// What the files of the node have.
    Own,
    /// What it holds for others.
    Copies,
}

impl Part {
    /// What a question about it says.
    fn query(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Own => &[],
            Self::Copies => &[("of", "copies")],
        }
    }

    /// What stands before what is told of it.
    fn called(self) -> &'static str {
        match self {
            Self::Own => "",
            Self::Copies => OF_COPIES,
        }
    }
}

#[derive(Deserialize)]
struct Myself {
    peer_id: PeerId,
}

/// Refuses what no node can be asked with.
pub(in crate::cli) fn check(connection: &Connection) -> anyhow::Result<ExitCode> {
    run(connection, |_| async { Ok(()) })
}

/// Whether the node that is asked is there, and is this peer.
pub(in crate::cli) fn is_peer(connection: &Connection, peer: PeerId) -> anyhow::Result<bool> {
    let mut is_peer = false;
    run(connection, |api| {
        let is_peer = &mut is_peer;
        async move {
            let status = api.json::<Status>(api.request(Method::GET, "/api/p2p/status"));
            *is_peer = status.await.is_ok_and(|it| it.peer.peer_id == peer);
            Ok(())
        }
    })?;
    Ok(is_peer)
}

/// Has a node read everything, and prints what is not whole; exit status 1 if anything is.
pub(in crate::cli) fn verify(connection: &Connection) -> anyhow::Result<ExitCode> {
    run(connection, |api| async move {
        let (own, holds_copies) = look_through(&api, Part::Own, connection.json).await?;
        let of_copies = if holds_copies {
            Some(look_through(&api, Part::Copies, connection.json).await?.0)
        } else {
            None
        };
        if let Some(copies) = &of_copies {
            output::line(&copies.of_copies(connection.json))?;
        }
        output::line(&own.told(connection.json))?;
        let problems = own.problems + of_copies.map_or(0, |it| it.problems);
        match problems {
            0 => Ok(()),
            _ => Err(Failure::Told(1)),
        }
    })
}

/// Has it read a part, and prints what is not whole of that; also whether it holds contents for
/// others.
async fn look_through(api: &Api, part: Part, is_json: bool) -> Result<(Summary, bool), Failure> {
    let bar = output::bar("everything stored", 0);
    let ended = wait(api, part, &bar).await;
    bar.finish_and_clear();
    report(api, part, ended?, is_json).await
}

/// Prints something.
fn told(key: &str, text: &str, is_json: bool) -> io::Result<()> {
    if is_json {
        output::json(&json!({ key: text }))
    } else {
        output::line(text)
    }
}

impl Unsound {
    /// Prints of which files it is.
    fn tell_files(&self, of: &str, is_json: bool) -> io::Result<()> {
        for Concerned {
            file_id,
            original_name,
        } in &self.files
        {
            let (id, name) = (output::field(file_id), output::plain(original_name));
            let text = not_whole(&id, &name, &self.hash);
            told("file", &format!("{of}{text}"), is_json)?;
        }
        match self.more_files {
            0 => Ok(()),
            more => {
                let files = counted(more, "more file");
                told(
                    "file",
                    &format!("{of}{files} of content {}", self.hash),
                    is_json,
                )
            }
        }
    }
}

/// Asks for it and waits for its end; returns what has come of it.
async fn wait(api: &Api, part: Part, bar: &ProgressBar) -> Result<LastRound, Failure> {
    let mut asked = ask(api, part, bar).await?;
    let mut looks = 0..MOST_UNKNOWN;
    loop {
        let looked: Looked = api.get(PATH, part.query()).await?;
        let Some(scrub) = looked.scrub else {
            // It took the question, and was restarted since: soon it knows.
            let unknown = Failure::Nonsense("it does not know how far it is");
            looks.next().ok_or(unknown)?;
            tokio::time::sleep(ASK_EVERY).await;
            continue;
        };
        if let Some(last) = scrub.last.filter(|it| it.number >= asked) {
            return Ok(last);
        }
        match scrub.round.filter(|it| it.number >= asked) {
            Some(round) => {
                bar.set_length(looked.blob_bytes);
                bar.set_position(round.bytes);
            }
            // It was killed before it had written down that it was asked.
            None => asked = ask(api, part, bar).await?,
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Asks for it. A node that is being restarted is waited for.
async fn ask(api: &Api, part: Part, bar: &ProgressBar) -> Result<u64, Failure> {
    let mut again = api.again(bar);
    loop {
        let request = api.request(Method::POST, PATH).query(part.query());
        match api.json::<Asked>(request).await {
            Err(failure) if api.has_answered() && failure.is_of_restart() => {
                again.wait(failure).await?;
            }
            asked => return Ok(asked?.number),
        }
    }
}

/// Prints what is not whole of a part, and returns how much that is, and whether it holds contents
/// for others.
async fn report(
    api: &Api,
    part: Part,
    ended: LastRound,
    is_json: bool,
) -> Result<(Summary, bool), Failure> {
    let (mut problems, mut after, of) = (0, None::<BlobHash>, part.called());
    let mut tell = |problem: String| {
        problems += 1;
        told("problem", &format!("{of}{problem}"), is_json)
    };
    let mut pages = 0..MOST_PAGES;
    let looked = loop {
        let behind = after.map(|it| it.to_string());
        let after_it = behind.iter().map(|it| ("after", it.as_str()));
        let query = after_it.chain([("files", "1")]);
        let query: Vec<_> = query.chain(part.query().iter().copied()).collect();
        let looked: Looked = api.get(PATH, &query).await?;
        for unsound in &looked.unsound {
            let hash = unsound.hash;
            tell(if unsound.unreadable {
                format!("blob {hash}: the disk does not give it")
            } else {
                format!("blob {hash}: damaged or missing, and a file needs it")
            })?;
            unsound.tell_files(of, is_json)?;
        }
        match looked.next {
            None => break looked,
            Some(next) if after < Some(next) && pages.next().is_some() => after = Some(next),
            Some(_) => return Err(Failure::Nonsense("its list does not lead forward")),
        }
    };
    for problem in &ended.problems {
        tell(output::plain(problem))?;
    }
    if ended.unchecked > 0 {
        let contents = counted(ended.unchecked, "part");
        tell(format!(
            "not checked: {contents} (the log of the node says why)"
        ))?;
    }
    let Looked {
        files,
        blobs,
        blob_bytes,
        holds_copies,
        ..
    } = looked;
    let summary = Summary {
        files,
        blobs,
        blob_bytes,
        problems,
        left_over: 0,
    };
    Ok((summary, holds_copies))
}
