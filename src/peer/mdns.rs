//! Nodes of the same local network, found by multicast DNS (RFC 6762 and 6763).
//!
//! A node tells of itself, and asks for others, on the interfaces that it listens on and
//! on no others: one that listens on loopback is found by nodes of the same machine alone.
//! Anybody on the network can answer with anything, so what is found is a hint where a
//! peer may be. Who it is, the peer proves when it is asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::peer_id::PeerId;

mod again;
mod daemon;
mod neighbours;

pub use daemon::Options;
use daemon::{Reader, Told};
use neighbours::Neighbours;
pub use neighbours::{Asked, Neighbour, peer_of};

/// The UDP port of multicast DNS (RFC 6762, section 2).
pub const PORT: u16 = mdns_sd::MDNS_PORT;

/// Multicast DNS could not be used.
#[derive(Debug, thiserror::Error)]
#[error("multicast DNS does not work: {0}")]
pub struct MdnsError(#[from] mdns_sd::Error);

/// Tells of this node and looks for others until it is dropped.
pub struct Mdns {
    found: Arc<Found>,
    reading: AbortHandle,
}

struct Found {
    neighbours: Mutex<Neighbours>,
    changed: Notify,
}

impl Mdns {
    /// Begins, as the node with this id. Within a runtime only.
    pub fn start(id: PeerId, options: Options) -> Result<Self, MdnsError> {
        let found = Arc::new(Found {
            neighbours: Mutex::new(Neighbours::new(id, options.listen.ip())),
            changed: Notify::new(),
        });
        let heard = Arc::clone(&found);
        let reader = Reader::start(id, options, move |told| heard.take(&told))?;
        Ok(Self {
            found,
            reading: tokio::spawn(reader.run()).abort_handle(),
        })
    }

    /// The nodes that are there now, in the order of their ids.
    pub fn neighbours(&self) -> Vec<Neighbour> {
        self.found.neighbours.lock().all()
    }

    /// At most so many neighbours that are to be asked now, which are noted as being asked: first
    /// those that were not asked yet, in turn those of each address; each again after `every` at
    /// the earliest, less and less often. Those that are `known` already are left out.
    pub fn next(
        &self,
        limit: usize,
        every: Duration,
        known: impl Fn(PeerId) -> bool,
    ) -> Vec<Asked> {
        let mut neighbours = self.found.neighbours.lock();
        neighbours.next(limit, every, Instant::now(), known)
    }

    /// Notes that one of them has answered, or did not in the time that it had.
    pub fn ended(&self, asked: &Asked) {
        self.found.neighbours.lock().ended(&asked.neighbour);
    }

    /// Waits until something is found, or was since the last call.
    pub async fn changed(&self) {
        self.found.changed.notified().await;
    }
}

impl Drop for Mdns {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Found {
    /// Takes it in; whether somebody was lost by it whom nobody has asked yet.
    fn take(&self, told: &Told) -> bool {
        let mut neighbours = self.neighbours.lock();
        match told {
            Told::Found(event) => {
                let lost = neighbours.take(event);
                self.changed.notify_one();
                return lost;
            }
            Told::Doubt => neighbours.doubt(Instant::now()),
            Told::Tick => neighbours.forget_doubted(Instant::now()),
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> PeerId {
        PeerId::of_public_key(&[number; 32])
    }

    /// Waits until `mdns` has these neighbours.
    async fn wait_for(mdns: &Mdns, expected: &[Neighbour]) {
        let deadline = Instant::now() + Duration::from_secs(30);
        // Whoever is known is forgotten when it says goodbye.
        while !mdns.next(0, Duration::ZERO, |_| true).is_empty() || mdns.neighbours() != expected {
            let found = mdns.neighbours();
            assert!(Instant::now() < deadline, "{found:?}, not {expected:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn two_nodes_of_one_machine_find_each_other() {
        // A free port of their own, so that they meet nobody else.
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        drop(socket);
        let start = |number, listen: &str| {
            let listen = listen.parse().unwrap();
            Mdns::start(peer(number), Options { listen, port }).unwrap()
        };
        let neighbour = |number, address: &str| Neighbour {
            id: peer(number),
            addresses: vec![address.parse().unwrap()],
        };
        let one = start(1, "127.0.0.1:5004");
        let two = start(2, "127.0.0.1:5005");
        wait_for(&one, &[neighbour(2, "http://127.0.0.1:5005")]).await;
        wait_for(&two, &[neighbour(1, "http://127.0.0.1:5004")]).await;
        drop(two);
        wait_for(&one, &[]).await;
    }
}
