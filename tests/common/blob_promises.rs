//! What every blob backend promises, held against any.

use std::ops::Range;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use larder::blob::{BlobError, FoundPartial, Limit, Partial, PartialId, Proven, Purpose};
use larder::hash::BlobHash;
use larder::health::Health;
use larder::place::Place;

use super::by_hash::ByHash;
use super::content::content;
use super::encoded::{assert_proves, encoded};
use super::received::write;

/// Around every limit on the way: memory or file, pieces, nothing at all.
const LENGTHS: [usize; 9] = [
    0, 1, 65_535, 65_536, 65_537, 524_287, 524_288, 524_289, 3_000_000,
];

async fn try_read(
    blobs: &ByHash,
    hash: &BlobHash,
    range: Range<u64>,
) -> Result<Vec<u8>, BlobError> {
    let blob = blobs.open(hash).await?.unwrap();
    let pieces: Vec<_> = blob.read(range).try_collect().await?;
    assert!(pieces.iter().all(|piece| piece.len() <= 1 << 20));
    Ok(pieces.concat())
}

async fn whole(blobs: &ByHash, bytes: &[u8]) -> bool {
    let (hash, size) = (BlobHash::of(bytes), bytes.len() as u64);
    blobs.size(&hash).await.unwrap() == Some(size)
        && try_read(blobs, &hash, 0..size).await.unwrap() == bytes
}

async fn absent(blobs: &ByHash, bytes: &[u8]) -> bool {
    let hash = BlobHash::of(bytes);
    blobs.size(&hash).await.unwrap().is_none() && blobs.open(&hash).await.unwrap().is_none()
}

/// What is listed, in order.
async fn listed(blobs: &ByHash) -> Vec<(Place, u64)> {
    let mut listed: Vec<_> = blobs.list().try_collect().await.unwrap();
    listed.sort_unstable();
    listed
}

/// The whole suite, on a backend that is empty.
pub(crate) async fn conforms(blobs: &ByHash) {
    what_was_found_before_is_told_first(blobs).await;
    what_is_kept_is_there(blobs).await;
    ranges_are_exact(blobs).await;
    deletion_is_complete(blobs).await;
    racing_uploads_make_one_blob(blobs).await;
    pieces_of_any_length_make_up_the_content(blobs).await;
    what_is_dropped_leaves_nothing(blobs).await;
    content_up_to_the_limit_is_taken_and_not_a_byte_more(blobs).await;
    for purpose in [Purpose::Uploads, Purpose::Copies] {
        partial_content_goes_on_where_it_is_proven(blobs, purpose).await;
        partial_content_that_is_not_what_it_was_is_told(blobs, purpose).await;
        partial_content_is_cut_listed_and_removed(blobs, purpose).await;
        partial_content_is_read_and_renamed(blobs, purpose).await;
        partial_content_becomes_a_blob(blobs, purpose).await;
        partial_content_is_filled_in_any_order(blobs, purpose).await;
    }
    purposes_are_apart(blobs).await;
    what_is_missed_is_counted_and_reported(blobs).await;
    what_is_missed_is_damaged_until_it_is_there(blobs).await;
    every_range_comes_with_what_proves_it(blobs).await;
    what_is_whole_is_proven(blobs).await;
    damage_is_found_told_and_mended_by_the_same_content(blobs).await;
    a_size_that_is_refused_is_damage_that_can_be_mended(blobs).await;
    what_is_left_beside_gone_content_is_swept_and_nothing_else(blobs).await;
    assert!(blobs.room().await > 0);
    blobs.check_room(1).await.unwrap();
    blobs.try_to_write().await.unwrap();
    blobs.sync().await.unwrap();
    assert_eq!(blobs.refusal(), None);
}

async fn what_is_kept_is_there(blobs: &ByHash) {
    assert_eq!(listed(blobs).await, []);
    let mut expected = Vec::new();
    for len in LENGTHS {
        let bytes = content(0, len);
        let received = blobs.received(&bytes).await.unwrap();
        let (hash, size) = (received.hash(), received.size());
        assert_eq!((hash, size), (BlobHash::of(&bytes), len as u64));
        assert!(absent(blobs, &bytes).await);
        blobs.keep_received(received).await.unwrap();
        assert!(whole(blobs, &bytes).await);
        assert_eq!(blobs.keep(&bytes).await.unwrap(), hash);
        assert!(whole(blobs, &bytes).await);
        expected.push(blobs.stored(&hash, size));
    }
    expected.sort_unstable();
    assert_eq!(listed(blobs).await, expected);
}

async fn ranges_are_exact(blobs: &ByHash) {
    let bytes = content(1, 2_000_000);
    let hash = BlobHash::of(&bytes);
    blobs.keep(&bytes).await.unwrap();
    for range in [
        0..0,
        0..1,
        1_999_999..2_000_000,
        2_000_000..2_000_000,
        65_535..65_537,
        524_288..1_048_576,
        7..1_999_993,
    ] {
        let read = try_read(blobs, &hash, range.start as u64..range.end as u64).await;
        assert!(read.unwrap() == bytes[range.clone()], "{range:?}");
    }
    for range in [0..2_000_001, 1_999_999..4_000_000] {
        let read = try_read(blobs, &hash, range).await;
        assert!(matches!(read, Err(BlobError::Damaged { hash: h, .. }) if h == hash));
    }
}

async fn deletion_is_complete(blobs: &ByHash) {
    let bytes = content(2, 1_500_000);
    let hash = BlobHash::of(&bytes);
    blobs.keep(&bytes).await.unwrap();
    let open = blobs.open(&hash).await.unwrap().unwrap();
    let (place, _) = blobs.stored(&hash, 0);
    let mut reading = open.read(0..open.size());
    let first = reading.try_next().await.unwrap().unwrap();
    blobs.delete(&hash).await.unwrap();
    assert!(absent(blobs, &bytes).await);
    assert!(
        listed(blobs)
            .await
            .iter()
            .all(|(listed, _)| *listed != place)
    );
    // Its end is reached, or it is told that it is not.
    if let Ok(rest) = reading.try_collect::<Vec<_>>().await {
        assert!([first.as_ref(), &rest.concat()].concat() == bytes);
    }
    blobs.delete(&hash).await.unwrap();
    blobs.keep(&bytes).await.unwrap();
    assert!(whole(blobs, &bytes).await);
}

async fn racing_uploads_make_one_blob(blobs: &ByHash) {
    for len in [30_000, 300_000] {
        let bytes = content(3, len);
        let before = listed(blobs).await.len();
        for kept in join_all((0..16).map(|_| blobs.keep(&bytes))).await {
            kept.unwrap();
        }
        assert!(whole(blobs, &bytes).await);
        assert_eq!(listed(blobs).await.len(), before + 1);
    }
}

async fn pieces_of_any_length_make_up_the_content(blobs: &ByHash) {
    for piece in [1, 999, 65_536, 600_000, 700_000] {
        let bytes = content(u32::try_from(piece).unwrap(), 700_000);
        let mut receiving = blobs.receive(Limit::default()).await.unwrap();
        receiving.write(Bytes::new()).await.unwrap();
        for piece in bytes.chunks(piece) {
            let piece = Bytes::copy_from_slice(piece);
            receiving.write(piece).await.unwrap();
        }
        blobs
            .keep_received(receiving.finish().await.unwrap())
            .await
            .unwrap();
        assert!(whole(blobs, &bytes).await, "in pieces of {piece}");
    }
}

async fn what_is_dropped_leaves_nothing(blobs: &ByHash) {
    let before = listed(blobs).await;
    for len in [10, 700_000] {
        let bytes = content(4, len);
        let mut receiving = blobs.receive(Limit::default()).await.unwrap();
        write(&mut *receiving, &bytes).await.unwrap();
        drop(receiving);
        drop(blobs.received(&bytes).await.unwrap());
        assert!(absent(blobs, &bytes).await);
    }
    assert_eq!(listed(blobs).await, before);
}

async fn content_up_to_the_limit_is_taken_and_not_a_byte_more(blobs: &ByHash) {
    for len in [0, 10, 65_536, 700_000] {
        let bytes = content(5, len + 1);
        let most = Some(len as u64);
        let longest = Limit {
            longest: most,
            quota: None,
        };
        let quota = Limit {
            longest: None,
            quota: most,
        };
        for limit in [longest, quota] {
            let mut receiving = blobs.receive(limit).await.unwrap();
            write(&mut *receiving, &bytes[..len]).await.unwrap();
            assert_eq!(receiving.finish().await.unwrap().size(), len as u64);
            let mut receiving = blobs.receive(limit).await.unwrap();
            let refused = write(&mut *receiving, &bytes).await;
            assert!(match refused {
                Err(BlobError::TooLarge(bytes)) => limit.longest == Some(bytes),
                Err(BlobError::OverQuota { quota, .. }) => limit.quota == Some(quota),
                _ => false,
            });
            assert!(receiving.write(Bytes::new()).await.is_err());
            assert!(receiving.finish().await.is_err());
        }
        assert!(absent(blobs, &bytes).await);
    }
}

fn proven(bytes: &[u8]) -> Proven {
    Proven {
        len: bytes.len() as u64,
        hash: BlobHash::of(bytes),
    }
}

async fn resume(
    blobs: &ByHash,
    purpose: Purpose,
    id: &PartialId,
    proven: Option<Proven>,
) -> Result<Box<dyn Partial>, BlobError> {
    let partials = blobs.partials(purpose);
    partials
        .resume(id, 1_000_000, proven, Limit::default())
        .await
}

/// Lengths and ids of the partial content that is there.
async fn found(blobs: &ByHash, purpose: Purpose) -> Vec<(PartialId, u64)> {
    let found = blobs.partials(purpose).prepare().await.unwrap();
    let mut found: Vec<_> = found
        .into_iter()
        .map(|FoundPartial { id, len, .. }| (id, len))
        .collect();
    found.sort_unstable();
    found
}

async fn partial_content_goes_on_where_it_is_proven(blobs: &ByHash, purpose: Purpose) {
    assert_eq!(found(blobs, purpose).await, []);
    let (id, bytes) = (PartialId::of(&[1; 16]), content(6, 500_000));
    let mut partial = resume(blobs, purpose, &id, Some(proven(b"")))
        .await
        .unwrap();
    write(&mut *partial, &bytes[..100_000]).await.unwrap();
    let durable = partial.sync().await.unwrap();
    assert_eq!(durable, proven(&bytes[..100_000]));
    write(&mut *partial, &bytes[100_000..300_000])
        .await
        .unwrap();
    assert_eq!(partial.received(), 300_000);
    let written = partial.written().await.unwrap();
    let len = usize::try_from(written.len).unwrap();
    assert_eq!(written, proven(&bytes[..len]));
    drop(partial);
    // All but what was proven is forgotten.
    let partial = resume(blobs, purpose, &id, Some(durable)).await.unwrap();
    assert_eq!(partial.received(), 100_000);
    drop(partial);
    assert_eq!(found(blobs, purpose).await, [(id.clone(), 100_000)]);
    // Where nothing is, all counts that is there.
    let mut partial = resume(blobs, purpose, &id, None).await.unwrap();
    assert_eq!(partial.received(), 100_000);
    write(&mut *partial, &bytes[100_000..]).await.unwrap();
    assert_eq!(partial.sync().await.unwrap(), proven(&bytes));
    blobs.partials(purpose).remove(&id).await.unwrap();
}

async fn partial_content_that_is_not_what_it_was_is_told(blobs: &ByHash, purpose: Purpose) {
    let (id, bytes) = (PartialId::of(&[2; 32]), content(7, 200_000));
    let mut partial = resume(blobs, purpose, &id, None).await.unwrap();
    write(&mut *partial, &bytes).await.unwrap();
    partial.sync().await.unwrap();
    drop(partial);
    let other = proven(&content(8, 100_000));
    let longer = proven(&content(7, 200_001));
    for wrong in [other, longer] {
        let resumed = resume(blobs, purpose, &id, Some(wrong)).await;
        let hash = wrong.hash;
        assert!(matches!(resumed.err(), Some(BlobError::Damaged { hash: it, .. }) if it == hash));
    }
    // Nothing of it was lost by that.
    let partials = blobs.partials(purpose);
    let beginnings = [10, 70_000, 150_000].map(|len| proven(&bytes[..len]));
    let longest = partials.longest(&id, beginnings.to_vec()).await.unwrap();
    assert_eq!(longest, Some(beginnings[2]));
    let mut with_other = beginnings.to_vec();
    with_other.push(longer);
    let longest = partials.longest(&id, with_other).await.unwrap();
    assert_eq!(longest, Some(beginnings[2]));
    assert_eq!(partials.longest(&id, vec![other]).await.unwrap(), None);
    let absent = PartialId::of(&[9; 16]);
    let longest = partials
        .longest(&absent, beginnings.to_vec())
        .await
        .unwrap();
    assert_eq!(longest, None);
    partials.remove(&id).await.unwrap();
}

async fn partial_content_is_cut_listed_and_removed(blobs: &ByHash, purpose: Purpose) {
    let partials = blobs.partials(purpose);
    let ids = [PartialId::of(&[3; 16]), PartialId::of(&[4; 32])];
    for id in &ids {
        assert_eq!(partials.cut(id, 7).await.unwrap(), 0);
        let mut partial = resume(blobs, purpose, id, None).await.unwrap();
        write(&mut *partial, &content(9, 90_000)).await.unwrap();
        partial.sync().await.unwrap();
    }
    assert_eq!(partials.cut(&ids[0], 100_000).await.unwrap(), 90_000);
    assert_eq!(partials.cut(&ids[0], 70_000).await.unwrap(), 70_000);
    let expected = [(ids[0].clone(), 70_000), (ids[1].clone(), 90_000)];
    assert_eq!(found(blobs, purpose).await, expected);
    for id in &ids {
        partials.remove(id).await.unwrap();
        partials.remove(id).await.unwrap();
    }
    assert_eq!(found(blobs, purpose).await, []);
}

async fn partial_content_is_filled_in_any_order(blobs: &ByHash, purpose: Purpose) {
    const GROUP: u64 = 16 << 10;
    let (id, bytes) = (PartialId::of(&[6; 32]), content(12, 500_000));
    let (partials, size) = (blobs.partials(purpose), bytes.len() as u64);
    let part = |from: u64, to: u64| {
        let [from, to] = [from, to].map(|it| usize::try_from(it.min(size)).unwrap());
        let middle = usize::midpoint(from, to);
        [from..middle, middle..to].map(|it| Bytes::copy_from_slice(&bytes[it]))
    };
    // What came in its order before, and a restart after each step.
    let mut partial = resume(blobs, purpose, &id, None).await.unwrap();
    write(&mut *partial, &bytes[..100_000]).await.unwrap();
    partial.sync().await.unwrap();
    drop(partial);
    let fill = || partials.fill(&id, size, Limit::default());
    let filling = fill().await.unwrap();
    assert_eq!(filling.here(), 6 * GROUP);
    assert_eq!(filling.missing(0..size), Some(6 * GROUP..size));
    for (from, to, new) in [(20, 23, 3), (9, 10, 1), (19, 24, 2), (20, 22, 0)] {
        let filling = fill().await.unwrap();
        let pieces = part(from * GROUP, to * GROUP).to_vec();
        let told = filling.fill(from * GROUP, pieces).await.unwrap();
        assert_eq!(told, new * GROUP, "{from}..{to}");
    }
    let filling = fill().await.unwrap();
    assert_eq!(filling.here(), 12 * GROUP);
    assert_eq!(filling.missing(19 * GROUP..24 * GROUP), None);
    let rest = filling.missing(10 * GROUP..24 * GROUP);
    assert_eq!(rest, Some(10 * GROUP..19 * GROUP));
    for (from, to) in [(24 * GROUP, size), (6 * GROUP, 19 * GROUP)] {
        filling.fill(from, part(from, to).to_vec()).await.unwrap();
    }
    assert_eq!((filling.here(), filling.missing(0..size)), (size, None));
    drop(filling);
    let whole_again = resume(blobs, purpose, &id, None).await.unwrap();
    assert_eq!(whole_again.received(), size);
    blobs
        .keep_received(whole_again.finish().await.unwrap())
        .await
        .unwrap();
    assert!(whole(blobs, &bytes).await);
    blobs.delete(&BlobHash::of(&bytes)).await.unwrap();
    // What was known of it is not taken for another one of the same name.
    assert_eq!(fill().await.unwrap().here(), 0);
    partials.remove(&id).await.unwrap();
    assert_eq!(found(blobs, purpose).await, []);
    let too_long = Limit {
        longest: Some(size - 1),
        ..Limit::default()
    };
    let refused = partials.fill(&id, size, too_long).await;
    assert!(matches!(refused.err(), Some(BlobError::TooLarge(_))));
}

async fn partial_content_becomes_a_blob(blobs: &ByHash, purpose: Purpose) {
    let id = PartialId::of(&[5; 16]);
    for len in [10_000, 400_000] {
        let bytes = content(10, len);
        let mut partial = resume(blobs, purpose, &id, None).await.unwrap();
        write(&mut *partial, &bytes).await.unwrap();
        partial.sync().await.unwrap();
        // A copy is kept, and what came stays for who has to do it again.
        let copy = partial.finish_copy().await.unwrap();
        assert_eq!(
            (copy.hash(), copy.size()),
            (BlobHash::of(&bytes), len as u64)
        );
        blobs.keep_received(copy).await.unwrap();
        assert!(whole(blobs, &bytes).await);
        assert_eq!(found(blobs, purpose).await, [(id.clone(), len as u64)]);
        blobs.delete(&BlobHash::of(&bytes)).await.unwrap();
        // It stays where it is finished and not kept, too.
        let partial = resume(blobs, purpose, &id, Some(proven(&bytes)))
            .await
            .unwrap();
        drop(partial.finish().await.unwrap());
        assert_eq!(found(blobs, purpose).await, [(id.clone(), len as u64)]);
        let partial = resume(blobs, purpose, &id, Some(proven(&bytes)))
            .await
            .unwrap();
        blobs
            .keep_received(partial.finish().await.unwrap())
            .await
            .unwrap();
        assert!(whole(blobs, &bytes).await);
        assert_eq!(found(blobs, purpose).await, []);
        blobs.delete(&BlobHash::of(&bytes)).await.unwrap();
    }
}

async fn partial_content_is_read_and_renamed(blobs: &ByHash, purpose: Purpose) {
    let partials = blobs.partials(purpose);
    let [from, to] = [7, 8].map(|it| PartialId::of(&[it; 16]));
    let bytes = content(11, 90_000);
    let mut partial = resume(blobs, purpose, &from, None).await.unwrap();
    write(&mut *partial, &bytes).await.unwrap();
    partial.sync().await.unwrap();
    drop(partial);
    for (offset, len, expected) in [
        (0, 10, &bytes[..10]),
        (89_990, 20, &bytes[89_990..]),
        (90_000, 1, b""),
        (1 << 40, 1, b""),
    ] {
        let piece = partials.read(&from, offset, len).await.unwrap();
        assert_eq!(piece, expected, "{offset}");
    }
    partials.rename(&from, &to).await.unwrap();
    assert_eq!(found(blobs, purpose).await, [(to.clone(), 90_000)]);
    assert_eq!(partials.read(&from, 0, 10).await.unwrap(), b"" as &[u8]);
    // Once more nothing is there that could be renamed.
    partials.rename(&from, &to).await.unwrap();
    let partial = resume(blobs, purpose, &to, Some(proven(&bytes))).await;
    assert_eq!(partial.unwrap().received(), 90_000);
    partials.remove(&to).await.unwrap();
}

async fn purposes_are_apart(blobs: &ByHash) {
    let id = PartialId::of(&[6; 16]);
    let mut partial = resume(blobs, Purpose::Uploads, &id, None).await.unwrap();
    write(&mut *partial, b"some bytes").await.unwrap();
    partial.sync().await.unwrap();
    assert_eq!(found(blobs, Purpose::Copies).await, []);
    blobs.partials(Purpose::Copies).remove(&id).await.unwrap();
    assert_eq!(found(blobs, Purpose::Uploads).await, [(id.clone(), 10)]);
    blobs.partials(Purpose::Uploads).remove(&id).await.unwrap();
}

/// Whoever listens hears first of all what was found before, and then what is found as it is.
async fn what_was_found_before_is_told_first(blobs: &ByHash) {
    let hash = BlobHash::of(b"found before");
    blobs.note_missing(&hash).await.unwrap();
    blobs.listen();
    assert_eq!(blobs.heard(&hash), [Health::Damaged]);
    blobs.delete(&hash).await.unwrap();
    assert_eq!(blobs.heard(&hash), [Health::Whole]);
}

async fn what_is_missed_is_counted_and_reported(blobs: &ByHash) {
    let (hash, before) = (BlobHash::of(b"missed"), blobs.damage_found());
    blobs.note_missing(&hash).await.unwrap();
    assert_eq!(blobs.heard(&hash), [Health::Damaged]);
    assert_eq!(blobs.damage_found(), before + 1);
    // What mends it is reported, too: the same content, and that nothing is left of it.
    assert_eq!(blobs.keep(b"missed").await.unwrap(), hash);
    assert_eq!(blobs.heard(&hash), [Health::Whole]);
    blobs.note_missing(&hash).await.unwrap();
    blobs.delete(&hash).await.unwrap();
    assert_eq!(blobs.heard(&hash), [Health::Damaged, Health::Whole]);
    assert!(absent(blobs, b"missed").await);
}

/// What was noted to be missing is an error, and no absence, until it is there again.
async fn what_is_missed_is_damaged_until_it_is_there(blobs: &ByHash) {
    for len in [10, 200_000] {
        let bytes = content(20, len);
        let hash = BlobHash::of(&bytes);
        blobs.note_missing(&hash).await.unwrap();
        assert_damaged(blobs, &hash).await;
        blobs.keep(&bytes).await.unwrap();
        assert!(whole(blobs, &bytes).await);
        // Whoever missed it was wrong: it is damaged until it was read, and then no longer.
        blobs.heard(&hash);
        blobs.note_missing(&hash).await.unwrap();
        assert_eq!(blobs.size(&hash).await.unwrap(), None);
        assert!(blobs.is_whole(&hash).await.unwrap());
        assert_eq!(blobs.heard(&hash), [Health::Damaged, Health::Whole]);
        assert!(whole(blobs, &bytes).await);
        blobs.delete(&hash).await.unwrap();
    }
}

/// Fails unless content is known to be damaged.
async fn assert_damaged(blobs: &ByHash, hash: &BlobHash) {
    assert_eq!(blobs.size(hash).await.unwrap(), None);
    let opened = blobs.open(hash).await.err();
    assert!(is_damage(opened.as_ref(), hash), "{opened:?}");
    assert!(!blobs.is_whole(hash).await.unwrap());
}

fn is_damage(error: Option<&BlobError>, of: &BlobHash) -> bool {
    matches!(error, Some(BlobError::Damaged { hash, .. }) if hash == of)
}

async fn every_range_comes_with_what_proves_it(blobs: &ByHash) {
    for len in LENGTHS {
        let bytes = content(21, len);
        let hash = blobs.keep(&bytes).await.unwrap();
        let blob = blobs.open(&hash).await.unwrap().unwrap();
        let len = len as u64;
        let middle = len / 2;
        for range in [
            0..len,
            0..u64::MAX,
            0..0,
            0..1,
            middle..middle,
            middle..middle + 1,
            middle..u64::MAX,
            len.saturating_sub(1)..len,
            len..len,
            len..len + 7,
            16_383..16_385,
            262_144..524_288,
        ] {
            // Nobody asks from behind the end.
            if range.start <= len {
                assert_proves(&*blob, &bytes, range).await;
            }
        }
    }
}

async fn what_is_whole_is_proven(blobs: &ByHash) {
    for len in LENGTHS {
        let bytes = content(22, len);
        let hash = BlobHash::of(&bytes);
        // There is one of the shortest, whoever asks for it.
        blobs.delete(&hash).await.unwrap();
        assert!(!blobs.is_whole(&hash).await.unwrap(), "{len} bytes");
        blobs.keep(&bytes).await.unwrap();
        let before = blobs.damage_found();
        let blob = blobs.open(&hash).await.unwrap().unwrap();
        assert_eq!(blob.size(), len as u64);
        blob.prove_size().await.unwrap();
        blob.prove().await.unwrap();
        assert!(blobs.is_whole(&hash).await.unwrap(), "{len} bytes");
        assert_eq!(blobs.damage_found(), before);
        blobs.delete(&hash).await.unwrap();
        assert!(!blobs.is_whole(&hash).await.unwrap(), "{len} bytes");
    }
}

/// How somebody meets damage.
#[derive(Debug, Clone, Copy)]
enum Way {
    Read,
    Encoded,
    Prove,
    ProveSize,
    IsWhole,
}

const WAYS: [Way; 5] = [
    Way::Read,
    Way::Encoded,
    Way::Prove,
    Way::ProveSize,
    Way::IsWhole,
];

/// Goes that way with all of a content of which the stored bytes are others.
async fn meet(blobs: &ByHash, way: Way, bytes: &[u8]) -> Result<(), BlobError> {
    let hash = BlobHash::of(bytes);
    if let Way::IsWhole = way {
        assert!(!blobs.is_whole(&hash).await?);
        // It was found, and whoever opens it is told.
        return blobs.open(&hash).await.map(|it| assert!(it.is_none()));
    }
    let blob = blobs.open(&hash).await?.unwrap();
    let all = 0..blob.size();
    match way {
        Way::Read => {
            let mut read = blob.read(all);
            let mut sent = Vec::new();
            while let Some(piece) = read.try_next().await? {
                sent.extend_from_slice(&piece);
                assert!(bytes.starts_with(&sent), "a false byte was given out");
            }
            Ok(())
        }
        Way::Encoded => encoded(&*blob, all).await.1.map_or(Ok(()), Err),
        Way::Prove => blob.prove().await,
        Way::ProveSize | Way::IsWhole => blob.prove_size().await,
    }
}

/// Whatever becomes of stored bytes, and whoever meets it first, is found, told and mended.
async fn damage_is_found_told_and_mended_by_the_same_content(blobs: &ByHash) {
    for (len, is_long) in [(1, false), (60_000, false), (65_537, true), (900_000, true)] {
        let bytes = content(23, len);
        let mut damages = Vec::new();
        for at in [0, len / 2, len - 1] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            damages.push((flipped, false));
        }
        if is_long {
            let longer = [&bytes[..], b"more"].concat();
            let cut = [len - 1, 65_537, 1, 0].map(|end| bytes[..end.min(len - 1)].to_vec());
            damages.extend(cut.map(|it| (it, true)));
            damages.push((longer, true));
        }
        for (others, other_size) in damages {
            for way in WAYS {
                // The end, which proves the size, may be whole.
                if other_size || !matches!(way, Way::ProveSize) {
                    found_and_mended(blobs, &bytes, &others, way).await;
                }
            }
        }
    }
}

async fn found_and_mended(blobs: &ByHash, bytes: &[u8], others: &[u8], way: Way) {
    let what = format!("{} bytes for {}, {way:?}", others.len(), bytes.len());
    let hash = blobs.keep(bytes).await.unwrap();
    blobs.damage(&hash, others).await;
    blobs.heard(&hash);
    let before = blobs.damage_found();
    let met = meet(blobs, way, bytes).await.err();
    assert!(is_damage(met.as_ref(), &hash), "{what}: {met:?}");
    assert_eq!(blobs.heard(&hash), [Health::Damaged], "{what}");
    assert!(blobs.damage_found() > before, "{what}");
    assert_damaged(blobs, &hash).await;
    blobs.heard(&hash);
    blobs.keep(bytes).await.unwrap();
    // Who compares first what is there finds the damage once more.
    assert_eq!(blobs.heard(&hash).last(), Some(&Health::Whole), "{what}");
    assert!(blobs.is_whole(&hash).await.unwrap(), "{what}");
    assert!(whole(blobs, bytes).await, "{what}");
    let blob = blobs.open(&hash).await.unwrap().unwrap();
    assert_proves(&*blob, bytes, 0..u64::MAX).await;

    // What is damaged can be deleted, and is nobody's damage then.
    blobs.damage(&hash, others).await;
    let _ = meet(blobs, way, bytes).await;
    blobs.delete(&hash).await.unwrap();
    assert_eq!(blobs.heard(&hash).last(), Some(&Health::Whole), "{what}");
    assert!(absent(blobs, bytes).await, "{what}");
}

/// Whose record says another size is refused, and reads nothing; the content is mended as any is.
async fn a_size_that_is_refused_is_damage_that_can_be_mended(blobs: &ByHash) {
    for len in [0, 10, 65_536, 65_537, 900_000] {
        let bytes = content(24, len);
        let hash = blobs.keep(&bytes).await.unwrap();
        let blob = blobs.open(&hash).await.unwrap().unwrap();
        for size in [len as u64 + 1, u64::MAX] {
            let refused = blob.refuse_size(size).await;
            assert!(is_damage(Some(&refused), &hash), "{len}: {refused:?}");
            let told = refused.to_string();
            assert!(told.contains(&len.to_string()) && told.contains(&size.to_string()));
        }
        blobs.keep(&bytes).await.unwrap();
        assert!(blobs.is_whole(&hash).await.unwrap(), "{len} bytes");
        assert!(whole(blobs, &bytes).await, "{len} bytes");
        blobs.delete(&hash).await.unwrap();
    }
}

async fn what_is_left_beside_gone_content_is_swept_and_nothing_else(blobs: &ByHash) {
    let (kept, gone) = (
        content(25, 600_000),
        [content(26, 200_000), content(27, 90_000)],
    );
    let hash = blobs.keep(&kept).await.unwrap();
    assert_eq!(blobs.sweep().await.unwrap(), 0);
    let gone = gone.map(|it| BlobHash::of(&it));
    let mut left = 0;
    for gone in &gone {
        left += blobs.leave_beside(gone).await;
    }
    assert_eq!(blobs.sweep().await.unwrap(), left);
    for gone in &gone {
        assert!(!blobs.has_beside(gone).await);
    }
    assert_eq!(blobs.sweep().await.unwrap(), 0);
    let blob = blobs.open(&hash).await.unwrap().unwrap();
    assert_proves(&*blob, &kept, 0..u64::MAX).await;
    assert_eq!(
        blobs.has_beside(&hash).await,
        left > 0,
        "only what is gone is swept"
    );
}
