//! Files of content that somebody makes far longer than they were: what they had to be is read,
//! and told as damaged, and nothing of what came behind.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use larder::blob::local::{LocalBlobs, Options};
use larder::blob::{BlobBackend, Limit, PartialId, Purpose};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::Node;
use crate::common::raw_http::{get, head, send};

const LONG: usize = 3_000_001;
/// A length that nobody reads while a test waits.
const ENDLESS: u64 = 1 << 42;
/// How much may be read to find it out, in bytes.
const MOST: u64 = 64 << 20;

fn grow(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(ENDLESS).unwrap();
}

/// How many bytes the node has read so far, of whatever.
fn read_by(node: &Node) -> u64 {
    let told = fs::read_to_string(format!("/proc/{}/io", node.id())).unwrap();
    let line = told.lines().find_map(|it| it.strip_prefix("rchar: "));
    line.unwrap().parse().unwrap()
}

/// Where a file of a content is, below a directory of such files.
fn path_of(dir: &TempDir, below: &str, file: &Value) -> PathBuf {
    let hash = file["hash"].as_str().unwrap();
    let storage = dir.path().join("peer_storage").join(below);
    storage.join(&hash[..2]).join(hash)
}

#[test]
fn content_that_has_grown_is_damaged_however_it_is_asked_for_and_nobody_reads_on() {
    let outboards: [fn(&Path); 4] = [
        |_| {},
        |path| fs::remove_file(path).unwrap(),
        grow,
        |path| fs::write(path, [7; 1000]).unwrap(),
    ];
    for (case, change) in outboards.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        let mut files = Vec::new();
        for seed in 0..3 {
            let file = uploaded(node.address, "long", &content(seed, LONG));
            grow(&path_of(&dir, "blobs", &file));
            change(&path_of(&dir, "outboards", &file));
            files.push(file);
        }
        let before = read_by(&node);
        let text = |file: &Value, key: &str| file[key].as_str().unwrap().to_owned();
        let hash = text(&files[0], "hash");
        let other = text(&files[1], "hash");
        let id = text(&files[2], "file_id");
        for path in [
            format!("/api/p2p/blob/{hash}"),
            format!("/api/p2p/blob/{other}/bao?start=0&end=1"),
            format!("/api/p2p/file/{id}"),
            format!("/api/p2p/blob/{hash}"),
        ] {
            let refused = get(node.address, &path, &[]);
            assert_eq!(
                refused.refusal(),
                (500, "damaged".to_owned()),
                "{case} {path}"
            );
        }
        let read = read_by(&node) - before;
        assert!(read < MOST, "{case} {read}");
        let health = get(node.address, "/health", &[]).json();
        assert_eq!(health["damaged"], 3, "{case}");
        // The same content mends it.
        let again = uploaded(node.address, "long", &content(0, LONG));
        let answer = get(node.address, &format!("/api/p2p/blob/{hash}"), &[]);
        assert_eq!(answer.body, content(0, LONG), "{case}");
        let id = text(&again, "file_id");
        let answer = send(
            node.address,
            &head("GET", &format!("/api/p2p/file/{id}"), &[]),
        );
        assert_eq!(answer.body, content(0, LONG), "{case}");
        assert!(read_by(&node) - before < 2 * MOST, "{case}");
    }
}

#[tokio::test]
async fn partial_content_that_has_grown_is_not_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = LocalBlobs::open(Options::new(dir.path())).unwrap();
    for purpose in [Purpose::Uploads, Purpose::Copies, Purpose::Repairs] {
        let partials = blobs.partials(purpose);
        partials.prepare().await.unwrap();
        let id = PartialId::of(&[7; 32]);
        let limit = Limit::default();
        let mut partial = partials.resume(&id, 100_000, None, limit).await.unwrap();
        partial.write(content(1, 90_000).into()).await.unwrap();
        partial.sync().await.unwrap();
        drop(partial);
        let dirs = ["uploading", "keeping", "repairing"].map(|it| dir.path().join(it));
        let paths = dirs.map(|it| it.join(id.to_string()));
        let path = paths.iter().find(|it| it.exists()).unwrap();
        grow(path);
        // Until the next one is tried it would take hours.
        let partial = partials.resume(&id, 100_000, None, limit).await.unwrap();
        assert_eq!(partial.received(), 100_001);
        drop(partial);
        partials.remove(&id).await.unwrap();
    }
}
