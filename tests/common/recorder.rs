//! Something that a node may ask or tell: it answers as a peer of the older service does, or
//! as a bootstrap server, and writes down every byte that reaches it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

/// A running recorder; its threads end with the test's process.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    pub(crate) id: String,
    connections: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recorder {
    /// A peer with this id, which holds no files and knows nobody.
    pub(crate) fn start(id: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::<Vec<u8>>::new()));
        let itself = json!({ "peer_id": id, "address": format!("http://{address}"),
            "timestamp": "2026-01-21T10:00:00" });
        let answer = json!({ "status": "registered", "peer_id": id, "files": [],
            "total_files": 0, "peers": [], "self": itself })
        .to_string();
        let recording = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (recording, answer) = (Arc::clone(&recording), answer.clone());
                let number = {
                    let mut all = recording.lock().unwrap();
                    all.push(Vec::new());
                    all.len() - 1
                };
                thread::spawn(move || record(stream.unwrap(), &recording, number, &answer));
            }
        });
        Self {
            address,
            id: id.to_owned(),
            connections,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What came over each connection so far.
    pub(crate) fn connections(&self) -> Vec<Vec<u8>> {
        self.connections.lock().unwrap().clone()
    }

    /// All that came so far, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.connections().concat()).into_owned()
    }

    /// How often it was asked what it holds.
    pub(crate) fn asked(&self) -> usize {
        self.text().matches("GET /api/p2p/files").count()
    }
}

fn record(mut stream: TcpStream, all: &Mutex<Vec<Vec<u8>>>, number: usize, answer: &str) {
    let (mut piece, mut request) = ([0; 4096], Vec::new());
    loop {
        let length = stream.read(&mut piece).unwrap_or(0);
        if length == 0 {
            return;
        }
        all.lock().unwrap()[number].extend_from_slice(&piece[..length]);
        request.extend_from_slice(&piece[..length]);
        if is_whole(&request) {
            request.clear();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
            let answer = format!("{head}{}\r\n\r\n{answer}", answer.len());
            // The node may have gone meanwhile.
            let _ = stream.write_all(answer.as_bytes());
        }
    }
}

/// Whether a request has come to its end.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let head = head.to_lowercase();
    let length = head.split_once("content-length: ").map_or(0, |(_, rest)| {
        let length = rest.split("\r\n").next();
        length.and_then(|it| it.parse().ok()).unwrap()
    });
    body.len() >= length
}
