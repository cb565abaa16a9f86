//! Who gets how much where all is taken.

use super::super::seats::{Seats, Taken};
use super::*;

fn ip(number: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, number])
}

/// Transfers with so many files, and somebody who asks for some, each time by a connection of
/// its own.
struct Asking {
    transfers: Arc<Transfers>,
    seats: Arc<Seats>,
}

type Begun = (Transfer, Taken);

impl Asking {
    fn with(files: usize) -> Self {
        Self {
            transfers: Transfers::new(files),
            seats: Seats::new(1000),
        }
    }

    fn asker(&self, client: Option<IpAddr>) -> (Asker, Taken) {
        let taken = self.seats.take(None).unwrap();
        let asker = Asker {
            transfers: Arc::clone(&self.transfers),
            seat: Arc::clone(&taken.0),
            client,
        };
        (asker, taken)
    }

    fn ask(&self, client: Option<IpAddr>, files: usize) -> Option<Begun> {
        let (asker, taken) = self.asker(client);
        Some((asker.take(&self.transfers.files, files, None).ok()?, taken))
    }

    /// Waits for the peer with this number.
    fn wait(&self, client: Option<IpAddr>, peer: u8) -> Option<Begun> {
        let (asker, taken) = self.asker(client);
        let peer = PeerId::of_public_key(&[peer; 32]);
        let begun = asker.take(&self.transfers.files, PASSING_ON, Some(peer));
        Some((begun.ok()?, taken))
    }

    fn has_room(&self, client: Option<IpAddr>) -> bool {
        self.asker(client).0.has_files(SENDING)
    }

    fn taken(&self) -> (usize, usize) {
        let table = self.transfers.files.table.lock();
        (table.taken, table.leaving)
    }
}

/// Lets time pass in which those alone have moved that are not `still`.
async fn let_stand_still(moving: &[Begun], still: &Begun) {
    tokio::time::advance(STILL).await;
    for (_, taken) in moving {
        taken.0.received(0);
    }
    assert!(still.1.0.still() >= STILL);
}

#[test]
fn one_client_has_a_quarter_and_others_have_theirs() {
    let asking = Asking::with(64);
    let own: Vec<_> = (0..8)
        .map(|_| asking.ask(Some(ip(1)), SENDING).unwrap())
        .collect();
    assert!(asking.ask(Some(ip(1)), SENDING).is_none());
    let other = asking.ask(Some(ip(2)), PASSING_ON).unwrap();
    assert_eq!(asking.taken(), (24, 0));
    drop((own, other));
    assert_eq!(asking.taken(), (0, 0));
    assert!(asking.transfers.files.table.lock().held.is_empty());
}

#[test]
fn a_newcomer_gets_in_where_few_clients_hold_all() {
    let asking = Asking::with(64);
    let held = |client| -> Vec<_> {
        (0..8)
            .map(|_| asking.ask(client, SENDING).unwrap())
            .collect()
    };
    let all = [
        held(Some(ip(1))),
        held(Some(ip(2))),
        held(Some(ip(3))),
        held(Some(ip(4))),
    ];
    let newcomer = asking.ask(Some(ip(5)), RECEIVING).unwrap();
    // Two had to end, and hold their files until they have.
    assert_eq!(asking.taken(), (63, 4));
    drop(all);
    assert_eq!(asking.taken(), (3, 0));
    drop(newcomer);
    assert_eq!(asking.taken(), (0, 0));
}

#[test]
fn those_that_have_given_way_hold_no_more_than_a_few_files() {
    let asking = Asking::with(400);
    let held: Vec<_> = (1..=4)
        .flat_map(|client| (0..50).map(move |_| client))
        .map(|client| asking.ask(Some(ip(client)), SENDING).unwrap())
        .collect();
    let newcomers: Vec<_> = (5..=250)
        .filter_map(|client| asking.ask(Some(ip(client)), SENDING))
        .collect();
    assert_eq!(newcomers.len(), MAX_LEAVING / SENDING);
    assert_eq!(asking.taken(), (400, MAX_LEAVING));
    drop(held);
    assert!(asking.ask(Some(ip(251)), SENDING).is_some());
}

#[tokio::test(start_paused = true)]
async fn this_machine_gives_way_only_where_it_stands_still() {
    let asking = Asking::with(16);
    let local: Vec<_> = (0..8).map(|_| asking.ask(None, SENDING).unwrap()).collect();
    assert!(asking.ask(Some(ip(1)), SENDING).is_none() && !asking.has_room(Some(ip(1))));
    let_stand_still(&local[..7], &local[7]).await;
    assert!(asking.has_room(Some(ip(1))));
    let _newcomer = asking.ask(Some(ip(1)), SENDING).unwrap();
    assert!(asking.ask(Some(ip(2)), SENDING).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_peer_gives_way_after_a_second_and_once_begun_as_all_do() {
    let asking = Asking::with(16);
    let waiting = [1, 2].map(|peer| asking.wait(None, peer).unwrap());
    assert!(!asking.has_room(None));
    tokio::time::advance(UNBEGUN).await;
    assert!(asking.has_room(None) && asking.has_room(Some(ip(1))));
    for (it, _) in &waiting {
        it.begins();
    }
    assert!(!asking.has_room(None));
    let [begun, other] = waiting;
    drop(other);
    let another = asking.wait(None, 1).unwrap();
    tokio::time::advance(UNBEGUN).await;
    let _newcomer = asking.ask(None, PASSING_ON).unwrap();
    assert_eq!(asking.taken(), (16, PASSING_ON));
    drop((begun, another));
    assert_eq!(asking.taken(), (PASSING_ON, 0));
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_one_peer_leave_half_to_the_others() {
    for client in [None, Some(ip(1))] {
        let asking = Asking::with(32);
        let waiting = asking.wait(client, 1).unwrap();
        let another = asking.wait(None, 1).unwrap();
        assert!(asking.wait(None, 1).is_none() && asking.wait(Some(ip(3)), 1).is_none());
        // Others are waited for, and who has begun waits for nobody.
        let others = [asking.wait(None, 2).unwrap(), asking.wait(None, 3).unwrap()];
        drop(others);
        waiting.0.begins();
        let third = asking.wait(None, 1).unwrap();
        tokio::time::advance(UNBEGUN).await;
        let newcomer = asking.wait(None, 1).unwrap();
        assert_eq!(asking.taken(), (24, PASSING_ON));
        drop((waiting, another, third, newcomer));
        assert_eq!(asking.taken(), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_own_transfer_that_stands_still_gives_way() {
    let asking = Asking::with(32);
    let own: Vec<_> = (0..4)
        .map(|_| asking.ask(Some(ip(1)), SENDING).unwrap())
        .collect();
    assert!(asking.ask(Some(ip(1)), SENDING).is_none());
    let_stand_still(&own[..3], &own[3]).await;
    assert!(asking.ask(Some(ip(1)), SENDING).is_some());
}
