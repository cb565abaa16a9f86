//! The Python packages that tests use, in a virtual environment that `tests/run` makes.

use std::path::Path;
use std::process::Command;

/// A command of the virtual environment.
pub(crate) fn command(name: &str) -> Command {
    let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin");
    let command = bin.join(name);
    assert!(
        command.exists(),
        "{} is missing: tests/run installs it",
        command.display()
    );
    Command::new(command)
}
