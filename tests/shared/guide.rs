//! The commands of docs/fleet.md, as they are written there.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use crate::common::process::larder;
use crate::common::venv;

/// Who runs them where the tests are root's, as whom no database runs.
const NOBODY: u32 = 65534;

/// All that the guide has a shell do.
fn commands(guide: &str) -> String {
    let mut commands = String::new();
    let mut is_command = false;
    for line in guide.lines() {
        match line {
            "```sh" => is_command = true,
            "```" => is_command = false,
            _ if is_command => {
                commands.push_str(line);
                commands.push('\n');
            }
            _ => {}
        }
    }
    let (_, end) = guide.split_once("It ends with `").unwrap();
    commands + end.split_once('`').unwrap().0 + "\n"
}

/// A shell of its own: with ports that nobody else has, and processes that end with it, where that
/// is allowed, as it is to root.
fn shell(dir: &Path) -> Command {
    let home = dir.display();
    let mut shell;
    let run = "cd \"$HOME/work\" && exec bash -e ../commands.sh";
    if rustix::process::geteuid().is_root() {
        shell = Command::new("unshare");
        shell.args([
            "--net",
            "--pid",
            "--mount",
            "--fork",
            "--kill-child",
            "bash",
            "-c",
        ]);
        let as_nobody = format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups");
        // The store has sockets there, which are of whoever came first.
        let own = "ip link set lo up && mount -t tmpfs -o mode=1777 none /tmp";
        shell.arg(format!("{own} && exec {as_nobody} bash -c '{run}'"));
    } else {
        shell = Command::new("bash");
        shell.args(["-c", run]);
    }
    let path = format!("{home}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    shell
        .env_clear()
        .env("PATH", path)
        .env("HOME", home.to_string());
    shell
}

#[test]
fn the_commands_of_the_guide_do_what_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(root.join("docs/fleet.md")).unwrap();
    // Where anybody may go, which is not so of every directory that tests are built in.
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let work = dir.path().join("work");
    fs::create_dir(&work).unwrap();
    let node = larder(dir.path()).get_program().to_owned();
    let weed = venv::command("weed").get_program().to_owned();
    for (program, place) in [(node, "bin/larder"), (weed, "seaweed/bin/weed")] {
        let place = dir.path().join(place);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(program, place).unwrap();
    }
    fs::write(dir.path().join("commands.sh"), commands(&guide)).unwrap();
    if rustix::process::geteuid().is_root() {
        for path in [dir.path(), &work] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    let output = shell(dir.path()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    let lines: Vec<_> = said.lines().collect();
    // The nodes are one peer, and each knows of the one file.
    let nodes: Vec<_> = lines.iter().filter(|it| it.ends_with(" 1")).collect();
    assert_eq!(nodes.len(), 3, "{said}");
    assert!(nodes.iter().all(|it| *it == nodes[0]), "{said}");
    for told in ["one for all", "it is gone", "it is in the backup"] {
        assert_eq!(lines.iter().filter(|it| **it == told).count(), 1, "{said}");
    }
    let counts = lines
        .iter()
        .filter(|it| it.contains(": 0 problems, 1 left over"));
    assert_eq!(counts.count(), 1, "{said}");
}
