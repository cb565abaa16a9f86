//! Peers that one process makes up, each at a loopback address of its own, where it answers as
//! itself: it signs nothing and holds nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use larder::peer::identity::Identity;
use larder::peer::registration::Registration;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::common::canned::{Canned, Reply};
use crate::common::raw_http::{head, read_answer};

/// Such peers; its threads end with the test's process.
pub(crate) struct Crowd {
    port: u16,
    size: usize,
    silent: Arc<AtomicBool>,
    ignored: Arc<AtomicUsize>,
}

impl Crowd {
    /// So many peers at 127.77.0.1 and after.
    pub(crate) fn start(size: usize) -> Self {
        Self::begin(size, false)
    }

    /// The same, which answer no greeting.
    pub(crate) fn start_deaf(size: usize) -> Self {
        Self::begin(size, true)
    }

    fn begin(size: usize, deaf: bool) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = Arc::new(AtomicBool::new(false));
        let ignored = Arc::new(AtomicUsize::new(0));
        let state = (Arc::clone(&silent), Arc::clone(&ignored));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (silent, ignored) = state.clone();
                thread::spawn(move || answer(&stream.unwrap(), deaf, &silent, &ignored));
            }
        });
        Self {
            port,
            size,
            silent,
            ignored,
        }
    }

    /// From now on they take connections and requests, and answer none.
    pub(crate) fn fall_silent(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// How many requests came since.
    pub(crate) fn ignored(&self) -> usize {
        self.ignored.load(Ordering::Relaxed)
    }

    /// What each tells of itself.
    pub(crate) fn registrations(&self) -> Vec<Value> {
        let peers = (0..self.size).map(|number| {
            let ip = IpAddr::from([127, 77, byte(number / 250), byte(number % 250 + 1)]);
            let address = format!("http://{}", SocketAddr::new(ip, self.port));
            json!({ "peer_id": id_at(ip), "address": address, "timestamp": "" })
        });
        peers.collect()
    }

    /// Whether one of them has this id.
    pub(crate) fn has(id: &str) -> bool {
        id.ends_with("-0000-4000-8000-000000000000")
    }
}

fn byte(number: usize) -> u8 {
    number.try_into().unwrap()
}

fn id_at(ip: IpAddr) -> String {
    let IpAddr::V4(ip) = ip else {
        panic!("{ip}");
    };
    format!("{:08x}-0000-4000-8000-000000000000", ip.to_bits())
}

fn answer(mut stream: &TcpStream, deaf: bool, silent: &AtomicBool, ignored: &AtomicUsize) {
    let id = id_at(stream.local_addr().unwrap().ip());
    let body = json!({ "peer_id": id, "files": [], "total_files": 0, "peers": [] }).to_string();
    let mut lines = BufReader::new(stream).lines();
    // It is asked for lists alone, without a body.
    while let Some(Ok(line)) = lines.next() {
        if silent.load(Ordering::Relaxed) || deaf && line.starts_with("POST") {
            ignored.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_hours(1));
        }
        if line.is_empty() {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
            let answer = format!("{head}{}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// Sends all of these from this address of this machine, over one connection.
pub(crate) fn post_from(source: [u8; 4], node: SocketAddr, target: &str, messages: &[Value]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((IpAddr::from(source), 0).into()).unwrap();
        socket.connect(node).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    for message in messages {
        let body = message.to_string();
        let length = format!("Content-Length: {}", body.len());
        let lines = ["Content-Type: application/json", &length];
        let request = [head("POST", target, &lines), body.into()].concat();
        stream.write_all(&request).unwrap();
        assert_eq!(read_answer(&mut stream, false).status, 200);
    }
}

/// A registration with a new key, signed.
pub(crate) fn signed(address: &str) -> Value {
    let identity = Identity::generate().unwrap();
    json!(Registration::of_self(&identity, &address.parse().unwrap()))
}

/// A bootstrap server or a peer that tells everybody of these peers.
pub(crate) fn introducing(peers: &[Value]) -> Canned {
    let list = json!({ "peers": peers }).to_string();
    Canned::start(move |_, asked| {
        let acknowledges = asked.contains("/register");
        Reply::Json(if acknowledges {
            "{}".to_owned()
        } else {
            list.clone()
        })
    })
}
