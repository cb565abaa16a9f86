//! Segment files: their names, their headers, and the batches in them.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::batch::{Batch, Fields, HEADER as BATCH_HEADER, MAX_BODY, body_len};
use super::damage::Damage;
use crate::index::IndexError;
use crate::stored_file;

/// The length of a segment's header, in bytes.
pub(super) const HEADER: u64 = 64;
const MAGIC: [u8; 8] = *b"larderJ\n";
const VERSION: u32 = 1;
const EXTENSION: &str = "journal";
/// Under this name a segment is made before it gets its own.
pub(super) const UNFINISHED: &str = "unfinished";

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::index) enum Kind {
    /// The changes as they happened.
    Log,
    /// The files that were there at one moment; all segments before it are void.
    Snapshot,
}

/// What the header of a segment tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::index) struct Header {
    /// What the segment holds.
    pub(in crate::index) kind: Kind,
    /// A random number that all segments of one journal share.
    pub(in crate::index) journal: [u8; 16],
    /// The segment's place: one more than that of the segment before it.
    pub(in crate::index) number: u64,
    /// Log: the sequence number of the first entry. Snapshot: that of the first
    /// change after it.
    pub(in crate::index) seq: u64,
    /// Snapshot: how many entries it holds.
    pub(in crate::index) count: u64,
}

/// A segment on disk.
#[derive(Debug, Clone)]
pub(in crate::index) struct Segment {
    pub(in crate::index) path: PathBuf,
    pub(in crate::index) header: Header,
}

impl Segment {
    /// The sequence number of the first change that no segment before this one tells of.
    pub(in crate::index) fn first_change(&self) -> u64 {
        match self.header.kind {
            Kind::Snapshot => self.header.seq,
            Kind::Log => 1,
        }
    }
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(match self.kind {
            Kind::Log => 0u32.to_le_bytes(),
            Kind::Snapshot => 1u32.to_le_bytes(),
        });
        bytes.extend(self.journal);
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.seq.to_le_bytes());
        bytes.extend(self.count.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; 64]) -> Result<Self, String> {
        let (body, crc) = bytes.split_at(60);
        if crc32c::crc32c(body).to_le_bytes() != crc {
            return Err("the header's checksum does not match".into());
        }
        let mut fields = Fields(body);
        let mut parse = || {
            let magic = fields.take()?;
            let version = u32::from_le_bytes(fields.take()?);
            let kind = u32::from_le_bytes(fields.take()?);
            let header = Self {
                kind: if kind == 0 { Kind::Log } else { Kind::Snapshot },
                journal: fields.take()?,
                number: u64::from_le_bytes(fields.take()?),
                seq: u64::from_le_bytes(fields.take()?),
                count: u64::from_le_bytes(fields.take()?),
            };
            Ok::<_, super::batch::BadBatch>((magic, version, header))
        };
        match parse() {
            Ok((MAGIC, VERSION, header)) => Ok(header),
            Ok((MAGIC, version, _)) => Err(format!("version {version} is not known")),
            _ => Err("this is no journal segment".into()),
        }
    }
}

/// Where the segment with this number is.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.{EXTENSION}"))
}

/// The segment files of the directory, in the order of their numbers.
pub(super) fn paths(dir: &Path) -> Result<Vec<PathBuf>, IndexError> {
    let failed = |e| IndexError::io("list", dir, e);
    let mut paths = Vec::new();
    let files = match std::fs::read_dir(dir) {
        // Whoever only looks makes none.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(paths),
        files => files.map_err(failed)?,
    };
    for file in files {
        let path = file.map_err(failed)?.path();
        if number(&path).is_some() {
            paths.push(path);
        }
    }
    paths.sort_by_key(|path| number(path));
    Ok(paths)
}

/// The number in the name of a segment. Copies that other programs leave beside it, under names
/// that are like its own, are none.
pub(super) fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let stem = name.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let number = stem.parse().ok();
    number.filter(|number| stem == format!("{number:010}"))
}

/// The highest number any segment file has, readable or not; 0 where there is none.
pub(in crate::index) fn last_number(dir: &Path) -> Result<u64, IndexError> {
    let last = paths(dir)?.pop();
    Ok(last.and_then(|last| number(&last)).unwrap_or(0))
}

pub(super) fn open(path: PathBuf) -> Result<Result<Segment, Damage>, IndexError> {
    let mut bytes = [0; 64];
    let read = stored_file::open(&path).and_then(|mut file| file.read_exact(&mut bytes));
    let header = match read {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err("the header is cut off".into()),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(format!(
            "{e} (move that away, and put the segment back if it was moved)"
        )),
        Err(e) => return Err(IndexError::io("read", path, e)),
        Ok(()) => Header::decode(&bytes),
    };
    Ok(match header {
        Ok(header) => Ok(Segment { path, header }),
        Err(detail) => Err(Damage {
            path,
            offset: 0,
            detail,
            gives_up: true,
        }),
    })
}

/// What is wrong unless all segments belong to one journal and its beginning is there.
pub(super) fn check_chain(segments: &[Segment]) -> Option<Damage> {
    let first = segments.first()?;
    let damage = |segment: &Segment, detail: &str| Damage {
        path: segment.path.clone(),
        offset: 0,
        detail: detail.into(),
        gives_up: true,
    };
    if first.header.kind == Kind::Log && first.header.number != 1 {
        return Some(damage(first, "the segments before it are missing"));
    }
    let pairs = segments.iter().zip(segments.iter().skip(1));
    for (one, next) in pairs {
        if next.header.number != one.header.number + 1 {
            return Some(damage(next, "the segment before it is missing"));
        }
    }
    let stranger = segments
        .iter()
        .find(|s| s.header.journal != first.header.journal)?;
    Some(damage(stranger, "it belongs to another journal"))
}

/// The batches of one segment, one after the other.
pub(in crate::index) struct Batches {
    file: BufReader<File>,
    path: PathBuf,
    journal: [u8; 16],
    /// Where the next batch begins, in bytes.
    pub(in crate::index) offset: u64,
}

/// Why no further batch was read.
pub(in crate::index) enum Stop {
    /// The segment ends here, whole.
    End,
    /// What follows is no batch.
    Bad(String),
}

impl Batches {
    pub(in crate::index) fn of(segment: &Segment) -> Result<Self, IndexError> {
        let path = segment.path.clone();
        let open = |path: &Path| {
            let mut file = stored_file::open(path)?;
            file.seek(SeekFrom::Start(HEADER))?;
            Ok(BufReader::with_capacity(1 << 20, file))
        };
        match open(&path) {
            Ok(file) => Ok(Self {
                file,
                path,
                journal: segment.header.journal,
                offset: HEADER,
            }),
            Err(e) => Err(IndexError::io("open", path, e)),
        }
    }

    /// The next batch, or why there is none.
    pub(in crate::index) fn next(&mut self) -> Result<Result<Batch, Stop>, IndexError> {
        let mut bytes = Vec::new();
        self.fill(&mut bytes, BATCH_HEADER)?;
        if bytes.is_empty() {
            return Ok(Err(Stop::End));
        }
        let len = body_len(&bytes).unwrap_or(0);
        self.fill(&mut bytes, len.min(MAX_BODY))?;
        match Batch::decode(&bytes, &self.journal) {
            Ok((batch, len)) => {
                self.offset += len as u64;
                Ok(Ok(batch))
            }
            Err(bad) => Ok(Err(Stop::Bad(bad.to_string()))),
        }
    }

    /// Goes on at `offset`.
    pub(super) fn skip_to(&mut self, offset: u64) -> Result<(), IndexError> {
        self.offset = offset;
        let seek = self.file.seek(SeekFrom::Start(offset));
        seek.map(drop)
            .map_err(|e| IndexError::io("read", &self.path, e))
    }

    /// Appends up to `len` bytes, fewer where the file ends.
    fn fill(&mut self, bytes: &mut Vec<u8>, len: usize) -> Result<(), IndexError> {
        let read = self.file.by_ref().take(len as u64).read_to_end(bytes);
        read.map(drop)
            .map_err(|e| IndexError::io("read", &self.path, e))
    }
}
