//! What waits in the queues, from the nodes that count it to the operator.

use std::time::Duration;

use posthouse_channel::{Totals, Waiting};
use posthouse_model::{QueueName, Timestamp};
use posthouse_tests::store::Flavor;

use crate::road::{QUEUE, Road};

/// So many queues, each with mail, counted at this time.
fn totals(at: u64, queues: usize) -> Totals {
    let mut totals = Totals::new(Timestamp(at));
    let name = |number: usize| QueueName::new(&format!("d{number:05}.example")).unwrap();
    let waiting =
        |number: usize| Waiting { held: number as u64 + 1, deferred: at, oldest: Some(Timestamp(at / 2)) };
    totals.extend((0..queues).map(|number| (name(number), waiting(number))));
    totals
}

pub(crate) async fn totals_are_read_whole_and_give_way_to_later_ones_only(road: Road) {
    let channel = &road.channel;
    assert_eq!((channel.totals_at().await.unwrap(), channel.totals().await.unwrap()), (None, None));
    assert!(channel.replace_totals(&totals(1_000_000, 10_000)).await.unwrap());
    assert_eq!(channel.totals().await.unwrap(), Some(totals(1_000_000, 10_000)));
    // Of two that counted at once the later one stays, whoever of them writes last.
    assert!(channel.replace_totals(&totals(1_000_001, 2)).await.unwrap());
    assert!(!channel.replace_totals(&totals(1_000_001, 3)).await.unwrap());
    assert!(!channel.replace_totals(&totals(999_999, 3)).await.unwrap());
    assert_eq!(channel.totals_at().await.unwrap(), Some(Timestamp(1_000_001)));
    assert_eq!(channel.totals().await.unwrap(), Some(totals(1_000_001, 2)));
    // A store that lost its last minutes, or a clock that was set back: it is not waited for.
    assert!(channel.replace_totals(&totals(900_000, 3)).await.unwrap());
    assert_eq!(channel.totals().await.unwrap(), Some(totals(900_000, 3)));
    // What cannot be read is as if it was not there, and is written anew; so is what was lost.
    for spoilt in [&b"something else"[..], &vec![0; 5 << 20]] {
        road.spoil_totals(spoilt);
        assert_eq!(channel.totals().await.unwrap(), None);
        assert!(channel.replace_totals(&totals(900_000 + spoilt.len() as u64, 1)).await.unwrap());
        assert!(channel.totals().await.unwrap().is_some());
    }
    road.lose_everything();
    assert_eq!((channel.totals_at().await.unwrap(), channel.totals().await.unwrap()), (None, None));
    assert!(channel.replace_totals(&totals(1, 1)).await.unwrap());
}

#[tokio::test]
async fn the_operator_is_told_of_totals() {
    for flavor in [Flavor::Redis, Flavor::Valkey] {
        let road = Road::over(Some(flavor));
        let mut raw =
            redis::Client::open(road.server.as_ref().unwrap().url()).unwrap().get_connection().unwrap();
        raw.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut answers = raw.as_pubsub();
        answers.subscribe(format!("ph:{{{QUEUE}.config}}:answers")).unwrap();
        road.channel.replace_totals(&totals(1, 1)).await.unwrap();
        answers.get_message().unwrap();
    }
}
