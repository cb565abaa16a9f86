//! The `multipart` format (RFC 2046, section 5.1), parsed as it arrives.
//!
//! Lines end as clients end them, with CRLF, LF or CR, and what is taken for a boundary is what
//! Werkzeug takes for one, so that clients of the older service are understood as before. One
//! thing is stricter: where the line of the first boundary ends with CRLF, as the standard has it,
//! no other line end stands before a later one, so that text which quotes a form is not cut off.
//!
//! Content is handed on in slices of the input, neither copied nor searched
//! twice, and only the head of a part is kept, up to [`MAX_HEAD_BYTES`].

use std::ops::Range;

use bytes::{Buf, Bytes};
use memchr::memmem;

/// The longest head of a part. A file name of 4 KiB, each byte written in three,
/// fits twice.
pub(crate) const MAX_HEAD_BYTES: usize = 32 * 1024;
/// The longest boundary (RFC 2046 allows 70).
const MAX_BOUNDARY_BYTES: usize = 200;
/// The most spaces between a boundary and the end of its line.
const MAX_PADDING_BYTES: usize = 1024;

/// What comes next in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A part begins; these are its header lines, without the empty one.
    Head(Vec<u8>),
    /// Some of the part's content, never empty.
    Data(Bytes),
    /// The part is complete.
    PartEnd,
    /// The last part was complete; what follows means nothing.
    End,
}

/// What is wrong with the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MultipartError {
    /// The content type names no boundary, or one that cannot be.
    #[error(
        "the Content-Type needs a boundary of 1 to {MAX_BOUNDARY_BYTES} bytes without control \
         characters"
    )]
    Boundary,
    /// The head of a part is too long.
    #[error("the head of a part has at most {MAX_HEAD_BYTES} bytes")]
    HeadTooLong,
    /// The input ended before the closing boundary.
    #[error("it ends without its closing boundary, a line of --, the boundary and --")]
    Truncated,
}

/// A parser that is fed with input and asked for events in turn.
pub(crate) struct Parser {
    /// Two hyphens and the boundary.
    dashed: Bytes,
    finder: memmem::Finder<'static>,
    /// The end of the input before, which may be the beginning of a delimiter.
    held: Vec<u8>,
    input: Bytes,
    state: State,
    /// Whether only CRLF stands before a boundary.
    crlf: bool,
}

enum State {
    /// Before the first boundary.
    Preamble,
    /// In a part's content.
    Content {
        /// Whether the line end at its start is that of the empty line behind the head, and no
        /// content.
        begins: bool,
    },
    /// Behind the line of a boundary.
    Head {
        /// The head, as far as it is here.
        collected: Vec<u8>,
        /// Whether the line ended with CRLF.
        crlf: bool,
    },
    /// Behind the closing boundary, which is yet to be told.
    Closing,
    End,
}

/// What bytes are that may begin a delimiter.
enum Begun {
    /// One, of so many bytes, and what follows.
    Whole(State, usize),
    /// The beginning of one, or not: more bytes will tell.
    Undecided,
    /// None.
    Not,
}

/// What the search for a delimiter found.
enum Found {
    /// Content, before whatever comes next.
    Data(Bytes),
    /// One, and what follows.
    Delimiter(State),
    /// The input is used up.
    Nothing,
}

impl Parser {
    /// A parser for parts between lines of two hyphens and `boundary`.
    pub(crate) fn new(boundary: &[u8]) -> Result<Self, MultipartError> {
        let length = 1..=MAX_BOUNDARY_BYTES;
        // A line end inside would let a delimiter begin within another.
        if !length.contains(&boundary.len()) || boundary.iter().any(u8::is_ascii_control) {
            return Err(MultipartError::Boundary);
        }
        let dashed = Bytes::from([b"--", boundary].concat());
        Ok(Self {
            finder: memmem::Finder::new(&dashed).into_owned(),
            dashed,
            held: Vec::new(),
            input: Bytes::new(),
            state: State::Preamble,
            crlf: false,
        })
    }

    /// Gives the next piece of input, after [`Parser::next`] returned None.
    pub(crate) fn feed(&mut self, input: Bytes) {
        debug_assert!(self.input.is_empty(), "the input before is used up");
        self.input = input;
    }

    /// The next event, or None when more input is needed. After [`Event::End`]
    /// it stays None.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, MultipartError> {
        loop {
            match self.state {
                State::End => {
                    self.input.clear();
                    return Ok(None);
                }
                State::Closing => {
                    self.state = State::End;
                    return Ok(Some(Event::End));
                }
                State::Head { .. } => return self.head(),
                State::Preamble => match self.find_delimiter() {
                    Found::Data(_) => {}
                    Found::Delimiter(state) => {
                        self.crlf = matches!(state, State::Head { crlf: true, .. });
                        self.state = state;
                    }
                    Found::Nothing => return Ok(None),
                },
                State::Content { .. } => match self.find_delimiter() {
                    Found::Data(data) => return Ok(Some(Event::Data(data))),
                    Found::Delimiter(state) => {
                        self.state = state;
                        return Ok(Some(Event::PartEnd));
                    }
                    Found::Nothing => return Ok(None),
                },
            }
        }
    }

    /// The next delimiter, or what comes before it.
    fn find_delimiter(&mut self) -> Found {
        while !self.held.is_empty() {
            match self.begun(&self.held) {
                Begun::Whole(state, length) => {
                    self.held.drain(..length);
                    return Found::Delimiter(state);
                }
                Begun::Undecided if self.input.is_empty() => return Found::Nothing,
                // Mostly, and then nothing of the content is copied.
                Begun::Undecided if self.is_at_content() => drop(self.release()),
                Begun::Undecided => self.held.push(self.input.get_u8()),
                Begun::Not => {
                    if let Some(data) = self.release() {
                        return Found::Data(data);
                    }
                }
            }
        }
        let mut from = 0;
        while let Some(at) = self.found_behind(from) {
            match self.begun(self.input.get(at.start..).unwrap_or_default()) {
                Begun::Whole(..) if at.start > 0 => {
                    return Found::Data(self.input.split_to(at.start));
                }
                Begun::Whole(state, length) => {
                    self.input.advance(length);
                    return Found::Delimiter(state);
                }
                Begun::Undecided => return self.hold(at.start),
                Begun::Not => from = at.end,
            }
        }
        self.hold(self.tail())
    }

    /// Whether the input goes on with content behind the empty line of a head.
    fn is_at_content(&self) -> bool {
        let begins = matches!(self.state, State::Content { begins: true });
        let is_line_end = |b: &u8| matches!(b, b'\r' | b'\n');
        let goes_on = !self.input.starts_with(b"-") && !self.input.starts_with(b"\n");
        begins && goes_on && self.held.iter().all(is_line_end)
    }

    /// Where in the input two hyphens and the boundary stand next, with the line end before them,
    /// if there is one.
    fn found_behind(&self, from: usize) -> Option<Range<usize>> {
        let at = from + self.finder.find(self.input.get(from..)?)?;
        let before = self.input.get(..at).unwrap_or_default();
        let line_end = match before {
            _ if matches!(self.state, State::Preamble) => 0,
            [.., b'\r', b'\n'] => 2,
            [.., b'\r' | b'\n'] => 1,
            _ => 0,
        };
        Some(at - line_end..at + 1)
    }

    /// Where what may be the beginning of a delimiter starts at the end of the input, which holds
    /// no whole one.
    fn tail(&self) -> usize {
        let length = self.input.len();
        // A line end, and all but the last byte of the rest.
        let mut at = length.saturating_sub(self.dashed.len() + 1);
        while let Some(rest @ [_, ..]) = self.input.get(at..) {
            if matches!(self.begun(rest), Begun::Undecided) {
                return at;
            }
            at += 1;
        }
        length
    }

    /// Gives what is before `start`, and keeps the rest until more is here.
    fn hold(&mut self, start: usize) -> Found {
        let data = self.input.split_to(start);
        self.held = std::mem::take(&mut self.input).to_vec();
        if data.is_empty() {
            Found::Nothing
        } else {
            Found::Data(data)
        }
    }

    /// What was held and is no delimiter, up to where one may begin; None where that is no
    /// content.
    fn release(&mut self) -> Option<Bytes> {
        if let State::Content {
            begins: begins @ true,
        } = &mut self.state
        {
            *begins = false;
            let line_end = if self.held.starts_with(b"\r\n") { 2 } else { 1 };
            self.held.drain(..line_end);
            return None;
        }
        let mut next = (1..self.held.len()).filter(|at| {
            let rest = self.held.get(*at..).unwrap_or_default();
            !matches!(self.begun(rest), Begun::Not)
        });
        let end = next.next().unwrap_or(self.held.len());
        Some(self.held.drain(..end).collect())
    }

    /// What these bytes begin.
    fn begun(&self, bytes: &[u8]) -> Begun {
        // The line end behind a head is whatever ended the head.
        let any = !self.crlf || matches!(self.state, State::Content { begins: true });
        let line_end = match bytes {
            _ if matches!(self.state, State::Preamble) => 0,
            [b'\r'] => return Begun::Undecided,
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] if any => 1,
            _ => return Begun::Not,
        };
        let (_, rest) = bytes.split_at(line_end);
        let Some(behind) = rest.strip_prefix(&*self.dashed) else {
            return if self.dashed.starts_with(rest) {
                Begun::Undecided
            } else {
                Begun::Not
            };
        };
        let so_far = line_end + self.dashed.len();
        match behind {
            [b'-', b'-', ..] => return Begun::Whole(State::Closing, so_far + 2),
            [b'-'] => return Begun::Undecided,
            _ => {}
        }
        let padding = behind.iter().take_while(|b| is_padding(**b)).count();
        let part = |line_end| {
            let (collected, crlf) = (Vec::new(), line_end == 2);
            Begun::Whole(State::Head { collected, crlf }, so_far + padding + line_end)
        };
        match behind.split_at(padding).1 {
            _ if padding > MAX_PADDING_BYTES => Begun::Not,
            [] | [b'\r'] => Begun::Undecided,
            [b'\r', b'\n', ..] => part(2),
            [b'\r' | b'\n', ..] => part(1),
            _ => Begun::Not,
        }
    }

    /// Collects what stands between a boundary and the content of its part.
    fn head(&mut self) -> Result<Option<Event>, MultipartError> {
        let State::Head { collected, .. } = &mut self.state else {
            return Ok(None);
        };
        loop {
            let byte = if self.held.is_empty() {
                if self.input.is_empty() {
                    return Ok(None);
                }
                self.input.get_u8()
            } else {
                self.held.remove(0)
            };
            collected.push(byte);
            if let Some((lines, line_end)) = split_empty_line(collected) {
                let lines = lines.to_vec();
                self.held.splice(..0, line_end.iter().copied());
                self.state = State::Content { begins: true };
                return Ok(Some(Event::Head(lines)));
            }
            if collected.len() > MAX_HEAD_BYTES {
                return Err(MultipartError::HeadTooLong);
            }
        }
    }
}

/// White space that is no line end.
fn is_padding(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c)
}

/// The lines of a head and the line end of the empty line behind them, if that is here.
fn split_empty_line(collected: &[u8]) -> Option<(&[u8], &'static [u8])> {
    match collected {
        [lines @ .., b'\r', b'\n', b'\r', b'\n'] | [lines @ .., b'\n', b'\r', b'\n'] => {
            Some((lines, b"\r\n"))
        }
        [b'\r', b'\n'] => Some((&[], b"\r\n")),
        [lines @ .., b'\n', b'\n'] => Some((lines, b"\n")),
        [b'\n'] => Some((&[], b"\n")),
        [lines @ .., b'\r', b'\r'] => Some((lines, b"\r")),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
