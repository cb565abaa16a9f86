//! Asking members of copies.

use serde::de::DeserializeOwned;

use super::signed::CopyKey;
use super::told::{Files, Here, Rows, Standing};
use crate::peer::client::ClientError;
use crate::peer::network::Network;
use crate::peer::registry::Peer;
use crate::peer_id::PeerId;
use crate::record::FileId;

/// The longest answer that is read, in bytes: a page of files with names as long as they may be,
/// each byte of which takes six.
const MAX_ANSWER: usize = 4 << 20;

async fn ask<T: DeserializeOwned>(
    network: &Network,
    peer: &Peer,
    path: &str,
) -> Result<T, ClientError> {
    let client = &network.client;
    let answer = client.get_from(peer.id(), peer.address(), path, MAX_ANSWER);
    let owned: serde_json::Value = answer.await?.read()?;
    Ok(serde_json::from_value(owned)?)
}

/// How it stands with a member, and what it holds for others, behind the entry `after`.
pub async fn ask_standing(
    network: &Network,
    peer: &Peer,
    after: Option<FileId>,
) -> Result<Standing, ClientError> {
    let after = after.map(|it| format!("?after={it}")).unwrap_or_default();
    let path = format!("/api/p2p/copies{after}");
    let standing: Standing = ask(network, peer, &path).await?;
    if standing.peer_id == peer.id().to_string() {
        Ok(standing)
    } else {
        Err(ClientError::OtherPeer)
    }
}

/// The files of a member of which there are to be copies, behind the file `after`; or those of
/// another `owner` of which it holds copies, behind the copy `after`.
pub async fn ask_rows(
    network: &Network,
    peer: &Peer,
    owner: PeerId,
    after: Option<&str>,
) -> Result<Rows, ClientError> {
    let after = after.map(|it| format!("&after={it}")).unwrap_or_default();
    let path = format!("/api/p2p/copies/rows?owner={owner}{after}");
    ask(network, peer, &path).await
}

/// What owners have signed of these files, at most [`super::MOST_KEYS`], as far as a member has it.
pub async fn ask_files(
    network: &Network,
    peer: &Peer,
    keys: &[CopyKey],
) -> Result<Files, ClientError> {
    let path = format!("/api/p2p/copies/files?keys={}", joined(keys));
    ask(network, peer, &path).await
}

/// Whether a member has these files, at most [`super::MOST_KEYS`].
pub async fn ask_here(
    network: &Network,
    peer: &Peer,
    keys: &[CopyKey],
) -> Result<Here, ClientError> {
    let path = format!("/api/p2p/copies/here?keys={}", joined(keys));
    let here: Here = ask(network, peer, &path).await?;
    if here.here.len() == keys.len() {
        Ok(here)
    } else {
        Err(ClientError::OtherPeer)
    }
}

fn joined(keys: &[CopyKey]) -> String {
    let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
    keys.join(",")
}
