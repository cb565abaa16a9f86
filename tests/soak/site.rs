//! A node with all that may fail it: a small disk, a clock, the power, and the cable to its peers.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::common::clock::ShiftedClock;
use crate::common::power::{FILLER, Power};
use crate::common::process::{Node, larder};
use crate::common::random::Random;
use crate::common::relay::Relay;
use crate::mounted::Mounted;

/// How long the disk is, in bytes.
const DISK: u64 = 96 << 20;

/// A bit that was flipped.
#[derive(Debug, Clone)]
pub(crate) struct Flip {
    /// Below the storage directory.
    pub(crate) path: PathBuf,
    at: u64,
    bit: u64,
    /// Whether the file was put back as it was before.
    is_back: bool,
}

pub(crate) struct Site {
    /// None while it is off. Before the disk, as it goes before it.
    node: Option<Node>,
    _disk: Mounted,
    pub(crate) dir: TempDir,
    clock: ShiftedClock,
    power: Power,
    pub(crate) cable: Relay,
    /// An address of its own, so that nobody takes another node for it that has its port.
    host: String,
    peers: Vec<String>,
    /// What was flipped since all was last found to be well.
    pub(crate) flips: Vec<Flip>,
    /// How long the log was then.
    log_before: usize,
}

impl Site {
    pub(crate) fn new(host: String, cable: Relay, peers: Vec<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = dir.path().join("peer_storage");
        let disk = Mounted::tmpfs(&format!("size={DISK},mode=700,inode64"), &storage);
        let clock = ShiftedClock::new(&dir, "0");
        let power = Power::new(&dir);
        power.all_is_durable(&storage);
        Self {
            node: None,
            _disk: disk,
            dir,
            clock,
            power,
            cable,
            host,
            peers,
            flips: Vec::new(),
            log_before: 0,
        }
    }

    pub(crate) fn storage(&self) -> PathBuf {
        self.dir.path().join("peer_storage")
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.node.as_ref().map(|it| it.address)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Whether the log tells of something that an operator should see to, since the first flip.
    pub(crate) fn has_told(&self) -> bool {
        let log = self.log();
        let new = &log[self.log_before..];
        new.contains(" WARN ") || new.contains("ERROR ")
    }

    /// Ends the node as a crash does, or as an operator does.
    pub(crate) fn kill(&mut self) {
        if let Some(node) = self.node.take() {
            node.kill();
        }
        // The next start has all that is there synced first.
        self.power.all_is_durable(&self.storage());
    }

    pub(crate) fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            node.stop();
        }
    }

    /// Ends it, and what it had not synced with it.
    pub(crate) fn cut_power(&mut self, random: &mut Random) {
        self.make_room();
        if let Some(node) = self.node.take() {
            node.kill();
        }
        self.power.cut(&self.storage(), random);
    }

    fn command(&self) -> Command {
        let mut command = larder(self.dir.path());
        self.clock.rules(&mut command);
        self.power.watches(&mut command);
        command.args(["--listen", &self.host, "--base-url", &self.cable.url()]);
        command.args([
            "--discover-every",
            "1",
            "--peer-stall",
            "1",
            "--log",
            "warn",
        ]);
        // A stop waits no longer for whoever is at the other end of a cable that was cut.
        command.args(["--shutdown-grace", "5"]);
        for peer in &self.peers {
            command.args(["--peer", peer]);
        }
        command
    }

    /// Has it run; now and then it is killed a few times before it has begun to serve.
    pub(crate) fn start(&mut self, random: &mut Random) {
        while self.node.is_none() && random.below(4) == 0 {
            let mut command = self.command();
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut process = command.spawn().unwrap();
            sleep(Duration::from_millis(random.below(150)));
            process.kill().unwrap();
            process.wait().unwrap();
            if random.below(3) == 0 {
                self.power.cut(&self.storage(), random);
            } else {
                self.power.all_is_durable(&self.storage());
            }
        }
        // Each flip may have to be seen to, one after the other.
        for _ in 0..=2 * self.flips.len() {
            match Node::try_spawn(&self.dir, self.command()) {
                Ok(node) => {
                    self.cable.connect(node.address);
                    self.node = Some(node);
                    return;
                }
                Err(_) => self.see_to_refusal(),
            }
        }
        panic!("the node does not start: {:?}\n{}", self.flips, self.log());
    }

    /// Does what the node says, which does not start: gives up what is damaged in the journal, or
    /// puts back the file that it names.
    fn see_to_refusal(&mut self) {
        let log = self.log();
        let told = log.lines().last().unwrap_or_default().to_owned();
        // One file may have been flipped twice.
        let is_named = |flip: &Flip| {
            let name = flip.path.file_name().unwrap().to_str().unwrap();
            !flip.is_back && told.contains(name)
        };
        if told.contains("--skip-damage") && !self.flips.is_empty() {
            let rebuilt = self.run(&["rebuild-index", "--skip-damage"]);
            println!("{}", String::from_utf8_lossy(&rebuilt.stdout));
            assert!(matches!(rebuilt.status.code(), Some(0 | 1)), "{rebuilt:?}");
        } else if let Some(flip) = self.flips.iter_mut().find(|it| is_named(it)) {
            println!("put back: {}: {told}", flip.path.display());
            flip.is_back = true;
            let flip = flip.clone();
            self.apply(&flip);
            // Else the next power cut brings the flip back.
            self.power.make_durable(&self.storage().join(&flip.path));
        } else {
            panic!("refused: {told}; {:?}\n{log}", self.flips);
        }
    }

    /// Runs a command on the storage directory, by the right clock.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = larder(self.dir.path());
        // What it makes is durable as far as it has synced it.
        self.power.watches(&mut command);
        command.args(arguments).output().unwrap()
    }

    /// Flips a bit of any file that is there.
    pub(crate) fn flip(&mut self, random: &mut Random) {
        let mut files = Vec::new();
        files_below(&self.storage(), &mut files);
        // Of many alike one is as good as another.
        let kinds: Vec<_> = files.iter().map(|it| kind(&self.storage(), it)).collect();
        let mut all = kinds.clone();
        all.sort();
        all.dedup();
        let Some(wanted) = pick(&all, random) else {
            return;
        };
        let alike = files.iter().zip(&kinds).filter(|(_, it)| *it == wanted);
        let alike: Vec<_> = alike.map(|(path, _)| path.clone()).collect();
        let path = pick(&alike, random).unwrap();
        let Ok(length) = fs::metadata(path).map(|it| it.len()) else {
            return;
        };
        let flip = Flip {
            path: path.strip_prefix(self.storage()).unwrap().to_owned(),
            at: random.below(length.max(1)),
            bit: random.below(8),
            is_back: false,
        };
        if self.flips.is_empty() {
            self.log_before = self.log().len();
        }
        println!("flipped on {}: {flip:?} of {length} bytes", self.host);
        self.flips.push(flip.clone());
        self.apply(&flip);
    }

    fn apply(&self, flip: &Flip) {
        let path = self.storage().join(&flip.path);
        let Ok(file) = fs::File::options().read(true).write(true).open(path) else {
            return;
        };
        let mut byte = [0];
        if file.read_exact_at(&mut byte, flip.at).is_ok() {
            byte[0] ^= 1 << flip.bit;
            file.write_all_at(&byte, flip.at).unwrap();
        }
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let filled = fs::write(self.filler(), vec![0; usize::try_from(DISK + 1).unwrap()]);
        assert!(filled.is_err());
    }

    /// Gives back what was filled.
    pub(crate) fn make_room(&self) {
        let _ = fs::remove_file(self.filler());
    }

    fn filler(&self) -> PathBuf {
        self.storage().join(FILLER)
    }

    /// Has its clock be off by so many seconds.
    pub(crate) fn set_clock(&self, seconds: &str) {
        self.clock.set(seconds);
    }

    /// Has it stand still, or go on.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(node) = &self.node {
            node.signal(signal);
        }
    }
}

fn pick<'a, T>(all: &'a [T], random: &mut Random) -> Option<&'a T> {
    let at = random.below(all.len().max(1) as u64);
    all.get(usize::try_from(at).unwrap())
}

/// Which files a file is like: those in its directory, or in one beside that.
fn kind(storage: &Path, file: &Path) -> PathBuf {
    let below = file.strip_prefix(storage).unwrap();
    let first = below.components().next().unwrap();
    let is_alone = below.components().count() == 1;
    if is_alone {
        return below.to_owned();
    }
    let extension = below.extension().unwrap_or_default();
    Path::new(first.as_os_str()).with_extension(extension)
}

fn files_below(dir: &Path, files: &mut Vec<PathBuf>) {
    // A node may be writing there.
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for path in entries.filter_map(|it| Some(it.ok()?.path())) {
        if path.is_dir() {
            files_below(&path, files);
        } else if fs::metadata(&path).is_ok_and(|it| it.len() > 0) && !path.ends_with(FILLER) {
            files.push(path);
        }
    }
}
