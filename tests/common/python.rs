//! The older Python service, in processes of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::process::Node;

/// A running Python script in a directory of its own.
pub(crate) struct Python {
    pub(crate) node: Node,
    dir: TempDir,
}

impl Python {
    /// A bootstrap server.
    pub(crate) fn bootstrap_server() -> Self {
        Self::start("bootstrap_server.py", &[])
    }

    /// A peer that asks this bootstrap server every second.
    pub(crate) fn peer(bootstrap: &str) -> Self {
        let settings = [("BOOTSTRAP_SERVER", bootstrap), ("DISCOVER_EVERY", "1")];
        Self::start("peer.py", &settings)
    }

    fn start(script: &str, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
        let mut command = Command::new("python3");
        command.arg(scripts.join(script)).current_dir(dir.path());
        command.envs(settings.iter().copied());
        let node = Node::spawn(&dir, command);
        Self { node, dir }
    }

    /// The bytes of a file that a peer holds, as it told of it after the upload.
    pub(crate) fn stored(&self, file: &Value) -> PathBuf {
        let stored = self.dir.path().join("peer_storage");
        stored.join(file["saved_name"].as_str().unwrap())
    }
}
