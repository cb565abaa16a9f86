//! `larder get` leaves nothing under a file's name but the file, whatever runs beside it, was
//! left before it or is put in its way, and whatever the node sends.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, FileTypeExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use larder::hash::BlobHash;

use crate::common::commands::{Printing, command, done, failed, names, run};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{start, until};
use crate::common::relay::Relay;

const MIB: usize = 1 << 20;
const ROOT: u32 = 0;

/// Where `larder get -o o` has its partial file.
fn partial(dir: &Path, bytes: &[u8]) -> PathBuf {
    let hash = BlobHash::of(bytes).to_string();
    dir.join(format!(".o.{}.part", &hash[..12]))
}

#[test]
fn two_at_once_to_one_name_both_bring_the_right_bytes() {
    let (_dir, node) = start();
    let bytes = content(1, 12 * MIB);
    let id = uploaded(node.address, "g", &bytes)["file_id"].clone();
    for flags in [&[][..], &["--force"]] {
        for _ in 0..4 {
            let here = tempfile::tempdir().unwrap();
            let arguments = [&["get", id.as_str().unwrap(), "-o", "o"], flags].concat();
            let get = || {
                let mut get = command(here.path(), &node.url(""), &arguments);
                get.stdout(Stdio::null());
                get.stderr(Stdio::piped()).spawn().unwrap()
            };
            let running = [get(), get(), get()];
            for each in running {
                let output = each.wait_with_output().unwrap();
                let told = String::from_utf8(output.stderr).unwrap();
                // One that begins when another has ended is told so.
                let is_late = flags.is_empty() && told.contains("is there already");
                assert!(output.status.success() || is_late, "{told}");
            }
            assert!(fs::read(here.path().join("o")).unwrap() == bytes);
            assert_eq!(names(here.path()), ["o"]);
        }
    }
}

#[test]
fn of_two_files_that_come_to_one_name_one_is_there_whole() {
    let (_dir, node) = start();
    let contents = [content(2, 6 * MIB), content(3, 6 * MIB)];
    uploaded(node.address, "a", &contents[0]);
    uploaded(node.address, "b", &contents[1]);
    for _ in 0..4 {
        let here = tempfile::tempdir().unwrap();
        let get = |name| {
            let mut get = command(here.path(), &node.url(""), &["get", name, "-o", "o"]);
            get.stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        let running = [get("a"), get("b")];
        let ended = running.map(|mut it| it.wait().unwrap().success());
        let there = fs::read(here.path().join("o")).unwrap();
        for (content, ended) in contents.iter().zip(ended) {
            assert_eq!(*content == there, ended);
        }
        assert!(ended[0] != ended[1]);
    }
}

/// Puts something where the partial file would be.
type Plant = fn(dir: &Path, at: &Path);

const PLANTS: [(&str, Plant); 9] = [
    ("a link to a file", |dir, at| {
        symlink(dir.join("victim"), at).unwrap();
    }),
    ("a link to nothing", |dir, at| {
        symlink(dir.join("none"), at).unwrap();
    }),
    ("a link to a device", |_, at| {
        symlink("/dev/zero", at).unwrap();
    }),
    ("a link to a folder", |dir, at| symlink(dir, at).unwrap()),
    ("a second name", |dir, at| {
        fs::hard_link(dir.join("victim"), at).unwrap();
    }),
    ("a pipe", |_, at| {
        assert!(Command::new("mkfifo").arg(at).status().unwrap().success());
    }),
    ("a folder", |_, at| fs::create_dir(at).unwrap()),
    ("a file that others may write to", |_, at| {
        fs::write(at, "victim").unwrap();
        fs::set_permissions(at, Permissions::from_mode(0o666)).unwrap();
    }),
    ("a file of another user", |_, at| {
        fs::write(at, "victim").unwrap();
        fs::set_permissions(at, Permissions::from_mode(0o644)).unwrap();
        if rustix::process::geteuid().as_raw() == ROOT {
            chown(at, Some(1), Some(1)).unwrap();
        } else {
            // Which only root can make; the next best is one that cannot be written.
            fs::set_permissions(at, Permissions::from_mode(0o444)).unwrap();
        }
    }),
];

#[test]
fn what_is_put_in_the_place_of_a_partial_file_is_neither_followed_nor_changed() {
    let (_dir, node) = start();
    let bytes = content(4, MIB);
    uploaded(node.address, "f", &bytes);
    for (what, plant) in PLANTS {
        let (here, apart) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let victim = apart.path().join("victim");
        fs::write(&victim, "victim").unwrap();
        let partial = partial(here.path(), &bytes);
        plant(apart.path(), &partial);
        let planted = partial.symlink_metadata().unwrap();
        done(here.path(), &node.url(""), &["get", "f", "-o", "o"]);
        assert!(fs::read(here.path().join("o")).unwrap() == bytes, "{what}");
        assert_eq!(fs::read(&victim).unwrap(), b"victim", "{what}");
        assert_eq!(names(apart.path()), ["victim"], "{what}");
        let after = partial.symlink_metadata().unwrap();
        assert_eq!(after.file_type(), planted.file_type(), "{what}");
        if planted.is_file() {
            assert_eq!(fs::read(&partial).unwrap(), b"victim", "{what}");
        }
        assert_eq!(
            names(here.path()).len(),
            2,
            "{what}: {:?}",
            names(here.path())
        );
    }
}

#[test]
fn what_an_earlier_command_has_left_is_taken_up_or_begun_anew_but_never_believed() {
    let (_dir, node) = start();
    let bytes = content(5, MIB);
    uploaded(node.address, "f", &bytes);
    let (here, url) = (tempfile::tempdir().unwrap(), node.url(""));
    let (here, target) = (here.path(), here.path().join("o"));
    let get = ["get", "f", "-o", "o"];
    let mut wrong = bytes.clone();
    wrong[7] ^= 1;
    let longer = [&bytes[..], b"and more"].concat();
    for (left, is_damaged) in [
        (&bytes[..0], false),
        (&bytes[..MIB / 2], false),
        (&bytes[..], false),
        (&longer[..], false),
        (&wrong[..MIB / 2], true),
        (&wrong[..], true),
    ] {
        let partial = partial(here, &bytes);
        fs::write(&partial, left).unwrap();
        fs::set_permissions(&partial, Permissions::from_mode(0o600)).unwrap();
        let output = run(here, &url, &get);
        assert!(output.status.success(), "{} bytes: {output:?}", left.len());
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(told.contains("f begins anew"), is_damaged, "{told}");
        assert!(fs::read(&target).unwrap() == bytes);
        assert_eq!(names(here), ["o"]);
        fs::remove_file(&target).unwrap();
    }
}

#[test]
fn what_is_written_to_a_partial_file_while_it_comes_is_found_out() {
    let (_dir, node) = start();
    let bytes = content(6, 4 * MIB);
    uploaded(node.address, "f", &bytes);
    let relay = Relay::new();
    relay.connect(node.address);
    let here = tempfile::tempdir().unwrap();
    relay.stall_after(2 * MIB as u64);
    let running = command(here.path(), &relay.url(), &["get", "f", "-o", "o"]).spawn();
    let partial = partial(here.path(), &bytes);
    until("something has come", || {
        (partial.metadata().ok()?.len() > 0).then_some(())
    });
    let written = File::options().write(true).open(&partial).unwrap();
    written.write_all_at(&[!bytes[0]], 0).unwrap();
    relay.mend();
    assert_eq!(running.unwrap().wait().unwrap().code(), Some(7));
    assert_eq!(names(here.path()), Vec::<String>::new());
    done(here.path(), &node.url(""), &["get", "f", "-o", "o"]);
    assert!(fs::read(here.path().join("o")).unwrap() == bytes);
}

#[test]
fn what_another_command_has_finished_and_tidied_up_meanwhile_is_done() {
    let (_dir, node) = start();
    let bytes = content(11, 4 * MIB);
    uploaded(node.address, "f", &bytes);
    let relay = Relay::new();
    relay.connect(node.address);
    let cases = [
        (&[][..], Some(&bytes[..]), 0),
        (&["--force"], Some(&bytes[..]), 0),
        (&[], Some(&b"of somebody else"[..]), 1),
        (&[], None, 1),
    ];
    for (flags, appears, status) in cases {
        let here = tempfile::tempdir().unwrap();
        relay.stall_after(2 * MIB as u64);
        let arguments = [&["get", "f", "-o", "o"], flags].concat();
        let mut get = command(here.path(), &relay.url(), &arguments);
        let get = get.stdout(Stdio::null()).stderr(Stdio::piped());
        let running = get.spawn().unwrap();
        let partial = partial(here.path(), &bytes);
        until("something has come", || {
            (partial.metadata().ok()?.len() > 0).then_some(())
        });
        if let Some(appears) = appears {
            fs::write(here.path().join("o"), appears).unwrap();
        }
        fs::remove_file(&partial).unwrap();
        relay.mend();
        let output = running.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{flags:?}: {output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        let is_told = told.contains("somebody has removed the partial file");
        assert_eq!(is_told, status == 1, "{flags:?}: {told}");
        let there = fs::read(here.path().join("o")).ok();
        assert!(there.as_deref() == appears, "{flags:?}");
    }
}

#[test]
fn a_file_that_appears_meanwhile_is_not_replaced() {
    let (_dir, node) = start();
    let bytes = content(7, 4 * MIB);
    uploaded(node.address, "f", &bytes);
    let relay = Relay::new();
    relay.connect(node.address);
    for (appears, status) in [(&b"of somebody else"[..], 1), (&bytes[..], 0)] {
        let here = tempfile::tempdir().unwrap();
        relay.stall_after(2 * MIB as u64);
        let mut get = command(here.path(), &relay.url(), &["get", "f", "-o", "o"]);
        let running = get
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let partial = partial(here.path(), &bytes);
        until("something has come", || {
            (partial.metadata().ok()?.len() > 0).then_some(())
        });
        fs::write(here.path().join("o"), appears).unwrap();
        relay.mend();
        let output = running.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(told.contains("is there already"), status == 1, "{told}");
        assert!(fs::read(here.path().join("o")).unwrap() == appears);
    }
}

#[test]
fn only_a_file_is_replaced_and_only_by_force() {
    let (_dir, node) = start();
    uploaded(node.address, "f", b"new");
    let url = node.url("");
    let plants: [(&str, Plant); 3] = [
        ("a link", |dir, at| symlink(dir.join("victim"), at).unwrap()),
        ("a link", |dir, at| symlink(dir.join("none"), at).unwrap()),
        ("no file", |_, at| {
            assert!(Command::new("mkfifo").arg(at).status().unwrap().success());
        }),
    ];
    for (kind, plant) in plants {
        let (here, apart) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(apart.path().join("victim"), "victim").unwrap();
        let (here, target) = (here.path(), here.path().join("o"));
        plant(apart.path(), &target);
        let planted = target.symlink_metadata().unwrap().file_type();
        let (status, told) = failed(here, &url, &["get", "f", "-o", "o"]);
        assert_eq!(
            (status, told.contains("is there already")),
            (1, true),
            "{told}"
        );
        let (status, told) = failed(here, &url, &["get", "f", "-o", "o", "--force"]);
        assert_eq!(status, 1, "{told}");
        assert!(
            told.contains(&format!("o is {kind}, which is not replaced")),
            "{told}"
        );
        assert_eq!(target.symlink_metadata().unwrap().file_type(), planted);
        assert_eq!(planted.is_fifo(), kind == "no file");
        assert_eq!(names(here), ["o"]);
        assert_eq!(names(apart.path()), ["victim"]);
        assert_eq!(fs::read(apart.path().join("victim")).unwrap(), b"victim");
    }
}

#[test]
fn a_file_that_is_replaced_keeps_its_mode_and_a_new_one_has_what_the_umask_says() {
    let (_dir, node) = start();
    uploaded(node.address, "f", b"new");
    let here = tempfile::tempdir().unwrap();
    let target = here.path().join("o");
    let mode = || target.metadata().unwrap().permissions().mode() & 0o7777;
    for old in [0o600, 0o640, 0o755, 0o444] {
        fs::write(&target, "old").unwrap();
        fs::set_permissions(&target, Permissions::from_mode(old)).unwrap();
        done(
            here.path(),
            &node.url(""),
            &["get", "f", "-o", "o", "--force"],
        );
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(mode(), old, "{:o}", mode());
        fs::remove_file(&target).unwrap();
    }
    for (umask, new) in [("022", 0o644), ("077", 0o600), ("002", 0o664)] {
        let larder = env!("CARGO_BIN_EXE_larder");
        let typed = format!(
            "umask {umask}; exec '{larder}' get f -o o --node {}",
            node.url("")
        );
        let mut shell = Command::new("sh");
        shell.current_dir(here.path()).args(["-c", &typed]);
        assert!(shell.output().unwrap().status.success());
        assert_eq!(mode(), new, "{:o}", mode());
        fs::remove_file(&target).unwrap();
    }
}

#[test]
fn a_killed_download_goes_on_and_leaves_nothing_else() {
    let (_dir, node) = start();
    let bytes = content(8, 8 * MIB);
    uploaded(node.address, "f", &bytes);
    let relay = Relay::new();
    relay.connect(node.address);
    let here = tempfile::tempdir().unwrap();
    let partial = partial(here.path(), &bytes);
    relay.stall_after(4 * MIB as u64);
    let get = || command(here.path(), &relay.url(), &["get", "f", "-o", "o"]).spawn();
    let (mut first, mut second) = (get().unwrap(), get().unwrap());
    until("something has come", || {
        (partial.metadata().ok()?.len() > 0).then_some(())
    });
    for killed in [&mut first, &mut second] {
        killed.kill().unwrap();
        killed.wait().unwrap();
    }
    let before = partial.metadata().unwrap().len();
    relay.mend();
    let carried = relay.carried();
    done(here.path(), &relay.url(), &["get", "f", "-o", "o"]);
    assert!(relay.carried() - carried < bytes.len() as u64 - before + MIB as u64 / 4);
    assert!(fs::read(here.path().join("o")).unwrap() == bytes);
    assert_eq!(names(here.path()), ["o"]);
}

#[test]
fn standard_output_goes_on_where_the_connection_was_cut() {
    let (_dir, node) = start();
    let bytes = content(9, 8 * MIB);
    uploaded(node.address, "f", &bytes);
    let relay = Relay::new();
    relay.connect(node.address);
    let here = tempfile::tempdir().unwrap();
    relay.cut_after(3 * MIB as u64);
    let get = Printing::start(here.path(), &relay.url(), &["get", "f", "-o", "-"]);
    until("the connection is cut", || {
        (relay.carried() >= 3 * MIB as u64).then_some(())
    });
    relay.mend();
    assert!(get.done() == bytes);
}

#[test]
fn who_asks_by_hash_is_told_why_there_is_nothing() {
    let (dir, node) = start();
    let bytes = content(11, 2 * MIB);
    let file = uploaded(node.address, "f", &bytes);
    let hash = file["hash"].as_str().unwrap();
    let shard = dir.path().join("peer_storage/blobs").join(&hash[..2]);
    fs::write(shard.join(hash), b"short").unwrap();
    let here = tempfile::tempdir().unwrap();
    let (status, told) = failed(here.path(), &node.url(""), &["get", hash, "-o", "o"]);
    assert_eq!(status, 7, "{told}");
    assert!(told.contains("what the node stored is damaged"), "{told}");
}
