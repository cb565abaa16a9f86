//! With whom a node talks: the one rule that both what comes in and what goes out ask.

use std::sync::Arc;

use super::address::Policy;
use super::membership::{Certificate, Channel, Refusal};
use super::registration::Checked;
use crate::base_url::BaseUrl;

/// With whom a node talks. By default with whoever is at an address that peers may have.
#[derive(Clone, Default)]
pub struct Reach {
    /// Where peers may be.
    pub addresses: Policy,
    /// Of a private node the peers that its operator has named: it asks these and nobody
    /// else. None: the node talks with everybody.
    pub only: Option<Vec<BaseUrl>>,
    /// Of a member of a network what it is that by: it talks with other members and with nobody
    /// else, each of whom proves to be one before anything is asked or answered. None: the node
    /// talks with whoever is there.
    pub members: Option<Arc<Channel>>,
    /// The peers and servers that the operator has named. Their names are looked up without
    /// waiting for those of strangers.
    pub named: Vec<BaseUrl>,
}

impl Reach {
    /// Whether this node may ask what is at this address, and so may take it for the address
    /// of a peer and pass it on. Names are looked at once more when they are resolved.
    pub fn may_ask(&self, address: &BaseUrl) -> bool {
        let named = self.only.as_ref().is_none_or(|only| only.contains(address));
        named && self.addresses.allows_url(address)
    }

    /// Whether this node may know the peer that has told this of itself: of a member only other
    /// members, who show that with it.
    pub fn may_know(&self, told: &Checked) -> bool {
        let Some(channel) = &self.members else {
            return true;
        };
        let shown = told.registration.membership.as_deref();
        let key = told.registration.proof.public_key.as_deref();
        let (Some(shown), Some(key)) = (shown, key) else {
            return false;
        };
        let checked = shown.parse().and_then(|it: Certificate| {
            let key = key.parse().map_err(|_| Refusal::Form)?;
            channel.check(&it, key)
        });
        checked.is_ok()
    }

    /// Whether this node tells others of itself and of what it holds. A private one tells
    /// nobody, not even the peers it asks: they could pass it on.
    pub fn tells(&self) -> bool {
        self.only.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> BaseUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_private_node_asks_the_named_ones_alone_and_tells_nobody() {
        let reach = Reach {
            only: Some(vec![url("http://10.0.0.1:5004"), url("http://169.254.1.1")]),
            ..Reach::default()
        };
        assert!(!reach.tells());
        for (address, may) in [
            ("http://10.0.0.1:5004", true),
            ("http://10.0.0.1:5004/", true),
            ("http://10.0.0.1", false),
            ("https://10.0.0.1:5004", false),
            ("http://10.0.0.1:5004/elsewhere", false),
            ("http://localhost:5004", false),
            // Named, and yet no place of a peer.
            ("http://169.254.1.1", false),
        ] {
            assert_eq!(reach.may_ask(&url(address)), may, "{address}");
        }
    }

    #[test]
    fn any_other_node_talks_with_everybody_at_a_place_of_peers() {
        let reach = Reach::default();
        assert!(reach.tells());
        assert!(reach.may_ask(&url("http://10.0.0.1")));
        assert!(reach.may_ask(&url("http://peer.example")));
        assert!(!reach.may_ask(&url("http://169.254.169.254")));
    }
}
