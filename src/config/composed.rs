//! What a node is made of, as its settings say.

use std::path::Path;

use crate::fetch::copies;
use crate::http;
use crate::peer::membership::Joined;
use crate::peer::tls::Authorities;
use crate::store::local;
#[cfg(feature = "shared")]
use crate::store::shared;
use crate::web::tls::Tls;

/// What a node is made of by its settings, which can be together.
pub struct Checked {
    /// How the REST interface is set up.
    pub http: http::Options,
    /// Where it keeps its files.
    pub kept: Kept,
    /// What makes it a member of a network, if it is one.
    pub membership: Option<Joined>,
    /// Who vouches for peers that are reached over TLS.
    pub authorities: Authorities,
    /// What the node shows its clients, if it speaks TLS.
    pub tls: Option<Tls>,
}

/// Where files are kept.
pub enum Kept {
    /// In a storage directory, and there perhaps copies for other members of a network.
    Here(local::Options, Option<copies::Options>),
    /// On servers that other nodes share.
    #[cfg(feature = "shared")]
    Shared(Box<shared::Options>),
}

impl Kept {
    /// This node's own directory.
    pub fn dir(&self) -> &Path {
        match self {
            Self::Here(store, _) => &store.dir,
            #[cfg(feature = "shared")]
            Self::Shared(store) => &store.own.dir,
        }
    }
}
