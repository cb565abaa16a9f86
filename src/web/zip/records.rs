//! What stands around the contents of an archive (PKWARE, .ZIP File Format Specification 6.3.10;
//! the sections are named where they are used).

use chrono::{DateTime, Datelike, Timelike, Utc};

use super::blocks;
use crate::record::Timestamp;

/// What a field holds whose value stands in a longer field elsewhere (4.4.1.4).
const ELSEWHERE: u32 = u32::MAX;
/// Checksum and lengths come behind the content, and names are UTF-8 (4.4.4).
const FLAGS: u16 = 1 << 3 | 1 << 11;
/// DEFLATE (4.4.5).
const METHOD: u16 = 8;
/// The version that is needed for DEFLATE, and for lengths of 64 bits (4.4.3).
const DEFLATE: u16 = 20;
const ZIP64: u16 = 45;
/// The same, made on a Unix, whose file modes are told (4.4.2).
const MADE_BY: u16 = 3 << 8 | ZIP64;
/// An ordinary file that all may read and its owner may write (4.4.15).
const MODE: u32 = 0o100_644 << 16;
/// The fields with lengths of 64 bits (4.5.3), and with times of Unix (Info-ZIP).
const LONG_FIELD: u16 = 0x0001;
const TIME_FIELD: u16 = 0x5455;

/// An archive that is being written.
#[derive(Default)]
pub(super) struct Writer {
    /// How many bytes it has so far, with the content that is begun.
    at: u64,
    count: u64,
    /// What stands at its end: one record for each content.
    directory: Vec<u8>,
}

/// A content that is begun.
pub(super) struct Begun {
    name: String,
    size: u64,
    packed: u64,
    at: u64,
    moment: Moment,
}

impl Begun {
    fn is_long(&self) -> bool {
        self.size.max(self.packed) >= ELSEWHERE.into()
    }

    fn needs(&self) -> u16 {
        if self.is_long() { ZIP64 } else { DEFLATE }
    }
}

impl Writer {
    /// Begins a file of `size` bytes: what stands before its content (4.3.7).
    pub(super) fn begin(
        &mut self,
        name: String,
        size: u64,
        modified: Option<Timestamp>,
    ) -> (Begun, Vec<u8>) {
        let begun = Begun {
            name,
            size,
            packed: blocks::length(size),
            at: self.at,
            moment: Moment::of(modified),
        };
        // They come behind the content, and where they do so in 64 bits this says that.
        let (length, mut extra) = if begun.is_long() {
            (ELSEWHERE, field(LONG_FIELD, &[0; 16]))
        } else {
            (0, Vec::new())
        };
        extra.extend(&begun.moment.field);
        let mut head = Vec::new();
        head.extend(0x0403_4b50_u32.to_le_bytes());
        for short in [begun.needs(), FLAGS, METHOD] {
            head.extend(short.to_le_bytes());
        }
        head.extend(begun.moment.clock);
        for long in [0, length, length] {
            head.extend(long.to_le_bytes());
        }
        put_lengths(&mut head, &begun.name, &extra);
        head.extend(begun.name.as_bytes());
        head.extend(extra);
        self.at += head.len() as u64 + begun.packed;
        (begun, head)
    }

    /// Ends a file whose content has this checksum: what stands behind it (4.3.9).
    pub(super) fn end(&mut self, begun: &Begun, checksum: u32) -> Vec<u8> {
        let mut end = Vec::new();
        end.extend(0x0807_4b50_u32.to_le_bytes());
        end.extend(checksum.to_le_bytes());
        for length in [begun.packed, begun.size] {
            if begun.is_long() {
                end.extend(length.to_le_bytes());
            } else {
                end.extend(short_of(length).to_le_bytes());
            }
        }
        self.at += end.len() as u64;
        self.note(begun, checksum);
        end
    }

    /// Notes a file for the end of the archive (4.3.12).
    fn note(&mut self, begun: &Begun, checksum: u32) {
        self.count += 1;
        // Those whose short field has no room for them, in this order.
        let long = [begun.size, begun.packed, begun.at];
        let long = long.into_iter().filter(|it| *it >= ELSEWHERE.into());
        let long: Vec<u8> = long.flat_map(u64::to_le_bytes).collect();
        let needs = if long.is_empty() { DEFLATE } else { ZIP64 };
        let mut extra = if long.is_empty() {
            Vec::new()
        } else {
            field(LONG_FIELD, &long)
        };
        extra.extend(&begun.moment.field);
        let record = &mut self.directory;
        record.extend(0x0201_4b50_u32.to_le_bytes());
        for short in [MADE_BY, needs, FLAGS, METHOD] {
            record.extend(short.to_le_bytes());
        }
        record.extend(begun.moment.clock);
        for long in [checksum, short_of(begun.packed), short_of(begun.size)] {
            record.extend(long.to_le_bytes());
        }
        put_lengths(record, &begun.name, &extra);
        // No comment, the first disk, and nothing said of what the content is.
        record.extend([0; 6]);
        record.extend(MODE.to_le_bytes());
        record.extend(short_of(begun.at).to_le_bytes());
        record.extend(begun.name.as_bytes());
        record.extend(extra);
    }

    /// The end of the archive: the records, and where they begin (4.3.14 to 4.3.16).
    pub(super) fn finish(self) -> Vec<u8> {
        let (begins, length) = (self.at, self.directory.len() as u64);
        let count = u16::try_from(self.count).unwrap_or(u16::MAX);
        let mut end = self.directory;
        if count == u16::MAX || begins.max(length) >= ELSEWHERE.into() {
            end.extend(0x0606_4b50_u32.to_le_bytes());
            // How much of this record follows.
            end.extend(44_u64.to_le_bytes());
            end.extend(MADE_BY.to_le_bytes());
            end.extend(ZIP64.to_le_bytes());
            end.extend([0; 8]);
            for long in [self.count, self.count, length, begins] {
                end.extend(long.to_le_bytes());
            }
            end.extend(0x0706_4b50_u32.to_le_bytes());
            end.extend([0; 4]);
            end.extend((begins + length).to_le_bytes());
            end.extend(1_u32.to_le_bytes());
        }
        end.extend(0x0605_4b50_u32.to_le_bytes());
        end.extend([0; 4]);
        for short in [count, count] {
            end.extend(short.to_le_bytes());
        }
        for long in [length, begins] {
            end.extend(short_of(long).to_le_bytes());
        }
        end.extend([0; 2]);
        end
    }
}

/// What a field of 32 bits holds for this.
fn short_of(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(ELSEWHERE)
}

/// The lengths of a name and of the fields behind it.
fn put_lengths(record: &mut Vec<u8>, name: &str, extra: &[u8]) {
    for length in [name.len(), extra.len()] {
        // Names are far shorter: the node takes none that is not.
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        record.extend(length.to_le_bytes());
    }
}

/// A field for what has no place elsewhere (4.5.1).
fn field(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    [&kind.to_le_bytes(), &length.to_le_bytes(), data].concat()
}

/// When a file came.
struct Moment {
    /// Time and day as MS-DOS has them, in UTC (4.4.6).
    clock: [u8; 4],
    /// The seconds since 1970, which say which time that is; empty where they have no room in 31
    /// bits.
    field: Vec<u8>,
}

impl Moment {
    fn of(moment: Option<Timestamp>) -> Self {
        let moment = moment.and_then(|it| DateTime::<Utc>::from_timestamp_millis(it.0));
        let seconds = moment.and_then(|it| i32::try_from(it.timestamp()).ok());
        let said = |seconds: i32| field(TIME_FIELD, &[&[1][..], &seconds.to_le_bytes()].concat());
        // The years that there is room for; without a time it is the first day of them.
        let years = 1980..=2107;
        let clock = moment.filter(|it| years.contains(&it.year()));
        let (time, day) = clock.map_or((0, 1 << 5 | 1), |it| {
            let year = it.year() - years.start();
            (
                it.hour() << 11 | it.minute() << 5 | (it.second() / 2),
                year.unsigned_abs() << 9 | it.month() << 5 | it.day(),
            )
        });
        Self {
            clock: (day << 16 | time).to_le_bytes(),
            field: seconds.filter(|it| *it >= 0).map(said).unwrap_or_default(),
        }
    }
}
