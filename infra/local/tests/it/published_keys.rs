//! Tokens of an identity provider that publishes its keys itself: the template's `JwksUrl`.

use std::collections::BTreeMap;

use local::{Flaw, Identity, Stack, StackOptions, api::Api};
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::town::Answer;

/// Publishes a key set. Returns its URL.
async fn publish(keys: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/.well-known/jwks.json", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
            let _ = stream.write_all(format!("{head} {}\r\n\r\n{keys}", keys.len()).as_bytes()).await;
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keys_of_a_url_decide_and_the_secret_does_not() {
    let (published, secret) = (Identity::new().unwrap(), Identity::new().unwrap());
    let url = publish(published.jwks().to_string()).await;
    let options = StackOptions {
        name: "local-published-keys".into(),
        parameters: BTreeMap::from([("JwksUrl".to_owned(), url)]),
        ..StackOptions::default()
    };
    let stack = Stack::start(&options).unwrap();
    stack.put_secret("JwksSecretId", &secret.jwks()).await.unwrap();
    let ask = async |token: String| {
        let api = Api::new(stack.api_url(), "bakery", token).unwrap();
        Answer::to(api.request(Method::GET, "/configurations")).await
    };
    let token =
        |identity: &Identity| identity.token("bakery", &["pos:read"], std::time::Duration::from_secs(600)).unwrap();
    assert_eq!(ask(token(&published)).await.status, 200);
    ask(token(&secret)).await.problem(401, "unauthorized");
    for flaw in Flaw::ALL {
        let token = published.flawed_token(flaw, "bakery", &["pos:read"]).unwrap();
        ask(token).await.problem(401, "unauthorized");
    }
}
