//! Bodies in JSON, and what is to be changed of those that are not what a route takes.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value};

use super::error::ApiError;
use crate::peer::registration::Registration;

/// How long a key is at most that is told as it came, in bytes.
const TOLD: usize = 64;

/// The keys of a registration.
const REGISTRATION: &[Key] = &[
    Key::text("peer_id"),
    Key::text("address"),
    Key::text("timestamp").or_absent(),
    Key::flag("leaving").or_absent(),
    Key::text("membership").or_null(),
    Key::object("holdings").or_null(),
    Key::text("public_key").or_null(),
    Key::text("signature").or_null(),
];

/// A key of an object.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    name: &'static str,
    value: Kind,
    presence: Presence,
}

/// What is behind a key.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Flag,
    Object,
    List,
}

/// Whether a key has to be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Needed,
    MayBeAbsent,
    MayBeNull,
}

/// Whether other keys may be there, which mean nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    Allowed,
    Refused,
}

impl Key {
    /// One that has to be there, with a text.
    pub(crate) const fn text(name: &'static str) -> Self {
        Self::of(name, Kind::Text)
    }

    /// One with a whole number.
    pub(crate) const fn number(name: &'static str) -> Self {
        Self::of(name, Kind::Number)
    }

    /// One that is true or false.
    pub(crate) const fn flag(name: &'static str) -> Self {
        Self::of(name, Kind::Flag)
    }

    /// One with a list.
    pub(crate) const fn list(name: &'static str) -> Self {
        Self::of(name, Kind::List)
    }

    /// One with an object.
    pub(crate) const fn object(name: &'static str) -> Self {
        Self::of(name, Kind::Object)
    }

    const fn of(name: &'static str, value: Kind) -> Self {
        Self {
            name,
            value,
            presence: Presence::Needed,
        }
    }

    /// The same, which may be left out.
    pub(crate) const fn or_absent(mut self) -> Self {
        self.presence = Presence::MayBeAbsent;
        self
    }

    /// The same, which may be left out or null.
    pub(crate) const fn or_null(mut self) -> Self {
        self.presence = Presence::MayBeNull;
        self
    }

    /// What is to be changed of what stands behind this key, if anything.
    fn wrong(self, value: Option<&Value>) -> Option<String> {
        let name = self.name;
        let (is_right, wanted) = match (self.value, value) {
            (_, None) => {
                let is_needed = self.presence == Presence::Needed;
                return is_needed.then(|| format!("`{name}` is missing"));
            }
            (_, Some(Value::Null)) if self.presence == Presence::MayBeNull => return None,
            (Kind::Text, Some(value)) => (value.is_string(), "a text in quotes"),
            (Kind::Number, Some(value)) => (value.is_u64(), "a whole number, without quotes"),
            (Kind::List, Some(value)) => (value.is_array(), "a list in brackets"),
            (Kind::Object, Some(value)) => (value.is_object(), "an object in braces"),
            (Kind::Flag, Some(value)) => (value.is_boolean(), "true or false"),
        };
        (!is_right).then(|| format!("`{name}` has to be {wanted}"))
    }
}

/// Reads a body that is an object with these keys; where it is none, tells what is to be changed.
pub(crate) fn read<T: DeserializeOwned>(
    body: &[u8],
    keys: &[Key],
    others: Others,
) -> Result<T, String> {
    // What has no braces may be read as the values of all keys in their order.
    let is_object = body.trim_ascii_start().starts_with(b"{");
    let read = is_object.then(|| serde_json::from_slice(body).ok());
    read.flatten().ok_or_else(|| wrong(body, keys, others))
}

/// The greatest number up to which all whole ones can be written with a point, too.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads a whole number, also one with a point and nothing but zeros behind it, which to JSON is
/// the same (JSON Schema 2020-12, section 6.1.1 of the validation vocabulary).
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = Number::deserialize(deserializer)?;
    let with_point = || {
        let number = number.as_f64()?;
        let is_whole = number.fract() == 0.0 && (0.0..=EXACT).contains(&number);
        is_whole.then(|| format!("{number:.0}").parse().ok())?
    };
    let read = number.as_u64().or_else(with_point);
    read.ok_or_else(|| D::Error::custom("no whole number"))
}

/// Reads a registration.
pub(crate) fn read_registration(body: &[u8]) -> Result<Registration, ApiError> {
    read(body, REGISTRATION, Others::Allowed).map_err(ApiError::Registration)
}

fn wrong(body: &[u8], keys: &[Key], others: Others) -> String {
    let names: Vec<_> = keys.iter().map(|it| it.name).collect();
    let names = names.join(", ");
    let object = match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return format!("send one object in braces, with the keys {names}"),
        Err(_) if body.trim_ascii().is_empty() => {
            return format!("the body is empty; send an object in JSON, with the keys {names}");
        }
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            return format!("this is no JSON from line {line}, column {column} on");
        }
    };
    let known = |name: &String| keys.iter().any(|it| it.name == name);
    let other = object.keys().find(|it| !known(it));
    if let Some(other) = other.filter(|_| others == Others::Refused) {
        let end = other.floor_char_boundary(TOLD);
        let (told, _) = other.split_at(end);
        return format!("there is no key `{told}`; the keys are {names}");
    }
    let mut wrong = keys.iter().filter_map(|it| it.wrong(object.get(it.name)));
    // Nothing else is left that could be wrong with an object of these.
    wrong
        .next()
        .unwrap_or_else(|| "a key stands in it twice".to_owned())
}

/// Fails unless a message that is whole has all these keys, with values that they may have, and no
/// other.
#[cfg(test)]
pub(crate) fn assert_all(keys: &[Key], message: &impl serde::Serialize) {
    let message = serde_json::to_value(message).unwrap();
    let message = message.as_object().unwrap();
    let names: std::collections::BTreeSet<_> = keys.iter().map(|it| it.name).collect();
    let sent = message.keys().map(String::as_str);
    assert_eq!(sent.collect::<std::collections::BTreeSet<_>>(), names);
    for key in keys {
        assert_eq!(key.wrong(message.get(key.name)), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::holdings::{Holdings, Version};
    use crate::peer::identity::Identity;

    #[test]
    fn a_registration_has_the_keys_that_people_are_told_of() {
        let identity = Identity::generate().unwrap();
        let here = "http://localhost:5000".parse().unwrap();
        let goodbye = Registration::goodbye(&identity, &here);
        let holdings = Holdings::of(&identity, Version::default());
        let told = goodbye
            .with_membership("of a network")
            .with_holdings(holdings);
        assert_all(REGISTRATION, &told);
    }

    #[test]
    fn a_whole_number_may_have_a_point_and_zeros() {
        for (text, number) in [
            ("5", Some(5)),
            ("5.0", Some(5)),
            ("0.0", Some(0)),
            ("5e0", Some(5)),
            ("18446744073709551615", Some(u64::MAX)),
            ("5.5", None),
            ("-1", None),
            ("-1.0", None),
            ("1e300", None),
            ("\"5\"", None),
        ] {
            let read = whole(&mut serde_json::Deserializer::from_str(text));
            assert_eq!(read.ok(), number, "{text}");
        }
    }

    fn told(body: &str) -> String {
        let read = read_registration(body.as_bytes());
        read.unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_told_by_its_key() {
        let whole = r#"{"peer_id": "a", "address": "b", "other": [], "public_key": null}"#;
        assert!(read_registration(whole.as_bytes()).is_ok());
        for (body, words) in [
            ("", "the body is empty"),
            ("{", "no JSON from line 1, column 1 on"),
            (
                "[1]",
                "one object in braces, with the keys peer_id, address",
            ),
            ("{}", "`peer_id` is missing"),
            (r#"{"peer_id": 1}"#, "`peer_id` has to be a text in quotes"),
            (
                r#"{"peer_id": "a", "address": "b", "leaving": "no"}"#,
                "`leaving` has to be true or false",
            ),
            (
                r#"{"peer_id": "a", "address": "b", "timestamp": null}"#,
                "`timestamp` has to be a text",
            ),
            (
                r#"{"peer_id": "a", "peer_id": "a", "address": "b"}"#,
                "stands in it twice",
            ),
        ] {
            let told = told(body);
            assert!(told.contains(words), "{body}: {told}");
        }
    }

    #[test]
    fn a_key_that_there_is_not_is_told_where_none_may_be() {
        let keys = [Key::text("a").or_null(), Key::number("n").or_absent()];
        let read = |body: &str| read::<Value>(body.as_bytes(), &keys, Others::Refused);
        // A value takes whatever it is, so what is wrong is told of what is none.
        assert!(read("{").is_err());
        let wrong = |body: &str| wrong(body.as_bytes(), &keys, Others::Refused);
        let long = "x".repeat(1000);
        let told = wrong(&format!(r#"{{"{long}": 1}}"#));
        assert!(
            told.starts_with("there is no key `xxx") && told.len() < 200,
            "{told}"
        );
        assert_eq!(
            wrong(r#"{"n": -1}"#),
            "`n` has to be a whole number, without quotes"
        );
    }
}
