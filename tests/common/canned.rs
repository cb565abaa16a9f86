//! A server that answers each request as a test says, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What is sent in answer to a request.
pub(crate) enum Reply {
    /// JSON, with status 200.
    Json(String),
    /// These bytes, head and all; then the connection ends.
    Whole(Vec<u8>),
    /// A head without a body.
    Head(String),
    /// Nothing, on a connection that stays.
    Silence,
}

/// A running server; its threads end with the test's process.
pub(crate) struct Canned {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// The first line of a request, without the version, and its body.
type Asked = (String, Vec<u8>);

impl Canned {
    /// A server that answers as `reply` says to the first line of a request.
    pub(crate) fn start(reply: impl Fn(SocketAddr, &str) -> Reply + Send + Sync + 'static) -> Self {
        Self::by_head(move |address, line, _| reply(address, line))
    }

    /// The same, which also knows the headers of the request, a line each.
    pub(crate) fn by_head(
        reply: impl Fn(SocketAddr, &str, &str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (reply, asking) = (Arc::new(reply), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (reply, asking) = (Arc::clone(&reply), Arc::clone(&asking));
                thread::spawn(move || {
                    answer(stream.unwrap(), &asking, |line, headers| {
                        reply(address, line, headers)
                    });
                });
            }
        });
        Self { address, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first lines of the requests that came, without the version.
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|(line, _)| line.clone()).collect()
    }

    /// The bodies of the requests whose first lines begin so.
    pub(crate) fn bodies(&self, beginning: &str) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let such = asked.iter().filter(|(line, _)| line.starts_with(beginning));
        such.map(|(_, body)| String::from_utf8(body.clone()).unwrap())
            .collect()
    }
}

fn answer(
    stream: TcpStream,
    asked: &Mutex<Vec<(String, Vec<u8>)>>,
    reply: impl Fn(&str, &str) -> Reply,
) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut headers, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap_or(0) == 0 {
            return;
        }
        headers.push_str(&header);
        let header = header.trim_end();
        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            header.trim_end_matches(" HTTP/1.1").clone_into(&mut line);
        } else if header.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    asked.lock().unwrap().push((line.clone(), body));
    let answer = match reply(&line, &headers) {
        Reply::Whole(answer) => answer,
        Reply::Json(body) => {
            let length = body.len();
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .into_bytes()
        }
        Reply::Head(head) => {
            format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .into_bytes()
        }
        Reply::Silence => {
            thread::sleep(Duration::from_hours(1));
            return;
        }
    };
    // The node may have gone meanwhile.
    let _ = reader.into_inner().write_all(&answer);
}
