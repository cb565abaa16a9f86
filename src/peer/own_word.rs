//! What a node signs: of itself, of its files, and of its answers.

use std::sync::atomic::Ordering;

use super::announcement::Announcement;
use super::batch::BatchWriter;
use super::challenge::Prover;
use super::copies::{CopiedFile, Order, Withdrawal};
use super::holdings::{Holdings, Version};
use super::network::Network;
use super::registration::Registration;
use crate::record::{FileId, FileRecord};

impl Network {
    /// What this node tells of itself now.
    pub fn myself(&self) -> Registration {
        let myself = Registration::of_self(&self.identity, &self.base_url);
        self.as_member(match self.holdings(self.own_version.now()) {
            Some(holdings) => myself.with_holdings(holdings),
            None => myself,
        })
    }

    /// The version of this node's files, if it tells one.
    pub fn told_version(&self) -> Option<u64> {
        (!self.is_of_fleet()).then(|| self.own_version.now().version)
    }

    /// What this node tells of its files. Several nodes that are one peer do not agree on when the
    /// last change was, so they are asked each period.
    pub(super) fn holdings(&self, now: Version) -> Option<Holdings> {
        let agrees = !self.is_of_fleet();
        agrees.then(|| Holdings::of(&self.identity, now))
    }

    /// What this node tells when it stops. From here on it registers nowhere.
    pub(super) fn leave(&self) -> Registration {
        self.leaving.store(true, Ordering::Relaxed);
        self.as_member(Registration::goodbye(&self.identity, &self.base_url))
    }

    /// The same with what makes this node a member, where it is one.
    fn as_member(&self, registration: Registration) -> Registration {
        match self.membership() {
            Some(certificate) => registration.with_membership(&certificate),
            None => registration,
        }
    }

    /// What makes this node a member, where it is one.
    pub(super) fn membership(&self) -> Option<String> {
        let channel = self.client.reach().members.as_ref()?;
        Some(channel.certificate().to_string())
    }

    /// The end of an answer that shows who sends it.
    pub fn prove(&self, prover: Prover) -> String {
        prover.finish(&self.identity)
    }

    /// What this node says of its own file of which others are to hold copies, and which is there
    /// again `since` then, if it was removed before.
    pub fn order_copies(&self, record: &FileRecord, copies: u8, since: u64) -> CopiedFile {
        let at = self.removals.moment();
        CopiedFile::of(&self.identity, record, Order { copies, since, at })
    }

    /// What it says of one that it removes, and that was there `since` then. Whatever the clock
    /// says, it ends what was signed of it since.
    pub fn end_copies(&self, file: FileId, since: u64) -> Withdrawal {
        let at = self.removals.moment().max(since);
        Withdrawal::of(&self.identity, file, at)
    }

    /// The end of a message with many announcements.
    pub(super) fn sign_all(&self, message: BatchWriter) -> Vec<u8> {
        message.end(&self.identity)
    }

    /// The announcement of a file that this node holds since `at`, or has removed then, and what it
    /// holds since.
    pub(super) fn sign(
        &self,
        record: &FileRecord,
        withdrawn: bool,
        (at, now): (u64, Version),
    ) -> Announcement {
        let told = Announcement::of(&self.identity, record, withdrawn, at);
        match self.holdings(now) {
            Some(holdings) => told.with_holdings(holdings),
            None => told,
        }
    }
}
