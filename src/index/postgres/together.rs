//! What is asked at about the same time is served together.

use tokio::sync::mpsc;
use tokio::task::yield_now;

/// So often whoever else can go on goes on first, and asks for nothing.
const IN_VAIN: usize = 32;

/// Adds what others are about to ask to what waits, up to so many. An object that was written for
/// many has them all go on at once, and one transaction is to be for all of them. Where nobody else
/// is at work this takes microseconds.
pub(super) async fn gather<T>(requests: &mut mpsc::Receiver<T>, waiting: &mut Vec<T>, most: usize) {
    let mut in_vain = 0;
    while waiting.len() < most && in_vain < IN_VAIN {
        if let Ok(request) = requests.try_recv() {
            waiting.push(request);
            in_vain = 0;
        } else {
            in_vain += 1;
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_is_about_to_ask_is_served_with_those_who_have_asked() {
        let (asks, mut requests) = mpsc::channel(100);
        for number in 0..20 {
            let asks = asks.clone();
            tokio::spawn(async move {
                for _ in 0..number {
                    yield_now().await;
                }
                asks.send(number).await.unwrap();
            });
        }
        let mut waiting = Vec::new();
        assert_eq!(requests.recv_many(&mut waiting, 100).await, 1);
        gather(&mut requests, &mut waiting, 18).await;
        assert_eq!(waiting, (0..18).collect::<Vec<_>>());
    }
}
