//! A peer that signs what it tells of itself, as every node does, and then sends something
//! else than the content that it claims to hold.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use larder::peer::challenge::{HEADER, Prover};
use larder::peer::identity::Identity;
use larder::peer::registration::Registration;
use larder::record::FileId;
use serde_json::{Value, json};

use super::all_members::Front;
use super::blob::Blob;
use super::peers::post;
use super::process::{DEADLINE, until};
use super::raw_http::Answer;

/// The pause between two bytes of a trickle.
const TRICKLE: Duration = Duration::from_millis(20);

/// What is sent in answer to a range of a content. Counts are bytes of the answer, in which
/// the hashes that prove it stand before the content.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sends {
    /// The range.
    Truth,
    /// Another byte than the right one, so far behind the beginning.
    WrongByte(usize),
    /// Not even a head.
    Nothing,
    /// So much of it, and nothing more on a connection that stays.
    SilentAfter(usize),
    /// So much of it, then single bytes with pauses.
    TrickleAfter(usize),
    /// So much of it, then zeros for ever.
    EndlessAfter(usize),
    /// So much of it, with the length of all, and the end of the connection.
    BreaksAfter(usize),
    /// So much of it, as if that were all.
    EndsAfter(usize),
    /// All of it and so many zeros.
    LongerBy(usize),
    /// A refusal.
    Status(&'static str),
    /// The way to the same at another node.
    Redirect(SocketAddr),
}

/// What a liar does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lie {
    /// What it sends when it is asked for the last byte, which proves how long a content is.
    pub(crate) end: Sends,
    /// What it sends when it is asked for more.
    pub(crate) rest: Sends,
    /// The size that it tells of a content; that of the content where there is none.
    pub(crate) size: Option<u64>,
}

impl Lie {
    /// No lie at all.
    pub(crate) const TRUTH: Self = Self::at_once(Sends::Truth);

    /// Sends this whatever it is asked for, also how long its contents are.
    pub(crate) const fn at_once(sends: Sends) -> Self {
        Self {
            end: sends,
            rest: sends,
            size: None,
        }
    }
}

/// A running liar; its threads end with the test's process.
pub(crate) struct Liar {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    identity: Identity,
    address: SocketAddr,
    /// What makes it a member, where all are.
    front: Option<Front>,
    blobs: Vec<(FileId, Blob)>,
    lie: Lie,
    /// How often it was asked for content.
    asked: AtomicUsize,
    /// How many answers are under way.
    answering: AtomicUsize,
}

impl Liar {
    /// A liar that claims to hold these contents.
    pub(crate) fn start(contents: &[&[u8]], lie: Lie) -> Self {
        let mut last = None;
        let files = contents.iter().map(|content| {
            let id = FileId::next(last.take());
            last = Some(id);
            (id, *content)
        });
        Self::under(files, lie)
    }

    /// A liar that claims to hold these contents under these ids, which rise.
    pub(crate) fn under<'a>(files: impl IntoIterator<Item = (FileId, &'a [u8])>, lie: Lie) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let identity = Identity::generate().unwrap();
        let front = Front::of(&identity);
        let address = listener.local_addr().unwrap();
        let address = front.as_ref().map_or(address, |it| it.before(address));
        let blobs = files.into_iter();
        let blobs = blobs.map(|(id, content)| (id, Blob::new(content.to_vec(), &[usize::MAX])));
        let shared = Arc::new(Shared {
            identity,
            address,
            front,
            blobs: blobs.collect(),
            lie,
            asked: AtomicUsize::new(0),
            answering: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&serving);
                // Whoever asks may go away at any time.
                thread::spawn(move || shared.serve(stream.unwrap()).ok());
            }
        });
        Self { address, shared }
    }

    pub(crate) fn id(&self) -> String {
        self.shared.identity.peer_id().to_string()
    }

    /// The id and the hash of a file that it claims to hold.
    pub(crate) fn file(&self, number: usize) -> (String, Value) {
        let (id, blob) = &self.shared.blobs[number];
        (id.to_string(), json!(blob.hash.to_string()))
    }

    /// What it tells of itself, signed.
    pub(crate) fn registration(&self) -> String {
        self.shared.registration().to_string()
    }

    /// What it tells when it stops, signed.
    pub(crate) fn goodbye(&self) -> Registration {
        let address = format!("http://{}", self.address).parse().unwrap();
        Registration::goodbye(&self.shared.identity, &address)
    }

    /// Tells a node of itself.
    pub(crate) fn meet(&self, node: SocketAddr) -> Answer {
        let front = self.shared.front.as_ref();
        let node = front.map_or(node, |it| it.way_to(node));
        post(node, "/api/peers", &self.registration())
    }

    /// How often it was asked for content so far.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Whether somebody waits for it now.
    pub(crate) fn is_answering(&self) -> bool {
        self.shared.answering.load(Ordering::SeqCst) > 0
    }

    /// Waits until nobody reads from it any longer, whatever it still would send.
    pub(crate) fn until_left_alone(&self) {
        let answering = &self.shared.answering;
        until("the liar is hung up on", || {
            (answering.load(Ordering::SeqCst) == 0).then_some(())
        });
    }
}

impl Shared {
    fn registration(&self) -> Value {
        let address = format!("http://{}", self.address).parse().unwrap();
        let told = Registration::of_self(&self.identity, &address);
        json!(match &self.front {
            Some(front) => told.with_membership(&front.certificate()),
            None => told,
        })
    }

    fn listing(&self) -> Value {
        let file = |(id, blob): &(FileId, Blob)| {
            let size = self.lie.size.unwrap_or(blob.content.len() as u64);
            json!({ "file_id": id.to_string(), "original_name": "of the liar", "size": size,
                "uploaded_at": "2026-01-21T10:00:00", "hash": blob.hash.to_string() })
        };
        let files: Vec<_> = self.blobs.iter().map(file).collect();
        json!({ "status": "success", "peer_id": self.identity.peer_id().to_string(),
            "file_count": files.len(), "total_files": files.len(), "files": files,
            "next": null })
    }

    /// Answers one request.
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(DEADLINE))?;
        let (target, challenge) = read_request(&stream)?;
        if let Some((blob, range)) = self.range_of(&target) {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.answering.fetch_add(1, Ordering::SeqCst);
            let sent = self.send_range(&mut stream, &target, blob, &range);
            self.answering.fetch_sub(1, Ordering::SeqCst);
            return sent;
        }
        let (status, message) = match target.split('?').next() {
            Some("/api/peers") => {
                let introduced = json!({ "peers": [], "self": self.registration() });
                ("200 OK", introduced)
            }
            Some("/api/p2p/files") => ("200 OK", self.listing()),
            _ => ("404 Not Found", json!({})),
        };
        let mut message = message.to_string();
        if let Some(challenge) = challenge {
            message.pop();
            let mut prover = Prover::new(challenge.parse().unwrap(), target);
            prover.push(message.as_bytes());
            message += &prover.finish(&self.identity);
        }
        write_head(&mut stream, status, Some(message.len()), "")?;
        stream.write_all(message.as_bytes())
    }

    /// The blob and the range that `/api/p2p/blob/{hash}/bao?start={start}&end={end}` means.
    fn range_of(&self, target: &str) -> Option<(&Blob, Range<u64>)> {
        let (hash, range) = target.strip_prefix("/api/p2p/blob/")?.split_once("/bao?")?;
        let (start, end) = range.strip_prefix("start=")?.split_once("&end=")?;
        let mut blobs = self.blobs.iter().map(|(_, blob)| blob);
        let blob = blobs.find(|blob| blob.hash.to_string() == hash)?;
        Some((blob, start.parse().ok()?..end.parse().ok()?))
    }

    fn send_range(
        &self,
        stream: &mut TcpStream,
        target: &str,
        blob: &Blob,
        asked: &Range<u64>,
    ) -> std::io::Result<()> {
        let size = blob.content.len() as u64;
        let held = asked.start.min(size.saturating_sub(1))..asked.end.min(size);
        let truth = blob.answer(&held, usize::MAX);
        let only_the_end = asked.end - asked.start <= 1;
        let sends = if only_the_end {
            self.lie.end
        } else {
            self.lie.rest
        };
        match sends {
            Sends::Redirect(address) => redirect(stream, address, target),
            sends => sends.send(stream, truth),
        }
    }
}

impl Sends {
    /// Sends what it is instead of `truth`.
    fn send(self, stream: &mut TcpStream, mut truth: Vec<u8>) -> std::io::Result<()> {
        let length = truth.len();
        let (length, sent) = match self {
            Self::Nothing => return wait_for_the_end(stream),
            Self::Status(status) => return write_head(stream, status, Some(0), ""),
            Self::EndsAfter(sent) => (Some(sent), sent),
            Self::LongerBy(more) => {
                truth.resize(length + more, 0);
                (Some(length + more), length + more)
            }
            Self::EndlessAfter(sent) => (None, sent),
            Self::SilentAfter(sent) | Self::TrickleAfter(sent) | Self::BreaksAfter(sent) => {
                (Some(length), sent)
            }
            _ => (Some(length), length),
        };
        if let Self::WrongByte(at) = self {
            truth[at] ^= 1;
        }
        write_head(stream, "200 OK", length, "")?;
        let (sent, kept_back) = truth.split_at(sent.min(truth.len()));
        stream.write_all(sent)?;
        match self {
            Self::SilentAfter(_) => wait_for_the_end(stream),
            Self::TrickleAfter(_) => trickle(stream, kept_back),
            Self::EndlessAfter(_) => std::io::copy(&mut std::io::repeat(0), stream).map(|_| ()),
            _ => Ok(()),
        }
    }
}

/// Reads a request with its body, and returns its target and what it asks to be proven.
fn read_request(stream: &TcpStream) -> std::io::Result<(String, Option<String>)> {
    let mut stream = BufReader::new(stream);
    let (mut target, mut length, mut line) = (None, 0, String::new());
    let mut challenge = None;
    while stream.read_line(&mut line)? > 2 {
        target = target.or_else(|| line.split(' ').nth(1).map(str::to_owned));
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if let Some(value) = lower.strip_prefix(HEADER) {
            challenge = Some(value.trim_start_matches(':').trim().to_owned());
        }
        line.clear();
    }
    stream.read_exact(&mut vec![0; length])?;
    let target = target.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    Ok((target, challenge))
}

/// The head of an answer; without a length it ends with the connection.
fn write_head(
    stream: &mut TcpStream,
    status: &str,
    length: Option<usize>,
    more: &str,
) -> std::io::Result<()> {
    let length = length.map(|length| format!("Content-Length: {length}\r\n"));
    let length = length.unwrap_or_default();
    let head = format!("HTTP/1.1 {status}\r\n{length}{more}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes())
}

fn redirect(stream: &mut TcpStream, to: SocketAddr, target: &str) -> std::io::Result<()> {
    let location = format!("Location: http://{to}{target}\r\n");
    write_head(stream, "307 Temporary Redirect", Some(0), &location)
}

fn trickle(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte])?;
        thread::sleep(TRICKLE);
    }
    Ok(())
}

/// Waits until the other side hangs up.
fn wait_for_the_end(stream: &mut TcpStream) -> std::io::Result<()> {
    std::io::copy(stream, &mut std::io::sink()).map(|_| ())
}
