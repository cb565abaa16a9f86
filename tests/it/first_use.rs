//! The commands as somebody meets them who has never used them: what goes wrong is told with what
//! helps, and what other commands do is done here, too.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;

use crate::common::authority::Authority;
use crate::common::commands::{command, done, failed, names};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, larder, start, until};
use crate::common::raw_http::get;
use crate::common::relay::Relay;

const LONG: usize = 1 << 20;

#[test]
fn a_file_goes_into_the_folder_that_is_named() {
    let (_dir, node) = start();
    uploaded(node.address, "../../name.txt", b"bytes");
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    fs::create_dir(here.join("folder")).unwrap();
    std::os::unix::fs::symlink("folder", here.join("link")).unwrap();
    for named in ["folder", "folder/", "./folder/.", "link"] {
        let told = done(here, &url, &["get", "../../name.txt", "-o", named]);
        assert!(told.contains("name.txt"), "{told}");
        assert_eq!(fs::read(here.join("folder/name.txt")).unwrap(), b"bytes");
        // What is there is not replaced without --force, unless it is the same.
        done(here, &url, &["get", "../../name.txt", "-o", named]);
        fs::write(here.join("folder/name.txt"), "of mine").unwrap();
        let (status, told) = failed(here, &url, &["get", "../../name.txt", "-o", named]);
        assert_eq!(status, 1, "{told}");
        assert!(told.contains("name.txt is there already"), "{told}");
        done(
            here,
            &url,
            &["get", "../../name.txt", "-o", named, "--force"],
        );
        fs::remove_file(here.join("folder/name.txt")).unwrap();
    }
    assert_eq!(names(here), ["folder", "link"]);
    // A folder is made, and no file whose name is that of one.
    done(here, &url, &["get", "../../name.txt", "-o", "made/"]);
    assert_eq!(names(&here.join("made")), ["name.txt"]);
    // Where a file is named, whoever has mistyped its folder gets none.
    let mistyped = ["get", "../../name.txt", "-o", "mdae/name.txt"];
    let (status, told) = failed(here, &url, &mistyped);
    assert_eq!(status, 1, "{told}");
    assert!(told.contains("mdae is not there"), "{told}");
    assert_eq!(names(here), ["folder", "link", "made"]);
}

#[test]
fn every_command_tells_its_exit_statuses() {
    let here = tempfile::tempdir().unwrap();
    // Those that it can have, and no others.
    for (name, numbers) in [
        ("put", "0123567"),
        ("get", "01234567"),
        ("keep", "01234567"),
        ("info", "01234567"),
        ("rm", "0123456"),
        ("ls", "012356"),
        ("peers", "01256"),
        ("status", "01256"),
    ] {
        let help = done(here.path(), "http://localhost:1", &[name, "--help"]);
        let (_, statuses) = help.split_once("Exit status:\n").unwrap();
        let told = statuses.lines().filter_map(|line| {
            let (number, _) = line.strip_prefix("  ")?.split_once("  ")?;
            (number.len() == 1).then_some(number)
        });
        assert_eq!(told.collect::<String>(), numbers, "{name}: {statuses}");
    }
    for name in ["serve", "bootstrap", "verify", "rebuild-index"] {
        let help = done(here.path(), "http://localhost:1", &[name, "--help"]);
        let (_, statuses) = help.split_once("Exit status:\n").unwrap();
        assert!(
            statuses.contains("wrong command line or setting"),
            "{statuses}"
        );
    }
}

/// Changes one byte of a stored file.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn damage_is_told_by_every_command_that_meets_it() {
    let (dir, node) = start();
    let file = uploaded(node.address, "f", &content(1, LONG));
    let hash = file["hash"].as_str().unwrap();
    let blob = format!("peer_storage/blobs/{}/{hash}", &hash[..2]);
    damage(&dir.path().join(blob));
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    let (status, told) = failed(here, &url, &["get", "f"]);
    assert_eq!(status, 7, "{told}");
    assert!(told.contains("damaged"), "{told}");
    let status = done(here, &url, &["status"]);
    assert!(status.contains("1 of their contents damaged"), "{status}");
    assert!(status.contains("larder verify"), "{status}");
    let listed = get(node.address, "/api/p2p/network", &[]).json();
    let row = &listed["files"][0];
    assert_eq!(row["damaged"], true, "{row}");
    assert_eq!(row["reachable"], false, "{row}");
    node.stop();
    let verify = larder(dir.path()).arg("verify").output().unwrap();
    assert_eq!(verify.status.code(), Some(1));
    let told = String::from_utf8(verify.stderr).unwrap();
    assert!(told.contains("to upload content again mends it"), "{told}");
    // The same bytes mend it.
    let node = Node::start(&dir, &[]);
    fs::write(here.join("f"), content(1, LONG)).unwrap();
    done(here, &node.url(""), &["put", "f"]);
    let status = done(here, &node.url(""), &["status"]);
    assert!(!status.contains("damaged"), "{status}");
    let listed = get(node.address, "/api/p2p/network", &[]).json();
    for row in listed["files"].as_array().unwrap() {
        assert_eq!(
            (&row["damaged"], &row["reachable"]),
            (&false.into(), &true.into())
        );
    }
}

#[test]
fn a_damaged_journal_is_told_with_what_helps() {
    let (dir, node) = start();
    for number in 0..8 {
        uploaded(node.address, &format!("f{number}"), &content(number, 100));
    }
    node.kill();
    let journal = dir.path().join("peer_storage/journal");
    let segment = fs::read_dir(&journal).unwrap().find_map(|it| {
        let path = it.unwrap().path();
        (path.metadata().unwrap().len() > 500).then_some(path)
    });
    damage(&segment.unwrap());
    for arguments in [&[][..], &["verify"], &["rebuild-index"]] {
        let output = larder(dir.path()).args(arguments).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(
            told.contains("larder rebuild-index --skip-damage"),
            "{arguments:?}: {told}"
        );
    }
    let skipped = larder(dir.path())
        .args(["rebuild-index", "--skip-damage"])
        .output()
        .unwrap();
    // One change is lost with the damage, which is no success.
    assert_eq!(skipped.status.code(), Some(1), "{skipped:?}");
    Node::start(&dir, &[]).stop();
}

/// Fails unless there is a line for each new try, with its number and the reason.
fn assert_tries(told: &str, reason: &str) {
    assert!(told.contains(reason), "{told}");
    for (number, line) in told.lines().enumerate() {
        let tried = format!("({} of ", number + 1);
        assert!(line.starts_with("larder: "), "{told}");
        assert!(line.contains("tries again in "), "{told}");
        assert!(line.contains(&tried), "{told}");
    }
}

#[test]
fn each_new_try_of_a_download_is_told_with_its_reason() {
    let (_dir, node) = start();
    uploaded(node.address, "f", &content(9, 8 << 20));
    let here = tempfile::tempdir().unwrap();
    let relay = Relay::new();
    relay.connect(node.address);
    relay.cut_after(3 << 20);
    let mut running = command(here.path(), &relay.url(), &["get", "f", "-o", "o"]);
    let running = running.stdout(Stdio::null()).stderr(Stdio::piped());
    let running = running.spawn().unwrap();
    until("the connection is cut", || {
        (relay.carried() >= 3 << 20).then_some(())
    });
    relay.mend();
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert_tries(&told, "the connection to the node broke");
}

#[test]
fn each_new_try_of_an_upload_is_told_with_its_reason() {
    let (dir, node) = start();
    let (address, url) = (node.address.to_string(), node.url(""));
    node.stop();
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("sent"), "bytes").unwrap();
    let mut running = command(here.path(), &url, &["put", "sent"]);
    let running = running.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = running.spawn().unwrap();
    let mut stderr = BufReader::new(running.stderr.take().unwrap());
    let mut told = String::new();
    // It tells before it waits, so that whoever waits knows for what.
    stderr.read_line(&mut told).unwrap();
    assert_tries(&told, "no node answers at ");
    let _node = Node::start(&dir, &["--listen", &address]);
    stderr.read_to_string(&mut told).unwrap();
    assert!(running.wait().unwrap().success(), "{told}");
    assert_tries(&told, "no node answers at ");
}

/// A node that shows this certificate.
fn over_tls(certificate: &str, key: &str) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cert.pem"), certificate).unwrap();
    fs::write(dir.path().join("key.pem"), key).unwrap();
    let node = Node::start(&dir, &["--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
    (dir, node)
}

#[test]
fn why_tls_fails_is_told() {
    let authority = Authority::new();
    let known = authority.file().to_str().unwrap().to_owned();
    let other = Authority::new();
    let stranger = other.file().to_str().unwrap().to_owned();
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    for (name, expired, ca, told) in [
        ("localhost", false, Some(&known), ""),
        (
            "localhost",
            true,
            Some(&known),
            "its certificate has expired",
        ),
        (
            "other.example",
            false,
            Some(&known),
            "its certificate is for another name",
        ),
        (
            "localhost",
            false,
            None,
            "nobody that is known here vouches for its certificate",
        ),
        ("localhost", false, Some(&stranger), "certificate"),
    ] {
        let (certificate, key) = authority.vouches(name, expired);
        let (_dir, node) = over_tls(&certificate.pem(), &key.serialize_pem());
        let url = format!("https://localhost:{}", node.address.port());
        let mut arguments = vec!["status"];
        arguments.extend(ca.into_iter().flat_map(|it| ["--ca", it.as_str()]));
        if told.is_empty() {
            done(here, &url, &arguments);
            continue;
        }
        let (status, said) = failed(here, &url, &arguments);
        assert_eq!((status, said.lines().count()), (5, 1), "{said}");
        assert!(said.contains(told), "{said}");
        assert!(
            said.contains("no secure connection to the node at https://"),
            "{said}"
        );
    }
}

#[test]
fn http_and_https_taken_for_each_other_are_told() {
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    let (_dir, plain) = start();
    let url = format!("https://localhost:{}", plain.address.port());
    let (status, told) = failed(here, &url, &["status"]);
    assert_eq!(status, 5, "{told}");
    assert!(told.contains("it does not speak TLS"), "{told}");
    let (certificate, key) = Authority::new().vouches("localhost", false);
    let (_dir, node) = over_tls(&certificate.pem(), &key.serialize_pem());
    let url = format!("http://localhost:{}", node.address.port());
    fs::write(here.join("long"), content(1, 4 << 20)).unwrap();
    for arguments in [&["status"][..], &["ls"], &["put", "long"]] {
        let (status, told) = failed(here, &url, arguments);
        assert_eq!(status, 1, "{told}");
        assert!(told.contains("this port speaks HTTPS"), "{told}");
    }
    let answer = get(node.address, "/health", &[]);
    assert_eq!(answer.refusal(), (400, "https_only".to_owned()));
    // Who says nothing is not waited for by anybody else.
    let mut silent = std::net::TcpStream::connect(node.address).unwrap();
    assert_eq!(get(node.address, "/ready", &[]).status, 400);
    silent.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    // Another server that speaks TLS tells nothing that is HTTP.
    let alone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", alone.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = alone.accept().unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
        // An alert, as it is written to who speaks no TLS.
        stream.write_all(&[21, 3, 3, 0, 2, 2, 70]).unwrap();
    });
    let (status, told) = failed(here, &url, &["status"]);
    assert_eq!(status, 1, "{told}");
    assert!(told.contains("its address begins with https://"), "{told}");
    answering.join().unwrap();
}
