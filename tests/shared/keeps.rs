//! Copies that several nodes are to have together, whichever of them is asked, fetches or is gone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::{post, until_held};
use crate::common::process::{Node, until};
use crate::common::raw_http::{Answer, get, head, send};
use crate::common::relay::Relay;
use crate::fleet::Fleet;

const MIB: usize = 1 << 20;

/// A node that others know by a cable, and several nodes that are one peer and know it.
struct Scene {
    cable: Relay,
    holder: Node,
    fleet: Fleet,
    _dir: TempDir,
}

impl Scene {
    async fn start(settings: &[&str]) -> Self {
        let (cable, dir) = (Relay::new(), tempfile::tempdir().unwrap());
        let often = ["--discover-every", "1"];
        let at = cable.url();
        let holder = Node::start(&dir, &[&often[..], &["--base-url", &at]].concat());
        cable.connect(holder.address);
        let usual = [&often[..], &["--peer", &at, "--peer-stall", "1"], settings].concat();
        Self {
            fleet: Fleet::start(&usual).await,
            cable,
            holder,
            _dir: dir,
        }
    }

    /// The hash of a file that the holder has from now on, which all know.
    fn file(&self, bytes: &[u8]) -> Value {
        let hash = uploaded(self.holder.address, "file", bytes)["hash"].clone();
        for node in self.fleet.nodes.iter().flatten() {
            until_held(node.address, &hash, 1);
        }
        hash
    }

    /// The node that has a part of this content.
    fn fetching(&self, hash: &Value) -> usize {
        until("a node fetches it", || {
            let nodes = (0..3).filter(|it| self.partial(*it, hash).exists());
            let nodes: Vec<_> = nodes.collect();
            assert!(nodes.len() < 2, "{nodes:?}");
            nodes.first().copied()
        })
    }

    fn partial(&self, node: usize, hash: &Value) -> PathBuf {
        let keeping = self.fleet.dirs[node].path().join("peer_storage/keeping");
        keeping.join(text(hash))
    }

    fn stop(self) {
        self.fleet.stop();
        self.holder.stop();
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn path(hash: &Value) -> String {
    format!("/api/p2p/keep/{}", text(hash))
}

fn keep(node: SocketAddr, hash: &Value) -> Answer {
    post(node, "/api/p2p/keep", &json!({ "hash": hash }).to_string())
}

fn keep_of(node: SocketAddr, hash: &Value) -> Value {
    get(node, &path(hash), &[]).json()["keep"].clone()
}

fn until_kept(node: SocketAddr, hash: &Value) -> Value {
    until("a copy is here", || {
        let keep = keep_of(node, hash);
        (keep["state"] == "kept").then_some(keep)
    })
}

/// The names of all files, as a node tells.
fn files(node: SocketAddr) -> Vec<Value> {
    let files = get(node, "/api/p2p/files", &[]).json();
    let files = files["files"].as_array().unwrap().iter();
    files.map(|it| it["original_name"].clone()).collect()
}

fn copy(node: SocketAddr, kept: &Value) -> Vec<u8> {
    let path = format!("/api/p2p/file/{}", text(&kept["file_id"]));
    let answer = get(node, &path, &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_tells_of_a_copy_and_gives_it_up_wherever_it_is_fetched() {
    let scene = Scene::start(&[]).await;
    let nodes = scene.fleet.addresses();
    let hash = scene.file(&content(1, 16 * MIB));
    scene.cable.stall_after(6 << 20);
    let promised = keep(nodes[0], &hash);
    assert_eq!(promised.status, 202, "{promised:?}");
    for node in nodes {
        // At once, since it was promised.
        assert_eq!(keep_of(node, &hash)["id"], hash);
        let listed = get(node, "/api/p2p/keep", &[]).json()["keeps"].clone();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
        assert_eq!(listed[0]["id"], hash);
        // Who asks once more has it once.
        assert_eq!(keep(node, &hash).status, 202);
    }
    let fetching = scene.fetching(&hash);
    for node in nodes {
        until("it tells how far it is", || {
            let fetched = keep_of(node, &hash)["fetched"].as_u64()?;
            (fetched > 1 << 20).then_some(())
        });
    }
    let other = nodes[(fetching + 1) % 3];
    let given_up = send(other, &head("DELETE", &path(&hash), &[]));
    assert_eq!(given_up.status, 200, "{given_up:?}");
    assert_eq!(given_up.json()["keep"]["id"], hash);
    for node in nodes {
        let unknown = (404, "unknown_keep".to_owned());
        assert_eq!(get(node, &path(&hash), &[]).refusal(), unknown);
    }
    until("nothing is left of it", || {
        (!scene.partial(fetching, &hash).exists()).then_some(())
    });
    scene.cable.mend();
    // What is asked for later comes, and by then the other would have.
    let later = scene.file(b"later");
    keep(other, &later);
    until_kept(nodes[fetching], &later);
    assert_eq!(files(other), ["file"]);
    assert_eq!(scene.fleet.count("blobs").await, 1);
    scene.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promised_copy_is_made_by_others_where_the_node_is_killed_that_fetches_it() {
    let mut scene = Scene::start(&[]).await;
    let nodes = scene.fleet.addresses();
    let bytes = content(2, 16 * MIB);
    let hash = scene.file(&bytes);
    scene.cable.stall_after(6 << 20);
    assert_eq!(keep(nodes[1], &hash).status, 202);
    let fetching = scene.fetching(&hash);
    scene.fleet.kill(fetching);
    scene.cable.mend();
    let left: Vec<_> = (0..3).filter(|it| *it != fetching).collect();
    for node in left.iter().map(|it| nodes[*it]) {
        let kept = until_kept(node, &hash);
        assert!(copy(node, &kept) == bytes);
        assert_eq!(files(node), ["file"]);
    }
    // Another one is promised, and the node dies with the answer.
    let second = scene.file(b"second");
    assert_eq!(keep(nodes[left[0]], &second).status, 202);
    scene.fleet.kill(left[0]);
    let kept = until_kept(nodes[left[1]], &second);
    assert_eq!(copy(nodes[left[1]], &kept), b"second");
    scene.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_stopped_while_it_fetched_makes_no_second_copy() {
    let scene = Scene::start(&[]).await;
    let nodes = scene.fleet.addresses();
    let bytes = content(3, 16 * MIB);
    let hash = scene.file(&bytes);
    scene.cable.stall_after(6 << 20);
    keep(nodes[2], &hash);
    let stopped = scene.fetching(&hash);
    scene.fleet.node(stopped).signal(Signal::STOP);
    scene.cable.mend();
    let other = nodes[(stopped + 1) % 3];
    let kept = until_kept(other, &hash);
    scene.fleet.node(stopped).signal(Signal::CONT);
    until("it gives up what it has", || {
        (!scene.partial(stopped, &hash).exists()).then_some(())
    });
    assert_eq!(keep_of(nodes[stopped], &hash), kept);
    assert!(copy(nodes[stopped], &kept) == bytes);
    // It takes its turns again.
    let later = scene.file(b"later");
    keep(nodes[stopped], &later);
    until_kept(other, &later);
    assert_eq!(files(other), ["file", "file"]);
    assert_eq!(scene.fleet.count("files").await, 2);
    scene.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_and_is_back_at_once_goes_on_with_what_it_has() {
    let mut scene = Scene::start(&["--lease", "60s"]).await;
    let nodes = scene.fleet.addresses();
    let bytes = content(4, 24 * MIB);
    let hash = scene.file(&bytes);
    scene.cable.stall_after(18 << 20);
    keep(nodes[0], &hash);
    let fetching = scene.fetching(&hash);
    let other = nodes[(fetching + 1) % 3];
    until("much has come", || {
        let here = keep_of(other, &hash)["fetched"].as_u64()?;
        (here >= 12 << 20).then_some(())
    });
    scene.fleet.kill(fetching);
    let carried = scene.cable.carried();
    scene.cable.mend();
    let at = scene.cable.url();
    let settings = ["--discover-every", "1", "--peer", &at, "--lease", "60s"];
    scene.fleet.start_again(fetching, &settings);
    let kept = until_kept(other, &hash);
    let again = scene.cable.carried() - carried;
    assert!(again < 16 << 20, "{again}");
    assert!(copy(other, &kept) == bytes);
    scene.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_all_nodes_are_asked_for_at_once_is_fetched_by_one() {
    let scene = Scene::start(&[]).await;
    let nodes = scene.fleet.addresses();
    let hashes = (0..8).map(|it| scene.file(&content(10 + it, MIB)));
    let hashes: Vec<_> = hashes.collect();
    let before = scene.cable.carried();
    thread::scope(|scope| {
        for node in nodes {
            let hashes = &hashes;
            scope.spawn(move || {
                for hash in hashes {
                    assert_eq!(keep(node, hash).status, 202);
                }
            });
        }
    });
    for hash in &hashes {
        let kept = nodes.map(|node| until_kept(node, hash));
        assert!(kept.iter().all(|it| it == &kept[0]), "{kept:?}");
    }
    // One fetched twice would be an eighth more; listings are told, too.
    let carried = scene.cable.carried() - before;
    assert!(carried < (8 << 20) + (700 << 10), "{carried}");
    assert_eq!(scene.fleet.count("files").await, 8);
    scene.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_all_nodes_are_asked_for_at_once_is_given_once() {
    let scene = Scene::start(&[]).await;
    let nodes = scene.fleet.addresses();
    let hash = scene.file(b"here by other names");
    uploaded(nodes[0], "mine", b"here by other names");
    for number in 0..8 {
        let name = format!("name {number}");
        let what = json!({ "hash": hash, "original_name": name }).to_string();
        let told = thread::scope(|scope| {
            let asked = nodes.map(|node| {
                let what = &what;
                scope.spawn(move || post(node, "/api/p2p/keep", what))
            });
            asked.map(|it| it.join().unwrap().json()["keep"].clone())
        });
        for it in &told {
            assert_eq!(
                (&it["state"], &it["original_name"]),
                (&json!("kept"), &json!(name))
            );
            assert_eq!(it["file_id"], told[0]["file_id"], "{told:?}");
        }
    }
    assert_eq!(scene.fleet.count("files").await, 9);
    scene.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_kept_once_by_all_nodes_together_and_a_removal_is_not_undone() {
    let mut scene = Scene::start(&["--keep", "all"]).await;
    let nodes = scene.fleet.addresses();
    let before = scene.cable.carried();
    for number in 30..38 {
        uploaded(scene.holder.address, "file", &content(number, MIB));
    }
    until("everything is here", || {
        (files(nodes[0]).len() == 8).then_some(())
    });
    let carried = scene.cable.carried() - before;
    assert!(carried < (8 << 20) + (700 << 10), "{carried}");

    // Through each of them one is removed.
    for node in nodes {
        let list = get(node, "/api/p2p/files", &[]).json();
        let id = text(&list["files"][0]["file_id"]).to_owned();
        let removal = head("DELETE", &format!("/api/p2p/file/{id}"), &[]);
        assert_eq!(send(node, &removal).status, 200);
    }
    // What comes later is kept, so whoever looks for all has looked at those, also another node.
    for (number, killed) in [(60, None), (61, Some(0)), (62, Some(1))] {
        if let Some(killed) = killed {
            scene.fleet.kill(killed);
        }
        uploaded(scene.holder.address, "later", &content(number, 1000));
        let of = |name| files(nodes[2]).iter().filter(|it| *it == name).count();
        let expected = usize::try_from(number - 59).unwrap();
        until("it is kept", || (of("later") == expected).then_some(()));
        assert_eq!(of("file"), 5);
    }
    scene.stop();
}
