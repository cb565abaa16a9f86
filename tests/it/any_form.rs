//! Whatever body and boundary an upload comes with, it is taken whole or refused
//! without a trace. The fuzz target `upload` looks for more of the same.

use larder::record::FileRecord;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::common::in_memory::InMemory;

/// Uploads a body and returns the file that came of it, if any.
fn upload(boundary: &str, body: &[u8], cuts: &[u8]) -> Option<(FileRecord, Vec<u8>)> {
    Runtime::new().unwrap().block_on(async {
        let node = InMemory::new();
        let answer = node.upload(boundary, body, cuts).await;
        node.assert_all_or_nothing(&answer).await
    })
}

/// Pieces of forms with the boundary `b`, right and wrong.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just("--b\r\n".to_owned()),
        4 => Just("\r\n--b\r\n".to_owned()),
        2 => Just("\r\n--b--\r\n".to_owned()),
        1 => Just("--b".to_owned()),
        1 => Just("\r\n".to_owned()),
        3 => Just(file_head("a.txt")),
        2 => Just("Content-Disposition: form-data; name=\"description\"\r\n\r\n".to_owned()),
        1 => Just("Content-Disposition: form-data; name=\"file".to_owned()),
        2 => any::<String>(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

fn file_head(name: &str) -> String {
    format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_body_is_taken_whole_or_refused_without_a_trace(
        boundary in prop_oneof![4 => Just("b".to_owned()), 1 => any::<String>()],
        body in prop_oneof![pieces(), prop::collection::vec(any::<u8>(), 0..400)],
        cuts: Vec<u8>,
    ) {
        upload(&boundary, &body, &cuts);
    }

    #[test]
    fn every_boundary_that_can_be_quoted_is_understood(
        boundary in "[ -~&&[^\"\\\\]]{1,70}",
        cuts: Vec<u8>,
    ) {
        let head = file_head("a.txt");
        let body = format!("--{boundary}\r\n{head}content\r\n--{boundary}--\r\n");
        let (_, content) = upload(&boundary, body.as_bytes(), &cuts).unwrap();
        prop_assert_eq!(content, b"content");
    }

    #[test]
    fn every_good_form_is_taken_as_it_was_sent(
        name in "[^\"\\\\%\r\n\u{0}]{1,40}",
        description in "[^\r]{0,100}",
        content in prop::collection::vec(any::<u8>(), 0..3000),
        description_first: bool,
        long: bool,
        cuts: Vec<u8>,
    ) {
        // Some go through a spool file.
        let content = content.repeat(if long { 100 } else { 1 });
        let file = [file_head(&name).as_bytes(), &content].concat();
        let text = format!(
            "Content-Disposition: form-data; name=\"description\"\r\n\r\n{description}"
        );
        let mut parts = [file, text.into_bytes()];
        if description_first {
            parts.reverse();
        }
        let [first, second] = parts;
        let body = [
            &b"--a-boundary\r\n"[..], &first, b"\r\n--a-boundary\r\n", &second,
            b"\r\n--a-boundary--\r\n",
        ].concat();
        let (record, taken) = upload("a-boundary", &body, &cuts).unwrap();
        prop_assert_eq!(record.file.name, name);
        prop_assert_eq!(record.file.description, description);
        prop_assert!(taken == content);
    }
}
