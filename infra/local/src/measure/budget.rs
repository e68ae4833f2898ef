//! What may be asked of AWS for each thing that we do, and what that is in dollars: `make cost`.
//!
//! Counted at the endpoint, on the local stack, and compared with `infra/local/budget.json`: a call more for each sale is a
//! decision, and must not come with a refactoring. Prices are in `infra/local/prices.json`.

use std::collections::BTreeMap;

use anyhow::Context as _;
use local::{api::answer_of, workspace};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{Screen, costs, sale};

/// Sales of the morning, and orders of the past.
const SALES: usize = 40;
const ORDERS: usize = 300;
/// Each request of the API is made so often.
const ASKED: u32 = 20;
/// A tick of a schedule, or a call that is made once for many, may fall into the count.
const SLACK: f64 = 1.15;
const GRAIN: f64 = 0.1;
/// Keys and secrets are asked for once in the life of an execution environment, and how many of those begin is up to how fast
/// the machine is. One call more for each delivery is still above it.
const SLACK_OF_ENVIRONMENTS: f64 = 3.0;

/// By what we do, and by the kind of request, how many for each.
type Found = BTreeMap<String, BTreeMap<String, f64>>;

/// Prints counts and dollars. `false`: something is above the budget. `accepts`: what was found is the new budget.
pub async fn run(accepts: bool, screen: &mut Screen) -> anyhow::Result<bool> {
    let found = count(screen).await?;
    let prices: BTreeMap<String, f64> = read("prices.json")?;
    for (thing, requests) in &found {
        let mut dollars = 0.0;
        screen.line(&format!("\n{thing:<44}{:>10}{:>16}", "for each", "$ a million"));
        for (request, count) in requests {
            let price = prices.get(request).with_context(|| format!("{request} has no price"))?;
            dollars += price * count;
            screen.line(&format!("  {request:<42}{count:>10.2}{:>16.2}", price * count));
        }
        screen.line(&format!("  {:<42}{:>10}{dollars:>16.2}", "together", ""));
    }
    if accepts {
        let text = serde_json::to_string_pretty(&found)? + "\n";
        std::fs::write(workspace().join("infra/local/budget.json"), text).context("failed to write the budget")?;
        return Ok(true);
    }
    let broken = broken(&read("budget.json")?, &found);
    for line in &broken {
        screen.line(&format!("ABOVE THE BUDGET: {line}"));
    }
    Ok(broken.is_empty())
}

fn read<T: serde::de::DeserializeOwned>(name: &str) -> anyhow::Result<T> {
    let text =
        std::fs::read(workspace().join("infra/local").join(name)).with_context(|| format!("failed to read {name}"))?;
    serde_json::from_slice(&text).with_context(|| format!("failed to understand {name}"))
}

fn broken(budget: &Found, found: &Found) -> Vec<String> {
    let mut broken = Vec::new();
    for (thing, requests) in found {
        for (request, count) in requests {
            let allowed = budget.get(thing).and_then(|requests| requests.get(request)).copied().unwrap_or_default();
            let slack = match request.as_str() {
                "KMS request" | "Secrets Manager request" => SLACK_OF_ENVIRONMENTS,
                _ => SLACK,
            };
            if *count > allowed * slack + GRAIN {
                broken.push(format!("{thing}: {request} {count:.2}, budget {allowed:.2}"));
            }
        }
    }
    broken
}

async fn count(screen: &mut Screen) -> anyhow::Result<Found> {
    let mut found = Found::new();
    let morning = sale::Morning::play(SALES, screen).await?;
    let each = |count: u32, of: u32| f64::from(count) / f64::from(of);
    let requests = found.entry("a sale, from its webhooks to its acceptance".to_owned()).or_default();
    for (call, count) in &morning.calls {
        let (count, units) = (each(*count, morning.accepted), morning.units(call).await?);
        add(requests, &call.0, count);
        *requests.entry("DynamoDB write unit after the first".to_owned()).or_default() +=
            count * (units - 1.0).max(0.0);
    }
    requests.insert("API request".to_owned(), each(morning.delivered, morning.accepted));
    let taken = morning.calls.iter().filter(|((name, place), _)| name == "sqs:SendMessage" && place == "IntakeQueue");
    let taken = each(taken.map(|(_, count)| count).sum(), morning.delivered);
    let delivery = BTreeMap::from([("SQS request".to_owned(), taken), ("API request".to_owned(), 1.0)]);
    found.insert("a delivery, until it is answered".to_owned(), delivery);

    let (api, stack) = (morning.town.bakery.api()?, &morning.town.bakery.stack);
    let list = format!("/transactions?configuration_id={}", morning.town.bakery.configuration_id);
    let page: Value = answer_of(api.request(Method::GET, &list), StatusCode::OK, "list transactions").await?;
    let id = page.pointer("/items/0/id").and_then(Value::as_str).context("there are no transactions")?;
    for (thing, path) in [("a page of transactions", list.clone()), ("one transaction", format!("/transactions/{id}"))]
    {
        morning.proxy.reset();
        for _ in 0..ASKED {
            let _: Value = answer_of(api.request(Method::GET, &path), StatusCode::OK, thing).await?;
        }
        let requests = found.entry(format!("{thing}, by the API")).or_default();
        for ((name, _), count) in sale::counted(&morning.proxy, stack) {
            add(requests, &name, each(count, ASKED));
        }
        requests.insert("API request".to_owned(), 1.0);
    }
    drop(morning);

    let [new, again] = costs::count(ORDERS, screen).await?.for_each_order();
    for (thing, calls) in [("an order of the past", new), ("an order that has not changed", again)] {
        let requests = found.entry(thing.to_owned()).or_default();
        for (name, count) in calls {
            add(requests, &name, count);
        }
    }
    Ok(found)
}

/// As AWS bills it. What it does not bill, or not by requests, is left out.
fn add(requests: &mut BTreeMap<String, f64>, name: &str, count: f64) {
    let (service, operation) = name.split_once(':').unwrap_or((name, ""));
    let kind = match (service, operation) {
        ("dynamodb", "GetItem" | "BatchGetItem" | "Query" | "Scan") => "DynamoDB read request",
        ("dynamodb", _) => "DynamoDB write request",
        ("sqs", _) => "SQS request",
        ("kms", _) => "KMS request",
        ("secretsmanager", _) => "Secrets Manager request",
        _ => return,
    };
    *requests.entry(kind.to_owned()).or_default() += count;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A price file that forgets something would make it free.
    #[test]
    fn everything_in_the_budget_has_a_price() {
        let (budget, prices): (Found, BTreeMap<String, f64>) =
            (read("budget.json").unwrap(), read("prices.json").unwrap());
        assert!(budget.len() >= 6);
        for request in budget.values().flat_map(BTreeMap::keys) {
            assert!(prices.contains_key(request), "{request}");
        }
    }

    #[test]
    fn what_is_asked_more_often_is_named() {
        let of =
            |request: &str, count| Found::from([("a sale".to_owned(), BTreeMap::from([(request.to_owned(), count)]))]);
        let sqs = |count| of("SQS request", count);
        assert!(broken(&sqs(4.0), &sqs(4.6)).is_empty());
        assert_eq!(broken(&sqs(4.0), &sqs(5.0)), ["a sale: SQS request 5.00, budget 4.00"]);
        assert_eq!(broken(&Found::new(), &sqs(1.0)).len(), 1);
        let kms = |count| of("KMS request", count);
        assert!(broken(&kms(0.5), &kms(0.9)).is_empty());
        assert_eq!(broken(&kms(0.5), &kms(1.7)).len(), 1);
    }
}
