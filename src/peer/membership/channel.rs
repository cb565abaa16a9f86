//! The channel between members: TLS 1.3 in which both sides prove the keys of their nodes, as raw
//! public keys (RFC 7250), and then show each other what makes them members.
//!
//! Whoever connects names a tag of the network first, so that a node shows strangers nothing, not
//! even its key: the handshake of one who does not know it ends with an alert. Behind the
//! handshake the one who has connected shows its certificate, and then the other, each as its
//! length (2 bytes, big-endian) and its text. A refusal is the word `refused` and a code.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig, client, server};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::raw_keys::{self, AnyKey};
use super::{Certificate, MAX_BYTES, PublicKey, Refusal};
use crate::peer::identity::Identity;
use crate::peer::signature::to_hex;

/// What a refusal begins with.
const REFUSED: &str = "refused ";
/// Before an ed25519 secret key, its form for TLS libraries (RFC 8410, section 7).
const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// What makes a node a member, and by which it knows others.
pub struct Channel {
    certificate: RwLock<Arc<Certificate>>,
    /// Names the network to those who know its key, and nothing to others.
    tag: Vec<u8>,
    client: ClientConfig,
    server: Arc<ServerConfig>,
    strangers: Arc<ServerConfig>,
}

/// A member at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Member(Arc<Certificate>);

/// Why no member is at the other end.
#[derive(Debug, thiserror::Error)]
pub enum NoMember {
    /// The connection fails, or something else is said there.
    #[error("the connection of members fails: {0}")]
    Io(#[from] io::Error),
    /// What the other side shows makes it no member.
    #[error("the certificate of the other is not taken: {0}")]
    Other(Refusal),
    /// The other side does not take this node for a member.
    #[error("the other does not take this node's certificate ({0})")]
    Own(String),
}

/// A node that cannot be a member.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// What it has does not make it one, however late it is.
    #[error("the certificate is of no use to this node: {0} ({code})", code = .0.code())]
    Refused(Refusal),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({})", self.certificate().network)
    }
}

impl Member {
    /// Whether it is one at this moment: a connection may last longer than a certificate.
    pub fn is_valid_now(&self) -> bool {
        self.0.is_valid_at(SystemTime::now())
    }
}

impl Channel {
    /// What makes the node with this identity a member. An expired certificate is taken, and told:
    /// others refuse it.
    pub fn new(identity: &Identity, certificate: Certificate) -> Result<Self, ChannelError> {
        let own = PublicKey(identity.public());
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
        let tag = tag(certificate.network);
        let algorithms = provider.signature_verification_algorithms;
        let any = Arc::new(AnyKey { algorithms });
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<AnyKey>::clone(&any))
            .with_client_cert_resolver(Arc::new(client::AlwaysResolvesClientRawPublicKeys::new(
                Arc::clone(&key),
            )));
        client.alpn_protocols = vec![tag.clone()];
        // Each connection proves the keys anew; and no name is sent that would be in the clear.
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(any)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
        server.alpn_protocols = vec![tag.clone()];
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(server::NoServerSessionStorage {});
        Ok(Self {
            certificate: RwLock::new(Arc::new(certificate)),
            tag,
            client,
            server: Arc::new(server),
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

    /// How a member connects to others.
    pub(in crate::peer) fn client(&self) -> ClientConfig {
        self.client.clone()
    }

    /// Whether this is the beginning of a connection of who knows the network.
    pub fn is_named_by(&self, hello: &ClientHello<'_>) -> bool {
        hello
            .alpn()
            .is_some_and(|mut it| it.any(|it| it == self.tag))
    }

    /// How connections of members are taken.
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// How those of strangers are: with an alert, and nothing else.
    pub fn strangers(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.strangers)
    }

    /// The member at the other end of a connection that has come, whose handshake has `shown` this
    /// key, after both have shown their certificates.
    pub async fn receive(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        shown: Option<&[u8]>,
    ) -> Result<Member, NoMember> {
        let told = read(stream).await?;
        match self.member(&told, shown) {
            Ok(member) => {
                write(stream, &self.certificate().to_string()).await?;
                Ok(member)
            }
            Err(refusal) => {
                write(stream, &format!("{REFUSED}{}", refusal.code())).await?;
                stream.shutdown().await?;
                Err(NoMember::Other(refusal))
            }
        }
    }

    /// The same of a connection that this node has made.
    pub(in crate::peer) async fn greet(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        shown: Option<&[u8]>,
    ) -> Result<Member, NoMember> {
        write(stream, &self.certificate().to_string()).await?;
        let told = read(stream).await?;
        match told.strip_prefix(REFUSED) {
            Some(code) if is_code(code) => Err(NoMember::Own(code.to_owned())),
            _ => self.member(&told, shown).map_err(NoMember::Other),
        }
    }

    /// Whom a certificate makes a member that has `shown` its key.
    fn member(&self, told: &str, shown: Option<&[u8]>) -> Result<Member, Refusal> {
        let key = shown.and_then(raw_keys::key_of).ok_or(Refusal::Member)?;
        let certificate: Certificate = told.parse()?;
        certificate.check(self.certificate().network, key, SystemTime::now())?;
        Ok(Member(Arc::new(certificate)))
    }
}

/// What names a network to those who know its key.
fn tag(network: PublicKey) -> Vec<u8> {
    let digest = blake3::derive_key("larder 2026-11 tag of a network", &network.0);
    format!("larder/{}", to_hex(digest.split_at(16).0)).into_bytes()
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
    if length > MAX_BYTES {
        return Err(invalid("what is shown is too long for a certificate"));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    String::from_utf8(bytes).map_err(|_| invalid("what is shown is no text"))
}
