//! What peers tell of single files, as it happens: one announcement, or many together.

use super::announcement::{Announcement, NotTaken};
use super::batch::{Batch, Told};
use super::network::Network;
use super::signature::Trust;
use crate::peer_id::PeerId;

/// What came of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It says something new.
    News,
    /// It says nothing new, or there is no room for it.
    NotNews,
    /// The peer is not known, or has not answered where it says it is.
    OfNobody,
}

impl Heard {
    fn of(news: bool) -> Self {
        if news { Self::News } else { Self::NotNews }
    }
}

impl Network {
    /// Takes in an announcement, and tells whether it says anything new. Those of peers that
    /// have not answered yet, and may be made up, are not kept: they are asked for all they
    /// hold.
    pub fn hear(&self, announcement: Announcement) -> Result<Heard, NotTaken> {
        let peer = announcement.peer_id.parse();
        let heard = self.take_in(announcement);
        if let (Ok(Heard::News), Ok(peer)) = (&heard, peer) {
            self.note_news(peer);
        }
        match &heard {
            Ok(Heard::News) => self.messages.news.count(),
            Ok(Heard::NotNews | Heard::OfNobody) => self.messages.not_news.count(),
            Err(_) => self.messages.refused.count(),
        }
        heard
    }

    fn take_in(&self, announcement: Announcement) -> Result<Heard, NotTaken> {
        let told = announcement.check();
        if matches!(told, Err(NotTaken::Forged(_))) {
            self.messages.forged.count();
        }
        let told = told?;
        if !self.answers(told.peer) {
            return Ok(Heard::OfNobody);
        }
        if told.trust == Trust::Verified {
            // Whoever has heard it can repeat it, also when it is no longer true.
            let is_news = |at| self.directory.hears(told.peer, at);
            if !told.at.is_some_and(is_news) {
                return Ok(Heard::NotNews);
            }
        } else if told.withdrawn {
            // Anybody could take back what an unsigned peer has told.
            return Ok(Heard::NotNews);
        }
        self.registry.saw(told.peer);
        // What was signed of its files may be of another moment than what was signed of this one.
        let holdings = told.holdings.filter(|it| Some(it.version) == told.at);
        if let Some(holdings) = &holdings {
            self.registry.hears(told.peer, holdings);
        }
        if told.withdrawn {
            let news = self.directory.withdraw(told.peer, told.file.id);
            return Ok(Heard::of(news));
        }
        let news = self.directory.put(told.peer, told.file).is_ok();
        Ok(Heard::of(news))
    }

    /// Takes in many announcements of one peer, as if they had come one after the other, and tells
    /// how many say anything new; None where they are of nobody.
    pub fn hear_all(&self, message: &[u8]) -> Result<Option<usize>, NotTaken> {
        let batch = Batch::read(message).inspect_err(|error| {
            if matches!(error, NotTaken::Forged(_)) {
                self.messages.forged.count();
            }
            self.messages.refused.count();
        });
        let batch = batch?;
        let all = batch.told.len();
        let news = self.answers(batch.peer).then(|| self.take_all_in(batch));
        let many = news.unwrap_or(0);
        self.messages.news.add(many as u64);
        self.messages.not_news.add((all - many) as u64);
        Ok(news)
    }

    fn take_all_in(&self, batch: Batch) -> usize {
        let Batch {
            peer,
            holdings,
            told,
        } = batch;
        let (all, mut fresh, mut news) = (told.len(), 0, 0);
        for (at, told) in told {
            // As of a single one, nothing is taken that somebody repeats.
            if !self.directory.hears(peer, at) {
                continue;
            }
            fresh += 1;
            news += usize::from(match told {
                Told::Held(file) => self.directory.put(peer, file).is_ok(),
                Told::Withdrawn(id) => self.directory.withdraw(peer, id),
            });
        }
        if fresh > 0 {
            self.registry.saw(peer);
        }
        // Whoever has not taken all of it in does not know all that is held since.
        if let Some(holdings) = holdings.filter(|_| fresh > 0 && fresh == all) {
            self.registry.hears(peer, &holdings);
        }
        if news > 0 {
            self.note_news(peer);
        }
        news
    }

    /// Whether what this peer tells is kept.
    fn answers(&self, peer: PeerId) -> bool {
        self.registry.get(peer).is_some_and(|it| it.answered)
    }

    /// Notes that a peer has told something new, for whoever follows that.
    fn note_news(&self, peer: PeerId) {
        self.newly_told.note(peer);
        self.tell_fleet_of(peer);
    }
}
