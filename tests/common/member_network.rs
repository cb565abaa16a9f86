//! Networks with members, and nodes that are members of them.

use std::path::Path;

use tempfile::TempDir;

use super::process::{Node, larder};

/// The settings of a node with the certificate in its directory.
pub(crate) const MEMBER: [&str; 6] = [
    "--network",
    "member",
    "--discover-every",
    "1",
    "--log",
    "debug",
];

/// A network, and who decides about its members.
pub(crate) struct Network {
    dir: TempDir,
    /// By what it is known: its public key.
    pub(crate) id: String,
}

impl Network {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// One that is created with these arguments.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let id = printed(dir.path(), &[&["create", "key"], arguments].concat());
        Self { dir, id }
    }

    /// Makes the node of a directory a member for so long.
    pub(crate) fn join(&self, dir: &TempDir, length: &str) {
        self.join_by(dir, &["--for", length]);
    }

    /// The same by an invitation with these arguments.
    pub(crate) fn join_by(&self, dir: &TempDir, arguments: &[&str]) {
        let key = printed(dir.path(), &["key"]);
        let invitation = [&["invite", "key", &key], arguments].concat();
        let invitation = printed(self.dir.path(), &invitation);
        printed(dir.path(), &["join", "member", &invitation]);
    }

    /// A node that is a member, and looks for the peers at these addresses.
    pub(crate) fn member(&self, dir: &TempDir, peers: &[&str], more: &[&str]) -> Node {
        self.join(dir, "1d");
        member(dir, peers, more)
    }

    /// The file with its key.
    pub(crate) fn key(&self) -> String {
        self.dir.path().join("key").to_str().unwrap().to_owned()
    }

    /// Has the node of a directory be a member no longer; what that prints.
    pub(crate) fn revoke(&self, dir: &TempDir) -> String {
        let key = printed(dir.path(), &["key"]);
        printed(self.dir.path(), &["revoke", "key", &key])
    }

    /// Who is a member, as the one sees it who decides.
    pub(crate) fn members(&self) -> String {
        self.members_by(&[])
    }

    /// The same with these arguments.
    pub(crate) fn members_by(&self, arguments: &[&str]) -> String {
        printed(self.dir.path(), &[&["members", "key"], arguments].concat())
    }
}

/// What `larder network` prints.
pub(crate) fn printed(dir: &Path, arguments: &[&str]) -> String {
    let mut command = larder(dir);
    let output = command.arg("network").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A node with the certificate in its directory.
pub(crate) fn member(dir: &TempDir, peers: &[&str], more: &[&str]) -> Node {
    let mut arguments = MEMBER.to_vec();
    arguments.extend(peers.iter().flat_map(|it| ["--peer", it]));
    arguments.extend(more);
    Node::start(dir, &arguments)
}

pub(crate) fn dirs<const N: usize>() -> [TempDir; N] {
    [(); N].map(|()| tempfile::tempdir().unwrap())
}
