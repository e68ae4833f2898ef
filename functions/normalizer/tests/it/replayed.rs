//! The same raw orders and the same rules: the same transactions, whatever the order and however often. Another rule: the
//! report names what it changes, and nothing else. Three vendors, by webhook and by sync, through the deployed service.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use local::{Bakery, StackOptions};
use normalizer::rebuild::{Copy, Plan, Replayed};
use reqwest::{Method, RequestBuilder};
use sandbox::{SaleKind, Sandbox, SandboxOptions};
use serde_json::{Value, json};
use shared::archive::RawRecord;
use shared::domain::{
    Amounts, EventId, JobId, Minor, RebuiltDay, ShopDay, Transaction, TransactionId, TransactionKind, TransactionStatus,
};
use shared::providers::RawOrder;
use shared::store::transactions::{Stored, Transactions, Wanted, content_id, day_hash};

use crate::bench::{Bench, PATIENCE};
use crate::raw::Witness;
use crate::sync_page::Page;

/// What stands on the shelf when the shops open, what is rung up, and one sale of the night before.
async fn sell_a_day(bakery: &Bakery) -> Vec<String> {
    let (connections, api) = (bakery.connect_branches().await.unwrap(), bakery.api().unwrap());
    for (_, id) in &connections {
        let status = || api.request(Method::GET, &format!("/configurations/{id}/sync/status"));
        let is_idle = async || answer(status()).await.1["current"].as_array().unwrap().is_empty().then_some(());
        until("the runs of a first connection", is_idle).await;
    }
    let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
    let night = yesterday.to_zoned(TimeZone::UTC).date().at(1, 30, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp();
    for (vendor, _) in &connections {
        let desk = bakery.sandbox.at(*vendor);
        desk.stock_history(10, yesterday);
        let shop = desk.merchants()[0].locations[0].id.clone();
        desk.ring_up_past(SaleKind::Simple, &shop, night).unwrap();
        desk.play(12);
        for kind in [SaleKind::Tip, SaleKind::Everything, SaleKind::FullRefund, SaleKind::PartialRefund] {
            desk.ring_up(kind, None).unwrap();
        }
    }
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    for (vendor, id) in &connections {
        bakery.sandbox.at(*vendor).wait_until_quiet(6 * PATIENCE).await.unwrap();
        let range = json!({ "kind": "backfill", "from": today - 2.days(), "to": today });
        let run = api.begin_sync(id, &range).await.unwrap();
        until("a sync", async || api.run(id, &run.id).await.unwrap().has_ended().then_some(())).await;
    }
    connections.into_iter().map(|(_, id)| id).collect()
}

async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(seen) = look().await {
            return seen;
        }
        tokio::time::sleep(PATIENCE / 100).await;
    }
    panic!("waited for {what}");
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

/// All that is stored, by shop and day.
async fn stored(table: &Transactions, witness: &Witness) -> BTreeMap<ShopDay, Vec<Stored>> {
    let (mut days, mut after) = (BTreeMap::<ShopDay, Vec<Stored>>::new(), None);
    loop {
        let (scope, id) = (&witness.found.scope, witness.found.configuration.id);
        let page = table.list(scope, id, Wanted::All, 100, after).await.unwrap();
        for it in page.items {
            days.entry(ShopDay::of(&it.transaction)).or_default().push(it);
        }
        after = page.next;
        if after.is_none() {
            return days;
        }
    }
}

fn hashes(days: &BTreeMap<ShopDay, Vec<Stored>>) -> BTreeMap<ShopDay, String> {
    let hash = |of: &[Stored]| day_hash(&of.iter().map(|it| (it.transaction.id, it.content_id())).collect());
    days.iter().map(|(day, of)| (day.clone(), hash(of))).collect()
}

/// Twice each, and in no order that means anything.
fn shuffled(records: &[RawRecord], seed: usize) -> Vec<RawRecord> {
    let mut doubled: Vec<RawRecord> = [records, records].concat();
    let draw = |at: usize| EventId::hash_of(format!("{seed} {at}").as_bytes()).to_string();
    let mut order: Vec<usize> = (0..doubled.len()).collect();
    order.sort_by_cached_key(|at| draw(*at));
    doubled = order.into_iter().map(|at| doubled[at].clone()).collect();
    doubled
}

/// A release with one other rule.
struct Mutant {
    name: &'static str,
    rule: fn(&mut Transaction),
    /// What that makes of the day's sums, for each completed transaction that it concerns.
    difference: fn(&Transaction) -> Amounts,
}

const MUTANTS: [Mutant; 3] = [
    Mutant {
        name: "a tip counts as gross",
        rule: |it| it.amounts.gross = it.amounts.gross.checked_add(it.amounts.tip).unwrap(),
        difference: |it| Amounts { gross: it.amounts.tip, ..Amounts::default() },
    },
    Mutant {
        name: "a refund has the other sign",
        rule: |it| {
            if it.kind == TransactionKind::Refund {
                it.amounts.total = Minor(-it.amounts.total.0);
            }
        },
        difference: |it| {
            let twice = if it.kind == TransactionKind::Refund { -2 * it.amounts.total.0 } else { 0 };
            Amounts { total: Minor(twice), ..Amounts::default() }
        },
    },
    Mutant {
        name: "a business date goes by UTC",
        rule: |it| it.business_date = it.occurred_at.to_zoned(TimeZone::UTC).date(),
        difference: |_| Amounts::default(),
    },
];

/// What a day would be said to change, by a release with these rules.
fn report(
    (witness, day, of_day): (&Witness, &ShopDay, &[Stored]),
    records: &[RawRecord],
    rule: fn(&mut Transaction),
) -> RebuiltDay {
    let normalize = |order: &RawOrder| {
        let mut transactions = witness.normalize(order)?;
        transactions.iter_mut().for_each(rule);
        Some(transactions)
    };
    let cause = EventId::of_rebuild(JobId::generate());
    let plan = Plan::new(day, of_day.to_vec(), Replayed::of(records, normalize), &cause);
    plan.report(day, &cause, (0, 0))
}

fn count(number: usize) -> u64 {
    number.try_into().unwrap()
}

/// Sales less refunds.
fn sum(of: &[Stored], each: fn(&Transaction) -> Amounts) -> Amounts {
    let completed = of.iter().map(|it| &it.transaction).filter(|it| it.status == TransactionStatus::Completed);
    completed.fold(Amounts::default(), |sum, it| match it.kind {
        TransactionKind::Sale => sum.checked_add(each(it)).unwrap(),
        TransactionKind::Refund => sum.checked_sub(each(it)).unwrap(),
    })
}

#[tokio::test]
async fn a_day_of_three_vendors_is_rebuilt_as_it_was_and_a_changed_rule_is_named() {
    let sandbox = SandboxOptions { shops: 2, speed: 1_200.0, ..SandboxOptions::default() };
    let options = StackOptions { name: "normalizer-replayed".into(), ..StackOptions::default() };
    let bakery = Bakery::open(Sandbox::start(sandbox).unwrap(), options).await.unwrap();
    let ids = sell_a_day(&bakery).await;
    let bench = Bench { bakery };
    // A sync that runs from here on would find again what is lost.
    bench.forget_runs().await;
    let bakery = &bench.bakery;
    let client = aws_sdk_dynamodb::Client::new(&bakery.stack.config());
    let table = Transactions::new(client, bakery.stack.output("TransactionsTable").unwrap().to_owned());
    let scope = Page::of(&bench, Vec::new()).message().scope;
    let mut named = BTreeMap::<&str, usize>::new();
    for id in &ids {
        let witness = Witness::of(bakery, &scope, id.parse().unwrap()).await;
        let provider = witness.found.configuration.provider;
        let days = stored(&table, &witness).await;
        let before = hashes(&days);
        let all: usize = days.values().map(Vec::len).sum();
        assert!(days.len() > 1 && all > 20, "{provider}: {} {all}", days.len());
        for (day, of_day) in &days {
            witness.assert_is_covered(of_day).await;
            let records = witness.records(day).await;
            let once = Replayed::of(&records, |order| witness.normalize(order));
            let said = |of: &Copy| of.is_of_day.then(|| content_id(&of.transaction));
            let made: BTreeMap<TransactionId, String> =
                once.copies.iter().filter_map(|(id, copy)| Some((*id, said(copy)?))).collect();
            let known = of_day.iter().map(|it| (it.transaction.id, it.content_id())).collect();
            assert_eq!(made, known, "{provider} {day:?}");
            for seed in 0..5 {
                let replayed = Replayed::of(&shuffled(&records, seed), |order| witness.normalize(order));
                assert_eq!(
                    (replayed.day_hash(), replayed.failed),
                    (before[day].clone(), 0),
                    "{provider} {day:?} {seed}"
                );
            }
            let at = (&witness, day, of_day.as_slice());
            let truth = report(at, &records, |_| ());
            let counts = (truth.created, truth.changed, truth.same, truth.uncovered);
            assert_eq!(counts, (0, 0, count(of_day.len()), 0), "{provider} {day:?}");
            assert_eq!((&truth.hash_now, &truth.hash_then), (&before[day], &before[day]));
            for Mutant { name, rule, difference } in &MUTANTS {
                let said = report(at, &records, *rule);
                let is_changed = |it: &&Stored| {
                    let mut mutated = it.transaction.clone();
                    rule(&mut mutated);
                    content_id(&mutated) != it.content_id()
                };
                let expected: BTreeSet<TransactionId> =
                    of_day.iter().filter(is_changed).map(|it| it.transaction.id).collect();
                let found: BTreeSet<TransactionId> = said.transactions.iter().map(|it| it.id).collect();
                assert_eq!(found, expected, "{provider} {day:?} {name}");
                let money = said.amounts.first().map_or(Amounts::default(), |it| it.amounts);
                assert_eq!(money, sum(of_day, *difference), "{provider} {day:?} {name}");
                assert_eq!((said.changed, said.products), (count(expected.len()), vec![]), "{provider} {day:?} {name}");
                *named.entry(name).or_default() += found.len();
            }
        }

        let records = witness.records(days.iter().max_by_key(|(_, of)| of.len()).unwrap().0).await;
        let started = std::time::Instant::now();
        let read =
            (0..50).map(|_| Replayed::of(&records, |order| witness.normalize(order)).copies.len()).sum::<usize>();
        let each = started.elapsed() / u32::try_from(50 * records.len()).unwrap();
        println!("{provider}: {read} transactions read again, {each:?} for an order on one core, not optimized");

        // All of it is lost, and comes back from what was kept.
        let deadline = std::time::Instant::now() + PATIENCE;
        let purged = table.purge(&scope, witness.found.configuration.id, deadline).await.unwrap();
        assert_eq!((purged.removed, purged.is_done), (count(all), true));
        let (first, last) = (days.keys().next().unwrap(), days.keys().next_back().unwrap());
        let rebuilds = format!("/configurations/{id}/rebuilds");
        let range = json!({ "from": first.business_date, "to": last.business_date });
        let (api, stranger) = (bakery.api().unwrap(), bakery.api_of("stranger", &["pos:write"]).unwrap());
        assert_eq!(answer(stranger.request(Method::POST, &rebuilds).json(&range)).await.0, 404);
        let ask = || api.request(Method::POST, &rebuilds).header("idempotency-key", "lost").json(&range);
        let (status, job) = answer(ask()).await;
        assert_eq!(status, 202, "{job}");
        assert_eq!(answer(ask()).await.1["id"], job["id"], "the same key, the same rebuild");
        let path = format!("{rebuilds}/{}", job["id"].as_str().unwrap());
        for path in [path.clone(), format!("{path}/days")] {
            assert_eq!(answer(stranger.request(Method::GET, &path)).await.0, 404);
        }
        assert_eq!(answer(stranger.request(Method::POST, &format!("{path}/apply"))).await.0, 404);
        let reached = async |state: &str| {
            until(state, async || {
                let (_, job) = answer(api.request(Method::GET, &path)).await;
                (job["state"] == state).then_some(job)
            })
            .await
        };
        assert_eq!(reached("previewed").await["transactions"], all);
        let (_, shown) = answer(api.request(Method::GET, &format!("{path}/days?limit=100"))).await;
        let shown: Vec<RebuiltDay> = serde_json::from_value(shown["items"].clone()).unwrap();
        let place = |it: &RebuiltDay| ShopDay { business_date: it.business_date, location_id: it.location_id.clone() };
        let then: BTreeMap<ShopDay, String> = shown.iter().map(|it| (place(it), it.hash_then.clone())).collect();
        assert_eq!(then, before, "{provider}");
        assert!(stored(&table, &witness).await.is_empty(), "nothing is written before somebody agrees");
        assert_eq!(answer(api.request(Method::POST, &format!("{path}/apply"))).await.0, 202);
        assert_eq!(reached("applied").await["transactions_applied"], all);
        assert_eq!(hashes(&stored(&table, &witness).await), before, "{provider}");
        println!("{provider}: {all} transactions of {} shops' days came back as they were", days.len());
    }
    println!("named: {named:?}");
    assert!(named.len() == 3 && named.values().all(|count| *count > 0), "{named:?}");
}
