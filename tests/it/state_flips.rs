//! One bit flipped, or an end cut off or added, in every small file of a running node in turn, and
//! in what has come of a copy: who it is, whom it knows, what is being uploaded, and what is to
//! be kept stay, or are told to be lost.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::{peer_id, post, until_held, until_knows};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;
use crate::common::relay::Relay;
use crate::common::tree::Tree;
use crate::common::tus;

const SIZE: usize = 200_000;
const HERE: usize = 100_000;
/// So long that what has come of a copy stands in a file of its own.
const LONG: usize = 300_000;

/// A stopped node that knows a peer, and has a file and an upload that is half there.
struct Stopped {
    tree: Tree,
    upload: String,
    file: String,
    id: String,
}

fn stopped() -> Stopped {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--discover-every", "1"]);
    let file = uploaded(node.address, "a", &content(1, SIZE));
    let upload = tus::created(node.address, SIZE);
    tus::patched(node.address, &upload, 0, &content(2, SIZE)[..HERE]);
    let peer = tempfile::tempdir().unwrap();
    let peers = ["--discover-every", "1", "--peer", &node.url("")];
    let _peer = Node::start(&peer, &peers);
    until_knows(node.address, 1);
    let id = peer_id(node.address);
    node.stop();
    Stopped {
        tree: Tree::read(&dir.path().join("peer_storage")),
        upload,
        file: format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap()),
        id,
    }
}

fn damages(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![bytes[..bytes.len() - 1].to_vec(), Vec::new()];
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 4;
        all.push(flipped);
    }
    all
}

/// A copy in which one file has other bytes.
fn damaged_copy(tree: &Tree, path: &Path, bytes: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let storage = dir.path().join("peer_storage");
    fs::create_dir(&storage).unwrap();
    tree.write(&storage);
    fs::write(storage.join(path), bytes).unwrap();
    dir
}

fn told(log: &str) -> bool {
    log.contains(" WARN ") || log.contains("ERROR ")
}

impl Stopped {
    /// What holds of a node on such a copy that starts.
    fn check(&self, node: &Node, what: &str) {
        assert_eq!(peer_id(node.address), self.id, "{what}");
        let file = get(node.address, &self.file, &[]);
        assert!(file.body == content(1, SIZE), "{what}");
        let answer = tus::look(node.address, &self.upload);
        if answer.status != 200 {
            assert!(matches!(answer.status, 404 | 410), "{what}: {answer:?}");
            assert!(told(&node.log()), "{what}");
            return;
        }
        let here: usize = answer.header("upload-offset").parse().unwrap();
        // The version before of its state knows of fewer bytes; the rest is sent once more.
        assert!(
            here == HERE || (here == 0 && told(&node.log())),
            "{what}: {here}"
        );
        let rest = &content(2, SIZE)[here..];
        let ended = tus::patched(node.address, &self.upload, here, rest);
        let file = format!("/api/p2p/file/{}", ended.header("larder-file-id"));
        let file = get(node.address, &file, &[]);
        assert!(file.body == content(2, SIZE), "{what}");
    }
}

#[test]
fn no_damage_of_a_small_file_changes_who_a_node_is_or_what_an_upload_becomes() {
    let stopped = stopped();
    let mut count = 0;
    for (path, bytes) in &stopped.tree.0 {
        let name = path.to_str().unwrap();
        let is_small = ["node.", "known-peers", "uploading"];
        let Some(bytes) = bytes.as_ref().filter(|it| !it.is_empty()) else {
            continue;
        };
        if !is_small.iter().any(|it| name.starts_with(it)) {
            continue;
        }
        count += 1;
        for (number, damaged) in damages(bytes).into_iter().enumerate() {
            let what = format!("{name}, damage {number}");
            let dir = damaged_copy(&stopped.tree, path, &damaged);
            let verify = larder(dir.path()).arg("verify").output().unwrap();
            let found = String::from_utf8(verify.stdout).unwrap();
            assert!(!verify.status.success(), "{what}: {found}");
            // A key of which more than a byte is lost is for its owner to put back.
            if name == "node.key" && damaged.is_empty() {
                let refused = larder(dir.path()).output().unwrap();
                let told = String::from_utf8(refused.stderr).unwrap();
                assert!(!refused.status.success(), "{what}: {told}");
                assert!(told.contains("node.key"), "{what}: {told}");
                continue;
            }
            let node = Node::start(&dir, &[]);
            stopped.check(&node, &what);
            node.stop();
        }
    }
    assert!(count >= 6, "{count}");
}

/// What a holder has, and a killed node that was told to keep both, of which a part has come.
struct Keeping {
    cable: Relay,
    _holder: Node,
    _dir: TempDir,
    /// Each with its hash.
    wanted: Vec<(Value, Vec<u8>)>,
    tree: Tree,
}

fn keep(node: &Node, hash: &Value) {
    let wish = json!({ "hash": hash }).to_string();
    let answer = post(node.address, "/api/p2p/keep", &wish);
    assert_eq!(answer.status, 202, "{answer:?}");
}

impl Keeping {
    fn killed_half_way() -> Self {
        let (cable, from) = (Relay::new(), tempfile::tempdir().unwrap());
        let holder = Node::start(&from, &["--base-url", &cable.url()]);
        cable.connect(holder.address);
        let contents = [content(5, LONG), content(6, LONG + 1)];
        let wanted = contents.map(|bytes| {
            let file = uploaded(holder.address, "kept", &bytes);
            (file["hash"].clone(), bytes)
        });
        let dir = tempfile::tempdir().unwrap();
        let usual = ["--discover-every", "1", "--peer", &cable.url()];
        let node = Node::start(&dir, &usual);
        for (hash, _) in &wanted {
            until_held(node.address, hash, 1);
        }
        let storage = dir.path().join("peer_storage");
        cable.stall_after(0);
        for (hash, _) in &wanted {
            keep(&node, hash);
        }
        node.kill();
        cable.mend();
        // As much of each as a kill half way leaves.
        for (hash, bytes) in &wanted {
            let partial = storage.join("keeping").join(hash.as_str().unwrap());
            fs::write(partial, &bytes[..LONG / 2]).unwrap();
        }
        Self {
            cable,
            _holder: holder,
            _dir: from,
            wanted: wanted.to_vec(),
            tree: Tree::read(&storage),
        }
    }

    /// The small files that say what is to be kept, and what has come of it.
    fn files(&self) -> Vec<(&Path, &[u8])> {
        let files = self.tree.0.iter();
        let files = files.filter_map(|(path, bytes)| Some((path.as_path(), bytes.as_deref()?)));
        let files = files.filter(|(path, bytes)| path.starts_with("keeping") && !bytes.is_empty());
        files.collect()
    }

    /// The same with what verify finds before and behind: of the list, the damage; what has come
    /// of a copy is only proven once it is whole.
    fn goes_on(&self, dir: &TempDir, is_list: bool, what: &str) {
        let verify = || {
            let output = larder(dir.path()).arg("verify").output().unwrap();
            let found = String::from_utf8(output.stdout).unwrap();
            (output.status.success(), found)
        };
        let (is_whole, found) = verify();
        assert_eq!(is_whole, !is_list, "{what}: {found}");
        assert!(
            !is_list || found.contains("keeping/wanted"),
            "{what}: {found}"
        );
        self.check(dir, is_list, what);
        let (is_whole, found) = verify();
        assert!(is_whole, "{what}: {found}");
    }

    /// What holds of a node that goes on with a damaged copy of this, where the holder is back.
    /// Whatever it has forgotten, if it may, is told, and can be asked for again.
    fn check(&self, dir: &TempDir, may_forget: bool, what: &str) {
        let node = Node::start(dir, &["--discover-every", "1", "--peer", &self.cable.url()]);
        for (hash, bytes) in &self.wanted {
            let hash = hash.as_str().unwrap();
            let any = get(node.address, &format!("/api/p2p/blob/{hash}"), &[]);
            assert!(any.status != 200 || any.body == *bytes, "{what}");
        }
        for (hash, bytes) in &self.wanted {
            let target = format!("/api/p2p/keep/{}", hash.as_str().unwrap());
            if get(node.address, &target, &[]).status == 404 {
                assert!(may_forget && told(&node.log()), "{what}: {}", node.log());
                until_held(node.address, hash, 1);
                keep(&node, hash);
            }
            let kept = until("the copy is here", || {
                let keep = get(node.address, &target, &[]).json()["keep"].clone();
                (keep["state"] == "kept").then_some(keep)
            });
            let file = format!("/api/p2p/file/{}", kept["file_id"].as_str().unwrap());
            assert!(get(node.address, &file, &[]).body == *bytes, "{what}");
            let left = dir
                .path()
                .join("peer_storage/keeping")
                .join(hash.as_str().unwrap());
            assert!(!left.exists(), "{what}");
        }
        node.stop();
    }
}

#[test]
fn no_damage_of_what_has_come_of_a_copy_or_of_the_list_of_copies_changes_what_is_kept() {
    let keeping = Keeping::killed_half_way();
    let mut count = 0;
    for (path, bytes) in keeping.files() {
        let name = path.to_str().unwrap();
        let is_list = name.starts_with("keeping/wanted");
        count += 1;
        let mut all = damages(bytes);
        // Longer; so is what has come than the content, or as long with other bytes.
        all.extend([1, LONG - LONG / 2, LONG].map(|more| [bytes, &vec![7; more]].concat()));
        let keeping = &keeping;
        std::thread::scope(|scope| {
            for (number, damaged) in all.into_iter().enumerate() {
                let what = format!("{name}, damage {number}");
                let dir = damaged_copy(&keeping.tree, path, &damaged);
                scope.spawn(move || keeping.goes_on(&dir, is_list, &what));
            }
        });
    }
    // Both versions of the list, and what has come of both.
    assert_eq!(count, 4);
}

#[test]
fn a_list_of_copies_of_which_nothing_can_be_read_is_told_to_be_lost() {
    let mut keeping = Keeping::killed_half_way();
    let before = Path::new("keeping/wanted.before");
    assert!(keeping.tree.0.remove(before).is_some());
    let path = Path::new("keeping/wanted");
    let bytes = keeping.tree.0[path].clone().unwrap();
    let longer = [&bytes[..], b"\n"].concat();
    for (number, damaged) in [damages(&bytes), vec![longer]].concat().iter().enumerate() {
        let what = format!("damage {number}");
        let dir = damaged_copy(&keeping.tree, path, damaged);
        keeping.check(&dir, true, &what);
        let verify = larder(dir.path()).arg("verify").output().unwrap();
        let found = String::from_utf8(verify.stdout).unwrap();
        assert!(!verify.status.success(), "{what}: {found}");
        assert!(found.contains("keeping/wanted"), "{what}: {found}");
    }
}
