//! What operators get beside the binary: the dashboard and the alerts know what a running node
//! tells, and the service manager is told when it serves.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::authority::Authority;
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::member_network::{Network, dirs, member};
use crate::common::process::{DEADLINE, Node, larder, until};
use crate::common::raw_http::get;

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(name)
}

/// Runs promtool, whose complaints are the test's.
fn promtool(arguments: &[&str], input: &str) {
    let mut command = Command::new("promtool");
    let mut process = command
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .expect("this test runs promtool (Debian: prometheus)");
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    assert!(process.wait().unwrap().success(), "{arguments:?}: {input}");
}

/// A Prometheus that scrapes a node; killed on drop.
struct Prometheus {
    process: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Prometheus {
    fn scraping(nodes: &[SocketAddr]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rules = packaging("alerts.yml");
        let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{}]\n\
             scrape_configs:\n- job_name: larder\n  static_configs: [{{targets: {nodes:?}}}]\n",
            rules.display()
        );
        fs::write(dir.path().join("prometheus.yml"), config).unwrap();
        // Nobody tells which port it has taken by itself.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let process = Command::new("prometheus")
            .current_dir(dir.path())
            .arg(format!("--web.listen-address={address}"))
            .args([
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=data",
                "--log.level=error",
            ])
            .spawn()
            .unwrap();
        Self {
            process,
            address,
            _dir: dir,
        }
    }

    /// The answer of its API; None while it does not answer.
    fn ask(&self, path: &str) -> Option<Value> {
        let url = format!("http://{}{path}", self.address);
        let output = Command::new("curl")
            .args(["-s", "--noproxy", "*", &url])
            .output();
        serde_json::from_slice(&output.unwrap().stdout).ok()
    }

    /// What an expression gives now: so many series, or the error.
    fn series(&self, expression: &str) -> Option<Result<usize, String>> {
        let query: String = url::form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let answer = self.ask(&format!("/api/v1/query?query={query}"))?;
        Some(match answer["data"]["result"].as_array() {
            Some(series) => Ok(series.len()),
            None => Err(answer["error"].to_string()),
        })
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// All strings below this key, wherever it stands.
fn under(value: &Value, key: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == key => drop(found.insert(text.clone())),
                    other => under(other, key, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|it| under(it, key, found)),
        _ => {}
    }
}

#[test]
fn all_that_the_dashboard_shows_and_the_alerts_watch_is_told_by_a_running_node() {
    // One of which there is all that nodes count: it decides about the members of a network.
    let (network, dirs) = (Network::new(), dirs::<1>());
    network.join_by(&dirs[0], &["--for", "30d"]);
    let node = member(&dirs[0], &[], &["--network-key", &network.key()]);
    uploaded(node.address, "a file", &content(1, 1_000));
    let metrics = String::from_utf8(get(node.address, "/metrics", &[]).body).unwrap();
    promtool(&["check", "metrics"], &metrics);
    promtool(
        &["check", "rules", packaging("alerts.yml").to_str().unwrap()],
        "",
    );

    let dashboard = fs::read_to_string(packaging("grafana.json")).unwrap();
    let mut shown = BTreeSet::new();
    under(
        &serde_json::from_str(&dashboard).unwrap(),
        "expr",
        &mut shown,
    );
    assert!(shown.len() > 10, "{shown:?}");
    let prometheus = Prometheus::scraping(&[node.address]);
    for expression in shown {
        let filled = expression
            .replace("$instance", ".*")
            .replace("$__rate_interval", "10s");
        until(&format!("{expression} has a value"), || {
            let series = prometheus.series(&filled)?;
            (series.unwrap_or_else(|error| panic!("{expression}: {error}")) > 0).then_some(())
        });
    }
    let groups = until("the rules were evaluated", || {
        let answer = prometheus.ask("/api/v1/rules")?;
        let rules = answer["data"]["groups"][0]["rules"].as_array()?.clone();
        let all = rules.iter().all(|rule| rule["health"] == "ok");
        (!rules.is_empty() && all).then_some(rules)
    });
    for rule in groups {
        assert_eq!(rule["state"], "inactive", "{rule}");
        let expression = rule["query"].as_str().unwrap();
        for name in expression.split(|it: char| !it.is_ascii_alphanumeric() && it != '_') {
            let is_told = metrics.contains(&format!("\n{name}"));
            assert!(is_told || !name.starts_with("larder_"), "{name}");
        }
    }
}

#[test]
fn who_is_a_member_no_longer_or_not_for_long_is_an_alert() {
    let (network, dirs) = (Network::new(), dirs::<3>());
    network.join_by(&dirs[0], &["--for", "30d"]);
    network.join_by(&dirs[1], &["--for", "1h", "--once"]);
    network.join(&dirs[2], "1s");
    until("it has expired", || {
        network.members().contains("  expired").then_some(())
    });
    assert!(network.members().contains("  once  ends_soon"));
    let admin = member(&dirs[0], &[], &["--network-key", &network.key()]);
    let [short, late] = [1, 2].map(|it| member(&dirs[it], &[&admin.url("")], &[]));
    for (node, membership, status) in [
        (&admin, "member", "healthy"),
        (&short, "ends_soon", "healthy"),
        (&late, "expired", "degraded"),
    ] {
        let health = get(node.address, "/health", &[]).json();
        assert_eq!(
            (&health["membership"], &health["status"]),
            (&membership.into(), &status.into())
        );
    }
    let nodes = [&admin, &short, &late].map(|it| it.address);
    let prometheus = Prometheus::scraping(&nodes);
    let expected = [
        ("LarderMembersEndSoon", nodes[0]),
        ("LarderMembershipEndsSoon", nodes[1]),
        ("LarderNoMember", nodes[2]),
    ];
    let expected: BTreeSet<_> = expected
        .iter()
        .map(|(alert, node)| (alert.to_string(), node.to_string()))
        .collect();
    until("the alerts fire, and no others", || {
        let answer = prometheus.ask("/api/v1/alerts")?;
        let alerts = answer["data"]["alerts"].as_array()?.iter();
        let text = |it: &Value, key: &str| it["labels"][key].as_str().unwrap().to_owned();
        let fire = alerts
            .filter(|it| it["state"] == "firing")
            .map(|it| (text(it, "alertname"), text(it, "instance")));
        (fire.collect::<BTreeSet<_>>() == expected).then_some(())
    });
}

/// Where the service manager listens that has started a node.
struct Manager {
    dir: TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { dir, socket }
    }

    fn start(&self, arguments: &[&str]) -> Node {
        let mut command = larder(self.dir.path());
        command.args(arguments);
        command.env("NOTIFY_SOCKET", self.dir.path().join("notify"));
        Node::spawn(&self.dir, command)
    }

    /// What it is told next, line by line.
    fn told(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let len = self.socket.recv(&mut bytes).unwrap();
        let text = std::str::from_utf8(&bytes[..len]).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn the_service_manager_is_told_when_the_node_serves_and_when_it_stops() {
    let manager = Manager::new();
    let node = manager.start(&[]);
    let told = manager.told();
    assert_eq!(told[0], "READY=1");
    assert!(told[1].starts_with("STATUS=larder serves"), "{told:?}");
    assert_eq!(get(node.address, "/ready", &[]).status, 200);
    node.signal(Signal::TERM);
    assert_eq!(manager.told(), ["STOPPING=1"]);
    assert!(node.wait().success());
}

#[test]
fn a_service_manager_without_a_path_is_told_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("larder-{}", dir.path().display());
    let address = UnixAddress::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut command = larder(dir.path());
    command.env("NOTIFY_SOCKET", format!("@{name}"));
    let manager = Manager { dir, socket };
    let _node = Node::spawn(&manager.dir, command);
    assert_eq!(manager.told()[0], "READY=1");
}

#[test]
fn the_service_manager_is_told_when_a_certificate_was_read_again() {
    let manager = Manager::new();
    let authority = Authority::new();
    let (certificate, key) = authority.vouches("localhost", false);
    let path = |name: &str| manager.dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("cert.pem"), certificate.pem()).unwrap();
    fs::write(path("key.pem"), key.serialize_pem()).unwrap();
    let files = [
        "--tls-cert",
        &path("cert.pem"),
        "--tls-key",
        &path("key.pem"),
    ];
    let node = manager.start(&files);
    assert_eq!(manager.told()[0], "READY=1");
    node.signal(Signal::HUP);
    let told = manager.told();
    assert_eq!(told[0], "RELOADING=1");
    let since_boot = told[1].strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(since_boot.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.told(), ["READY=1"]);
    node.stop();
}
