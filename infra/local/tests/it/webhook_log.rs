//! What has come by webhook, as its tenant sees it: listed, shown step by step, and worked on once more.

use local::{Fault, TENANT, api::Api};
use reqwest::Method;
use sandbox::{Failure, Faults, SaleKind};
use serde_json::{Value, json};

use crate::doorbell::large_event;
use crate::town::{Answer, Doorbell, Item, RoughTown, Tables, event, eventually, owner, rough_town, text};

/// The log of the bakery's own connection.
struct Log<'t> {
    town: &'t RoughTown,
    api: Api,
    path: String,
}

impl<'t> Log<'t> {
    fn of(town: &'t RoughTown) -> Self {
        let api = town.bakery.api().unwrap();
        Self { town, api, path: format!("/configurations/{}/webhooks", town.bakery.configuration_id) }
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::to(self.api.request(Method::GET, &format!("{}{path}", self.path))).await
    }

    async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = self.api.request(Method::POST, &format!("{}{path}", self.path));
        Answer::to(request.header("idempotency-key", key).json(body)).await
    }

    async fn delivery(&self, id: &str) -> Value {
        let answer = self.get(&format!("/{id}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Follows the `Location` of a replay until nothing more comes of it.
    async fn followed(&self, accepted: &Answer) -> Value {
        assert_eq!(accepted.status, 202, "{accepted:?}");
        let (_, path) = accepted.header("location").split_once(&format!("/tenants/{TENANT}/pos")).unwrap();
        eventually("a replay to be done", async || {
            let shown = Answer::to(self.api.request(Method::GET, path)).await.json();
            (shown["is_done"] == true).then_some(shown)
        })
        .await
    }

    /// All pages of a listing: the events, and how many pages.
    async fn list(&self, filter: &str) -> (Vec<Value>, usize) {
        let (mut items, mut pages, mut cursor) = (Vec::new(), 0, String::new());
        loop {
            let page = self.get(&format!("?{filter}{cursor}")).await;
            assert_eq!(page.status, 200, "{page:?}");
            let page = page.json();
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            pages += 1;
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return (items, pages),
            }
        }
    }

    /// How many rows of the audit log tell of replays, and of what begins like this.
    async fn decisions(&self, what: &str) -> usize {
        let rows = Tables::of(self.town.bakery).audit_rows(TENANT).await;
        let tells = |row: &&Item| row["fields"].as_l().unwrap().iter().any(|it| it.as_s().unwrap().starts_with(what));
        rows.iter().filter(|row| text(row, "action") == "webhooks.replayed").filter(tells).count()
    }

    /// Sales of which each one's first event ends as `failed(request_refused)`.
    async fn failed(&self, count: usize) -> Vec<(String, String)> {
        let (sandbox, tables) = (&self.town.bakery.sandbox, Tables::of(self.town.bakery));
        let failure = Failure { status: 400, times: 1000, path: Some("/v2/orders".into()), ..Failure::default() };
        sandbox.set_faults(Faults { failures: vec![failure], ..Faults::default() });
        let mut found = Vec::new();
        for _ in 0..count {
            let order = sandbox.ring_up(SaleKind::Cash).unwrap().order_id;
            let events = eventually("the sale's events", async || {
                let ids = sandbox.events().into_iter().filter(|event| event.order_id == order);
                let ids: Vec<String> = ids.map(|event| event.event_id).collect();
                (!ids.is_empty()).then_some(ids)
            });
            let id = events.await.remove(0);
            let row = tables.final_row(&owner(self.town.bakery), &id).await;
            assert_eq!((text(&row, "outcome"), text(&row, "code")), ("failed", "request_refused"));
            found.push((order, id));
        }
        sandbox.set_faults(Faults::default());
        found
    }
}

#[tokio::test]
async fn a_delivery_is_listed_and_shown_step_by_step_from_its_arrival_to_the_sales_domains_answer() {
    let town = &*rough_town().await;
    let log = Log::of(town);
    let order = town.bakery.sandbox.ring_up(SaleKind::Simple).unwrap().order_id;
    let stored = eventually("the sale to be accepted", async || {
        let page = Answer::to(log.api.request(Method::GET, &format!("/transactions?order_id={order}"))).await.json();
        let found = page["items"].as_array().unwrap().first().cloned()?;
        (found["sales"]["state"] == "accepted" && found["status"] == "completed").then_some(found)
    })
    .await;
    let cause = stored["history"].as_array().unwrap().last().unwrap()["cause"].as_str().unwrap().to_owned();
    let shown = eventually("the delivery", async || {
        let answer = log.get(&format!("/{cause}")).await;
        (answer.status == 200).then(|| answer.json())
    })
    .await;
    assert_eq!((&shown["outcome"], &shown["source"]), (&json!("done"), &json!("read")), "{shown}");
    assert_eq!((&shown["advice"], &shown["has_body"], &shown["replays"]), (&Value::Null, &json!(true), &json!([])));
    let steps = shown["timeline"].as_array().unwrap();
    assert!(steps[8]["at"].is_string(), "when the sales domain has accepted is kept: {shown}");
    let names: Vec<&str> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    let wanted =
        ["received", "verified", "queued", "picked_up", "fetched", "normalized", "stored", "handed_over", "answered"];
    assert_eq!(names, wanted);
    assert!(steps.iter().all(|step| step["is_taken"] == true), "{shown}");
    let times: Vec<jiff::Timestamp> = steps[..8].iter().map(|it| it["at"].as_str().unwrap().parse().unwrap()).collect();
    // A double of the delivery may have stored it while this one read.
    let [before @ .., stored_at, handed_over_at] = times.as_slice() else { panic!("{shown}") };
    assert!(before.is_sorted() && before[3] <= *stored_at && stored_at <= handed_over_at, "{shown}");
    let caused = &shown["transactions"][0];
    assert_eq!((&caused["transaction_id"], &caused["sales"]["state"]), (&stored["id"], &json!("accepted")), "{shown}");
    assert_eq!(&caused["caused"][0]["cause"], &json!(cause), "{shown}");

    // Found by its time and by its type; all of it together, in pages of one, and none of it twice.
    let at = shown["received_at"].as_str().unwrap();
    let (found, _) = log.list(&format!("from={at}&to={at}")).await;
    assert!(found.iter().any(|it| it["event_id"] == cause), "{found:?}");
    let event_type = shown["event_type"].as_str().unwrap();
    let (typed, _) = log.list(&format!("event_type={event_type}&to={at}&limit=1")).await;
    assert_eq!(typed[0]["event_id"], cause, "{typed:?}");
    assert!(typed.iter().all(|it| it["event_type"] == event_type));
    let (all, pages) = log.list(&format!("to={at}&limit=2")).await;
    let mut ids: Vec<&str> = all.iter().map(|it| it["event_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() == all.len() && pages > 1, "{all:?}");

    // A time that is none holds nothing.
    assert_eq!(log.list("from=2026-02-14T08:00:00Z&to=2026-02-14T07:00:00Z").await, (vec![], 1));

    // A filter with a mistake shows nothing, and one of another listing's cursors does not serve.
    let refused = log.get("?outcome=good&from=yesterday").await;
    refused.problem(422, "invalid_fields");
    assert_eq!(refused.pointers(), ["from", "outcome"]);
    let cursor = log.get(&format!("?to={at}&limit=1")).await.json()["next_cursor"].as_str().unwrap().to_owned();
    log.get(&format!("?outcome=done&limit=1&cursor={cursor}")).await.problem(422, "invalid_fields");
    log.get("/nothing").await.problem(404, "not_found");

    // What it said, for an administrator, who is written down.
    let body = log.get(&format!("/{cause}/body")).await;
    assert_eq!((body.status, body.header("cache-control")), (200, "no-store"));
    assert_eq!(body.json()["event_id"], cause);
    let rows = Tables::of(town.bakery).audit_rows(TENANT).await;
    let last = rows.last().unwrap();
    assert_eq!(text(last, "action"), "webhooks.body_read");
    assert_eq!(last["fields"].as_l().unwrap()[0].as_s().unwrap(), &format!("delivery/{cause}"));
    let writer = town.bakery.api_of(TENANT, &["pos:write"]).unwrap();
    let path = format!("{}/{cause}/body", log.path);
    Answer::to(writer.request(Method::GET, &path)).await.problem(403, "forbidden");

    // Another tenant's path leads nowhere.
    let stranger = town.bakery.api_of("stranger", &["pos:admin"]).unwrap();
    for path in ["", &format!("/{cause}")] {
        let request = stranger.request(Method::GET, &format!("{}{path}", log.path));
        Answer::to(request).await.problem(404, "not_found");
        let request = stranger.request(Method::POST, &format!("{}{path}/replay", log.path)).json(&json!({}));
        Answer::to(request).await.problem(404, "not_found");
    }
    let request = stranger.request(Method::GET, &format!("{}/{cause}/body", log.path));
    Answer::to(request).await.problem(404, "not_found");
}

#[tokio::test]
async fn failed_deliveries_are_counted_replayed_and_done() {
    let town = &*rough_town().await;
    let log = Log::of(town);
    let before = jiff::Timestamp::now();
    let failed = log.failed(3).await;
    let to = jiff::Timestamp::now();
    let (listed, _) = log.list(&format!("outcome=failed&code=request_refused&from={before}&to={to}")).await;
    let is_listed = |id: &String| listed.iter().any(|it| it["event_id"] == *id);
    assert!(failed.iter().all(|(_, id)| is_listed(id)), "{listed:?}");
    let (order, id) = &failed[0];
    let shown = log.delivery(id).await;
    assert!(shown["advice"].is_string() && shown["detail"].is_string(), "{shown}");

    // One, by itself. The same key: the same replay.
    let decisions = log.decisions("replay/").await;
    let one = format!("/{id}/replay");
    let accepted = log.post(&one, "one", &json!({})).await;
    let done = log.followed(&accepted).await;
    assert_eq!((&done["outcomes"], &done["deliveries"]), (&json!({ "done": 1 }), &json!(1)), "{done}");
    assert_eq!(log.post(&one, "one", &json!({})).await.json()["id"], done["id"]);
    log.post(&format!("/{}/replay", failed[1].1), "one", &json!({})).await.problem(422, "idempotency_key_reused");
    let shown = log.delivery(id).await;
    assert_eq!((&shown["outcome"], &shown["code"]), (&json!("done"), &Value::Null), "{shown}");
    assert_eq!((&shown["replays"][0]["outcome"], &shown["replays"][0]["replay_id"]), (&json!("done"), &done["id"]));
    let page = Answer::to(log.api.request(Method::GET, &format!("/transactions?order_id={order}"))).await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page}");

    // The others together, counted first.
    let mut window = json!({ "outcome": "failed", "code": "request_refused", "from": before, "to": to });
    let counted = log.post("/replay", "count", &window).await;
    assert_eq!(counted.status, 200, "{counted:?}");
    let matching = counted.json()["matching"].as_u64().unwrap();
    assert!(matching >= 2 && counted.json()["codes"]["request_refused"] == matching, "{counted:?}");
    window["expected"] = json!(matching + 1);
    log.post("/replay", "many", &window).await.problem(409, "conflict");
    window["expected"] = json!(matching);
    let accepted = log.post("/replay", "many", &window).await;
    let done = log.followed(&accepted).await;
    assert_eq!((&done["deliveries"], &done["outcomes"]["done"]), (&json!(matching), &json!(matching)), "{done}");
    // Whoever was cut off asks again, though nothing matches any more.
    let again = log.post("/replay", "many", &window).await;
    assert_eq!((again.status, &again.json()["id"]), (202, &done["id"]), "{again:?}");
    window.as_object_mut().unwrap().remove("expected");
    assert_eq!(log.post("/replay", "count", &window).await.json()["matching"], 0);
    for (order, _) in &failed {
        let page = Answer::to(log.api.request(Method::GET, &format!("/transactions?order_id={order}"))).await.json();
        assert_eq!(page["items"][0]["revision"], 1, "{page}");
    }
    assert_eq!(log.decisions("replay/").await, decisions + 2, "a repeat is no second decision");

    let reader = town.bakery.api_of(TENANT, &["pos:read"]).unwrap();
    let request = reader.request(Method::POST, &format!("{}{one}", log.path)).json(&json!({}));
    Answer::to(request).await.problem(403, "forbidden");
    log.post("/replay", "wrong", &json!({ "outcome": "good" })).await.problem(422, "invalid_fields");
}

#[tokio::test]
async fn a_delivery_whose_body_was_not_kept_cannot_be_replayed_and_says_what_to_do() {
    let town = &*rough_town().await;
    let log = Log::of(town);
    let bell = Doorbell::of(town.bakery).await;
    let (id, body) = event(&town.bakery.sandbox.merchants()[0].id);
    bell.deliver(large_event(&body.to_string(), &id, 3 * 1024 * 1024)).await;
    Tables::of(town.bakery).final_row(&owner(town.bakery), &id).await;
    let shown = log.delivery(&id).await;
    assert_eq!((&shown["has_body"], &shown["omitted_body_bytes"]), (&json!(false), &json!(3 * 1024 * 1024)), "{shown}");
    for refused in
        [log.post(&format!("/{id}/replay"), "large", &json!({})).await, log.get(&format!("/{id}/body")).await]
    {
        let problem = refused.problem(409, "conflict");
        assert!(problem["detail"].as_str().unwrap().contains("`repair`"), "{problem}");
    }
}

#[tokio::test]
async fn a_caller_who_was_cut_off_asks_again_and_nothing_is_done_twice() {
    let town = &*rough_town().await;
    let log = Log::of(town);
    let failed = log.failed(2).await;
    let decisions = async |id: &str| log.decisions(&format!("delivery/{id}")).await;
    // Written down, and not called for: the queue is away for all attempts of the AWS client.
    let (_, id) = &failed[0];
    let path = format!("/{id}/replay");
    (1..=3).for_each(|nth| town.proxy.hit_named("sqs:SendMessageBatch", nth, Fault::Status500));
    log.post(&path, "cut-off", &json!({})).await.problem(503, "unavailable");
    assert_eq!(log.delivery(id).await["replays"], json!([]));
    let done = log.followed(&log.post(&path, "cut-off", &json!({})).await).await;
    assert_eq!((&done["outcomes"], decisions(id).await), (&json!({ "done": 1 }), 1), "{done}");

    // Written down, and the answer lost: whoever asks the table again finds that it was so.
    let (_, id) = &failed[1];
    let path = format!("/{id}/replay");
    town.proxy.hit_named("dynamodb:TransactWriteItems", 1, Fault::DropAfter);
    let done = log.followed(&log.post(&path, "lost", &json!({})).await).await;
    assert_eq!((&done["outcomes"], decisions(id).await), (&json!({ "done": 1 }), 1), "{done}");
}
