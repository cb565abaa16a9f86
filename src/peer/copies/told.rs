//! What members answer each other of copies.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::signed::{CopiedFile, Withdrawal};

/// The most files that are asked for by their keys at once.
pub const MOST_KEYS: usize = 32;

/// The answer of `GET /api/p2p/copies`: how it stands with a member, and what it holds for others.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Standing {
    /// `success`.
    #[serde(default)]
    pub status: String,
    /// Who answers.
    pub peer_id: String,
    /// Another one after each start; empty while nothing is told of copies yet.
    pub run: String,
    /// How many bytes of copies it holds for others at most.
    pub offer: u64,
    /// How many of them are used: the contents that it holds for others, each once.
    #[serde(default)]
    pub used: u64,
    /// How many it can still take, which may be fewer than are left of its offer, where its disk is
    /// full.
    pub left: u64,
    /// Another number where its own files have changed.
    pub listed: u64,
    /// Another number where its own files are to be looked at again from the first one on.
    pub asks: u64,
    /// Another number where it has given up copies that were too many.
    pub dropped: u64,
    /// The ids of owners that are there and do not know files of theirs that it holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// Members, and for how long each has not answered it.
    pub silent: Vec<Silent>,
    /// The copies that it holds, and what owners have removed, in the order in which it took them,
    /// behind `after`.
    pub entries: Vec<Entry>,
    /// Where to go on, if anything is behind `after`.
    pub next: Option<String>,
}

/// A member that another one has asked.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Silent {
    /// Which.
    pub peer_id: String,
    /// For how long it has not answered, in milliseconds.
    pub ms: u64,
}

/// One of both.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A copy is held.
    Copy(CopiedFile),
    /// None is held any more, since the owner has removed the file.
    Withdrawn(Withdrawal),
}

/// The answer of `GET /api/p2p/copies/rows`: the files of an owner of which there are to be copies.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Rows {
    /// `success`.
    #[serde(default)]
    pub status: String,
    /// Some of them.
    pub rows: Vec<Row>,
    /// Where to go on, if there are more.
    pub next: Option<String>,
}

/// What decides where copies of a file are.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Row {
    /// The file's id at its owner.
    pub id: String,
    /// The hash of its content.
    pub hash: String,
    /// The length of that, in bytes.
    pub size: u64,
    /// On how many members it is to be.
    pub copies: u8,
    /// Since when it is there again, if it was removed before; see what its owner has signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Whether its owner is there and does not know it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unknown: bool,
}

/// The answer of `GET /api/p2p/copies/files`: what the owners have signed of files.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Files {
    /// `success`.
    #[serde(default)]
    pub status: String,
    /// Those that are known of what was asked for.
    pub files: Vec<CopiedFile>,
    /// What they have signed of those that they have removed, as far as it is remembered here.
    #[serde(default)]
    pub ended: Vec<Withdrawal>,
}

/// The answer of `GET /api/p2p/copies/here`: whether a member has what others believe.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Here {
    /// `success`.
    #[serde(default)]
    pub status: String,
    /// For each key that was asked for.
    pub here: Vec<Whether>,
}

/// Whether a file is there.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
pub struct Whether {
    /// Whether its content is, and whole as far as is known.
    pub is_there: bool,
    /// On how many members it is to be, as whoever answers knows; 0 where it does not.
    pub copies: u8,
}
