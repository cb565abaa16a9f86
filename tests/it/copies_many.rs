//! Copies of 20,000 files: they reach their number, and what is counted follows what changes.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::copies::{Holders, metric, until_for};
use crate::common::forms::uploaded;
use crate::common::raw_http::{connect, get, head, send};

const FILES: u64 = 20_000;
const LATE: Duration = Duration::from_mins(8);
const LONG: [&str; 4] = ["--gone-after", "1h", "--surplus-after", "1d"];
/// How many uploads are sent before their answers are read.
const TOGETHER: u64 = 50;

fn upload_some(node: SocketAddr, numbers: std::ops::Range<u64>) {
    let mut connection = connect(node);
    let numbers: Vec<_> = numbers.collect();
    for some in numbers.chunks(usize::try_from(TOGETHER).unwrap()) {
        let mut requests = Vec::new();
        for number in some {
            let body = format!("content {number}");
            let target = format!("/api/p2p/upload/{number}");
            let length = format!("Content-Length: {}", body.len());
            let request =
                format!("PUT {target} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n{body}");
            requests.extend_from_slice(request.as_bytes());
        }
        connection.write_all(&requests).unwrap();
        let (mut answers, mut bytes) = (Vec::new(), [0; 16_000]);
        let count = |answers: &[u8]| {
            let text = String::from_utf8_lossy(answers);
            text.matches("HTTP/1.1 200").count()
        };
        while count(&answers) < some.len() {
            let read = connection.read(&mut bytes).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&answers));
            answers.extend_from_slice(bytes.get(..read).unwrap());
        }
    }
}

/// Waits until an owner knows that of so many files each is on as many as it is to be.
fn until_spread(holders: &Holders, files: u64) {
    until_for(LATE, "all are on as many as they are to be", || {
        let status = holders.status(0);
        (status["files"] == files && status["under_replicated"] == 0).then_some(())
    });
}

fn looked(holders: &Holders) -> u64 {
    metric(holders.at(0), "larder_copies_looked_at_total")
}

#[test]
fn of_20_000_files_those_are_looked_at_that_change_and_each_is_on_two_of_four_members() {
    let mut holders = Holders::start_for(2, &["1GiB"; 4], &LONG);
    let began = Instant::now();
    let node = holders.at(0);
    std::thread::scope(|scope| {
        for part in 0..4 {
            let each = FILES / 4;
            scope.spawn(move || upload_some(node, part * each..(part + 1) * each));
        }
    });
    let uploaded_after = began.elapsed();
    until_spread(&holders, FILES);
    let spread_after = began.elapsed();
    let held: Vec<_> = (1..4)
        .map(|it| metric(holders.at(it), "larder_held_copies"))
        .collect();
    assert_eq!(held.iter().sum::<u64>(), FILES, "{held:?}");
    assert!(held.iter().all(|it| *it > FILES / 4), "{held:?}");
    // Each when it comes, and when somebody tells that he has it.
    let first = looked(&holders);
    assert!(first <= 3 * FILES, "{first} looks at {FILES} files");
    let memory: Vec<_> = holders
        .running()
        .map(|it| it.peak_memory() / 1024)
        .collect();
    eprintln!(
        "uploaded after {uploaded_after:?}, spread after {spread_after:?}, peaks {memory:?} MiB"
    );
    // One comes, one is to be elsewhere, too, and one goes.
    let file = uploaded(node, "one", b"one")["file_id"]
        .as_str()
        .unwrap()
        .to_owned();
    until_spread(&holders, FILES + 1);
    let body = json!({ "copies": 3 }).to_string();
    let length = format!("Content-Length: {}", body.len());
    let lines = ["Content-Type: application/json", &length];
    let request = head("PUT", &format!("/api/p2p/file/{file}/copies"), &lines);
    assert_eq!(
        send(node, &[&request, body.as_bytes()].concat()).status,
        200
    );
    until_for(LATE, "it is on three", || {
        let told = get(node, &format!("/api/p2p/file/{file}/copies"), &[]).json();
        (told["copies"]["there"] == 3).then_some(())
    });
    let answer = send(node, &head("DELETE", &format!("/api/p2p/file/{file}"), &[]));
    assert_eq!(answer.status, 200);
    until_spread(&holders, FILES);
    let changed = looked(&holders) - first;
    assert!(changed <= 50, "{changed} looks at one file that changes");
    // Whoever is back tells again what it holds, and of that alone it is looked.
    holders.kill(1);
    holders.turn_on(1);
    let before = looked(&holders);
    holders.until_met();
    until_for(LATE, "what it holds was told again", || {
        let tells = get(holders.at(1), "/api/p2p/copies", &[]).json()["run"] != "";
        (tells && looked(&holders) > before).then_some(())
    });
    until_spread(&holders, FILES);
    let told = looked(&holders) - before;
    let bound = 3 * held.first().unwrap() + 50;
    assert!(told <= bound, "{told} looks where {bound} are enough");
}
