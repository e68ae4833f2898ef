//! What was given up goes back to where it came from: what was asked for and nothing else, and whatever dies on the way.

use std::sync::Arc;
use std::time::Duration;

use local::{Fault, Proxy};
use serde_json::json;
use shared::domain::{DeadLetterQueue, RedriveScope, RedriveState};
use shared::queue::SqsMessage;
use shared::queue::dead_letters::DeadLetters;
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

/// A message as its function has got it, with so many attributes of its sender's.
fn received(attributes: usize, arn: &str) -> SqsMessage {
    let attribute = |number: usize| (format!("a{number}"), json!({ "stringValue": "x", "dataType": "String" }));
    let attributes: serde_json::Map<_, _> = (0..attributes).map(attribute).collect();
    serde_json::from_value(json!({ "body": "b", "messageAttributes": attributes, "eventSourceARN": arn })).unwrap()
}

#[tokio::test]
async fn what_is_parked_keeps_what_it_says_of_itself_as_far_as_there_is_room_for_the_reason() {
    let bench = bench().await;
    let letters = DeadLetters::new(bench.sqs(), bench.url(DEAD).to_owned(), Vec::new());
    for (attributes, kept) in [(0, 2), (8, 10), (9, 10), (10, 2)] {
        letters.park(&received(attributes, "arn:aws:sqs:us-east-1:000000000000:q"), "why").await.unwrap();
        let parked = bench.drain(DEAD).await;
        let [(_, found)] = parked.as_slice() else { panic!("{parked:?}") };
        assert_eq!(found.len(), kept, "{attributes}: {found:?}");
        assert!(found.contains(&("reason".to_owned(), "why".to_owned())));
    }
}

#[tokio::test]
async fn what_was_parked_goes_back_to_its_own_queue_and_a_sender_cannot_name_another() {
    let bench = bench().await;
    let (replies, dead) = ("SalesRepliesQueueUrl", "SalesRepliesDeadLetterQueueUrl");
    let name = |output: &str| bench.url(output).rsplit('/').next().unwrap().to_owned();
    let arn =
        format!("arn:aws:sqs:{}:{}:{}", bench.stack.region(), bench.stack.account(), name("SoldOutEndingsQueueUrl"));
    let letters = DeadLetters::new(bench.sqs(), bench.url(dead).to_owned(), Vec::new());
    // Whoever replies says that it came from the queue of the endings; `sales-replies` has parked it from that of replies.
    let forged = bench.stack.output("SalesRepliesQueueArn").unwrap();
    let mut message = received(0, forged);
    message.message_attributes = received(1, "").message_attributes;
    message.message_attributes.values_mut().for_each(|value| value.string_value = Some(arn.clone()));
    let forged_attribute = message.message_attributes.remove("a0").unwrap();
    message.message_attributes.insert("parked_from".to_owned(), forged_attribute);
    for (reason_word, message, target) in
        [("an ending", received(0, &arn), "SoldOutEndingsQueueUrl"), ("a reply", message, replies)]
    {
        let sent = loop {
            letters.park(&message, reason_word).await.unwrap();
            let proxy = Proxy::start().unwrap();
            let id = bench.ask(DeadLetterQueue::SalesReplies, reason(reason_word)).await;
            bench.tick(&bench.app(Some(&proxy))).await.unwrap();
            assert_eq!(bench.redrive(DeadLetterQueue::SalesReplies, id).await.moved, 1, "{reason_word}");
            let sends = proxy.calls().into_iter().filter(|call| call.operation == "SendMessage");
            let sent: Vec<String> = sends.map(|call| call.resource).collect();
            // Once a minute the deployed one ticks, and is first.
            if !sent.is_empty() {
                break sent;
            }
        };
        assert_eq!(sent, [name(target)], "{reason_word}");
    }
}
