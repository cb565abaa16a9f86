//! Whatever strangers send, it is taken or refused in order. The fuzz target `message` looks
//! for more of the same.

use std::net::IpAddr;

use larder::base_url::BaseUrl;
use larder::peer::address::{Policy, network};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::{Map, Value};
use tokio::runtime::Runtime;

use crate::common::any_message::{PLACES, send};
use crate::common::in_memory::InMemory;

/// The keys of all messages.
const KEYS: [&str; 14] = [
    "peer_id",
    "address",
    "timestamp",
    "public_key",
    "signature",
    "file_id",
    "original_name",
    "size",
    "uploaded_at",
    "description",
    "hash",
    "content_type",
    "withdrawn",
    "other",
];

/// Texts such as stand in messages, and any others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}",
        "[0-9a-f]{64}",
        "[0-9a-f]{128}",
        "https?://[a-z0-9.]{1,20}(:[0-9]{1,6})?",
        "20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]",
        any::<String>(),
        Just("x".repeat(20_000)),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => text().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => prop::collection::vec(text(), 0..3).prop_map(Value::from),
    ]
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let entries = prop::collection::vec((prop::sample::select(KEYS.to_vec()), value()), 0..14);
    let object = entries.prop_map(|entries| {
        let entries = entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value));
        Value::Object(entries.collect::<Map<_, _>>())
            .to_string()
            .into_bytes()
    });
    prop_oneof![4 => object, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

/// Queries with the parameters of all listings.
fn query() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["limit", "after", "name", "start", "end", "x"]);
    let number = any::<i128>().prop_map(|number| number.to_string());
    let cursor = "[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}(\\.[0-9a-f]{64})?";
    let pair = (key, prop_oneof![number, text(), cursor]);
    prop::collection::vec(pair, 0..4).prop_map(|pairs| {
        let pairs = pairs
            .iter()
            .map(|(key, value)| format!("{key}={}", encoded(value)));
        pairs.collect::<Vec<_>>().join("&")
    })
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_message_is_taken_or_refused(
        messages in prop::collection::vec((0..PLACES.len(), message()), 1..8),
        texts in prop::collection::vec(prop_oneof![query(), text().prop_map(|it| encoded(&it))], 8),
    ) {
        Runtime::new().unwrap().block_on(async {
            let node = InMemory::new();
            for ((place, body), text) in messages.iter().zip(&texts) {
                send(&node, *place, text, body).await;
            }
        });
    }

    #[test]
    fn a_base_url_is_read_as_it_is_written(text in text()) {
        if let Ok(url) = text.parse::<BaseUrl>() {
            let written = url.to_string();
            prop_assert_eq!(written.parse::<BaseUrl>().map(|url| url.to_string()), Ok(written));
        }
    }

    #[test]
    fn a_network_holds_its_own(bits in 0..=32u32, address: u32, other: u32, text: String) {
        let address = IpAddr::from(address.to_be_bytes());
        let own = network(&format!("{address}/{bits}")).unwrap();
        let policy = Policy { networks: vec![own] };
        // What it allows beyond its own is what an unnarrowed policy refuses anyway.
        prop_assert_eq!(policy.allows(address), Policy::default().allows(address));
        let other = IpAddr::from(other.to_be_bytes());
        if bits == 32 && other != address {
            prop_assert!(!policy.allows(other));
        }
        prop_assert!(text.contains('/') || network(&text).is_err());
    }
}
