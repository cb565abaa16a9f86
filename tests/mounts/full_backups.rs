//! A directory of backups on a full disk: the backups before stay whole, and the next one goes on.

use std::path::Path;

use crate::common::commands::{done, json, run};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::start;
use crate::mounted::Mounted;

fn problems(dir: &Path) -> serde_json::Value {
    json(dir, "", &["verify", "B"]).pop().unwrap()["problems"].clone()
}

#[test]
fn a_full_disk_ends_a_backup_and_leaves_those_before_whole() {
    let (dir, node) = start();
    let url = node.url("");
    let mounted = Mounted::tmpfs("size=28M", &dir.path().join("B"));
    uploaded(node.address, "first", &content(1, 1 << 20));
    done(dir.path(), &url, &["backup", "B"]);
    for n in 2..12 {
        uploaded(node.address, "long", &content(n, 2 << 20));
        uploaded(node.address, "short", &content(100 + n, 60_000));
    }
    for _ in 0..2 {
        let made = run(dir.path(), &url, &["backup", "B"]);
        let told = String::from_utf8_lossy(&made.stderr).into_owned();
        assert_eq!(made.status.code(), Some(1), "{told}");
        assert!(told.contains("no room is left"), "{told}");
        assert_eq!(problems(dir.path()), 0);
        let listed = json(dir.path(), &url, &["backup", "B", "--list"]);
        assert_eq!(listed.len(), 1);
    }
    done(dir.path(), "", &["restore", "B", "-o", "o"]);
    mounted.remount("size=64M");
    done(dir.path(), &url, &["backup", "B", "--keep", "1"]);
    let summary = json(dir.path(), "", &["verify", "B"]).pop().unwrap();
    assert_eq!(
        (
            &summary["files"],
            &summary["problems"],
            &summary["left_over"]
        ),
        (&21.into(), &0.into(), &0.into())
    );
}
