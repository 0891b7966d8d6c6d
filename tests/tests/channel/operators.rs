//! Two operators on one queue id: the lease decides, and the other one says who holds it.

use std::time::Duration;

use posthouse_channel::{PublishError, Report};
use posthouse_tests::store::Flavor;
use tokio::time::timeout;

use crate::road::{NOW, QUEUE, Road, lease, publish, snapshot, take};

#[tokio::test]
async fn of_two_operators_one_publishes_and_the_other_says_who() {
    for flavor in [Flavor::Redis, Flavor::Valkey] {
        let road = Road::over(Some(flavor));
        let (mut one, mut other) =
            (road.publisher_of(lease(0, "one")), road.publisher_of(lease(0, "other\nESC\u{1b}")));
        let first = publish(&mut one, &road, &snapshot("one.example", 300)).await;
        road.channel.report(&Report::new("uid-one-0".to_owned(), "one-0".to_owned())).await.unwrap();
        let before = road.channel.names().await.unwrap();

        // It writes nothing, neither by publishing nor by mending, collecting or forgetting.
        for _ in 0..2 {
            let error = other.publish(&snapshot("other.example", 1), &[], NOW).await.unwrap_err();
            let PublishError::Held(holder) = &error else { panic!("{error}") };
            assert_eq!(holder.to_string(), "the operator one");
            assert!(
                error.to_string().contains("stop that one, or give this gateway a spec.queue.id of its own")
            );
            assert!(matches!(other.check(&[]).await, Err(PublishError::Held(_))));
        }
        let pointer = road.channel.pointer().await.unwrap().unwrap();
        road.channel.collect(&pointer, &[].into(), other.lease()).await.unwrap();
        road.channel.forget(&["uid-one-0".to_owned()], other.lease()).await.unwrap();
        road.channel.give_back(other.lease()).await.unwrap();
        assert_eq!(pointer.epoch, first.epoch);
        assert!(before.is_subset(&road.channel.names().await.unwrap()));
        assert!(road.channel.has_report("uid-one-0").await.unwrap());

        // A run after a crash is the same one, and does not wait; a clean end gives the lease back, and then it is the other's.
        let mut again = road.publisher_of(lease(0, "one"));
        publish(&mut again, &road, &snapshot("again.example", 1)).await;
        road.channel.give_back(again.lease()).await.unwrap();
        other.check(&[]).await.unwrap();
        publish(&mut other, &road, &snapshot("other.example", 1)).await;
        assert!(other.held_by().is_none());
        let error = again.check(&[]).await.unwrap_err();
        let PublishError::Held(holder) = &error else { panic!("{error}") };
        assert_eq!(holder.to_string(), "the operator other ESC ", "one line, whatever it says of itself");
        assert_eq!(take(&mut road.follower("edge-0")).await, "other.example");

        // A later leader takes over at once, and the earlier one does not get it back.
        let mut leader = road.publisher_of(lease(1, "leader"));
        publish(&mut leader, &road, &snapshot("leader.example", 1)).await;
        assert!(matches!(other.check(&[]).await, Err(PublishError::Held(_))));
    }
}

#[tokio::test]
async fn a_lease_that_nobody_renews_lapses_and_one_that_is_renewed_does_not() {
    let road = Road::over(Some(Flavor::Redis));
    let (mut one, mut other) = (road.publisher_of(lease(0, "one")), road.publisher_of(lease(0, "other")));
    publish(&mut one, &road, &snapshot("one.example", 1)).await;
    let server = road.server.as_ref().unwrap();
    let mut raw = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let key = format!("ph:{{{QUEUE}.config}}:publisher");
    let mut left = || redis::Cmd::pttl(&key).query::<i64>(&mut raw).unwrap();
    assert!((1..=10_000).contains(&left()), "it lives some seconds");
    // Almost over, as it is with one that died; whoever lives renews it.
    let mut raw = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let () = redis::Cmd::pexpire(&key, 1_000).query(&mut raw).unwrap();
    one.check(&[]).await.unwrap();
    assert!(left() > 5_000);
    assert!(matches!(other.check(&[]).await, Err(PublishError::Held(_))));
    let () = redis::Cmd::pexpire(&key, 1).query(&mut raw).unwrap();
    let taken = async {
        while other.check(&[]).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), taken).await.unwrap();
    assert!(matches!(one.check(&[]).await, Err(PublishError::Held(_))));
    publish(&mut other, &road, &snapshot("other.example", 1)).await;
    // What it took over from is written over when it comes back.
    road.channel.give_back(other.lease()).await.unwrap();
    one.check(&[]).await.unwrap();
    assert!(one.is_overtaken());
    publish(&mut one, &road, &snapshot("one.example", 1)).await;
    assert_eq!(take(&mut road.follower("edge-0")).await, "one.example");
}
