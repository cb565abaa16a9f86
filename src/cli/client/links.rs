//! Addresses of files, to hand on.

use serde::Deserialize;

use super::api::Api;
use super::failure::Failure;
use super::listed::File;
use crate::base_url::BaseUrl;

/// Where the node's files are downloaded.
pub(super) struct Links {
    node: String,
}

#[derive(Deserialize)]
struct Status {
    peer: Peer,
}

#[derive(Deserialize)]
struct Peer {
    peer_id: String,
    address: String,
}

impl Api {
    /// The id of the node that is asked.
    pub(super) async fn peer_id(&self) -> Result<String, Failure> {
        let Status { peer } = self.get("/api/p2p/status", &[]).await?;
        Ok(peer.peer_id)
    }
}

impl Links {
    /// Those of a node: at the address by which it was asked, or, where that means this machine
    /// and so nothing to others, at the one that it gives itself.
    pub(super) async fn of(api: &Api) -> Result<Self, Failure> {
        let node = api.node();
        if node.is_loopback() {
            let Status { peer } = api.get("/api/p2p/status", &[]).await?;
            if let Ok(own) = peer.address.parse::<BaseUrl>() {
                let node = own.to_string();
                return Ok(Self { node });
            }
        }
        let node = node.to_string();
        Ok(Self { node })
    }

    /// Of the file with this id.
    pub(super) fn to_id(&self, id: &str) -> String {
        format!("{}/api/p2p/file/{id}", self.node)
    }

    /// Of a file, or of content that has no id.
    pub(super) fn to(&self, file: &File) -> String {
        match (&file.hash, file.peers.first()) {
            (Some(hash), _) if file.id.is_empty() => {
                format!("{}/api/p2p/blob/{hash}", self.node)
            }
            (None, Some(peer)) => format!("{}/api/p2p/download/{peer}/{}", self.node, file.id),
            _ => self.to_id(&file.id),
        }
    }
}
