//! The list of all files of a moment, as the node tells it: kept in a file without a name until
//! it is whole, since the end says what of it counts.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use indicatif::ProgressBar;
use reqwest::Method;

use super::rate::Rate;
use crate::backup::BackupError;
use crate::blocking;
use crate::cli::client::api::Api;
use crate::cli::client::failure::Failure;
use crate::disk::DiskError;
use crate::file_line::{FileLine, Line, VERSION};
use crate::record::{FileId, MAX_DESCRIPTION_BYTES, MAX_NAME_BYTES};

/// Where a node tells it.
const PATH: &str = "/api/p2p/moment?hold=1";
/// The longest line, in bytes: of the longest texts, all of them in escapes.
const LONGEST: usize = 8 * (MAX_NAME_BYTES + MAX_DESCRIPTION_BYTES);
/// How much is written at once, in bytes.
const AT_ONCE: usize = 256 << 10;
/// How many files are read at once.
const PAGE: usize = 1024;

/// A list that is whole.
pub(super) struct Listed {
    /// None while it is read elsewhere.
    reader: Option<BufReader<File>>,
    dir: PathBuf,
    gone: HashSet<FileId>,
    pub(super) peer_id: String,
    /// Of which moment it is, in milliseconds since 1970.
    pub(super) at: i64,
    /// The sum of the sizes of all files, in bytes.
    pub(super) bytes: u64,
    /// The answer, as long as which lasts the node holds the contents of files that are removed.
    _holding: BoxStream<'static, reqwest::Result<Bytes>>,
}

/// A list that comes.
struct Coming {
    writer: BufWriter<File>,
    dir: PathBuf,
    peer_id: Option<String>,
    last: Option<FileId>,
    told: u64,
    bytes: u64,
    gone: HashSet<FileId>,
    at: Option<i64>,
}

/// Asks the node for the list, again where it breaks off.
pub(super) async fn listed(
    api: &Api,
    dir: &Path,
    (bar, rate): (&ProgressBar, &Rate),
) -> Result<Listed, Failure> {
    let mut again = api.again(bar);
    loop {
        match receive(api, dir, (bar, rate)).await {
            Err(failure) if failure.may_pass() => again.wait(failure).await?,
            Err(Failure::Refused { code, .. }) if code == "unknown_path" => {
                return Err(Failure::NotBackedUp(format!(
                    "the node at {} is an older one, which cannot be backed up while it runs",
                    api.node()
                )));
            }
            listed => return listed,
        }
    }
}

async fn receive(
    api: &Api,
    dir: &Path,
    (bar, rate): (&ProgressBar, &Rate),
) -> Result<Listed, Failure> {
    let answer = api.send(api.request(Method::GET, PATH)).await?;
    let mut pieces = answer.bytes_stream();
    let file = of_list(dir, tempfile::tempfile_in(dir))?;
    let mut coming = Coming {
        writer: BufWriter::new(file),
        dir: dir.to_owned(),
        peer_id: None,
        last: None,
        told: 0,
        bytes: 0,
        gone: HashSet::new(),
        at: None,
    };
    let mut text = Vec::new();
    loop {
        let piece = api.piece(&mut pieces).await?;
        let is_end = piece.is_none();
        let piece = piece.unwrap_or_default();
        rate.spent(piece.len() as u64).await;
        text.extend_from_slice(&piece);
        // The end is short, and the node says nothing more behind it.
        let may_be_end = text.ends_with(b"}}\n");
        if text.len() < AT_ONCE && !is_end && !may_be_end {
            continue;
        }
        let (back, taken) = blocking::run(move || {
            let taken = coming.take(&mut text);
            ((coming, text), taken)
        })
        .await;
        (coming, text) = back;
        taken?;
        bar.set_position(coming.told);
        if is_end || coming.at.is_some() {
            return coming.end(pieces.boxed());
        }
    }
}

impl Coming {
    /// Takes the lines that are whole, and leaves the rest. Blocks.
    fn take(&mut self, text: &mut Vec<u8>) -> Result<(), Failure> {
        let end = text
            .iter()
            .rposition(|it| *it == b'\n')
            .map_or(0, |it| it + 1);
        let rest = text.split_off(end);
        if rest.len() > LONGEST {
            return Err(Failure::Nonsense("a line of its list does not end"));
        }
        for line in text.split(|it| *it == b'\n').filter(|it| !it.is_empty()) {
            let line = serde_json::from_slice(line);
            self.line(line.map_err(|_| Failure::Nonsense("a line of its list is none"))?)?;
        }
        *text = rest;
        Ok(())
    }

    fn line(&mut self, line: Line) -> Result<(), Failure> {
        match line {
            Line::Moment(beginning) => {
                if beginning.version != VERSION {
                    return Err(Failure::NotBackedUp(format!(
                        "the node tells its list in version {}, and this larder knows {VERSION}: \
                         take one as new as the node",
                        beginning.version
                    )));
                }
                self.peer_id = Some(beginning.peer_id);
            }
            Line::File(file) => {
                let is_next = self.last.is_none_or(|last| last < file.id);
                let is_short = file.name.len() <= MAX_NAME_BYTES
                    && file.description.len() <= MAX_DESCRIPTION_BYTES;
                if !is_next || !is_short {
                    return Err(Failure::Nonsense(
                        "its list is in no order, or has no names",
                    ));
                }
                self.last = Some(file.id);
                self.told += 1;
                self.bytes = self.bytes.saturating_add(file.size);
                let written = serde_json::to_writer(&mut self.writer, &file);
                let written = written.map_err(Into::into);
                let written = written.and_then(|()| self.writer.write_all(b"\n"));
                of_list(&self.dir, written)?;
            }
            Line::Gone(id) => {
                self.gone.insert(id);
            }
            Line::End(end) if end.told == self.told => self.at = Some(end.at),
            Line::End(_) => return Err(Failure::Nonsense("its list has lost files on the way")),
        }
        Ok(())
    }

    fn end(self, holding: BoxStream<'static, reqwest::Result<Bytes>>) -> Result<Listed, Failure> {
        let (Some(at), Some(peer_id)) = (self.at, self.peer_id) else {
            return Err(Failure::Nonsense("its list has no end"));
        };
        let dir = self.dir;
        let file = self.writer.into_inner();
        let mut file = of_list(&dir, file.map_err(std::io::IntoInnerError::into_error))?;
        of_list(&dir, file.rewind())?;
        Ok(Listed {
            reader: Some(BufReader::new(file)),
            dir,
            gone: self.gone,
            peer_id,
            at,
            bytes: self.bytes,
            _holding: holding,
        })
    }
}

impl Listed {
    /// Some more of its files; None at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<FileLine>>, Failure> {
        let Some(mut reader) = self.reader.take() else {
            return Ok(None);
        };
        let (back, lines) = blocking::run(move || {
            let lines = read(&mut reader);
            (reader, lines)
        })
        .await;
        let mut files = of_list(&self.dir, lines)?;
        if files.is_empty() {
            return Ok(None);
        }
        self.reader = Some(back);
        files.retain(|it| !self.gone.contains(&it.id));
        Ok(Some(files))
    }
}

fn read(reader: &mut impl BufRead) -> std::io::Result<Vec<FileLine>> {
    let (mut files, mut line) = (Vec::new(), Vec::new());
    while files.len() < PAGE {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        files.push(serde_json::from_slice(&line)?);
    }
    Ok(files)
}

/// What an operation on the list that is kept meanwhile came to.
fn of_list<T>(dir: &Path, result: std::io::Result<T>) -> Result<T, Failure> {
    let failed = |error| BackupError::from(DiskError::new("write to", dir, error));
    result.map_err(|error| failed(error).into())
}
