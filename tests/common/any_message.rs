//! Messages of strangers, and what must be true of every answer to one.

use larder::peer::batch;

use super::in_memory::InMemory;

/// Where messages are sent, and how.
pub(crate) const PLACES: [(&str, &str); 15] = [
    ("POST", "/api/peers"),
    ("POST", "/api/p2p/announce"),
    ("POST", "/api/p2p/keep"),
    ("GET", "/api/p2p/network?{}"),
    ("GET", "/api/p2p/files?{}"),
    ("GET", "/api/p2p/blob/{}"),
    ("GET", "/api/p2p/download/{}/{}"),
    ("GET", "/api/p2p/keep/{}"),
    ("DELETE", "/api/p2p/keep/{}"),
    ("POST", "/api/p2p/tus"),
    ("HEAD", "/api/p2p/tus/{}"),
    ("PATCH", "/api/p2p/tus/{}"),
    (
        "GET",
        "/api/p2p/blob/af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262/bao?{}",
    ),
    ("POST", "/api/p2p/exchange"),
    ("POST", "/api/p2p/announcements"),
];

/// Sends a message to one of [`PLACES`], `text` in place of the braces; fails unless it is
/// taken or refused in order, and what one message makes the node remember is bounded.
pub(crate) async fn send(node: &InMemory, place: usize, text: &str, body: &[u8]) {
    let (method, target) = PLACES[place % PLACES.len()];
    let target = target.replace("{}", text);
    let before = node.knows();
    let kind = match target.as_str() {
        "/api/p2p/announcements" => batch::TYPE,
        _ => "application/json",
    };
    let headers = [("content-type", kind)];
    let Some(answer) = node.ask_with(method, &target, &headers, body).await else {
        return;
    };
    let refused = answer.status.is_client_error();
    assert!(
        refused || answer.status.is_success(),
        "{target}: {}",
        answer.status
    );
    // A refusal of HEAD has a head alone.
    if refused && method != "HEAD" {
        let body = String::from_utf8_lossy(&answer.body);
        assert!(body.contains(r#""status":"error""#), "{target}: {body}");
    }
    let after = node.knows();
    assert!(
        after.0 <= before.0 + 1 && after.1 <= before.1 + 1,
        "{target}"
    );
}
