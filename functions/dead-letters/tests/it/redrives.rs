//! What was given up goes back to where it came from: what was asked for and nothing else, and whatever dies on the way.

use std::sync::Arc;
use std::time::Duration;

use local::{Fault, Proxy};
use shared::domain::{DeadLetterQueue, RedriveScope, RedriveState};
use tokio::sync::Notify;

use crate::bench::{Bench, bench};

const DEAD: &str = "SalesDeadLetterQueueUrl";
const SOURCE: &str = "SalesQueueUrl";

fn reason(word: &str) -> RedriveScope {
    RedriveScope::Reason(word.to_owned())
}

async fn park(bench: &Bench, reason: &str, bodies: &[&str]) {
    for body in bodies {
        bench.send(DEAD, body, &[("reason", reason), ("type", "t")]).await;
    }
}

#[tokio::test]
async fn a_group_goes_back_and_its_neighbours_stay_to_be_seen() {
    let bench = bench().await;
    let app = bench.app(None);
    let parked: Vec<String> = (0..25).map(|number| format!("wanted {number:02}")).collect();
    park(&bench, "too_late", &parked.iter().map(String::as_str).collect::<Vec<_>>()).await;
    park(&bench, "unreadable", &["other 1", "other 2"]).await;
    let id = bench.ask(DeadLetterQueue::Sales, reason("too_late")).await;
    // What is given up after somebody has asked is no part of it.
    tokio::time::sleep(Duration::from_millis(5)).await;
    park(&bench, "too_late", &["later"]).await;

    bench.tick(&app).await.unwrap();
    let done = bench.redrive(DeadLetterQueue::Sales, id).await;
    assert_eq!((done.state, done.moved, done.failed), (RedriveState::Done, 25, 0), "{done:?}");
    assert!(done.ended_at.is_some());
    assert_eq!(bench.depth(DEAD).await, (3, 0), "nothing stays hidden");
    let sent = bench.drain(SOURCE).await;
    // As it was before it was parked.
    let as_it_was: Vec<_> = parked.into_iter().map(|body| (body, vec![("type".to_owned(), "t".to_owned())])).collect();
    assert_eq!(sent, as_it_was);
    bench.tick(&app).await.unwrap();
    assert_eq!(bench.drain(SOURCE).await, [], "it is over");
}

#[tokio::test]
async fn one_message_goes_back_alone() {
    let bench = bench().await;
    park(&bench, "too_late", &["one", "two", "three"]).await;
    let received = bench.sqs().receive_message().queue_url(bench.url(DEAD)).visibility_timeout(0).send().await.unwrap();
    let message = received.messages()[0].clone();
    let scope = RedriveScope::MessageId(message.message_id.unwrap());
    let id = bench.ask(DeadLetterQueue::Sales, scope).await;
    bench.tick(&bench.app(None)).await.unwrap();
    let done = bench.redrive(DeadLetterQueue::Sales, id).await;
    assert_eq!((done.state, done.moved), (RedriveState::Done, 1), "{done:?}");
    let sent = bench.drain(SOURCE).await;
    assert_eq!(sent.iter().map(|(body, _)| body).collect::<Vec<_>>(), [&message.body.unwrap()]);
    assert_eq!(bench.depth(DEAD).await, (2, 0));
}

#[tokio::test]
async fn what_its_queues_limit_has_given_up_goes_back_whatever_it_says_of_itself() {
    let bench = bench().await;
    // It is received as often as the queue allows, and nobody deletes it.
    bench.send(SOURCE, "poison", &[("reason", "none of yours")]).await;
    let (sqs, url) = (bench.sqs(), bench.url(SOURCE));
    for _ in 0..6 {
        sqs.receive_message().queue_url(url).visibility_timeout(0).send().await.unwrap();
    }
    assert_eq!(bench.depth(DEAD).await, (1, 0));
    let wrong = bench.ask(DeadLetterQueue::Sales, reason("none of yours")).await;
    let app = bench.app(None);
    bench.tick(&app).await.unwrap();
    assert_eq!(bench.redrive(DeadLetterQueue::Sales, wrong).await.moved, 0);
    let right = bench.ask(DeadLetterQueue::Sales, reason("receive_limit_reached")).await;
    bench.tick(&app).await.unwrap();
    assert_eq!(bench.redrive(DeadLetterQueue::Sales, right).await.moved, 1);
    assert_eq!(bench.drain(SOURCE).await.len(), 1);
}

#[tokio::test]
async fn a_redrive_that_is_cut_off_anywhere_loses_nothing() {
    let bench = bench().await;
    let (mut wanted, mut others) = (Vec::new(), Vec::new());
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let mut calls = 0;
        for nth in 1..80 {
            let [one, two, other] = ["one", "two", "other"].map(|name| format!("{name} {fault:?} {nth:02}"));
            park(&bench, "too_late", &[&one, &two]).await;
            park(&bench, "unreadable", &[&other]).await;
            wanted.extend([one, two]);
            others.push(other);
            bench.ask(DeadLetterQueue::Sales, reason("too_late")).await;
            let (proxy, crash) = (Proxy::start().unwrap(), Arc::new(Notify::new()));
            proxy.on_drop({
                let crash = Arc::clone(&crash);
                move || crash.notify_one()
            });
            let cut_off = bench.app(Some(&proxy));
            proxy.hit(nth, fault);
            let has_crashed = tokio::select! {
                biased;
                () = crash.notified() => true,
                result = bench.tick(&cut_off) => { result.unwrap(); false }
            };
            calls = nth;
            if !has_crashed {
                break;
            }
        }
        println!("{fault:?}: cut off at each of {calls} calls");
        assert!((15..79).contains(&calls), "{calls} calls {fault:?}");
    }
    // What the dead ones were looking at appears again in half a minute.
    tokio::time::sleep(Duration::from_secs(31)).await;
    let id = bench.ask(DeadLetterQueue::Sales, reason("too_late")).await;
    bench.tick(&bench.app(None)).await.unwrap();
    assert_eq!(bench.redrive(DeadLetterQueue::Sales, id).await.state, RedriveState::Done);
    let mut sent: Vec<_> = bench.drain(SOURCE).await.into_iter().map(|(body, _)| body).collect();
    let times = sent.len();
    sent.dedup();
    println!("{} messages were sent {times} times", wanted.len());
    wanted.sort();
    others.sort();
    assert_eq!(sent, wanted);
    let left: Vec<_> = bench.drain(DEAD).await.into_iter().map(|(body, _)| body).collect();
    assert_eq!(left, others);
}
