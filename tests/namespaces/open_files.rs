//! Hosts that hold all connections and open files that they can, and one that is answered beside
//! them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::common::content::content;
use crate::common::process::until;
use crate::lan::Lan;

/// As many files as the node may have open.
const FILES: u32 = 400;
/// Longer than what the buffers between node and client hold.
const LONG: usize = 16 << 20;

/// Holds everything that can be held at a node until its input ends: connections without a
/// request, downloads that nobody reads, uploads that stand still, in one request and in parts,
/// streams of events; and comes again wherever it is refused or cut.
const HOLDER: &str = r#"
import socket, sys, threading
address, file, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
T = "Tus-Resumable: 1.0.0\r\n"
def head(first, *lines):
    return (first + f" HTTP/1.1\r\nHost: {address}:5004\r\n" + "".join(it + "\r\n" for it in lines) + "\r\n").encode()
def held(request):
    it = socket.socket()
    it.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    it.settimeout(5)
    it.connect((address, 5004))
    it.sendall(request)
    return it
def part():
    it = held(head("POST /api/p2p/tus", "Tus-Resumable: 1.0.0", "Upload-Length: 1000000", "Content-Length: 0"))
    answer = it.recv(4096).decode()
    it.close()
    at = [line for line in answer.split("\r\n") if line.lower().startswith("location:")]
    if not at:
        return it
    id = at[0].rsplit("/", 1)[1]
    return held(head(f"PATCH /api/p2p/tus/{id}", "Tus-Resumable: 1.0.0", "Upload-Offset: 0",
        "Content-Type: application/offset+octet-stream", "Content-Length: 1000000") + b"x" * 70000)
kinds = [
    lambda: held(b""),
    lambda: held(head(f"GET /api/p2p/file/{file}")),
    lambda: held(head(f"GET /api/p2p/zip?id={file}")),
    lambda: held(head("PUT /api/p2p/upload/x", "Content-Length: 1000000") + b"x" * 70000),
    part,
    lambda: held(head("GET /api/events")),
    lambda: held(head(f"GET /api/p2p/file/{file}")),
]
going, rounds = True, []
def hold(kind):
    mine = []
    while going:
        for _ in range(most // len(kinds) + 1):
            try:
                mine.append(kind())
            except OSError:
                pass
        rounds.append(kind)
        for it in mine[:len(mine) // 4 if len(mine) <= most else len(mine) - most]:
            it.close()
        mine = mine[len(mine) // 4 if len(mine) <= most else len(mine) - most:]
threads = [threading.Thread(target=hold, args=(kind,)) for kind in kinds]
for it in threads: it.start()
while len(set(rounds)) < len(kinds): threading.Event().wait(0.01)
print("all", flush=True)
sys.stdin.read()
going = False
"#;

/// A host that holds what it can.
fn holder(lan: &Lan, host: u8, file: &str) -> Child {
    let mut command = lan.command(host, "python3");
    command.args(["-c", HOLDER, &Lan::address(1), file, "100"]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = piped.spawn().unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(holder.stdout.take().unwrap());
    lines.read_line(&mut said).unwrap();
    assert_eq!(said, "all\n");
    holder
}

#[test]
fn who_comes_from_elsewhere_is_answered_whatever_others_hold() {
    let Some(lan) = Lan::of(5) else { return };
    let dir = tempfile::tempdir().unwrap();
    let arguments = [
        "--listen",
        "0.0.0.0:5004",
        "--open",
        "--no-mdns",
        "--log=warn",
    ];
    let node = lan.start_with_files(1, &dir, (FILES, &arguments));
    let path = dir.path().join("long");
    fs::write(&path, content(1, LONG)).unwrap();
    let file = lan.upload(1, &path);
    let file = file["file_id"].as_str().unwrap();
    let mut holders = [2, 3, 4].map(|host| holder(&lan, host, file));
    let short = dir.path().join("short");
    fs::write(&short, content(2, 100_000)).unwrap();
    let sent = format!("{}", short.display());
    let received = dir.path().join("received").display().to_string();
    let (mut most, mut kept) = (0, 0);
    for number in 0..8 {
        let name = format!("/api/p2p/upload/{number}");
        for (path, arguments) in [
            ("/health", &[][..]),
            ("/ready", &[]),
            (&*name, &["-T", &sent]),
            (&*name, &["-X", "PUT", "--data-binary", "short"]),
            (&format!("/api/p2p/file/{file}"), &["-r", "0-999999"]),
        ] {
            let told = ["-o", &received, "-D", "-", "--no-fail"];
            let url = Lan::url(1, path);
            let answer = lan.curl(5, &[&told, arguments, &[url.as_str()]].concat());
            let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
            let is_served = answer.contains("http/1.1 20");
            let is_put_off = answer.contains("http/1.1 503") && answer.contains("retry-after:");
            assert!(is_served || is_put_off, "{path}: {answer}");
            kept += usize::from(is_served && path == name);
            let open = fs::read_dir(format!("/proc/{}/fd", node.id())).unwrap();
            most = most.max(open.count());
        }
    }
    assert!(most < FILES as usize - 10, "{most}");
    assert!(kept >= 8, "{kept}");
    for holder in &mut holders {
        drop(holder.stdin.take());
        assert!(holder.wait().unwrap().success());
    }
    // Nothing that was acknowledged is lost.
    let listed = || {
        let list = lan.json(1, "/api/p2p/files?limit=1000");
        let files = list["files"].as_array().unwrap().clone();
        let own = files.iter().filter(|it| it["original_name"] != "x");
        own.count()
    };
    until("all is listed", || (listed() == kept + 1).then_some(()));
    assert!(!node.log().contains("ERROR"), "{}", node.log());
}
