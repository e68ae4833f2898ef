//! Credentials are renewed by one for all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use local::{Fault, Proxy};
use sandbox::{Failure, Faults, Vendor};
use serde_json::json;
use shared::access::TokenError;
use shared::providers::Access;

use crate::bench::{bench, tick, until_crash};

fn ended() -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(60)
}

fn in_an_hour() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(1)
}

#[tokio::test]
async fn five_hundred_readers_of_an_ended_token_cause_one_refresh() {
    let bench = bench().await;
    let id = bench.connect("lightspeed").await;
    bench.make_due(&id, ended()).await;
    bench.bakery.sandbox.expire_tokens(Vendor::Lightspeed);
    let before = bench.bakery.sandbox.calls(Vendor::Lightspeed);
    // Twenty-five execution environments with twenty readers each, all of which have seen the old credentials.
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..25 {
        let connections = bench.connections(None);
        let found = Arc::new(bench.load(&connections, &id).await);
        let tokens = Arc::new(connections.tokens("upkeep"));
        for _ in 0..20 {
            let (found, tokens, providers) =
                (Arc::clone(&found), Arc::clone(&tokens), Arc::clone(&connections.providers));
            readers.spawn(async move {
                let token = loop {
                    match tokens.current(&found).await {
                        // What a message does: it comes again later.
                        Err(TokenError::BeingRenewed) => continue,
                        token => break token.unwrap(),
                    }
                };
                (found, token, providers)
            });
        }
    }
    let read = readers.join_all().await;
    assert_eq!(read.len(), 500);
    let calls = bench.bakery.sandbox.calls(Vendor::Lightspeed);
    assert_eq!(calls.token_requests - before.token_requests, 1);
    // Everybody's token works.
    for (found, token, providers) in [&read[0], &read[250], &read[499]] {
        let access = Access { environment: found.configuration.environment, token: &token.access };
        providers.get(found.configuration.provider).describe_merchant(&access, &[]).await.unwrap();
    }
    bench.remove(&id).await;
}

#[tokio::test]
async fn a_schedule_renews_what_is_due_and_notes_when_it_is_due_again() {
    let bench = bench().await;
    for (provider, vendor) in [("square", Vendor::Square), ("lightspeed", Vendor::Lightspeed)] {
        let id = bench.connect(provider).await;
        let before = bench.show(&id).await;
        bench.make_due(&id, in_an_hour()).await;
        let given = bench.bakery.sandbox.calls(vendor).tokens_given;
        let app = bench.app(bench.connections(None), None);
        tick(&app).await.unwrap();
        tick(&app).await.unwrap();
        assert_eq!(bench.bakery.sandbox.calls(vendor).tokens_given - given, 1, "{provider}");
        let after = bench.show(&id).await;
        let due = |view: &serde_json::Value| {
            view["credentials"]["refresh_due_at"].as_str().unwrap().parse::<Timestamp>().unwrap()
        };
        assert!(due(&after) >= due(&before), "{after}");
        assert_eq!(
            (&after["version"], &after["status"]),
            (&before["version"], &json!("active")),
            "no change of the tenant's"
        );
        bench.remove(&id).await;
    }
}

#[tokio::test]
async fn while_the_provider_is_away_the_old_token_serves_to_its_end() {
    let bench = bench().await;
    let id = bench.connect("lightspeed").await;
    bench.make_due(&id, in_an_hour()).await;
    let away = |times| {
        let failure = Failure { status: 503, times, path: Some("/oauth/token".into()), ..Failure::default() };
        bench.bakery.sandbox.set_faults_of(Vendor::Lightspeed, Faults { failures: vec![failure], ..Faults::default() });
    };
    away(100);
    let connections = bench.connections(None);
    let tokens = connections.tokens("upkeep");
    let asked = || bench.bakery.sandbox.calls(Vendor::Lightspeed).token_requests;
    let before = asked();
    tokens.current(&bench.load(&connections, &id).await).await.unwrap();
    let shown = bench.show(&id).await;
    assert_eq!(
        (&shown["status"], &shown["status_reasons"][0]["code"]),
        (&json!("degraded"), &json!("refresh_failing"))
    );
    // It is not asked again at once.
    tokens.current(&bench.load(&connections, &id).await).await.unwrap();
    assert_eq!(asked() - before, 1);
    // With the token's own end, there is nothing left to serve.
    bench.make_due(&id, ended()).await;
    let refused = tokens.current(&bench.load(&connections, &id).await).await;
    assert!(matches!(refused, Err(TokenError::Provider(_))));
    away(0);
    bench.make_due(&id, ended()).await;
    tokens.current(&bench.load(&connections, &id).await).await.unwrap();
    let shown = bench.show(&id).await;
    assert_eq!((&shown["status"], &shown["status_reasons"]), (&json!("active"), &json!([])));
    bench.remove(&id).await;
}

#[tokio::test]
async fn a_withdrawn_consent_is_said_once_and_asked_no_more() {
    let bench = bench().await;
    let id = bench.connect("lightspeed").await;
    let merchant = bench.show(&id).await["merchant"]["id"].as_str().unwrap().to_owned();
    bench.bakery.sandbox.revoke_of(Vendor::Lightspeed, &merchant).unwrap();
    bench.make_due(&id, ended()).await;
    let app = bench.app(bench.connections(None), None);
    let before = bench.bakery.sandbox.calls(Vendor::Lightspeed).token_requests;
    for _ in 0..3 {
        tick(&app).await.unwrap();
    }
    assert_eq!(bench.bakery.sandbox.calls(Vendor::Lightspeed).token_requests - before, 1);
    let shown = bench.show(&id).await;
    assert_eq!(shown["status"], "reauth_required");
    assert_eq!(shown["status_reasons"][0]["code"], "credentials_refused");
    // The merchant agrees again, to the same configuration.
    let api = bench.bakery.api().unwrap();
    let (code, state) = local::consent(&api, &id).await.unwrap();
    assert_eq!(api.come_back("lightspeed", &[("code", &code), ("state", &state)]).await.unwrap().status(), 200);
    assert_eq!(bench.show(&id).await["status"], "active");
    bench.remove(&id).await;
}

#[tokio::test]
async fn a_dead_winner_holds_nobody_up_for_longer_than_its_lease() {
    let bench = bench().await;
    let id = bench.connect("square").await;
    let connections = bench.connections(None);
    let found = bench.load(&connections, &id).await;
    let generation = found.configuration.credentials.as_ref().unwrap().generation;
    let lease = SignedDuration::from_secs(2);
    let configurations = &connections.configurations;
    bench.make_due(&id, ended()).await;
    let found = bench.load(&connections, &found.configuration.id.to_string()).await;
    let dead = configurations.take_lease(&found.scope, found.configuration.id, generation, lease).await.unwrap();
    assert!(dead.is_some());
    let other = configurations.take_lease(&found.scope, found.configuration.id, generation, lease).await.unwrap();
    assert!(other.is_none(), "one at a time");
    let (started, proxy) = (Instant::now(), Proxy::start().unwrap());
    bench.connections(Some(&proxy)).tokens("upkeep").current(&found).await.unwrap();
    assert_eq!(proxy.count("kms:Decrypt"), 1, "who waits opens what is sealed once");
    assert!(started.elapsed() > Duration::from_secs(1) && started.elapsed() < Duration::from_secs(6));
    bench.remove(&id).await;
}

#[tokio::test]
async fn a_crash_at_any_call_of_a_renewal_leaves_credentials_that_can_be_renewed() {
    let bench = bench().await;
    // Square's refresh tokens can be used again, so every crash must heal.
    let id = bench.connect("square").await;
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let mut calls = 0;
        for nth in 1..40 {
            bench.make_due(&id, ended()).await;
            let plain = bench.connections(None);
            let found = bench.load(&plain, &id).await;
            let proxy = Proxy::start().unwrap();
            let connections = bench.connections(Some(&proxy));
            let tokens = connections.tokens("upkeep");
            // The application's secret is read once per environment.
            connections.applications.get(found.configuration.provider).await.unwrap();
            proxy.reset();
            proxy.hit(nth, fault);
            let has_crashed = until_crash(&proxy, tokens.current(&found)).await;
            drop((tokens, connections));
            // Its lease ends.
            bench.tamper(&id, "REMOVE lease_owner, lease_until", &[]).await;
            let found = bench.load(&plain, &id).await;
            let token = plain.tokens("upkeep").current(&found).await.unwrap();
            let access = Access { environment: found.configuration.environment, token: &token.access };
            plain.providers.get(found.configuration.provider).describe_merchant(&access, &[]).await.unwrap();
            assert_eq!(bench.show(&id).await["status"], "active", "call {nth} {fault:?}");
            if !has_crashed {
                break;
            }
            calls = nth;
        }
        // Read, lease, open, seal, store.
        assert_eq!(calls, 5, "{fault:?}");
    }
    bench.remove(&id).await;
}
