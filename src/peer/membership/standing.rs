//! How it stands with members, as operators are told.

use std::time::{Duration, SystemTime};

use super::{Admin, Certificate, Channel, Entry};

/// How long before its end a certificate is told of that nobody has renewed.
pub const SOON: Duration = Duration::from_hours(72);

/// How it stands with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is one, and for long enough.
    Member,
    /// It is one, and not for much longer, unless it is renewed.
    EndsSoon,
    /// Its time is over.
    Expired,
    /// The network has it be none any more.
    Revoked,
}

impl Standing {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Member, Self::EndsSoon, Self::Expired, Self::Revoked];

    /// By what programs tell it from others; stays as it is.
    pub fn code(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::EndsSoon => "ends_soon",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    /// Whether others talk with it.
    pub fn is_member(self) -> bool {
        matches!(self, Self::Member | Self::EndsSoon)
    }

    /// That of a member whose certificate ends `soon`, or later.
    fn of(certificate: &Certificate, soon: Duration, now: SystemTime) -> Self {
        match certificate.left_at(now) {
            Duration::ZERO => Self::Expired,
            left if left < soon => Self::EndsSoon,
            _ => Self::Member,
        }
    }
}

impl Entry {
    /// How it stands with this member. Of the time of one that is renewed when half of it is over,
    /// a quarter is left once that was in vain for long.
    pub fn standing(&self, is_revoked: bool, now: SystemTime) -> Standing {
        let soon = self.renewed_for.map_or(SOON, |it| SOON.min(it / 4));
        if is_revoked {
            return Standing::Revoked;
        }
        Standing::of(&self.certificate, soon, now)
    }
}

impl Channel {
    /// How it stands with this node.
    pub fn standing(&self) -> Standing {
        let (certificate, now) = (self.certificate(), SystemTime::now());
        let is_revoked = self.revoked().has(certificate.member) || self.is_called_revoked();
        let entry = self.admin().and_then(|it| it.entry(certificate.member));
        let renewed_for = entry.and_then(|it| it.renewed_for);
        let known = Entry {
            certificate: (*certificate).clone(),
            renewed_for,
        };
        known.standing(is_revoked, now)
    }

    /// How many members of the network there are of whom it stands so, as far as a node with its
    /// key knows.
    pub fn standings(&self, admin: &Admin) -> [(Standing, usize); 4] {
        let now = SystemTime::now();
        let all: Vec<_> = admin
            .entries()
            .iter()
            .map(|it| it.standing(self.revoked().has(it.certificate.member), now))
            .collect();
        Standing::ALL.map(|standing| {
            let such = all.iter().filter(|it| **it == standing);
            (standing, such.count())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EXCHANGE, NetworkKey};
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_certificate_ends_soon_where_nobody_has_renewed_it_long_after_that_was_due() {
        let now = SystemTime::now();
        for (left, renewed_for, expected) in [
            (100, None, Standing::Member),
            (70, None, Standing::EndsSoon),
            (70, Some(720), Standing::EndsSoon),
            (100, Some(720), Standing::Member),
            (7, Some(24), Standing::Member),
            (5, Some(24), Standing::EndsSoon),
            (0, Some(24), Standing::Expired),
        ] {
            let member = NetworkKey::of(&[2; 32]).public();
            let network = NetworkKey::of(&[1; 32]);
            let entry = Entry {
                certificate: network.invite(member, EXCHANGE, now + HOUR * left).unwrap(),
                renewed_for: renewed_for.map(|it| HOUR * it),
            };
            assert_eq!(
                entry.standing(false, now),
                expected,
                "{left} {renewed_for:?}"
            );
            assert_eq!(entry.standing(true, now), Standing::Revoked);
        }
    }
}
