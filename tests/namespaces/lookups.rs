//! Names of peers that are looked up slowly, and names that lead where no peer may be: the real
//! binary in network namespaces, with a name server of its own.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::common::process::{Node, until};
use crate::lan::Lan;

/// Tells the addresses of the names that it was given, and to whoever asks for others nothing;
/// writes down what it was asked.
const NAME_SERVER: &str = r#"
import socket, sys
known = dict(it.split("=") for it in sys.argv[1:])
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 53))
print("ready", flush=True)
while True:
    query, client = server.recvfrom(4096)
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    question, name = query[12:at + 5], ".".join(labels)
    print(name, flush=True)
    if name not in known:
        continue
    is_v4 = question[-4:-2] == b"\0\1"
    address = socket.inet_aton(known[name])
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + address if is_v4 else b""
    head = query[:2] + b"\x81\x80\0\1\0" + bytes([is_v4]) + b"\0\0\0\0"
    server.sendto(head + question + answer, client)
"#;

/// Takes connections, hangs up, and writes down where they came to.
const LISTENER: &str = r#"
import socket
server = socket.create_server(("0.0.0.0", 7000))
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    print(connection.getsockname()[0], flush=True)
    connection.close()
"#;

/// A script that runs as one of the nodes, killed on drop.
struct Script {
    process: Child,
    said: PathBuf,
}

impl Script {
    fn start(lan: &Lan, node: u8, dir: &TempDir, arguments: &[&str]) -> Self {
        let said = dir.path().join(format!("said by {node}"));
        let mut command = lan.command(node, "python3");
        let command = command.arg("-c").args(arguments);
        let process = command.stdout(File::create(&said).unwrap()).spawn();
        let script = Self {
            process: process.unwrap(),
            said,
        };
        until("the script is ready", || script.lines().first().map(drop));
        script
    }

    /// What it has said so far.
    fn lines(&self) -> Vec<String> {
        let said = fs::read_to_string(&self.said).unwrap();
        said.lines().map(str::to_owned).collect()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const USUAL: &[&str] = &[
    "--listen",
    "0.0.0.0:5004",
    "--open",
    "--no-mdns",
    "--discover-every",
    "1",
    "--peer-rate",
    "1000",
];

fn start(lan: &Lan, node: u8, arguments: &[&str]) -> (Node, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let node = lan.start(node, &dir, &[USUAL, arguments].concat());
    (node, dir)
}

/// Tells node 1 of a peer at each of these addresses.
fn introduce(lan: &Lan, addresses: impl IntoIterator<Item = String>) {
    for address in addresses {
        let message = json!({ "peer_id": Uuid::new_v4().to_string(), "address": address,
            "timestamp": "2026-01-21T10:00:00" });
        let json = ["-H", "Content-Type: application/json", "-d"];
        let (message, url) = (message.to_string(), Lan::url(1, "/api/peers"));
        lan.curl(1, &[&json[..], &[&message, &url]].concat());
    }
}

/// Waits until node 1 reaches the peer that says that it is at this address.
fn until_reached(lan: &Lan, address: &str) {
    until("the peer answers", || {
        let peers = lan.json(1, "/api/peers");
        let mut peers = peers["peers"].as_array().unwrap().iter();
        let reached = |it: &Value| it["address"] == address && it["reachable"] == true;
        peers.any(reached).then_some(())
    });
}

#[test]
fn slow_name_servers_of_strangers_hold_up_no_other_name() {
    let Some(lan) = Lan::of(4) else { return };
    let dir = tempfile::tempdir().unwrap();
    let known = [3, 4].map(|node| format!("node{node}.ok{node}.test={}", Lan::address(node)));
    let server = Script::start(&lan, 2, &dir, &[NAME_SERVER, &known[0], &known[1]]);
    // Whoever asks in vain waits for far longer than anything here may take.
    let resolver = format!(
        "nameserver {}\noptions timeout:30 attempts:5\n",
        Lan::address(2)
    );
    lan.configure(1, "resolv.conf", &resolver);
    let (named, honest) = ("http://node4.ok4.test:5004", "http://node3.ok3.test:5004");
    let (asking, _one) = start(&lan, 1, &["--peer", named]);
    let until_asked = |ending: &str, names: usize| {
        until("names are looked up", || {
            let mut asked = server.lines();
            asked.retain(|it| it.ends_with(ending));
            asked.sort_unstable();
            asked.dedup();
            (asked.len() >= names).then_some(())
        });
    };

    // Of one registered name: one that nobody has heard of before is reached all the same.
    introduce(
        &lan,
        (0..50).map(|it| format!("http://s{it}.slow.test:5004")),
    );
    until_asked(".slow.test", 4);
    let by = ["--base-url", honest, "--peer", &Lan::url(1, "")];
    let (_three, other) = start(&lan, 3, &by);
    until_reached(&lan, honest);

    // Of more registered names than there are places: known names and named ones are.
    introduce(
        &lan,
        (0..50).map(|it| format!("http://s.slow{it}.never:5004")),
    );
    until_asked(".never", 16);
    let path = other.path().join("file");
    fs::write(&path, b"content").unwrap();
    let file = lan.upload(3, &path);
    lan.until_held(1, &file["hash"], 1);
    let blob = format!("/api/p2p/blob/{}", file["hash"].as_str().unwrap());
    assert_eq!(lan.curl(1, &[&Lan::url(1, &blob)]), b"content");
    let (_four, _dir) = start(&lan, 4, &["--base-url", named]);
    until_reached(&lan, named);

    // And to stop waits for no lookup.
    asking.stop();
}

#[test]
fn a_name_that_leads_where_no_peer_may_be_is_never_connected_to() {
    let Some(lan) = Lan::of(2) else { return };
    let dir = tempfile::tempdir().unwrap();
    let cloud = "169.254.169.254";
    lan.add_own_address(1, cloud);
    let hosts = format!(
        "{cloud} cloud.test\n127.0.0.1 loop.test\n{} peer.test\n",
        Lan::address(2)
    );
    lan.configure(1, "hosts", &hosts);
    let forbidden = Script::start(&lan, 1, &dir, &[LISTENER]);
    let allowed = Script::start(&lan, 2, &dir, &[LISTENER]);
    // The script is there, and is reached by these names.
    for (name, at) in [("cloud.test", cloud), ("loop.test", "127.0.0.1")] {
        let url = format!("http://{name}:7000/");
        let mut curl = lan.curl_command(1, &[&url]);
        assert!(!curl.stderr(Stdio::null()).status().unwrap().success());
        assert_eq!(forbidden.lines().last().unwrap(), at);
    }
    let connected = forbidden.lines().len();

    let addresses = ["cloud", "loop", "peer"].map(|it| format!("http://{it}.test:7000"));
    let named = ["--peer", &addresses[0], "--bootstrap", &addresses[1]];
    let networks = ["--peer-networks", "10.77.0.0/16", "--log", "debug"];
    let (node, _dir) = start(&lan, 1, &[&named[..], &networks].concat());
    introduce(&lan, addresses.iter().cloned());
    until("each was looked up", || {
        let log = node.log();
        let refused = |what: &str| {
            let mut lines = log.lines().filter(|it| it.contains(what));
            lines.any(|it| it.contains("its name leads to addresses that are reserved"))
        };
        let told = refused("address=http://cloud.test:7000")
            && refused("address=http://loop.test:7000")
            && log.matches("does not tell what it holds").count() >= 3;
        (told && allowed.lines().len() > 1).then_some(())
    });
    assert_eq!(forbidden.lines().len(), connected);
    assert_eq!(allowed.lines().last().unwrap(), &Lan::address(2));
}

#[test]
fn a_bootstrap_server_passes_on_no_name_of_what_it_would_refuse_as_an_address() {
    let Some(lan) = Lan::of(2) else { return };
    let hosts = format!(
        "127.0.0.1 loop.test\n169.254.169.254 cloud.test\n{} peer.test\n",
        Lan::address(2)
    );
    lan.configure(1, "hosts", &hosts);
    let dir = tempfile::tempdir().unwrap();
    let _server = lan.start(1, &dir, &["bootstrap", "--listen", "0.0.0.0:5004"]);
    let register = |from: u8, host: &str| {
        let message = json!({ "peer_id": Uuid::new_v4().to_string(),
            "address": format!("http://{host}:7000"), "timestamp": "" });
        let server = if from == 1 {
            "127.0.0.1".to_owned()
        } else {
            Lan::address(1)
        };
        let (message, url) = (
            message.to_string(),
            format!("http://{server}:5004/register"),
        );
        let json = ["-H", "Content-Type: application/json", "-d", &message, &url];
        let mut curl = lan.curl_command(from, &json);
        curl.stderr(Stdio::null()).status().unwrap().success()
    };
    // As for the address itself.
    for (host, taken) in [
        ("127.0.0.1", false),
        ("169.254.169.254", false),
        ("loop.test", false),
        ("LOOP.test.", false),
        ("cloud.test", false),
        ("peer.test", true),
        // Others may know it.
        ("unknown.test", true),
    ] {
        assert_eq!(register(2, host), taken, "{host}");
    }
    let told = || lan.json(1, "/peers")["peers"].to_string();
    assert!(!told().contains("loop.test") && !told().contains("cloud.test"));
    assert!(told().contains("peer.test") && told().contains("unknown.test"));
    // Whoever is on this machine is not asked from elsewhere.
    assert!(register(1, "loop.test"));
}

#[test]
fn a_stranger_leads_no_node_to_what_listens_on_its_loopback() {
    let Some(lan) = Lan::of(2) else { return };
    let dir = tempfile::tempdir().unwrap();
    let hosts = format!("127.0.0.1 loop.test\n{} peer.test\n", Lan::address(2));
    lan.configure(1, "hosts", &hosts);
    let forbidden = Script::start(&lan, 1, &dir, &[LISTENER]);
    let allowed = Script::start(&lan, 2, &dir, &[LISTENER]);
    let (node, _dir) = start(&lan, 1, &["--log", "debug"]);
    for host in [
        "127.0.0.1",
        "localhost",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ] {
        let message = json!({ "peer_id": Uuid::new_v4().to_string(),
            "address": format!("http://{host}:7000"), "timestamp": "" });
        let (message, url) = (message.to_string(), Lan::url(1, "/api/peers"));
        let json = ["-H", "Content-Type: application/json", "-d", &message, &url];
        let refused = lan.curl_command(2, &json).stderr(Stdio::null()).status();
        assert!(!refused.unwrap().success(), "{host}");
    }
    // A name is looked at when it is looked up.
    introduce(
        &lan,
        ["loop", "peer"].map(|it| format!("http://{it}.test:7000")),
    );
    until("both were looked up", || {
        let log = node.log();
        let looked_up = log.matches("does not tell what it holds").count() >= 2;
        (looked_up && allowed.lines().len() > 1).then_some(())
    });
    assert_eq!(forbidden.lines(), ["ready"]);
}

#[test]
fn localhost_is_this_machine_where_no_file_of_hosts_says_so() {
    let Some(lan) = Lan::of(1) else { return };
    // And no server of names either.
    for file in ["hosts", "resolv.conf"] {
        lan.configure(1, file, "");
    }
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let _first = lan.start(1, &dirs[0], &["--no-mdns"]);
    fs::write(dirs[0].path().join("file"), "bytes").unwrap();
    let larder = |arguments: &[&str]| {
        let mut command = lan.command(1, env!("CARGO_BIN_EXE_larder"));
        let command = command.args(arguments).current_dir(dirs[0].path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    larder(&["put", "file"]);
    let status = larder(&["status"]);
    assert!(status.contains(" at http://localhost:5004\n"), "{status}");
    assert_eq!(larder(&["get", "file", "-o", "-"]), "bytes");
    // To other nodes of this machine it is the same.
    let other = ["--no-mdns", "--port", "5005", "--peer", "localhost:5004"];
    let _second = lan.start(1, &dirs[1], &other);
    until("the file is seen", || {
        let listed = larder(&["ls", "--network", "--node", "localhost:5005"]);
        listed.contains("file").then_some(())
    });
}
