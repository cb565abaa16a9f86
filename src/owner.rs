//! Whose a file is, as people name users.

use std::fmt;
use std::fs;

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    id: u32,
    name: Option<String>,
}

impl Owner {
    /// The user with this id; the name is known where /etc/passwd tells it. Blocks.
    pub fn of_id(id: u32) -> Self {
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = users.lines().find_map(|line| name_of(line, id));
        let name = name.map(str::to_owned);
        Self { id, name }
    }

    /// The user who runs this process. Blocks.
    pub fn of_process() -> Self {
        Self::of_id(rustix::process::geteuid().as_raw())
    }

    /// What `sudo -u` takes for the user, in a shell.
    pub fn for_sudo(&self) -> String {
        let by_id = || format!("'#{}'", self.id);
        self.name.clone().unwrap_or_else(by_id)
    }

    /// What `chown` takes for the user.
    pub fn for_chown(&self) -> String {
        let by_id = || self.id.to_string();
        self.name.clone().unwrap_or_else(by_id)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} (uid {})", self.id),
            None => write!(f, "uid {}", self.id),
        }
    }
}

/// The name in a line of /etc/passwd that is about the user with this id.
fn name_of(line: &str, id: u32) -> Option<&str> {
    let mut fields = line.split(':');
    let (name, found) = (fields.next()?, fields.nth(1)?);
    let is_name = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
    (found.parse() == Ok(id) && !name.is_empty() && name.chars().all(is_name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_as_the_machine_does_and_by_number_otherwise() {
        assert_eq!(
            name_of("www-data:x:33:33:www:/var/www:/bin/sh", 33),
            Some("www-data")
        );
        assert_eq!(name_of("www-data:x:33:44:www:/var/www:/bin/sh", 44), None);
        for line in ["", "root", "root:x", ":x:33:", "a b:x:33:33", "a:x:033x:"] {
            assert_eq!(name_of(line, 33), None, "{line}");
        }
        let unknown = Owner {
            id: 4_000_000,
            name: None,
        };
        assert_eq!(unknown.to_string(), "uid 4000000");
        assert_eq!(unknown.for_sudo(), "'#4000000'");
        assert_eq!(Owner::of_id(0).to_string(), "root (uid 0)");
    }
}
