//! Every filter finds what it says, in a bounded number of reads, and pages hold while things change.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};
use shared::domain::{ConfigurationId, Minor, TransactionKind, TransactionStatus};
use shared::store::transactions::{Rejected, RejectedBy, SalesState, Stored};

use crate::books::{cause, fill, opened, transaction};
use crate::desk::Desk;

const TABLE: &str = "TRANSACTIONS_TABLE";

fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// Sixty transactions of three days, about which the sales domain has said this and that.
async fn answered(desk: &Desk) -> Vec<Stored> {
    let mut all = Vec::new();
    for (number, it) in (0_i64..).zip(fill(desk, 60).await) {
        let key = desk.key(&it);
        match number % 6 {
            0 | 1 => drop(desk.table.accept(&key, 1, "S-1").await.unwrap()),
            2 => {
                let why = Rejected { code: "no_shop".into(), reason: "unknown".into(), at: Timestamp::now() };
                desk.table.reject(&key, 1, RejectedBy { why: &why, reply_id: None }).await.unwrap();
            }
            3 => desk.table.settle_sent(&desk.table.find(&key).await.unwrap().unwrap()).await.unwrap(),
            4 => {
                let sent = desk.table.find(&key).await.unwrap().unwrap();
                desk.table.postpone(&sent, 5, Timestamp::now() + jiff::SignedDuration::from_hours(1)).await.unwrap();
            }
            _ => {}
        }
        all.push(desk.table.find(&key).await.unwrap().unwrap());
    }
    all
}

#[tokio::test]
async fn every_filter_finds_what_it_says_and_reads_one_range() {
    type Wanted = fn(&Stored) -> bool;
    let desk = Desk::open().await;
    let all = answered(&desk).await;
    let states =
        [SalesState::Waiting, SalesState::Overdue, SalesState::Accepted, SalesState::Rejected, SalesState::Sent];
    assert!(states.iter().all(|state| all.iter().any(|it| it.sales_state() == *state)));
    let (from, to) = (opened(20), opened(40));
    let times = format!("from={from}&to={to}");
    let time_and = |more: &str| format!("{times}&{more}");
    let range = [1, 0, 0];
    // An index is read for its keys, and then what is wanted of it.
    let index = [1, 1, 0];
    let cases: Vec<(String, Wanted, [usize; 3])> = vec![
        (String::new(), |_| true, range),
        ("provider=square".into(), |_| true, range),
        ("provider=toast".into(), |_| false, [0, 0, 0]),
        ("business_date=2026-02-02".into(), |it| it.transaction.business_date.day() == 2, index),
        (
            "from_date=2026-02-02&to_date=2026-02-03".into(),
            |it| (2..=3).contains(&it.transaction.business_date.day()),
            index,
        ),
        ("from_date=2026-02-03".into(), |it| it.transaction.business_date.day() >= 3, index),
        ("to_date=2026-02-01".into(), |it| it.transaction.business_date.day() == 1, index),
        ("location_id=L1".into(), |it| it.transaction.location_id.as_str() == "L1", index),
        ("location_id=L9".into(), |_| false, [1, 0, 0]),
        (
            "business_date=2026-02-02&location_id=L2".into(),
            |it| it.transaction.business_date.day() == 2 && it.transaction.location_id.as_str() == "L2",
            index,
        ),
        (
            "from_date=2026-02-02&location_id=L2&kind=refund".into(),
            |it| {
                let it = &it.transaction;
                it.business_date.day() >= 2 && it.location_id.as_str() == "L2" && it.kind == TransactionKind::Refund
            },
            index,
        ),
        (times.clone(), |it| (opened(20)..=opened(40)).contains(&it.transaction.created_at), range),
        (format!("from={to}"), |it| it.transaction.created_at >= opened(40), range),
        (
            time_and("location_id=L1"),
            |it| {
                (opened(20)..=opened(40)).contains(&it.transaction.created_at)
                    && it.transaction.location_id.as_str() == "L1"
            },
            range,
        ),
        (
            time_and("business_date=2026-02-02&location_id=L1"),
            |it| {
                let it = &it.transaction;
                it.created_at >= opened(20) && it.business_date.day() == 2 && it.location_id.as_str() == "L1"
            },
            index,
        ),
        ("kind=refund".into(), |it| it.transaction.kind == TransactionKind::Refund, range),
        ("status=voided".into(), |it| it.transaction.status == TransactionStatus::Voided, range),
        ("sales=waiting".into(), |it| it.sales_state() == SalesState::Waiting, range),
        ("sales=accepted".into(), |it| it.sales_state() == SalesState::Accepted, range),
        ("sales=sent".into(), |it| it.sales_state() == SalesState::Sent, range),
        ("sales=rejected".into(), |it| it.sales_state() == SalesState::Rejected, index),
        ("sales=overdue".into(), |it| it.sales_state() == SalesState::Overdue, index),
        (
            "sales=rejected&location_id=L1&business_date=2026-02-02".into(),
            |it| it.sales_state() == SalesState::Rejected && it.transaction.business_date.day() == 2,
            index,
        ),
        (
            time_and("sales=overdue"),
            |it| {
                it.sales_state() == SalesState::Overdue
                    && (opened(20)..=opened(40)).contains(&it.transaction.created_at)
            },
            index,
        ),
        ("flagged=true".into(), |it| !it.transaction.discrepancies.is_empty(), index),
        ("flagged=false".into(), |it| it.transaction.discrepancies.is_empty(), range),
        (
            "flagged=true&sales=overdue".into(),
            |it| !it.transaction.discrepancies.is_empty() && it.sales_state() == SalesState::Overdue,
            index,
        ),
        ("order_id==ORDER-7".into(), |it| it.transaction.external_order_id.as_str() == "=ORDER-7", index),
    ];
    for (query, wanted, reads) in cases {
        desk.proxy.reset();
        let page = desk.get(&format!("/transactions?limit=100&{query}")).await.json();
        assert_eq!(desk.reads(TABLE), reads, "{query}");
        let mut found = ids(&page);
        let mut expected: Vec<_> = all.iter().filter(|it| wanted(it)).map(|it| it.transaction.id.to_string()).collect();
        if reads == range && !query.contains("order_id") {
            expected.reverse();
        } else {
            found.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(found, expected, "{query}");
        assert_eq!(page["next_cursor"], Value::Null, "{query}");
        // The connection itself is asked for by its key, and nothing else changes.
        let narrowed = desk.get(&format!("/transactions?limit=100&{query}&configuration_id={}", desk.id)).await;
        if query != "provider=toast" {
            assert_eq!(narrowed.json()["items"], page["items"], "{query}");
        }
    }
}

#[tokio::test]
async fn filters_that_contradict_each_other_are_refused() {
    let desk = Desk::open().await;
    for (query, places) in [
        ("business_date=2026-02-02&from_date=2026-02-01", &["business_date"][..]),
        ("from_date=2026-02-03&to_date=2026-02-02", &["to_date"]),
        ("from=2026-02-03T00:00:00Z&to=2026-02-02T00:00:00Z", &["to"]),
        ("order_id=O&sales=rejected", &["order_id"]),
        ("order_id=O&location_id=L1", &["order_id"]),
        ("kind=tip&status=paid&sales=lost&flagged=maybe&limit=1001", &["flagged", "kind", "limit", "sales", "status"]),
        ("provider=clover&location_id=", &["location_id", "provider"]),
        ("business_day=2026-02-02", &["business_day"]),
        (&format!("provider=toast&configuration_id={}", desk.id), &["provider"]),
    ] {
        assert_eq!(desk.get(&format!("/transactions?{query}")).await.refused(), places, "{query}");
    }
    let other = ConfigurationId::generate();
    assert_eq!(desk.get(&format!("/transactions?configuration_id={other}")).await.status, 404);
}

#[tokio::test]
async fn what_has_no_index_is_picked_from_a_bounded_number_of_entries() {
    let desk = Desk::open().await;
    fill(&desk, 1_300).await;
    // Nothing of that: a thousand are looked at, the page is empty, and the next one looks at the rest.
    for (query, most) in [("location_id=L9&from=2020-01-01T00:00:00Z", 4), ("location_id=L9", 2), ("status=open", 4)] {
        desk.proxy.reset();
        let page = desk.get(&format!("/transactions?{query}")).await.json();
        let [queries, batches, others] = desk.reads(TABLE);
        println!("{query}: {queries} queries");
        assert!(queries <= most && (batches, others) == (0, 0) && ids(&page).is_empty(), "{query}: {queries} queries");
        let cursor = page["next_cursor"].as_str().unwrap();
        let last = desk.get(&format!("/transactions?{query}&cursor={cursor}")).await.json();
        assert_eq!((ids(&last).len(), &last["next_cursor"]), (0, &Value::Null), "{query}");
    }
}

#[tokio::test]
async fn pages_hold_while_new_ones_come_and_old_ones_change() {
    for query in ["", "from_date=2026-02-01", "location_id=L1", "flagged=true", "kind=sale"] {
        let desk = Desk::open().await;
        let before = fill(&desk, 60).await;
        let wanted = desk.get(&format!("/transactions?limit=1000&{query}")).await.json();
        let wanted: BTreeSet<String> = ids(&wanted).into_iter().collect();
        let (mut seen, mut cursor, mut turn) = (BTreeMap::<String, u32>::new(), String::new(), 0_i64);
        loop {
            let page = desk.get(&format!("/transactions?limit=4&{query}{cursor}")).await.json();
            ids(&page).into_iter().for_each(|id| *seen.entry(id).or_default() += 1);
            // One that is newer than all, one that a till sends late, and all that are known change.
            desk.put(&transaction(desk.id, 1_000 + turn), &cause()).await;
            desk.put(&transaction(desk.id, -1 - turn), &cause()).await;
            for known in before.iter().step_by(7) {
                let mut changed = known.clone();
                changed.source_version.0 += 1 + turn;
                changed.amounts.tip = Minor(turn + 1);
                desk.put(&changed, &cause()).await;
            }
            turn += 1;
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert!(turn > 1, "{query}");
        assert!(seen.values().all(|times| *times == 1), "{query}: {seen:?}");
        let seen: BTreeSet<String> = seen.into_keys().collect();
        assert!(wanted.is_subset(&seen), "{query}: {:?}", wanted.difference(&seen));
    }
}

#[tokio::test]
async fn a_cursor_serves_its_own_listing_and_pages_go_through_all_connections() {
    let desk = Desk::open().await;
    fill(&desk, 3).await;
    let second = ConfigurationId::generate();
    desk.connect(second).await;
    for number in 0..3 {
        desk.put(&transaction(second, number), &cause()).await;
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = desk.get(&format!("/transactions?limit=2{cursor}")).await.json();
        found.extend(page["items"].as_array().unwrap().iter().map(|it| it["configuration_id"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let expected = [desk.id, desk.id, desk.id, second, second, second].map(|id| json!(id));
    assert_eq!(found, expected);
    assert_eq!(desk.get(&format!("/transactions?limit=2&kind=sale{cursor}")).await.refused(), ["cursor"]);
    let stranger = Desk::open().await;
    assert_eq!(stranger.get(&format!("/transactions?limit=2{cursor}")).await.refused(), ["cursor"]);
    assert_eq!(ids(&stranger.get("/transactions").await.json()), Vec::<String>::new());
}
