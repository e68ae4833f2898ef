//! What taking in a delivery costs without an SDK, an HTTP library or an async runtime: blocking sockets, and AWS's signature by
//! hand. It does what the ingress does for one provider, retries nothing and gives up at the first surprise; and the key that proves
//! a delivery is handed to it, where the ingress fetches it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::env::var;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use ring::hmac;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde::{Deserialize, Serialize};

/// Of API Gateway's event, what is needed.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    headers: HashMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(borrow)]
    body: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Notification<'a> {
    #[serde(borrow)]
    merchant_id: Cow<'a, str>,
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

#[derive(Serialize)]
struct Message<'a> {
    event_id: &'a str,
    merchant_id: &'a str,
    kind: &'a str,
    body: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SendMessage<'a> {
    queue_url: &'a str,
    message_body: &'a str,
}

fn main() -> anyhow::Result<()> {
    let (api, queue, url) = (var("AWS_LAMBDA_RUNTIME_API")?, var("QUEUE_URL")?, var("SQUARE_URL")?);
    let key = hmac::Key::new(hmac::HMAC_SHA256, var("SQUARE_KEY")?.as_bytes());
    let mut aws = Aws::connect()?;
    let runtime = TcpStream::connect(&api)?;
    runtime.set_nodelay(true)?;
    let mut runtime = Connection(BufReader::new(runtime));
    loop {
        let next = format!("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: {api}\r\n\r\n");
        let (head, event) = runtime.exchange(&[next.as_bytes()])?;
        let id = head.iter().find_map(|line| line.strip_prefix("lambda-runtime-aws-request-id: "));
        let id = id.context("an invocation has an id")?;
        let answer = match take_in(&event, (&key, &url), &queue, &mut aws)? {
            true => r#"{"statusCode":200,"body":"{}"}"#,
            false => r#"{"statusCode":401,"body":"{}"}"#,
        };
        let path = format!("/2018-06-01/runtime/invocation/{id}/response");
        let post = format!("POST {path} HTTP/1.1\r\nHost: {api}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
        runtime.exchange(&[post.as_bytes()])?;
    }
}

/// `false`: it is not the vendor's.
fn take_in(event: &[u8], (key, url): (&hmac::Key, &str), queue: &str, aws: &mut Aws) -> anyhow::Result<bool> {
    let event: Event<'_> = serde_json::from_slice(event)?;
    let signature = event.headers.get("x-square-hmacsha256-signature").map(Cow::as_ref).unwrap_or_default();
    let mut signed = hmac::Context::with_key(key);
    signed.update(url.as_bytes());
    signed.update(event.body.as_bytes());
    if STANDARD.encode(signed.sign()) != signature {
        return Ok(false);
    }
    let Notification { merchant_id, event_id, kind } = serde_json::from_str(&event.body)?;
    let message = Message { event_id: &event_id, merchant_id: &merchant_id, kind: &kind, body: &event.body };
    let message = serde_json::to_string(&message)?;
    aws.call(&serde_json::to_vec(&SendMessage { queue_url: queue, message_body: &message })?)?;
    Ok(true)
}

struct Aws {
    host: String,
    connection: Connection<StreamOwned<ClientConnection, TcpStream>>,
    region: String,
    key_id: String,
    secret: String,
    token: String,
    /// Of which day, and what its signatures are made with.
    signing: Option<(String, hmac::Key)>,
}

impl Aws {
    fn connect() -> anyhow::Result<Self> {
        let host = var("AWS_ENDPOINT_URL")?.trim_start_matches("https://").to_owned();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(var("AWS_CA_BUNDLE")?)?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = host.split(':').next().unwrap_or_default().to_owned();
        let client = ClientConnection::new(Arc::new(config), ServerName::try_from(name)?)?;
        let socket = TcpStream::connect(&host)?;
        socket.set_nodelay(true)?;
        Ok(Self {
            connection: Connection(BufReader::new(StreamOwned::new(client, socket))),
            host,
            region: var("AWS_REGION")?,
            key_id: var("AWS_ACCESS_KEY_ID")?,
            secret: var("AWS_SECRET_ACCESS_KEY")?,
            token: var("AWS_SESSION_TOKEN")?,
            signing: None,
        })
    }

    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
    fn call(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = now.get(..8).unwrap_or_default().to_owned();
        if self.signing.as_ref().is_none_or(|(of, _)| *of != day) {
            let sign = |key: &[u8], what: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), what.as_bytes());
            let key = sign(format!("AWS4{}", self.secret).as_bytes(), &day);
            let key = sign(sign(sign(key.as_ref(), &self.region).as_ref(), "sqs").as_ref(), "aws4_request");
            self.signing = Some((day.clone(), hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())));
        }
        let (_, key) = self.signing.as_ref().context("it was just made")?;
        let Self { host, region, key_id, token, .. } = &*self;
        let canonical = format!(
            "POST\n/\n\ncontent-type:application/x-amz-json-1.0\nhost:{host}\nx-amz-date:{now}\nx-amz-security-token:{token}\n\
             x-amz-target:AmazonSQS.SendMessage\n\ncontent-type;host;x-amz-date;x-amz-security-token;x-amz-target\n{}",
            hex(digest(&SHA256, body).as_ref())
        );
        let scope = format!("{day}/{region}/sqs/aws4_request");
        let hash = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
        let signature = hex(hmac::sign(key, format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{hash}").as_bytes()).as_ref());
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-amz-json-1.0\r\n\
             X-Amz-Target: AmazonSQS.SendMessage\r\nX-Amz-Date: {now}\r\nX-Amz-Security-Token: {token}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential={key_id}/{scope}, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature={signature}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let (head, _) = self.connection.exchange(&[head.as_bytes(), body])?;
        let status = head.first().map(String::as_str).unwrap_or_default();
        ensure!(status.starts_with("http/1.1 200"), "SQS answered {status}");
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Connection<S: Read + Write>(BufReader<S>);

impl<S: Read + Write> Connection<S> {
    /// Sends a request. Returns the lines of the answer's head, in small letters, and its body.
    fn exchange(&mut self, request: &[&[u8]]) -> anyhow::Result<(Vec<String>, Vec<u8>)> {
        self.0.get_mut().write_all(&request.concat())?;
        self.0.get_mut().flush()?;
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            ensure!(self.0.read_line(&mut line)? > 0, "the other side has closed");
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_ascii_lowercase()),
            }
        }
        let length =
            head.iter().find_map(|line| line.strip_prefix("content-length: ")).context("a body has a length")?;
        let mut body = vec![0; length.parse()?];
        self.0.read_exact(&mut body)?;
        Ok((head, body))
    }
}
