//! What a bench asks of a node, and how often each.

use std::fmt;
use std::str::FromStr;

/// One kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// A file is downloaded, and what comes compared with its hash.
    Get,
    /// A content that nobody has is uploaded, and the hash that the node tells compared with it.
    Put,
    /// A file that this run has uploaded is removed.
    Delete,
    /// The newest hundred files are listed.
    List,
}

impl Operation {
    pub(super) const ALL: [Self; 4] = [Self::Get, Self::Put, Self::Delete, Self::List];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::List => "list",
        }
    }
}

/// How often each is asked, as parts of the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mix([u32; Operation::ALL.len()]);

impl Mix {
    /// The kind of a request that a random number means.
    pub(super) fn pick(&self, random: u64) -> Operation {
        let sum: u64 = self.0.iter().map(|&it| u64::from(it)).sum();
        let mut at = random % sum.max(1);
        for (operation, &part) in Operation::ALL.into_iter().zip(&self.0) {
            match at.checked_sub(u64::from(part)) {
                None => return operation,
                Some(behind) => at = behind,
            }
        }
        Operation::Get
    }

    /// Whether it has any of these.
    pub(super) fn has(&self, wanted: Operation) -> bool {
        let parts = Operation::ALL.into_iter().zip(self.0);
        parts.into_iter().any(|(it, part)| it == wanted && part > 0)
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mix = Self([0; Operation::ALL.len()]);
        for part in text.split(',') {
            let (name, share) = part.split_once('=').unwrap_or((part, "1"));
            let at = Operation::ALL
                .iter()
                .position(|it| it.name() == name.trim());
            let at = at.and_then(|at| mix.0.get_mut(at)).ok_or_else(|| {
                let names = Operation::ALL.map(Operation::name).join(", ");
                format!(
                    "there is no {:?}; what can be asked is {names}",
                    name.trim()
                )
            })?;
            let share = share.trim().parse::<u32>().ok();
            let share = share.filter(|it| (1..=1_000_000).contains(it));
            *at = share.ok_or("a part is a number from 1 to 1000000, such as get=80,put=20")?;
        }
        Ok(mix)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = Operation::ALL.into_iter().zip(self.0);
        let parts = parts.filter(|(_, part)| *part > 0);
        let parts = parts.map(|(it, part)| format!("{}={part}", it.name()));
        f.write_str(&parts.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_the_part_that_is_said() {
        let mix: Mix = "get=3, put=1".parse().unwrap();
        let picked = (0..8).map(|it| mix.pick(it)).collect::<Vec<_>>();
        let gets = picked.iter().filter(|it| **it == Operation::Get).count();
        let puts = picked.iter().filter(|it| **it == Operation::Put).count();
        assert_eq!((gets, puts), (6, 2));
        assert!(mix.has(Operation::Put) && !mix.has(Operation::List));
        assert_eq!(mix.to_string(), "get=3,put=1");
        assert_eq!(
            "list".parse::<Mix>().unwrap().pick(u64::MAX),
            Operation::List
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "got=1",
            "get=0",
            "get=-1",
            "get=",
            "get=1,,put=1",
            "get=1000001",
        ] {
            assert!(text.parse::<Mix>().is_err(), "{text:?}");
        }
    }
}
