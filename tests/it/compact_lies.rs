//! Peers with keys that lie in few bytes: listings that are no listings, and messages of
//! announcements that are not theirs or not of now. None stops a node, or takes its memory.

use larder::hash::BlobHash;
use larder::peer::batch;
use larder::peer::compact::Writer;
use larder::peer::identity::Identity;
use larder::peer::signature::Signable;
use larder::peer_id::PeerId;
use larder::record::{FileId, FileRecord, NewFile, Timestamp};
use serde_json::{Value, json};

use crate::common::forms::uploaded;
use crate::common::lister::Lister;
use crate::common::peers::{held, until_sees};
use crate::common::process::{Node, until};
use crate::common::raw_http::{Answer, get, head, send};

fn id(number: u128) -> FileId {
    FileId::from_bytes(number.to_be_bytes())
}

fn record(number: u128, name: &str) -> FileRecord {
    FileRecord {
        id: id(number),
        uploaded_at: Timestamp(0),
        file: NewFile {
            name: name.to_owned(),
            content_type: None,
            description: String::new(),
            size: 1,
            hash: BlobHash::of(name.as_bytes()),
        },
    }
}

/// A number as compact messages have it.
fn number(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(0x80 | u8::try_from(number & 0x7f).unwrap());
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

/// A page with these files, and where to go on.
fn page(peer: PeerId, files: &[u128], next: Option<u128>) -> Vec<u8> {
    let mut page = Writer::begin(peer, Some(1), None);
    let mut writer = Writer::default();
    for number in files {
        writer.file(&mut page, &record(*number, &format!("lie {number}")), None);
    }
    Writer::end(&mut page, files.len() as u64, next.map(id));
    page
}

/// The beginning of a page, then these bytes in the place of a file.
fn beginning(peer: PeerId, bytes: &[&[u8]]) -> Vec<u8> {
    let begun = Writer::begin(peer, Some(1), None);
    [begun, bytes.concat()].concat()
}

/// Up to the name of a file: what it begins with, its id, hash, size and time.
const UP_TO_NAME: [u8; 51] = [1; 51];

/// What a liar sends in place of a listing.
type Page = fn(PeerId, u128) -> Vec<u8>;

/// Nothing of these is taken.
const NONE_OF_IT: [(&str, Page); 9] = [
    ("nothing else", |it, _| beginning(it, &[])),
    ("a name without an end", |it, _| {
        beginning(it, &[&UP_TO_NAME, &number(u64::MAX), b"name"])
    }),
    ("a name that is longer than names are", |it, _| {
        let name = vec![b'n'; 5000];
        beginning(it, &[&UP_TO_NAME, &number(5000), &name, &[0; 4]])
    }),
    ("a number of eleven bytes", |it, _| {
        beginning(it, &[&[0xff; 10], &[1; 80]])
    }),
    ("a number that has no end", |it, _| {
        beginning(it, &[&[0x80; 1000]])
    }),
    ("more of an id than there is of it", |it, _| {
        beginning(it, &[&number(1 + 4 * 16), &[1; 80], &[0; 3]])
    }),
    ("a type that was never told", |it, _| {
        beginning(it, &[&UP_TO_NAME, b"\x01n", &number(1 << 40), &[0; 3]])
    }),
    ("the listing of another", |_, _| {
        page(PeerId::of_public_key(&[7; 32]), &[1], None)
    }),
    ("more than is read of one answer", |it, _| {
        // Removals, each of as many twos.
        beginning(it, &[&vec![2; 17 << 20]])
    }),
];

/// Of these nothing is taken behind the place where they lead back; of those that lead on for ever
/// so much as there is time for.
const NO_END: [(&str, Page); 5] = [
    ("ids that fall", |it, _| page(it, &[9, 8, 10], None)),
    ("the same file twice", |it, _| page(it, &[9, 9, 10], None)),
    ("a next one that leads back", |it, _| {
        page(it, &[5], Some(3))
    }),
    ("nothing, and back", |it, _| page(it, &[], Some(0))),
    ("empty pages for ever", |it, after| {
        page(it, &[], Some(after + 1))
    }),
];

/// The file behind which a listing is asked for.
fn after(target: &str) -> u128 {
    let after = target.split_once("after=").map(|(_, after)| after);
    let after = after.map(|it| it.split('&').next().unwrap().parse::<FileId>());
    after.map_or(0, |it| u128::from_be_bytes(*it.unwrap().as_bytes()))
}

#[test]
fn listings_that_lie_are_not_taken_and_keep_nobody_from_being_listed() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let node = Node::start(&dirs[0], &["--discover-every", "1"]);
    let before = node.resident();
    let all = NONE_OF_IT.iter().chain(&NO_END);
    let liars: Vec<_> = all
        .map(|(what, lie)| {
            let liar = Lister::start(move |peer, target| lie(peer, after(target)));
            liar.meet(&node);
            (what, liar)
        })
        .collect();
    for (what, liar) in &liars {
        until(what, || (liar.asked() > 1).then_some(()));
    }
    let peer = node.url("");
    let honest = Node::start(&dirs[1], &["--peer", &peer, "--discover-every", "1"]);
    uploaded(honest.address, "true", b"x");
    let names = || -> Vec<Value> {
        let files = held(node.address).into_iter();
        files.map(|it| it["original_name"].clone()).collect()
    };
    until("the honest one is listed", || {
        names().contains(&json!("true")).then_some(())
    });
    let taken = names();
    // Of a listing that leads back what stands before that.
    let may_be = |it: &Value| ["true", "lie 9", "lie 5"].iter().any(|may| it == may);
    assert!(taken.iter().all(may_be), "{taken:?}");
    let grown = node.resident().saturating_sub(before);
    assert!(grown < 100 << 20, "{grown} bytes");
}

/// What is told of one file in a message: when, and whether it is no longer held.
type Told<'a> = (u64, &'a FileRecord, bool);

/// The part of a message that is signed.
fn text(told: &[Told<'_>]) -> Vec<u8> {
    let (mut writer, mut last) = (Writer::default(), 0);
    let mut text = number(0);
    for (at, record, withdrawn) in told {
        text.extend(number(at - last));
        last = *at;
        if *withdrawn {
            Writer::removed(&mut text, record.id);
        } else {
            writer.file(&mut text, record, None);
        }
    }
    text
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

/// A message of announcements in the name of this peer, signed by this key.
fn message(peer: PeerId, by: &Identity, text: &[u8]) -> Vec<u8> {
    let hash = BlobHash::of(text).to_string();
    let proof = by.sign(&Signable::new("larder 2026-11 announcements").field(&hash));
    let key = bytes(&proof.public_key.unwrap());
    let signature = bytes(&proof.signature.unwrap());
    [
        b"larder\x02\n",
        &peer.as_bytes()[..],
        &key,
        &signature,
        text,
    ]
    .concat()
}

fn tell(node: &Node, message: &[u8]) -> Answer {
    let length = format!("Content-Length: {}", message.len());
    let kind = format!("Content-Type: {}", batch::TYPE);
    let begins = head("POST", "/api/p2p/announcements", &[&kind, &length]);
    send(node.address, &[&begins, message].concat())
}

/// A node, and a peer that has answered it.
fn met() -> (tempfile::TempDir, Node, Lister) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--discover-every", "3600"]);
    let peer = Lister::of_nothing();
    peer.until_met(&node);
    (dir, node, peer)
}

fn kept(answer: &Answer) -> (u64, bool) {
    let answer = answer.json();
    let ignored = answer["ignored"].as_bool().unwrap();
    (answer["kept"].as_u64().unwrap(), ignored)
}

#[test]
fn announcements_together_count_once_and_in_the_name_of_who_signed_them() {
    let (_dir, node, peer) = met();
    let (one, other) = (record(1, "one"), record(2, "other"));
    let both = text(&[(1_000, &one, false), (1_001, &other, false)]);
    let of_peer = |text: &[u8]| message(peer.id(), &peer.identity, text);
    let first = of_peer(&both);
    assert_eq!(kept(&tell(&node, &first)), (2, false));
    until_sees(node.address, &["one", "other"]);
    // Repeated by whomever, it says nothing new, and nothing that is no longer so.
    assert_eq!(kept(&tell(&node, &first)), (0, false));
    let removed = of_peer(&text(&[(1_002, &one, true)]));
    assert_eq!(kept(&tell(&node, &removed)), (1, false));
    assert_eq!(kept(&tell(&node, &first)), (0, false));
    until_sees(node.address, &["other"]);
    // What is told of earlier moments is old, also where it was never heard.
    let earlier = of_peer(&text(&[(7, &one, false), (1_003, &one, false)]));
    assert_eq!(kept(&tell(&node, &earlier)), (1, false));
    until_sees(node.address, &["one", "other"]);
    let stranger = Identity::generate().unwrap();
    let strange = message(stranger.peer_id(), &stranger, &both);
    assert_eq!(kept(&tell(&node, &strange)), (0, true));
    let seen = get(node.address, "/api/p2p/network", &[]).json();
    assert_eq!(seen["total_files"], 2);
}

#[test]
fn announcements_together_that_lie_are_refused_and_nothing_of_them_is_kept() {
    let (_dir, node, peer) = met();
    let other = Identity::generate().unwrap();
    let one = record(1, "one");
    let right = text(&[(1_000, &one, false)]);
    let many: Vec<Told<'_>> = (1..=257).map(|at| (at, &one, false)).collect();
    let mut changed = message(peer.id(), &peer.identity, &right);
    *changed.last_mut().unwrap() ^= 1;
    let cut = &right[..right.len() - 1];
    let no_text = [&number(0)[..], &number(9), &UP_TO_NAME, b"\x01\xff\x00"].concat();
    let endless = [&number(0)[..], &number(9), &UP_TO_NAME, &number(u64::MAX)].concat();
    let ends_early = [&right[..], &number(9), &number(0)].concat();
    let moment = number(0).len() + number(1_000).len();
    let beyond = [&right[..], &number(u64::MAX), &right[moment..]].concat();
    let of_peer = |text: &[u8]| message(peer.id(), &peer.identity, text);
    for (what, message) in [
        ("signed by another", message(peer.id(), &other, &right)),
        ("changed behind its signature", changed),
        ("of 257 files", of_peer(&text(&many))),
        ("cut", of_peer(cut)),
        ("a name that is no text", of_peer(&no_text)),
        ("a name without an end", of_peer(&endless)),
        ("an end before the end", of_peer(&ends_early)),
        ("a moment beyond all", of_peer(&beyond)),
        ("holdings of no kind", of_peer(&number(7))),
    ] {
        let refusal = tell(&node, &message).refusal();
        assert_eq!(refusal, (400, "bad_announcement".to_owned()), "{what}");
    }
    let long = of_peer(&vec![0; batch::MAX_BYTES]);
    assert_eq!(tell(&node, &long).refusal(), (413, "too_large".to_owned()));
    assert_eq!(held(node.address), Vec::<Value>::new());
    assert_eq!(kept(&tell(&node, &of_peer(&right))), (1, false));
}
