//! An HTTP client that sends whatever a test wants, byte by byte.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::process::{DEADLINE, until};

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        let body = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Status and code of a refusal, which has exactly the keys it should have.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let Value::Object(mut body) = self.json() else {
            panic!("{self:?}");
        };
        let mut take = |key| match body.remove(key) {
            Some(Value::String(text)) if !text.is_empty() => text,
            other => panic!("{key} is {other:?} in {self:?}"),
        };
        assert_eq!(take("status"), "error");
        let (code, _message) = (take("code"), take("message"));
        assert!(body.is_empty(), "{self:?}");
        assert_eq!(self.header("content-type"), "application/json");
        (self.status, code)
    }
}

/// Connects to a node.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Waits until the node has read everything that was sent on `stream`.
pub(crate) fn until_read(stream: &TcpStream) {
    let hex = |address: SocketAddr| format!(":{:04X}", address.port());
    let near = hex(stream.local_addr().unwrap());
    let far = hex(stream.peer_addr().unwrap());
    until("the node reads", || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        // Number, local and remote address, state, then send:receive queue.
        let rows = table
            .lines()
            .map(|row| row.split_whitespace().collect::<Vec<_>>());
        let mut of_node = rows.filter(|row| row[1].ends_with(&far) && row[2].ends_with(&near));
        of_node.next()?[4].ends_with(":00000000").then_some(())
    });
}

/// Sends one request and reads its answer.
pub(crate) fn send(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = connect(address);
    stream.write_all(request).unwrap();
    read_answer(&mut stream, request.starts_with(b"HEAD "))
}

/// Everything that comes until the connection ends: status and body.
pub(crate) fn until_the_end(address: SocketAddr, target: &str) -> (u16, Vec<u8>) {
    let mut stream = connect(address);
    let request = head("GET", target, &["Connection: close"]);
    stream.write_all(&request).unwrap();
    let mut all = Vec::new();
    // A connection that is cut may end in a reset.
    let _ = stream.read_to_end(&mut all);
    let end = all.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let status = std::str::from_utf8(&all[9..12]).unwrap().parse().unwrap();
    (status, all[end + 4..].to_vec())
}

/// Sends a request without a body; `headers` are lines without their ends.
pub(crate) fn get(address: SocketAddr, target: &str, headers: &[&str]) -> Answer {
    send(address, &head("GET", target, headers))
}

/// The head of a request to localhost.
pub(crate) fn head(method: &str, target: &str, headers: &[&str]) -> Vec<u8> {
    let mut lines = vec![format!("{method} {target} HTTP/1.1")];
    if !headers.iter().any(|line| line.starts_with("Host:")) {
        lines.push("Host: localhost".to_owned());
    }
    lines.extend(headers.iter().map(|&line| line.to_owned()));
    (lines.join("\r\n") + "\r\n\r\n").into_bytes()
}

/// Reads an answer, which must be whole.
pub(crate) fn read_answer(stream: &mut TcpStream, without_body: bool) -> Answer {
    let mut stream = BufReader::new(stream);
    let status_line = read_line(&mut stream);
    let status = status_line.split(' ').nth(1).and_then(|it| it.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no answer: {status_line:?}"));
    let mut headers = BTreeMap::new();
    loop {
        let line = read_line(&mut stream);
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap();
        let before = headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        // A field that is no list stands in one line (RFC 9110, section 5.3).
        assert!(before.is_none(), "two lines of {name}");
    }
    let body = if without_body || matches!(status, 100 | 204 | 304) {
        Vec::new()
    } else if headers
        .get("transfer-encoding")
        .is_some_and(|it| it == "chunked")
    {
        read_chunks(&mut stream)
    } else {
        let length: usize = headers.get("content-length").unwrap().parse().unwrap();
        read_exact(&mut stream, length)
    };
    Answer {
        status,
        headers,
        body,
    }
}

fn read_line(stream: &mut impl BufRead) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn read_exact(stream: &mut impl Read, length: usize) -> Vec<u8> {
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    body
}

fn read_chunks(stream: &mut impl BufRead) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let length = usize::from_str_radix(&read_line(stream), 16).unwrap();
        body.extend(read_exact(stream, length));
        read_line(stream);
        if length == 0 {
            return body;
        }
    }
}
