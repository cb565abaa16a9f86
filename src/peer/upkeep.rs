//! What a member of a network does beside exchanging files: it hears who was revoked, forgets them
//! and what they told, and has its certificate renewed.
//!
//! Whoever meets another member learns by a digest whether both know of the same revocations, and
//! asks for the other's where they do not. So each meets them at the latest when it next asks or is
//! asked, once in a period.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::stream::{self, StreamExt};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::client::ClientError;
use super::elements::Elements;
use super::membership::{self, Certificate, Channel, Revocation, RollError, SOON};
use super::network::Network;
use crate::base_url::BaseUrl;
use crate::blocking;
use crate::peer_id::PeerId;
use crate::small_state::{SmallState, StateError, StateName};

/// The revocations are written down under this name.
pub const REVOKED: StateName = StateName::Single {
    name: "revoked",
    kind: "larder-revoked 1",
};
/// Where members tell whom they know to be revoked.
pub const REVOCATIONS: &str = "/api/p2p/revocations";

/// The longest answer to it that is read, in bytes.
const MAX_ANSWER: usize = 2 << 20;
/// The longest revocation in it, in bytes.
const MAX_REVOCATION: usize = 512;
/// How many members are asked at once, and how long each may take.
const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after the revocations could not be read that is tried again.
const RECALL_AGAIN: Duration = Duration::from_secs(1);
/// The shortest pause between two looks at what is new.
const SETTLE: Duration = Duration::from_millis(50);

/// What makes a node a member, and where that is written.
pub struct Upkeep {
    channel: Arc<Channel>,
    /// The file of its certificate, if it came from one.
    file: Option<PathBuf>,
    state: Arc<dyn SmallState>,
}

/// Whom another member knows to be revoked.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    revocations: Elements<'a>,
}

/// What was done of what has to be done again when it changes.
struct Done {
    certificate: Arc<Certificate>,
    saved: usize,
    ends_soon: bool,
    ended: bool,
    revoked: bool,
}

impl Upkeep {
    /// That of a member whose certificate is in `file`, and which remembers in `state` who was
    /// revoked.
    pub fn new(channel: Arc<Channel>, file: Option<PathBuf>, state: Arc<dyn SmallState>) -> Self {
        Self {
            channel,
            file,
            state,
        }
    }

    /// Knows again who was revoked; waits until that can be read, since nobody may be taken for a
    /// member before.
    pub async fn recall(&self) {
        loop {
            match self.state.load(&REVOKED).await {
                Ok(saved) => {
                    let saved = String::from_utf8(saved.unwrap_or_default()).unwrap_or_default();
                    let told = saved.lines().filter_map(|it| it.parse().ok());
                    self.channel.revoked().add(told);
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "who was revoked cannot be read yet");
                    sleep(RECALL_AGAIN).await;
                }
            }
        }
        self.look().await;
    }

    /// Keeps up with what is new, for ever.
    pub async fn run(self: Arc<Self>, network: Arc<Network>, every: Duration) {
        let mut done = Done {
            certificate: self.channel.certificate(),
            saved: 0,
            ends_soon: false,
            ended: false,
            revoked: false,
        };
        let mut changed = self.channel.revoked().watch();
        let mut looked: Option<Instant> = None;
        loop {
            if looked.is_none_or(|it| it.elapsed() >= every) {
                self.look().await;
                self.tell_of_the_end(&mut done);
                looked = Some(Instant::now());
            }
            self.write_down(&mut done).await;
            self.ask_differing(&network).await;
            self.forget_revoked(&network, &mut done).await;
            sleep(SETTLE).await;
            tokio::select! {
                () = sleep(every) => {}
                () = self.channel.news() => {}
                _ = changed.changed() => {}
            }
        }
    }

    /// Reads what is written beside the certificate and the key of the network, and renews this
    /// node's own certificate where it has that key.
    async fn look(&self) {
        let (channel, file) = (Arc::clone(&self.channel), self.file.clone());
        let looked = blocking::run(move || {
            if let Some(file) = file {
                channel.revoked().add(membership::revocations(&file)?);
            }
            if let Some(admin) = channel.admin() {
                admin.look(channel.revoked())?;
            }
            Ok::<_, RollError>(())
        });
        if let Err(error) = looked.await {
            tracing::error!(%error, "what is written of the network's members is not read");
        }
        self.channel.renew_own().await;
    }

    /// Writes a certificate down that was renewed.
    async fn write_down(&self, done: &mut Done) {
        let certificate = self.channel.certificate();
        if certificate == done.certificate {
            return;
        }
        done.certificate = Arc::clone(&certificate);
        (done.ends_soon, done.ended) = (false, false);
        let Some(file) = self.file.clone() else {
            return;
        };
        let written = blocking::run(move || {
            let is_there = membership::file::read(&file).is_ok_and(|it| it == *certificate);
            if is_there {
                return Ok(());
            }
            membership::file::write(&file, &certificate)
        });
        if let Err(error) = written.await {
            tracing::warn!(
                %error,
                "the renewed certificate of this member counts until it stops"
            );
        }
    }

    /// Tells once that nobody has renewed this member, before and when its time is over.
    fn tell_of_the_end(&self, done: &mut Done) {
        let (certificate, now) = (self.channel.certificate(), SystemTime::now());
        let expires = certificate.expires_at();
        let own = certificate.member;
        if self.channel.revoked().has(own) && !std::mem::replace(&mut done.revoked, true) {
            tracing::error!(
                "this node was revoked: the network has it be no member any more, so no other \
                 talks with it"
            );
        }
        if !certificate.is_valid_at(now) {
            if !std::mem::replace(&mut done.ended, true) {
                tracing::error!(
                    %expires,
                    "this member was without the node that renews it for longer than its \
                     certificate lasts, so no other talks with it; it has to be invited again \
                     (`larder network invite`, `larder network join`)"
                );
            }
        } else if !certificate.is_valid_at(now + SOON)
            && self.channel.admin().is_none()
            && !std::mem::replace(&mut done.ends_soon, true)
        {
            let told = "the certificate of this member ends soon, unless it is renewed";
            tracing::warn!(%expires, "{told}");
        }
    }

    /// Asks those for the revocations that they know who know of others than this node.
    async fn ask_differing(&self, network: &Network) {
        let differing = self.channel.take_differing().into_iter();
        let asked = stream::iter(differing).map(async |id: PeerId| {
            let Some(peer) = network.registry.get(id) else {
                return;
            };
            let asking = self.ask(network, peer.address());
            if let Ok(Err(error)) = timeout(PATIENCE, asking).await {
                tracing::debug!(peer = %id, %error, "does not tell who was revoked");
            }
        });
        asked.buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    async fn ask(&self, network: &Network, address: &BaseUrl) -> Result<(), ClientError> {
        let client = &network.client;
        let answer = client.get(address, REVOCATIONS, MAX_ANSWER).await?;
        let told: Told<'_> = answer.read()?;
        let texts = told.revocations.read::<String>(MAX_REVOCATION);
        let told = texts.take(membership::MAX_REVOKED);
        let told = told.filter_map(|it| it.parse::<Revocation>().ok());
        self.channel.revoked().add(told);
        Ok(())
    }

    /// Forgets those who were revoked, and what they told, and remembers who they are.
    async fn forget_revoked(&self, network: &Network, done: &mut Done) {
        let all = self.channel.revoked().all();
        let ids: HashSet<_> = all.iter().map(|it| it.member.peer_id()).collect();
        for id in ids {
            if network.registry.get(id).is_some() {
                network.registry.forget(id);
                tracing::info!(%id, "forgot a peer that is no member any more, and what it told");
            }
            network.directory.forget(id);
        }
        if all.len() == done.saved {
            return;
        }
        let lines: Vec<_> = all.iter().map(ToString::to_string).collect();
        match self.save(lines.join("\n")).await {
            Ok(()) => done.saved = all.len(),
            Err(error) => tracing::warn!(%error, "who was revoked is not written down"),
        }
    }

    async fn save(&self, lines: String) -> Result<(), StateError> {
        self.state.save(&REVOKED, lines.into_bytes()).await
    }
}
