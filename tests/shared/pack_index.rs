//! What an index in a database promises of packs, in which many contents are that come and go
//! each by itself.

use std::num::NonZero;
use std::sync::Arc;

use futures_util::future::join_all;
use larder::hash::BlobHash;
use larder::health::Health;
use larder::index::postgres::PostgresIndex;
use larder::index::{IndexBackend, IndexError, Intent};
use larder::pack_rows::{ENTRY_OVERHEAD, Gathered, Moved, PackLease, PackRows, PackedContent};
use larder::place::Place;
use larder::record::{FileRecord, NewFile};
use tokio_postgres::Client;

use crate::common::index_promises::{collect, file, place_of};
use crate::common::indexing::add;
use crate::postgres::{Server, connect, eventually, index, number};

/// Where the first content of a pack is.
const FIRST: u32 = 32;

/// An index, and what is known of packs.
struct Packing {
    index: PostgresIndex,
    rows: Arc<dyn PackRows>,
    client: Client,
}

/// A pack that was written, and the intents of files that are to be made of it.
struct Written {
    lease: PackLease,
    intents: Vec<(NewFile, Intent)>,
}

impl Packing {
    async fn over(server: &Server, name: &str) -> Self {
        let url = server.database(name).await;
        let index = index(&url).await;
        Self {
            rows: index.packs(),
            index,
            client: connect(&url).await,
        }
    }

    /// A pack of contents, of each of which there is to be a file.
    async fn written(&self, contents: &[&[u8]]) -> Written {
        let lease = self.rows.lease().await.unwrap();
        let (mut end, mut intents) = (u64::from(FIRST), Vec::new());
        let bytes = contents.iter().map(|it| taken(it)).sum::<u64>() + end;
        for content in contents {
            let new = file("packed", content);
            let intent = self.index.intend_gathered(&new.hash, new.size).await;
            let place = lease.place.within(at(end));
            end += taken(content);
            intents.push((new, intent.unwrap().gathered(kept(&lease, place, bytes))));
        }
        Written { lease, intents }
    }

    async fn put(&self, written: Written) -> Vec<FileRecord> {
        let puts = written.intents.into_iter();
        let puts = join_all(puts.map(|(file, intent)| self.index.put(file, intent))).await;
        puts.into_iter().map(|it| it.unwrap().record).collect()
    }

    async fn remove(&self, records: impl IntoIterator<Item = FileRecord>) {
        for record in records {
            self.index.remove(record.id).await.unwrap().unwrap();
        }
    }

    /// Fails unless each pack is known to have what it has, and nothing else is anywhere.
    async fn adds_up(&self) {
        let wrong = "SELECT count(*) FROM larder.places WHERE live IS NOT NULL AND state <> 'd' \
             AND (live <> (SELECT coalesce(sum(blobs.size + 44), 0) FROM larder.blobs \
                  WHERE substring(blobs.place FOR 32) = places.place) \
                  OR (state = 'l') <> (live > 0))";
        assert_eq!(number(&self.client, wrong).await, 0);
    }
}

fn taken(content: &[u8]) -> u64 {
    ENTRY_OVERHEAD + content.len() as u64
}

fn at(offset: u64) -> NonZero<u32> {
    NonZero::new(u32::try_from(offset).unwrap()).unwrap()
}

fn kept(lease: &PackLease, place: Place, pack_bytes: u64) -> Gathered {
    Gathered {
        place,
        pack_bytes,
        lease: lease.clone(),
    }
}

#[tokio::test]
async fn what_shares_a_pack_comes_and_goes_by_itself_and_the_pack_with_the_last() {
    let server = Server::start();
    let packing = Packing::over(&server, "one").await;
    what_is_needed_keeps_a_pack(&packing).await;
    what_is_given_up_is_garbage_and_what_comes_late_is_lost(&packing).await;
    what_others_have_brought_needs_no_place(&packing).await;
    what_is_damaged_is_mended_elsewhere_and_alone(&packing).await;
    what_was_counted_on_is_there_as_long_as_the_pack(&packing).await;
}

async fn what_is_needed_keeps_a_pack(packing: &Packing) {
    let Packing { index, .. } = packing;
    let written = packing.written(&[b"one", b"", b"three"]).await;
    let pack = written.lease.place;
    let mut records = packing.put(written).await;
    packing.adds_up().await;
    let places = join_all(records.iter().map(|it| place_of(index, &it.file.hash))).await;
    let expected = [32, 79, 123].map(|it| pack.within(at(it)));
    assert_eq!(places, expected);
    // One more file of what is there, and what it was made of goes first.
    let again = add(index, file("again", b"one")).await.unwrap();
    packing.remove(records.drain(..2)).await;
    packing.adds_up().await;
    assert_eq!(collect(index).await, []);
    packing.remove(records).await;
    assert_eq!(collect(index).await, []);
    let held = index.hold(&again.file.hash).await.unwrap();
    packing.remove([again]).await;
    packing.adds_up().await;
    assert_eq!(collect(index).await, [], "somebody reads of it");
    drop(held);
    assert_eq!(collect(index).await, [pack]);
}

async fn what_is_given_up_is_garbage_and_what_comes_late_is_lost(packing: &Packing) {
    let Packing { index, .. } = packing;
    let Written { lease, intents } = packing.written(&[b"never"]).await;
    let pack = lease.place;
    drop(lease);
    assert_eq!(collect(index).await, [], "its intents have the lease, too");
    drop(intents);
    assert_eq!(collect(index).await, [pack]);

    // One that was stopped for so long that others have collected it.
    let mut written = packing.written(&[b"soon", b"late"]).await;
    let pack = written.lease.place;
    let (late, intent) = written.intents.pop().unwrap();
    let records = packing.put(written).await;
    packing.remove(records).await;
    let sql = "UPDATE larder.places SET state = 'd' WHERE state = 'g'";
    packing.client.batch_execute(sql).await.unwrap();
    let lost = index.put(late, intent).await;
    assert!(matches!(lost, Err(IndexError::Lost)), "{lost:?}");
    assert_eq!(index.totals().files, 0);
    assert_eq!(collect(index).await, [pack]);
}

async fn what_others_have_brought_needs_no_place(packing: &Packing) {
    let Packing { index, .. } = packing;
    let (first, second) = (
        packing.written(&[b"both"]).await,
        packing.written(&[b"both", b"more"]).await,
    );
    let places = [&first, &second].map(|it| it.lease.place);
    let mut records = packing.put(first).await;
    records.extend(packing.put(second).await);
    packing.adds_up().await;
    assert_eq!(collect(index).await, []);
    let place = place_of(index, &BlobHash::of(b"both")).await;
    assert_eq!(place.object(), places[0]);
    packing.remove([records.remove(0)]).await;
    assert_eq!(collect(index).await, []);
    packing.remove([records.remove(0)]).await;
    assert_eq!(collect(index).await, [places[0]]);
    packing.remove(records).await;
    assert_eq!(collect(index).await, [places[1]]);
    // Where all of it was brought by others, too.
    let third = [
        packing.written(&[b"x"]).await,
        packing.written(&[b"x"]).await,
    ];
    let places = third.each_ref().map(|it| it.lease.place);
    let mut records = Vec::new();
    for written in third {
        records.extend(packing.put(written).await);
    }
    assert_eq!(collect(index).await, [places[1]]);
    packing.remove(records).await;
    assert_eq!(collect(index).await, [places[0]]);
}

async fn what_is_damaged_is_mended_elsewhere_and_alone(packing: &Packing) {
    let Packing { index, .. } = packing;
    let written = packing.written(&[b"damaged", b"whole"]).await;
    let pack = written.lease.place;
    let mut records = packing.put(written).await;
    let hashes = [&b"damaged"[..], b"whole"].map(BlobHash::of);
    let place = place_of(index, &hashes[0]).await;
    assert_eq!(index.health(place, Health::Damaged), Some(hashes[0]));
    let whole = index.locate(&hashes[1]).await.unwrap().unwrap();
    assert!(!whole.is_damaged, "the other one is not");
    assert_eq!(index.totals().damaged, 1);

    let written = packing.written(&[b"damaged"]).await;
    let other = written.lease.place;
    records.extend(packing.put(written).await);
    let mended = index.locate(&hashes[0]).await.unwrap().unwrap();
    assert!(!mended.is_damaged && mended.place.object() == other);
    assert_eq!(index.totals().damaged, 0);
    packing.adds_up().await;
    assert_eq!(collect(index).await, []);
    packing.remove(records).await;
    let mut gone = collect(index).await;
    gone.sort_unstable();
    let mut both = [pack, other];
    both.sort_unstable();
    assert_eq!(gone, both);
}

async fn what_was_counted_on_is_there_as_long_as_the_pack(packing: &Packing) {
    let Packing { index, .. } = packing;
    let written = packing.written(&[b"gone", b"stays"]).await;
    let pack = written.lease.place;
    let mut records = packing.put(written).await;
    let counted_on = index.intend_gathered(&BlobHash::of(b"gone"), 4).await;
    let counted_on = counted_on.unwrap();
    assert!(counted_on.is_there());
    packing.remove([records.remove(0)]).await;
    let again = index.put(file("again", b"gone"), counted_on).await.unwrap();
    packing.adds_up().await;
    assert_eq!(
        place_of(index, &again.record.file.hash).await.object(),
        pack
    );
    packing
        .remove(records.into_iter().chain([again.record]))
        .await;
    assert_eq!(collect(index).await, [pack]);
}

#[tokio::test]
async fn what_is_needed_of_packs_that_are_mostly_dead_moves_at_once_and_is_nobodys_before() {
    let server = Server::start();
    let packing = Packing::over(&server, "one").await;
    let Packing { index, rows, .. } = &packing;
    let written = packing.written(&[b"a", b"b", b"c", b"d", b"e"]).await;
    let pack = written.lease.place;
    let mut records = packing.put(written).await;
    packing.remove(records.drain(..2)).await;
    assert_eq!(rows.sparse().await.unwrap(), [], "more than half lives");
    packing.remove(records.drain(..1)).await;
    let mut sparse = rows.sparse().await.unwrap();
    sparse.sort_by_key(|it| it.place);
    let [d, e] = [&b"d"[..], b"e"].map(BlobHash::of);
    let was = sparse.iter().map(|it| it.place).collect::<Vec<_>>();
    let expected = [(d, was[0]), (e, was[1])];
    let expected = expected.map(|(hash, place)| PackedContent {
        hash,
        place,
        size: 1,
    });
    assert_eq!(sparse, expected);
    assert!(was.iter().all(|it| it.object() == pack));
    assert_eq!(rows.sparse().await.unwrap(), [], "somebody is at it");

    // One is removed while it is written anew, and another one is not where it was thought to be.
    let lease = rows.lease().await.unwrap();
    let to = [FIRST, FIRST + 45].map(|it| lease.place.within(NonZero::new(it).unwrap()));
    packing.remove(records.drain(..1)).await;
    let mut moves = [0, 1].map(|it| Moved {
        hash: sparse[it].hash,
        from: was[it],
        to: to[it],
    });
    let bytes = u64::from(FIRST) + 90;
    assert_eq!(rows.moved(&lease, bytes, &moves).await.unwrap(), 1);
    packing.adds_up().await;
    assert_eq!(place_of(index, &e).await, to[1]);
    assert_eq!(rows.moved(&lease, bytes, &moves).await.unwrap(), 0, "once");
    assert_eq!(collect(index).await, [pack]);
    drop(lease);
    assert_eq!(collect(index).await, [], "it has what is needed");
    packing.adds_up().await;

    // Nothing moves to what others have begun to collect.
    let lost = rows.lease().await.unwrap();
    let sql = "UPDATE larder.places SET state = 'd', until = now() WHERE state = 'w'";
    packing.client.batch_execute(sql).await.unwrap();
    (moves[1].from, moves[1].to) = (to[1], lost.place.within(NonZero::new(FIRST).unwrap()));
    assert_eq!(rows.moved(&lost, bytes, &moves).await.unwrap(), 0);
    assert_eq!(place_of(index, &e).await, to[1]);
    let pack = lost.place;
    drop(lost);
    assert_eq!(collect(index).await, [pack]);
    packing.remove(records).await;
    assert_eq!(collect(index).await.len(), 1);
}

#[tokio::test]
async fn packs_are_written_once_no_larder_is_there_that_cannot_read_them() {
    let server = Server::start();
    let url = server.database("one").await;
    drop(index(&url).await);
    let client = connect(&url).await;
    // As a larder of before has left it, which is there still.
    let sql = "UPDATE larder.tables_version SET oldest = 1";
    client.batch_execute(sql).await.unwrap();
    let before = connect(&format!("{url}?application_name=larder")).await;
    let mut options = larder::index::postgres::Options::new(&url).unwrap();
    options.lease = std::time::Duration::from_millis(600);
    let node = PostgresIndex::open(&options).await.unwrap();
    let packs = node.packs();
    let oldest = "SELECT oldest::bigint FROM larder.tables_version";
    tokio::time::sleep(2 * options.lease).await;
    assert!(!packs.are_known());
    assert_eq!(number(&client, oldest).await, 1);
    drop(before);
    eventually(async || packs.are_known()).await;
    assert_eq!(number(&client, oldest).await, 10);
    // The tables that are made now have never seen another one.
    let new = index(&server.database("new").await).await;
    assert!(new.packs().are_known());
}
