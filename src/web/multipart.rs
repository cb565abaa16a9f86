//! The `multipart` format (RFC 2046, section 5.1), parsed as it arrives.
//!
//! Content is handed on in slices of the input, neither copied nor searched
//! twice, and only the head of a part is kept, up to [`MAX_HEAD_BYTES`].

use bytes::{Buf, Bytes};
use memchr::memmem;

/// The longest head of a part. A file name of 4 KiB, each byte written in three,
/// fits twice.
pub(crate) const MAX_HEAD_BYTES: usize = 32 * 1024;
/// The longest boundary (RFC 2046 allows 70).
const MAX_BOUNDARY_BYTES: usize = 200;

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
    #[error("the content type has no valid boundary")]
    Boundary,
    /// Behind a boundary stands something else than a line end.
    #[error("a boundary is followed by other text")]
    AfterBoundary,
    /// The head of a part is too long.
    #[error("the head of a part is longer than {MAX_HEAD_BYTES} bytes")]
    HeadTooLong,
    /// The head of a part cannot be read.
    #[error("the head of a part is not valid: {0}")]
    Head(&'static str),
    /// The input ended before the closing boundary.
    #[error("the closing boundary is missing")]
    Truncated,
}

/// A parser that is fed with input and asked for events in turn.
pub(crate) struct Parser {
    /// Line end, two hyphens and the boundary: what ends a part's content.
    delimiter: Bytes,
    finder: memmem::Finder<'static>,
    input: Bytes,
    state: State,
}

enum State {
    /// Before the first boundary; so many bytes of the delimiter have just been seen.
    Preamble(usize),
    /// In a part's content; so many bytes of the delimiter have just been seen.
    Content(usize),
    /// Behind a boundary: the rest of its line and the head, as far as they are here.
    Head(Vec<u8>),
    End,
}

/// What the search for a delimiter found.
enum Found {
    /// Content, before whatever comes next.
    Data(Bytes),
    Delimiter,
    /// The input is used up; so many bytes of the delimiter stand at its end.
    Nothing(usize),
}

impl Parser {
    /// A parser for parts between lines of two hyphens and `boundary`.
    pub(crate) fn new(boundary: &[u8]) -> Result<Self, MultipartError> {
        let length = 1..=MAX_BOUNDARY_BYTES;
        // A line end inside would let a delimiter begin within another.
        if !length.contains(&boundary.len()) || boundary.iter().any(u8::is_ascii_control) {
            return Err(MultipartError::Boundary);
        }
        let delimiter = Bytes::from([b"\r\n--", boundary].concat());
        Ok(Self {
            finder: memmem::Finder::new(&delimiter).into_owned(),
            delimiter,
            input: Bytes::new(),
            // The first boundary may stand at the very start, as if behind a line end.
            state: State::Preamble(2),
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
                State::Head(_) => return self.head(),
                State::Preamble(seen) => match self.find_delimiter(seen) {
                    Found::Data(_) => self.state = State::Preamble(0),
                    Found::Delimiter => self.state = State::Head(Vec::new()),
                    Found::Nothing(seen) => {
                        self.state = State::Preamble(seen);
                        return Ok(None);
                    }
                },
                State::Content(seen) => match self.find_delimiter(seen) {
                    Found::Data(data) => {
                        self.state = State::Content(0);
                        return Ok(Some(Event::Data(data)));
                    }
                    Found::Delimiter => {
                        self.state = State::Head(Vec::new());
                        return Ok(Some(Event::PartEnd));
                    }
                    Found::Nothing(seen) => {
                        self.state = State::Content(seen);
                        return Ok(None);
                    }
                },
            }
        }
    }

    /// Looks for the delimiter, of which `seen` bytes came at the end of the input before.
    fn find_delimiter(&mut self, seen: usize) -> Found {
        if seen > 0 {
            let rest = self.delimiter.slice(seen..);
            let here = rest.len().min(self.input.len());
            if self.input.starts_with(&rest) {
                self.input.advance(rest.len());
                return Found::Delimiter;
            }
            if rest.starts_with(&self.input) {
                self.input.clear();
                return Found::Nothing(seen + here);
            }
            // It was content after all. The delimiter has its only CR at the
            // start, so none can begin within those bytes.
            return Found::Data(self.delimiter.slice(..seen));
        }
        if let Some(at) = self.finder.find(&self.input) {
            return self.take_data(at).unwrap_or_else(|| {
                self.input.advance(self.delimiter.len());
                Found::Delimiter
            });
        }
        let begun = self.delimiter_begun_at_end();
        let data = self.take_data(self.input.len() - begun);
        data.unwrap_or_else(|| {
            self.input.clear();
            Found::Nothing(begun)
        })
    }

    /// Splits off the next `length` bytes, unless that is none.
    fn take_data(&mut self, length: usize) -> Option<Found> {
        (length > 0).then(|| Found::Data(self.input.split_to(length)))
    }

    /// How many bytes at the end of the input may be the start of a delimiter.
    fn delimiter_begun_at_end(&self) -> usize {
        let most = self.input.len().min(self.delimiter.len() - 1);
        let (_, tail) = self.input.split_at(self.input.len() - most);
        match memchr::memrchr(b'\r', tail).map(|at| tail.split_at(at).1) {
            Some(begun) if self.delimiter.starts_with(begun) => begun.len(),
            _ => 0,
        }
    }

    /// Collects what stands between a boundary and the content of its part.
    fn head(&mut self) -> Result<Option<Event>, MultipartError> {
        let State::Head(collected) = &mut self.state else {
            return Ok(None);
        };
        while self.input.has_remaining() {
            collected.push(self.input.get_u8());
            if collected == b"--" {
                self.state = State::End;
                return Ok(Some(Event::End));
            }
            if collected.ends_with(b"\r\n\r\n") {
                let lines = head_lines(collected)?.to_vec();
                self.state = State::Content(0);
                return Ok(Some(Event::Head(lines)));
            }
            if collected.len() > MAX_HEAD_BYTES {
                return Err(MultipartError::HeadTooLong);
            }
        }
        Ok(None)
    }
}

/// The header lines between the line end behind a boundary and the empty line.
fn head_lines(collected: &[u8]) -> Result<&[u8], MultipartError> {
    let line_end = memmem::find(collected, b"\r\n").unwrap_or(collected.len());
    let (padding, lines) = collected.split_at(line_end);
    if padding.iter().any(|b| !matches!(b, b' ' | b'\t')) {
        return Err(MultipartError::AfterBoundary);
    }
    let lines = lines.strip_suffix(b"\r\n\r\n").unwrap_or_default();
    Ok(lines.strip_prefix(b"\r\n").unwrap_or(lines))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The events of `input` fed in pieces of the given lengths, then the rest;
    /// neighbouring data is joined.
    fn events(boundary: &str, input: &[u8], cuts: &[usize]) -> Result<Vec<Event>, MultipartError> {
        let mut parser = Parser::new(boundary.as_bytes())?;
        let (mut events, mut rest) = (Vec::new(), Bytes::copy_from_slice(input));
        let mut cuts = cuts.iter().copied();
        loop {
            while let Some(event) = parser.next()? {
                match (events.last_mut(), event) {
                    (Some(Event::Data(before)), Event::Data(data)) => {
                        *before = [&before[..], &data[..]].concat().into();
                    }
                    (_, event) => events.push(event),
                }
            }
            if rest.is_empty() {
                let whole = events.last() == Some(&Event::End);
                return whole.then_some(events).ok_or(MultipartError::Truncated);
            }
            let length = cuts.next().unwrap_or(rest.len()).clamp(1, rest.len());
            parser.feed(rest.split_to(length));
        }
    }

    fn head(lines: &str) -> Event {
        Event::Head(lines.as_bytes().to_vec())
    }

    fn data(content: &'static [u8]) -> Event {
        Event::Data(Bytes::from_static(content))
    }

    #[test]
    fn the_example_of_the_rfc_has_two_parts() {
        // RFC 2046, section 5.1.1.
        let input = b"This is the preamble.  It is to be ignored.\r\n\
            --simple boundary\r\n\r\nimplicitly typed\r\n\
            --simple boundary\r\nContent-type: text/plain; charset=us-ascii\r\n\r\n\
            explicitly typed\r\n\r\n--simple boundary--\r\n\r\nThis is the epilogue.";
        let expected = vec![
            head(""),
            data(b"implicitly typed"),
            Event::PartEnd,
            head("Content-type: text/plain; charset=us-ascii"),
            data(b"explicitly typed\r\n"),
            Event::PartEnd,
            Event::End,
        ];
        assert_eq!(events("simple boundary", input, &[]), Ok(expected.clone()));
        let one_by_one = vec![1; input.len()];
        assert_eq!(events("simple boundary", input, &one_by_one), Ok(expected));
    }

    #[test]
    fn an_empty_part_and_an_empty_form_are_valid() {
        let expected = vec![head("a: b"), Event::PartEnd, Event::End];
        assert_eq!(
            events("x", b"--x \t\r\na: b\r\n\r\n\r\n--x--", &[]),
            Ok(expected)
        );
        assert_eq!(events("x", b"--x--", &[]), Ok(vec![Event::End]));
    }

    #[test]
    fn broken_input_is_refused() {
        for (input, error) in [
            (&b""[..], MultipartError::Truncated),
            (b"no boundary at all", MultipartError::Truncated),
            (b"--x", MultipartError::Truncated),
            (b"--x\r\na: b\r\n", MultipartError::Truncated),
            (b"--x\r\n\r\nhalf", MultipartError::Truncated),
            (b"--x\r\n\r\nwhole\r\n--x", MultipartError::Truncated),
            (b"--xy\r\n\r\n", MultipartError::AfterBoundary),
        ] {
            assert_eq!(
                events("x", input, &[]),
                Err(error),
                "{}",
                input.escape_ascii()
            );
        }
        let long = [b"--x\r\n", &vec![b'a'; MAX_HEAD_BYTES][..]].concat();
        assert_eq!(events("x", &long, &[]), Err(MultipartError::HeadTooLong));
    }

    #[test]
    fn a_boundary_has_a_length_and_no_line_ends() {
        for boundary in ["", "a\r\nb", &"x".repeat(MAX_BOUNDARY_BYTES + 1)] {
            assert_eq!(events(boundary, b"", &[]), Err(MultipartError::Boundary));
        }
    }

    /// Content full of pieces of the delimiter, without a whole one.
    fn tricky_content() -> impl Strategy<Value = Vec<u8>> {
        let pieces = prop::sample::select(vec!["\r", "\n", "\r\n", "-", "--", "b", "\r\n--", "a"]);
        prop::collection::vec(pieces, 0..20)
            .prop_map(|pieces| pieces.concat().into_bytes())
            .prop_filter("holds the delimiter", |c| {
                memmem::find(c, b"\r\n--bb").is_none()
            })
    }

    proptest! {
        #[test]
        fn content_comes_out_as_it_went_in_however_the_input_is_cut(
            contents in prop::collection::vec(tricky_content(), 1..4),
            cuts in prop::collection::vec(1..9_usize, 0..200),
        ) {
            let (mut input, mut expected) = (Vec::new(), Vec::new());
            for content in &contents {
                input.extend_from_slice(b"\r\n--bb\r\nn: v\r\n\r\n");
                input.extend_from_slice(content);
                expected.push(head("n: v"));
                if !content.is_empty() {
                    expected.push(Event::Data(content.clone().into()));
                }
                expected.push(Event::PartEnd);
            }
            input.extend_from_slice(b"\r\n--bb--\r\n");
            expected.push(Event::End);
            prop_assert_eq!(events("bb", &input, &cuts), Ok(expected));
        }

        #[test]
        fn the_cuts_do_not_change_what_any_input_means(
            input in "(--b|--b--|\r\n|\r|-|b|a: b|[^b]){0,40}",
            cuts in prop::collection::vec(1..9_usize, 0..100),
        ) {
            let input = input.as_bytes();
            prop_assert_eq!(events("b", input, &cuts), events("b", input, &[]));
        }
    }
}
