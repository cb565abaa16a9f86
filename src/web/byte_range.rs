//! The `Range` header: parsed, and resolved against a size (RFC 9110, section 14).

use std::num::NonZeroUsize;
use std::ops::Range;

use http_range_header::{
    ParsedRanges, SyntacticallyCorrectRange, parse_range_header_with_max_ranges,
};

/// More ranges than this in one request are taken as a mistake or an attack
/// (RFC 9110, section 17.15), and the header is ignored.
pub const MAX_RANGES: usize = 16;

/// What a request gets of something with a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of it.
    Whole,
    /// One part. It lies within the size and is not empty.
    One(Range<u64>),
    /// Several parts, in the order of the request. Each lies within the size and
    /// is not empty; together they are no longer than the whole.
    Several(Vec<Range<u64>>),
    /// Nothing, since no requested part exists.
    Unsatisfiable,
}

/// What a `Range` header with this value selects of `size` bytes.
///
/// A value that is not valid, has another unit than `bytes`, more than
/// [`MAX_RANGES`] ranges or ranges that overlap to more than the whole is
/// ignored, as RFC 9110, section 14.2 allows or demands.
pub fn select(header: &str, size: u64) -> Selection {
    let Some(ranges) = parse(header) else {
        return Selection::Whole;
    };
    // The whole of nothing is asked for, which no Content-Range can express.
    let is_suffix = |it: &_| matches!(it, SyntacticallyCorrectRange::FromLast(1..));
    if size == 0 && ranges.iter().any(is_suffix) {
        return Selection::Whole;
    }
    let parts = ranges.into_iter();
    let mut parts: Vec<_> = parts.filter_map(|it| resolve(it, size)).collect();
    let total: u128 = parts
        .iter()
        .map(|part| u128::from(part.end - part.start))
        .sum();
    match parts.len() {
        0 => Selection::Unsatisfiable,
        1 => parts.pop().map_or(Selection::Unsatisfiable, Selection::One),
        _ if total > u128::from(size) => Selection::Whole,
        _ => Selection::Several(parts),
    }
}

/// The ranges of a valid header; at least one.
fn parse(header: &str) -> Option<Vec<SyntacticallyCorrectRange>> {
    let most = NonZeroUsize::new(MAX_RANGES)?;
    let parsed = parse_range_header_with_max_ranges(header, most);
    parsed.ok().map(ParsedRanges::into_ranges)
}

/// The part of `size` bytes that is meant, if there is any.
fn resolve(range: SyntacticallyCorrectRange, size: u64) -> Option<Range<u64>> {
    let part = match range {
        SyntacticallyCorrectRange::FromStart(first) => first..size,
        SyntacticallyCorrectRange::Indexed(first, last) => first..last.saturating_add(1).min(size),
        SyntacticallyCorrectRange::FromLast(length) => size.saturating_sub(length)..size,
    };
    (!part.is_empty()).then_some(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_rfc_select_what_it_says() {
        // RFC 9110, section 14.1.2, for 10,000 bytes.
        for (header, expected) in [
            ("bytes=0-499", Selection::One(0..500)),
            ("bytes=500-999", Selection::One(500..1000)),
            ("bytes=-500", Selection::One(9500..10000)),
            ("bytes=9500-", Selection::One(9500..10000)),
            ("bytes=0-0,-1", Selection::Several(vec![0..1, 9999..10000])),
            (
                "bytes= 0-999, 4500-5499, -1000",
                Selection::Several(vec![0..1000, 4500..5500, 9000..10000]),
            ),
            (
                "bytes=500-600,601-999",
                Selection::Several(vec![500..601, 601..1000]),
            ),
            (
                "bytes=500-700,601-999",
                Selection::Several(vec![500..701, 601..1000]),
            ),
        ] {
            assert_eq!(select(header, 10_000), expected, "{header}");
        }
    }

    #[test]
    fn what_goes_beyond_the_end_is_cut_or_left_out() {
        for (header, expected) in [
            ("bytes=5-99", Selection::One(5..10)),
            ("bytes=-99", Selection::One(0..10)),
            ("bytes=9-99999999999999999999999999", Selection::One(9..10)),
            ("bytes=0-0,10-", Selection::One(0..1)),
            ("bytes=10-", Selection::Unsatisfiable),
            (
                "bytes=99999999999999999999999999-",
                Selection::Unsatisfiable,
            ),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=10-11,-0", Selection::Unsatisfiable),
        ] {
            assert_eq!(select(header, 10), expected, "{header}");
        }
    }

    #[test]
    fn of_nothing_only_a_suffix_can_be_had() {
        assert_eq!(select("bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(select("bytes=0-0", 0), Selection::Unsatisfiable);
        assert_eq!(select("bytes=-0", 0), Selection::Unsatisfiable);
        assert_eq!(select("bytes=-5", 0), Selection::Whole);
    }

    #[test]
    fn what_is_not_valid_is_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=2-1",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes=0x1-2",
            "bytes=0-1;2-3",
            "bytes=0-1,x",
            "lines=0-1",
            "bytes 0-1",
            " bytes=0-1",
            "bytes=\u{661}-2",
        ] {
            assert_eq!(select(header, 10), Selection::Whole, "{header:?}");
        }
        assert_eq!(select("BYTES=0-1", 10), Selection::One(0..2));
    }

    #[test]
    fn too_many_ranges_are_ignored() {
        let ranges = |n: usize| vec!["0-0"; n].join(",");
        let most = select(&format!("bytes={}", ranges(MAX_RANGES)), 100);
        assert_eq!(most, Selection::Several(vec![0..1; MAX_RANGES]));
        let more = select(&format!("bytes={}", ranges(MAX_RANGES + 1)), 100);
        assert_eq!(more, Selection::Whole);
        assert_eq!(select("bytes=0-,0-", 100), Selection::Whole);
    }

    /// A range as a client may write it, and the bytes of `size` that it means.
    fn written(size: u64) -> impl Strategy<Value = (String, Vec<u64>)> {
        let first_last = (0..2 * size, 0..2 * size).prop_map(move |(a, b)| {
            let (first, last) = (a.min(b), a.max(b));
            (
                format!("{first}-{last}"),
                (first..=last).collect::<Vec<_>>(),
            )
        });
        let open = (0..2 * size).prop_map(move |a| (format!("{a}-"), (a..size).collect()));
        let suffix = (0..2 * size).prop_map(move |n| {
            let bytes = (0..size).rev().take(usize::try_from(n).unwrap()).collect();
            (format!("-{n}"), bytes)
        });
        prop_oneof![first_last, open, suffix].prop_map(move |(text, mut bytes): (_, Vec<u64>)| {
            bytes.retain(|at| *at < size);
            bytes.sort_unstable();
            (text, bytes)
        })
    }

    proptest! {
        #[test]
        fn every_valid_header_selects_the_bytes_it_names(
            (size, ranges) in (1..40_u64).prop_flat_map(|size| {
                (Just(size), prop::collection::vec(written(size), 1..=MAX_RANGES))
            }),
        ) {
            let header: Vec<_> = ranges.iter().map(|(text, _)| text.as_str()).collect();
            let wanted: Vec<_> = ranges.iter().map(|(_, bytes)| bytes.clone())
                .filter(|bytes| !bytes.is_empty()).collect();
            let length: usize = wanted.iter().map(Vec::len).sum();
            let got = match select(&format!("bytes={}", header.join(", ")), size) {
                Selection::Whole => {
                    prop_assert!(wanted.len() > 1 && length as u64 > size);
                    return Ok(());
                }
                Selection::Unsatisfiable => vec![],
                Selection::One(part) => vec![part.collect::<Vec<_>>()],
                Selection::Several(parts) => {
                    prop_assert!(parts.len() > 1 && length as u64 <= size);
                    parts.into_iter().map(Iterator::collect).collect()
                }
            };
            prop_assert_eq!(got, wanted);
        }

        #[test]
        fn any_text_selects_only_what_exists(header in "(bytes=)?[-0-9, a=]{0,40}", size: u64) {
            let parts = match select(&header, size) {
                Selection::Whole | Selection::Unsatisfiable => vec![],
                Selection::One(part) => vec![part],
                Selection::Several(parts) => parts,
            };
            for part in parts {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }
    }
}
