//! A network of two machines, and of one and a phone, as README tells how to make them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::browser::{code_in, script_at, succeeds};
use crate::common::process::until;
use crate::lan::Lan;

/// A shell on one of the machines, in a directory of its own; what it has started ends with it.
struct Shell {
    dir: TempDir,
    process: Child,
    input: Option<ChildStdin>,
}

impl Shell {
    fn open(lan: &Lan, node: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("hello.txt"), format!("hello from {node}\n")).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let mut command = lan.command(node, "/bin/bash");
        command.current_dir(dir.path()).stdin(Stdio::piped());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let binaries = Path::new(env!("CARGO_BIN_EXE_larder")).parent().unwrap();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", binaries.display());
        // They shall meet by what README names.
        command.env("PATH", path).env("LARDER_NO_MDNS", "true");
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take();
        let mut shell = Self {
            dir,
            process,
            input,
        };
        shell.type_in("trap 'kill $(jobs -p); wait' EXIT");
        shell
    }

    fn type_in(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Everything that was printed there.
    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn until_printed(&self, text: &str) {
        until("it is printed", || self.log().contains(text).then_some(()));
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

/// The machine and the command of each line of README's example.
fn example() -> Vec<(u8, &'static str)> {
    let readme = include_str!("../../README.md");
    let lines = readme.lines().filter_map(|line| {
        let (node, command) = line.strip_prefix("10.77.0.")?.split_once("$ ")?;
        Some((node.parse().unwrap(), command))
    });
    lines.collect()
}

#[test]
fn two_machines_share_a_file_by_the_commands_of_readme() {
    if let Some(lan) = Lan::of(2) {
        share(&lan);
    }
}

#[test]
fn two_machines_that_one_cable_joins_and_no_router_share_a_file_alike() {
    if let Some(lan) = Lan::of(2) {
        lan.remove_default_routes();
        share(&lan);
    }
}

fn share(lan: &Lan) {
    let example = example();
    let ([.., (put_at, put), (get_at, get)], 7) = (&*example, example.len()) else {
        panic!("{example:?}");
    };
    let mut shells = [1, 2].map(|node| Shell::open(lan, node));
    for (node, command) in &example[..5] {
        let shell = &mut shells[usize::from(*node) - 1];
        shell.type_in(command);
        // Whoever types has seen that the one before is there.
        if command.contains("bootstrap --listen") {
            shell.until_printed("introduces peers on http://10.77.0.1:9000 (listens on");
        } else if command.ends_with('&') {
            let port = format!(
                "on http://{}:5004 (listens on 0.0.0.0:5004)",
                Lan::address(*node)
            );
            shell.until_printed(&port);
        }
    }
    for node in [1, 2] {
        until("the nodes have met", || {
            let status = lan.json(node, "/api/p2p/status");
            assert_eq!(status["peer"]["address"], Lan::url(node, ""));
            (status["peers_reachable"] == 1).then_some(())
        });
    }
    assert_eq!((*put_at, *get_at), (2, 1));
    shells[1].type_in(put);
    until("the file is known", || {
        let held = lan.json(1, "/api/p2p/network");
        let files = held["files"].as_array()?;
        files
            .iter()
            .find(|it| it["reachable"] == Value::Bool(true))?;
        Some(())
    });
    let target = shells[0].dir.path().join("hello.txt");
    fs::remove_file(&target).unwrap();
    shells[0].type_in(get);
    until("the file is here", || {
        fs::read_to_string(&target)
            .ok()
            .filter(|it| it == "hello from 2\n")
    });
}

/// The same command as one of the machines runs it.
fn on(lan: &Lan, node: u8, command: &Command) -> Command {
    let mut there = lan.command(node, command.get_program().to_str().unwrap());
    there.args(command.get_args());
    let variables = command.get_envs();
    there.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    there
}

#[test]
fn a_computer_and_the_phone_beside_it_share_files_by_the_lines_of_readme_alone() {
    let Some(lan) = Lan::of(2) else { return };
    let readme = include_str!("../../README.md");
    let mut lines = readme.lines().map(str::trim);
    let line = lines.find(|it| it.starts_with("export LARDER_TOKEN=") && it.contains("echo"));
    let mut shell = Shell::open(&lan, 1);
    // In the background, since it has no second window.
    shell.type_in(&format!("{} &", line.unwrap()));
    shell.until_printed("(listens on 0.0.0.0:5004)");
    let log = shell.log();
    let token = log.lines().next().unwrap();
    let (_, address) = log.split_once(" on http://").unwrap();
    let address = format!("http://{}/", address.split(' ').next().unwrap());
    let file = |name: &str| shell.dir.path().join(name);
    let (sent, code) = (file("hello.txt"), file("code.png"));
    let computer = script_at("computer.mjs", &address, &[&token, &sent, &code]);
    succeeds(&mut on(&lan, 1, &computer));
    let (got, of_phone) = (file("got"), file("of the phone.txt"));
    fs::write(&of_phone, "hello from the phone\n").unwrap();
    let scanned = code_in(&code);
    assert!(scanned.starts_with(&address), "{scanned}");
    let phone = script_at("beside.mjs", &scanned, &[&"hello.txt", &got, &of_phone]);
    succeeds(&mut on(&lan, 2, &phone));
    assert_eq!(fs::read_to_string(got).unwrap(), "hello from 1\n");
    let back = file("back.txt");
    shell.type_in("larder get 'of the phone.txt' -o back.txt");
    until("the file is here", || {
        let text = fs::read_to_string(&back).ok();
        text.filter(|it| it == "hello from the phone\n")
    });
}
