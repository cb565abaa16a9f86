//! A root directory of the distribution that the image and the package are for, made by its own
//! tools. Where it cannot be had, that is said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use tempfile::TempDir;

use crate::skipped::or_skipped;

/// The release that the Dockerfile begins with.
const RELEASE: &str = "bookworm";

/// A root directory of a test's own.
pub(crate) struct Debian {
    dir: TempDir,
}

/// A program that runs with such a root directory, in a network of its own; killed on drop.
pub(crate) struct Contained {
    pub(crate) process: Child,
}

/// Runs a command; what it printed where it failed.
pub(crate) fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let lines: Vec<_> = said.lines().collect();
    let last = &lines[lines.len().saturating_sub(20)..];
    Err(format!("{command:?}: {}", last.join("\n")))
}

/// What all root directories are copied from, made once for all tests of a checkout.
fn made_once() -> Result<PathBuf, String> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let base = home.join(format!("debian-{RELEASE}"));
    if base.exists() {
        return Ok(base);
    }
    let making = tempfile::tempdir_in(home).unwrap();
    let root = making.path().join("root");
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", "--include=ca-certificates", RELEASE]);
    run(command.arg(&root).arg("http://deb.debian.org/debian"))?;
    // Another process may have been faster.
    if let Err(error) = fs::rename(&root, &base)
        && !base.exists()
    {
        return Err(error.to_string());
    }
    Ok(base)
}

impl Debian {
    /// A new one. None, said loudly, where this machine does not allow it.
    pub(crate) fn new() -> Option<Self> {
        let made = made_once().and_then(|base| {
            let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let copy = dir.path().join("root");
            run(Command::new("cp").arg("-a").arg(&base).arg(copy))?;
            Ok(Self { dir })
        });
        or_skipped("a root directory of Debian", "debian", made)
    }

    /// Where a path of it is on this machine.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        let root = self.dir.path().join("root");
        root.join(path.trim_start_matches('/'))
    }

    /// A command of it, run by root.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(self.path("/")).arg(program).env_clear();
        command.env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
        command
    }

    /// Starts a command there, with nothing but the network of itself, as this user and in this
    /// directory.
    pub(crate) fn start(
        &self,
        user: &str,
        (directory, variable): (&str, &str),
        command: &[String],
    ) -> Contained {
        const SCRIPT: &str = r#"
            set -e
            root=$1 user=$2 directory=$3 variable=$4
            shift 4
            ip link set lo up
            mount -t proc proc "$root/proc"
            mount --rbind /dev "$root/dev"
            exec chroot --userspec="$user" "$root" /usr/bin/env -i -C "$directory" \
                PATH=/usr/local/bin:/usr/bin:/bin "$variable" "$@"
        "#;
        let mut contained = Command::new("unshare");
        contained.args(["--mount", "--net", "/bin/bash", "-c", SCRIPT, "contained"]);
        contained.arg(self.path("/"));
        contained.args([user, directory, variable]).args(command);
        Contained {
            process: contained.spawn().unwrap(),
        }
    }
}

impl Contained {
    /// A command beside it, as the same user, with the same root directory and variable.
    pub(crate) fn beside(&self, variable: &str, command: &[String]) -> Command {
        let id = self.process.id().to_string();
        let mut beside = Command::new("nsenter");
        beside.args(["--target", &id, "--mount", "--net", "--root", "--wd"]);
        beside.args(["--setuid", "10001", "--", "/usr/bin/env", "-i"]);
        beside.args(["PATH=/usr/local/bin:/usr/bin:/bin", variable]);
        beside.args(command);
        beside
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
