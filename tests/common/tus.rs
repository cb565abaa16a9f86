//! Requests of tus, as clients send them.

use std::net::SocketAddr;

use url::Url;

use super::raw_http::{Answer, head, send};

/// Where uploads are created.
pub(crate) const TUS: &str = "/api/p2p/tus";
/// The type of every part of an upload.
pub(crate) const PART: &str = "Content-Type: application/offset+octet-stream";

/// A request of this version; `headers` are lines without their ends.
pub(crate) fn request(method: &str, target: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}", body.len());
    let lines = [&["Tus-Resumable: 1.0.0", length.as_str()], headers].concat();
    [head(method, target, &lines), body.to_vec()].concat()
}

/// Asks for an upload of `length` bytes.
pub(crate) fn create(node: SocketAddr, length: usize, headers: &[&str]) -> Answer {
    let length = format!("Upload-Length: {length}");
    let headers = [&[length.as_str()], headers].concat();
    send(node, &request("POST", TUS, &headers, b""))
}

/// Begins an upload that is taken, and returns its path.
pub(crate) fn created(node: SocketAddr, length: usize) -> String {
    let answer = create(node, length, &[]);
    assert_eq!(answer.status, 201, "{answer:?}");
    path_of(&answer)
}

/// The path of an upload that was created.
pub(crate) fn path_of(created: &Answer) -> String {
    path_from(TUS, created)
}

/// The same where the creation was asked for at this path.
pub(crate) fn path_from(asked: &str, created: &Answer) -> String {
    let asked = Url::parse("http://localhost").unwrap().join(asked).unwrap();
    let upload = asked.join(created.header("location")).unwrap();
    upload.path().to_owned()
}

/// Asks how far an upload is.
pub(crate) fn look(node: SocketAddr, upload: &str) -> Answer {
    send(node, &request("HEAD", upload, &[], b""))
}

/// How far an upload is that must be there.
pub(crate) fn offset(node: SocketAddr, upload: &str) -> usize {
    let answer = look(node, upload);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("upload-offset").parse().unwrap()
}

/// A request that brings bytes.
pub(crate) fn patch_request(upload: &str, offset: usize, body: &[u8], more: &[&str]) -> Vec<u8> {
    let offset = format!("Upload-Offset: {offset}");
    let headers = [&[PART, offset.as_str()], more].concat();
    request("PATCH", upload, &headers, body)
}

/// Brings bytes.
pub(crate) fn patch(node: SocketAddr, upload: &str, offset: usize, body: &[u8]) -> Answer {
    send(node, &patch_request(upload, offset, body, &[]))
}

/// Brings bytes that are taken, and returns the answer.
pub(crate) fn patched(node: SocketAddr, upload: &str, offset: usize, body: &[u8]) -> Answer {
    let answer = patch(node, upload, offset, body);
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(
        answer.header("upload-offset"),
        (offset + body.len()).to_string()
    );
    answer
}
