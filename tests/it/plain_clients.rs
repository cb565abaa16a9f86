//! The programs with which people fetch and send files, each as it is called by hand.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, start};
use crate::common::raw_http::get;

const LENGTH: usize = 3 << 20;

/// Runs a program in a directory, and returns what it printed.
fn run(dir: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .current_dir(dir)
        .env("HOME", dir)
        .env("no_proxy", "*")
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("this test runs {program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said + &String::from_utf8_lossy(&output.stdout)
}

/// A node with a file, and a directory for who fetches it.
struct World {
    node: Node,
    url: String,
    bytes: Vec<u8>,
    here: tempfile::TempDir,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let (dir, node) = start();
        let bytes = content(1, LENGTH);
        let file = uploaded(node.address, "a file.bin", &bytes);
        let url = node.url(&format!(
            "/api/p2p/file/{}",
            file["file_id"].as_str().unwrap()
        ));
        let here = tempfile::tempdir().unwrap();
        Self {
            node,
            url,
            bytes,
            here,
            _dir: dir,
        }
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        run(self.here.path(), program, arguments)
    }

    fn assert_has(&self, name: &str) {
        let bytes = fs::read(self.here.path().join(name)).unwrap();
        assert!(bytes == self.bytes, "{name} has {} bytes", bytes.len());
    }

    /// How many bytes the node has sent in answers with this status, by its log.
    fn sent(&self, status: u16) -> Vec<u64> {
        let log = self.node.log();
        let lines = log
            .lines()
            .filter(|it| it.contains("method=GET path=\"/api/p2p/file/"));
        let lines = lines.filter(|it| it.contains(&format!("status={status} ")));
        let sent = lines.map(|it| it.split("sent=").nth(1).unwrap());
        sent.map(|it| it.split(' ').next().unwrap().parse().unwrap())
            .collect()
    }

    /// The files of this name that the node has, by their sizes.
    fn stored(&self, name: &str) -> Vec<u64> {
        let listed = get(
            self.node.address,
            &format!("/api/p2p/files?name={name}"),
            &[],
        )
        .json();
        let files = listed["files"].as_array().unwrap().clone();
        files
            .iter()
            .map(|it| it["size"].as_u64().unwrap())
            .collect()
    }
}

#[test]
fn wget_fetches_a_file_once_and_goes_on_with_the_beginning_of_one() {
    let world = World::new();
    let id = world.url.rsplit('/').next().unwrap().to_owned();
    world.run("wget", &["-q", "-N", &world.url]);
    world.assert_has(&id);
    let before = world.sent(200).len();
    world.run("wget", &["-N", &world.url]);
    assert_eq!(world.sent(304).len(), 1, "{}", world.node.log());
    assert_eq!(world.sent(200).len(), before);

    fs::write(world.here.path().join("begun"), &world.bytes[..LENGTH / 3]).unwrap();
    world.run("wget", &["-q", "-c", "-O", "begun", &world.url]);
    world.assert_has("begun");
    assert_eq!(world.sent(206), [(LENGTH - LENGTH / 3) as u64]);
    world.run("wget", &["-q", "--content-disposition", &world.url]);
    world.assert_has("a file.bin");
}

#[test]
fn aria2_fetches_a_file_over_several_connections() {
    let world = World::new();
    let pieces = ["-q", "-x4", "-s4", "-k1M", "-o", "out", &world.url];
    world.run("aria2c", &pieces);
    world.assert_has("out");
    assert!(world.sent(206).len() > 1, "{}", world.node.log());
    world.run("aria2c", &["-q", &world.url]);
    world.assert_has("a file.bin");
}

#[test]
fn rclone_copies_a_file_from_its_url() {
    let world = World::new();
    world.run("rclone", &["copyurl", &world.url, "out"]);
    world.assert_has("out");
}

#[test]
fn httpie_sends_and_fetches_a_file() {
    let world = World::new();
    world.run(
        "http",
        &["--ignore-stdin", "--download", "-o", "out", &world.url],
    );
    world.assert_has("out");
    let upload = world.node.url("/api/p2p/upload");
    let form = [
        "--ignore-stdin",
        "-f",
        "POST",
        &upload,
        "file@out",
        "description=d",
    ];
    world.run("http", &form);
    assert_eq!(world.stored("out"), [LENGTH as u64]);
}

#[test]
fn curl_sends_a_file_and_a_pipe_as_they_are() {
    let world = World::new();
    fs::write(world.here.path().join("sent"), &world.bytes).unwrap();
    let upload = world.node.url("/api/p2p/upload/");
    world.run("curl", &["-sf", "-T", "sent", &upload]);
    assert_eq!(world.stored("sent"), [LENGTH as u64]);
    let piped = format!("{}of-a-pipe", world.node.url("/api/p2p/upload/"));
    world.run(
        "bash",
        &["-c", &format!("cat sent | curl -sf -T - {piped}")],
    );
    assert_eq!(world.stored("of-a-pipe"), [LENGTH as u64]);
    world.run("curl", &["-sfOJ", &world.url]);
    world.assert_has("a file.bin");
}

#[test]
fn a_player_seeks_in_a_film_without_reading_all_of_it() {
    let world = World::new();
    let made = [
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=duration=120:size=640x480:rate=10",
        "-c:v",
        "mpeg4",
        "-b:v",
        "3M",
        "-g",
        "10",
        "film.mp4",
    ];
    world.run("ffmpeg", &made);
    let film = fs::read(world.here.path().join("film.mp4")).unwrap();
    let stored = uploaded(world.node.address, "film.mp4", &film);
    let url = world.node.url(&format!(
        "/api/p2p/file/{}",
        stored["file_id"].as_str().unwrap()
    ));
    let frame = [
        "-v",
        "error",
        "-ss",
        "100",
        "-i",
        &url,
        "-frames:v",
        "1",
        "frame.png",
    ];
    world.run("ffmpeg", &frame);
    let other = [
        "-v",
        "error",
        "-ss",
        "100",
        "-i",
        "film.mp4",
        "-frames:v",
        "1",
        "other.png",
    ];
    world.run("ffmpeg", &other);
    let picture = |name: &str| fs::read(world.here.path().join(name)).unwrap();
    assert!(picture("frame.png") == picture("other.png"));
    let sent: u64 = world.sent(206).iter().chain(&world.sent(200)).sum();
    assert!(sent < film.len() as u64 / 2, "{sent} of {}", film.len());
}
