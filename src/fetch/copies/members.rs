//! Which members there are to hold copies, as far as this one knows: what each offers, when it was
//! heard of last, and who is gone.
//!
//! A member is gone once nobody has heard of it for `--gone-after`, and for a little longer that
//! each node chooses by chance, so that not all begin to repair at once. Others tell whom they have
//! heard, so that one who does not get through to a member does not take it for gone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use uuid::Uuid;

use super::owners::Owners;
use crate::peer_id::PeerId;
use crate::placement::Candidate;

/// The most members that are remembered.
const MOST: usize = 4096;
/// The most of whom it is told when they were heard last.
const MOST_TOLD: usize = 256;
/// One part in so many of the time after which a member is gone may be waited for longer.
const JITTER: u32 = 6;

/// The members that are known, this one left out.
pub(super) struct Members {
    known: Mutex<Known>,
    gone_after: Duration,
}

#[derive(Default)]
struct Known {
    members: BTreeMap<PeerId, Member>,
    /// Another number where the holders of something may be others.
    epoch: u64,
    /// When a member was met that was not known before.
    met: Option<Instant>,
    /// Of whom others know that are there and that have not answered this node, and when it heard
    /// that.
    unmet: BTreeMap<PeerId, Instant>,
    /// Whose files others hold, and that have not answered this node.
    owners: Owners,
}

/// A number from 0 to 1, by chance.
pub(super) fn chance() -> f64 {
    let [chance, ..] = Uuid::new_v4().into_bytes();
    f64::from(chance) / 256.0
}

#[derive(Debug, Clone)]
struct Member {
    offer: u64,
    used: u64,
    left: u64,
    /// When it, or somebody who had heard it, was heard last.
    heard: Instant,
    /// When it answered this node itself last.
    answered: Option<Instant>,
    /// Since when it has not been gone.
    since: Instant,
    is_gone: bool,
    /// Whether the network has it be a member no longer.
    is_revoked: bool,
    /// How long it may be silent.
    patience: Duration,
}

/// How much a member holds for others, as it has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// At most, in bytes.
    pub offer: u64,
    /// How much of that is used.
    pub used: u64,
    /// How much it can still take.
    pub left: u64,
    /// Whether it is gone.
    pub is_gone: bool,
}

/// What a member tells of its room, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) offer: u64,
    pub(super) used: u64,
    pub(super) left: u64,
}

/// A member that is not gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Live {
    pub(super) candidate: Candidate,
    /// How many bytes it can still take, as it has told.
    pub(super) left: u64,
    /// For how long it was not gone.
    pub(super) lasting: Duration,
}

/// The members at one moment.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) epoch: u64,
    pub(super) live: Vec<Live>,
    pub(super) gone: Vec<PeerId>,
    /// How many of those are members no longer, and so are not waited for.
    pub(super) revoked: usize,
    /// Owners that are gone and were never met, with those who hold copies of their files.
    pub(super) lost: Vec<(PeerId, Vec<PeerId>)>,
}

impl View {
    /// How many members are gone that may come back.
    pub(super) fn missing(&self) -> usize {
        self.gone.len() - self.revoked
    }

    /// Whether there may be files whose owners are gone.
    pub(super) fn has_lost_any(&self) -> bool {
        !self.gone.is_empty() || !self.lost.is_empty()
    }

    /// Whether a member is there, as far as is known.
    pub(super) fn is_live(&self, id: PeerId) -> bool {
        self.live.iter().any(|it| it.candidate.id == id)
    }

    /// The member, if it is there.
    pub(super) fn find(&self, id: PeerId) -> Option<&Live> {
        self.live.iter().find(|it| it.candidate.id == id)
    }
}

impl Members {
    pub(super) fn new(gone_after: Duration) -> Self {
        Self {
            known: Mutex::default(),
            gone_after,
        }
    }

    /// Takes in what was remembered of members, as [`Members::to_text`] has written it.
    pub(super) fn remember(&self, text: &str) {
        let now = Instant::now();
        for line in text.lines().take(MOST) {
            let mut words = line.split(' ');
            let id = words.next().and_then(|it| it.parse().ok());
            let offer = words.next().and_then(|it| it.parse().ok());
            if let (Some(id), Some(offer)) = (id, offer) {
                let mut member = self.fresh(offer, now);
                member.is_gone = words.next() == Some("gone");
                self.known.lock().members.entry(id).or_insert(member);
            }
        }
    }

    /// What is to be remembered of members.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        for (id, it) in &self.known.lock().members {
            let state = if it.is_gone { "gone" } else { "there" };
            // Writing to a text does not fail.
            let _ = writeln!(text, "{id} {} {state}", it.offer);
        }
        text
    }

    fn fresh(&self, offer: u64, now: Instant) -> Member {
        Member {
            offer,
            used: 0,
            left: offer,
            heard: now,
            answered: None,
            since: now,
            is_gone: false,
            is_revoked: false,
            patience: self.patience(),
        }
    }

    fn patience(&self) -> Duration {
        self.gone_after + (self.gone_after / JITTER).mul_f64(chance())
    }

    /// A member has answered, and told what it offers and has left.
    pub(super) fn answered(&self, id: PeerId, room: Room) {
        let Room { offer, used, left } = room;
        let now = Instant::now();
        let mut known = self.known.lock();
        if !known.members.contains_key(&id) {
            if known.members.len() >= MOST {
                let gone = known.members.iter().find(|(_, it)| it.is_gone);
                let Some(gone) = gone.map(|(id, _)| *id) else {
                    return;
                };
                known.members.remove(&gone);
            }
            known.members.insert(id, self.fresh(offer, now));
            (known.epoch, known.met) = (known.epoch + 1, Some(now));
        }
        known.unmet.remove(&id);
        known.owners.forget(id);
        let Some(member) = known.members.get_mut(&id) else {
            return;
        };
        let is_back = std::mem::take(&mut member.is_gone);
        if is_back {
            member.since = now;
        }
        let is_other = is_back || member.offer != offer;
        (member.offer, member.used, member.left) = (offer, used, left);
        (member.heard, member.answered) = (now, Some(now));
        known.epoch += u64::from(is_other);
    }

    /// Another member has heard of one so long ago.
    pub(super) fn told(&self, id: PeerId, ago: Duration) {
        let (mut known, now) = (self.known.lock(), Instant::now());
        let Some(heard) = now.checked_sub(ago) else {
            return;
        };
        if let Some(member) = known.members.get_mut(&id) {
            member.heard = member.heard.max(heard);
            return;
        }
        known.owners.heard(id, heard);
        if ago < self.gone_after && known.unmet.len() < MOST {
            known.unmet.insert(id, now);
        }
    }

    /// Whether nothing is to be noted where a member holds a file of this owner.
    pub(super) fn knows_owner(&self, owner: PeerId, teller: PeerId) -> bool {
        let known = self.known.lock();
        known.members.contains_key(&owner) || known.owners.is_noted(owner, teller)
    }

    /// A member holds a file that this owner has signed.
    pub(super) fn note_owner(&self, owner: PeerId, teller: PeerId) {
        let (mut known, patience) = (self.known.lock(), self.patience());
        if !known.members.contains_key(&owner) {
            known.owners.note(owner, teller, patience);
        }
    }

    /// The network has these be members no longer: they are gone at once, and nobody waits for
    /// them.
    pub(super) fn end(&self, revoked: impl IntoIterator<Item = PeerId>) {
        let known = &mut *self.known.lock();
        for id in revoked {
            let mut is_news = known.owners.end(id);
            if let Some(member) = known.members.get_mut(&id) {
                is_news |= !std::mem::replace(&mut member.is_gone, true);
                member.is_revoked = true;
            }
            known.epoch += u64::from(is_news);
        }
    }

    /// Whether this node knows all members that anybody knows who has told of others lately.
    pub(super) fn are_all_met(&self, lately: Duration) -> bool {
        let known = self.known.lock();
        let mut unmet = known.unmet.values();
        let mut live = known.members.values().filter(|it| !it.is_gone);
        !known.members.is_empty()
            && live.all(|it| it.answered.is_some())
            && unmet.all(|it| it.elapsed() >= lately)
    }

    /// How many are there.
    pub(super) fn count(&self) -> usize {
        let known = self.known.lock();
        known.members.values().filter(|it| !it.is_gone).count()
    }

    /// Whether all that are not gone have answered this node in this run.
    pub(super) fn have_answered(&self) -> bool {
        let known = self.known.lock();
        let mut live = known.members.values().filter(|it| !it.is_gone);
        live.all(|it| it.answered.is_some())
    }

    /// How much this member holds for others, if that is known.
    pub(super) fn offer_of(&self, id: PeerId) -> Option<Offer> {
        let known = self.known.lock();
        let member = known.members.get(&id)?;
        Some(Offer {
            offer: member.offer,
            used: member.used,
            left: member.left,
            is_gone: member.is_gone,
        })
    }

    /// Of whom this node has heard itself, and how long ago.
    pub(super) fn silent(&self) -> Vec<(PeerId, Duration)> {
        let known = self.known.lock();
        let silent = known.members.iter();
        let silent = silent.filter_map(|(id, it)| Some((*id, it.answered?.elapsed())));
        silent.take(MOST_TOLD).collect()
    }

    /// The members as they are now, and whether somebody is newly gone.
    pub(super) fn look(&self) -> (View, bool) {
        let mut known = self.known.lock();
        let mut has_left = known.owners.look();
        for it in known.members.values_mut() {
            if !it.is_gone && it.heard.elapsed() > it.patience {
                it.is_gone = true;
                has_left = true;
            }
        }
        known.epoch += u64::from(has_left);
        let live = known.members.iter().filter(|(_, it)| !it.is_gone);
        let live = live.map(|(id, it)| Live {
            candidate: Candidate {
                id: *id,
                offer: it.offer,
            },
            left: it.left,
            lasting: it.since.elapsed(),
        });
        let live = live.collect();
        let gone = known.members.iter().filter(|(_, it)| it.is_gone);
        let view = View {
            epoch: known.epoch,
            live,
            revoked: gone.clone().filter(|(_, it)| it.is_revoked).count(),
            gone: gone.map(|(id, _)| *id).collect(),
            lost: known.owners.gone(),
        };
        (view, has_left)
    }

    /// For how long no member was met that was not known before; None where none was met at all.
    pub(super) fn since_met(&self) -> Option<Duration> {
        self.known.lock().met.map(|it| it.elapsed())
    }
}
