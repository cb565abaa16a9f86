//! Members of a network of one's own, and what whoever listens on the cable hears of them: all that
//! goes over it is written down.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::member_network::{Network, dirs, printed};
use crate::common::process::{Node, until};
use crate::lan::Lan;

/// Writes down every frame of an interface until its input ends; then prints them.
const CAPTURE: &str = r#"
import select, socket, sys
ALL = 3
capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
capture.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
capture.bind((sys.argv[1], ALL))
print("begun", flush=True)
frames = []
while True:
    ready, _, _ = select.select([capture, sys.stdin], [], [])
    if capture in ready:
        frames.append(capture.recv(1 << 17))
    elif sys.stdin in ready:
        break
sys.stdout.buffer.write(b"".join(frames))
"#;

/// The script, killed on drop.
struct Capture(Child, BufReader<std::process::ChildStdout>);

impl Capture {
    /// Begins to listen on the cable of a node.
    fn start(lan: &Lan, node: u8) -> Self {
        let mut command = lan.command(node, "python3");
        let command = command.args(["-c", CAPTURE, "cable"]).stdin(Stdio::piped());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut said = String::new();
        out.read_line(&mut said).unwrap();
        assert_eq!(said, "begun\n");
        Self(process, out)
    }

    /// Ends it; all that was heard.
    fn end(mut self) -> Vec<u8> {
        drop(self.0.stdin.take());
        let mut heard = Vec::new();
        self.1.read_to_end(&mut heard).unwrap();
        heard
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const TOKEN: &str = "0123456789abcdef";

/// A member that finds others by multicast DNS alone.
fn start(lan: &Lan, node: u8, network: &Network, dir: &TempDir) -> Node {
    network.join(dir, "1d");
    let arguments = ["--listen", "0.0.0.0:5004", "--network", "member"];
    let more = ["--discover-every", "1", "--token", TOKEN];
    lan.start(node, dir, &[&arguments[..], &more].concat())
}

/// What a node answers who has its token, which is asked for on that machine itself.
fn asked(lan: &Lan, node: u8, path: &str) -> Vec<u8> {
    lan.curl(node, &[&format!("http://127.0.0.1:5004{path}")])
}

fn json(lan: &Lan, node: u8, path: &str) -> Value {
    serde_json::from_slice(&asked(lan, node, path)).unwrap()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.replace('-', "");
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// Waits until a node has asked both members, of whom multicast DNS tells, and heard nothing.
fn until_asked_in_vain(stranger: &Node) {
    until("the stranger has asked", || {
        let log = stranger.log();
        let asked = [1, 2].map(|it| Lan::url(it, ""));
        let in_vain = |url: &String| {
            let mut lines = log.lines().filter(|it| it.contains("no peer is there"));
            lines.any(|it| it.contains(url))
        };
        asked.iter().all(in_vain).then_some(())
    });
}

#[test]
fn whoever_listens_on_the_cable_between_members_hears_no_name_hash_key_or_token() {
    let Some(lan) = Lan::of(3) else { return };
    let (network, dirs) = (Network::new(), dirs::<3>());
    let capture = Capture::start(&lan, 1);
    let _nodes = [1, 2].map(|it| start(&lan, it, &network, &dirs[usize::from(it) - 1]));
    let open = [
        "--listen",
        "0.0.0.0:5004",
        "--open",
        "--discover-every",
        "1",
    ];
    let stranger = lan.start(3, &dirs[2], &[&open[..], &["--log", "debug"]].concat());
    let bytes = content(7, 300_000);
    let path = dirs[0].path().join("minutes-of-the-board");
    fs::write(&path, &bytes).unwrap();
    let form = format!("file=@{}", path.display());
    let upload = "http://127.0.0.1:5004/api/p2p/upload";
    let told = lan.curl(1, &["-F", &form, upload]);
    let file = serde_json::from_slice::<Value>(&told).unwrap()["file"].clone();
    let text = |key: &str| file[key].as_str().unwrap().to_owned();
    until("the file is seen", || {
        let seen = json(&lan, 2, "/api/p2p/network");
        (seen["files"][0]["file_id"] == file["file_id"]).then_some(())
    });
    assert_eq!(
        asked(&lan, 2, &format!("/api/p2p/blob/{}", text("hash"))),
        bytes
    );
    let ids = [1, 2].map(|it| {
        let status = json(&lan, it, "/api/p2p/status");
        status["peer"]["peer_id"].as_str().unwrap().to_owned()
    });
    until_asked_in_vain(&stranger);
    assert_eq!(lan.json(3, "/api/peers")["peer_count"], 0);
    let heard = capture.end();
    assert!(heard.len() > bytes.len(), "it went over the cable");
    let keys = [0, 1].map(|it| printed(dirs[it].path(), &["key"]));
    let in_hex = [
        &ids[0],
        &ids[1],
        &keys[0],
        &keys[1],
        network.id.as_str(),
        &text("hash"),
        &text("file_id"),
    ];
    let raw = in_hex.iter().map(|it| bytes_of(it));
    let plain = [
        "minutes-of-the-board",
        TOKEN,
        "/api/p2p/blob",
        "larder-member-1",
    ];
    let plain = plain.iter().chain(&in_hex).map(|it| it.as_bytes().to_vec());
    for secret in raw.chain(plain).chain([bytes[..64].to_vec()]) {
        let shown = String::from_utf8_lossy(&secret).into_owned();
        assert!(
            !heard.windows(secret.len()).any(|it| it == secret),
            "{shown}"
        );
    }
}
