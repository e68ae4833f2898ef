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
    let missing = Secret::<Application>::new(client, "no-such-secret".into());
    assert!(missing.get().await.is_err());
}
