use std::collections::BTreeMap;

use sandbox::{EntryKind, EntryState, LedgerEntry, RefundKind, SaleKind, Sandbox, SandboxOptions};
use serde_json::Value;

use crate::{Client, PATIENCE, quick, standing};

fn minor(object: &Value, key: &str) -> i64 {
    object[key]["amount"].as_i64().unwrap_or_else(|| panic!("no {key} in {object}"))
}

fn sum(list: &Value, key: &str) -> i64 {
    list.as_array().map_or(0, |items| items.iter().map(|item| minor(item, key)).sum())
}

/// Square's own identities, read from its JSON alone.
fn check_sale(order: &Value) {
    let lines = &order["line_items"];
    for line in lines.as_array().unwrap() {
        let total = minor(line, "gross_sales_money") - minor(line, "total_discount_money")
            + minor(line, "total_tax_money")
            + minor(line, "total_service_charge_money");
        assert_eq!(minor(line, "total_money"), total, "{line}");
        let extras = sum(&line["modifiers"], "total_price_money");
        assert_eq!(minor(line, "gross_sales_money"), minor(line, "variation_total_price_money") + extras);
    }
    let gross = sum(lines, "gross_sales_money");
    let total = gross - minor(order, "total_discount_money")
        + minor(order, "total_tax_money")
        + minor(order, "total_service_charge_money")
        + minor(order, "total_tip_money");
    assert_eq!(minor(order, "total_money"), total, "{order}");
    assert_eq!(sum(&order["discounts"], "applied_money"), minor(order, "total_discount_money"));
    assert_eq!(sum(&order["taxes"], "applied_money"), minor(order, "total_tax_money"));
    assert_eq!(sum(&order["service_charges"], "applied_money"), minor(order, "total_service_charge_money"));
    if order["state"] == "COMPLETED" {
        assert_eq!(sum(&order["tenders"], "amount_money"), total);
    } else {
        assert!(order.get("tenders").is_none());
    }
}

fn check_against_ledger(order: &Value, entry: &LedgerEntry) {
    let state = match entry.state {
        EntryState::Open => "OPEN",
        EntryState::Completed => "COMPLETED",
        EntryState::Canceled => "CANCELED",
    };
    assert_eq!(order["state"], state);
    assert_eq!(order["location_id"], entry.location_id.as_str());
    assert_eq!(order["closed_at"].as_str(), entry.closed_at.as_deref());
    if entry.kind == EntryKind::Refund {
        let amounts = &order["return_amounts"];
        assert_eq!(minor(amounts, "total_money"), entry.total_minor);
        assert_eq!(minor(amounts, "tax_money"), entry.tax_minor);
        assert_eq!(sum(&order["refunds"], "amount_money"), entry.total_minor);
        assert_eq!(minor(order, "total_money"), 0);
        assert_eq!(order["returns"][0]["source_order_id"].as_str(), entry.source_order_id.as_deref());
    } else {
        check_sale(order);
        assert_eq!(minor(order, "total_money"), entry.total_minor);
        assert_eq!(minor(order, "total_tip_money"), entry.tip_minor);
        let quantities: Vec<&str> =
            order["line_items"].as_array().unwrap().iter().map(|line| line["quantity"].as_str().unwrap()).collect();
        let sold: Vec<&str> = entry.lines.iter().map(|line| line.quantity.as_str()).collect();
        assert_eq!(quantities, sold);
    }
}

#[tokio::test]
async fn the_api_shows_exactly_what_the_ledger_says() {
    let sandbox = Sandbox::start(SandboxOptions { shops: 5, ..quick() }).unwrap();
    sandbox.play(300);
    sandbox.wait_until_quiet(PATIENCE).await.unwrap();
    let orders = Client::of(&sandbox).all_orders(&sandbox, 100).await;
    let by_id: BTreeMap<&str, &Value> = orders.iter().map(|order| (order["id"].as_str().unwrap(), order)).collect();
    let ledger = sandbox.ledger();
    assert_eq!(by_id.len(), ledger.len());
    for entry in &ledger {
        check_against_ledger(by_id[entry.order_id.as_str()], entry);
    }
    for kind in [EntryKind::Sale, EntryKind::Refund, EntryKind::Canceled] {
        assert!(ledger.iter().any(|entry| entry.kind == kind), "no {kind:?} in a morning");
    }
}

#[tokio::test]
async fn the_same_seed_is_the_same_day_to_the_byte() {
    let mut days = Vec::new();
    for seed in [7, 7, 8] {
        let sandbox = Sandbox::start(SandboxOptions { seed, ..standing() }).unwrap();
        sandbox.grant(None, &[]).unwrap();
        sandbox.play(60);
        sandbox.wait_until_quiet(PATIENCE).await.unwrap();
        let sale = sandbox.ring_up(SaleKind::Everything).unwrap();
        sandbox.wait_until_quiet(PATIENCE).await.unwrap();
        sandbox.refund(&sale.order_id, RefundKind::Line).unwrap();
        sandbox.wait_until_quiet(PATIENCE).await.unwrap();
        days.push((sandbox.ledger(), sandbox.events()));
    }
    assert_eq!(days[0], days[1]);
    assert_ne!(days[0].0, days[2].0);
}

#[tokio::test]
async fn a_seed_plans_the_same_deliveries_whatever_the_receiver_does() {
    let mut logs = Vec::new();
    for first in [&[][..], &[500, 500, 500]] {
        let sandbox =
            Sandbox::start(SandboxOptions { duplicates_percent: 30, loss_percent: 10, ..standing() }).unwrap();
        let (_receiver, url) = crate::receiver::Receiver::answering(first).await;
        sandbox.subscribe(&url);
        sandbox.grant(None, &[]).unwrap();
        sandbox.play(20);
        sandbox.wait_until_quiet(PATIENCE).await.unwrap();
        let log = sandbox.deliveries().into_iter();
        logs.push(log.map(|delivery| (delivery.event_id, delivery.duplicate, delivery.state)).collect::<Vec<_>>());
    }
    assert_eq!(logs[0], logs[1]);
}

#[tokio::test]
async fn every_kind_of_sale_can_be_rung_up_and_is_what_it_says() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let client = Client::of(&sandbox);
    use SaleKind::*;
    for kind in [
        Simple,
        Cash,
        SplitTender,
        Tip,
        Modifiers,
        Weighted,
        CustomAmount,
        GiftCard,
        LineDiscount,
        OrderDiscount,
        ServiceCharge,
        Api,
        Canceled,
        Offline,
        FullRefund,
        PartialRefund,
        AmountRefund,
        Everything,
        LateTip,
        Edited,
        LateRefund,
    ] {
        let sale = sandbox.ring_up(kind).unwrap();
        sandbox.wait_until_quiet(PATIENCE).await.unwrap();
        let (_, answer) = client.get(&format!("/v2/orders/{}", sale.order_id)).await;
        let order = &answer["order"];
        check_sale(order);
        let shows = match kind {
            Simple => order["line_items"].as_array().unwrap().len() == 1,
            Cash => order["tenders"][0]["cash_details"]["change_back_money"]["amount"].is_i64(),
            SplitTender => order["tenders"].as_array().unwrap().len() == 2,
            Tip => minor(order, "total_tip_money") > 0,
            Modifiers => order["line_items"][0]["modifiers"].is_array(),
            Weighted => order["line_items"][0]["quantity"].as_str().unwrap().contains('.'),
            CustomAmount => order["line_items"][1]["item_type"] == "CUSTOM_AMOUNT",
            GiftCard => order["line_items"][1]["item_type"] == "GIFT_CARD",
            LineDiscount => order["discounts"][0]["scope"] == "LINE_ITEM",
            OrderDiscount => order["discounts"][0]["scope"] == "ORDER",
            ServiceCharge => order["service_charges"].as_array().unwrap().len() == 2,
            Api => order["version"].is_u64(),
            Canceled => order["state"] == "CANCELED",
            Offline => order["created_at"].as_str() < order["closed_at"].as_str(),
            FullRefund | PartialRefund | AmountRefund | LateRefund => sale.refund_order_id.is_some(),
            LateTip => minor(&order["tenders"][0], "tip_money") > 0,
            Edited => order["ticket_name"].as_str().unwrap().contains("corrected"),
            Everything => order["line_items"].as_array().unwrap().len() == 6,
            TwoBills | Emptied | Waste | TestMode | Tie | Recalled | Split | Transferred | Overnight => {
                panic!("{kind:?} is nothing of Square's")
            }
        };
        assert!(shows, "{kind:?}: {order}");
    }
}

#[tokio::test]
async fn money_goes_back_once_and_only_as_far_as_there_is_any() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let client = Client::of(&sandbox);
    let sale = sandbox.ring_up(SaleKind::SplitTender).unwrap();
    let back = sandbox.refund(&sale.order_id, RefundKind::Full).unwrap();
    assert_eq!(back.total_minor, sale.total_minor);
    sandbox.wait_until_quiet(PATIENCE).await.unwrap();
    for kind in [RefundKind::Full, RefundKind::Line, RefundKind::Amount] {
        assert!(sandbox.refund(&sale.order_id, kind).is_err(), "{kind:?} of nothing");
    }
    assert!(sandbox.refund("unknown", RefundKind::Full).is_err());
    let entry = sandbox.ledger().into_iter().find(|entry| entry.order_id == sale.order_id).unwrap();
    for payment in entry.payments {
        let (_, answer) = client.get(&format!("/v2/payments/{}", payment.id)).await;
        assert_eq!(answer["payment"]["status"], "COMPLETED");
        assert_eq!(minor(&answer["payment"], "refunded_money"), payment.amount_minor);
        let refund_id = answer["payment"]["refund_ids"][0].as_str().unwrap();
        let (_, refund) = client.get(&format!("/v2/refunds/{refund_id}")).await;
        assert_eq!(refund["refund"]["order_id"], back.order_id.as_str());
    }
}
