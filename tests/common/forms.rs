//! Forms as clients send them.

use std::net::SocketAddr;

use serde_json::Value;

use super::raw_http::{Answer, head, send};

/// The boundary of every form made here.
pub(crate) const BOUNDARY: &str = "between-the-parts";

/// A part with these header lines.
pub(crate) fn part(head: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--{BOUNDARY}\r\n{head}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

/// A part that is a file.
pub(crate) fn file(name: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"");
    part(&head, content)
}

/// A part that is a text field.
pub(crate) fn field(name: &str, text: &str) -> Vec<u8> {
    let head = format!("Content-Disposition: form-data; name=\"{name}\"");
    part(&head, text.as_bytes())
}

/// The end behind the last part.
pub(crate) fn end() -> Vec<u8> {
    format!("--{BOUNDARY}--\r\n").into_bytes()
}

/// The parts and the end.
pub(crate) fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), end()].concat()
}

/// The whole upload request for a body.
pub(crate) fn upload_request(body: &[u8], headers: &[&str]) -> Vec<u8> {
    let content_type = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}");
    let length = format!("Content-Length: {}", body.len());
    let lines = [&[content_type.as_str(), length.as_str()], headers].concat();
    [head("POST", "/api/p2p/upload", &lines), body.to_vec()].concat()
}

/// Sends a body to the upload route.
pub(crate) fn upload(address: SocketAddr, body: &[u8]) -> Answer {
    send(address, &upload_request(body, &[]))
}

/// Uploads a file that is taken, and returns what the node says of it.
pub(crate) fn uploaded(address: SocketAddr, name: &str, content: &[u8]) -> Value {
    let answer = upload(address, &form(&[file(name, content)]));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["file"].clone()
}
