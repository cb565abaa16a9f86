//! A power cut as an upgrade is about to change something, whatever that is: what the disk has come
//! to is a directory of before or one that is brought up, and with the files of before.
//!
//! What survives of that which was not synced is drawn for each cut. One step of three is cut at,
//! and with `LARDER_SOAK` each several times.

use std::fs;
use std::path::Path;

use crate::common::older::unpack_storage;
use crate::common::power::Power;
use crate::common::process::larder;
use crate::common::random::Random;
use crate::common::traced::is_killed_at;

/// What an upgrade asks of the system to change anything, but for syncs: of these it is noted what
/// they make durable.
const CALLS: [&str; 4] = [
    "mkdir,mkdirat",
    "rename,renameat,renameat2",
    "unlink,unlinkat,rmdir",
    "pwrite64,write,ftruncate",
];
const CONTENTS: &str = "5 files, 3 blobs of 100006 bytes: 0 problems\n";
/// Of each kind that many are enough by far.
const MOST: usize = 300;

/// What a command prints that does what it should.
fn said(dir: &Path, command: &str) -> String {
    let output = larder(dir).arg(command).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Cuts the power as an upgrade of what is in this archive is about to do this for the nth time,
/// and checks what another one makes of what is left; whether the first had not come to its end.
fn cut_and_check(
    archive: &str,
    (calls, number): (&str, usize),
    power: &Power,
    random: &mut Random,
) -> bool {
    let dir = unpack_storage(archive);
    let storage = dir.path().join("peer_storage");
    power.all_is_durable(&storage);
    let mut upgrade = larder(dir.path());
    power.watches(&mut upgrade);
    let was_killed = is_killed_at(upgrade.arg("upgrade"), calls, number);
    power.cut(&storage, random);
    said(dir.path(), "upgrade");
    let place = format!("{archive}, {calls} {number}");
    let format = fs::read_to_string(storage.join("larder.format")).unwrap();
    assert_eq!(format, "larder 2\n", "{place}");
    assert_eq!(said(dir.path(), "verify"), CONTENTS, "{place}");
    assert!(!storage.join("upgrading").exists(), "{place}");
    was_killed
}

#[test]
fn an_upgrade_whose_power_is_cut_at_any_step_leaves_all_files() {
    let mut random = Random::from_environment();
    let is_whole = std::env::var_os("LARDER_SOAK").is_some();
    let (rounds, stride) = if is_whole { (8, 1) } else { (1, 3) };
    let library = tempfile::tempdir().unwrap();
    let power = Power::new(&library);
    for calls in CALLS {
        let mut cuts = 0;
        for archive in ["format-1.tar.gz", "format-2-first.tar.gz"] {
            for number in (1..).step_by(stride) {
                assert!(number < MOST, "{calls}");
                let place = (calls, number);
                // All rounds are over before it counts whether there was anything left to cut.
                let killed = (0..rounds)
                    .filter(|_| cut_and_check(archive, place, &power, &mut random))
                    .count();
                if killed == 0 {
                    break;
                }
                cuts += killed;
            }
        }
        println!("{calls}: {cuts} cuts");
        // Otherwise the test did not test.
        assert!(cuts > 1, "{calls}");
    }
}
