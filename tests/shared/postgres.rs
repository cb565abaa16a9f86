//! A server of `PostgreSQL`, which a test has for itself.

use std::iter;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use larder::index::postgres::{Options, PostgresIndex};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::common::process::{DEADLINE, until};

/// Who runs the server where the tests are root's, which it refuses: nobody.
const NOBODY: u32 = 65534;

/// A running server, killed on drop.
pub(crate) struct Server {
    process: Child,
    dir: TempDir,
    port: u16,
    settings: Vec<String>,
}

impl Server {
    /// A server that keeps what it acknowledges.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with other settings.
    pub(crate) fn start_with(settings: &[&str]) -> Self {
        let dir = in_memory();
        if geteuid().is_root() {
            chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let made = command(dir.path(), "initdb")
            .args([
                "-A",
                "trust",
                "-U",
                "larder",
                "-E",
                "UTF8",
                "--no-locale",
                "--no-sync",
            ])
            .arg("-D")
            .arg(dir.path().join("data"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let settings: Vec<_> = settings.iter().map(|it| (*it).to_owned()).collect();
        let port = below_the_ephemeral();
        let mut server = Self {
            process: spawn(dir.path(), port, &settings),
            dir,
            port,
            settings,
        };
        server.until_it_serves();
        server
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A new database of this name, and its URL.
    pub(crate) async fn database(&self, name: &str) -> String {
        let client = connect(&self.url("postgres")).await;
        let sql = format!("CREATE DATABASE {name}");
        client.batch_execute(&sql).await.unwrap();
        self.url(name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://larder@127.0.0.1:{}/{database}", self.port)
    }

    /// Writes down what is in a database, as its operator does for a backup.
    pub(crate) fn dump(&self, database: &str) -> PathBuf {
        let file = self.dir.path().join(format!("{database}.dump"));
        self.run("pg_dump", &["-Fc", "-f", file.to_str().unwrap(), database]);
        file
    }

    /// Sets a database back to what was written down.
    pub(crate) fn set_back(&self, database: &str, dump: &Path) {
        self.run("dropdb", &["--force", database]);
        self.run("createdb", &[database]);
        self.run("pg_restore", &["-d", database, dump.to_str().unwrap()]);
    }

    fn run(&self, name: &str, arguments: &[&str]) {
        let mut command = command(self.dir.path(), name);
        let port = self.port.to_string();
        command.args(["-h", "127.0.0.1", "-p", &port, "-U", "larder"]);
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Ends all its processes at once, as a power cut does but for the disk.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Lets all its processes stand still, or go on, as a machine does that hangs.
    pub(crate) fn signal(&self, signal: Signal) {
        let children = format!("/proc/{0}/task/{0}/children", self.process.id());
        // One that was killed has none.
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let children = children.split_whitespace().map(|it| it.parse().unwrap());
        let own = Pid::from_child(&self.process).as_raw_nonzero().get();
        for pid in iter::once(own).chain(children) {
            // One that has just ended stands still.
            let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
        }
    }

    /// Starts it again after that.
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(self.dir.path(), self.port, &self.settings);
        self.until_it_serves();
    }

    /// Waits until it takes connections; one that was killed leaves processes for a moment that
    /// keep the next one from it.
    fn until_it_serves(&mut self) {
        until("the database serves", || {
            if let Some(status) = self.process.try_wait().unwrap() {
                assert!(!status.success());
                self.process = spawn(self.dir.path(), self.port, &self.settings);
            }
            let ready = command(self.dir.path(), "pg_isready")
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status();
            ready.unwrap().success().then_some(())
        });
    }
}

impl Server {
    /// Starts it again as one that follows another, of which nothing comes, or as a primary.
    pub(crate) fn follow(&mut self, does: bool) {
        let signal = self.dir.path().join("data/standby.signal");
        if does {
            std::fs::write(&signal, "").unwrap();
        } else {
            std::fs::remove_file(&signal).unwrap();
        }
        self.start_again();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends its children and forgets its memory at once when it is told so.
        let pid = Pid::from_child(&self.process);
        self.signal(Signal::CONT);
        let _ = kill_process(pid, Signal::QUIT);
        let _ = self.process.wait();
    }
}

fn spawn(dir: &Path, port: u16, settings: &[String]) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .unwrap();
    let mut command = command(dir, "postgres");
    command.arg("-D").arg(dir.join("data"));
    command.args(["-p", &port.to_string()]);
    let usual = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "shared_buffers=16MB",
        "max_connections=60",
    ];
    for setting in usual.into_iter().chain(settings.iter().map(String::as_str)) {
        command.args(["-c", setting]);
    }
    command.stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap()
}

/// A command of the server's, run by who may run it.
fn command(dir: &Path, name: &str) -> Command {
    let mut command = Command::new(binary(name));
    command.current_dir(dir).env("LC_ALL", "C");
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Debian has most of them where no PATH leads.
fn binary(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let versions = versions.into_iter().flatten().flatten();
    let debian = versions.map(|it| it.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<_> = std::env::split_paths(&path).collect();
    let mut found = debian.chain(on_path).map(|it| it.join(name));
    let found = found.find(|it| it.exists());
    found.unwrap_or_else(|| panic!("there is no {name}: install postgresql"))
}

/// A directory in memory where there is one, so that nobody waits for the disk.
fn in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir());
    made.unwrap()
}

/// A connection beside those of larder.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The number that a query gives.
pub(crate) async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// An index in a database, whose garbage is due at once.
pub(crate) async fn index(url: &str) -> PostgresIndex {
    let mut options = Options::new(url).unwrap();
    options.grace = Duration::ZERO;
    PostgresIndex::open(&options).await.unwrap()
}

/// Waits for what becomes true by itself.
pub(crate) async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(DEADLINE, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap();
}

/// A port that no connection takes by itself while the server is away.
fn below_the_ephemeral() -> u16 {
    let first = 22_500 + u16::from(Uuid::new_v4().as_bytes()[0]) * 16;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..first + 500).find(is_free).unwrap()
}
