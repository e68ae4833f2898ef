//! The one door into the days table, and what was believed of days.

use aws_sdk_dynamodb::Client;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use shared::domain::{
    Certificate, CertificateMethod, ConfigurationId, DayState, EventId, ExternalOrderId, Figures, Transaction,
    TransactionId, TransactionKind,
};
use shared::store::days::{Day, DayKey, Days, Due, Said};
use shared::store::transactions::{Candidate, TransactionKey, Transactions};

use crate::stack::{scope, stack};

fn table() -> Days {
    Days::new(Client::new(&stack().config()), stack().output("DaysTable").unwrap().to_owned())
}

fn transactions() -> Transactions {
    let table = stack().output("TransactionsTable").unwrap().to_owned();
    Transactions::new(Client::new(&stack().config()), table).noting_moves(self::table())
}

fn day(configuration_id: ConfigurationId, date: &str) -> DayKey {
    DayKey { scope: scope("t_days"), configuration_id, location_id: "L1".parse().unwrap(), date: date.parse().unwrap() }
}

fn said(state: DayState) -> Said {
    let figures = Figures::of("USD".parse().unwrap(), []).unwrap();
    let (at, count) = (Timestamp::now(), figures.count());
    let certificate = Certificate {
        state,
        method: CertificateMethod::OrdersByClosing,
        taken_at: at,
        compared: 0,
        outdated: Vec::new(),
        ours: count,
        theirs: Some(count),
    };
    Said { at, figures, certificate, products: None }
}

fn next(taken: &Day, state: DayState) -> Day {
    let due_at = Some(Timestamp::now() + SignedDuration::from_secs(60));
    Day { revision: taken.revision + 1, said: Some(said(state)), is_unsent: true, due_at, ..taken.clone() }
}

async fn taken(table: &Days, day: &DayKey) -> Day {
    let due_at = table.find(day).await.unwrap().unwrap().due_at.unwrap();
    table.claim(day, due_at, Timestamp::now() + SignedDuration::from_mins(2)).await.unwrap().unwrap()
}

#[tokio::test]
async fn of_two_who_find_a_day_due_one_has_it_and_what_changed_meanwhile_is_not_written_over() {
    let (table, day) = (table(), day(ConfigurationId::generate(), "2026-02-14"));
    let now = Timestamp::now();
    assert!(!table.note_change(&day, now, now).await.unwrap(), "nothing was said of it, so nobody must know");
    table.ask(&day, now).await.unwrap();
    let mut due = Vec::new();
    for shard in Days::due_shards() {
        due.extend(table.list_due(shard, Timestamp::now(), 1000).await.unwrap());
    }
    let due_at = due.into_iter().find_map(|due| match due {
        Due::Day(key, at) if key == day => Some(at),
        Due::Day(..) | Due::Clock(_) => None,
    });
    let until = now + SignedDuration::from_mins(2);
    let first = table.claim(&day, due_at.unwrap(), until).await.unwrap();
    assert_eq!(first.as_ref().map(|day| (day.revision, day.said.clone())), Some((0, None)));
    assert_eq!(table.claim(&day, due_at.unwrap(), until).await.unwrap(), None);
    // Somebody sells on while the first looks.
    assert!(table.note_change(&day, now, now).await.unwrap());
    let first = first.unwrap();
    assert!(!table.say(&first, &next(&first, DayState::Proven)).await.unwrap());
    let second = taken(&table, &day).await;
    assert!(table.say(&second, &next(&second, DayState::Proven)).await.unwrap());
    assert!(!table.say(&second, &next(&second, DayState::Proven)).await.unwrap(), "once");
}

#[tokio::test]
async fn what_was_said_of_a_day_is_kept_for_ever_and_counted_without_gaps() {
    let (table, id) = (table(), ConfigurationId::generate());
    let key = day(id, "2026-02-14");
    let pending = DayState::Pending { until: Timestamp::UNIX_EPOCH };
    let states = [pending, DayState::NotProvable { reason: "paused".into() }, DayState::Proven];
    for state in states.clone() {
        table.ask(&key, Timestamp::now()).await.unwrap();
        let taken = taken(&table, &key).await;
        let next = next(&taken, state);
        assert!(table.say(&taken, &next).await.unwrap());
        assert!(table.settle(&next, None).await.unwrap());
    }
    let latest = table.find(&key).await.unwrap().unwrap();
    assert_eq!((latest.revision, latest.is_unsent, latest.due_at), (3, false, None));
    assert_eq!(latest.said.unwrap().certificate.state, states[2]);
    let earlier = table.list_revisions(&key).await.unwrap();
    let earlier: Vec<_> = earlier.into_iter().map(|(number, said)| (number, said.certificate.state)).collect();
    assert_eq!(earlier, [(1, states[0].clone()), (2, states[1].clone())]);

    table.ask(&day(id, "2026-02-15"), Timestamp::now()).await.unwrap();
    let dates = |from: &str, to: &str| (from.parse().unwrap(), to.parse().unwrap());
    for ((from, to), expected) in [
        (dates("2026-02-14", "2026-02-14"), 1),
        (dates("2026-02-14", "2026-02-15"), 2),
        (dates("2026-02-16", "2026-03-01"), 0),
    ] {
        assert_eq!(table.list(&key.scope, id, (from, to)).await.unwrap().len(), expected, "{from} {to}");
    }
    assert!(table.list(&scope("t_other"), id, dates("2026-02-14", "2026-02-15")).await.unwrap().is_empty());
}

const DATES: [&str; 3] = ["2026-02-13", "2026-02-14", "2026-02-15"];

/// One of a few orders, as it was read at some time: its date and total.
fn copy(configuration: ConfigurationId, (order, version, date, total): (u8, i64, usize, i64)) -> Transaction {
    let order = ExternalOrderId::new(format!("ORDER{order}")).unwrap();
    let created_at: Timestamp = "2026-02-14T08:00:00Z".parse().unwrap();
    let id = TransactionId::derive(created_at, configuration, &order, TransactionKind::Sale);
    serde_json::from_value(serde_json::json!({
        "id": id, "provider": "square", "configuration_id": configuration, "kind": "sale", "status": "completed",
        "external_order_id": order, "source_version": version, "location_id": "L1", "created_at": created_at,
        "occurred_at": created_at, "business_date": DATES[date], "currency": "USD", "line_items": [],
        "amounts": {
            "gross_minor": total, "discount_minor": 0, "tax_minor": 0, "tax_included_minor": 0,
            "service_charge_minor": 0, "tip_minor": 0, "rounding_minor": 0, "total_minor": total,
        },
    }))
    .unwrap()
}

/// Whatever is written, and wherever it moves: at each moment the days are believed to be what was stored then.
#[test]
fn what_was_believed_is_what_was_stored_at_that_moment() {
    let written = proptest::collection::vec((0_u8..3, 0..DATES.len(), 1_i64..4), 1..10);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(written in written)| {
        runtime.block_on(async {
            let (table, days, id) = (transactions(), table(), ConfigurationId::generate());
            let (scope, cause) = (scope("t_days"), EventId::new("event").unwrap());
            // What the table has after each write, by day: the naive way, the whole of it each time.
            let mut moments: Vec<(Timestamp, Vec<Vec<i64>>)> = vec![(Timestamp::now(), vec![Vec::new(); DATES.len()])];
            let mut known = std::collections::BTreeMap::<u8, (usize, i64)>::new();
            for (version, (order, date, total)) in (1_i64..).zip(&written) {
                let transaction = copy(id, (*order, version, *date, *total));
                let key = TransactionKey { scope: scope.clone(), configuration_id: id, transaction_id: transaction.id };
                let stored = table.find(&key).await.unwrap();
                let candidate = Candidate { transaction, observed_at: Some(Timestamp::now()), cause: &cause };
                table.put_if_newer(stored, &scope, candidate, SignedDuration::from_secs(60)).await.unwrap();
                known.insert(*order, (*date, *total));
                let of_day = |wanted: usize| {
                    let of_day = known.values().filter(|(date, _)| *date == wanted);
                    let mut totals: Vec<i64> = of_day.map(|(_, total)| *total).collect();
                    totals.sort_unstable();
                    totals
                };
                moments.push((Timestamp::now(), (0..DATES.len()).map(of_day).collect()));
            }
            for (at, expected) in &moments {
                for (date, expected) in DATES.iter().zip(expected) {
                    let date: Date = date.parse().unwrap();
                    let key = DayKey { date, ..day(id, DATES[0]) };
                    let believed = table.believed(&days, &key, *at).await.unwrap();
                    let mut totals: Vec<i64> = believed.iter().map(|it| it.amounts.total.0).collect();
                    totals.sort_unstable();
                    prop_assert_eq!(&totals, expected, "{} at {} of {:?}", date, at, &written);
                }
            }
            Ok(())
        })?;
    });
}
