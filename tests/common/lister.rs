//! A peer with a key that lists what a test says, proven as every node proves it, and takes what it
//! is told; it knows nothing else that nodes of today ask each other.

use std::sync::Arc;

use larder::peer::challenge::{HEADER, Prover};
use larder::peer::identity::Identity;
use larder::peer::registration::Registration;
use larder::peer_id::PeerId;
use serde_json::json;

use super::canned::{Canned, Reply};
use super::peers::{post, reaches};
use super::process::{Node, until};

/// A running peer; its threads end with the test's process.
pub(crate) struct Lister {
    pub(crate) canned: Canned,
    pub(crate) identity: Arc<Identity>,
}

impl Lister {
    /// One that answers with what `page` makes of its id and of what is asked for, without the
    /// last bytes, which prove it.
    pub(crate) fn start(page: impl Fn(PeerId, &str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let identity = Arc::new(Identity::generate().unwrap());
        let signer = Arc::clone(&identity);
        let canned = Canned::by_head(move |_, request, headers| {
            let target = request.split(' ').nth(1).unwrap();
            match target.split('?').next().unwrap() {
                "/api/p2p/files" => {
                    let page = page(signer.peer_id(), target);
                    Reply::Whole(answer(&proven(&signer, page, target, headers)))
                }
                "/api/p2p/announce" | "/api/peers" => Reply::Json("{}".to_owned()),
                _ => Reply::Head("404 Not Found".to_owned()),
            }
        });
        Self { canned, identity }
    }

    /// One that holds nothing, as it says in JSON.
    pub(crate) fn of_nothing() -> Self {
        Self::start(|id, _| {
            let listing = json!({ "peer_id": id.to_string(), "files": [], "file_count": 0,
                "total_files": 0, "next": null, "listed_at": 1 });
            let mut text = listing.to_string().into_bytes();
            text.pop();
            text
        })
    }

    pub(crate) fn id(&self) -> PeerId {
        self.identity.peer_id()
    }

    /// Tells a node of itself.
    pub(crate) fn meet(&self, node: &Node) {
        let url = self.canned.url().parse().unwrap();
        let registration = json!(Registration::of_self(&self.identity, &url));
        post(node.address, "/api/peers", &registration.to_string());
    }

    /// Waits until it has answered a node, which takes what it tells from then on.
    pub(crate) fn until_met(&self, node: &Node) {
        self.meet(node);
        until("the peer answers", || {
            reaches(node.address, &self.id().to_string()).then_some(())
        });
    }

    /// How often it was asked what it holds.
    pub(crate) fn asked(&self) -> usize {
        let asked = self.canned.asked().into_iter();
        asked
            .filter(|it| it.starts_with("GET /api/p2p/files"))
            .count()
    }
}

fn answer(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn proven(identity: &Identity, page: Vec<u8>, target: &str, headers: &str) -> Vec<u8> {
    let mut lines = headers.lines();
    let challenge = lines.find_map(|it| {
        let (name, value) = it.split_once(':')?;
        name.eq_ignore_ascii_case(HEADER)
            .then(|| value.trim().parse().unwrap())
    });
    let mut prover = Prover::new(challenge.unwrap(), target.to_owned());
    prover.push(&page);
    [page, prover.finish(identity).into_bytes()].concat()
}
