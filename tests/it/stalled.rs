//! Clients that stop sending in the middle of a body, as a laptop does that goes to sleep.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::Write;

use crate::common::process::{DEADLINE, start};
use crate::common::raw_http::{connect, read_answer};
use crate::common::tus::{created, offset, patch_request, patched};

#[test]
fn a_client_that_stalls_is_given_a_status_after_which_clients_go_on() {
    let (_dir, node) = start();
    let upload = created(node.address, 1000);
    let request = patch_request(&upload, 0, &[7; 1000], &[]);
    let mut stream = connect(node.address);
    // It is waited for as long as for any other body.
    stream.set_read_timeout(Some(DEADLINE * 3)).unwrap();
    stream.write_all(&request[..request.len() - 400]).unwrap();
    let answer = read_answer(&mut stream, false);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(answer.refusal(), (503, "upload_stalled".to_owned()));
    assert_eq!(offset(node.address, &upload), 600);
    patched(node.address, &upload, 600, &[7; 400]);
}
