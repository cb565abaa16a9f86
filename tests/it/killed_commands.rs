//! A command that is killed at any moment, and typed again until it ends, ends in the state that
//! one would have reached which nobody disturbed.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use larder::access::Token;
use larder::hash::BlobHash;

use crate::common::commands::{Printing, command};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::until_sees;
use crate::common::process::{Node, larder, start, until};
use crate::common::random::Random;
use crate::common::raw_http::get;
use crate::common::relay::Relay;

const MIB: usize = 1 << 20;
/// How often each command is begun, and killed at some moment, before it may end.
const KILLS: u64 = 4;
/// How often all of that is done for each command.
const ROUNDS: u64 = 4;

/// The files of a node, in the order of their names: each name with its hash.
fn files(node: SocketAddr) -> Vec<(String, String)> {
    let files = get(node, "/api/p2p/files", &[]).json();
    let text = |it: &serde_json::Value, key: &str| it[key].as_str().unwrap().to_owned();
    let files = files["files"].as_array().unwrap().iter();
    let mut files: Vec<_> = files
        .map(|it| (text(it, "original_name"), text(it, "hash")))
        .collect();
    files.sort();
    files
}

/// All that is below a folder, hidden files included, but for what commands note down.
fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .strip_prefix(folder)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            if name.starts_with("state") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// A command that runs.
struct Typed<'a> {
    here: &'a Path,
    url: String,
    arguments: &'a [&'a str],
    /// What it reads, where it reads anything.
    input: Option<&'a [u8]>,
}

/// How often a command has come to its end.
#[derive(Debug, Default)]
struct Ends {
    /// It ended by itself.
    surely: usize,
    /// It was killed when it had printed as many lines as one that ends.
    perhaps: usize,
}

impl Typed<'_> {
    fn start(&self) -> Child {
        let mut command = command(self.here, &self.url, self.arguments);
        let printed = File::create(self.here.join("state-printed")).unwrap();
        command.stdout(printed).stderr(Stdio::null());
        command.stdin(if self.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        let mut child = command.spawn().unwrap();
        if let Some(input) = self.input {
            // It may be killed before it has read everything.
            let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
            std::thread::spawn(move || stdin.write_all(&input));
        }
        child
    }

    /// How many lines it has printed.
    fn printed(&self) -> usize {
        let printed = fs::read_to_string(self.here.join("state-printed"));
        printed.unwrap().lines().count()
    }

    /// Begins it and kills it a few times, each at some moment of the time that it took
    /// undisturbed, when it printed so many lines; and then lets it end.
    fn disturbed(&self, random: &mut Random, took: Duration, lines: usize) -> Ends {
        let mut ends = Ends::default();
        for _ in 0..KILLS {
            let mut child = self.start();
            let moment = took * u32::try_from(random.below(1100)).unwrap() / 1000;
            let until_then = Instant::now() + moment;
            while Instant::now() < until_then && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_micros(200));
            }
            let _ = child.kill();
            let status = child.wait().unwrap();
            ends.surely += usize::from(status.success());
            ends.perhaps += usize::from(status.code().is_none() && self.printed() == lines);
        }
        self.ends();
        ends.surely += 1;
        ends
    }

    /// Lets it end; what it has removed already, it does not find.
    fn ends(&self) {
        let status = self.start().wait().unwrap();
        let is_removal = self.arguments[0] == "rm" && status.code() == Some(3);
        assert!(
            status.success() || is_removal,
            "{:?}: {status}",
            self.arguments
        );
    }
}

/// A folder with files of several lengths.
fn folder(here: &Path) {
    fs::create_dir_all(here.join("d/e")).unwrap();
    for (number, name) in ["d/a", "d/b", "d/e/c", "d/e/d", "d/f"].iter().enumerate() {
        let length = [MIB, 10, 3 * MIB, 100_000, 70_000][number];
        let seed = u32::try_from(number).unwrap() + 7;
        fs::write(here.join(name), content(seed, length)).unwrap();
    }
}

#[test]
fn an_upload_that_is_killed_anywhere_is_stored_once() {
    let mut random = Random::from_environment();
    let piped = content(3, 2 * MIB);
    for (arguments, input) in [
        (&["put", "d"][..], None),
        (&["put", "d/a", "--name", "x", "--description", "y"], None),
        (&["put", "-", "--name", "piped"], Some(&piped[..])),
    ] {
        let mut wanted = None;
        for round in 0..=ROUNDS {
            let (_dir, node) = start();
            let here = tempfile::tempdir().unwrap();
            folder(here.path());
            let typed = Typed {
                here: here.path(),
                url: node.url(""),
                arguments,
                input,
            };
            let began = Instant::now();
            match &wanted {
                None => {
                    typed.ends();
                    wanted = Some((files(node.address), began.elapsed()));
                }
                Some((wanted, took)) => {
                    let ends = typed.disturbed(&mut random, *took, wanted.len());
                    let there = files(node.address);
                    assert!(there.iter().all(|it| wanted.contains(it)), "{there:?}");
                    for file in wanted {
                        // Each that comes to its end stores each file once.
                        let count = there.iter().filter(|it| *it == file).count();
                        let right = ends.surely..=ends.surely + ends.perhaps;
                        assert!(
                            right.contains(&count),
                            "{arguments:?}, round {round}: {count} of {file:?}, {ends:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_download_that_is_killed_anywhere_leaves_the_files_and_nothing_else() {
    let mut random = Random::from_environment();
    let (_dir, node) = start();
    for (number, name) in ["d/a", "d/b", "d/e/c", "alone"].iter().enumerate() {
        let length = [3 * MIB, 10, MIB, 5 * MIB][number];
        uploaded(
            node.address,
            name,
            &content(u32::try_from(number).unwrap(), length),
        );
    }
    for arguments in [
        &["get", "d"][..],
        &["get", "alone", "-o", "new/"],
        &["get", "alone", "-o", "there", "--force"],
        &["get", "d", "alone", "--force"],
    ] {
        let mut wanted = None;
        for round in 0..=ROUNDS {
            let here = tempfile::tempdir().unwrap();
            fs::write(here.path().join("there"), "of before").unwrap();
            let typed = Typed {
                here: here.path(),
                url: node.url(""),
                arguments,
                input: None,
            };
            let began = Instant::now();
            match &wanted {
                None => {
                    typed.ends();
                    wanted = Some((tree(here.path()), began.elapsed()));
                }
                Some((tree_then, took)) => {
                    typed.disturbed(&mut random, *took, usize::MAX);
                    let there = tree(here.path());
                    let names: Vec<_> = there.iter().map(|it| &it.0).collect();
                    assert!(
                        there == *tree_then,
                        "{arguments:?}, round {round}: {names:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_removal_that_is_killed_anywhere_ends_with_nothing_left() {
    let mut random = Random::from_environment();
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let mut took = Duration::from_millis(200);
    for _ in 0..=ROUNDS {
        for name in ["d/a", "d/b", "c", "c", "stays"] {
            uploaded(node.address, name, name.as_bytes());
        }
        let typed = Typed {
            here: here.path(),
            url: node.url(""),
            arguments: &["rm", "d", "c"],
            input: None,
        };
        let began = Instant::now();
        typed.disturbed(&mut random, took, usize::MAX);
        took = began.elapsed() / u32::try_from(KILLS).unwrap();
        let left = files(node.address);
        assert!(left.iter().all(|(name, _)| name == "stays"), "{left:?}");
    }
}

#[test]
fn a_copy_whose_command_is_killed_anywhere_is_made_once() {
    let mut random = Random::from_environment();
    let other_dir = tempfile::tempdir().unwrap();
    let other = Node::start(&other_dir, &["--discover-every", "1"]);
    let dir = tempfile::tempdir().unwrap();
    let peer = other.url("");
    let node = Node::start(&dir, &["--discover-every", "1", "--peer", &peer]);
    let here = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for round in 0..ROUNDS {
        let names = ["a", "b"].map(|it| format!("{it}{round}"));
        for (name, length) in names.iter().zip([MIB, 100]) {
            let bytes = content(u32::try_from(round).unwrap(), length);
            uploaded(other.address, name, &bytes);
            all.push((name.clone(), BlobHash::of(&bytes).to_string()));
        }
        let known: Vec<_> = all.iter().map(|(name, _)| &**name).collect();
        until_sees(node.address, &known);
        let typed = Typed {
            here: here.path(),
            url: node.url(""),
            arguments: &["keep", &names[0], &names[1]],
            input: None,
        };
        typed.disturbed(&mut random, Duration::from_millis(400), usize::MAX);
    }
    all.sort();
    assert_eq!(files(node.address), all);
}

#[test]
fn an_index_that_is_rebuilt_and_killed_anywhere_holds_every_file_in_the_end() {
    let mut random = Random::from_environment();
    let (dir, node) = start();
    for number in 0..200 {
        uploaded(node.address, &number.to_string(), &[number; 10]);
    }
    let all = files(node.address);
    node.stop();
    let rebuild = || {
        let mut command = larder(dir.path());
        command.arg("rebuild-index");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let began = Instant::now();
    assert!(rebuild().wait().unwrap().success());
    let took = began.elapsed();
    for round in 0..ROUNDS {
        for _ in 0..KILLS {
            let mut child = rebuild();
            std::thread::sleep(took * u32::try_from(random.below(1100)).unwrap() / 1000);
            let _ = child.kill();
            child.wait().unwrap();
        }
        // A node that is started instead has all of it, too.
        if round % 2 == 0 {
            assert!(rebuild().wait().unwrap().success(), "round {round}");
        }
        let node = Node::start(&dir, &[]);
        assert_eq!(files(node.address), all, "round {round}");
        node.stop();
    }
}

#[test]
fn a_token_whose_command_is_killed_anywhere_is_known_to_whoever_asked_for_it() {
    let mut random = Random::from_environment();
    let mut took = Duration::from_millis(100);
    for round in 0..4 * ROUNDS {
        let here = tempfile::tempdir().unwrap();
        let tokens = here.path().join("tokens");
        // Somebody has written a line by hand, and no end of it.
        let before = format!("by-hand read {}", "0".repeat(64));
        fs::write(&tokens, &before).unwrap();
        fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600)).unwrap();
        let arguments = ["token", "a", "--rights", "write", "--tokens", "tokens"];
        let shown = here.path().join("shown");
        let start = || {
            let printed = File::options().append(true).create(true).open(&shown);
            let mut command = command(here.path(), "http://localhost:1", &arguments);
            command.stdout(printed.unwrap()).stderr(Stdio::null());
            command.spawn().unwrap()
        };
        let began = Instant::now();
        for _ in 0..KILLS {
            let mut child = start();
            std::thread::sleep(took * u32::try_from(random.below(1100)).unwrap() / 1000);
            let _ = child.kill();
            child.wait().unwrap();
        }
        // It is made now, or was before.
        let status = start().wait().unwrap().code();
        took = began.elapsed() / u32::try_from(KILLS + 1).unwrap();
        assert!(matches!(status, Some(0 | 1)), "round {round}: {status:?}");
        let text = fs::read_to_string(&tokens).unwrap();
        let (first, own) = text.split_once('\n').unwrap();
        assert_eq!(first, before, "round {round}: {text}");
        let own = own.strip_suffix('\n').unwrap();
        let hash = own.strip_prefix("a write ").unwrap();
        let shown = fs::read_to_string(&shown).unwrap();
        let known = shown.lines().filter_map(|it| it.parse::<Token>().ok());
        let known = known.filter(|it| it.hash() == hash);
        assert_eq!(known.count(), 1, "round {round}: {text}, {shown}");
    }
}

#[test]
fn tokens_that_are_made_at_the_same_time_are_all_added() {
    let here = tempfile::tempdir().unwrap();
    let start = |name: &str| {
        let arguments = ["token", name, "--rights", "read", "--tokens", "tokens"];
        let mut command = command(here.path(), "http://localhost:1", &arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let names: Vec<_> = (0..8).map(|it| (it / 2).to_string()).collect();
    let children: Vec<_> = names.iter().map(|it| start(it)).collect();
    let ended = children
        .into_iter()
        .map(|mut it| it.wait().unwrap().success());
    // Of each two with one name one is refused.
    assert_eq!(ended.filter(|it| *it).count(), 4);
    let text = fs::read_to_string(here.path().join("tokens")).unwrap();
    let mut added: Vec<_> = text
        .lines()
        .map(|it| it.split(' ').next().unwrap())
        .collect();
    added.sort_unstable();
    assert_eq!(added, ["0", "1", "2", "3"]);
}

#[test]
fn a_token_that_cannot_be_printed_is_not_added() {
    let here = tempfile::tempdir().unwrap();
    let arguments = ["token", "a", "--rights", "read", "--tokens", "tokens"];
    let mut token = command(here.path(), "http://localhost:1", &arguments);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = token.stdout(full).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("cannot be printed, and is not added"),
        "{told}"
    );
    assert!(!here.path().join("tokens").exists());
}

#[test]
fn standard_output_goes_on_when_the_node_was_killed_and_started_again() {
    let (dir, node) = start();
    let bytes = content(9, 24 * MIB);
    uploaded(node.address, "f", &bytes);
    let relay = Relay::new();
    relay.connect(node.address);
    let here = tempfile::tempdir().unwrap();
    relay.stall_after(6 * MIB as u64);
    let get = Printing::start(here.path(), &relay.url(), &["get", "f", "-o", "-"]);
    until("some has come", || {
        (relay.carried() >= 6 * MIB as u64).then_some(())
    });
    let address = node.address.to_string();
    node.kill();
    let _node = Node::start(&dir, &["--listen", &address]);
    relay.mend();
    assert!(get.done() == bytes);
}
