//! Every sealed secret moves to the newest key, and opens for nobody but its owner, wherever it lies.

use aws_sdk_dynamodb::types::AttributeValue;
use local::TENANT;
use serde_json::json;
use shared::access::TokenError;
use shared::vault::VaultError;
use upkeep::Operation;

use crate::bench::{ask, bench, tick};

#[tokio::test]
async fn every_secret_is_wrapped_with_the_newest_key_and_the_report_says_so() {
    let bench = bench().await;
    let id = bench.connect("lightspeed").await;
    let secret = json!({ "secret": "a-webhook-secret" });
    let path = format!("/configurations/{id}/webhook-secrets");
    let request = bench.bakery.api().unwrap().request("POST".parse().unwrap(), &path).json(&secret);
    let _: serde_json::Value = local::api::answer_of(request, "201".parse().unwrap(), "add a secret").await.unwrap();

    let kms = aws_sdk_kms::Client::new(&bench.bakery.stack.config());
    let newest = kms.create_key().send().await.unwrap().key_metadata.unwrap().arn.unwrap();
    let with_newest = || bench.connections_with(|name| (name == "KMS_KEY_ID").then(|| newest.clone()));
    let app = bench.app(with_newest(), None);
    assert_eq!(ask(&app, Operation::ResealStatus).await.unwrap().reseal, None);
    let report = ask(&app, Operation::Reseal).await.unwrap().reseal.unwrap();
    assert_eq!((report.key_id.as_str(), report.is_done, report.failed), (newest.as_str(), true, 0));
    // The bakery's own connection, this one, and its webhook secret.
    assert_eq!((report.resealed, report.current), (3, 0), "{report:?}");
    let again = ask(&app, Operation::Reseal).await.unwrap().reseal.unwrap();
    assert_eq!((again.resealed, again.current), (0, 3), "{again:?}");
    assert_eq!(
        tick(&app).await.unwrap().reseal,
        Some(ask(&app, Operation::ResealStatus).await.unwrap().reseal.unwrap())
    );

    // The credentials still open, and no longer without the newest key.
    let connections = with_newest();
    let found = bench.load(&connections, &id).await;
    connections.tokens("upkeep").current(&found).await.unwrap();
    kms.disable_key().key_id(&newest).send().await.unwrap();
    let closed = with_newest().tokens("upkeep").current(&found).await;
    kms.enable_key().key_id(&newest).send().await.unwrap();
    assert!(matches!(closed, Err(TokenError::Vault(VaultError::Kms(_)))));

    // Back to the stack's own key, for the tests that follow.
    let own = bench.app(bench.connections_with(|_| None), None);
    assert_eq!(ask(&own, Operation::Reseal).await.unwrap().reseal.unwrap().resealed, 3);
    // What needs no second key it does with its own role.
    let deployed = bench.app(bench.connections(None), None);
    let looked = ask(&deployed, Operation::Reseal).await.unwrap().reseal.unwrap();
    assert_eq!((looked.resealed, looked.current), (0, 3), "{looked:?}");
    bench.remove(&id).await;
}

#[tokio::test]
async fn ciphertexts_that_were_swapped_in_the_table_do_not_open() {
    let bench = bench().await;
    let (mine, theirs) = (bench.connect("lightspeed").await, bench.connect("square").await);
    let sealed = async |id: &str| bench.item(id).await.unwrap()["sealed_credentials"].clone();
    let (of_mine, of_theirs) = (sealed(&mine).await, sealed(&theirs).await);
    let swap = async |id: &str, value: &AttributeValue| {
        bench.tamper(id, "SET sealed_credentials = :sealed", &[(":sealed", value.clone())]).await;
    };
    swap(&mine, &of_theirs).await;
    swap(&theirs, &of_mine).await;
    for id in [&mine, &theirs] {
        let connections = bench.connections(None);
        let opened = connections.tokens("upkeep").current(&bench.load(&connections, id).await).await;
        assert!(matches!(opened, Err(TokenError::Vault(VaultError::NotAuthentic))), "{TENANT} {id}");
    }
    swap(&mine, &of_mine).await;
    swap(&theirs, &of_theirs).await;
    for id in [mine, theirs] {
        let connections = bench.connections(None);
        let found = bench.load(&connections, &id).await;
        connections.tokens("upkeep").current(&found).await.unwrap();
        bench.remove(&id).await;
    }
}
