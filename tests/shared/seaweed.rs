//! A store that speaks S3, in a process of its own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::common::{process, venv};
use crate::s3_store::keys;

/// A running store, killed on drop.
pub(crate) struct Seaweed {
    process: Child,
    dir: TempDir,
    ports: [u16; 8],
}

/// Ports that nobody listens on, below those that connections take by themselves.
fn free_ports() -> [u16; 8] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 1_000).unwrap();
    for _ in 0..1_000 {
        let block = (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 1_000;
        let ports = std::array::from_fn(|at| 12_000 + 8 * block + u16::try_from(at).unwrap());
        let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        if ports.iter().all(is_free) {
            return ports;
        }
    }
    panic!("no ports are free");
}

impl Seaweed {
    pub(crate) fn start() -> Self {
        let (dir, ports) = (tempfile::tempdir().unwrap(), free_ports());
        let [(_, key), (_, secret), _] = keys();
        let users = json!({"identities": [{
            "name": "larder",
            "credentials": [{"accessKey": key, "secretKey": secret}],
            "actions": ["Admin", "Read", "Write", "List"],
        }]});
        fs::write(dir.path().join("users.json"), users.to_string()).unwrap();
        let process = spawn(dir.path(), ports);
        Self {
            process,
            dir,
            ports,
        }
    }

    /// Where it is reached.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[7]).into()
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Kills it, as a machine ends without power.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again, over what it had.
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(self.dir.path(), self.ports);
    }

    /// Lets it stand still, or go on.
    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(&self.process, signal);
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(dir: &Path, ports: [u16; 8]) -> Child {
    let mut log = File::options();
    let log = log.create(true).append(true);
    let log = log.open(dir.join("log")).unwrap();
    let names = [
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "s3.port.grpc",
        "s3.port",
    ];
    let mut weed = venv::command("weed");
    weed.current_dir(dir)
        .args(["server", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
        .args(["-master.peers=none", "-master.volumeSizeLimitMB=64"])
        .args(["-volume.max=300", "-s3.port.iceberg=0", "-s3.port.lance=0"])
        .args(["-s3.config=users.json", "-dir=."])
        .args(
            names
                .iter()
                .zip(ports)
                .map(|(name, port)| format!("-{name}={port}")),
        )
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}
