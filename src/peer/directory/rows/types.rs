//! Content types, each kept once however many files have it.

use std::collections::HashMap;

/// The most that are kept so; who makes up more has the rest in its own rows.
const MOST: u16 = 1024;
/// The longest that is kept so, in bytes.
const LONGEST: usize = 128;

/// Content types by number.
#[derive(Debug, Default)]
pub(super) struct Types {
    numbers: HashMap<Box<str>, u16>,
    /// Each with how many rows have it.
    all: Vec<(Box<str>, usize)>,
    free: Vec<u16>,
}

impl Types {
    /// The number of a type, which one row more has from now on; None where it gets none.
    pub(super) fn number(&mut self, text: &str) -> Option<u16> {
        let number = self.numbers.get(text).copied().or_else(|| self.add(text))?;
        self.all.get_mut(usize::from(number))?.1 += 1;
        Some(number)
    }

    fn add(&mut self, text: &str) -> Option<u16> {
        if text.len() > LONGEST {
            return None;
        }
        let next = u16::try_from(self.all.len()).ok().filter(|it| *it < MOST);
        let number = self.free.pop().or(next)?;
        match self.all.get_mut(usize::from(number)) {
            Some(place) => *place = (text.into(), 0),
            None => self.all.push((text.into(), 0)),
        }
        self.numbers.insert(text.into(), number);
        Some(number)
    }

    pub(super) fn get(&self, number: u16) -> Option<&str> {
        Some(&self.all.get(usize::from(number))?.0)
    }

    /// Notes that one row less has this type.
    pub(super) fn release(&mut self, number: u16) {
        let Some((text, rows)) = self.all.get_mut(usize::from(number)) else {
            return;
        };
        *rows = rows.saturating_sub(1);
        if *rows == 0 {
            self.numbers.remove(text);
            *text = Box::default();
            self.free.push(number);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_a_number_as_long_as_a_row_has_it() {
        let mut types = Types::default();
        let numbers = ["a", "b", "a"].map(|it| types.number(it).unwrap());
        assert_eq!(numbers, [0, 1, 0]);
        types.release(0);
        assert_eq!(types.get(0), Some("a"));
        types.release(0);
        assert_eq!(types.number("c"), Some(0));
        assert_eq!((types.get(0), types.get(1)), (Some("c"), Some("b")));
        assert_eq!(types.number(&"x".repeat(LONGEST + 1)), None);
        for number in 2..MOST {
            assert_eq!(types.number(&number.to_string()), Some(number));
        }
        assert_eq!(types.number("one more"), None);
        assert_eq!(types.number("b"), Some(1));
    }
}
