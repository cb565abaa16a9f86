//! The channel between members: TLS 1.3 in which both sides prove the keys of their nodes, as raw
//! public keys (RFC 7250), and then show each other what makes them members.
//!
//! Whoever connects names a tag first that only who knows the network's key can make, so that a
//! node shows strangers nothing, not even its key: the handshake of one who does not know it ends
//! with an alert. Each node makes another one at each start, so that nobody else sees by tags who
//! belongs together. Behind the handshake the one who has connected shows its certificate, and then
//! the other, each as the length (2 bytes, big-endian) of a text and the text: the certificate, a
//! digest of the revocations that it knows, and of a node with the key of the network perhaps
//! another certificate for who has connected, with a space between them. A refusal is the word
//! `refused` and a code.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig, client, server};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use super::member::Lasting;
use super::no_member::NoMember;
use super::raw_keys::{self, AnyKey};
use super::tags::Tags;
use super::{Admin, Certificate, MAX_BYTES, MAX_REVOKED, Member, PublicKey, Refusal, Revoked};
use crate::metrics::Counter;
use crate::peer::identity::Identity;
use crate::peer_id::PeerId;

/// The longest text that one side shows: two certificates and a digest.
pub(super) const MAX_SHOWN: usize = 2 * MAX_BYTES + 64;
/// How often in a row others have to say that this node was revoked before it says so: one that
/// lies stands beside others.
const CALLED: u32 = 3;
/// What a refusal begins with.
const REFUSED: &str = "refused ";
/// Before an ed25519 secret key, its form for TLS libraries (RFC 8410, section 7).
const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// What makes a node a member, and by which it knows others.
pub struct Channel {
    certificate: RwLock<Arc<Certificate>>,
    revoked: Arc<Revoked>,
    lasting: Arc<Lasting>,
    /// The key of the network, where this node has it.
    admin: Option<Arc<Admin>>,
    /// Who knows of other revocations than this node.
    differing: Mutex<BTreeSet<PeerId>>,
    /// Wakes whoever is to ask them, or to write another certificate down.
    news: Notify,
    /// When the first of those members is none any more to whom connections were made, in seconds
    /// since 1970.
    first_end: AtomicU64,
    /// How often in a row other members have said that this one was revoked.
    called_revoked: AtomicU32,
    /// What came of handshakes.
    pub handshakes: Handshakes,
    /// By which tags of the network are made and known.
    tags: Tags,
    client: ClientConfig,
    server: ServerConfig,
    strangers: Arc<ServerConfig>,
}

/// What came of handshakes with members and those who say that they are.
#[derive(Debug, Default)]
pub struct Handshakes {
    /// Of those who have connected, taken for members.
    pub received: Counter,
    /// The others of them.
    pub refused: Counter,
    /// Of those to whom this node has connected, where both took the other for a member.
    pub made: Counter,
    /// The others of them.
    pub made_in_vain: Counter,
}

/// What one side of a connection shows.
struct Shown<'a> {
    certificate: &'a str,
    /// Of the revocations that it knows.
    digest: &'a str,
    /// What the other side is a member by from now on.
    later: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn of(text: &'a str) -> Self {
        let mut parts = text.split(' ');
        let mut next = || parts.next();
        Self {
            certificate: next().unwrap_or(""),
            digest: next().unwrap_or(""),
            later: next(),
        }
    }
}

/// A node that cannot be a member.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// What it has does not make it one, however late it is.
    #[error("the certificate is of no use to this node: {0} ({code})", code = .0.code())]
    Refused(Refusal),
    /// It has the key of a network, and is a member of another one.
    #[error("--network-key has the key of another network than --network")]
    OtherKey,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({})", self.certificate().network)
    }
}

impl Channel {
    /// What makes the node with this identity a member. An expired certificate is taken, and told:
    /// others refuse it.
    pub fn new(
        identity: &Identity,
        certificate: Certificate,
        admin: Option<Arc<Admin>>,
    ) -> Result<Self, ChannelError> {
        let own = PublicKey(identity.public());
        let is_other = |it: &Arc<Admin>| it.network() != certificate.network;
        if admin.as_ref().is_some_and(is_other) {
            return Err(ChannelError::OtherKey);
        }
        match certificate.check(certificate.network, own, SystemTime::now()) {
            Err(Refusal::Expired) => tracing::warn!(
                expired = %certificate.expires_at(),
                "the certificate of this member has expired, so no other talks with it; \
                 `larder network join` takes a new one"
            ),
            checked => checked.map_err(ChannelError::Refused)?,
        }
        let provider = Arc::new(ring::default_provider());
        let key = certified(identity)?;
        let tags = Tags::of(certificate.network);
        let algorithms = provider.signature_verification_algorithms;
        let revoked = Arc::new(Revoked::new(certificate.network));
        let any = Arc::new(AnyKey {
            algorithms,
            revoked: Arc::clone(&revoked),
        });
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<AnyKey>::clone(&any))
            .with_client_cert_resolver(Arc::new(client::AlwaysResolvesClientRawPublicKeys::new(
                Arc::clone(&key),
            )));
        client.alpn_protocols = vec![tags.make()];
        // Each connection proves the keys anew; and no name is sent that would be in the clear.
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(any)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(server::NoServerSessionStorage {});
        Ok(Self {
            certificate: RwLock::new(Arc::new(certificate)),
            lasting: Arc::new(Lasting::new(Arc::clone(&revoked))),
            revoked,
            admin,
            differing: Mutex::default(),
            news: Notify::new(),
            first_end: AtomicU64::new(u64::MAX),
            called_revoked: AtomicU32::new(0),
            handshakes: Handshakes::default(),
            tags,
            client,
            server,
            strangers: Arc::new(showing_nothing(provider)?),
        })
    }

    /// One that shows another certificate, as a liar would.
    #[cfg(test)]
    pub(super) fn showing(self, certificate: Certificate) -> Self {
        *self.certificate.write() = Arc::new(certificate);
        self
    }

    /// What the node is a member by.
    pub fn certificate(&self) -> Arc<Certificate> {
        Arc::clone(&self.certificate.read())
    }

    /// Whom the network has revoked.
    pub fn revoked(&self) -> &Arc<Revoked> {
        &self.revoked
    }

    /// The key of the network, where this node has it.
    pub fn admin(&self) -> Option<&Arc<Admin>> {
        self.admin.as_ref()
    }

    /// Takes another certificate of this node in the same network, for connections that are made
    /// from now on.
    pub fn renew(&self, certificate: Certificate) -> Result<(), ChannelError> {
        let known = self.certificate();
        certificate
            .check(known.network, known.member, SystemTime::now())
            .map_err(ChannelError::Refused)?;
        *self.certificate.write() = Arc::new(certificate);
        Ok(())
    }

    /// Takes one that a node with the key of the network has made, if it lasts longer.
    pub(in crate::peer) fn take_later(&self, certificate: Certificate) {
        let expires = certificate.expires_at();
        if certificate.expires <= self.certificate().expires {
            return;
        }
        match self.renew(certificate) {
            Ok(()) => {
                tracing::info!(%expires, "the certificate of this member was renewed");
                self.news.notify_one();
            }
            Err(error) => tracing::warn!(%error, "what was to renew this member is not taken"),
        }
    }

    /// Has a node with the key of the network renew itself.
    pub(in crate::peer) async fn renew_own(&self) {
        if let Some(admin) = &self.admin
            && !self.revoked.has(self.certificate().member)
            && let Some(later) = admin.later(&self.certificate(), true).await
        {
            self.take_later(later);
        }
    }

    /// Waits until somebody knows of other revocations than this node, or its certificate is
    /// another one.
    pub(in crate::peer) async fn news(&self) {
        self.news.notified().await;
    }

    /// Those who knew of other revocations when they were met, each once.
    pub(in crate::peer) fn take_differing(&self) -> BTreeSet<PeerId> {
        std::mem::take(&mut self.differing.lock())
    }

    /// How a member connects to others.
    pub fn client(&self) -> ClientConfig {
        self.client.clone()
    }

    /// How the connection that begins so is taken, where it is one of who knows the network.
    pub fn server(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let tag = hello.alpn()?.find(|it| self.tags.has(it))?.to_vec();
        let mut server = self.server.clone();
        server.alpn_protocols = vec![tag];
        Some(Arc::new(server))
    }

    /// How those of strangers are: with an alert, and nothing else.
    pub fn strangers(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.strangers)
    }

    /// Whether one of those is no member then to whom connections were made since that was last so.
    pub(in crate::peer) fn has_met_who_is_no_member_at(&self, now: SystemTime) -> bool {
        let first =
            UNIX_EPOCH.checked_add(Duration::from_secs(self.first_end.load(Ordering::Relaxed)));
        let is_over = first.is_some_and(|it| it <= now);
        if is_over {
            self.first_end.store(u64::MAX, Ordering::Relaxed);
        }
        is_over
    }

    /// The member at the other end of a connection that has come, whose handshake has `shown` this
    /// key, after both have shown their certificates.
    pub async fn receive(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        shown: Option<&[u8]>,
    ) -> Result<Member, NoMember> {
        let told = read(stream).await?;
        let told = Shown::of(&told);
        match self.receive_member(&told, shown).await {
            Ok((member, later)) => {
                self.handshakes.received.count();
                self.note(&member, told.digest);
                let later = later.map_or(String::new(), |it| format!(" {it}"));
                write(stream, &format!("{}{later}", self.shown())).await?;
                Ok(member)
            }
            Err(refusal) => {
                self.handshakes.refused.count();
                write(stream, &format!("{REFUSED}{}", refusal.code())).await?;
                stream.shutdown().await?;
                Err(NoMember::Other(refusal))
            }
        }
    }

    /// Who has connected, and the certificate that it has to have from now on, if that is another.
    async fn receive_member(
        &self,
        told: &Shown<'_>,
        shown: Option<&[u8]>,
    ) -> Result<(Member, Option<Certificate>), Refusal> {
        let key = shown.and_then(raw_keys::key_of).ok_or(Refusal::Member)?;
        let certificate: Certificate = told.certificate.parse()?;
        let checked = self.check(&certificate, key);
        if !matches!(checked, Ok(()) | Err(Refusal::Expired)) {
            checked?;
        }
        let later = match &self.admin {
            Some(admin) => admin.later(&certificate, false).await,
            None => None,
        };
        let counts = later.clone().unwrap_or(certificate);
        self.check(&counts, key)?;
        Ok((Member::by(counts, &self.lasting), later))
    }

    /// The same of a connection that this node has made.
    pub async fn greet(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        shown: Option<&[u8]>,
    ) -> Result<Member, NoMember> {
        let greeted = self.greet_member(stream, shown).await;
        match &greeted {
            Ok(member) => {
                self.handshakes.made.count();
                self.called_revoked.store(0, Ordering::Relaxed);
                let end = member.certificate().expires;
                self.first_end.fetch_min(end, Ordering::Relaxed);
            }
            Err(why) => {
                self.handshakes.made_in_vain.count();
                self.called_revoked
                    .fetch_add(u32::from(why.is_of_revoked()), Ordering::Relaxed);
            }
        }
        greeted
    }

    /// Whether this node takes itself for revoked, of which it can hear from nobody: all who were
    /// asked last have said so.
    pub(super) fn is_called_revoked(&self) -> bool {
        self.called_revoked.load(Ordering::Relaxed) >= CALLED
    }

    async fn greet_member(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        shown: Option<&[u8]>,
    ) -> Result<Member, NoMember> {
        write(stream, &self.shown()).await?;
        let told = read(stream).await?;
        if let Some(code) = told.strip_prefix(REFUSED).filter(|it| is_code(it)) {
            return Err(NoMember::Own(code.to_owned()));
        }
        let told = Shown::of(&told);
        let key = shown.and_then(raw_keys::key_of);
        let key = key.ok_or(NoMember::Other(Refusal::Member))?;
        let certificate = told.certificate.parse().map_err(NoMember::Other)?;
        self.check(&certificate, key).map_err(NoMember::Other)?;
        let member = Member::by(certificate, &self.lasting);
        self.note(&member, told.digest);
        if let Some(later) = told.later {
            self.take_later(later.parse().map_err(NoMember::Other)?);
        }
        Ok(member)
    }

    /// What this node shows of itself.
    fn shown(&self) -> String {
        format!("{} {}", self.certificate(), self.revoked.digest())
    }

    /// Notes whether a member knows of other revocations than this node.
    fn note(&self, member: &Member, digest: &str) {
        if digest == self.revoked.digest() {
            return;
        }
        let mut differing = self.differing.lock();
        if differing.len() < MAX_REVOKED {
            differing.insert(member.certificate().member.peer_id());
        }
        self.news.notify_one();
    }

    /// Whether a certificate makes whoever has proven to have a key a member now.
    pub fn check(&self, certificate: &Certificate, key: PublicKey) -> Result<(), Refusal> {
        if self.revoked.has(key) {
            return Err(Refusal::Revoked);
        }
        certificate.check(self.certificate().network, key, SystemTime::now())
    }

    /// What is ready once whoever was met in a handshake that has `shown` this key is a member no
    /// longer.
    pub(in crate::peer) fn ended(&self, shown: &[u8]) -> Option<impl Future<Output = ()> + use<>> {
        let (member, lasting) = (raw_keys::key_of(shown)?, Arc::clone(&self.lasting));
        Some(async move { lasting.of_met(member).await })
    }
}

/// Whether this is a code, which is told to people.
fn is_code(text: &str) -> bool {
    text.len() <= 32 && text.bytes().all(|it| it.is_ascii_lowercase() || it == b'_')
}

/// A node's key, as TLS libraries have it.
fn certified(identity: &Identity) -> Result<Arc<CertifiedKey>, rustls::Error> {
    let secret = [&PKCS8_HEAD[..], &identity.secret()].concat();
    let key = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(secret))?;
    let spki = raw_keys::info_of(&identity.public());
    Ok(Arc::new(CertifiedKey::new(
        vec![CertificateDer::from(spki)],
        key,
    )))
}

/// Shows no key, whoever asks.
#[derive(Debug)]
struct Nothing;

impl ResolvesServerCert for Nothing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

fn showing_nothing(provider: Arc<CryptoProvider>) -> Result<ServerConfig, rustls::Error> {
    let config = ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions()?;
    Ok(config
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Nothing)))
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> io::Result<()> {
    let length = u16::try_from(text.len()).map_err(io::Error::other)?;
    let mut message = length.to_be_bytes().to_vec();
    message.extend_from_slice(text.as_bytes());
    stream.write_all(&message).await?;
    stream.flush().await
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let invalid = |told| io::Error::new(io::ErrorKind::InvalidData, told);
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_SHOWN {
        return Err(invalid("what is shown is too long for a certificate"));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    String::from_utf8(bytes).map_err(|_| invalid("what is shown is no text"))
}
