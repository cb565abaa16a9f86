//! The npm packages that tests use, where `tests/run` installs them.

use std::path::Path;
use std::process::Command;

/// Node.js, which finds the packages by the variable `PACKAGES`.
pub(crate) fn node() -> Command {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/npm");
    assert!(
        packages.join("node_modules").exists(),
        "{} has no packages: tests/run installs them",
        packages.display()
    );
    let mut node = Command::new("node");
    node.env("PACKAGES", packages);
    node
}
