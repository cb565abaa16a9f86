//! Whatever peers and bootstrap servers answer, and whatever is registered there, is read
//! within bounds or refused. The fuzz targets `answer`, `range` and `register` look for more
//! of the same.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use crate::common::any_answer::{introductions, listing, words};
use crate::common::any_range::verified;
use crate::common::any_registration::InMemoryBootstrap;

const KEYS: [&str; 12] = [
    "peer_id",
    "address",
    "timestamp",
    "public_key",
    "signature",
    "file_id",
    "original_name",
    "size",
    "uploaded_at",
    "hash",
    "content_type",
    "other",
];

/// Words such as stand in answers, and others that are almost some.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}(\\._larder\\._tcp\\.local\\.)?",
        "[0-9a-f]{64}([0-9a-f]{64})?",
        "https?://[a-z0-9.:\\[\\]]{1,20}(:[0-9]{1,6})?(/[a-z%0-9?#@.]{0,9})?",
        "[0-9a-f.:]{1,20}/[0-9]{1,3}",
        "20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{0,9})?",
        "bytes=[-0-9, ]{1,30}",
        any::<String>(),
        (0..200_usize).prop_map(|length| "x".repeat(1 << (length % 18))),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => word().prop_map(Value::from),
        2 => any::<u64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(2, 8, 4, |it| {
        prop::collection::vec(it, 0..4).prop_map(Value::from)
    })
}

/// An object with some of the keys that peers and files have.
fn object() -> impl Strategy<Value = Value> {
    let entry = (prop::sample::select(KEYS.to_vec()), value());
    prop::collection::vec(entry, 0..12).prop_map(|entries| {
        let entries = entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value));
        Value::Object(entries.collect::<Map<_, _>>())
    })
}

/// A whole answer, or its beginning.
fn answer() -> impl Strategy<Value = Vec<u8>> {
    let elements = prop::collection::vec(prop_oneof![4 => object(), 1 => value()], 0..6);
    let parts = (
        elements,
        object(),
        value(),
        any::<prop::sample::Index>(),
        any::<bool>(),
    );
    parts.prop_map(|(elements, this, other, cut, whole)| {
        let id = this.get("peer_id").cloned().unwrap_or_default();
        let answer = json!({ "peers": elements, "files": elements, "self": this,
            "peer_id": id, "next": other, "total_files": 3 });
        let mut answer = answer.to_string().into_bytes();
        if !whole {
            answer.truncate(cut.index(answer.len()));
        }
        answer
    })
}

proptest! {
    #[test]
    fn any_answer_is_read_within_bounds(answer in answer(), random: Vec<u8>) {
        for answer in [answer, random] {
            introductions(&answer);
            listing(&answer);
        }
    }

    #[test]
    fn any_word_is_read_as_it_is_written(word in word(), size: u64) {
        words(&word, size);
    }

    #[test]
    fn of_any_answer_to_a_range_only_true_bytes_come_out(
        content: Vec<u8>, size: u64, start: u64, length: u64, answer: Vec<u8>, piece in 0..99_usize,
    ) {
        let range = start..start.saturating_add(length);
        verified(&content, size, range, &answer, piece);
        // An honest answer to a short content is that content.
        verified(&content, content.len() as u64, 0..u64::MAX, &content, piece);
    }

    #[test]
    fn any_registration_is_taken_or_refused(
        told in prop::collection::vec((object(), "(limit=)?[-0-9a-z&%]{0,12}"), 1..6),
    ) {
        Runtime::new().unwrap().block_on(async {
            let server = InMemoryBootstrap::new();
            for (registration, query) in told {
                server.register(registration.to_string().as_bytes(), &query).await;
            }
        });
    }
}
