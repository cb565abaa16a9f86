//! What a bootstrap server costs of which many nodes ask each period who is there.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use larder::base_url::BaseUrl;
use larder::peer::client::WANTED;
use larder::peer::holdings::{Holdings, Version};
use larder::peer::identity::Identity;
use larder::peer::registration::Registration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

/// How often each node asks, as they have it by default.
const PERIOD: Duration = Duration::from_secs(30);
/// For how many of these it is measured.
const PERIODS: u32 = 2;
/// How many peers a node asks for that knows some.
const FEW: usize = 16;
/// The most questions under way at once.
const AT_ONCE: usize = 64;
/// What the HTTP library adds to the heads of a question and its answer, about.
const HEADS: u64 = 330;
/// How many ticks of `/proc/PID/stat` a second has.
const TICKS: f64 = 100.0;

/// A server in a process of its own, killed on drop.
struct Server {
    process: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts the larder at this path as a bootstrap server.
    async fn start(larder: &str, dir: &std::path::Path) -> Result<Self> {
        let address = {
            let free = std::net::TcpListener::bind("127.0.0.1:0")?;
            free.local_addr()?.to_string()
        };
        // Relative paths begin where the caller is, not where the server runs.
        let process = Command::new(std::fs::canonicalize(larder)?)
            .args(["bootstrap", "--listen", &address, "--peer-rate", "0"])
            // All come from one address, which has a quarter of the places at most.
            .args(["--max-peers", "1000000"])
            .current_dir(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Self { process, address };
        for _ in 0..200 {
            if std::net::TcpStream::connect(&server.address).is_ok() {
                return Ok(server);
            }
            sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("the server does not begin")
    }

    /// What it has computed so far, in seconds.
    fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("no stat")?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut next = || -> Result<f64> { Ok(fields.next().context("no time")?.parse()?) };
        Ok((next()? + next()?) / TICKS)
    }
}

/// Has so many nodes register each period with the larder at this path, and prints what that costs.
pub(crate) async fn run(larder: &str, nodes: usize) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Arc::new(Server::start(larder, dir.path()).await?);
    let mut told = Vec::with_capacity(nodes);
    for number in 0..nodes {
        told.push(registration(number)?);
    }
    let (told, bytes) = (Arc::new(told), Arc::new(AtomicU64::new(0)));
    // Until all are known nothing is measured.
    rounds(&server, &told, &bytes, 1).await?;
    let (before, sent, began) = (server.cpu()?, bytes.load(Ordering::Relaxed), Instant::now());
    rounds(&server, &told, &bytes, PERIODS).await?;
    let seconds = began.elapsed().as_secs_f64();
    let (cpu, sent) = (server.cpu()? - before, bytes.load(Ordering::Relaxed) - sent);
    #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
    let rate = sent as f64 / seconds / 1e6;
    println!(
        "{nodes} nodes, {seconds:.0} s: {rate:.2} MB/s, {:.3} of a core",
        cpu / seconds
    );
    Ok(())
}

/// A node that tells how much it holds.
fn registration(number: usize) -> Result<Registration> {
    let identity = Identity::generate()?;
    let (net, host) = (number / 250, number % 250);
    let address: BaseUrl = format!("http://10.{}.{}.{host}:5004", net / 250, net % 250).parse()?;
    let version = Version {
        files: 10,
        version: 1,
        follows: 0,
    };
    let told = Registration::of_self(&identity, &address);
    Ok(told.with_holdings(Holdings::of(&identity, version)))
}

async fn rounds(
    server: &Arc<Server>,
    told: &Arc<Vec<Registration>>,
    bytes: &Arc<AtomicU64>,
    periods: u32,
) -> Result<()> {
    // A client needs one, though nothing here is encrypted; it may be there by now.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let free = Arc::new(Semaphore::new(AT_ONCE));
    let pause = PERIOD / u32::try_from(told.len())?;
    let (mut due, mut under_way) = (interval(pause), JoinSet::new());
    for number in 0..told.len() * periods as usize {
        due.tick().await;
        let place = Arc::clone(&free).acquire_owned().await?;
        let (http, server) = (http.clone(), Arc::clone(server));
        let (told, bytes) = (Arc::clone(told), Arc::clone(bytes));
        under_way.spawn(async move {
            let told = told.get(number % told.len()).context("nobody")?;
            let body = serde_json::to_string(told)?;
            let url = format!("http://{}/register", server.address);
            let sent = body.len() as u64;
            let asked = http.post(url).header("content-type", "application/json");
            let asked = asked.header(WANTED, FEW);
            let answer = asked.body(body).send().await?;
            ensure!(answer.status().is_success(), "{}", answer.status());
            let heard = answer.bytes().await?.len() as u64;
            bytes.fetch_add(sent + heard + HEADS, Ordering::Relaxed);
            drop(place);
            anyhow::Ok(())
        });
        while let Some(ended) = under_way.try_join_next() {
            ended??;
        }
    }
    while let Some(ended) = under_way.join_next().await {
        ended??;
    }
    Ok(())
}
