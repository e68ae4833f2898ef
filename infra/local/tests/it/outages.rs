//! What goes wrong around the service, and what must be right in the end all the same.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use local::Fault;
use reqwest::Method;
use sandbox::{DeliveryState, EntryKind, EntryState, Failure, Faults, SaleKind};
use serde_json::Value;

use crate::town::{
    Answer, Doorbell, RoughTown, Tables, configuration, event, eventually, owner, rough_town, sweep, text,
};

/// Status and total of each transaction, by its order's id and kind.
type Books = BTreeMap<(String, String), (String, i64)>;

fn sold(town: &RoughTown) -> Books {
    let entries = town.bakery.sandbox.ledger().into_iter();
    entries
        .map(|entry| {
            let kind = if entry.kind == EntryKind::Refund { "refund" } else { "sale" };
            let status = match entry.state {
                EntryState::Open => "open",
                EntryState::Completed => "completed",
                EntryState::Canceled => "voided",
            };
            ((entry.order_id, kind.to_owned()), (status.to_owned(), entry.total_minor))
        })
        .collect()
}

fn of_transactions<'t>(transactions: impl IntoIterator<Item = &'t Value>) -> Books {
    let words = |value: &Value| value.as_str().unwrap().to_owned();
    let mut books = Books::new();
    for transaction in transactions {
        let key = (words(&transaction["external_order_id"]), words(&transaction["kind"]));
        let total = transaction["amounts"]["total_minor"].as_i64().unwrap();
        assert_eq!(books.insert(key, (words(&transaction["status"]), total)), None, "twice: {transaction}");
    }
    books
}

/// Waits until everything that was sold is stored, received and acknowledged, with nothing too much.
async fn all_books_agree(town: &RoughTown) {
    let started = Instant::now();
    let api = town.bakery.api().unwrap();
    town.bakery.sandbox.wait_until_quiet(Duration::from_secs(60)).await.unwrap();
    let sold = sold(town);
    assert!(!sold.is_empty() && sold.values().all(|(status, _)| status != "open"));
    let mut swept = started;
    loop {
        // What was stored and never sent is due after ten seconds; the schedule's minute is long for a test.
        if swept.elapsed() > Duration::from_secs(11) {
            sweep(town.bakery).await;
            swept = Instant::now();
        }
        let found: Vec<Value> = api.transactions(&town.bakery.configuration_id).await.unwrap();
        let known = town.sales.transactions();
        let stored = of_transactions(&found);
        let received = of_transactions(known.values().map(|known| &known.event["data"]["transaction"]));
        let unanswered = found.iter().filter(|transaction| transaction["sales"]["acknowledged"] != true).count();
        if (&stored, &received, unanswered) == (&sold, &sold, 0) {
            return;
        }
        if started.elapsed() > Duration::from_secs(90) {
            assert_eq!(stored, sold, "stored and sold");
            assert_eq!(received, sold, "received and sold");
            panic!("{unanswered} of what was received is not acknowledged");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Every delivery that was answered 2xx has its final row.
async fn all_deliveries_are_final(town: &RoughTown) {
    let tables = Tables::of(town.bakery);
    for delivery in town.bakery.sandbox.deliveries() {
        assert_eq!(delivery.state, DeliveryState::Delivered, "{delivery:?}");
        let row = tables.final_row(&owner(town.bakery), &delivery.event_id).await;
        assert_eq!(text(&row, "outcome"), "done", "{delivery:?}: {row:?}");
    }
}

/// Nothing that the functions have printed may help a thief or name a guest.
async fn the_logs_are_clean(town: &RoughTown) {
    let bakery = town.bakery;
    let key = Doorbell::of(bakery).await.signature_key;
    let application = bakery.sandbox.application();
    let jwt = bakery.api().unwrap().token().to_owned();
    let jwt_signature = jwt.rsplit('.').next().unwrap().to_owned();
    let bodies: Vec<Value> =
        bakery.sandbox.events().iter().map(|event| serde_json::from_str(&event.body).unwrap()).collect();
    // Of the card, of the receipt and of the till's staff, from the bodies themselves.
    let personal = ["/payment/card_details/card/fingerprint", "/payment/receipt_url", "/payment/team_member_id"];
    let mut forbidden: Vec<(String, String)> = Vec::new();
    for pointer in personal {
        let values = bodies.iter().filter_map(|body| body["data"]["object"].pointer(pointer)?.as_str());
        let before = forbidden.len();
        forbidden.extend(values.map(|value| (pointer.to_owned(), value.to_owned())));
        assert!(forbidden.len() > before, "no body has {pointer}");
    }
    forbidden.sort();
    forbidden.dedup();
    for word in ["last_4", "card_details", "411111", "fingerprint", "Bearer "] {
        forbidden.push(("of a body or header".into(), word.to_owned()));
    }
    forbidden.push(("the signature key".into(), key));
    forbidden.push(("the application's secret".into(), application.secret));
    forbidden.push(("the application's token".into(), application.access_token));
    forbidden.push(("a user's token".into(), jwt_signature));
    let mut printed = 0;
    for function in
        ["authorizer", "configurations", "normalizer", "outbox-sweeper", "sales-replies", "transactions", "webhooks"]
    {
        let log = bakery.stack.function_log(function);
        printed += log.lines().count();
        for (what, secret) in &forbidden {
            let line = log.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "{function} prints {what} `{secret}`");
        }
        // Every token of Square's, ours or not, begins like this.
        let token = log.lines().find(|line| line.contains("EAAA") || line.contains("EQAA"));
        assert_eq!(token, None, "{function} prints a token");
    }
    assert!(printed > 50, "only {printed} lines were printed");
}

async fn nothing_was_lost(town: &RoughTown) {
    all_books_agree(town).await;
    all_deliveries_are_final(town).await;
    the_logs_are_clean(town).await;
}

#[tokio::test]
async fn deliveries_under_work_when_the_normalizer_is_killed_are_worked_on_again() {
    let town = rough_town().await;
    let (sandbox, stack) = (&town.bakery.sandbox, &town.bakery.stack);
    // A new process has no token in memory: it opens one and at once asks for the order, which is held back.
    stack.kill_function("normalizer").unwrap();
    sandbox.set_faults(Faults { hold_order_ms: 3_000, ..Faults::default() });
    sandbox.ring_up(SaleKind::Everything).unwrap();
    let is_opened = || town.proxy.calls().iter().any(|call| call.name() == "kms:Decrypt" && call.status == Some(200));
    eventually("the order to be asked for", async || is_opened().then_some(())).await;
    assert!(stack.kill_function("normalizer").unwrap() > 0);
    assert_eq!(town.proxy.count("dynamodb:PutItem"), 0, "it was killed before it had written anything");
    sandbox.set_faults(Faults::default());
    nothing_was_lost(&town).await;
}

#[tokio::test]
async fn a_crash_between_storing_and_sending_loses_no_event() {
    let town = rough_town().await;
    let bakery = town.bakery;
    // The first item that is put is the transaction; its writer dies before it hears that it was written.
    town.proxy.hit_named("dynamodb:PutItem", 1, Fault::DropAfter);
    let crashes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&crashes);
    town.proxy.on_drop(move || {
        counted.fetch_add(bakery.stack.kill_function("normalizer").unwrap_or_default(), Ordering::Relaxed);
    });
    bakery.sandbox.ring_up(SaleKind::Simple).unwrap();
    nothing_was_lost(&town).await;
    assert!(crashes.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_provider_that_fails_for_a_while_costs_only_time() {
    let town = rough_town().await;
    let failing = |status, times, retry_after| Failure {
        status,
        times,
        path: Some("/v2/orders".into()),
        retry_after,
        ..Failure::default()
    };
    let failures = vec![failing(429, 4, Some(1)), failing(500, 3, None), failing(503, 2, None), failing(429, 2, None)];
    town.bakery.sandbox.set_faults(Faults { failures, ..Faults::default() });
    town.bakery.sandbox.play(8);
    nothing_was_lost(&town).await;
    assert!(town.bakery.sandbox.faults().failures.iter().all(|failure| failure.times == 0), "all have happened");
}

#[tokio::test]
async fn a_provider_that_is_down_connects_nobody_and_says_so() {
    let town = rough_town().await;
    let token = town.bakery.sandbox.grant(None, &[]).unwrap().access_token;
    let api = town.bakery.api_of("hurried", &["pos:write"]).unwrap();
    let tables = Tables::of(town.bakery);
    let create = || api.request(Method::POST, "/configurations").json(&configuration("production", &token));
    for (status, answer, code) in [(500, 502, "provider_unavailable"), (429, 503, "unavailable")] {
        for path in ["/v2/merchants", "/v2/locations"] {
            let failures = vec![Failure { status, times: 1, path: Some(path.into()), ..Failure::default() }];
            town.bakery.sandbox.set_faults(Faults { failures, ..Faults::default() });
            Answer::to(create()).await.problem(answer, code);
        }
    }
    assert_eq!(tables.configurations("hurried").await, []);
    assert_eq!(tables.claim("production", &town.bakery.sandbox.merchants()[0].id).await, None);
}

#[tokio::test]
async fn while_the_queue_is_away_deliveries_are_refused_until_the_provider_comes_again() {
    let town = rough_town().await;
    let bell = Doorbell::of(town.bakery).await;
    // Four attempts of one delivery: one by hand, three by the AWS client's own patience.
    for (nth, fault) in (1..).zip([Fault::Status500, Fault::DropBefore, Fault::Status500, Fault::Status500]) {
        town.proxy.hit_named("sqs:SendMessage", nth, fault);
    }
    let (id, body) = event("NOBODY");
    let answer = Answer::to(bell.signed(body.to_string())).await;
    answer.problem(503, "unavailable");
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(town.proxy.count("sqs:SendMessage"), 4);
    bell.deliver(body.to_string()).await;
    Tables::of(town.bakery).final_row("unmatched#square", &id).await;

    // It was taken and we were not told so: it is there twice, and has one end.
    town.proxy.reset();
    town.proxy.hit_named("sqs:SendMessage", 1, Fault::DropAfter);
    let (id, body) = event("NOBODY");
    bell.deliver(body.to_string()).await;
    assert_eq!(town.proxy.count("sqs:SendMessage"), 2);
    Tables::of(town.bakery).final_row("unmatched#square", &id).await;

    town.proxy.reset();
    // Four deliveries at once with four attempts each: one of them must hear that it failed.
    for nth in 1..=16 {
        town.proxy.hit_named("sqs:SendMessage", nth, Fault::Status500);
    }
    let known = town.bakery.sandbox.deliveries().len();
    town.bakery.sandbox.ring_up(SaleKind::SplitTender).unwrap();
    nothing_was_lost(&town).await;
    let deliveries = town.bakery.sandbox.deliveries().split_off(known);
    let refused = deliveries.iter().flat_map(|it| &it.attempts).filter(|it| it.status == Some(503)).count();
    assert!(refused > 0, "{deliveries:?}");
}

#[tokio::test]
async fn a_morning_of_doubled_and_overtaken_notifications_adds_up() {
    let town = rough_town().await;
    let known = town.bakery.sandbox.deliveries().len();
    town.bakery.sandbox.play(30);
    nothing_was_lost(&town).await;
    let deliveries = town.bakery.sandbox.deliveries().split_off(known);
    let doubled = deliveries.iter().filter(|delivery| delivery.duplicate).count();
    assert!(deliveries.len() > 60 && doubled * 5 > deliveries.len(), "{doubled} of {}", deliveries.len());
}

#[tokio::test]
async fn a_look_at_configurations_costs_one_call_of_the_table() {
    let town = rough_town().await;
    let api = town.bakery.api().unwrap();
    let one = format!("/configurations/{}", town.bakery.configuration_id);
    for (path, operation) in [("/configurations".to_owned(), "dynamodb:Query"), (one, "dynamodb:GetItem")] {
        // A schedule may come in between: then the next look counts.
        let is_one_call = async || {
            town.proxy.reset();
            assert_eq!(Answer::to(api.request(Method::GET, &path)).await.status, 200);
            let calls = town.proxy.calls();
            // Without what is counted after the answer, at most once in ten seconds.
            let is_read = |name: &String| name.starts_with("dynamodb:") && name != "dynamodb:AddToCounters";
            let names: Vec<_> = calls.iter().map(local::Call::name).filter(is_read).collect();
            (names == [operation]).then_some(())
        };
        eventually("a look of one call", is_one_call).await;
    }
}
