//! Places where somebody listens and never answers.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A listener at one port of all loopback addresses; its thread ends with the test's process.
pub(crate) struct Silent {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Silent {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                held.push(stream.unwrap());
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { port, connections }
    }

    /// Where it listens, by number: of one /16, some 64,000 of them.
    pub(crate) fn url(&self, number: u32) -> String {
        let [_, _, high, low] = number.to_be_bytes();
        let ip = [127, 9, high, low.max(1)];
        format!("http://{}", SocketAddr::from((ip, self.port)))
    }

    /// How often somebody has connected.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}
