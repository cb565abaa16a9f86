//! The view of the whole network: a node's own files and those that peers told of, in one
//! order, whatever the size of the pages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use larder::blob::memory::MemoryBlobs;
use larder::hash::BlobHash;
use larder::index::memory::MemoryIndex;
use larder::node::view::{Selection, View};
use larder::peer::directory::{Directory, FileKey, NetworkFile};
use larder::peer_id::PeerId;
use larder::record::{FileId, FileRecord, Order};
use larder::store::{About, Store};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::forms::uploaded;
use crate::common::peers::{peer_id, until_knows, until_sees};
use crate::common::process::{Node, until};
use crate::common::raw_http::{get, head, send};

const NAMES: [&str; 3] = ["Ab", "b", "c"];

/// A file that a peer tells of, near the id of one of the node's own files.
#[derive(Debug, Clone)]
struct Told {
    peer: u8,
    near: usize,
    /// Of the own file's id.
    before: bool,
    /// None, that of the own file, or another one.
    hash: Option<bool>,
    name: usize,
}

fn told() -> impl Strategy<Value = Told> {
    let parts = (
        0..3u8,
        0..40usize,
        any::<bool>(),
        any::<Option<bool>>(),
        0..3usize,
    );
    parts.prop_map(|(peer, near, before, hash, name)| Told {
        peer,
        near,
        before,
        hash,
        name,
    })
}

/// The second peer signs nothing.
fn peer(number: u8) -> PeerId {
    match number {
        1 => "00000000-0000-4000-8000-000000000001".parse().unwrap(),
        _ => PeerId::of_public_key(&[number; 32]),
    }
}

/// A store with so many files, of few names and contents.
async fn filled(files: usize) -> (Store, Vec<FileRecord>) {
    let (blobs, index) = (MemoryBlobs::default(), MemoryIndex::default());
    let store = Store::new(Arc::new(blobs), Arc::new(index));
    let mut records = Vec::new();
    for number in 0..files {
        let mut receiving = store.receive().await.unwrap();
        let content = (number % 7).to_string();
        receiving.write(Bytes::from(content)).await.unwrap();
        let about = About {
            name: NAMES[number % 3].to_owned(),
            ..About::default()
        };
        let content = receiving.finish().await.unwrap();
        records.push(store.ingest(content, about).await.unwrap());
    }
    (store, records)
}

/// The file as it is told, with the own files to stand near.
fn file(told: &Told, own: &[FileRecord]) -> NetworkFile {
    let near = own.get(told.near % own.len().max(1));
    let id = near.map_or(FileId::from_bytes([told.peer; 16]), |it| it.id);
    let other = || BlobHash::of(&[told.peer]);
    NetworkFile {
        id: id.before().filter(|_| told.before).unwrap_or(id),
        hash: told
            .hash
            .map(|same| near.filter(|_| same).map_or_else(other, |it| it.file.hash)),
        name: NAMES[told.name].to_owned(),
        size: 1,
        content_type: None,
        uploaded_at: String::new(),
    }
}

/// Of what is told what counts: of an id that this node holds only what it says itself, and of one
/// that a key has signed anything of only what keys have.
fn believed(own: &[FileRecord], told: &[(PeerId, NetworkFile)]) -> Vec<(PeerId, NetworkFile)> {
    let is_own = |id: FileId| own.iter().any(|it| it.id == id);
    let is_signed = |(peer, _): &(PeerId, NetworkFile)| peer.belongs_to_a_key();
    let signed = told.iter().filter(|it| is_signed(it));
    let signed: BTreeSet<_> = signed.map(|(_, file)| file.id).collect();
    let counts = |it: &(PeerId, NetworkFile)| {
        !is_own(it.1.id) && (is_signed(it) || !signed.contains(&it.1.id))
    };
    told.iter().filter(|it| counts(it)).cloned().collect()
}

/// What a view should show: each file with those who hold it.
fn expected(
    own: &[FileRecord],
    told: &[(PeerId, NetworkFile)],
) -> BTreeMap<FileKey, BTreeSet<PeerId>> {
    let own_files = own.iter().cloned().map(|it| (peer(9), it.into()));
    let shown: Vec<_> = believed(own, told)
        .into_iter()
        .chain(own_files.clone())
        .collect();
    // Who holds a content holds it under whatever id.
    let all: Vec<_> = told.iter().cloned().chain(own_files).collect();
    let holders = |file: &NetworkFile| {
        let known = if file.hash.is_some() { &all } else { &shown };
        let same = |it: &NetworkFile| {
            it.key() == file.key() || (it.hash.is_some() && it.hash == file.hash)
        };
        let holders = known.iter().filter(|(_, it)| same(it));
        holders.map(|(peer, _)| *peer).collect()
    };
    shown
        .iter()
        .map(|(_, file)| (file.key(), holders(file)))
        .collect()
}

/// What a file is shown with: by whom it is told, this node, a peer that signs, or one that does
/// not, and as the how-manieth of all that was told; its name, and its size.
type ShownAs = ((u8, usize), String, u64);

/// What each file is shown with: as this node says of its own, as the first that signs says of
/// others, or else the first that told of it.
fn shown_as(own: &[FileRecord], told: &[(PeerId, NetworkFile)]) -> BTreeMap<FileKey, ShownAs> {
    let mut shown = BTreeMap::new();
    let own_files = own.iter().cloned();
    let own_files = own_files.map(|it| ((0, 0), NetworkFile::from(it)));
    let rank = |peer: PeerId| if peer.belongs_to_a_key() { 1 } else { 2 };
    let told = believed(own, told).into_iter().enumerate();
    let told = told.map(|(order, (peer, file))| ((rank(peer), order), file));
    let mut all: Vec<_> = own_files.chain(told).collect();
    all.sort_by_key(|(rank, _)| *rank);
    for (rank, file) in all {
        shown
            .entry(file.key())
            .or_insert((rank, file.name, file.size));
    }
    shown
}

/// A file as a page shows it: key, peers and name.
type Shown = (FileKey, BTreeSet<PeerId>, String);

/// All pages, one after the other, between two files if there are any.
async fn read(
    view: &View<'_>,
    order: Order,
    (mut after, mut before): (Option<FileKey>, Option<FileKey>),
    name: Option<&str>,
    (limit, look): (usize, usize),
) -> Vec<Shown> {
    let mut files = Vec::new();
    for _ in 0..10_000 {
        let wanted = Selection {
            order,
            after,
            before,
            name,
            limit,
            bytes: usize::MAX,
            look,
            searcher: None,
        };
        let page = view.page(wanted).await.unwrap();
        assert!(page.files.len() <= limit);
        files.extend(
            page.files
                .into_iter()
                .map(|it| (it.file.key(), it.peers, it.file.name)),
        );
        if page.next.is_none() {
            return files;
        }
        match order {
            Order::OldestFirst => after = page.next,
            Order::NewestFirst => before = page.next,
        }
    }
    panic!("the pages have no end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn pages_of_any_size_show_every_content_and_name_once_in_order(
        files in 0..40usize,
        told in prop::collection::vec(told(), 0..60),
        limit in 1..50usize,
        look in 1..600usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(assert_pages(files, &told, limit, look));
    }
}

async fn assert_pages(files: usize, told: &[Told], limit: usize, look: usize) {
    let (store, own) = filled(files).await;
    let directory = Directory::default();
    let mut known = Vec::<(PeerId, NetworkFile)>::new();
    for it in told {
        let (peer, file) = (peer(it.peer), file(it, &own));
        directory.put(peer, file.clone()).unwrap();
        // Who repeats what it told is as early as it was; who tells something else is not.
        let told = |it: &(PeerId, NetworkFile)| it.0 == peer && it.1.key() == file.key();
        if known.iter().any(|it| told(it) && it.1.name == file.name) {
            continue;
        }
        known.retain(|it| !told(it));
        known.push((peer, file));
    }
    let view = View {
        myself: peer(9),
        store: &store,
        directory: &directory,
    };
    let size = (limit, look);
    let (oldest, newest) = (Order::OldestFirst, Order::NewestFirst);
    let all = read(&view, oldest, (None, None), None, size).await;
    let shown: Vec<_> = all.iter().map(|it| (it.0, it.1.clone())).collect();
    let expected = expected(&own, &known);
    // Of those that are one to people the first of those is shown that can be believed most.
    let mut seen = BTreeSet::new();
    let mut by_rank: Vec<_> = shown_as(&own, &known).into_iter().collect();
    by_rank.sort_by_key(|(key, (rank, ..))| (*rank, *key));
    let firsts = by_rank.into_iter().filter(|(key, (_, name, size))| {
        key.1.is_none() || seen.insert((key.1, name.clone(), *size))
    });
    let firsts: BTreeSet<_> = firsts.map(|(key, _)| key).collect();
    let first = expected.into_iter().filter(|(key, _)| firsts.contains(key));
    assert_eq!(shown, first.collect::<Vec<_>>());
    let with_b = |it: &Shown| it.2.to_lowercase().contains('b');
    let named: Vec<_> = all.iter().filter(|it| with_b(it)).cloned().collect();
    assert_eq!(
        read(&view, oldest, (None, None), Some("b"), size).await,
        named
    );
    // The same from the other end, and between any two.
    let reversed = |mut files: Vec<Shown>| {
        files.reverse();
        files
    };
    let back = read(&view, newest, (None, None), None, size).await;
    assert_eq!(reversed(back), all);
    let back = read(&view, newest, (None, None), Some("b"), size).await;
    assert_eq!(reversed(back), named);
    let key = |at: usize| all.get(at).map(|it| it.0);
    let (first, last) = (all.len() / 4, all.len() / 4 * 3);
    let between = (key(first), key(last));
    let expected = all.get(first + 1..last).unwrap_or_default();
    assert_eq!(read(&view, oldest, between, None, size).await, expected);
    let back = read(&view, newest, between, None, size).await;
    assert_eq!(reversed(back), expected);
}

fn network(node: &Node, query: &str) -> Value {
    get(node.address, &format!("/api/p2p/network?{query}"), &[]).json()
}

fn names(page: &Value) -> Vec<&str> {
    let files = page["files"].as_array().unwrap().iter();
    files
        .map(|file| file["original_name"].as_str().unwrap())
        .collect()
}

#[test]
fn a_node_shows_its_own_files_among_those_of_others() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let one = Node::start(&dirs[0], &["--discover-every", "1"]);
    let alone = uploaded(one.address, "first", b"x");
    let page = network(&one, "");
    let keys = [
        "file_id",
        "original_name",
        "size",
        "hash",
        "content_type",
        "uploaded_at",
    ];
    for key in keys {
        assert_eq!(page["files"][0][key], alone[key], "{key}");
    }
    let id = peer_id(one.address);
    assert_eq!(page["peer_id"], *id);
    assert_eq!(
        (&page["file_count"], &page["total_files"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(page["files"][0]["peers"], json!([id]));

    let arguments = ["--discover-every", "1", "--peer", &one.url("")];
    let two = Node::start(&dirs[1], &arguments);
    until_knows(two.address, 1);
    uploaded(two.address, "second", b"y");
    uploaded(one.address, "third", b"z");
    uploaded(two.address, "fourth", b"x");
    for node in [&one, &two] {
        until_sees(node.address, &["first", "second", "third", "fourth"]);
        assert_eq!(
            names(&network(node, "")),
            ["first", "second", "third", "fourth"]
        );
        assert_eq!(names(&network(node, "name=FO")), ["fourth"]);
        let page = network(node, "limit=3");
        assert_eq!(
            (&page["file_count"], &page["total_files"]),
            (&json!(3), &json!(4))
        );
        let next = page["next"].as_str().unwrap();
        let rest = network(node, &format!("limit=3&after={next}"));
        assert_eq!(
            (names(&rest), &rest["next"]),
            (vec!["fourth"], &Value::Null)
        );
        // Both hold its content.
        assert_eq!(rest["files"][0]["peers"].as_array().unwrap().len(), 2);
    }
    let gone = format!("/api/p2p/file/{}", alone["file_id"].as_str().unwrap());
    assert_eq!(send(one.address, &head("DELETE", &gone, &[])).status, 200);
    until("the removal is seen", || {
        [&one, &two]
            .iter()
            .all(|it| names(&network(it, "")) == ["second", "third", "fourth"])
            .then_some(())
    });
}
