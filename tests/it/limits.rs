//! The limits of the server, with shorter times than it really has.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get as on_get;
use bytes::Bytes;
use futures_util::stream;
use larder::open_files::{Shares, shares};
use larder::web::Connections;
use larder::web::server::{Options, serve};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::common::process::until;
use crate::common::raw_http::{connect, get, head, read_answer};

/// Far beyond what the buffers between server and client hold.
const ENDLESS: usize = 1 << 30;

/// The shares of open files where one connection alone has a place.
fn one_connection() -> Shares {
    let mut files = *shares();
    files.connections = 1;
    files
}

/// A server in this process; it ends with the value.
struct Server {
    address: SocketAddr,
    /// Whether the body of `/endless` was dropped.
    given_up: Arc<AtomicBool>,
    connections: Arc<Connections>,
    _runtime: Runtime,
}

/// Sets its flag when it is dropped.
struct Flag(Arc<AtomicBool>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Server {
    fn start(options: Options) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let given_up = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&given_up);
        let endless = move || {
            let state = (Flag(Arc::clone(&flag)), 0);
            async { Body::from_stream(stream::unfold(state, next_piece)) }
        };
        let router = Router::new()
            .route("/short", on_get(|| async { "short" }))
            .route("/endless", on_get(endless));
        let connections = Arc::<Connections>::default();
        let counters = Arc::clone(&connections);
        runtime.spawn(async move {
            let never = std::future::pending();
            serve(listener, router, &options, counters, never).await;
        });
        Self {
            address,
            given_up,
            connections,
            _runtime: runtime,
        }
    }
}

type State = (Flag, usize);

async fn next_piece((flag, sent): State) -> Option<(Result<Bytes, std::io::Error>, State)> {
    let piece = Bytes::from_static(&[0; 4096]);
    (sent < ENDLESS).then_some((Ok(piece), (flag, sent + 4096)))
}

#[test]
fn a_connection_without_a_request_is_closed() {
    let server = Server::start(Options {
        head_timeout: Duration::from_millis(200),
        ..Options::default()
    });
    let mut silent = connect(server.address);
    let mut half = connect(server.address);
    half.write_all(b"GET /short HTTP/1.1\r\nHost: loc").unwrap();
    let mut used = connect(server.address);
    used.write_all(&head("GET", "/short", &[])).unwrap();
    assert_eq!(read_answer(&mut used, false).body, b"short");
    for stream in [&mut silent, &mut half, &mut used] {
        // Reading fails when the deadline passes before the connection is closed.
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
}

/// Waits until so many connections rest.
fn until_at_rest(server: &Server, count: u64) {
    until("they rest", || {
        (server.connections.resting.get() == count).then_some(())
    });
}

#[test]
fn a_connection_that_rests_is_served_again_and_closed_in_its_time() {
    let server = Server::start(Options {
        head_timeout: Duration::from_secs(3),
        ..Options::default()
    });
    let mut used = connect(server.address);
    for _ in 0..3 {
        until_at_rest(&server, 1);
        // What comes byte by byte comes all the same, as long as it comes in its time.
        used.write_all(b"GET /short HTTP/1.1\r\n").unwrap();
        until_at_rest(&server, 0);
        used.write_all(b"Host: localhost\r\n\r\n").unwrap();
        assert_eq!(read_answer(&mut used, false).body, b"short");
    }
    // Half of a head does not keep it open, nor does nothing.
    let mut silent = connect(server.address);
    until_at_rest(&server, 2);
    used.write_all(b"GET /short HTTP/1.1\r\n").unwrap();
    for stream in [&mut used, &mut silent] {
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    assert_eq!(server.connections.resting.get(), 0);
}

#[test]
fn what_came_with_the_request_before_is_no_less_the_beginning_of_the_next() {
    let server = Server::start(Options::default());
    let request = head("GET", "/short", &[]);
    let (begin, rest) = request.split_at(request.len() / 2);
    let mut stream = connect(server.address);
    stream.write_all(&[&request, begin].concat()).unwrap();
    assert_eq!(read_answer(&mut stream, false).body, b"short");
    // Until it would rest, if nothing had come.
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(server.connections.resting.get(), 0);
    stream.write_all(rest).unwrap();
    assert_eq!(read_answer(&mut stream, false).body, b"short");
}

#[test]
fn what_is_left_of_a_body_that_nobody_reads_is_no_request() {
    let server = Server::start(Options::default());
    let inner = head("GET", "/short", &[]);
    let length = format!("Content-Length: {}", 5 + inner.len());
    let mut stream = connect(server.address);
    let request = head("POST", "/short", &[&length]);
    stream
        .write_all(&[&request[..], b"begin"].concat())
        .unwrap();
    assert_eq!(read_answer(&mut stream, false).status, 405);
    // Until it would rest, if all of it had come.
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(server.connections.resting.get(), 0);
    // Its end may be known here by now.
    let _ = stream.write_all(&inner);
    let mut more = Vec::new();
    let _ = stream.read_to_end(&mut more);
    assert_eq!(String::from_utf8_lossy(&more), "");
}

#[test]
fn beyond_the_limit_an_idle_connection_gives_way() {
    let server = Server::start(Options {
        files: one_connection(),
        ..Options::default()
    });
    let mut first = connect(server.address);
    first.write_all(&head("GET", "/short", &[])).unwrap();
    assert_eq!(read_answer(&mut first, false).body, b"short");
    let mut half = connect(server.address);
    assert_eq!(first.read(&mut [0]).unwrap(), 0, "the first is closed");
    half.write_all(b"GET /short HTTP/1.1\r\nHost: loc").unwrap();
    // A half head is no request yet.
    assert_eq!(get(server.address, "/short", &[]).body, b"short");
}

#[test]
fn beyond_the_limit_nobody_gives_way_whose_request_runs() {
    let server = Server::start(Options {
        files: one_connection(),
        ..Options::default()
    });
    let mut first = connect(server.address);
    first.write_all(&head("GET", "/endless", &[])).unwrap();
    first.read_exact(&mut [0; 12]).unwrap();
    let mut second = connect(server.address);
    let refused = read_answer(&mut second, false);
    assert_eq!(refused.refusal(), (503, "too_many_connections".to_owned()));
    assert_eq!(refused.header("retry-after"), "1");
    // It goes on.
    first.read_exact(&mut [0; 10_000]).unwrap();
    drop(first);
    until("there is a place again", || {
        let mut stream = connect(server.address);
        stream.write_all(&head("GET", "/short", &[])).ok()?;
        let mut start = [0; 12];
        stream.read_exact(&mut start).ok()?;
        start.ends_with(b"200").then_some(())
    });
}

#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    let server = Server::start(Options {
        stall_timeout: Duration::from_millis(200),
        ..Options::default()
    });
    let mut stream = connect(server.address);
    stream.write_all(&head("GET", "/endless", &[])).unwrap();
    until("the answer is given up", || {
        server.given_up.load(Ordering::SeqCst).then_some(())
    });
    // What was on its way ends early, and not as if it were whole.
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received);
    assert!(received.len() < ENDLESS);
    assert!(!received.ends_with(b"\r\n0\r\n\r\n"));
    assert_eq!(get(server.address, "/short", &[]).body, b"short");
}
