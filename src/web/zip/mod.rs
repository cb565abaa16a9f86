//! Several contents as one ZIP archive, which is made while it is sent.
//!
//! The bytes of each go in as they are, in blocks of DEFLATE that are stored (`blocks`): so the
//! length is known before, nothing is read twice, and an archive may also be unpacked while it
//! comes. A method without blocks would not do: where the checksum of a content comes behind it,
//! nobody who reads an archive from its beginning could tell where the content ends.

mod blocks;
mod names;
mod records;

use std::vec::IntoIter;

use axum::body::Body;
use bytes::Bytes;
use crc32fast::Hasher;
use futures_util::StreamExt;
use futures_util::stream;

use super::content::{Content, Pieces};
use super::error::ApiError;
use crate::record::Timestamp;
use blocks::Blocks;
use names::Names;
use records::{Begun, Writer};

/// The most files in an archive: what is known of them is in memory while it is sent.
const MAX_FILES: usize = 10_000;
/// The most that the names of its files take together, in bytes.
const MAX_NAMES_BYTES: usize = 4 << 20;
/// The most folders in it: names of so many bytes could have two million.
const MAX_FOLDERS: usize = 10 * MAX_FILES;

/// A file that an archive shall hold.
pub(crate) struct Member<T> {
    /// What it is called, with the folders that it lies in.
    pub name: String,
    /// The length of its content, in bytes, where that is known before it is opened.
    pub size: Option<u64>,
    /// When it came.
    pub modified: Option<Timestamp>,
    /// What its content is found by.
    pub source: T,
}

/// An archive to be sent.
pub(crate) struct Archive<T> {
    members: Vec<Member<T>>,
    names: Names,
    /// How long the names are that the files have elsewhere, in bytes.
    name_bytes: usize,
}

impl<T> Default for Archive<T> {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            names: Names::default(),
            name_bytes: 0,
        }
    }
}

impl<T: Send + 'static> Archive<T> {
    /// Adds a file, which is called as no other one in the archive, leads out of no folder that the
    /// archive is unpacked in, and has no name that some file system does not take.
    pub(crate) fn add(&mut self, mut member: Member<T>) -> Result<(), ApiError> {
        self.name_bytes += member.name.len();
        if self.members.len() < MAX_FILES && self.name_bytes <= MAX_NAMES_BYTES {
            member.name = self.names.take(&member.name);
            if self.names.folders() <= MAX_FOLDERS {
                self.members.push(member);
                return Ok(());
            }
        }
        Err(ApiError::TooManyFiles {
            files: MAX_FILES,
            name_bytes: MAX_NAMES_BYTES,
        })
    }

    /// About how much memory the names of its files take while it is sent, and what else is known
    /// of them, in bytes at most: once as they wait for their turn, and again, where twice as much
    /// may be allocated, for the directory at its end.
    pub(crate) fn bytes(&self) -> usize {
        const FILE: usize = 400;
        let names = self.members.iter().map(|it| it.name.len());
        2 * names.sum::<usize>() + FILE * self.members.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The length of the archive, in bytes, where that of all contents is known.
    pub(crate) fn length(&self) -> Option<u64> {
        let mut writer = Writer::default();
        let mut length = 0;
        for member in &self.members {
            let size = member.size?;
            let (begun, head) = writer.begin(member.name.clone(), size, member.modified);
            let packed = blocks::length(size);
            length += head.len() as u64 + packed + writer.end(&begun, 0).len() as u64;
        }
        Some(length + writer.finish().len() as u64)
    }

    /// The archive, once the first bytes of the first content are there: as long as nothing was
    /// sent, a client can still be told why there is nothing. What fails later cuts the connection.
    pub(crate) async fn into_body<Open, Opened>(self, open: Open) -> Result<Body, ApiError>
    where
        Open: Fn(T) -> Opened + Send + 'static,
        Opened: Future<Output = Result<Content, ApiError>> + Send,
    {
        drop(self.names);
        let sending = Sending {
            members: self.members.into_iter(),
            open,
            writer: Some(Writer::default()),
            content: None,
        };
        let pieces = stream::try_unfold(sending, |mut sending| async {
            Ok(sending.next().await?.map(|piece| (piece, sending)))
        });
        let mut pieces: Pieces = pieces.boxed();
        let first = pieces.next().await.transpose()?;
        let pieces = stream::iter(first.map(Ok::<_, ApiError>)).chain(pieces);
        Ok(Body::from_stream(pieces))
    }
}

/// An archive on its way.
struct Sending<T, Open> {
    members: IntoIter<Member<T>>,
    open: Open,
    /// None once the end was sent.
    writer: Option<Writer>,
    content: Option<Reading>,
}

/// A content on its way.
struct Reading {
    begun: Begun,
    pieces: Pieces,
    blocks: Blocks,
    checksum: Hasher,
}

impl<T, Open, Opened> Sending<T, Open>
where
    Open: Fn(T) -> Opened,
    Opened: Future<Output = Result<Content, ApiError>>,
{
    /// What comes next; None at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let Some(writer) = &mut self.writer else {
            return Ok(None);
        };
        if let Some(reading) = &mut self.content
            && let Some(piece) = reading.pieces.next().await.transpose()?
        {
            reading.checksum.update(&piece);
            return Ok(Some(reading.blocks.framed(&piece).into()));
        }
        if let Some(reading) = self.content.take() {
            let end = writer.end(&reading.begun, reading.checksum.finalize());
            return Ok(Some(end.into()));
        }
        let Some(member) = self.members.next() else {
            return Ok(self.writer.take().map(|writer| writer.finish().into()));
        };
        let content = (self.open)(member.source).await?;
        let size = content.size();
        let pieces = content.begin(0..size).await?;
        let (begun, mut head) = writer.begin(member.name, size, member.modified);
        let (blocks, first) = Blocks::begin(size);
        head.extend(first);
        self.content = Some(Reading {
            begun,
            pieces,
            blocks,
            checksum: Hasher::new(),
        });
        Ok(Some(head.into()))
    }
}

#[cfg(test)]
mod tests;
