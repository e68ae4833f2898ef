//! Many merchants, long histories, and what goes wrong while they are listed.

use std::collections::BTreeSet;

use reqwest::Method;
use sandbox::{EntryKind, EntryState, Failure, Faults, RefundKind, SaleKind, Sandbox, SandboxOptions, Vendor};
use serde_json::{Value, json};

use crate::{PATIENCE, quick, standing};

/// A listing of one shop, whoever the provider is.
struct Shop {
    vendor: Vendor,
    url: String,
    token: String,
    id: String,
}

/// One page: status, ids of the orders, and where it goes on.
struct Page {
    status: u16,
    body: Value,
    ids: Vec<String>,
    next: Option<String>,
}

impl Shop {
    fn of(sandbox: &Sandbox, vendor: Vendor, merchant: usize, place: usize) -> Self {
        let merchant = &sandbox.merchants_of(vendor)[merchant];
        let token = sandbox.grant_of(vendor, Some(&merchant.id), &[]).unwrap().access_token;
        Self { vendor, url: sandbox.url(vendor), token, id: merchant.locations[place].id.clone() }
    }

    /// From the beginning of March on, up to now.
    async fn page(&self, size: usize, cursor: Option<&str>) -> Page {
        let Self { url, id, .. } = self;
        let (list, http) = (self.vendor, reqwest::Client::new());
        let request = match list {
            Vendor::Square => {
                let mut query = crate::updated_since(std::slice::from_ref(&self.id), "2026-03-01T00:00:00Z");
                query["limit"] = json!(size);
                query["cursor"] = json!(cursor);
                http.post(format!("{url}/v2/orders/search")).json(&query)
            }
            Vendor::Toast => {
                let (range, page) =
                    ("startDate=2026-03-01T00:00:00Z&endDate=2026-03-28T00:00:00Z", cursor.unwrap_or("1"));
                http.get(format!("{url}/orders/v2/ordersBulk?{range}&pageSize={size}&page={page}"))
            }
            Vendor::Lightspeed => {
                let token = cursor.map(|cursor| format!("&nextPageToken={cursor}")).unwrap_or_default();
                let path = format!("/f/v2/business-location/{id}/sales");
                http.get(format!("{url}{path}?from=2026-03-01T00:00:00Z&pageSize={size}{token}"))
            }
        };
        let request = request.bearer_auth(&self.token).header("Toast-Restaurant-External-ID", id);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let links = answer.headers().get_all("link").iter().map(|link| link.to_str().unwrap().to_owned());
        let next_link = links.into_iter().find(|link| link.contains("rel=\"next\""));
        let body: Value = answer.json().await.unwrap();
        let (orders, next, key) = match list {
            Vendor::Square => (&body["orders"], body["cursor"].as_str().map(str::to_owned), "id"),
            Vendor::Toast => {
                let page = next_link.map(|link| link.split("&page=").nth(1).unwrap().replace(">; rel=\"next\"", ""));
                (&body, page, "guid")
            }
            Vendor::Lightspeed => (&body["sales"], body["nextPageToken"].as_str().map(str::to_owned), "accountFiscId"),
        };
        let orders = orders.as_array().into_iter().flatten();
        let ids = orders.map(|order| order[key].as_str().unwrap().to_owned()).collect();
        Page { status, ids, next, body }
    }

    /// All pages to the end; what is shown twice is shown twice.
    async fn all(&self, size: usize) -> Vec<String> {
        let (mut ids, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.page(size, cursor.as_deref()).await;
            assert_eq!(page.status, 200, "{}", page.body);
            ids.extend(page.ids);
            cursor = page.next;
            if cursor.is_none() {
                return ids;
            }
        }
    }
}

const PAST: &str = "2026-03-07T11:30:00Z";

/// A standing clock behind everything that is on the shelf, and nobody who counts calls.
fn open(options: SandboxOptions) -> Sandbox {
    let now = Some("2026-03-19T10:00:00Z".parse().unwrap());
    let sandbox = Sandbox::start(SandboxOptions { now, ..options }).unwrap();
    Vendor::ALL.into_iter().for_each(|vendor| fault(&sandbox, vendor, Faults::default()));
    sandbox
}

fn fault(sandbox: &Sandbox, vendor: Vendor, faults: Faults) {
    sandbox.set_faults_of(vendor, Faults { no_rate_limits: true, ..faults });
}

/// One shop with so many sales.
fn one_shop(vendor: Vendor, sales: usize) -> (Sandbox, Shop) {
    let sandbox = open(SandboxOptions { shops: 1, ..standing() });
    sandbox.at(vendor).stock_history(sales, PAST.parse().unwrap());
    let shop = Shop::of(&sandbox, vendor, 0, 0);
    (sandbox, shop)
}

#[test]
fn fifty_merchants_sell_with_every_provider_and_the_first_three_stay_who_they_are() {
    let few = Sandbox::start(SandboxOptions { merchants: 3, ..quick() }).unwrap();
    let many = Sandbox::start(SandboxOptions { merchants: 50, ..quick() }).unwrap();
    for vendor in Vendor::ALL {
        let merchants = many.merchants_of(vendor);
        assert_eq!(merchants[..3], few.merchants_of(vendor));
        let shops: Vec<&str> =
            merchants.iter().flat_map(|merchant| &merchant.locations).map(|shop| shop.id.as_str()).collect();
        assert_eq!(shops.len(), 150);
        for ids in [
            merchants.iter().map(|merchant| merchant.id.as_str()).collect::<Vec<_>>(),
            merchants.iter().map(|merchant| merchant.name.as_str()).collect(),
            shops,
        ] {
            assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{vendor:?}");
        }
    }
    assert!(Sandbox::start(SandboxOptions { merchants: 51, ..quick() }).is_err());
}

#[tokio::test]
async fn one_of_twenty_merchants_gets_the_long_history() {
    let sandbox = open(SandboxOptions { merchants: 20, ..standing() });
    for vendor in Vendor::ALL {
        let desk = sandbox.at(vendor);
        let merchants = desk.merchants();
        desk.stock_days_of(&merchants[17].id, "2026-03-02".parse().unwrap(), 3, 100).unwrap();
        desk.stock_history_of(&merchants[4].id, 10, PAST.parse().unwrap()).unwrap();
        desk.play_of(&merchants[5].id, 3).unwrap();
        desk.wait_until_quiet(PATIENCE).await.unwrap();
        assert!(desk.play_of("nobody", 1).is_err() && desk.stock_history_of("nobody", 1, sandbox.now()).is_err());
        let sales = |merchant: usize| {
            let ledger = desk.ledger().into_iter();
            ledger.filter(|entry| entry.merchant_id == merchants[merchant].id && entry.kind == EntryKind::Sale).count()
        };
        assert!(sales(17) > 500 && (5..30).contains(&sales(4)) && (1..9).contains(&sales(5)), "{vendor:?}");
        let all: usize = (0..20).map(sales).sum();
        assert_eq!(all, sales(17) + sales(4) + sales(5), "{vendor:?}");
    }
}

#[tokio::test]
async fn a_long_list_is_shown_page_by_page_and_every_order_once() {
    for vendor in Vendor::ALL {
        let (sandbox, shop) = one_shop(vendor, 1_200);
        let ids = shop.all(100).await;
        let unique: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{vendor:?}");
        // A refund is an order of its own, but at Toast; transfers are no sales.
        let ledger = sandbox.at(vendor).ledger();
        let sold = ledger.iter().filter(|entry| vendor != Vendor::Toast || entry.kind != EntryKind::Refund);
        let sold: Vec<&str> = sold.map(|entry| entry.order_id.rsplit('/').next().unwrap()).collect();
        assert!(sold.len() > 1_100 && sold.iter().all(|id| unique.contains(&(*id).to_owned())), "{vendor:?}");
        assert_eq!(vendor != Vendor::Lightspeed, sold.len() == ids.len());
    }
}

#[tokio::test]
async fn a_lagging_replica_lists_what_it_knew() {
    for vendor in Vendor::ALL {
        let (sandbox, shop) = one_shop(vendor, 40);
        let before = shop.all(100).await;
        fault(&sandbox, vendor, Faults { replica_lag_ms: 600_000, ..Faults::default() });
        let sale = sandbox.at(vendor).ring_up(SaleKind::Cash, None).unwrap();
        sandbox.at(vendor).wait_until_quiet(PATIENCE).await.unwrap();
        // Changed, and therefore moved; the replica still has it where it was.
        let old = sandbox.at(vendor).ledger().into_iter();
        let mut old = old.filter(|entry| entry.state == EntryState::Completed && entry.kind == EntryKind::Sale);
        assert!(old.any(|entry| sandbox.at(vendor).refund(&entry.order_id, RefundKind::Amount).is_ok()));
        sandbox.at(vendor).wait_until_quiet(PATIENCE).await.unwrap();
        assert_eq!(shop.all(7).await, before, "{vendor:?}");
        fault(&sandbox, vendor, Faults::default());
        let after = shop.all(7).await;
        assert!(after != before && after.iter().any(|id| sale.order_id.ends_with(id.as_str())), "{vendor:?}");
        assert_eq!(after.iter().collect::<BTreeSet<_>>().len(), after.len());
    }
}

#[tokio::test]
async fn a_cursor_can_lead_to_itself() {
    for vendor in Vendor::ALL {
        let (sandbox, shop) = one_shop(vendor, 30);
        let second = shop.page(5, None).await.next.unwrap();
        fault(&sandbox, vendor, Faults { repeat_cursors: 2, ..Faults::default() });
        for _ in 0..2 {
            assert_eq!(shop.page(5, Some(&second)).await.next.as_ref(), Some(&second), "{vendor:?}");
        }
        assert_ne!(shop.page(5, Some(&second)).await.next.unwrap(), second, "{vendor:?}");
        assert_eq!(sandbox.faults_of(vendor).repeat_cursors, 0);
    }
}

#[tokio::test]
async fn a_list_can_end_in_silence_before_it_is_over() {
    for vendor in Vendor::ALL {
        let (sandbox, shop) = one_shop(vendor, 60);
        let all = shop.all(100).await;
        for (most, size) in [(20, 5), (20, 7), (20, 100), (1_000, 50)] {
            fault(&sandbox, vendor, Faults { silent_cap: Some(most), ..Faults::default() });
            let shown = shop.all(size).await;
            assert_eq!(shown, all[..most.min(all.len())], "{vendor:?}, pages of {size}");
        }
    }
}

#[tokio::test]
async fn a_whole_day_tells_what_a_cut_list_left_out() {
    let (sandbox, shop) = one_shop(Vendor::Lightspeed, 40);
    fault(&sandbox, Vendor::Lightspeed, Faults { silent_cap: Some(5), ..Faults::default() });
    assert_eq!(shop.all(100).await.len(), 5);
    let url = format!("{}/f/v2/business-location/{}/sales-daily?date=2026-03-07", shop.url, shop.id);
    let day: Value =
        reqwest::Client::new().get(url).bearer_auth(&shop.token).send().await.unwrap().json().await.unwrap();
    let shown: BTreeSet<&str> =
        day["sales"].as_array().unwrap().iter().map(|sale| sale["accountFiscId"].as_str().unwrap()).collect();
    let ledger = sandbox.at(Vendor::Lightspeed).ledger();
    let of_the_day = ledger.iter().filter(|entry| entry.business_date.as_deref() == Some("2026-03-07"));
    let sold: Vec<&str> = of_the_day.map(|entry| entry.order_id.split_once('/').unwrap().1).collect();
    assert!(sold.len() > 30 && sold.iter().all(|id| shown.contains(id)), "{sold:?}");
}

#[tokio::test]
async fn the_list_of_one_shop_fails_in_its_vendors_words_while_the_others_work() {
    let sandbox = open(SandboxOptions { shops: 2, ..standing() });
    for vendor in Vendor::ALL {
        sandbox.at(vendor).stock_history(20, PAST.parse().unwrap());
        let [broken, sound] = [0, 1].map(|place| Shop::of(&sandbox, vendor, 0, place));
        let location_id = Some(broken.id.clone());
        let failure = Failure { status: 429, times: 2, location_id, retry_after: Some(3), ..Failure::default() };
        fault(&sandbox, vendor, Faults { failures: vec![failure], ..Faults::default() });
        for _ in 0..2 {
            assert_eq!(sound.page(5, None).await.status, 200, "{vendor:?}");
            let refused = broken.page(5, None).await;
            assert_eq!(refused.status, 429, "{vendor:?}");
            let said = match vendor {
                Vendor::Square => &refused.body["errors"][0]["code"],
                Vendor::Toast => &refused.body["message"],
                Vendor::Lightspeed => &refused.body["error"],
            };
            let expected = ["RATE_LIMITED", "Too many requests", "Too Many Requests"];
            assert!(expected.contains(&said.as_str().unwrap()), "{}", refused.body);
        }
        assert_eq!(broken.page(5, None).await.status, 200, "{vendor:?}: used up");
    }
}

#[tokio::test]
async fn when_to_come_again_is_said_where_the_vendor_says_it() {
    let sandbox = open(standing());
    for (vendor, header) in [(Vendor::Square, None), (Vendor::Toast, Some("1")), (Vendor::Lightspeed, None)] {
        let failures = vec![Failure { status: 429, times: 1, ..Failure::default() }];
        fault(&sandbox, vendor, Faults { failures, ..Faults::default() });
        let path = ["/v2/locations", "/partners/v1/restaurants", "/f/data/businesses"];
        let url = format!("{}{}", sandbox.url(vendor), path[Vendor::ALL.iter().position(|v| *v == vendor).unwrap()]);
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.status().as_u16(), 429);
        let after = answer.headers().get("retry-after").map(|seconds| seconds.to_str().unwrap());
        assert_eq!(after, header, "{vendor:?}");
        if vendor == Vendor::Toast {
            for name in ["by", "remaining", "reset"] {
                assert!(answer.headers().contains_key(format!("x-toast-ratelimit-{name}")));
            }
        }
    }
}

#[tokio::test]
async fn at_toast_an_order_that_changes_meanwhile_moves_and_one_behind_it_is_missed() {
    let (sandbox, shop) = one_shop(Vendor::Toast, 30);
    let before = shop.all(100).await;
    let first = shop.page(10, None).await;
    let toast = sandbox.at(Vendor::Toast);
    let kept: Vec<String> =
        toast.ledger().into_iter().filter(|e| e.state == EntryState::Completed).map(|e| e.order_id).collect();
    let changed = first.ids.iter().find(|id| kept.contains(*id)).unwrap();
    toast.refund(changed, RefundKind::Amount).unwrap();
    toast.wait_until_quiet(PATIENCE).await.unwrap();
    let (second, third) = (shop.page(10, Some("2")).await, shop.page(10, Some("3")).await);
    let seen: Vec<&String> = first.ids.iter().chain(&second.ids).chain(&third.ids).collect();
    assert!(!seen.contains(&&before[10]), "what slid to the first page is on none that was read");
    assert_eq!(third.ids.last(), Some(changed), "the changed one is the last now");
}

#[tokio::test]
async fn the_token_of_toasts_partner_list_expires_with_a_conflict() {
    let sandbox = open(SandboxOptions { shops: 3, ..standing() });
    let token = sandbox.grant_of(Vendor::Toast, None, &[]).unwrap().access_token;
    let get = |token_of: &str| {
        let url = format!("{}/partners/v1/connectedRestaurants?pageSize=1{token_of}", sandbox.toast_url());
        let request = reqwest::Client::new().request(Method::GET, url).bearer_auth(&token);
        async move { request.send().await.unwrap() }
    };
    let first: Value = get("").await.json().await.unwrap();
    let next = format!("&pageToken={}", first["nextPageToken"].as_str().unwrap());
    fault(&sandbox, Vendor::Toast, Faults { expire_cursors: 1, ..Faults::default() });
    assert_eq!(get(&next).await.status().as_u16(), 409);
    assert_eq!(get(&next).await.status().as_u16(), 200);
}
