//! Application secrets: what was rotated a moment ago still counts.

use aws_sdk_secretsmanager::Client;
use serde_json::json;
use shared::providers::Application;
use shared::secrets::Secret;

use crate::stack::stack;

#[tokio::test]
async fn the_version_before_the_last_rotation_is_still_known() {
    let client = Client::new(&stack().config());
    let application = |key: &str| json!({ "webhook_subscriptions": [{ "id": key, "signature_key": key }] }).to_string();
    let name = format!("rotated-{}", uuid::Uuid::new_v4());
    client.create_secret().name(&name).secret_string(application("first")).send().await.unwrap();
    let secret = || Secret::<Application>::new(client.clone(), name.clone());
    let ids = |application: &Application| application.webhook_subscriptions[0].id.clone();
    assert_eq!(ids(&secret().get().await.unwrap()), "first");
    assert!(secret().previous().await.unwrap().is_none(), "never rotated");
    client.put_secret_value().secret_id(&name).secret_string(application("second")).send().await.unwrap();
    let rotated = secret();
    assert_eq!(ids(&rotated.get().await.unwrap()), "second");
    assert_eq!(ids(&rotated.previous().await.unwrap().unwrap()), "first");

    // Somebody asked for the one before just before a rotation: it is another one after it.
    let (held, ids_of_previous) =
        (rotated.get().await.unwrap(), async || ids(&rotated.previous().await.unwrap().unwrap()));
    client.put_secret_value().secret_id(&name).secret_string(application("third")).send().await.unwrap();
    assert_eq!(ids_of_previous().await, "first");
    // As long as a wrong signature must wait before it buys a reading.
    tokio::time::sleep(std::time::Duration::from_secs(21)).await;
    assert_eq!(ids(&rotated.reload(&held).await.unwrap().unwrap()), "third");
    assert_eq!(ids_of_previous().await, "second");
    let missing = Secret::<Application>::new(client, "no-such-secret".into());
    assert!(missing.get().await.is_err());
}
