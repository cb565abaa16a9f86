//! How many removals a member remembers at most, with a member that has more of them.

use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use larder::disk::Durability;
use larder::hash::BlobHash;
use larder::peer::copies::{CopyKey, Withdrawal};
use larder::peer::signature::Proof;
use larder::peer_id::PeerId;
use larder::record::FileId;
use larder::store::About;
use larder::store::local::{LocalStore, Options};

use crate::common::copies::{metric, until_for};
use crate::common::member_network::{Network, dirs, member};
use crate::common::process::larder;
use crate::common::raw_http::get;

/// As ARCHITECTURE has it, and how many there are at most once there were more.
const MOST: u64 = 262_144;
const LEFT: u64 = MOST - MOST / 16;
/// How many of an owner that has few of them.
const FEW: u64 = 500;
const LATE: Duration = Duration::from_mins(5);

fn owner(number: u8) -> PeerId {
    PeerId::of_public_key(&[number; 32])
}

/// Writes down what owners are said to have removed, as a member does that was told. Nobody checks
/// a signature again that was checked when it came.
async fn remember(store: &larder::store::Store, owner: PeerId, files: std::ops::Range<u64>) {
    let nothing = store.receive().await.unwrap().finish().await.unwrap();
    let about = |number: u64| {
        let file = FileId::from_bytes(u128::from(number).to_be_bytes());
        let signed = Withdrawal {
            owner: owner.to_string(),
            file_id: file.to_string(),
            told_at: 1_700_000_000_000_000 + number,
            proof: Proof {
                public_key: Some("0".repeat(64)),
                signature: Some("0".repeat(128)),
            },
        };
        let key = CopyKey { owner, file };
        About {
            name: format!("gone {key}"),
            content_type: None,
            description: serde_json::to_string(&signed).unwrap(),
        }
    };
    let first = about(files.start);
    store.ingest(nothing, first).await.unwrap();
    let rest = stream::iter(files.start + 1..files.end).map(|number| async move {
        let held = store
            .ingest_held(BlobHash::of(b""), about(number), None)
            .await;
        assert!(held.unwrap().is_some());
    });
    rest.buffer_unordered(1024).collect::<Vec<_>>().await;
}

#[test]
fn a_member_that_remembers_too_many_removals_forgets_the_oldest_of_whom_it_remembers_most() {
    let (network, [dir]) = (Network::new(), dirs());
    network.join(&dir, "1d");
    let storage = dir.path().join("peer_storage");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let began = Instant::now();
    runtime.block_on(async {
        let options = Options {
            durability: Durability::Relaxed,
            ..Options::new(storage.join("copies"))
        };
        let opened = LocalStore::open(options).await.unwrap();
        remember(&opened.store, owner(1), 0..FEW).await;
        remember(&opened.store, owner(2), 0..MOST + 100 - FEW).await;
        opened.store.close().await.unwrap();
    });
    let written_after = began.elapsed();
    let node = member(&dir, &[], &["--offer", "1GiB"]);
    let remembered = |address| metric(address, "larder_remembered_removals");
    until_for(LATE, "the oldest are forgotten", || {
        (remembered(node.address) == LEFT).then_some(())
    });
    let forgotten_after = began.elapsed().saturating_sub(written_after);
    // All those of the one, and of the other the newest.
    let (mut few, mut most, mut first) = (0, 0, u64::MAX);
    let mut after = String::new();
    loop {
        let page = get(node.address, &format!("/api/p2p/copies{after}"), &[]).json();
        for entry in page["entries"].as_array().unwrap() {
            let it = &entry["withdrawn"];
            let number = it["told_at"].as_u64().unwrap() - 1_700_000_000_000_000;
            if it["owner"] == owner(1).to_string() {
                few += 1;
            } else {
                most += 1;
                first = first.min(number);
            }
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        after = format!("?after={next}");
    }
    assert_eq!((few, most), (FEW, LEFT - FEW));
    // They came many at a time, so that their order is that of their ids by and large.
    let forgotten = MOST + 100 - LEFT;
    assert!(first + 2048 > forgotten, "{first} is left of {forgotten}");
    let peak = node.peak_memory() / 1024;
    eprintln!("written {written_after:?}, forgotten {forgotten_after:?}, peak {peak} MiB");
    // A restart remembers as many.
    node.stop();
    let node = member(&dir, &[], &["--offer", "1GiB"]);
    until_for(LATE, "it knows how many", || {
        (remembered(node.address) == LEFT).then_some(())
    });
    node.stop();
    let mut verify = larder(dir.path());
    let verified = verify.arg("verify").output().unwrap();
    let told = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success(), "{told}");
    let expected = "copies: 0 files held for others, 0 blobs of 0 bytes: 0 problems\n";
    assert!(told.contains(expected), "{told}");
}
