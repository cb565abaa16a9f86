//! A log that nobody reads: the node serves and stops as if it were read, and tells later how much
//! of it was lost.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Read, Write, pipe};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::common::process::{larder, until};
use crate::common::raw_http::{connect, get, head, read_answer};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};

/// More lines than a pipe and the queue take together, of so many bytes and some more.
const MANY: usize = 2500;
const LINE: usize = 1500;

/// A server whose standard error goes to a pipe, and what it is called by.
fn start(mut command: Command) -> (Child, PipeReader, SocketAddr) {
    let (read, write) = pipe().unwrap();
    let mut server = command
        .stdout(Stdio::piped())
        .stderr(write)
        .spawn()
        .unwrap();
    // Else this process keeps the pipe open.
    drop(command);
    let mut said = String::new();
    let mut stdout = BufReader::new(server.stdout.take().unwrap());
    stdout.read_line(&mut said).unwrap();
    let (_, address) = said.split_once("http://").unwrap();
    let address = address.split_whitespace().next().unwrap();
    (server, read, address.parse().unwrap())
}

/// Asks `times` for something that is logged, and for each an answer comes.
fn ask(server: SocketAddr, times: usize) {
    let target = format!("/{}", "nothing".repeat(LINE / 7));
    let mut stream = connect(server);
    for _ in 0..times {
        stream.write_all(&head("GET", &target, &[])).unwrap();
        let answer = read_answer(&mut stream, false);
        assert_eq!(answer.status, 404, "{answer:?}");
    }
}

fn is_stopped(mut server: Child) {
    let pid = Pid::from_child(&server);
    kill_process(pid, Signal::TERM).unwrap();
    let status = until("the server ends", || server.try_wait().unwrap());
    assert!(status.success(), "{status}");
}

fn node(dir: &Path, more: &[&str]) -> Command {
    let mut command = larder(dir);
    command.args(["serve", "--log", "debug"]).args(more);
    command
}

#[test]
fn a_node_whose_log_nobody_reads_serves_stops_and_tells_what_was_lost() {
    for more in [&[][..], &["--log-format", "json"]] {
        let dir = tempfile::tempdir().unwrap();
        let (server, read, address) = start(node(dir.path(), more));
        ask(address, MANY);
        assert_eq!(get(address, "/health", &[]).status, 200);
        let mut lines = BufReader::new(read).lines().map(Result::unwrap);
        let told = lines.find(|line| line.contains("lines of the log are lost"));
        let told = told.unwrap();
        assert!(told.contains("WARN"), "{told}");
        let told = told.replace(['"', ':'], "=").replace("==", "=");
        let (_, lost) = told.rsplit_once("lines=").unwrap();
        let lost = lost.trim_end_matches('}').split(',').next().unwrap();
        let lost: usize = lost.trim_start_matches('=').parse().unwrap();
        assert!((1..MANY).contains(&lost), "{told}");
        // From here on it is read.
        ask(address, 1);
        lines.find(|line| line.contains("/nothing")).unwrap();
        let reading = std::thread::spawn(move || lines.last().unwrap());
        is_stopped(server);
        let end = reading.join().unwrap();
        assert!(!end.is_empty(), "the end of the log is not lost");
    }
}

#[test]
fn a_node_whose_log_nobody_reads_heeds_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let (server, read, address) = start(node(dir.path(), &[]));
    ask(address, MANY);
    is_stopped(server);
    drop(read);
}

#[test]
fn a_bootstrap_server_whose_log_nobody_reads_serves_and_heeds_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = larder(dir.path());
    command.args(["bootstrap", "--listen", "127.0.0.1:0", "--log", "debug"]);
    let (server, read, address) = start(command);
    ask(address, MANY);
    is_stopped(server);
    drop(read);
}

#[test]
fn a_start_whose_log_nobody_reads_serves_and_one_that_fails_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (read, mut write) = pipe().unwrap();
    // Not even the first line finds a place, on standard output neither.
    let mut full = larder(dir.path());
    full.stdout(write.try_clone().unwrap());
    full.stderr(write.try_clone().unwrap());
    fcntl_setfl(&write, OFlags::NONBLOCK).unwrap();
    while write.write(&[b'x'; 4096]).is_ok() {}
    while write.write(b"x").is_ok() {}
    fcntl_setfl(&write, OFlags::empty()).unwrap();
    full.args(["serve", "--port", "0"]);
    let mut node = full.spawn().unwrap();
    let lock = dir.path().join("peer_storage/larder.lock");
    until("the node has its storage", || {
        File::open(&lock)
            .ok()?
            .read_to_string(&mut String::new())
            .ok()
    });
    // Another is refused, which it cannot tell, either.
    let mut second = full.spawn().unwrap();
    let status = until("the second ends", || second.try_wait().unwrap());
    assert_eq!(status.code(), Some(1));
    kill_process(Pid::from_child(&node), Signal::TERM).unwrap();
    let status = until("the node ends", || node.try_wait().unwrap());
    assert!(status.success(), "{status}");
    drop((read, full));
}
