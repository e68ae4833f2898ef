//! The log of deliveries: how it is listed, what that reads, and the ends that a row can have.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use jiff::{SignedDuration, Timestamp};
use local::Proxy;
use shared::domain::{Code, ConfigurationId, DeliveryOutcome, EventId, ReplayId, Replayed, TenantScope};
use shared::store::webhook_logs::{LogFilter, LogOwner, LogRow, Outcome, ReplayEnd, Steps, WebhookLogs};

use crate::stack::{scope, stack};

/// A configuration's log, and what it asks of AWS.
struct Log {
    logs: WebhookLogs,
    proxy: Proxy,
    scope: TenantScope,
    configuration: ConfigurationId,
    owner: LogOwner,
}

const FAILED: Outcome = Outcome::Failed { code: Code::UnknownLocation, detail: String::new() };

impl Log {
    fn new() -> Self {
        let proxy = Proxy::start().unwrap();
        proxy.forward_to(stack().endpoint());
        let (scope, configuration) = (scope("t_log"), ConfigurationId::generate());
        Self {
            logs: WebhookLogs::new(
                Client::new(&stack().config_at(proxy.url())),
                stack().output("WebhookLogsTable").unwrap().to_owned(),
                30,
            ),
            proxy,
            owner: LogOwner::Configuration(scope.clone(), configuration),
            scope,
            configuration,
        }
    }

    async fn record(&self, event: &str, second: i64, outcome: &Outcome) {
        let row = LogRow {
            owner: &self.owner,
            event_id: &EventId::new(event).unwrap(),
            event_type: Some(if second % 2 == 0 { "even" } else { "odd" }),
            received_at: at(second),
            worked_for: Duration::from_millis(5),
            attempt: 1,
            secret_id: "secret",
            sealed_body: b"sealed",
            body_bytes: 19,
            outcome,
            caused: &[],
            steps: &Steps::default(),
        };
        self.logs.record(&row).await.unwrap();
    }

    /// The events of a listing, page by page, and how many queries and looked-at entries it took.
    async fn list(&self, filter: &LogFilter, limit: i32) -> (Vec<Vec<String>>, usize, usize) {
        let (mut pages, mut examined, mut after) = (Vec::new(), 0, None);
        self.proxy.reset();
        loop {
            let (page, looked_at) =
                self.logs.list(&self.scope, self.configuration, filter, limit, after).await.unwrap();
            pages.push(page.items.iter().map(|entry| entry.event_id.to_string()).collect());
            examined += looked_at;
            after = page.next;
            if after.is_none() {
                let queries = self.proxy.count("dynamodb:Query");
                assert_eq!(self.proxy.calls().len(), queries, "an index says it all");
                return (pages, queries, examined);
            }
        }
    }

    async fn outcome_of(&self, event: &str) -> (DeliveryOutcome, Option<String>) {
        let found = self.logs.find(&self.owner, &EventId::new(event).unwrap()).await.unwrap().unwrap();
        (found.entry.outcome, found.entry.code)
    }
}

fn at(second: i64) -> Timestamp {
    "2026-02-14T08:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(second)
}

fn of(outcome: DeliveryOutcome) -> LogFilter {
    LogFilter { outcome: Some(outcome), ..LogFilter::default() }
}

#[tokio::test]
async fn a_page_of_the_log_is_one_read_of_an_index_and_a_filter_reads_what_it_shows() {
    let log = Log::new();
    for second in 0..60 {
        let outcome = if second % 20 == 7 { FAILED } else { Outcome::Done };
        log.record(&format!("event-{second}"), second, &outcome).await;
    }
    let (pages, queries, examined) = log.list(&LogFilter::default(), 25).await;
    assert_eq!((pages.iter().map(Vec::len).sum::<usize>(), queries, examined), (60, pages.len(), 60));
    assert_eq!((pages[0][0].as_str(), pages[0][24].as_str()), ("event-59", "event-35"));

    // The failures are read, and not what lies between them.
    let (pages, queries, examined) = log.list(&of(DeliveryOutcome::Failed), 100).await;
    assert_eq!((pages, queries, examined), (vec![vec!["event-47".into(), "event-27".into(), "event-7".into()]], 1, 3));
    assert_eq!(log.list(&of(DeliveryOutcome::Dead), 100).await, (vec![vec![]], 1, 0));

    // A time is a range of keys.
    let filter = LogFilter { from: Some(at(10)), to: Some(at(12)), ..LogFilter::default() };
    let (pages, queries, examined) = log.list(&filter, 100).await;
    assert_eq!((pages, queries, examined), (vec![vec!["event-12".into(), "event-11".into(), "event-10".into()]], 1, 3));
    let filter = LogFilter { from: Some(at(8)), to: Some(at(50)), ..of(DeliveryOutcome::Failed) };
    assert_eq!(log.list(&filter, 100).await, (vec![vec!["event-47".into(), "event-27".into()]], 1, 2));

    // What no index has is picked from what one read brings: a page costs one, however few it shows.
    let filter =
        LogFilter { event_type: Some("odd".into()), from: Some(at(0)), to: Some(at(9)), ..LogFilter::default() };
    let (pages, queries, _) = log.list(&filter, 2).await;
    assert_eq!(pages.concat(), ["event-9", "event-7", "event-5", "event-3", "event-1"]);
    assert_eq!(queries, pages.len());
    let filter = LogFilter { code: Some("another".into()), ..of(DeliveryOutcome::Failed) };
    assert_eq!(log.list(&filter, 100).await, (vec![vec![]], 1, 3));
}

#[tokio::test]
async fn a_listing_goes_on_where_it_was_whatever_comes_and_changes_meanwhile() {
    let log = Log::new();
    for second in 0..6 {
        log.record(&format!("event-{second}"), second, &FAILED).await;
    }
    let list = async |after| log.logs.list(&log.scope, log.configuration, &of(DeliveryOutcome::Failed), 2, after).await;
    let (first, _) = list(None).await.unwrap();
    // A new one, and the last of the page is none of these any more.
    log.record("event-6", 6, &FAILED).await;
    replay(&log, &first.items[1].event_id, ReplayId::generate(), &Outcome::Done).await;
    let (second, _) = list(first.next).await.unwrap();
    let events: Vec<&str> = second.items.iter().map(|entry| entry.event_id.as_str()).collect();
    assert_eq!(events, ["event-3", "event-2"]);
}

async fn replay(log: &Log, event: &EventId, id: ReplayId, outcome: &Outcome) {
    let (kind, code) = outcome.words();
    let replayed = Replayed {
        replay_id: id,
        by: "somebody".into(),
        at: Timestamp::now(),
        outcome: kind,
        code: code.map(String::from),
    };
    let end = ReplayEnd {
        replayed: &replayed,
        outcome,
        worked_for: Duration::from_millis(7),
        caused: &[],
        steps: &Steps::default(),
    };
    log.logs.record_replay(&log.owner, event, &end).await.unwrap();
}

#[tokio::test]
async fn a_replay_gives_a_delivery_another_end_once_and_stands_in_its_history() {
    let log = Log::new();
    log.record("event", 0, &FAILED).await;
    let event = EventId::new("event").unwrap();
    let (first, second) = (ReplayId::generate(), ReplayId::generate());
    let still = Outcome::Failed { code: Code::OrderNotFound, detail: "404".into() };
    replay(&log, &event, first, &still).await;
    assert_eq!(log.outcome_of("event").await, (DeliveryOutcome::Failed, Some("order_not_found".into())));
    replay(&log, &event, second, &Outcome::Done).await;
    // The message of the first comes again.
    replay(&log, &event, first, &still).await;
    let found = log.logs.find(&log.owner, &event).await.unwrap().unwrap();
    assert_eq!((found.entry.outcome, &found.entry.code, &found.detail), (DeliveryOutcome::Done, &None, &None));
    assert_eq!(found.replays.iter().map(|it| it.replay_id).collect::<Vec<_>>(), [first, second]);
    assert_eq!(found.sealed_body(), Some(b"sealed".as_slice()));
    assert_eq!(log.list(&of(DeliveryOutcome::Failed), 100).await.0, [Vec::<String>::new()]);

    // A row that is gone does not rise again.
    let gone = EventId::new("gone").unwrap();
    replay(&log, &gone, first, &Outcome::Done).await;
    assert_eq!(log.logs.find(&log.owner, &gone).await.unwrap(), None);
}

#[tokio::test]
async fn what_the_queue_gave_up_is_no_end_for_whoever_brings_it_back() {
    let log = Log::new();
    let event = EventId::new("event").unwrap();
    let dead = Outcome::Dead { code: Code::GivenUp, detail: String::new() };
    log.record("event", 0, &dead).await;
    assert_eq!(log.outcome_of("event").await, (DeliveryOutcome::Dead, Some("given_up".into())));
    assert_eq!(log.list(&of(DeliveryOutcome::Dead), 100).await.0, [["event"]]);
    assert!(!log.logs.is_final(&log.owner, &event).await.unwrap());
    log.record("event", 0, &Outcome::Done).await;
    assert_eq!(log.outcome_of("event").await, (DeliveryOutcome::Done, None));
    assert!(log.logs.is_final(&log.owner, &event).await.unwrap());
    // A grave that is dug too late takes nothing away.
    log.record("event", 0, &dead).await;
    assert_eq!(log.outcome_of("event").await, (DeliveryOutcome::Done, None));
}
