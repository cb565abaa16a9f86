//! A local network of its own: a switch and a network namespace for each node, with
//! addresses that nobody else has.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::all_members::are_all_members;
use crate::common::process::{Node, until};
use crate::lossy_switch::{LossySwitch, script};
use crate::skipped::or_skipped;

/// Where `ip` looks for what stands in for files of `/etc` in a namespace.
const CONFIGURED: &str = "/etc/netns";
/// How long curl may take, in seconds.
const LIMIT: &str = "30";
/// What curl shows, which counts where a node has a token.
pub(crate) const BEARER: &str = "Authorization: Bearer 0123456789abcdef";

/// Nodes 1, 2, … behind one switch; taken down on drop.
pub(crate) struct Lan {
    /// What the names of its namespaces begin with.
    name: String,
    nodes: u8,
}

/// Runs a command; what it printed as errors where it failed.
fn run(command: &[&str]) -> Result<Output, String> {
    let [program, arguments @ ..] = command else {
        panic!("no command");
    };
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", command.join(" "), errors.trim()))
}

fn ip(line: &str) -> Result<(), String> {
    let words = std::iter::once("ip").chain(line.split(' '));
    run(&words.collect::<Vec<_>>()).map(drop)
}

/// The same arguments; where all are members, which are open to nobody, whoever shows the token may
/// what everybody else may.
fn opened<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let open = |it: &&&str| are_all_members() && **it == "--open";
    let mut opened: Vec<_> = arguments.iter().filter(|it| !open(it)).copied().collect();
    if opened.len() < arguments.len() {
        opened.extend(["--token", "0123456789abcdef"]);
    }
    opened
}

impl Lan {
    /// A network of so many nodes. None, said loudly, where this machine does not allow it.
    pub(crate) fn of(nodes: u8) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let lan = Self {
            name: format!("larder-{}-{count}", std::process::id()),
            nodes,
        };
        lan.or_skipped(lan.build())?;
        Some(lan)
    }

    /// What was made; where it could not be, that is said.
    fn or_skipped<T>(&self, made: Result<T, String>) -> Option<T> {
        or_skipped("network namespaces", &self.name, made)
    }

    fn build(&self) -> Result<(), String> {
        let switch = self.switch();
        ip(&format!("netns add {switch}"))?;
        ip(&format!("-n {switch} link add switch type bridge"))?;
        ip(&format!("-n {switch} link set switch up"))?;
        for node in 1..=self.nodes {
            let space = self.space(node);
            ip(&format!("netns add {space}"))?;
            let (near, far) = (
                format!("link add port{node} netns {switch}"),
                format!("peer name cable netns {space}"),
            );
            ip(&format!("{near} type veth {far}"))?;
            ip(&format!("-n {switch} link set port{node} master switch up"))?;
            ip(&format!(
                "-n {space} addr add {}/24 dev cable",
                Self::address(node)
            ))?;
            ip(&format!("-n {space} link set lo up"))?;
            ip(&format!("-n {space} link set cable up"))?;
            ip(&format!("-n {space} route add default dev cable"))?;
        }
        Ok(())
    }

    /// Leaves the nodes what is on the network itself.
    pub(crate) fn remove_default_routes(&self) {
        for node in 1..=self.nodes {
            ip(&format!("-n {} route del default", self.space(node))).unwrap();
        }
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.name)
    }

    fn space(&self, node: u8) -> String {
        format!("{}-{node}", self.name)
    }

    /// The address of a node.
    pub(crate) fn address(node: u8) -> String {
        format!("10.77.0.{node}")
    }

    /// Where a path of a node is.
    pub(crate) fn url(node: u8, path: &str) -> String {
        format!("http://{}:5004{path}", Self::address(node))
    }

    /// Has the commands of a node that are started from now on find this in a file of `/etc`.
    pub(crate) fn configure(&self, node: u8, file: &str, content: &str) {
        let dir = Path::new(CONFIGURED).join(self.space(node));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(file), content).unwrap();
    }

    /// Gives a node another address, which only itself reaches.
    pub(crate) fn add_own_address(&self, node: u8, address: &str) {
        let space = self.space(node);
        ip(&format!("-n {space} addr add {address}/32 dev lo")).unwrap();
    }

    /// A command as one of the nodes runs it.
    pub(crate) fn command(&self, node: u8, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(node), program]);
        command
    }

    /// Starts larder as one of the nodes.
    pub(crate) fn start(&self, node: u8, dir: &TempDir, arguments: &[&str]) -> Node {
        let mut command = self.command(node, env!("CARGO_BIN_EXE_larder"));
        command.args(opened(arguments)).current_dir(dir.path());
        Node::spawn(dir, command)
    }

    /// The same with so few open files at most.
    pub(crate) fn start_with_files(
        &self,
        node: u8,
        dir: &TempDir,
        (files, arguments): (u32, &[&str]),
    ) -> Node {
        let mut command = self.command(node, "/bin/bash");
        let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_larder")]);
        command.args(arguments).current_dir(dir.path());
        Node::spawn(dir, command)
    }

    /// Runs curl as one of the nodes; what it printed.
    pub(crate) fn curl(&self, node: u8, arguments: &[&str]) -> Vec<u8> {
        let space = self.space(node);
        let exec = ["ip", "netns", "exec", &space];
        let curl = ["curl", "-sS", "--fail", "--max-time", LIMIT, "-H", BEARER];
        run(&[&exec[..], &curl[..], arguments].concat())
            .unwrap()
            .stdout
    }

    /// curl as one of the nodes, to be run beside other things.
    pub(crate) fn curl_command(&self, node: u8, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(node)]);
        command.args(["curl", "-sS", "--fail", "--max-time", LIMIT, "-H", BEARER]);
        command.args(arguments);
        command
    }

    /// What a node answers to a GET, which must be JSON.
    pub(crate) fn json(&self, node: u8, path: &str) -> Value {
        serde_json::from_slice(&self.curl(node, &[&Self::url(node, path)])).unwrap()
    }

    /// Uploads a file to a node from itself.
    pub(crate) fn upload(&self, node: u8, file: &Path) -> Value {
        let form = format!("file=@{}", file.display());
        let answer = self.curl(node, &["-F", &form, &Self::url(node, "/api/p2p/upload")]);
        serde_json::from_slice::<Value>(&answer).unwrap()["file"].clone()
    }

    /// Waits until a node knows that so many peers hold this content.
    pub(crate) fn until_held(&self, node: u8, hash: &Value, peers: usize) {
        until("the content is known", || {
            let held = self.json(node, "/api/p2p/network");
            let mut files = held["files"].as_array().unwrap().iter();
            let file = files.find(|file| file["hash"] == *hash)?;
            (file["peers"].as_array().unwrap().len() == peers).then_some(())
        });
    }

    /// Cuts the cable of a node.
    pub(crate) fn cut(&self, node: u8) {
        ip(&format!("-n {} link set port{node} down", self.switch())).unwrap();
    }

    /// Puts it back.
    pub(crate) fn mend(&self, node: u8) {
        ip(&format!("-n {} link set port{node} up", self.switch())).unwrap();
    }

    /// Has these nodes reach each other alone.
    pub(crate) fn split(&self, nodes: &[u8]) {
        let switch = self.switch();
        ip(&format!("-n {switch} link add other type bridge")).unwrap();
        ip(&format!("-n {switch} link set other up")).unwrap();
        for node in nodes {
            ip(&format!("-n {switch} link set port{node} master other")).unwrap();
        }
    }

    /// Has all reach each other again.
    pub(crate) fn unite(&self) {
        let switch = self.switch();
        for node in 1..=self.nodes {
            ip(&format!("-n {switch} link set port{node} master switch")).unwrap();
        }
        ip(&format!("-n {switch} link del other")).unwrap();
    }

    /// Puts a switch that loses and delays frames in place of the one of the kernel. None,
    /// said loudly, where this machine does not allow it.
    pub(crate) fn disturb(&self) -> Option<LossySwitch> {
        self.or_skipped(self.put_lossy_switch())
    }

    fn put_lossy_switch(&self) -> Result<LossySwitch, String> {
        let switch = self.switch();
        for node in 1..=self.nodes {
            let (space, plain) = (self.space(node), script("plain_ethernet.py"));
            run(&["ip", "netns", "exec", &space, "python3", &plain, "cable"])?;
            ip(&format!("-n {switch} link set port{node} nomaster"))?;
        }
        let ports = (1..=self.nodes).map(|node| format!("port{node}"));
        LossySwitch::start(&switch, &ports.collect::<Vec<_>>())
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        // Some may not be there.
        let _ = ip(&format!("netns del {}", self.switch()));
        for node in 1..=self.nodes {
            let _ = ip(&format!("netns del {}", self.space(node)));
            let _ = fs::remove_dir_all(Path::new(CONFIGURED).join(self.space(node)));
        }
    }
}
