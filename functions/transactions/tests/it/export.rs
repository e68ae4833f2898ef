//! Tables and lines: thousands of transactions, part by part, to the cent.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::domain::Transaction;

use crate::books::{cause, fill, transaction};
use crate::desk::Desk;

const CSV: &str = "text/csv";
const LINES: &str = "application/x-ndjson";

/// Follows the links of a listing and appends its parts, as a client does. Also how many there were.
async fn follow(desk: &Desk, query: &str, accept: &str) -> (String, usize) {
    let (mut whole, mut parts, mut next) = (String::new(), 0, Some(query.to_owned()));
    while let Some(query) = next {
        let answer = desk.get_as(&format!("/transactions{query}"), accept).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.header("content-type").starts_with(accept), "{:?}", answer.headers);
        // As it stands in Lambda's answer.
        assert!(json!(answer.text).to_string().len() < 6_000_000);
        next = answer.next().map(str::to_owned);
        whole.push_str(&answer.text);
        parts += 1;
    }
    (whole, parts)
}

/// What a table says, line by line.
fn rows(table: &str) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_reader(table.as_bytes()).deserialize().collect::<Result<_, _>>().unwrap()
}

/// Transactions and cents, by day, shop and kind.
type Books = BTreeMap<[String; 3], (u64, i64, i64)>;

fn books(entries: impl Iterator<Item = ([String; 3], i64, i64)>) -> Books {
    let mut books = Books::new();
    for (key, total, rounding) in entries {
        let of_key = books.entry(key).or_default();
        *of_key = (of_key.0 + 1, of_key.1 + total, of_key.2 + rounding);
    }
    books
}

fn sold(all: &[Transaction]) -> Books {
    books(all.iter().map(|it| {
        let kind = it.kind.as_str().to_owned();
        let key = [it.business_date.to_string(), it.location_id.to_string(), kind];
        (key, it.amounts.total.0, it.amounts.rounding.0)
    }))
}

#[tokio::test]
async fn thousands_are_exported_to_the_cent_as_a_table_and_as_lines() {
    let desk = Desk::open().await;
    let all = fill(&desk, 2_500).await;

    let (table, parts) = follow(&desk, "", CSV).await;
    assert_eq!((parts, table.matches("total_minor").count()), (3, 1), "one line with names");
    let rows = rows(&table);
    let number = |row: &BTreeMap<String, String>, name: &str| row[name].parse::<i64>().unwrap();
    let of_row = |row: &BTreeMap<String, String>| {
        let key = ["business_date", "location_id", "kind"].map(|name| row[name].clone());
        (key, number(row, "total_minor"), number(row, "rounding_minor"))
    };
    assert_eq!(books(rows.iter().map(of_row)), sold(&all));
    // The newest first; what a stranger has written is no formula, and stays one cell whatever is in it.
    for (row, it) in rows.iter().zip(all.iter().rev()) {
        assert_eq!((&row["id"], &row["line_items"]), (&it.id.to_string(), &"1".to_owned()));
        assert_eq!(row["channel"], format!("'{}", it.channel.as_ref().unwrap()));
        assert_eq!(row["external_order_id"], format!("'{}", it.external_order_id));
        assert_eq!(row["sales_state"], "waiting");
    }

    let (lines, parts) = follow(&desk, "?limit=700", LINES).await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((parts, lines.len()), (4, 2_500));
    for (line, it) in lines.iter().zip(all.iter().rev()) {
        let whole: Transaction = serde_json::from_value(line.clone()).unwrap();
        assert_eq!((&whole, &line["history"][0]["cause"]), (it, &json!("event-1")));
    }

    // A filter is part of each link.
    let (table, parts) = follow(&desk, "?from_date=2026-02-10&to_date=2026-03-31&limit=500&kind=refund", CSV).await;
    let wanted = |it: &&Transaction| {
        let date = it.business_date.to_string();
        ("2026-02-10"..="2026-03-31").contains(&date.as_str()) && it.kind.as_str() == "refund"
    };
    let wanted: Vec<Transaction> = all.iter().filter(wanted).cloned().collect();
    println!("{} of a range in {parts} parts", wanted.len());
    assert_eq!(books(self::rows(&table).iter().map(of_row)), sold(&wanted));

    // Another connection's, or another tenant's, is none of it.
    let stranger = Desk::open().await;
    assert_eq!(rows_of_nobody(&stranger).await, 0);
}

async fn rows_of_nobody(desk: &Desk) -> usize {
    let (table, _) = follow(desk, "", CSV).await;
    assert!(table.starts_with("id,configuration_id,"), "{table}");
    rows(&table).len()
}

#[tokio::test]
async fn a_part_ends_before_it_is_larger_than_an_answer_can_be() {
    let desk = Desk::open().await;
    let mut all = Vec::new();
    for number in 0..60 {
        let mut large = transaction(desk.id, number);
        let mut line = large.line_items[0].clone();
        line.name = "\"Roll\" ".repeat(2_000);
        large.line_items = vec![line; 10];
        desk.put(&large, &cause()).await;
        all.push(large);
    }
    let (lines, parts) = follow(&desk, "", LINES).await;
    let found: Vec<String> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].to_string()).collect();
    let expected: Vec<String> = all.iter().rev().map(|it| json!(it.id).to_string()).collect();
    assert_eq!(found, expected);
    println!("{} bytes in {parts} parts", lines.len());
    assert!(parts > 2);
    // So does a page.
    let page = desk.get("/transactions?limit=60").await.json();
    assert!(page["items"].as_array().unwrap().len() < 60 && page["next_cursor"].is_string());
}
