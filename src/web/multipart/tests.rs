//! Forms, right and wrong, fed in pieces.

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
fn a_form_with_crlf_ends_at_no_other_line_end() {
    for quoted in ["\n--x--\n", "\r--x--\r", "\n--x\n\n", "\n--x\r\n"] {
        let content = format!("abc{quoted}the rest");
        let input = format!("--x\r\n\r\n{content}\r\n--x--\r\n");
        let found = events("x", input.as_bytes(), &[]).unwrap();
        let data = found.iter().filter_map(|it| match it {
            Event::Data(data) => Some(&data[..]),
            _ => None,
        });
        assert_eq!(data.collect::<Vec<_>>().concat(), content.as_bytes());
        assert_eq!(found.iter().filter(|it| **it == Event::PartEnd).count(), 1);
    }
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
        (b"--xy\r\n\r\n", MultipartError::Truncated),
        (b"--x\r\n\r\nwhole\r\n--x-\r\n", MultipartError::Truncated),
    ] {
        assert_eq!(
            events("x", input, &[]),
            Err(error),
            "{}",
            input.escape_ascii()
        );
    }
    let long = [b"--x\r\n", &vec![b'a'; MAX_HEAD_BYTES + 1][..]].concat();
    assert_eq!(events("x", &long, &[]), Err(MultipartError::HeadTooLong));
}

#[test]
fn a_boundary_has_a_length_and_no_line_ends() {
    for boundary in ["", "a\r\nb", &"x".repeat(MAX_BOUNDARY_BYTES + 1)] {
        assert_eq!(events(boundary, b"", &[]), Err(MultipartError::Boundary));
    }
}

#[test]
fn lines_end_as_clients_end_them() {
    let expected = vec![
        head("a: b"),
        data(b"1\n\r"),
        Event::PartEnd,
        head("c: d"),
        Event::PartEnd,
        Event::End,
    ];
    for (line_end, behind) in [("\r\n", "\n"), ("\n", "\n"), ("\r", "\r")] {
        // What is before the boundary's line end is content, and CRLF is one line end.
        let content = if line_end == "\n" { "1\n\r\r" } else { "1\n\r" };
        let form = format!(
            "--x {line_end}a: b{line_end}{line_end}{content}{line_end}--x\t{line_end}\
             c: d{line_end}{line_end}{line_end}--x--{behind}more"
        );
        let one_by_one = vec![1; form.len()];
        for cuts in [&[], &one_by_one[..]] {
            let events = events("x", form.as_bytes(), cuts);
            assert_eq!(events.as_ref(), Ok(&expected), "{form:?}");
        }
    }
}

#[test]
fn what_only_looks_like_a_boundary_is_content() {
    let input = b"text--x\r\na: b\n\r\n--xy\r\n--x- \r\n--x y\r\n\r\n-\r\r\n--x--";
    let expected = vec![
        head("a: b"),
        data(b"--xy\r\n--x- \r\n--x y\r\n\r\n-\r"),
        Event::PartEnd,
        Event::End,
    ];
    let one_by_one = vec![1; input.len()];
    for cuts in [&[], &one_by_one[..]] {
        assert_eq!(events("x", input, cuts), Ok(expected.clone()));
    }
}

#[test]
fn an_empty_part_needs_no_line_end_of_its_own() {
    let expected = vec![head("a: b"), Event::PartEnd, Event::End];
    assert_eq!(events("x", b"--x\na: b\n\n--x--", &[]), Ok(expected));
}

/// Content full of pieces of the delimiter, without a whole one.
fn tricky_content() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec!["\r", "\n", "\r\n", "-", "--", "b", "\r\n--", "a"]);
    prop::collection::vec(pieces, 0..20)
        .prop_map(|pieces| pieces.concat().into_bytes())
        .prop_filter("holds the delimiter", |c| {
            let holds = |it: &[u8]| memmem::find(c, it).is_some();
            !(holds(b"\r--bb") || holds(b"\n--bb") || c.starts_with(b"--bb"))
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
        input in "(--b|--b--|\n--b\n|\r\n|\r|\n|-|b| |a: b|[^b]){0,40}",
        cuts in prop::collection::vec(1..9_usize, 0..100),
    ) {
        let input = input.as_bytes();
        prop_assert_eq!(events("b", input, &cuts), events("b", input, &[]));
    }
}
