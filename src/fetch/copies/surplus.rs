//! Giving up copies that are too many: late, and only once enough of those that stand before this
//! member have said that they hold the file, or its owner that it does.
//!
//! Only members that stand before count, so of those that give up at the same time none counts on
//! another, and the best are never among them.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::holder::{Copies, holders};
use super::members::View;
use super::table::HeldCopy;
use super::unknown::Round;
use crate::hash::BlobHash;
use crate::peer::copies::{CopyKey, MOST_KEYS, Whether, ask_here};
use crate::peer_id::PeerId;
use crate::store::StoreError;

/// What members have said of files.
type Said = HashMap<(PeerId, CopyKey), Whether>;

impl Copies {
    pub(super) async fn give_up_surplus(&self, view: &View) -> Result<(), StoreError> {
        let (mut after, mut round) = (None, Round::default());
        loop {
            let (copies, next) = self.table.copies(after, MOST_KEYS).await?;
            self.give_up_of(&copies, view, &mut round).await?;
            after = next;
            if after.is_none() {
                break;
            }
        }
        if self.unknown.end(round) {
            // Here they are counted, and the others look who is to hold them.
            self.recount.news.advance();
            self.asks.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn give_up_of(
        &self,
        copies: &[HeldCopy],
        view: &View,
        round: &mut Round,
    ) -> Result<(), StoreError> {
        let shared = copies.iter().filter_map(|it| it.signed.read().ok());
        let shared: Vec<_> = shared.collect();
        let mut said = Said::new();
        let mut questions = HashMap::<PeerId, Vec<CopyKey>>::new();
        for it in &shared {
            let owner = it.key.owner;
            if view.is_live(owner) {
                questions.entry(owner).or_default().push(it.key);
            }
        }
        self.ask(questions, &mut said).await;
        let mut questions = HashMap::<PeerId, Vec<CopyKey>>::new();
        let mut candidates = Vec::new();
        for it in &shared {
            let owner = it.key.owner;
            let of_owner = said.get(&(owner, it.key));
            let is_known = of_owner.map(|it| it.is_there || it.copies > 0);
            self.unknown.note(round, it.key, is_known);
            let of_owner = of_owner.filter(|it| it.is_there);
            let (is_there, copies) = (
                of_owner.is_some(),
                of_owner.map_or(it.copies, |it| it.copies),
            );
            let needed = holders(copies, is_there);
            let before = self.lasting_before(&it.hash, owner, view);
            if before.len() < needed {
                continue;
            }
            for member in &before {
                questions.entry(*member).or_default().push(it.key);
            }
            candidates.push((it.key, needed, before));
        }
        self.ask(questions, &mut said).await;
        for (key, needed, before) in candidates {
            let holds = |member: &&PeerId| {
                let said = said.get(&(**member, key));
                said.is_some_and(|it| it.is_there)
            };
            let is_held = before.iter().filter(holds).count() >= needed;
            if is_held && self.table.give_up(key).await? {
                tracing::debug!(%key, "a copy is given up, since enough others hold it");
                self.fetcher.network.directory.withdraw(self.me(), key.file);
                self.count_dropped();
            }
        }
        Ok(())
    }

    /// The members that are to hold a content rather than this one, and that have been there for so
    /// long that their word counts.
    fn lasting_before(&self, hash: &BlobHash, owner: PeerId, view: &View) -> Vec<PeerId> {
        let ranked = self.ranked(hash, owner, view);
        let before = ranked.iter().take_while(|(it, _)| it.id != self.me());
        let lasting = before.filter_map(|(it, live)| {
            let lasts = live.is_some_and(|it| it.lasting >= self.options.surplus_after);
            lasts.then_some(it.id)
        });
        lasting.collect()
    }

    /// Asks members whether they have files, each of them about some.
    async fn ask(&self, questions: HashMap<PeerId, Vec<CopyKey>>, said: &mut Said) {
        let network = &self.fetcher.network;
        for (member, keys) in questions {
            let Some(peer) = network.registry.get(member) else {
                continue;
            };
            match ask_here(network, &peer, &keys).await {
                Ok(told) => {
                    let told = keys.iter().zip(told.here);
                    said.extend(told.map(|(key, whether)| ((member, *key), whether)));
                }
                Err(error) => {
                    tracing::debug!(%member, %error, "a member does not tell what it has");
                }
            }
        }
    }
}
