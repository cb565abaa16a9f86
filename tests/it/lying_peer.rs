//! Peers that lie about the content they claim to hold: no wrong byte ever reaches a client
//! or the disk, and an honest peer takes over where there is one.
//!
//! The liars sign who they are as every node does. Each is asked for two contents: one that
//! an honest node holds as well, and one that it alone claims to hold.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::liar::{Liar, Lie, Sends};
use crate::common::peers::{post, until_held};
use crate::common::process::{Node, until};
use crate::common::raw_http::{get, head, send, until_the_end};

/// Three windows of a copy and more than half of another one.
const SIZE: usize = (3 << 20) + (600 << 10) + 17;
/// Where in an answer a lie begins, when the client has got something already.
const MIDDLE: usize = 512 << 10;
/// Within the first chunk group of an answer, behind the hashes that lead to it.
const FIRST_GROUP: usize = 1000;

/// What a client sees that asks for a content which nobody but the liar claims to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    Refused(u16, &'static str),
    /// The beginning of the content, and a connection that is cut.
    Cut,
    /// All of the content or its beginning: the lie comes behind it, and spoils what comes in
    /// one piece with it.
    Perhaps,
}

const FAILED: Alone = Alone::Refused(502, "peer_failed");
const TIMEOUT: Alone = Alone::Refused(504, "peer_timeout");

/// A node that fetches, and one that it can rely on.
struct Scene {
    by: Node,
    honest: Node,
    by_dir: TempDir,
    _honest_dir: TempDir,
    /// How many contents were made so far.
    contents: AtomicU32,
}

impl Scene {
    fn new() -> Self {
        let (by_dir, honest_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let honest = Node::start(&honest_dir, &[]);
        let url = honest.url("");
        let usual = ["--discover-every", "1", "--peer-stall", "1"];
        let by = [&usual[..], &["--require-signed", "--peer", &url]].concat();
        Self {
            by: Node::start(&by_dir, &by),
            honest,
            by_dir,
            _honest_dir: honest_dir,
            contents: AtomicU32::new(0),
        }
    }

    fn content(&self) -> Vec<u8> {
        content(self.contents.fetch_add(1, Ordering::Relaxed), SIZE)
    }

    /// Meets all of these liars at once.
    fn withstands(&self, lies: &[(Lie, Alone)]) {
        thread::scope(|scope| {
            for (lie, alone) in lies {
                scope.spawn(|| self.withstands_one(*lie, *alone));
            }
        });
    }

    /// Asks for both contents of a liar, to be read and to be kept.
    fn withstands_one(&self, lie: Lie, alone: Alone) {
        println!("{lie:?}");
        let [shared, own] = [self.content(), self.content()];
        let liar = Liar::start(&[&shared, &own], lie);
        uploaded(self.honest.address, "shared", &shared);
        let met = liar.meet(self.by.address);
        assert_eq!(met.status, 200, "{met:?}");
        until_held(self.by.address, &liar.file(0).1, 2);
        until_held(self.by.address, &liar.file(1).1, 1);

        let asks_the_liar = |asks: &dyn Fn()| {
            let before = liar.asked();
            asks();
            assert!(liar.asked() > before, "the liar was not asked");
            liar.until_left_alone();
        };
        // In this order: once it has failed, others are asked before it.
        asks_the_liar(&|| self.reads_all(&target(&liar, 0), &shared));
        asks_the_liar(&|| self.reads_alone(&target(&liar, 1), &own, alone));
        self.keeps(&liar.file(0).1, &shared);
        if alone != Alone::Perhaps {
            asks_the_liar(&|| self.gives_up(&liar.file(1).1));
        }
    }

    /// One clean answer with every byte.
    fn reads_all(&self, target: &str, bytes: &[u8]) {
        let answer = get(self.by.address, target, &[]);
        assert_eq!((answer.status, answer.body == bytes), (200, true));
    }

    fn reads_alone(&self, target: &str, bytes: &[u8], expected: Alone) {
        match expected {
            Alone::Refused(status, code) => {
                let answer = get(self.by.address, target, &[]);
                assert_eq!(answer.refusal(), (status, code.to_owned()));
            }
            Alone::Cut | Alone::Perhaps => {
                let (status, body) = until_the_end(self.by.address, target);
                assert_eq!((status, body.is_empty()), (200, false));
                assert!(bytes.starts_with(&body), "a wrong byte came through");
                assert!(expected == Alone::Perhaps || body.len() < bytes.len());
            }
        }
    }

    fn keep(&self, hash: &Value) -> Value {
        let target = format!("/api/p2p/keep/{}", hash.as_str().unwrap());
        get(self.by.address, &target, &[]).json()["keep"].clone()
    }

    /// Where content is received that is to be kept.
    fn partial(&self, hash: &Value) -> PathBuf {
        let keeping = self.by_dir.path().join("peer_storage/keeping");
        keeping.join(hash.as_str().unwrap())
    }

    fn begin_keep(&self, hash: &Value) {
        let what = json!({ "hash": hash }).to_string();
        let answer = post(self.by.address, "/api/p2p/keep", &what);
        assert_eq!(answer.status, 202, "{answer:?}");
    }

    /// A copy is made, whole and right.
    fn keeps(&self, hash: &Value, bytes: &[u8]) {
        self.begin_keep(hash);
        let copy = until("a copy is here", || {
            let copy = self.keep(hash);
            (copy["state"] == "kept").then_some(copy)
        });
        let file_id = copy["file_id"].as_str().unwrap();
        self.reads_all(&format!("/api/p2p/file/{file_id}"), bytes);
        assert!(!self.partial(hash).exists());
    }

    /// A try fails; when no more are wanted, nothing is left of it.
    fn gives_up(&self, hash: &Value) {
        self.begin_keep(hash);
        until("a try fails", || {
            self.keep(hash)["error"].is_string().then_some(())
        });
        assert_ne!(self.keep(hash)["state"], "kept");
        let target = format!("/api/p2p/keep/{}", hash.as_str().unwrap());
        let given_up = send(self.by.address, &head("DELETE", &target, &[]));
        assert_eq!(given_up.status, 200, "{given_up:?}");
        until("nothing is left of it", || {
            (!self.partial(hash).exists()).then_some(())
        });
        let files = get(self.by.address, "/api/p2p/files", &[]).json();
        let mut files = files["files"].as_array().unwrap().iter();
        assert!(files.all(|file| file["hash"] != *hash), "{hash} is here");
    }
}

fn target(liar: &Liar, number: usize) -> String {
    format!("/api/p2p/download/{}/{}", liar.id(), liar.file(number).0)
}

/// Proves how long its contents are, and then lies.
fn at_first_honest(rest: Sends) -> Lie {
    Lie { rest, ..Lie::TRUTH }
}

#[test]
fn wrong_bytes_go_no_further() {
    Scene::new().withstands(&[
        (Lie::at_once(Sends::WrongByte(0)), FAILED),
        (at_first_honest(Sends::WrongByte(0)), FAILED),
        (at_first_honest(Sends::WrongByte(FIRST_GROUP)), FAILED),
        (at_first_honest(Sends::WrongByte(MIDDLE)), Alone::Cut),
    ]);
}

#[test]
fn an_answer_of_another_length_is_noticed() {
    Scene::new().withstands(&[
        (Lie::at_once(Sends::EndsAfter(FIRST_GROUP)), FAILED),
        (Lie::at_once(Sends::LongerBy(1)), FAILED),
        (Lie::at_once(Sends::EndlessAfter(usize::MAX)), FAILED),
        (at_first_honest(Sends::EndsAfter(0)), FAILED),
        (at_first_honest(Sends::EndsAfter(MIDDLE)), Alone::Cut),
        (at_first_honest(Sends::BreaksAfter(0)), FAILED),
        (at_first_honest(Sends::BreaksAfter(MIDDLE)), Alone::Cut),
        (at_first_honest(Sends::EndlessAfter(0)), FAILED),
        (at_first_honest(Sends::EndlessAfter(MIDDLE)), Alone::Cut),
        (at_first_honest(Sends::LongerBy(1)), Alone::Perhaps),
        (
            at_first_honest(Sends::EndlessAfter(usize::MAX)),
            Alone::Perhaps,
        ),
    ]);
}

#[test]
fn nobody_waits_for_a_silent_peer() {
    Scene::new().withstands(&[
        (Lie::at_once(Sends::Nothing), TIMEOUT),
        (at_first_honest(Sends::Nothing), TIMEOUT),
        (at_first_honest(Sends::SilentAfter(0)), TIMEOUT),
        (at_first_honest(Sends::SilentAfter(MIDDLE)), Alone::Cut),
        (Lie::at_once(Sends::TrickleAfter(0)), TIMEOUT),
        (at_first_honest(Sends::TrickleAfter(0)), TIMEOUT),
        (at_first_honest(Sends::TrickleAfter(MIDDLE)), Alone::Cut),
    ]);
}

#[test]
fn a_refusal_is_no_content() {
    let statuses = [
        "500 Internal Server Error",
        "204 No Content",
        "404 Not Found",
    ];
    let lies = statuses.map(Sends::Status);
    let lies = lies.map(|it| [(Lie::at_once(it), FAILED), (at_first_honest(it), FAILED)]);
    Scene::new().withstands(&lies.concat());
}

#[test]
fn no_redirect_is_followed() {
    // It would send what is asked for: the contents of a new scene.
    let contents = [0, 1, 2, 3].map(|seed| content(seed, SIZE));
    let contents = contents.each_ref().map(Vec::as_slice);
    let elsewhere = Liar::start(&contents, Lie::at_once(Sends::Truth));
    let redirect = Sends::Redirect(elsewhere.address);
    Scene::new().withstands(&[
        (Lie::at_once(redirect), FAILED),
        (at_first_honest(redirect), FAILED),
    ]);
    assert_eq!(elsewhere.asked(), 0);
}

#[test]
fn a_wrong_size_is_noticed_before_anything_is_promised() {
    let size = SIZE as u64;
    let sizes = [0, 1, size / 2, size - 1, size + 1, size * 2, u64::MAX];
    let lies = sizes.map(|size| Lie {
        size: Some(size),
        ..Lie::TRUTH
    });
    Scene::new().withstands(&lies.map(|lie| (lie, FAILED)));
}
