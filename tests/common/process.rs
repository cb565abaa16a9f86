//! A node as its users run it: the binary, in a process of its own.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tempfile::TempDir;

use super::all_members;
use super::packs::blobs_in_packs;

/// How long anything may take that is waited for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running node, killed on drop.
pub(crate) struct Node {
    process: Child,
    pub(crate) address: SocketAddr,
    /// What it printed when it began to serve.
    pub(crate) said: String,
    dir: PathBuf,
}

/// The command that runs larder in `dir`, with default settings but for the port, and
/// without multicast DNS, by which the nodes of all tests would meet. `tests/fleet/run` names
/// another one in the place of the binary.
pub(crate) fn larder(dir: &Path) -> Command {
    let stand_in = std::env::var_os("NODE_UNDER_TEST");
    let mut command = Command::new(stand_in.unwrap_or(env!("CARGO_BIN_EXE_larder").into()));
    command.current_dir(dir).env_clear().env("PEER_PORT", "0");
    command.env("LARDER_NO_MDNS", "true");
    command
}

/// The same under a limit that the shell sets, such as `-f 200`; the soft and the hard one.
pub(crate) fn limited(dir: &Path, limit: &str) -> Command {
    let bare = larder(dir);
    let mut command = Command::new("/bin/bash");
    let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
    command.arg("-c").arg(script).arg(bare.get_program());
    command.current_dir(dir).env_clear();
    command.envs(
        bare.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    command
}

/// A node with default settings, in a directory of its own.
pub(crate) fn start() -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    (dir, node)
}

impl Node {
    /// Starts a node with more arguments in `dir`, where its storage directory is.
    pub(crate) fn start(dir: &TempDir, arguments: &[&str]) -> Self {
        let mut command = larder(dir.path());
        command.args(arguments);
        Self::spawn(dir, command)
    }

    /// Starts a node by a command made with [`larder`], and waits until it serves.
    pub(crate) fn spawn(dir: &TempDir, command: Command) -> Self {
        Self::try_spawn(dir, command).unwrap_or_else(|line| {
            let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
            panic!("the node did not start: {line:?}; its log:\n{log}")
        })
    }

    /// The same; where it ends without having served, what it printed.
    pub(crate) fn try_spawn(dir: &TempDir, mut command: Command) -> Result<Self, String> {
        all_members::join(dir.path(), &mut command);
        let mut log = File::options();
        let log = log.create(true).append(true);
        let log = log.open(dir.path().join("log")).unwrap();
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        // Of one that listens on all addresses the URL is another one.
        let address = line
            .split_once("(listens on ")
            .or_else(|| line.rsplit_once("://"));
        let address = address.and_then(|(_, rest)| {
            let (address, _) = rest.split_once([' ', ')'])?;
            address.parse().ok()
        });
        let Some(address) = address else {
            // It may have ended already.
            let _ = process.kill();
            process.wait().unwrap();
            return Err(line);
        };
        Ok(Self {
            process,
            address,
            said: line,
            dir: dir.path().to_owned(),
        })
    }

    /// A URL of the node, as clients on this machine write it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.address.port())
    }

    /// Everything the node has written to its log, those before it included.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap()
    }

    /// The lines of its log that tell of what an operator should see to.
    pub(crate) fn complaints(&self) -> String {
        let log = self.log();
        let complains = |line: &&str| line.contains(" WARN ") || line.contains("ERROR ");
        log.lines().filter(complains).collect::<Vec<_>>().join("\n")
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether another process traces all of its threads.
    pub(crate) fn is_traced(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let mut status = tasks.map(|it| std::fs::read_to_string(it.unwrap().path().join("status")));
        status.all(|it| it.is_ok_and(|it| !it.contains("TracerPid:\t0\n")))
    }

    /// Whether its process is no more, though nobody has waited for it yet.
    pub(crate) fn has_ended(&self) -> bool {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()));
        state.map_or(true, |it| {
            it.rsplit(')').next().unwrap().trim_start().starts_with('Z')
        })
    }

    /// The most memory that the node has held so far, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// A line of what the system tells of its memory, in KiB.
    pub(crate) fn memory(&self, what: &str) -> u64 {
        let status = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(status).unwrap();
        let (_, size) = status.split_once(what).unwrap();
        size.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Lets the node open no more files than it has open, or as many as it likes.
    pub(crate) fn allow_open_files(&self, allowed: bool) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        let maximum = getrlimit(Resource::Nofile).maximum;
        let current = if allowed {
            maximum
        } else {
            // The limit is one of numbers, and each file gets the lowest that is free.
            let open = std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap();
            let open = open.map(|it| it.unwrap().file_name().to_str().unwrap().parse().unwrap());
            let open: BTreeSet<u64> = open.collect();
            (0..u64::MAX).find(|number| !open.contains(number))
        };
        prlimit(pid, Resource::Nofile, Rlimit { current, maximum }).unwrap();
    }

    /// Lets the node write no file beyond so many bytes, or as far as it likes.
    pub(crate) fn limit_file_sizes(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        let maximum = getrlimit(Resource::Fsize).maximum;
        let current = bytes.or(maximum);
        prlimit(pid, Resource::Fsize, Rlimit { current, maximum }).unwrap();
    }

    /// The files of blobs and of uploads under way; the blobs in packs as if they were
    /// files there.
    pub(crate) fn content_files(&self) -> Vec<PathBuf> {
        let storage = self.dir.join("peer_storage");
        let in_packs = blobs_in_packs(&storage).into_iter();
        let in_packs = in_packs.map(|hash| storage.join("packs").join(hash));
        let mut files = self.files_below(&["blobs", "spool"]);
        files.extend(in_packs);
        files
    }

    /// The files of outboards.
    pub(crate) fn outboard_files(&self) -> Vec<PathBuf> {
        self.files_below(&["outboards"])
    }

    fn files_below(&self, dirs: &[&str]) -> Vec<PathBuf> {
        let storage = self.dir.join("peer_storage");
        let mut files = Vec::new();
        let mut dirs: Vec<_> = dirs.iter().map(|dir| storage.join(dir)).collect();
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                let kind = entry.file_type().unwrap();
                if kind.is_dir() { &mut dirs } else { &mut files }.push(entry.path());
            }
        }
        files
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self::signal(&self.process, signal);
    }

    /// Waits until the process has ended.
    pub(crate) fn wait(mut self) -> ExitStatus {
        let process = &mut self.process;
        until("the node ends", || process.try_wait().unwrap())
    }

    /// Ends the node as an operator does.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        let process = &mut self.process;
        let status = until("the node ends", || process.try_wait().unwrap());
        // Where it fails, what the node has said is shown.
        assert!(status.success(), "{status}");
    }

    /// Ends the node as a crash does.
    pub(crate) fn kill(self) {
        self.signal(Signal::KILL);
        self.wait();
    }
}

/// Sends a signal. One that stops the process has stopped each of its threads once this returns,
/// which the system does one after the other.
pub(crate) fn signal(process: &Child, signal: Signal) {
    kill_process(Pid::from_child(process), signal).unwrap();
    if signal == Signal::STOP {
        let tasks = format!("/proc/{}/task", process.id());
        until("each thread has stopped", || {
            let mut tasks = fs::read_dir(&tasks).unwrap();
            let all = tasks.all(|task| is_stopped(&task.unwrap().path()));
            all.then_some(())
        });
    }
}

/// Whether a thread does nothing; proc(5) has its state behind its name.
fn is_stopped(task: &Path) -> bool {
    fs::read_to_string(task.join("stat")).map_or(true, |stat| {
        let (_, behind) = stat.rsplit_once(") ").unwrap();
        behind.starts_with('T')
    })
}

impl Node {
    /// The memory that it has now, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let (_, resident) = status.split_once("VmRSS:").unwrap();
        let kib = resident.split_whitespace().next().unwrap();
        kib.parse::<u64>().unwrap() << 10
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ended = self.process.try_wait();
            let log = std::fs::read_to_string(self.dir.join("log"));
            println!("the node had ended: {ended:?}; its log:");
            println!("{}", log.unwrap_or_default());
        }
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until `look` finds what it looks for.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
